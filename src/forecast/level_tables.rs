//! Tables over the quantile levels of a forecast.

use crate::nn::normal_quantile;

/// Most quantile levels that a forecast may have.
pub const MAX_LEVELS: usize = 32;

/// Levels whose tail is at most this learn their quantiles by themselves; those nearer to the median follow the nearest
/// of them, since there the same step of learning is noise rather than news.
const MAX_OWN_TAIL: f32 = 0.1;

/// A pair of levels that bounds a central interval, by index.
pub(super) type Interval = (usize, usize);

/// Tables derived from the quantile levels of a [`ForecastSpec`](super::ForecastSpec).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LevelTables {
    /// Index of the level 0.5.
    pub median: usize,
    /// Central intervals: pairs of levels that sum to 1, outermost first.
    pub intervals: Vec<Interval>,
    /// Per level: its quantile under the normal distribution with mean 0 and mean absolute value 1.
    pub normal_quantiles: Vec<f32>,
    /// Per level: the index of the level on its side that it follows; its own where it learns by itself.
    pub anchors: Vec<usize>,
    /// Per level: its weight in the mean of a step function through the quantiles.
    pub mean_weights: Vec<f32>,
}

impl LevelTables {
    /// Tables of ascending `levels`, of which that at `median` is 0.5.
    pub fn new(levels: &[f32], median: usize) -> Self {
        // The standard deviation of a normal distribution with mean absolute value 1.
        let deviation = std::f64::consts::FRAC_PI_2.sqrt();
        let normal = |level: &f32| (deviation * normal_quantile(f64::from(*level))) as f32;
        Self {
            median,
            intervals: central_intervals(levels, median),
            normal_quantiles: levels.iter().map(normal).collect(),
            anchors: anchors(levels, median),
            mean_weights: mean_weights(levels),
        }
    }
}

fn central_intervals(levels: &[f32], median: usize) -> Vec<Interval> {
    let count = levels.len();
    let pairs = (0..median.min(count - 1 - median)).map(|low| (low, count - 1 - low));
    pairs.filter(|(low, high)| (levels[*low] + levels[*high] - 1.0).abs() < 1e-6).collect()
}

/// The innermost level with a small tail on each side is the anchor of all between it and the median; the outermost
/// level where none has.
fn anchors(levels: &[f32], median: usize) -> Vec<usize> {
    let is_own = |level: &f32| level.min(1.0 - level) <= MAX_OWN_TAIL + 1e-6;
    let below = levels.iter().take(median).filter(|level| is_own(level)).count().max(1) - 1;
    let above = levels.iter().skip(median + 1).filter(|level| is_own(level)).count().max(1);
    let above = levels.len() - above;
    (0..levels.len())
        .map(|level| match level.cmp(&median) {
            std::cmp::Ordering::Less => level.min(below),
            std::cmp::Ordering::Equal => level,
            std::cmp::Ordering::Greater => level.max(above),
        })
        .collect()
}

/// Each level's share of all probability: what is nearer to it than to its neighbours.
fn mean_weights(levels: &[f32]) -> Vec<f32> {
    let between = levels.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let ends: Vec<f32> = between.chain([1.0]).collect();
    let starts = std::iter::once(0.0).chain(ends.iter().copied());
    ends.iter().zip(starts).map(|(end, start)| end - start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_near_the_median_follow_the_nearest_outer_one() {
        let anchors = |levels: &[f32]| {
            let median = levels.iter().position(|level| *level == 0.5).unwrap();
            LevelTables::new(levels, median).anchors
        };
        assert_eq!(anchors(&[0.05, 0.1, 0.5, 0.9, 0.95]), [0, 1, 2, 3, 4]);
        assert_eq!(anchors(&[0.01, 0.1, 0.2, 0.4, 0.5, 0.6, 0.9]), [0, 1, 1, 1, 4, 6, 6]);
        assert_eq!(anchors(&[0.2, 0.3, 0.5, 0.75, 0.8]), [0, 0, 2, 4, 4], "the outermost ones are their own");
        assert_eq!(anchors(&[0.5]), [0]);
    }

    #[test]
    fn central_intervals_pair_the_levels() {
        assert_eq!(LevelTables::new(&[0.05, 0.1, 0.5, 0.9, 0.95], 2).intervals, [(0, 4), (1, 3)]);
        assert!(LevelTables::new(&[0.5], 0).intervals.is_empty());
    }
}
