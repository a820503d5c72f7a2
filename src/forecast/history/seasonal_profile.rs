//! The seasonal profile: the mean value at each phase of a season and of a week.

use serde::{Deserialize, Serialize};

use super::phase::{BinWidths, Cycle, DAYS, GROUPS, MAX_SEASON_BINS, Phase};
use super::profile_bins::{BinValue, Bins};
use crate::forecast::numeric::all_finite;
use crate::series::clone_in_place;

/// Step of a bin towards a new value; larger in the first seasons, so that the bin is their mean.
const RATE: f32 = 0.08;
/// The same for the deviations of a day of the week ...
const WEEKLY_RATE: f32 = 0.15;
/// ... and for those of holidays, of which there are few.
const HOLIDAY_RATE: f32 = 0.3;
/// Memory of what the deviations of days are worth, in seasons.
const GAIN_MEMORY: f32 = 56.0;
/// A deviation counts for at most this many units in it.
const MAX_GAIN_UNITS: f32 = 100.0;
/// A run of values that are far out is short up to this share of a season: half an hour of a day.
const SHORT_SHARE: usize = 48;
/// Seasons before days of the week are distinguished.
const MIN_SEASONS_FOR_DAYS: u32 = 3;

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
///
/// While a day of the week has been seen a few times only, it resembles the days that are like it: weekends, or other
/// days (partial pooling).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SeasonalProfile {
    season: Bins,
    /// Deviations from `season` on other days, then on weekends.
    groups: Bins,
    /// Deviations from `season` on seven days; then those of holidays from Sundays, where there are holidays.
    week: Bins,
    /// Steps up to the newest one whose values were far out.
    far_steps: u16,
    /// Running means of the products of expected and observed deviations of days, and of the squares of the former.
    products: f32,
    squares: f32,
    /// Number of values.
    count: u32,
}

clone_in_place!(SeasonalProfile { season, groups, week, far_steps, products, squares, count });

/// A value from which the profile learns.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProfileValue {
    pub slot: i64,
    pub value: f32,
    /// The mean of all values, and their mean absolute deviation from it.
    pub mean: f32,
    pub unit: f32,
    /// How far a value may deviate.
    pub bound: f32,
    /// Whether it looks like a spike.
    pub is_spike: bool,
}

impl SeasonalProfile {
    pub fn new(cycle: Cycle<'_>) -> Self {
        let [season, groups, week] = Self::lengths(cycle).map(Bins::new);
        Self { season, groups, week, far_steps: 0, products: 0.0, squares: 0.0, count: 0 }
    }

    /// Bins of the season, of groups of days, and of the days of the week.
    fn lengths(cycle: Cycle<'_>) -> [usize; 3] {
        let (season, widths) = (cycle.season, BinWidths::new(cycle.season));
        if season < 2 {
            return [0; 3];
        }
        let holiday_steps = cycle.holiday_steps();
        let days = DAYS + usize::from(cycle.holidays.is_some() && holiday_steps.is_none());
        [
            (season + holiday_steps.unwrap_or(0)).div_ceil(widths.season),
            GROUPS * widths.bins_per_day,
            days * widths.bins_per_day,
        ]
    }

    /// The baseline in the slots from `slot` on.
    #[inline]
    pub fn baselines<'a>(&'a self, cycle: Cycle<'a>, baseline: Baseline, slot: i64) -> impl Iterator<Item = f32> + 'a {
        let widths = BinWidths::new(cycle.season);
        let (mut phase, mut slot) = (Phase::new(cycle, slot), slot);
        std::iter::from_fn(move || {
            let mean = self.season.mean(self.season_bin(cycle, widths, phase, slot));
            let value = match baseline {
                Baseline::Zero => 0.0,
                Baseline::Season => mean,
                Baseline::Week => mean + self.deviation(cycle, widths, phase, slot),
            };
            slot = slot.saturating_add(1);
            phase.advance(cycle, slot);
            Some(value)
        })
    }

