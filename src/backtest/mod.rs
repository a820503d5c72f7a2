//! A file instead of Kafka, through the same engine.
