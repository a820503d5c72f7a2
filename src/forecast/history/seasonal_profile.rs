//! The seasonal profile: the mean value at each phase of a season and of a week.

use crate::series::{Holiday, Holidays, clone_in_place};
use serde::{Deserialize, Serialize};

use crate::forecast::numeric::all_finite;

/// Most bins of a season; in longer seasons neighbouring steps share one.
const MAX_SEASON_BINS: usize = 288;
/// Most bins of one day of the week.
const MAX_DAY_BINS: usize = 24;
/// Seasons in a week, where a season is a day.
const DAYS: usize = 7;
/// Step of a bin towards a new value; larger in the first seasons, so that the bin is their mean.
const RATE: f32 = 0.08;
/// The same for the deviations of a day of the week ...
const WEEKLY_RATE: f32 = 0.15;
/// ... and for those of holidays, of which there are few.
const HOLIDAY_RATE: f32 = 0.3;
/// Seasons before days of the week are distinguished.
const MIN_SEASONS_FOR_DAYS: u32 = 3;

/// The period of a series.
#[derive(Debug, Clone, Copy)]
pub(in crate::forecast) struct Cycle<'a> {
    /// Steps of a season; below 2 there is none.
    pub season: usize,
    /// Days that do not count as their weekday; a season is a day then.
    pub holidays: Option<&'a Holidays>,
}

impl Cycle<'_> {
    #[inline]
    fn holiday(&self, slot: i64) -> Option<Holiday> {
        self.holidays.and_then(|holidays| holidays.find(slot))
    }
}

/// What a linear expert subtracts from the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::forecast) enum Baseline {
    /// Nothing.
    Zero,
    /// The seasonal profile.
    Season,
    /// The seasonal profile of the day of the week.
    Week,
}

/// The mean value at each phase of a season, and how each of seven seasons deviates from it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SeasonalProfile {
    season: Vec<f32>,
    /// Deviations from `season` on seven days; then those of holidays from Sundays, where there are holidays.
    week: Vec<f32>,
    /// Number of values.
    count: u32,
}

clone_in_place!(SeasonalProfile { season, week, count });

impl SeasonalProfile {
    pub fn new(cycle: Cycle<'_>) -> Self {
        let season = cycle.season;
        let days = DAYS + usize::from(cycle.holidays.is_some());
        let bins = |length: usize, most: usize| if season < 2 { 0 } else { length.div_ceil(length.div_ceil(most)) };
        Self {
            season: vec![0.0; bins(season, MAX_SEASON_BINS)],
            week: vec![0.0; days * bins(season, MAX_DAY_BINS)],
            count: 0,
        }
    }

    /// The baseline in the slots from `slot` on.
    #[inline]
    pub fn baselines<'a>(&'a self, cycle: Cycle<'a>, baseline: Baseline, slot: i64) -> impl Iterator<Item = f32> + 'a {
        let season = cycle.season;
        let widths = BinWidths::new(season);
        let (mut phase, mut slot) = (Phase::new(season, slot), slot);
        std::iter::from_fn(move || {
            let value = match (baseline, self.season.get(phase.in_season(season) / widths.season)) {
                (Baseline::Zero, _) | (_, None) => 0.0,
                (Baseline::Season, Some(mean)) => *mean,
                (Baseline::Week, Some(mean)) => match cycle.holiday(slot) {
                    None => mean + self.week[phase.week_bin(season, widths.day)],
                    Some(holiday) => {
                        let bins = HolidayBins::new(holiday, season, slot);
                        mean + (self.week[bins.sunday] + self.week[bins.holiday])
                    }
                },
            };
            phase.advance(season);
            slot = slot.saturating_add(1);
            Some(value)
        })
    }

    /// The baseline in one slot.
    #[inline]
    pub fn at(&self, cycle: Cycle<'_>, baseline: Baseline, slot: i64) -> f32 {
        self.baselines(cycle, baseline, slot).next().unwrap_or(0.0)
    }

