//! The forecasting methods of a report and their errors.

use crate::forecast::IntervalCoverage;

/// Number of methods.
pub(super) const METHODS: usize = 3;

/// A forecasting method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The engine: stacked experts and calibrated quantiles.
    Foretide,
    /// The last value, for every lead.
    LastValue,
    /// The value one season before the target, or as many whole seasons as the lead needs. The last value if that is
    /// missing or there is no season.
    SeasonalNaive,
}

impl Method {
    /// All methods in the order of the report.
    pub const ALL: [Self; METHODS] = [Self::Foretide, Self::LastValue, Self::SeasonalNaive];

    /// Name in JSON.
    pub fn name(self) -> &'static str {
        ["foretide", "last_value", "seasonal_naive"][self as usize]
    }

    /// Name in text.
    pub fn title(self) -> &'static str {
        ["foretide", "last value", "seasonal naive"][self as usize]
    }
}

/// Mean errors of one method; `None` if nothing was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodErrors {
    /// The method.
    pub method: Method,
    /// The errors are means over leads 1 to this one.
    pub horizon: usize,
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Mean absolute scaled error: relative to the naive forecast's error in the training rows.
    pub mase: Option<f64>,
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: Option<f64>,
    /// Weighted quantile loss. Every quantile of a naive forecast is its point forecast.
    pub wql: Option<f64>,
    /// Coverage of each central interval, widest first. Empty for the naive methods.
    pub coverage: Vec<IntervalCoverage>,
}
