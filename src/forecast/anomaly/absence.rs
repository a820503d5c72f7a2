//! How unusual it is that a value is absent.
//!
//! Gaps begin with one probability and last with another (a Markov chain of two states), both learnt from the series
//! itself. The score of the `k`th absent value in a row is 1 minus the probability that a value is followed by so many
//! absent ones.

use serde::{Deserialize, Serialize};

/// Time constant of the counts, in steps.
const WINDOW: f32 = 2_048.0;

/// How often the values of a series are absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct AbsenceRates {
    /// After a value that was there.
    begins: Rate,
    /// After a value that was absent.
    lasts: Rate,
    /// Absent values in a row so far.
    run: u32,
    /// The probability that a value is followed by so many absent ones.
    probability: f32,
}

/// How often a value is absent: counts that fade.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Rate {
    absent: f32,
    all: f32,
}

impl Rate {
    /// The estimate of Krichevsky and Trofimov (1981).
    fn probability(self) -> f32 {
        (self.absent + 0.5) / (self.all + 1.0)
    }

    fn learn(&mut self, is_absent: bool) {
        let keep = 1.0 - 1.0 / WINDOW;
        self.absent = self.absent * keep + f32::from(u8::from(is_absent));
        self.all = self.all * keep + 1.0;
    }

    fn is_sound(self) -> bool {
        (0.0..=2.0 * WINDOW).contains(&self.all) && (0.0..=self.all).contains(&self.absent)
    }
}

impl AbsenceRates {
    /// Learns whether the next value is there. Returns the anomaly score of one that is absent, by the rates before it.
    pub fn update(&mut self, is_absent: bool) -> Option<f32> {
        let rate = if self.run == 0 { &mut self.begins } else { &mut self.lasts };
        let before = if self.run == 0 { 1.0 } else { self.probability };
        let probability = before * rate.probability();
        rate.learn(is_absent);
        if is_absent {
            (self.run, self.probability) = (self.run.saturating_add(1), probability);
            return Some(1.0 - probability);
        }
        self.run = 0;
        None
    }

    /// The series has been reset: what came before its next value counts as a value that was there.
    pub fn reset(&mut self) {
        self.run = 0;
    }

    /// Whether it has valid values; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        self.begins.is_sound() && self.lasts.is_sound() && (0.0..=1.0).contains(&self.probability)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn a_missing_heartbeat_is_an_anomaly_and_a_night_is_not() {
        let mut heartbeat = AbsenceRates::default();
        let unusual = (0..1_200).all(|_| heartbeat.update(false).is_none());
        let score = heartbeat.update(true).unwrap();
        assert!(unusual && score > 0.999, "{score}");
        // Away for eight steps in 24, so that seven of eight absent values follow another one.
        let mut nightly = AbsenceRates::default();
        let scores: Vec<f32> = (0..2_400).filter_map(|step| nightly.update(step % 24 < 8)).collect();
        assert!(scores[400..].iter().all(|score| *score < 0.99), "{:?}", &scores[792..]);
    }

    #[test]
    fn a_score_is_as_frequent_as_it_says() {
        let mut random = Pcg64Mcg::seed_from_u64(1);
        let (mut rates, mut absent, mut above) = (AbsenceRates::default(), false, 0);
        let (steps, mut gaps) = (200_000, 0);
        for _ in 0..steps {
            let after_value = !absent;
            absent = random.random_bool(if absent { 0.6 } else { 0.05 });
            gaps += u32::from(absent && after_value);
            above += u32::from(rates.update(absent).is_some_and(|score| score >= 0.99));
        }
        // Gaps of four or more: .05 times .6 to the third is .0108, of five .0065, so the fifth value is the first.
        let expected = f64::from(gaps) * 0.6f64.powi(4) / 0.4;
        assert!((f64::from(above) / expected - 1.0).abs() < 0.25, "{above} for {expected}");
    }

    proptest! {
        #[test]
        fn scores_are_probabilities_and_rise_within_a_gap(steps in proptest::collection::vec(any::<bool>(), 0..400)) {
            let mut rates = AbsenceRates::default();
            let mut before = None;
            for absent in steps {
                let score = rates.update(absent);
                prop_assert!(rates.is_sound() && score.is_some() == absent);
                prop_assert!(score.is_none_or(|score| (0.0..=1.0).contains(&score)));
                prop_assert!(score.zip(before).is_none_or(|(score, before)| score >= before));
                before = score;
            }
        }
    }
}
