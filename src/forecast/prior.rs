//! What the series of a stream have in common: where one begins of which nothing is known.

use serde::{Deserialize, Serialize};

use super::experts::all_scaled;
use super::spec::ForecastSpec;
use crate::series::{ScaleEstimate, ScalePrior};

/// Origins that are looked at, at most.
const MOST: usize = 20_000;
/// So many targets tell of a bucket.
const LEAST: usize = 100;
/// An interval, in usual distances, is no narrower.
const NARROWEST: f32 = 0.1;

/// Pooled over the series that training has read; it travels with the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamPrior {
    /// How large values usually are.
    pub size: ScalePrior,
    /// `[bucket]`: the mean absolute distance of the value at the bucket's end from the last one, in the series' scale, with
    /// which the outermost quantiles hold over all series what they say: some swing far more than others.
    pub(super) usual: Vec<f32>,
}

impl StreamPrior {
    /// What series of these `sizes` have in common; `lanes` are the targets of each, `[steps][outputs]`, in scales from the
    /// value at the step, NaN where none is known. `None` where too little is known.
    pub fn pool(spec: &ForecastSpec, sizes: &[ScaleEstimate], lanes: &[&[f32]]) -> Option<Self> {
        let outputs = spec.outputs();
        if lanes.iter().any(|targets| targets.len() % outputs != 0) {
            return None;
        }
        let steps: usize = lanes.iter().map(|targets| targets.len() / outputs).sum();
        let every = steps.div_ceil(MOST).max(1);
        let usual = spec.buckets.iter().map(|end| {
            let rows = lanes.iter().flat_map(|targets| targets.chunks_exact(outputs));
            let known = rows.map(|targets| targets[spec.output_index(*end)]).filter(|target| !target.is_nan());
            let mut apart: Vec<f32> = known.step_by(every).collect();
            if apart.len() < LEAST {
                return None;
            }
            apart.sort_by(f32::total_cmp);
            let quantile = |level: f32| apart[((apart.len() - 1) as f32 * level).round() as usize];
            let [low, high] = [0, spec.levels.len() - 1];
            let width = (spec.normal[high] - spec.normal[low]).max(NARROWEST);
            Some((quantile(spec.levels[high]) - quantile(spec.levels[low])) / width)
        });
        let usual = usual.collect::<Option<_>>()?;
        Some(Self { size: ScalePrior::pool(sizes)?, usual })
    }

    /// Whether this is of the shape of `spec`, in numbers that can be reckoned with: it comes from outside.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.usual.len() == spec.buckets.len()
            && self.size.is_sound()
            && self.usual.iter().all(|usual| *usual >= 0.0)
            && all_scaled(&self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_tells_the_quantiles_of_what_came() {
        let spec = ForecastSpec::new(2, &[0.1, 0.5, 0.9], 0).unwrap();
        let size = ScaleEstimate { location: 1.0, scale: 2.0, difference: 1.0 };
        // At lead 1 uniform between -1 and 1, at lead 2 three times as far and half of it unknown.
        let lane: Vec<f32> = (0..1001)
            .flat_map(|step| {
                let apart = step as f32 / 500.0 - 1.0;
                [apart, if step % 2 == 0 { 3.0 * apart } else { f32::NAN }]
            })
            .collect();
        let prior = StreamPrior::pool(&spec, &[size], &[&lane, &lane]).unwrap();
        assert!(prior.fits(&spec) && !prior.fits(&ForecastSpec::new(13, &[0.1, 0.5, 0.9], 0).unwrap()));
        // Outer quantiles at 0.8, where normal ones with a mean absolute distance of 1 lie at 1.606.
        let near = |left: f32, right: f32| assert!((left - right).abs() < 0.02, "{prior:?}");
        near(prior.usual[0], 0.8 / 1.606);
        near(prior.usual[1], 2.4 / 1.606);
        assert_eq!(StreamPrior::pool(&spec, &[size], &[&lane[..40]]), None, "too little");
        assert_eq!(StreamPrior::pool(&spec, &[size], &[&lane[..3]]), None, "of another shape");
    }
}