    /// The bin of the season at a phase. In a season that is a week, a holiday has a bin of its own, and counts as a
    /// Sunday before that has a value.
    #[inline]
    fn season_bin(&self, cycle: Cycle<'_>, widths: BinWidths, phase: Phase, slot: i64) -> usize {
        let step = match cycle.holiday_steps().filter(|_| cycle.holiday(slot).is_some()) {
            None => phase.step,
            Some(day) => {
                let own = holiday_bin(cycle, widths, phase, day);
                if self.season.is_known(own) {
                    return own;
                }
                phase.sunday_step(day)
            }
        };
        step / widths.season
    }

    /// The deviation of the day of the week, or of a holiday.
    #[inline]
    fn deviation(&self, cycle: Cycle<'_>, widths: BinWidths, phase: Phase, slot: i64) -> f32 {
        let of_day = |phase: Phase| {
            let group = self.groups.mean(phase.group_bin(widths));
            self.week.pooled(phase.week_bin(widths), group, widths.day)
        };
        match cycle.holiday(slot) {
            None => of_day(phase),
            Some(_) if cycle.holiday_steps().is_some() => 0.0,
            Some(holiday) => {
                let sunday = phase.sunday(holiday);
                of_day(sunday) + self.week.mean(sunday.holiday_bin(widths))
            }
        }
    }

    /// The baseline in one slot.
    #[inline]
    pub fn at(&self, cycle: Cycle<'_>, baseline: Baseline, slot: i64) -> f32 {
        self.baselines(cycle, baseline, slot).next().unwrap_or(0.0)
    }

    /// Whether a whole season has been seen, and values at the phase of `slot`.
    pub fn is_known(&self, cycle: Cycle<'_>, slot: i64) -> bool {
        let bin = self.season_bin(cycle, BinWidths::new(cycle.season), Phase::new(cycle, slot), slot);
        cycle.season >= 2 && self.count as usize >= cycle.season && self.season.is_known(bin)
    }

