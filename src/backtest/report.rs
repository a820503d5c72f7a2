//! The result of a backtest, as data.

use std::ops::Range;

use super::anomalies::Anomaly;
use super::brier::BrierScores;
use super::method::{METHODS, MethodErrors};
use super::plot_series::PlotSeries;
use super::training::TrainingRound;
use crate::series::Target;

/// How many readings were accepted and rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadingCounts {
    /// Accepted.
    pub accepted: u64,
    /// Rejected because their slot had passed, or because their time was too far ahead.
    pub late: u64,
    /// Rejected because their slot already had a reading.
    pub duplicate: u64,
    /// Rows and cells that were refused when the file was read.
    pub refused: u64,
    /// Cells without a value.
    pub missing: u64,
}

/// The aggregate of several steps that is forecast instead of each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonTarget {
    /// The aggregate function.
    pub aggregate: Target,
    /// Number of steps.
    pub steps: usize,
}

/// The result of a backtest.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Number of series.
    pub series: usize,
    /// Number of distinct slots from which a scored forecast was made.
    pub origins: usize,
    /// Errors by reported horizon, then by method.
    pub results: Vec<MethodErrors>,
    /// Errors at each lead alone, `[method][lead]`.
    pub by_lead: [Vec<MethodErrors>; METHODS],
    /// Rows whose standard deviation scales the errors; `None` for errors in the series' own unit.
    pub scale_rows: Option<Range<usize>>,
    /// Accepted and rejected readings.
    pub counts: ReadingCounts,
    /// The forecast aggregate; `None` if each step is forecast.
    pub target: Option<HorizonTarget>,
    /// Scores of the probability of crossing the threshold; `None` without a threshold.
    pub crossing: Option<BrierScores>,
    /// The training rounds in order.
    pub rounds: Vec<TrainingRound>,
    /// The values that are anomalies, in the order of the engine.
    pub anomalies: Vec<Anomaly>,
    /// The series to plot.
    pub plot_series: Option<PlotSeries>,
}
