//! Real series beside the generated ones.

use super::augmentation::{augment, rescale};
use super::corpus::PretrainSeries;
use super::frame::automatic_season;
use super::random::Random;

/// A real series on a regular grid.
#[derive(Debug, Clone)]
pub struct RealSeries {
    /// Milliseconds between two steps.
    pub interval: i64,
    /// Time of the first step in milliseconds, a multiple of the interval.
    pub start: i64,
    /// One value a step; NaN where it is missing. At least one is there.
    pub values: Vec<f64>,
}

impl RealSeries {
    /// A random part of at most `length` steps, sometimes changed a little, that begins with a value.
    pub(super) fn draw(&self, random: &mut Random, length: usize) -> PretrainSeries {
        let from = random.integer(0, self.values.len().saturating_sub(length));
        let known = |at: &usize| self.values[*at].is_finite();
        // The first value after the chosen step, or the first of all.
        let from = (from..self.values.len()).find(known).or_else(|| (0..self.values.len()).find(known)).unwrap_or(0);
        let mut values: Vec<f64> = self.values[from..].iter().take(length).copied().collect();
        if random.chance(0.3) && values.iter().all(|value| value.is_finite()) {
            augment(random, &mut values);
            rescale(random, &mut values);
        }
        let start = self.start + from as i64 * self.interval;
        let season = automatic_season(self.interval);
        PretrainSeries { family: None, interval: self.interval, start, season, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_with_a_value_at_its_time() {
        let value = |at: i32| if (at / 10) % 2 == 0 { f64::NAN } else { f64::from(at) };
        let series = RealSeries { interval: 60_000, start: 120_000, values: (0..500).map(value).collect() };
        for index in 0..50 {
            let part = series.draw(&mut Random::new(1, index), 100);
            let first = part.values[0];
            assert!(first.is_finite() && part.values.len() <= 100 && part.season == 1440);
            assert_eq!(part.start, 120_000 + first as i64 * 60_000);
        }
    }
}
