//! Bytes to observations; forecasts, dead letters and snapshots to bytes.
