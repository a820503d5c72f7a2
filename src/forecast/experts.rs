//! Who forecasts.

use super::spec::ForecastSpec;
use crate::series::{SeriesState, Target};

/// Who forecasts; in the order of all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expert {
    /// The last value, for all leads.
    LastValue,
    /// The value one season before the target (or two, and so on, for leads beyond a season); the last value where that is
    /// not known.
    SeasonalNaive,
    /// Least squares on recent values.
    Linear,
    /// The same on what is left without the season; only where there is one.
    LinearSeasonal,
    /// The same on what is left without the season of that day of the week.
    LinearWeekly,
    /// The network: the last value and the mean of what it adds to it.
    Network,
}

/// Number of experts.
pub const EXPERTS: usize = 6;

impl Expert {
    /// Their names, in the order of all weights.
    pub const NAMES: [&'static str; EXPERTS] =
        ["last_value", "seasonal_naive", "linear", "linear_seasonal", "linear_weekly", "network"];
}

/// A network's output beyond this, in the series' scale, is held to it; one that is no number counts as 0.
const LIMIT: f32 = 1e6;

/// The largest distance in units of a scale.
const LARGEST: f64 = 1e12;

/// An error counts for at most this many scales: a larger one says that the scale was not known yet, as when a series at rest wakes up.
pub(super) const FARTHEST: f32 = 20.0;

/// How far the seasonal naive forecast lies from `anchor`, the last value, for each number that is told.
pub(super) fn seasonal_path(spec: &ForecastSpec, series: &SeriesState, anchor: f64, out: &mut [f64]) {
    if spec.season < 2 {
        out.fill(0.0);
        return;
    }
    if let Some(target) = spec.target {
        out.fill(seasonal_one(spec, series, target, 0).map_or(0.0, |value| value - anchor));
        return;
    }
    for season in out.chunks_mut(spec.season) {
        series.copy_back(spec.season - 1, season);
        for out in season {
            *out = if out.is_nan() { 0.0 } else { *out - anchor };
        }
    }
}

/// How far the seasonal naive forecast made `lead` steps before the coming one lay from `anchor`, the last value then.
/// The coming step is not taken yet.
pub(super) fn seasonal_before(spec: &ForecastSpec, series: &SeriesState, anchor: f64, lead: usize) -> f64 {
    let value = match spec.target {
        Some(target) => seasonal_one(spec, series, target, lead - 1),
        None => spec.seasonal_lag(lead).and_then(|lag| series.value_back(lag - 1)),
    };
    value.map_or(0.0, |value| value - anchor)
}

/// The one number of the horizon that began `ago` steps before the newest step, made of the seasonal naive forecasts.
fn seasonal_one(spec: &ForecastSpec, series: &SeriesState, target: Target, ago: usize) -> Option<f64> {
    let back = |lead: usize| Some(ago + spec.seasonal_lag(lead)? - lead);
    target.of((1..=spec.horizon).map(|lead| back(lead).and_then(|back| series.value_back(back)).unwrap_or(f64::NAN)))
}

/// A network's output, held to what can be reckoned with.
#[inline]
pub(super) fn held(network: f32) -> f32 {
    if network.is_nan() { 0.0 } else { network.clamp(-LIMIT, LIMIT) }
}

/// A distance in units of `scale`, held to what 32 bits can be reckoned with.
#[inline]
pub(super) fn scaled(distance: f64, scale: f64) -> f32 {
    (distance / scale).clamp(-LARGEST, LARGEST) as f32
}

/// Whether these are distances in units of a scale, as [`scaled`] gives them.
pub(super) fn all_scaled(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.abs() <= LARGEST as f32)
}

/// Whether none of these is infinite or no number.
pub(super) fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

/// An error in the series' scale, held to [`FARTHEST`].
#[inline]
pub(super) fn error(target: f32, forecast: f32) -> f32 {
    (target - forecast).clamp(-FARTHEST, FARTHEST)
}
