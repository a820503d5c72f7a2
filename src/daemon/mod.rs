//! Wiring, the event loop, commit, a partition's life.
