//! What the series of a stream have in common: the start of a new series.

use serde::{Deserialize, Serialize};

use super::numeric::all_within_scaled_range;
use super::spec::ForecastSpec;
use crate::series::{ScaleEstimate, ScalePrior};

/// Most forecast origins that are pooled.
const MAX_ORIGINS: usize = 20_000;
/// Fewest targets that a bucket needs.
const MIN_TARGETS: usize = 100;
/// The narrowest interval between the outermost levels, in mean absolute deviations of a normal distribution.
const MIN_WIDTH: f32 = 0.1;

/// Pooled over the series of a training run; published with the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamPrior {
    /// The scale of a typical series.
    pub scale: ScalePrior,
    /// `[bucket]`: mean absolute deviation, in the series' scale, of the value at the bucket's end from the last value.
    /// It is chosen such that the outermost quantiles cover their share of all series together, since some series vary
    /// far more than others.
    pub(super) mean_absolute_deviations: Vec<f32>,
}

impl StreamPrior {
    /// Pools series with these `scales`. `visit` shows, for each of the `steps` steps of all series, the `[outputs]`
    /// deviations from the value at the step in the series' scale, NaN where unknown. `None` where too little is known.
    pub fn pool(
        spec: &ForecastSpec,
        scales: &[ScaleEstimate],
        steps: usize,
        visit: impl FnOnce(&mut dyn FnMut(&[f32])),
    ) -> Option<Self> {
        let outputs = spec.outputs();
        let stride = steps.div_ceil(MAX_ORIGINS).max(1);
        let ends: Vec<usize> = spec.buckets.iter().map(|end| spec.output_index(*end)).collect();
        // Of each bucket, every so many of the known deviations at its end, and how many are known.
        let mut sampled = vec![(Vec::new(), 0_usize); ends.len()];
        let mut whole = true;
        visit(&mut |targets: &[f32]| {
            whole &= targets.len() == outputs;
            for (end, (deviations, known)) in ends.iter().zip(&mut sampled) {
                let Some(target) = targets.get(*end).filter(|target| !target.is_nan()) else { continue };
                if known.is_multiple_of(stride) {
                    deviations.push(*target);
                }
                *known += 1;
            }
        });
        let mean_absolute_deviation = |(mut deviations, _): (Vec<f32>, usize)| {
            if deviations.len() < MIN_TARGETS {
                return None;
            }
            deviations.sort_by(f32::total_cmp);
            let quantile = |level: f32| deviations[((deviations.len() - 1) as f32 * level).round() as usize];
            let [low, high] = [0, spec.levels.len() - 1];
            let normal = &spec.level_tables.normal_quantiles;
            let width = (normal[high] - normal[low]).max(MIN_WIDTH);
            Some((quantile(spec.levels[high]) - quantile(spec.levels[low])) / width)
        };
        let mean_absolute_deviations = sampled.into_iter().map(mean_absolute_deviation).collect::<Option<_>>()?;
        let scale = ScalePrior::pool(scales).filter(|_| whole)?;
        Some(Self { scale, mean_absolute_deviations })
    }

    /// Whether it has the shape that `spec` needs, and valid values; published weights come from outside.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.mean_absolute_deviations.len() == spec.buckets.len()
            && self.scale.is_sound()
            && self.mean_absolute_deviations.iter().all(|deviation| *deviation >= 0.0)
            && all_within_scaled_range(&self.mean_absolute_deviations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooled_prior_matches_the_quantiles_of_the_targets() {
        let spec = ForecastSpec::new(2, &[0.1, 0.5, 0.9], 0).unwrap();
        let scale = ScaleEstimate { location: 1.0, scale: 2.0, difference: 1.0 };
        // At lead 1 uniform between -1 and 1; at lead 2 three times as far, and half of it unknown.
        let targets: Vec<f32> = (0..1001)
            .flat_map(|step| {
                let deviation = step as f32 / 500.0 - 1.0;
                [deviation, if step % 2 == 0 { 3.0 * deviation } else { f32::NAN }]
            })
            .collect();
        let pool = |targets: &[&[f32]]| {
            let rows: Vec<&[f32]> = targets.iter().flat_map(|targets| targets.chunks(2)).collect();
            StreamPrior::pool(&spec, &[scale], rows.len(), |visit| rows.iter().for_each(|row| visit(row)))
        };
        let prior = pool(&[&targets, &targets]).unwrap();
        assert!(prior.fits(&spec) && !prior.fits(&ForecastSpec::new(13, &[0.1, 0.5, 0.9], 0).unwrap()));
        // The outer quantiles lie at 0.8, those of a normal distribution with mean absolute value 1 at 1.606.
        let near = |left: f32, right: f32| assert!((left - right).abs() < 0.02, "{prior:?}");
        near(prior.mean_absolute_deviations[0], 0.8 / 1.606);
        near(prior.mean_absolute_deviations[1], 2.4 / 1.606);
        assert_eq!(pool(&[&targets[..40]]), None, "too few targets");
        assert_eq!(pool(&[&targets, &targets[..3]]), None, "another shape");
    }
}
