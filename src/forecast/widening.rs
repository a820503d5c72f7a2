//! Wider intervals after a gap, while the level is uncertain.

use super::distribution::conformal_calibration::Calibration;
use super::spec::ForecastSpec;

/// Most by which an interval widens, as by the network's spread.
const MAX_FACTOR: f32 = 3.0;

/// `[output]`: the factors of the quantiles' deviations where a forecast looks `steps` further ahead than its leads
/// say. Empty where it does not: no quantile is widened.
///
/// An interval becomes as wide as that of the lead so many steps later, of the longest lead at most.
pub(super) fn widening_factors(spec: &ForecastSpec, calibration: &Calibration, steps: usize) -> Vec<f32> {
    if steps == 0 {
        return Vec::new();
    }
    let ends = &spec.lead_tables.ends;
    let residual = |output: usize| {
        let [below, above] =
            [ends[output].below, ends[output].above].map(|bucket| calibration.mean_absolute_residual(bucket));
        below + ends[output].share * (above - below)
    };
    let factor = |output: usize| {
        let (own, later) = (residual(output), residual((output + steps).min(ends.len() - 1)));
        if own > 0.0 { (later / own).clamp(1.0, MAX_FACTOR) } else { 1.0 }
    };
    (0..ends.len()).map(factor).collect()
}
