//! Sums over matured forecasts, and the skill and coverage that follow from them.

use super::view::SkillView;
use crate::forecast::{EXPERTS, Expert};

/// An expert whose weight is smaller than this is left out of the page.
const LEAST_WEIGHT: f64 = 0.005;

/// Sums over the matured forecasts of a horizon bucket. Errors are in units of their series' scale, so that series of
/// different sizes add up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HorizonAccuracy {
    /// Forecast values that matured.
    pub count: u64,
    /// Sum of Foretide's absolute errors.
    pub foretide: f64,
    /// Sum of the absolute errors of repeating the last value.
    pub last_value: f64,
    /// Sum of the absolute errors of the seasonal naive forecast.
    pub seasonal_naive: f64,
    /// Coverage of each central interval, ascending by `share` once added up.
    pub intervals: Vec<IntervalCoverage>,
    /// Sum of the weights of each expert, in the order of [`Expert`].
    pub weights: [f64; EXPERTS],
}

/// How many targets a central interval covered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct IntervalCoverage {
    /// Nominal share of the interval, such as 0.8.
    pub share: f32,
    /// Targets that had such an interval.
    pub targets: u64,
    /// Targets inside it.
    pub covered: u64,
}

impl HorizonAccuracy {
    /// Adds `more` to the sums.
    pub fn add(&mut self, more: &Self) {
        self.count += more.count;
        self.foretide += more.foretide;
        self.last_value += more.last_value;
        self.seasonal_naive += more.seasonal_naive;
        self.weights = std::array::from_fn(|expert| self.weights[expert] + more.weights[expert]);
        for new in &more.intervals {
            match self.intervals.iter_mut().find(|sum| sum.share == new.share) {
                Some(sum) => (sum.targets, sum.covered) = (sum.targets + new.targets, sum.covered + new.covered),
                None => {
                    self.intervals.push(*new);
                    self.intervals.sort_by(|a, b| a.share.total_cmp(&b.share));
                }
            }
        }
    }

    /// The sum of many.
    pub(super) fn total<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |mut sum, more| {
            sum.add(more);
            sum
        })
    }

    /// Skill against both naive forecasts since `earlier`, the same sums at an earlier moment.
    pub(super) fn skill_since(&self, earlier: &Self) -> (Option<f64>, Option<f64>) {
        let ours = self.foretide - earlier.foretide;
        (skill(ours, self.last_value - earlier.last_value), skill(ours, self.seasonal_naive - earlier.seasonal_naive))
    }

    /// Skill and coverage.
    pub(super) fn view(&self) -> SkillView {
        let (skill_last_value, skill_seasonal_naive) = self.skill_since(&Self::default());
        let coverage = self.intervals.iter().map(|sum| {
            let share = (f64::from(sum.share) * 1e4).round() / 1e4;
            (share, (sum.targets > 0).then(|| sum.covered as f64 / sum.targets as f64))
        });
        SkillView { skill_last_value, skill_seasonal_naive, coverage: coverage.collect() }
    }

    /// Mean weight of each expert by name, the largest first.
    pub(super) fn experts(&self) -> Vec<(&'static str, f64)> {
        let mean = |weight: f64| weight / self.count.max(1) as f64;
        let named = Expert::NAMES.into_iter().zip(self.weights.map(mean));
        let mut experts: Vec<_> = named.filter(|(_, weight)| weight.abs() >= LEAST_WEIGHT).collect();
        experts.sort_by(|one, other| other.1.total_cmp(&one.1));
        experts
    }
}

/// One minus the ratio of two sums of absolute errors: 0.2 says that `ours` is 20 % smaller.
fn skill(ours: f64, theirs: f64) -> Option<f64> {
    (theirs > 0.0 && ours.is_finite() && theirs.is_finite()).then(|| 1.0 - ours / theirs)
}
