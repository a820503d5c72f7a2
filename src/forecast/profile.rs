//! What a season looks like on average.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

/// Most numbers that describe a season; longer ones share them between neighbours.
const MOST_OF_A_SEASON: usize = 288;
/// Most numbers that describe one of seven seasons.
const MOST_OF_A_DAY: usize = 24;
/// Seasons in a week, where a season is a day.
const WEEK: usize = 7;
/// How far a number moves towards a new value; in the first seasons farther, so that it is their mean.
const RATE: f32 = 0.08;
/// The same of what a day of the week differs by.
const WEEKLY_RATE: f32 = 0.15;
/// Seasons that must be known before days of the week are told apart.
const WEEKS_FROM: u32 = 3;

/// What is taken for usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usual {
    /// 0 at all times.
    Nothing,
    /// What the slot's phase of the season tells.
    Season,
    /// The same for that day of the week.
    Week,
}

/// The usual value at each phase of a season, and what each of seven seasons usually differs by.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Profile {
    season: Vec<f32>,
    week: Vec<f32>,
    /// Values taken in.
    count: u32,
}

clone_in_place!(Profile { season, week, count });

impl Profile {
    /// Nothing is known; below two steps there is no season.
    pub fn new(season: usize) -> Self {
        let bins = |length: usize, most: usize| if season < 2 { 0 } else { length.div_ceil(length.div_ceil(most)) };
        Self {
            season: vec![0.0; bins(season, MOST_OF_A_SEASON)],
            week: vec![0.0; WEEK * bins(season, MOST_OF_A_DAY)],
            count: 0,
        }
    }

    /// Visits what is usual in the slots from `slot` on.
    pub fn ahead(&self, season: usize, usual: Usual, slot: i64) -> impl Iterator<Item = f32> + '_ {
        let (width, wide) = widths(season);
        let mut phase = Phase::new(season, slot);
        std::iter::from_fn(move || {
            let usual = match (usual, self.season.get(phase.of_season(season) / width)) {
                (Usual::Nothing, _) | (_, None) => 0.0,
                (Usual::Season, Some(usual)) => *usual,
                (Usual::Week, Some(usual)) => usual + self.week[phase.in_week(season, wide)],
            };
            phase.advance(season);
            Some(usual)
        })
    }

    /// Takes a value in that lies `apart` from what was usual in its slot for the season (not for the week).
    pub fn update(&mut self, season: usize, slot: i64, apart: impl Fn(f32) -> f32) {
        if season < 2 {
            return;
        }
        let (width, wide) = widths(season);
        let phase = Phase::new(season, slot);
        let within = phase.of_season(season);
        let steps_of_part = |width: usize| width.min(season - within / width * width) as f32; // the last one may be shorter
        let seasons = self.count / u32::try_from(season).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(1);
        let usual = &mut self.season[within / width];
        let apart = apart(*usual);
        if seasons >= WEEKS_FROM {
            let week = &mut self.week[phase.in_week(season, wide)];
            *week += WEEKLY_RATE / steps_of_part(wide) * (apart - *week);
        }
        let rate = match seasons {
            0 => 1.0 / (1 + within % width) as f32,
            _ => RATE.max(1.0 / (1 + seasons) as f32) / steps_of_part(width),
        };
        *usual += rate * apart;
    }

    /// Whether this is of such a season.
    pub fn fits(&self, season: usize) -> bool {
        let new = Self::new(season);
        self.season.len() == new.season.len() && self.week.len() == new.week.len()
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.season.capacity() + self.week.capacity()) * size_of::<f32>()
    }
}

/// Steps that share a number: of a season, of a week.
fn widths(season: usize) -> (usize, usize) {
    (season.div_ceil(MOST_OF_A_SEASON).max(1), season.div_ceil(MOST_OF_A_DAY).max(1))
}

/// Where a slot lies in seven seasons.
struct Phase(usize);

impl Phase {
    fn new(season: usize, slot: i64) -> Self {
        let week = i64::try_from(WEEK * season.max(1)).unwrap_or(i64::MAX);
        Self(usize::try_from(slot.rem_euclid(week)).unwrap_or(0))
    }

    fn of_season(&self, season: usize) -> usize {
        self.0 % season.max(1)
    }

    /// Number of the part of the week, where a part is `wide` steps of one season.
    fn in_week(&self, season: usize, wide: usize) -> usize {
        self.0 / season.max(1) * season.div_ceil(wide) + self.of_season(season) / wide
    }

    fn advance(&mut self, season: usize) {
        self.0 = if self.0 + 1 >= WEEK * season.max(1) { 0 } else { self.0 + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_and_its_days_of_the_week_are_learnt() {
        for season in [4_i64, 24, 600] {
            let steps = usize::try_from(season).unwrap();
            let mut profile = Profile::new(steps);
            let usual = |slot: i64| (slot.rem_euclid(season) * 10 / season) as f32;
            let sunday = |slot: i64| if slot.div_euclid(season).rem_euclid(7) == 3 { 5.0 } else { 0.0 };
            for slot in -season * 70..0 {
                profile.update(steps, slot, |known| usual(slot) + sunday(slot) - known);
            }
            for slot in 0..7 * season {
                let weekly = profile.ahead(steps, Usual::Week, slot).next().unwrap();
                let daily = profile.ahead(steps, Usual::Season, slot).next().unwrap();
                assert!((weekly - usual(slot) - sunday(slot)).abs() < 1.6, "{season} {slot}: {weekly}");
                assert!((daily - usual(slot)).abs() < 2.0, "{season} {slot}: {daily}");
            }
            let ahead: Vec<f32> = profile.ahead(steps, Usual::Week, 5).take(3 * steps).collect();
            let each = (5..).map(|slot| profile.ahead(steps, Usual::Week, slot).next().unwrap());
            assert_eq!(ahead, each.take(3 * steps).collect::<Vec<_>>());
            assert!(profile.season.len() <= MOST_OF_A_SEASON && profile.week.len() <= WEEK * MOST_OF_A_DAY);
        }
    }

    #[test]
    fn without_a_season_nothing_is_usual() {
        let mut profile = Profile::new(0);
        profile.update(0, 5, |known| 3.0 - known);
        assert_eq!(profile.ahead(0, Usual::Week, -9).take(3).collect::<Vec<_>>(), [0.0; 3]);
        assert!(profile.fits(1) && !profile.fits(2) && profile.heap_bytes() == 0);
    }
}