    /// What the expected deviations of days save in squared error, relative to their own squares, from 0 to 1.
    fn week_gain(&self) -> f32 {
        if self.squares > 0.0 { (2.0 * self.products / self.squares - 1.0).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Learns from a value. A holiday leaves the profile of its weekday as it is.
    pub fn update(&mut self, cycle: Cycle<'_>, new: ProfileValue) {
        let ProfileValue { slot, value, unit, bound, is_spike, mean: overall_mean } = new;
        let season = cycle.season;
        if season < 2 {
            return;
        }
        let (widths, phase) = (BinWidths::new(season), Phase::new(cycle, slot));
        if let Some(day) = cycle.holiday_steps().filter(|_| cycle.holiday(slot).is_some()) {
            // Far from its weekday is what a holiday is: no spike.
            let new = BinValue { value, overall_mean, bound, is_spike: false };
            self.season.learn_value(holiday_bin(cycle, widths, phase, day), &new, HOLIDAY_RATE, None);
            self.count = self.count.saturating_add(1);
            return;
        }
        // The last bin may be shorter.
        let steps_in_bin = |width: usize| width.min(season - phase.step / width * width) as f32;
        let knows_days = self.count / u32::try_from(season).unwrap_or(u32::MAX) >= MIN_SEASONS_FOR_DAYS;
        let of_day = if knows_days { self.deviation(cycle, widths, phase, slot) } else { 0.0 };
        let (bin, rate) = (phase.step / widths.season, RATE / steps_in_bin(widths.season));
        let whole = BinValue { value, overall_mean, bound, is_spike };
        let deviation = self.season.deviation(bin, &whole);
        // What the day of the week explains does not move the mean of the season, unless its bins are coarser.
        let explained = if widths.day == 1 { self.week_gain() * of_day } else { 0.0 };
        let rest = BinValue { value: value - explained, ..whole };
        let far_side = self.season.far_side(bin, &rest);
        let is_short = self.follow_far_steps(season, bin, far_side.is_some());
        let far_side = far_side.filter(|_| is_short && widths.season == 1);
        let begins_anew = self.season.learn_value(bin, &rest, rate, far_side);
        self.count = self.count.saturating_add(u32::from(!is_spike));
        if is_spike || begins_anew || !knows_days {
            return;
        }
        self.update_week_gain(season, of_day / unit, deviation / unit);
        let steps = steps_in_bin(widths.day);
        if let Some(holiday) = cycle.holiday(slot) {
            let bin = phase.sunday(holiday).holiday_bin(widths);
            self.week.learn(bin, deviation - of_day, HOLIDAY_RATE / steps);
            return;
        }
        for (bins, bin) in [(&mut self.groups, phase.group_bin(widths)), (&mut self.week, phase.week_bin(widths))] {
            bins.learn(bin, deviation - bins.mean(bin), WEEKLY_RATE / steps);
        }
    }

    /// Follows how much of the expected deviations of days comes true, both in units; not while the unit is 0.
    fn update_week_gain(&mut self, season: usize, expected: f32, deviation: f32) {
        if expected.is_finite() && deviation.is_finite() {
            let [expected, deviation] = [expected, deviation].map(|units| units.clamp(-MAX_GAIN_UNITS, MAX_GAIN_UNITS));
            let weight = 1.0 / (GAIN_MEMORY * season as f32);
            self.products += weight * (expected * deviation - self.products);
            self.squares += weight * (expected * expected - self.squares);
        }
    }

    /// Follows how many steps in a row are far out; returns whether that is few. Few of them may come at the same time
    /// every season; many are a level shift or an incident, or the weekend.
    fn follow_far_steps(&mut self, season: usize, bin: usize, is_far: bool) -> bool {
        let limit = u16::try_from(season / SHORT_SHARE).unwrap_or(u16::MAX).max(1);
        self.far_steps = if is_far { self.far_steps.saturating_add(1) } else { 0 };
        if season <= MAX_SEASON_BINS && self.far_steps == limit + 1 {
            (1..=usize::from(limit)).for_each(|back| self.season.forget_side((bin + season - back) % season));
        }
        self.far_steps <= limit
    }

    /// Adds `by` to the mean value at each phase.
    pub fn shift(&mut self, by: f32) {
        self.season.shift(by);
    }

    /// Whether it has the shape that `cycle` needs, and finite values; a snapshot comes from outside.
    pub fn is_sound(&self, cycle: Cycle<'_>) -> bool {
        let mut bins = [&self.season, &self.groups, &self.week].into_iter().zip(Self::lengths(cycle));
        bins.all(|(bins, count)| bins.is_sound(count))
            && self.squares >= 0.0
            && all_finite(&[self.products, self.squares])
    }

    pub fn heap_bytes(&self) -> usize {
        [&self.season, &self.groups, &self.week].map(Bins::heap_bytes).iter().sum()
    }
}

/// The bin of a holiday in a season that is a week, of so many steps a day.
fn holiday_bin(cycle: Cycle<'_>, widths: BinWidths, phase: Phase, day: usize) -> usize {
    (cycle.season + phase.step % day) / widths.season
}

#[cfg(test)]
mod tests {
    use super::super::phase::MAX_DAY_BINS;
    use super::*;
    use crate::series::{Calendar, Holidays, LocalSlots};
    use crate::time::Grid;

    fn plain(season: usize) -> Cycle<'static> {
        Cycle { season, holidays: None, local_slots: None }
    }

    /// A value of a series whose mean absolute deviation is 1.
    fn value(slot: i64, value: f32) -> ProfileValue {
        ProfileValue { slot, value, mean: 0.0, unit: 1.0, bound: 6.0, is_spike: false }
    }

    #[test]
    fn a_season_and_its_days_of_the_week_are_learned() {
        for season in [4_i64, 24, 600] {
            let steps = usize::try_from(season).unwrap();
            let mut profile = SeasonalProfile::new(plain(steps));
            let season_mean = |slot: i64| (slot.rem_euclid(season) * 10 / season) as f32;
            let sunday = |slot: i64| if slot.div_euclid(season).rem_euclid(7) == 3 { 5.0 } else { 0.0 };
            for slot in -season * 70..0 {
                profile.update(plain(steps), value(slot, season_mean(slot) + sunday(slot)));
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
            let lengths = SeasonalProfile::lengths(plain(steps));
            assert!(lengths[0] <= MAX_SEASON_BINS && lengths[2] <= DAYS * MAX_DAY_BINS, "{lengths:?}");
        }
    }

    /// Day 0 is a Thursday.
    #[test]
    fn the_hours_of_a_week_are_known_after_four_weeks() {
        let truth = |slot: i64| match (slot / 24 % 7, slot % 24) {
            (2 | 3, _) => 1.0,
            (_, 8..18) => 10.0,
            _ => 1.0,
        };
        let mut profile = SeasonalProfile::new(plain(24));
        (0..28 * 24).for_each(|slot| profile.update(plain(24), value(slot, truth(slot))));
        for slot in 28 * 24..35 * 24 {
            let weekly = profile.at(plain(24), Baseline::Week, slot);
            assert!((weekly - truth(slot)).abs() < 0.6, "hour {} of the week: {weekly}", slot % 168);
        }
    }

    #[test]
    fn a_second_saturday_resembles_the_first_weekend_and_other_days_do_not() {
        let mut profile = SeasonalProfile::new(plain(24));
        let truth = |slot: i64| if matches!(slot / 24 % 7, 2 | 3) { 1.0 } else { 5.0 };
        (0..9 * 24).for_each(|slot| profile.update(plain(24), value(slot, truth(slot))));
        let on = |day: i64| profile.at(plain(24), Baseline::Week, day * 24 + 12);
        assert!(on(9) < 2.5 && on(10) < 2.5, "weekend: {} {}", on(9), on(10));
        assert!(on(11) > 3.5 && on(12) > 3.5, "Monday and Tuesday: {} {}", on(11), on(12));
    }

    #[test]
    fn a_short_job_of_every_day_is_learned_by_its_third_and_one_incident_is_not() {
        let mut profile = SeasonalProfile::new(plain(288));
        for slot in 0..20 * 288 {
            let is_job = slot % 288 == 72;
            let is_incident = (4000..4040).contains(&slot) || slot == 2017;
            let is_spike = is_job || is_incident;
            let new = if is_spike { 90.0 } else { 0.5 };
            profile.update(plain(288), ProfileValue { is_spike, ..value(slot, new) });
            let next_job = slot + (72 - slot).rem_euclid(288);
            let forecast = profile.at(plain(288), Baseline::Season, next_job);
            assert!(slot < 2 * 288 || forecast == 90.0, "{slot}: {forecast}");
            if is_incident {
                let next_day = profile.at(plain(288), Baseline::Season, slot + 288);
                assert!(next_day < 2.0 || next_day == 90.0 && (slot - 72) % 288 == 0, "{slot}: {next_day}");
            }
        }
    }

    #[test]
    fn a_job_that_stops_is_unlearned_in_days() {
        let mut profile = SeasonalProfile::new(plain(288));
        let truth = |slot: i64| if slot % 288 == 72 && slot < 10 * 288 { 90.0 } else { 0.5 };
        for slot in 0..13 * 288 {
            profile.update(plain(288), value(slot, truth(slot)));
        }
        assert!(profile.at(plain(288), Baseline::Season, 13 * 288 + 72) < 5.0);
    }

    #[test]
    fn the_profile_follows_the_clocks() {
        let berlin = Calendar::new(jiff::tz::TimeZone::get("Europe/Berlin").unwrap());
        let local_slots = LocalSlots::new(&berlin, &Grid::Regular { interval: 3_600_000 });
        let cycle = Cycle { local_slots: Some(&local_slots), ..plain(24) };
        let spring = "2024-03-31T01:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() / 3600;
        let hour = |slot: i64| ((slot + if slot < spring { 1 } else { 2 }).rem_euclid(24) / 5) as f32;
        let mut profile = SeasonalProfile::new(cycle);
        (spring - 30 * 24..spring - 5).for_each(|slot| profile.update(cycle, value(slot, hour(slot))));
        for (slot, ahead) in (spring - 5..).zip(profile.baselines(cycle, Baseline::Season, spring - 5).take(40)) {
            assert!((ahead - hour(slot)).abs() < 0.01, "{}: {ahead}", slot - spring);
            assert_eq!(ahead, profile.at(cycle, Baseline::Season, slot));
        }
    }

    #[test]
    fn without_a_season_the_baseline_is_zero() {
        let mut profile = SeasonalProfile::new(plain(0));
        profile.update(plain(0), value(5, 3.0));
        assert_eq!(profile.baselines(plain(0), Baseline::Week, -9).take(3).collect::<Vec<_>>(), [0.0; 3]);
        assert!(profile.is_sound(plain(1)) && !profile.is_sound(plain(2)) && profile.heap_bytes() == 0);
    }

    #[test]
    fn a_first_holiday_counts_as_a_sunday_and_leaves_the_profile_of_its_weekday_as_it_is() {
        // Days 0 to 700 from Thursday, 1970-01-01; every fortieth is a holiday.
        let date = |day: i64| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
        let holiday = |day: i64| day % 40 == 39;
        let dates: Vec<_> = (0..700).filter(|day| holiday(*day)).map(date).collect();
        let holidays = Holidays::new(&Calendar::utc(), &Grid::Regular { interval: 3_600_000 }, &dates);
        let cycle = Cycle { holidays: Some(&holidays), ..plain(24) };
        let mut profile = SeasonalProfile::new(cycle);
        let on_day = |day: i64| match day.rem_euclid(7) {
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
            let days = |profile: &SeasonalProfile| (0..DAYS * 24).map(|bin| profile.week.mean(bin)).collect::<Vec<_>>();
            let previous = days(&profile);
            for slot in day * 24..(day + 1) * 24 {
                profile.update(cycle, value(slot, on_day(day)));
            }
            assert!(days(&profile) == previous || !holiday(day) && day >= 3, "day {day}");
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

    #[test]
    fn a_holiday_of_daily_values_has_a_mean_of_its_own_and_leaves_its_weekday_as_it_is() {
        let days: Vec<i64> = vec![3, 95, 130, 300, 301];
        let date = |day: &i64| jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(*day));
        let dates: Vec<_> = days.iter().map(date).collect();
        let grid = Grid::Regular { interval: 86_400_000 };
        let holidays = Holidays::new(&Calendar::utc(), &grid, &dates);
        let cycle = Cycle { holidays: Some(&holidays), ..plain(7) };
        let mut profile = SeasonalProfile::new(cycle);
        let truth = |day: i64| {
            if days.contains(&day) { 5.0 } else { [130.0, 140.0, 60.0, 40.0, 100.0, 110.0, 120.0][(day % 7) as usize] }
        };
        for day in 0..400 {
            for baseline in [Baseline::Season, Baseline::Week] {
                let known = day > 20;
                let forecast = profile.at(cycle, baseline, day);
                assert!(!known || (forecast - truth(day)).abs() < 1e-3, "day {day}: {forecast} for {}", truth(day));
            }
            profile.update(
                cycle,
                ProfileValue { is_spike: days.contains(&day), bound: f32::INFINITY, ..value(day, truth(day)) },
            );
        }
        assert!(profile.is_sound(cycle) && !profile.is_sound(plain(7)));
    }
}
