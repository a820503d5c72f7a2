//! Limits that keep 32-bit arithmetic finite, and clamping to them.

/// Largest magnitude of a network output that is used, in the series' scale.
const MAX_NETWORK_OUTPUT: f32 = 1e6;

/// Largest magnitude of a deviation that is divided by a scale.
const MAX_SCALED: f64 = 1e12;

/// Largest magnitude of an error in the unit of the values.
const MAX_UNSCALED: f64 = 1e30;

/// An error counts for at most this many scales. A larger one says that the scale is not known yet, as when a series at
/// rest wakes up.
pub(super) const MAX_ERROR: f32 = 20.0;

/// Clamps a network output to what later arithmetic can represent; NaN becomes 0.
#[inline]
pub(super) fn clamp_network_output(output: f32) -> f32 {
    if output.is_nan() { 0.0 } else { output.clamp(-MAX_NETWORK_OUTPUT, MAX_NETWORK_OUTPUT) }
}

/// A deviation divided by `scale`, clamped to 1e12 in magnitude.
#[inline]
pub(super) fn scaled_by(deviation: f64, scale: f64) -> f32 {
    (deviation / scale).clamp(-MAX_SCALED, MAX_SCALED) as f32
}

/// A difference in the unit of the values, clamped to 1e30 in magnitude, so that `f32` arithmetic does not overflow.
#[inline]
pub(super) fn clamp_to_f32(difference: f64) -> f32 {
    difference.clamp(-MAX_UNSCALED, MAX_UNSCALED) as f32
}

/// The error of a forecast, both in the series' scale, clamped to [`MAX_ERROR`].
#[inline]
pub(super) fn clamped_error(target: f32, forecast: f32) -> f32 {
    (target - forecast).clamp(-MAX_ERROR, MAX_ERROR)
}

/// Whether all values lie within the range of [`scaled_by`].
pub(super) fn all_within_scaled_range(values: &[f32]) -> bool {
    values.iter().all(|value| value.abs() <= MAX_SCALED as f32)
}

/// Whether no value is infinite or NaN.
pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Dot product in four partial sums, so that it compiles to vector instructions; the order of additions is fixed.
#[inline]
pub(super) fn dot(weights: &[f32], regressors: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    for (weights, regressors) in weights.chunks_exact(4).zip(regressors.chunks_exact(4)) {
        for (sum, (weight, regressor)) in sums.iter_mut().zip(weights.iter().zip(regressors)) {
            *sum += weight * regressor;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}
