//! Metric names, in one place, and how logs are written.
