//! The order and number of the features of one step.

/// Features of one step that every series has. Those of [`ExtraFeatures`](super::ExtraFeatures) follow: time of year,
/// holidays, past covariates, future covariates.
pub const FEATURES: usize = 16;

/// Names of the features, in order. All are finite and within [`FEATURE_CLIP`]; an unknown feature is 0.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "value",            // (x_t - location) / scale; the last value where the slot is empty
    "difference",       // (x_t - the value before it) / mean absolute difference; 0 where the slot is empty
    "present",          // 1 where the slot holds a value, else 0
    "gap",              // log(steps since the previous value); irregular: log(1 + seconds) / 4
    "day_sine",         // local time of day at the slot's start
    "day_cosine",       //
    "week_sine",        // local time of week, from Monday
    "week_cosine",      //
    "seasonal_change",  // (x_t - x_{t-season}) / scale
    "seasonal_ahead_1", // (x_{t+h-season} - x_t) / scale, h the first of the seasonal leads
    "seasonal_ahead_2", //
    "seasonal_ahead_3", //
    "seasonal_ahead_4", //
    "seasonal_ahead_5", //
    "roughness",        // mean absolute difference / scale, 0..=1
    "age",              // 1 / sqrt(1 + steps so far): 1 for a new series, near 0 for an old one
];

/// Sine and cosine of the local time of year.
pub(super) const YEAR_FEATURES: usize = 2;

/// Whether these lie on a holiday: the step, the step one day before, the step one day after, the end of the horizon.
pub(super) const HOLIDAY_FEATURES: usize = 4;

/// Features of one past covariate: its value, and whether it is present.
pub(super) const PAST_COVARIATE_FEATURES: usize = 2;

/// Features of one future covariate: its value, and its means over the first quarter, the second quarter and the second
/// half of the horizon.
pub(super) const FUTURE_COVARIATE_FEATURES: usize = 4;

/// Features are clamped to `-FEATURE_CLIP..=FEATURE_CLIP`.
pub(super) const FEATURE_CLIP: f64 = 8.0;
