//! The event time of a partition, on which its series agree.
//!
//! It moves to a time that two different series have reached, one right after the other: a single wrong clock moves
//! nothing, and where all clocks stand still for a while, as in an outage, it goes on as soon as two are back. A series
//! whose readings come alone, without one of another series in between, moves it in small steps. Two series that agree
//! on an earlier time take it back, so that it does not stay where wrong clocks have taken it.

use serde::{Deserialize, Serialize};

/// So many readings of one series in a row are alone.
const READINGS_ALONE: u8 = 3;

/// The event time of a partition: a function of the readings of its series, in the order of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionClock {
    /// `None` until two series agree.
    time: Option<i64>,
    /// The newest time near the clock that another series has still to reach.
    witness: Witness,
    /// Readings of the witness' series in a row.
    alone: u8,
    /// The newest reading far from the clock, until one that is near.
    doubt: Option<Witness>,
}

/// One series that says a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Witness {
    series: u64,
    time: i64,
}

impl PartitionClock {
    /// A reading of a series, which is known by a hash of its key, in milliseconds. Times that differ by at most
    /// `tolerance` are near each other.
    pub fn observe(&mut self, series: u64, time: i64, tolerance: i64) {
        let near = |other: i64| time.abs_diff(other) <= tolerance.unsigned_abs();
        match (self.time, self.doubt) {
            (Some(clock), _) if near(clock) => {
                self.doubt = None;
                if series == self.witness.series {
                    self.alone = self.alone.saturating_add(1);
                    self.witness.time = time;
                    if self.alone >= READINGS_ALONE {
                        self.time = Some(clock.max(time));
                    }
                } else {
                    self.time = Some(clock.max(time.min(self.witness.time)));
                    self.alone = 0;
                    if time >= self.witness.time {
                        (self.witness, self.alone) = (Witness { series, time }, 1);
                    }
                }
            }
            (_, Some(doubt)) if doubt.series != series && near(doubt.time) => {
                let newest = if time > doubt.time { Witness { series, time } } else { doubt };
                let alone = u8::from(newest.series == series);
                *self = Self { time: Some(time.min(doubt.time)), witness: newest, alone, doubt: None };
            }
            _ => self.doubt = Some(Witness { series, time }),
        }
    }

    /// The time in milliseconds; `None` until two series agree.
    pub fn time(&self) -> Option<i64> {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: i64 = 64;

    /// The times of a clock after each reading.
    fn times(readings: &[(u64, i64)]) -> Vec<Option<i64>> {
        let mut clock = PartitionClock::default();
        let after = |&(series, time)| {
            clock.observe(series, time, TOLERANCE);
            clock.time()
        };
        readings.iter().map(after).collect()
    }

    #[test]
    fn it_is_the_time_that_two_series_have_reached() {
        let readings = [(1, 10), (1, 11), (2, 12), (1, 13), (3, 14), (2, 9), (1, 20), (2, 19)];
        let expected = [None, None, Some(11), Some(12), Some(13), Some(13), Some(14), Some(19)];
        assert_eq!(times(&readings), expected);
    }

    #[test]
    fn a_series_that_comes_alone_moves_it_in_small_steps() {
        let readings = [(1, 10), (2, 10), (1, 20), (1, 30), (1, 40), (1, 50), (1, 500), (1, 510)];
        let expected = [None, Some(10), Some(10), Some(10), Some(40), Some(50), Some(50), Some(50)];
        assert_eq!(times(&readings), expected);
    }

    #[test]
    fn a_wrong_clock_moves_nothing_however_often_it_is_seen() {
        let wild = (9, 1_000_000);
        let mut readings = vec![(1, 10), (2, 10)];
        for step in 2..50 {
            readings.extend([wild, wild, wild, (1, step * 10), wild, (2, step * 10)]);
        }
        assert_eq!(*times(&readings).last().unwrap(), Some(490));
    }

    #[test]
    fn two_series_that_agree_take_it_forth_and_back() {
        let readings = [(1, 10), (2, 10), (2, 900), (1, 890), (3, 901), (4, 20), (5, 22), (6, 23)];
        let expected = [None, Some(10), Some(10), Some(890), Some(900), Some(900), Some(20), Some(22)];
        assert_eq!(times(&readings), expected);
    }
}
