//! What is said of a value, and when a series is called anomalous.

/// When a series is called anomalous, by the anomaly scores of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnomalyThresholds {
    /// An anomaly starts at a score of at least this.
    pub start: f32,
    /// It ends once scores stay below this ...
    pub end: f32,
    /// ... for this many values in a row.
    pub clear_after: u32,
}

impl Default for AnomalyThresholds {
    fn default() -> Self {
        Self { start: 0.999, end: 0.99, clear_after: 3 }
    }
}

/// How anomalous a value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnomalyScore {
    /// 1 minus the share of values that are at least as unusual, in `0..=1`: 0.99 means one value in a hundred.
    pub score: f32,
    /// Whether the series is anomalous, by its stream's [`AnomalyThresholds`].
    pub anomalous: bool,
    /// Whether no recent value had as high a score. An operator who was alerted is alerted again only if it gets worse.
    pub is_new: bool,
}