    /// Adds a value, given as its deviation from the seasonal mean (not from that of the week) in its slot. A holiday
    /// leaves the profile of its weekday as it is.
    pub fn update(&mut self, cycle: Cycle<'_>, slot: i64, deviation_from: impl Fn(f32) -> f32) {
        let season = cycle.season;
        if season < 2 {
            return;
        }
        let widths = BinWidths::new(season);
        let phase = Phase::new(season, slot);
        let step = phase.in_season(season);
        // The last bin may be shorter.
        let steps_in_bin = |width: usize| width.min(season - step / width * width) as f32;
        let seasons = self.count / u32::try_from(season).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(1);
        let mean = &mut self.season[step / widths.season];
        let deviation = deviation_from(*mean);
        let holiday = cycle.holiday(slot);
        if seasons >= MIN_SEASONS_FOR_DAYS {
            let (bin, deviation, rate) = match holiday {
                None => (phase.week_bin(season, widths.day), deviation, WEEKLY_RATE),
                Some(holiday) => {
                    let bins = HolidayBins::new(holiday, season, slot);
                    (bins.holiday, deviation - self.week[bins.sunday], HOLIDAY_RATE)
                }
            };
            let day = &mut self.week[bin];
            *day += rate / steps_in_bin(widths.day) * (deviation - *day);
        }
        let rate = match seasons {
            0 => 1.0 / (1 + step % widths.season) as f32,
            _ => RATE.max(1.0 / (1 + seasons) as f32) / steps_in_bin(widths.season),
        };
        *mean += rate * deviation;
    }

    /// Adds `by` to the mean value at each phase.
    pub fn shift(&mut self, by: f32) {
        self.season.iter_mut().for_each(|mean| *mean += by);
    }

    /// Whether it has the shape that `cycle` needs, and finite values; a snapshot comes from outside.
    pub fn is_sound(&self, cycle: Cycle<'_>) -> bool {
        let new = Self::new(cycle);
        self.season.len() == new.season.len()
            && self.week.len() == new.week.len()
            && all_finite(&self.season)
            && all_finite(&self.week)
    }

    pub fn heap_bytes(&self) -> usize {
        (self.season.capacity() + self.week.capacity()) * size_of::<f32>()
    }
}

/// Bins of [`SeasonalProfile::week`] at the time of day of a slot on a holiday.
struct HolidayBins {
    /// That of a Sunday.
    sunday: usize,
    /// The holidays' deviation from it.
    holiday: usize,
}

impl HolidayBins {
    fn new(holiday: Holiday, season: usize, slot: i64) -> Self {
        let width = BinWidths::new(season).day;
        let steps = i64::try_from(season).unwrap_or(i64::MAX).saturating_mul(holiday.days_to_sunday);
        let sunday = Phase::new(season, slot.saturating_add(steps));
        Self {
            sunday: sunday.week_bin(season, width),
            holiday: DAYS * season.div_ceil(width) + sunday.in_season(season) / width,
        }
    }
}

/// Steps that share a bin.
struct BinWidths {
    season: usize,
    day: usize,
}

impl BinWidths {
    fn new(season: usize) -> Self {
        Self { season: season.div_ceil(MAX_SEASON_BINS).max(1), day: season.div_ceil(MAX_DAY_BINS).max(1) }
    }
}

/// The phase of a slot in seven seasons, in steps.
struct Phase(usize);

impl Phase {
    fn new(season: usize, slot: i64) -> Self {
        let week = i64::try_from(DAYS * season.max(1)).unwrap_or(i64::MAX);
        Self(usize::try_from(slot.rem_euclid(week)).unwrap_or(0))
    }

    #[inline]
    fn in_season(&self, season: usize) -> usize {
        self.0 % season.max(1)
    }

    /// The bin of the week, where a bin spans `width` steps of one season.
    #[inline]
    fn week_bin(&self, season: usize, width: usize) -> usize {
        self.0 / season.max(1) * season.div_ceil(width) + self.in_season(season) / width
    }

