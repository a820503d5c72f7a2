//! How far values spread at each phase of the season: a quiet night beside a busy noon.

use serde::{Deserialize, Serialize};

use crate::forecast::history::phase::{Cycle, Phase};
use crate::forecast::numeric::all_finite;
use crate::series::clone_in_place;

/// Most bins of a season.
const MAX_BINS: usize = 24;
/// Step of a bin towards the newest residual, relative to the bin.
const RATE: f32 = 0.008;
/// Step of a bin towards 1 with each residual: what is seen at one phase only is believed with reserve.
const SHRINKAGE: f32 = 0.0005;
/// A residual counts for at most this many mean absolute residuals.
const MAX_MAGNITUDE: f32 = 4.0;
/// A phase spreads at most this many times as far as all phases together, and at least this part of it.
const MAX_SPREAD: f32 = 5.0;

/// The spread of residuals at each phase of the target, relative to that of all phases. Without a season it is 1.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PhaseSpread {
    /// `[bin]`
    spreads: Vec<f32>,
}

clone_in_place!(PhaseSpread { spreads });

impl PhaseSpread {
    /// For a season of this many steps; below 2 there is none.
    pub fn new(season: usize) -> Self {
        Self { spreads: vec![1.0; if season < 2 { 0 } else { season.min(MAX_BINS) }] }
    }

    /// The spreads of targets in the slots from `slot` on.
    #[inline]
    pub fn from<'a>(&'a self, cycle: Cycle<'a>, slot: i64) -> impl Iterator<Item = f32> + 'a {
        let (mut phase, mut slot) = (Phase::new(cycle, slot), slot);
        std::iter::from_fn(move || {
            let spread = self.of_phase(cycle, phase);
            slot = slot.saturating_add(1);
            phase.advance(cycle, slot);
            Some(spread)
        })
    }

    /// The spread of a target in `slot`.
    pub fn at(&self, cycle: Cycle<'_>, slot: i64) -> f32 {
        self.of_phase(cycle, Phase::new(cycle, slot))
    }

    #[inline]
    fn of_phase(&self, cycle: Cycle<'_>, phase: Phase) -> f32 {
        self.spreads.get(self.bin(cycle, phase)).copied().unwrap_or(1.0)
    }

    /// Learns from the residual of a target in `slot`: its size relative to what was expected there, on average 1.
    pub fn learn(&mut self, cycle: Cycle<'_>, slot: i64, relative_magnitude: f32) {
        let bin = self.bin(cycle, Phase::new(cycle, slot));
        let Some(spread) = self.spreads.get_mut(bin).filter(|_| relative_magnitude.is_finite()) else { return };
        *spread *= 1.0 + RATE * (relative_magnitude.min(MAX_MAGNITUDE) - 1.0);
        *spread += SHRINKAGE * (1.0 - *spread);
        *spread = spread.clamp(1.0 / MAX_SPREAD, MAX_SPREAD);
    }

    #[inline]
    fn bin(&self, cycle: Cycle<'_>, phase: Phase) -> usize {
        phase.step * self.spreads.len() / cycle.season.max(1)
    }

    /// Whether it has the shape that `season` needs, and valid values; a snapshot comes from outside.
    pub fn is_sound(&self, season: usize) -> bool {
        self.spreads.len() == Self::new(season).spreads.len()
            && all_finite(&self.spreads)
            && self.spreads.iter().all(|spread| (1.0 / MAX_SPREAD..=MAX_SPREAD).contains(spread))
    }

    pub fn heap_bytes(&self) -> usize {
        self.spreads.capacity() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(season: usize) -> Cycle<'static> {
        Cycle { season, holidays: None, local_slots: None }
    }

    #[test]
    fn a_quiet_phase_has_a_smaller_spread_than_a_wild_one() {
        for season in [2_usize, 24, 288] {
            let mut spread = PhaseSpread::new(season);
            let is_wild = |slot: i64| slot.rem_euclid(season as i64) * 2 >= season as i64;
            for slot in 0..800 * season.min(24) as i64 {
                let slot = slot * season.div_ceil(24) as i64;
                // Residuals of size 1 and 3, in units of what is expected of all phases together.
                let size = if is_wild(slot) { 1.5 } else { 0.5 };
                spread.learn(plain(season), slot, size / spread.at(plain(season), slot));
            }
            let [quiet, wild] = [0, season as i64 - 1].map(|slot| spread.at(plain(season), slot));
            assert!((quiet - 0.5).abs() < 0.06 && (wild - 1.5).abs() < 0.06, "{season}: {quiet} {wild}");
            assert_eq!(spread.at(plain(season), -1), wild, "slots before 1970");
            assert!(spread.is_sound(season) && !spread.is_sound(1));
        }
    }

    #[test]
    fn without_a_season_nothing_is_learnt() {
        let mut spread = PhaseSpread::new(1);
        spread.learn(plain(1), 7, 100.0);
        assert_eq!((spread.at(plain(1), 7), spread.heap_bytes()), (1.0, 0));
    }

    #[test]
    fn it_stays_within_its_limits_whatever_comes() {
        let mut spread = PhaseSpread::new(3);
        for slot in 0..10_000 {
            spread.learn(plain(3), slot, [0.0, f32::MAX, f32::NAN][slot as usize % 3]);
        }
        assert!(spread.is_sound(3));
        assert_eq!([0, 1, 2].map(|slot| spread.at(plain(3), slot) > 1.0), [false, true, false]);
    }
}
