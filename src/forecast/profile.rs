//! What a season looks like on average.

use crate::series::{Holiday, Holidays, clone_in_place};
use serde::{Deserialize, Serialize};

use super::experts::all_finite;

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

/// How far what a holiday differs by moves towards a new value: there are few of them.
const HOLIDAY_RATE: f32 = 0.3;

/// What repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cycle<'a> {
    /// Steps of a season; below two there is none.
    pub season: usize,
    /// Days that are not taken for their weekday; a season is a day then.
    pub holidays: Option<&'a Holidays>,
}

impl Cycle<'_> {
    fn holiday(&self, slot: i64) -> Option<Holiday> {
        self.holidays.and_then(|holidays| holidays.find(slot))
    }
}

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
    /// Seven seasons; where there are holidays, what they differ by from Sundays follows.
    week: Vec<f32>,
    /// Values taken in.
    count: u32,
}

clone_in_place!(Profile { season, week, count });

impl Profile {
    /// Nothing is known; below two steps there is no season.
    pub fn new(cycle: Cycle<'_>) -> Self {
        let season = cycle.season;
        let kinds = WEEK + usize::from(cycle.holidays.is_some());
        let bins = |length: usize, most: usize| if season < 2 { 0 } else { length.div_ceil(length.div_ceil(most)) };
        Self {
            season: vec![0.0; bins(season, MOST_OF_A_SEASON)],
            week: vec![0.0; kinds * bins(season, MOST_OF_A_DAY)],
            count: 0,
        }
    }

    /// Visits what is usual in the slots from `slot` on.
    pub fn ahead<'a>(&'a self, cycle: Cycle<'a>, usual: Usual, slot: i64) -> impl Iterator<Item = f32> + 'a {
        let season = cycle.season;
        let (width, wide) = widths(season);
        let (mut phase, mut slot) = (Phase::new(season, slot), slot);
        std::iter::from_fn(move || {
            let usual = match (usual, self.season.get(phase.of_season(season) / width)) {
                (Usual::Nothing, _) | (_, None) => 0.0,
                (Usual::Season, Some(usual)) => *usual,
                (Usual::Week, Some(usual)) => match cycle.holiday(slot) {
                    None => usual + self.week[phase.in_week(season, wide)],
                    Some(holiday) => {
                        let (sunday, own) = of_holiday(holiday, season, slot);
                        usual + (self.week[sunday] + self.week[own])
                    }
                },
            };
            phase.advance(season);
            slot = slot.saturating_add(1);
            Some(usual)
        })
    }

    /// Takes a value in that lies `apart` from what was usual in its slot for the season (not for the week).
    /// A holiday teaches nothing of its weekday.
    pub fn update(&mut self, cycle: Cycle<'_>, slot: i64, apart: impl Fn(f32) -> f32) {
        let season = cycle.season;
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
        let holiday = cycle.holiday(slot);
        if seasons >= WEEKS_FROM {
            let (kind, apart, rate) = match holiday {
                None => (phase.in_week(season, wide), apart, WEEKLY_RATE),
                Some(holiday) => {
                    let (sunday, own) = of_holiday(holiday, season, slot);
                    (own, apart - self.week[sunday], HOLIDAY_RATE)
                }
            };
            let week = &mut self.week[kind];
            *week += rate / steps_of_part(wide) * (apart - *week);
        }
        let rate = match seasons {
            0 => 1.0 / (1 + within % width) as f32,
            _ => RATE.max(1.0 / (1 + seasons) as f32) / steps_of_part(width),
        };
        *usual += rate * apart;
    }

    /// Whether this is of such a season.
    pub fn fits(&self, cycle: Cycle<'_>) -> bool {
        let new = Self::new(cycle);
        self.season.len() == new.season.len() && self.week.len() == new.week.len()
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        all_finite(&self.season) && all_finite(&self.week)
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.season.capacity() + self.week.capacity()) * size_of::<f32>()
    }
}

