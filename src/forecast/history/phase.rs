//! The phase of a slot in its season and in seven of them, and the bins that share it.

use crate::series::{Holiday, Holidays, LocalSlots};

/// Most bins of a season; in longer seasons neighbouring steps share one.
pub(super) const MAX_SEASON_BINS: usize = 288;
/// Most bins of one day of the week.
pub(super) const MAX_DAY_BINS: usize = 24;
/// Days of a week: seasons, where a season is a day.
pub(super) const DAYS: usize = 7;
/// Groups of days that are alike: weekends, and other days.
pub(super) const GROUPS: usize = 2;
/// Saturday and Sunday among the days from Thursday on, on which the Unix epoch was.
const WEEKEND: [usize; 2] = [2, 3];

/// The period of a series.
#[derive(Debug, Clone, Copy)]
pub(in crate::forecast) struct Cycle<'a> {
    /// Steps of a season; below 2 there is none.
    pub season: usize,
    /// Days that do not count as their weekday; a season is a day or a week then.
    pub holidays: Option<&'a Holidays>,
    /// Local time, whose phase is that of the season; without it that of the slots is.
    pub local_slots: Option<&'a LocalSlots>,
}

impl Cycle<'_> {
    #[inline]
    pub(super) fn holiday(&self, slot: i64) -> Option<Holiday> {
        self.holidays.and_then(|holidays| holidays.find(slot))
    }

    /// Steps of a day, where a season is a week and there are holidays: they have a day of their own in the season.
    #[inline]
    pub(super) fn holiday_steps(&self) -> Option<usize> {
        let day = usize::try_from(self.holidays?.slots_per_day()).ok()?;
        (day * DAYS == self.season).then_some(day)
    }
}

/// Steps that share a bin of the season, and a bin of a day of the week.
#[derive(Clone, Copy)]
pub(super) struct BinWidths {
    pub season: usize,
    pub day: usize,
    /// Bins of a day of the week.
    pub bins_per_day: usize,
}

impl BinWidths {
    #[inline]
    pub fn new(season: usize) -> Self {
        let day = season.div_ceil(MAX_DAY_BINS).max(1);
        Self { season: season.div_ceil(MAX_SEASON_BINS).max(1), day, bins_per_day: season.div_ceil(day) }
    }
}

/// The phase of a slot, in local time.
#[derive(Clone, Copy)]
pub(in crate::forecast) struct Phase {
    /// Which of seven seasons.
    day: usize,
    /// Steps since its start.
    pub step: usize,
    /// The slot from which on local time may run differently.
    until: i64,
}

impl Phase {
    #[inline]
    pub fn new(cycle: Cycle<'_>, slot: i64) -> Self {
        let season = i64::try_from(cycle.season.max(1)).unwrap_or(i64::MAX);
        let (ahead, until) = cycle.local_slots.map_or((0, i64::MAX), |local_slots| local_slots.ahead(slot));
        let slot = slot.saturating_add(ahead);
        let index = |number: i64| usize::try_from(number).unwrap_or(0);
        Self {
            day: index(slot.div_euclid(season).rem_euclid(DAYS as i64)),
            step: index(slot.rem_euclid(season)),
            until,
        }
    }

    #[inline]
    pub(super) fn week_bin(self, widths: BinWidths) -> usize {
        self.day * widths.bins_per_day + self.step / widths.day
    }

    /// The bin of the days that are like this one.
    #[inline]
    pub(super) fn group_bin(self, widths: BinWidths) -> usize {
        usize::from(WEEKEND.contains(&self.day)) * widths.bins_per_day + self.step / widths.day
    }

    /// The step of Sunday at this time of day, in a season that is a week.
    pub(super) fn sunday_step(self, day: usize) -> usize {
        WEEKEND[1] * day + self.step % day
    }

    /// The phase on the Sunday of a holiday's week.
    pub fn sunday(self, holiday: Holiday) -> Self {
        Self { day: (self.day + usize::try_from(holiday.days_to_sunday).unwrap_or(0)) % DAYS, ..self }
    }

    /// The bin of holidays at this time of day, after those of the days.
    pub(super) fn holiday_bin(self, widths: BinWidths) -> usize {
        DAYS * widths.bins_per_day + self.step / widths.day
    }

    /// Moves on by one step, to `slot`.
    #[inline]
    pub fn advance(&mut self, cycle: Cycle<'_>, slot: i64) {
        if slot >= self.until {
            *self = Self::new(cycle, slot);
        } else if self.step + 1 < cycle.season {
            self.step += 1;
        } else {
            (self.step, self.day) = (0, if self.day + 1 == DAYS { 0 } else { self.day + 1 });
        }
    }
}
