//! The experts' names.

/// A forecaster whose forecasts the mixture weights; the order is that of all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expert {
    /// The last value, at all leads.
    LastValue,
    /// The value one season before the target (or as many seasons as reach back to an observed value); what the
    /// seasonal profile expects where that one is unknown.
    SeasonalNaive,
    /// Recursive least squares on recent values.
    Linear,
    /// The same on values without their seasonal profile; only where there is a season.
    LinearSeasonal,
    /// The same on values without the seasonal profile of their day of the week.
    LinearWeekly,
    /// The recurrent network: the last value plus the mean of its output distribution.
    Network,
}

/// Number of experts.
pub const EXPERTS: usize = 6;

/// One weight for each expert.
pub(crate) type Weights = [f32; EXPERTS];

/// Number of linear experts at most.
pub(crate) const LINEAR_EXPERTS: usize = 3;

impl Expert {
    /// Their names in metrics and on the dashboard, in the order of all weights.
    pub const NAMES: [&'static str; EXPERTS] =
        ["last_value", "seasonal_naive", "linear", "linear_seasonal", "linear_weekly", "network"];

    /// The linear experts, in the order of their models.
    pub(crate) const LINEAR: [Self; LINEAR_EXPERTS] = [Self::Linear, Self::LinearSeasonal, Self::LinearWeekly];
}
