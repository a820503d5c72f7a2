//! (merged next)
