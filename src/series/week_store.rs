//! The week store: how far the values at each hour of the week lie from the series' level, recency-weighted. Beside a
//! phase store of a day it tells weekdays from weekends.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::value_limit::is_within_limit;

/// The most bins of a day. A shorter day has one bin for each step.
const DAY_BINS: usize = 24;
const DAYS: usize = 7;
/// A bin's mean forgets over this many weeks.
const MEMORY: usize = 4;
/// A value counts as at most this many scales from its bin's mean.
const CLIP: f64 = 6.0;

/// Deviations from the level by hour of the week. Empty before the first value.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct WeekStore {
    /// Mean of the values of about a week.
    level: f64,
    /// How many values the level counts for.
    steps: u32,
    /// Mean deviation of each bin from the level.
    deviations: Vec<f32>,
    /// How many values each of them counts for; 0 where there was none.
    weights: Vec<u8>,
}

clone_in_place!(WeekStore { level, steps, deviations, weights });

impl WeekStore {
    /// Updates the level, and the bin of a slot with its value. `day` is in steps, at least 2; `scale` is that of the
    /// series.
    pub fn update(&mut self, day: usize, slot: i64, value: f64, scale: f64) {
        let count = bins(day);
        if self.weights.len() != count {
            *self = Self { deviations: vec![0.0; count], weights: vec![0; count], ..Self::default() };
        }
        self.steps = self.steps.saturating_add(1).min((DAYS * day) as u32);
        let distance = value - self.level;
        let limit = if self.steps == 1 { f64::INFINITY } else { CLIP * scale };
        self.level += distance.clamp(-limit, limit) / f64::from(self.steps);
        let at = slot.rem_euclid((DAYS * day) as i64) as usize * count / (DAYS * day);
        let most = (MEMORY * DAYS * day / count).min(usize::from(u8::MAX)) as u8;
        let weight = self.weights[at].saturating_add(1).min(most);
        let bin = &mut self.deviations[at];
        let distance = value - self.level - f64::from(*bin);
        let limit = if weight == 1 { 2.0 * CLIP * scale } else { CLIP * scale };
        *bin += (distance.clamp(-limit, limit) / f64::from(weight)) as f32;
        self.weights[at] = weight;
    }

    /// The mean value at the hour of the week of a slot, between the middles of two bins in proportion, and how many
    /// values stand behind it. `None` where one of the two is unknown.
    pub fn read(&self, day: usize, slot: i64) -> Option<(f64, f64)> {
        let (count, week) = (self.weights.len(), DAYS * day);
        if count == 0 || count != bins(day) {
            return None;
        }
        let place = (slot.rem_euclid(week as i64) as f64 + 0.5) / week as f64 * count as f64 - 0.5;
        let (below, share) = (place.floor(), place - place.floor());
        let bin = |at: f64| {
            let at = (at as i64).rem_euclid(count as i64) as usize;
            (self.weights[at] > 0).then(|| (f64::from(self.deviations[at]), f64::from(self.weights[at])))
        };
        let (one, other) = if share > 0.0 { (bin(below)?, bin(below + 1.0)?) } else { (bin(below)?, bin(below)?) };
        let between = |one: f64, other: f64| one + share * (other - one);
        Some((self.level + between(one.0, other.0), between(one.1, other.1)))
    }

    /// Whether a decoded store is one that [`Self::update`] can make.
    pub fn is_sound(&self) -> bool {
        let finite = self.deviations.iter().all(|deviation| deviation.is_finite());
        is_within_limit(self.level)
            && finite
            && self.deviations.len() == self.weights.len()
            && self.weights.len() <= DAYS * DAY_BINS
    }

    /// Memory on the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.deviations.capacity() * size_of::<f32>() + self.weights.capacity()
    }

    /// Memory on the heap of a full store, in bytes.
    pub fn predicted_heap_bytes(day: usize) -> usize {
        bins(day) * (size_of::<f32>() + 1)
    }
}

/// Bins of a week.
fn bins(day: usize) -> usize {
    DAYS * day.min(DAY_BINS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Office days of `day` steps, quiet on two of seven.
    fn value(day: i64, slot: i64) -> f64 {
        let (weekday, phase) = ((slot / day).rem_euclid(7), slot.rem_euclid(day) as f64 / day as f64);
        100.0 + if weekday < 5 { 20.0 * (std::f64::consts::TAU * phase).sin() } else { -10.0 }
    }

    #[test]
    fn weekdays_and_weekends_differ_at_any_level() {
        for day in [12_i64, 24, 96, 288] {
            for (shift, tolerance) in [(0.0, 3.0), (1000.0, 10.0)] {
                let mut store = WeekStore::default();
                let end = day * 7 * 10;
                for slot in 0..end {
                    let shift = if slot >= day * 7 * 2 { shift } else { 0.0 };
                    store.update(day as usize, slot, value(day, slot) + shift, 10.0);
                }
                let edge = (day / 24).max(1);
                let within = |slot: &i64| (edge..day - edge).contains(&slot.rem_euclid(day));
                let noon = end - day / 2;
                for slot in (end..end + day * 7).filter(within) {
                    let mean = |slot: i64| store.read(day as usize, slot).unwrap().0;
                    let (found, expected) = (mean(slot) - mean(noon), value(day, slot) - value(day, noon));
                    assert!((found - expected).abs() < tolerance, "{day} {slot}: {found} {expected}");
                }
                assert!(store.is_sound() && store.heap_bytes() >= WeekStore::predicted_heap_bytes(day as usize));
            }
        }
    }

    #[test]
    fn an_hour_that_was_never_seen_is_unknown() {
        let mut store = WeekStore::default();
        assert_eq!(store.read(24, 0), None);
        (0..30).for_each(|slot| store.update(24, slot, 5.0, 1.0));
        assert_eq!(store.read(24, 24 * 7 + 3), Some((5.0, 1.0)));
        assert_eq!((store.read(24, 40), store.read(12, 3)), (None, None));
    }
}
