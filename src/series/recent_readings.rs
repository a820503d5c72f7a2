//! Readings that a producer delivers again.

use serde::{Deserialize, Serialize};

/// So many accepted readings of a series are recognised when they come again.
const READINGS: usize = 32;
/// Of the duplicates of a series, one an hour of event time is reported.
const HOUR: i64 = 3_600_000;

/// The newest accepted readings of a series that has had a late one, as digests of time and value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct RecentReadings {
    /// A ring; 0 where there is none yet.
    digests: [u32; READINGS],
    /// The place of the next one.
    next: u8,
    /// The hour of event time in which a duplicate was last reported.
    reported: Option<i64>,
}

impl RecentReadings {
    /// Remembers an accepted reading.
    pub fn push(&mut self, time: i64, value: f64) {
        self.digests[usize::from(self.next) % READINGS] = digest(time, value);
        self.next = (self.next + 1) % READINGS as u8;
    }

    /// Whether a reading of this time and value is among the newest ones.
    pub fn contains(&self, time: i64, value: f64) -> bool {
        self.digests.contains(&digest(time, value))
    }

    /// Whether a duplicate is to be reported, when the newest event time of the series is `newest`.
    pub fn report(&mut self, newest: i64) -> bool {
        let hour = Some(newest.div_euclid(HOUR));
        std::mem::replace(&mut self.reported, hour) != hour
    }
}

/// A hash of time and value (the finaliser of SplitMix64), never 0.
fn digest(time: i64, value: f64) -> u32 {
    let mut hash = time.cast_unsigned() ^ value.to_bits().rotate_left(32);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash >> 32) as u32).max(1)
}