/// Where among the numbers of a week that of a Sunday stands at this time of day, and what a holiday differs by from it.
fn of_holiday(holiday: Holiday, season: usize, slot: i64) -> (usize, usize) {
    let (_, wide) = widths(season);
    let days = i64::try_from(season).unwrap_or(i64::MAX).saturating_mul(holiday.days_to_sunday);
    let sunday = Phase::new(season, slot.saturating_add(days));
    (sunday.in_week(season, wide), WEEK * season.div_ceil(wide) + sunday.of_season(season) / wide)
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
    use crate::series::Calendar;
    use crate::time::Grid;

    fn plain(season: usize) -> Cycle<'static> {
        Cycle { season, holidays: None }
    }

    #[test]
    fn a_season_and_its_days_of_the_week_are_learnt() {
        for season in [4_i64, 24, 600] {
            let steps = usize::try_from(season).unwrap();
            let mut profile = Profile::new(plain(steps));
            let usual = |slot: i64| (slot.rem_euclid(season) * 10 / season) as f32;
            let sunday = |slot: i64| if slot.div_euclid(season).rem_euclid(7) == 3 { 5.0 } else { 0.0 };
            for slot in -season * 70..0 {
                profile.update(plain(steps), slot, |known| usual(slot) + sunday(slot) - known);
            }
            for slot in 0..7 * season {
                let weekly = profile.ahead(plain(steps), Usual::Week, slot).next().unwrap();
                let daily = profile.ahead(plain(steps), Usual::Season, slot).next().unwrap();
                assert!((weekly - usual(slot) - sunday(slot)).abs() < 1.6, "{season} {slot}: {weekly}");
                assert!((daily - usual(slot)).abs() < 2.0, "{season} {slot}: {daily}");
            }
            let ahead: Vec<f32> = profile.ahead(plain(steps), Usual::Week, 5).take(3 * steps).collect();
            let each = (5..).map(|slot| profile.ahead(plain(steps), Usual::Week, slot).next().unwrap());
            assert_eq!(ahead, each.take(3 * steps).collect::<Vec<_>>());
            assert!(profile.season.len() <= MOST_OF_A_SEASON && profile.week.len() <= WEEK * MOST_OF_A_DAY);
        }
    }

    #[test]
    fn without_a_season_nothing_is_usual() {
        let mut profile = Profile::new(plain(0));
        profile.update(plain(0), 5, |known| 3.0 - known);
        assert_eq!(profile.ahead(plain(0), Usual::Week, -9).take(3).collect::<Vec<_>>(), [0.0; 3]);
        assert!(profile.fits(plain(1)) && !profile.fits(plain(2)) && profile.heap_bytes() == 0);
    }

    #[test]
    fn a_holiday_is_taken_for_a_sunday_until_it_is_known_and_teaches_nothing_of_its_weekday() {
        // Days 0 to 700 from Thursday, 1970-01-01; every fortieth is a holiday.
        let date = |day: i64| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
        let holiday = |day: i64| day % 40 == 39;
        let dates: Vec<_> = (0..700).filter(|day| holiday(*day)).map(date).collect();
        let holidays = Holidays::new(&Calendar::utc(), Grid::Regular { interval: 3_600_000 }, &dates);
        let cycle = Cycle { season: 24, holidays: Some(&holidays) };
        let mut profile = Profile::new(cycle);
        let value = |day: i64| match day.rem_euclid(7) {
            _ if holiday(day) => 4.0,
            3 => 6.0, // Sunday
            _ => 10.0,
        };
        let known = |profile: &Profile, day: i64| profile.ahead(cycle, Usual::Week, day * 24 + 5).next().unwrap();
        for day in 0..600 {
            if day == 39 {
                let (sunday, holiday) = (known(&profile, 38), known(&profile, 39));
                assert_eq!((sunday, (holiday - sunday).abs() < 0.3), (sunday, true), "{holiday} like {sunday}");
            }
            let before = profile.week[..WEEK * 24].to_vec();
            for slot in day * 24..(day + 1) * 24 {
                profile.update(cycle, slot, |usual| value(day) - usual);
            }
            assert_eq!(profile.week[..WEEK * 24] == before, holiday(day) || day < 3, "day {day}");
        }
        assert!(holiday(639) && (known(&profile, 639) - 4.0).abs() < 1.0, "{}", known(&profile, 639));
        let weekday = known(&profile, 639 - 7);
        // The holiday that came last has moved the mean of the season, which this stands on: 9.85 before, 9.43 after.
        assert!((weekday - 10.0).abs() < 0.6, "{weekday}");
        assert!(profile.fits(cycle) && !profile.fits(plain(24)));
        let ahead: Vec<f32> = profile.ahead(cycle, Usual::Week, 630 * 24).take(480).collect();
        let each = (630 * 24..).map(|slot| profile.ahead(cycle, Usual::Week, slot).next().unwrap());
        assert_eq!(ahead, each.take(480).collect::<Vec<_>>());
    }
}
