//! The endless corpus of generated series.

use super::augmentation::{augment, mix, rescale, subsample};
use super::events::{happen, lose};
use super::families::Family;
use super::frame::{Frame, automatic_season};
use super::random::Random;

/// A generated value is at most this large.
const LARGEST: f64 = 1e15;

/// A series of the corpus, one value a step.
#[derive(Debug, Clone)]
pub struct PretrainSeries {
    /// The family that its values come from; others may be mixed in. None for a real series.
    pub family: Option<Family>,
    /// Milliseconds between two steps.
    pub interval: i64,
    /// Time of the first step in milliseconds, a multiple of the interval.
    pub start: i64,
    /// Steps of a season as a stream would have it configured, right or wrong; 0 for none.
    pub season: u32,
    /// One value a step; NaN where it is missing. The first one is there.
    pub values: Vec<f64>,
}

/// Series from a seed. Each is a pure function of the seed, the length and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corpus {
    /// Seed of all series.
    pub seed: u64,
    /// Steps of each series, at least 64.
    pub length: usize,
}

impl Corpus {
    /// Makes a series. Any thirteen successive ones hold every family in its shares.
    pub fn series(&self, index: u64) -> PretrainSeries {
        let mut random = Random::new(self.seed, index);
        let (random, family) = (&mut random, Family::of_share(index));
        let frame = Frame::draw(random, self.length);
        let mut values = if random.chance(0.12) {
            let factor = random.pick(&[2, 4, 5]);
            let fine = family.generate(random, &frame.refined(factor));
            subsample(random, &fine, factor)
        } else {
            family.generate(random, &frame)
        };
        if random.chance(0.2) {
            let other = random.pick(&Family::ALL).generate(random, &frame);
            values = mix(random, &values, &other);
        }
        augment(random, &mut values);
        happen(random, &mut values);
        if random.chance(0.6) {
            rescale(random, &mut values);
        }
        values.iter_mut().for_each(|value| *value = value.clamp(-LARGEST, LARGEST));
        let season = frame.season(random);
        lose(random, &mut values, season);
        // Streams have the automatic season, whether their series have it or not. Some have one configured.
        let season = if random.chance(0.75) { automatic_season(frame.interval) } else { season.round() as u32 };
        PretrainSeries { family: Some(family), interval: frame.interval, start: frame.start, season, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const CORPUS: Corpus = Corpus { seed: 11, length: 512 };

    #[test]
    fn series_are_finite_complete_and_the_same_again() {
        for index in 0..260 {
            let series = CORPUS.series(index);
            let name = format!("{index}: {:?}", series.family);
            assert_eq!(series.values.len(), 512, "{name}");
            assert!(series.values[0].is_finite() && series.values.iter().all(|value| !value.is_infinite()), "{name}");
            assert!(series.values.iter().filter(|value| value.is_nan()).count() < 400, "{name}");
            assert!(series.interval >= 1000 && series.start % series.interval == 0 && series.season <= 1440, "{name}");
            let bits = |series: &PretrainSeries| series.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&series), bits(&CORPUS.series(index)), "{name}");
        }
        let other = Corpus { seed: 12, ..CORPUS };
        assert_ne!(other.series(5).values[..9], CORPUS.series(5).values[..9]);
    }

    #[test]
    fn families_have_their_shares() {
        let mut counts = BTreeMap::new();
        for index in 0..130 {
            *counts.entry(format!("{:?}", CORPUS.series(index).family.unwrap())).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), Family::ALL.len());
        for family in Family::ALL {
            assert_eq!(counts[&format!("{family:?}")], 10 * family.shares(), "{family:?}");
        }
    }

    #[test]
    fn intervals_and_missing_values_vary() {
        let series: Vec<PretrainSeries> = (0..200).map(|index| CORPUS.series(index)).collect();
        let mut intervals: Vec<i64> = series.iter().map(|series| series.interval).collect();
        intervals.sort_unstable();
        intervals.dedup();
        assert!(intervals.len() > 12 && intervals[0] == 1000 && intervals.last() == Some(&86_400_000));
        let gappy = series.iter().filter(|series| series.values.iter().any(|value| value.is_nan())).count();
        assert!((20..120).contains(&gappy), "{gappy}");
    }
}