    #[inline]
    fn advance(&mut self, season: usize) {
        self.0 = if self.0 + 1 >= DAYS * season.max(1) { 0 } else { self.0 + 1 };
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
    fn a_season_and_its_days_of_the_week_are_learned() {
        for season in [4_i64, 24, 600] {
            let steps = usize::try_from(season).unwrap();
            let mut profile = SeasonalProfile::new(plain(steps));
            let season_mean = |slot: i64| (slot.rem_euclid(season) * 10 / season) as f32;
            let sunday = |slot: i64| if slot.div_euclid(season).rem_euclid(7) == 3 { 5.0 } else { 0.0 };
            for slot in -season * 70..0 {
                profile.update(plain(steps), slot, |mean| season_mean(slot) + sunday(slot) - mean);
            }
            for slot in 0..7 * season {
                let weekly = profile.at(plain(steps), Baseline::Week, slot);
                let daily = profile.at(plain(steps), Baseline::Season, slot);
                assert!((weekly - season_mean(slot) - sunday(slot)).abs() < 1.6, "{season} {slot}: {weekly}");
                assert!((daily - season_mean(slot)).abs() < 2.0, "{season} {slot}: {daily}");
            }
            let ahead: Vec<f32> = profile.baselines(plain(steps), Baseline::Week, 5).take(3 * steps).collect();
            let each = (5..).map(|slot| profile.at(plain(steps), Baseline::Week, slot));
            assert_eq!(ahead, each.take(3 * steps).collect::<Vec<_>>());
            assert!(profile.season.len() <= MAX_SEASON_BINS && profile.week.len() <= DAYS * MAX_DAY_BINS);
        }
    }

    #[test]
    fn without_a_season_the_baseline_is_zero() {
        let mut profile = SeasonalProfile::new(plain(0));
        profile.update(plain(0), 5, |mean| 3.0 - mean);
        assert_eq!(profile.baselines(plain(0), Baseline::Week, -9).take(3).collect::<Vec<_>>(), [0.0; 3]);
        assert!(profile.is_sound(plain(1)) && !profile.is_sound(plain(2)) && profile.heap_bytes() == 0);
    }

    #[test]
    fn a_first_holiday_counts_as_a_sunday_and_leaves_the_profile_of_its_weekday_as_it_is() {
        // Days 0 to 700 from Thursday, 1970-01-01; every fortieth is a holiday.
        let date = |day: i64| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
        let holiday = |day: i64| day % 40 == 39;
        let dates: Vec<_> = (0..700).filter(|day| holiday(*day)).map(date).collect();
        let holidays = Holidays::new(&Calendar::utc(), Grid::Regular { interval: 3_600_000 }, &dates);
        let cycle = Cycle { season: 24, holidays: Some(&holidays) };
        let mut profile = SeasonalProfile::new(cycle);
        let value = |day: i64| match day.rem_euclid(7) {
            _ if holiday(day) => 4.0,
            3 => 6.0, // Sunday
            _ => 10.0,
        };
        let baseline = |profile: &SeasonalProfile, day: i64| profile.at(cycle, Baseline::Week, day * 24 + 5);
        for day in 0..600 {
            if day == 39 {
                let (sunday, holiday) = (baseline(&profile, 38), baseline(&profile, 39));
                assert_eq!((sunday, (holiday - sunday).abs() < 0.3), (sunday, true), "{holiday} like {sunday}");
            }
            let previous = profile.week[..DAYS * 24].to_vec();
            for slot in day * 24..(day + 1) * 24 {
                profile.update(cycle, slot, |mean| value(day) - mean);
            }
            assert_eq!(profile.week[..DAYS * 24] == previous, holiday(day) || day < 3, "day {day}");
        }
        assert!(holiday(639) && (baseline(&profile, 639) - 4.0).abs() < 1.0, "{}", baseline(&profile, 639));
        let weekday = baseline(&profile, 639 - 7);
        // The holiday that came last has moved the mean of the season, which this stands on: 9.85 before, 9.43 after.
        assert!((weekday - 10.0).abs() < 0.6, "{weekday}");
        assert!(profile.is_sound(cycle) && !profile.is_sound(plain(24)));
        let ahead: Vec<f32> = profile.baselines(cycle, Baseline::Week, 630 * 24).take(480).collect();
        let each = (630 * 24..).map(|slot| profile.at(cycle, Baseline::Week, slot));
        assert_eq!(ahead, each.take(480).collect::<Vec<_>>());
    }
}
