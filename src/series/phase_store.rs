//! The phase store: which values a series has at each phase of its season, recency-weighted, for forecasts of any lead.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::value_limit::is_within_limit;

/// The most bins of a season. A shorter season has one bin for each step.
const MAX_BINS: usize = 24;
/// A bin's mean forgets over this many seasons.
const MEMORY: f64 = 8.0;
/// A value counts as at most this many scales from its bin's mean.
const CLIP: f64 = 6.0;

/// Means of the values by phase. Empty before the first value.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct PhaseStore {
    bins: Vec<Bin>,
}

clone_in_place!(PhaseStore { bins });

/// The values at some phases.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Bin {
    mean: f64,
    /// Mean absolute deviation of the values from what the mean was before them; 0 before the second one.
    deviation: f64,
    /// How many values the means count for; 0 where there was none.
    weight: f64,
}

/// What the store says about a phase.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct PhaseReading {
    /// Mean of the values.
    pub mean: f64,
    /// Their mean absolute deviation.
    pub deviation: f64,
    /// How many values stand behind it; 0 where nothing is known.
    pub weight: f64,
}

impl PhaseStore {
    /// Updates the bin of a slot with its value. `season` is in steps, at least 2; `scale` is that of the series.
    pub fn update(&mut self, season: usize, slot: i64, value: f64, scale: f64) {
        let count = season.min(MAX_BINS);
        if self.bins.len() != count {
            self.bins = vec![Bin::default(); count];
        }
        let at = slot.rem_euclid(season as i64) as usize * count / season;
        let bin = &mut self.bins[at];
        let most = MEMORY * (season as f64 / count as f64);
        bin.weight = (bin.weight + 1.0).min(most);
        if bin.weight <= 1.0 {
            bin.mean = value;
            return;
        }
        let distance = (value - bin.mean).clamp(-CLIP * scale, CLIP * scale);
        bin.mean += distance / bin.weight;
        // There is one deviation fewer than values.
        bin.deviation += (distance.abs() - bin.deviation) / (bin.weight - 1.0);
    }

    /// Reads the store at the phase of a slot: between the middles of two bins in proportion.
    pub fn read(&self, season: usize, slot: i64) -> PhaseReading {
        let count = self.bins.len();
        if count == 0 || count != season.min(MAX_BINS) {
            return PhaseReading::default();
        }
        let step = slot.rem_euclid(season as i64) as f64;
        let place = (step + 0.5) / season as f64 * count as f64 - 0.5;
        let (below, share) = (place.floor(), place - place.floor());
        let bin = |at: f64| &self.bins[(at as i64).rem_euclid(count as i64) as usize];
        let pair = [(bin(below), 1.0 - share), (bin(below + 1.0), share)];
        let known = pair.iter().map(|(bin, share)| if bin.weight > 0.0 { *share } else { 0.0 }).sum::<f64>();
        if known <= 0.0 {
            return PhaseReading::default();
        }
        let mut reading = PhaseReading::default();
        for (bin, share) in pair.iter().filter(|(bin, _)| bin.weight > 0.0) {
            let share = share / known;
            reading.mean += share * bin.mean;
            reading.deviation += share * bin.deviation;
            reading.weight += share * bin.weight;
        }
        reading
    }

    /// Whether a decoded store is one that [`Self::update`] can make.
    pub fn is_sound(&self) -> bool {
        let sound = |bin: &Bin| {
            is_within_limit(bin.mean) && is_within_limit(bin.deviation) && bin.deviation >= 0.0 && bin.weight >= 0.0
        };
        self.bins.len() <= MAX_BINS && self.bins.iter().all(|bin| sound(bin) && bin.weight.is_finite())
    }

    /// Memory on the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.bins.capacity() * size_of::<Bin>()
    }

    /// Memory of a full store, in bytes.
    pub fn predicted_bytes(season: usize) -> usize {
        size_of::<Self>() + season.min(MAX_BINS) * size_of::<Bin>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_learns_the_profile_of_short_and_long_seasons() {
        for season in [7_usize, 24, 96, 288] {
            let profile =
                |slot: i64| (slot.rem_euclid(season as i64) as f64 / season as f64 * std::f64::consts::TAU).sin();
            let mut store = PhaseStore::default();
            (0..season as i64 * 6).for_each(|slot| store.update(season, slot, 5.0 + profile(slot), 1.0));
            for slot in 0..season as i64 {
                let reading = store.read(season, slot + 1000 * season as i64);
                assert!((reading.mean - 5.0 - profile(slot)).abs() < 0.05, "{season} {slot} {reading:?}");
                assert!(reading.deviation < 0.2 && reading.weight > 5.0, "{season} {slot} {reading:?}");
            }
        }
    }

    #[test]
    fn unknown_phases_weigh_nothing_and_neighbours_help() {
        let mut store = PhaseStore::default();
        assert_eq!(store.read(48, 3), PhaseReading::default());
        store.update(48, 10, 2.0, 1.0);
        assert_eq!(store.read(48, 30).weight, 0.0);
        assert_eq!(store.read(48, 9), PhaseReading { mean: 2.0, deviation: 0.0, weight: 1.0 });
        assert_eq!(store.read(24, 9), PhaseReading::default(), "another season");
    }

    #[test]
    fn old_values_are_forgotten_and_spikes_count_little() {
        let mut store = PhaseStore::default();
        (0..24 * 100).for_each(|slot| store.update(24, slot, 1.0, 0.1));
        store.update(24, 24 * 100, 1e9, 0.1);
        assert!(store.read(24, 0).mean < 1.2);
        (24 * 100..24 * 140).for_each(|slot| store.update(24, slot, 3.0, 1.0));
        assert!((store.read(24, 5).mean - 3.0).abs() < 0.1, "{:?}", store.read(24, 5));
        assert!(store.is_sound() && store.heap_bytes() >= 24 * 24);
    }
}
