//! How well the probability of crossing a threshold is told.

use super::report::METHODS;
use crate::series::Target;

/// The share of forecasts whose number crossed the threshold, and the Brier scores of those who told how probable it was:
/// the mean squared difference of the probability from what came, 0 or 1 (Brier, Monthly Weather Review 1950).
#[derive(Debug, Clone, PartialEq)]
pub struct Crossing {
    /// The threshold, in the values' own unit.
    pub threshold: f64,
    /// How many of the scored numbers lay beyond it.
    pub share: f64,
    /// By [`Method`](super::Method); a naive forecast says 0 or 1.
    pub brier: [f64; METHODS],
    /// Of whoever tells the share of all numbers of the series that were known when the forecast was made.
    pub brier_of_share: f64,
}

/// Sums what [`Crossing`] tells.
#[derive(Debug, Clone)]
pub(super) struct Crossings {
    threshold: f64,
    target: Target,
    count: u64,
    beyond: u64,
    squares: [f64; METHODS],
    squares_of_share: f64,
}

/// What of a series' numbers is known so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    count: f64,
    beyond: f64,
}

impl Known {
    /// The share beyond the threshold, half way before anything is known.
    pub fn share(self) -> f64 {
        (self.beyond + 0.5) / (self.count + 1.0)
    }
}

impl Crossings {
    pub fn new(threshold: f64, target: Target) -> Self {
        Self { threshold, target, count: 0, beyond: 0, squares: [0.0; METHODS], squares_of_share: 0.0 }
    }

    /// Takes in a number, what was said of it (the probability, the two naive forecasts, the share that was known), all in
    /// the values' own unit.
    pub fn add(&mut self, number: f64, probability: f32, naive: [f64; 2], share: f64, known: &mut Known) {
        let beyond = |number: f64| {
            let beyond = if self.target == Target::Minimum { number < self.threshold } else { number > self.threshold };
            f64::from(u8::from(beyond))
        };
        let came = beyond(number);
        let told = [f64::from(probability), beyond(naive[0]), beyond(naive[1])];
        for (square, told) in self.squares.iter_mut().zip(told) {
            *square += (told - came).powi(2);
        }
        self.squares_of_share += (share - came).powi(2);
        self.count += 1;
        self.beyond += u64::from(came > 0.0);
        known.count += 1.0;
        known.beyond += came;
    }

    /// The means; none before anything was scored.
    pub fn means(&self) -> Option<Crossing> {
        let mean = |sum: f64| sum / self.count as f64;
        (self.count > 0).then(|| Crossing {
            threshold: self.threshold,
            share: mean(self.beyond as f64),
            brier: self.squares.map(mean),
            brier_of_share: mean(self.squares_of_share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brier_scores_by_hand() {
        let (mut crossings, mut known) = (Crossings::new(10.0, Target::Maximum), Known::default());
        assert_eq!(crossings.means(), None);
        for (number, probability, last, seasonal) in [(12.0, 0.75, 9.0, 11.0), (8.0, 0.5, 11.0, 7.0)] {
            crossings.add(number, probability, [last, seasonal], known.share(), &mut known);
        }
        let means = crossings.means().unwrap();
        assert_eq!((means.share, means.brier), (0.5, [(0.0625 + 0.25) / 2.0, 1.0, 0.0]));
        assert_eq!(means.brier_of_share, (0.25 + 0.5625) / 2.0);
        assert_eq!(known.share(), 0.5);
    }

    #[test]
    fn a_minimum_crosses_downwards() {
        let (mut crossings, mut known) = (Crossings::new(10.0, Target::Minimum), Known::default());
        crossings.add(8.0, 1.0, [9.0, 11.0], 0.5, &mut known);
        let means = crossings.means().unwrap();
        assert_eq!((means.share, means.brier), (1.0, [0.0, 0.0, 1.0]));
    }
}
