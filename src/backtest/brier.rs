//! Brier scores: how good the probability of crossing a threshold is.

use super::method::METHODS;
use crate::series::Target;

/// Brier scores: the mean squared difference between the predicted probability of crossing a threshold and the outcome,
/// 0 or 1 (Brier, Monthly Weather Review 1950).
#[derive(Debug, Clone, PartialEq)]
pub struct BrierScores {
    /// The threshold, in the series' own unit.
    pub threshold: f64,
    /// Share of the scored targets beyond the threshold.
    pub share: f64,
    /// Score by [`Method`](super::Method). A naive forecast predicts 0 or 1.
    pub by_method: [f64; METHODS],
    /// Score of the base rate: the share of the series' targets beyond the threshold that were known at the origin.
    pub of_base_rate: f64,
}

/// One target with the predictions of it. Values are in the series' own unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing {
    /// The target's value.
    pub target: f64,
    /// Predicted probability of crossing.
    pub probability: f32,
    /// The naive forecasts of the target: last value, seasonal naive.
    pub naive: [f64; 2],
    /// The base rate at the origin.
    pub base_rate: f64,
}

/// Sums for [`BrierScores`].
#[derive(Debug, Clone)]
pub(super) struct BrierSums {
    threshold: f64,
    target: Target,
    count: u64,
    beyond: u64,
    squares: [f64; METHODS],
    squares_of_base_rate: f64,
}

/// How often the known targets of a series crossed the threshold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BaseRate {
    count: f64,
    beyond: f64,
}

impl BaseRate {
    /// The share of known targets beyond the threshold, with half a count on either side; 0.5 before the first.
    pub fn share(self) -> f64 {
        (self.beyond + 0.5) / (self.count + 1.0)
    }
}

impl BrierSums {
    pub fn new(threshold: f64, target: Target) -> Self {
        Self { threshold, target, count: 0, beyond: 0, squares: [0.0; METHODS], squares_of_base_rate: 0.0 }
    }

    /// Adds a target and updates the base rate of its series.
    pub fn add(&mut self, crossing: &Crossing, base_rate: &mut BaseRate) {
        let beyond = |value: f64| {
            let beyond = if self.target == Target::Minimum { value < self.threshold } else { value > self.threshold };
            f64::from(u8::from(beyond))
        };
        let outcome = beyond(crossing.target);
        let [last, seasonal] = crossing.naive.map(beyond);
        for (square, predicted) in self.squares.iter_mut().zip([f64::from(crossing.probability), last, seasonal]) {
            *square += (predicted - outcome).powi(2);
        }
        self.squares_of_base_rate += (crossing.base_rate - outcome).powi(2);
        self.count += 1;
        self.beyond += u64::from(outcome > 0.0);
        base_rate.count += 1.0;
        base_rate.beyond += outcome;
    }

    /// The scores; `None` before the first target.
    pub fn scores(&self) -> Option<BrierScores> {
        let mean = |sum: f64| sum / self.count as f64;
        (self.count > 0).then(|| BrierScores {
            threshold: self.threshold,
            share: mean(self.beyond as f64),
            by_method: self.squares.map(mean),
            of_base_rate: mean(self.squares_of_base_rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brier_scores_equal_those_by_hand() {
        let (mut sums, mut rate) = (BrierSums::new(10.0, Target::Maximum), BaseRate::default());
        assert_eq!(sums.scores(), None);
        for (target, probability, naive) in [(12.0, 0.75, [9.0, 11.0]), (8.0, 0.5, [11.0, 7.0])] {
            sums.add(&Crossing { target, probability, naive, base_rate: rate.share() }, &mut rate);
        }
        let scores = sums.scores().unwrap();
        assert_eq!((scores.share, scores.by_method), (0.5, [(0.0625 + 0.25) / 2.0, 1.0, 0.0]));
        assert_eq!(scores.of_base_rate, (0.25 + 0.5625) / 2.0);
        assert_eq!(rate.share(), 0.5);
    }

    #[test]
    fn a_minimum_crosses_downwards() {
        let (mut sums, mut rate) = (BrierSums::new(10.0, Target::Minimum), BaseRate::default());
        sums.add(&Crossing { target: 8.0, probability: 1.0, naive: [9.0, 11.0], base_rate: 0.5 }, &mut rate);
        let scores = sums.scores().unwrap();
        assert_eq!((scores.share, scores.by_method), (1.0, [0.0, 0.0, 1.0]));
    }
}
