//! The length of a step.

/// The mean month of the Gregorian calendar, 365.2425 / 12 days, in milliseconds.
const MEAN_MONTH: i64 = 2_629_746_000;

/// The length of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many milliseconds of local time, at least 1; whole days are days of the calendar.
    Clock(i64),
    /// So many months, at least 1.
    Months(u32),
}

impl Length {
    /// In milliseconds; months have their mean length.
    pub fn nominal_millis(self) -> i64 {
        match self {
            Self::Clock(millis) => millis,
            Self::Months(months) => i64::from(months) * MEAN_MONTH,
        }
    }
}
