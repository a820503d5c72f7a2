//! Local times of a file in their zone: to which of the two passes of an hour that the clocks repeat a time belongs,
//! and what a time means that the clocks skip.

use std::collections::BTreeMap;

use crate::series::Calendar;
use crate::time::EventTime;
use crate::wire::Moment;

const DAY: i64 = 86_400_000;

/// The times of all rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ResolvedTimes {
    /// `None` for a row without a valid time.
    pub times: Vec<Option<EventTime>>,
    /// Number of local times that occur twice and were taken for the second pass.
    pub second_passes: usize,
    /// Rows whose local time the clocks skip. It counts as one of the hour behind.
    pub skipped: Vec<usize>,
}

/// The points in time that a local time may be.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    first: i64,
    second: Option<i64>,
    skipped: bool,
}

fn candidates(local: i64, calendar: &Calendar) -> Candidates {
    let before = calendar.utc_offset(EventTime(local - DAY));
    let after = calendar.utc_offset(EventTime(local + DAY));
    let [early, late] = [local - before, local - after];
    let only = |first: i64| Candidates { first, second: None, skipped: false };
    if before == after {
        return only(early);
    }
    let holds = |time: i64, offset: i64| calendar.utc_offset(EventTime(time)) == offset;
    match (holds(early, before), holds(late, after)) {
        (true, true) => Candidates { first: early.min(late), second: Some(early.max(late)), skipped: false },
        (true, false) => only(early),
        (false, true) => only(late),
        // The offset before the change moves a skipped time behind it by the length of the gap.
        (false, false) => Candidates { skipped: true, ..only(early) },
    }
}

/// Turns local times into points in time. Within a series (`series` has that of each row, or is empty if all rows are
/// of one), a repeated time is of the second pass if the time before it, in the order of time, shows that the first one
/// has passed.
pub(super) fn resolve(moments: &[Option<Moment>], series: &[u32], calendar: &Calendar) -> ResolvedTimes {
    let mut resolved = ResolvedTimes { times: Vec::with_capacity(moments.len()), ..ResolvedTimes::default() };
    // The second pass of each row whose local time occurs twice.
    let mut repeated = BTreeMap::new();
    for (row, moment) in moments.iter().enumerate() {
        let time = moment.map(|moment| {
            if !moment.local {
                return moment.millis;
            }
            let found = candidates(moment.millis, calendar);
            if let Some(second) = found.second {
                repeated.insert(row, second);
            }
            if found.skipped {
                resolved.skipped.push(row);
            }
            found.first
        });
        resolved.times.push(time.map(EventTime).filter(|time| time.is_valid()));
    }
    if !repeated.is_empty() {
        choose_passes(&mut resolved, &repeated, series);
    }
    resolved
}

/// The order of a series' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    OldestFirst,
    NewestFirst,
    Mixed,
}

fn choose_passes(resolved: &mut ResolvedTimes, repeated: &BTreeMap<usize, i64>, series: &[u32]) {
    let of_row = |row: usize| series.get(row).copied().unwrap_or(0);
    let mut rows_of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let concerned: std::collections::BTreeSet<u32> = repeated.keys().map(|row| of_row(*row)).collect();
    for row in (0..resolved.times.len()).filter(|row| resolved.times[*row].is_some()) {
        if concerned.contains(&of_row(row)) {
            rows_of.entry(of_row(row)).or_default().push(row);
        }
    }
    for mut rows in rows_of.into_values() {
        // The repeated hour itself goes back: it says nothing.
        let others: Vec<usize> = rows.iter().copied().filter(|row| !repeated.contains_key(row)).collect();
        let direction = direction(&resolved.times, &others);
        if direction == Direction::NewestFirst {
            rows.reverse();
        }
        let (mut before, mut seen) = (i64::MIN, BTreeMap::new());
        for row in rows {
            let first = resolved.times[row].map_or(i64::MIN, |time| time.0);
            let mut time = first;
            if let Some(second) = repeated.get(&row) {
                let times_seen = seen.entry(first).or_insert(0);
                *times_seen += 1;
                let passed = match direction {
                    Direction::Mixed => *times_seen > 1,
                    _ => first <= before && *second > before,
                };
                if passed {
                    time = *second;
                    resolved.times[row] = Some(EventTime(time));
                    resolved.second_passes += 1;
                }
            }
            before = time;
        }
    }
}

/// The direction of nine in ten steps.
fn direction(times: &[Option<EventTime>], rows: &[usize]) -> Direction {
    let steps = rows.windows(2).map(|pair| times[pair[1]].cmp(&times[pair[0]]));
    let (up, down) =
        steps.fold((0, 0), |(up, down), step| (up + usize::from(step.is_gt()), down + usize::from(step.is_lt())));
    match () {
        () if up >= 9 * down => Direction::OldestFirst,
        () if down >= 9 * up => Direction::NewestFirst,
        () => Direction::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::wire::{DateOrder, parse_stamp};

    fn hours(stamps: &[&str], series: &[u32]) -> (Vec<i64>, ResolvedTimes) {
        let moments: Vec<_> =
            stamps.iter().map(|text| parse_stamp(text, DateOrder::DayFirst).map(|stamp| stamp.moment)).collect();
        let calendar = Calendar::new(TimeZone::get("Europe/Berlin").unwrap());
        let resolved = resolve(&moments, series, &calendar);
        let start: EventTime = EventTime("2024-10-26T22:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let minutes = resolved.times.iter().map(|time| (time.unwrap().0 - start.0) / 60_000).collect();
        (minutes, resolved)
    }

    #[test]
    fn the_second_pass_of_a_repeated_hour_is_the_second_one() {
        let day = "2024-10-27 ";
        let stamps: Vec<String> =
            ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"].map(|t| day.to_owned() + t).into();
        let mut stamps: Vec<&str> = stamps.iter().map(String::as_str).collect();
        let expected = [90, 120, 150, 180, 210, 240];
        let (minutes, resolved) = hours(&stamps, &[]);
        assert_eq!((minutes, resolved.second_passes), (expected.to_vec(), 2));
        // Two series, row by row.
        let twice: Vec<&str> = stamps.iter().flat_map(|stamp| [*stamp, *stamp]).collect();
        let (minutes, _) = hours(&twice, &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(minutes, expected.into_iter().flat_map(|minute| [minute, minute]).collect::<Vec<_>>());
        // Newest first, and in no order.
        stamps.reverse();
        assert_eq!(hours(&stamps, &[]).0, [240, 210, 180, 150, 120, 90]);
        let mixed =
            ["2024-10-27 03:00", "2024-10-27 02:00", "2024-10-27 00:00", "2024-10-27 02:00", "2024-10-27 00:30"];
        assert_eq!(hours(&mixed, &[]).0, [240, 120, 0, 180, 30]);
    }

    #[test]
    fn a_skipped_time_moves_behind_the_gap() {
        let (_, resolved) = hours(&["2024-03-31 01:30", "2024-03-31 02:30", "2024-03-31 03:00"], &[]);
        let minutes: Vec<i64> =
            resolved.times.windows(2).map(|pair| (pair[1].unwrap().0 - pair[0].unwrap().0) / 60_000).collect();
        assert_eq!((minutes, resolved.skipped), (vec![60, -30], vec![1]));
    }

    proptest::proptest! {
        #[test]
        fn local_times_are_those_of_the_time_zone_database(second in 0..4_000_000_000_i64) {
            let zone = TimeZone::get("America/New_York").unwrap();
            let civil = jiff::Timestamp::from_second(second).unwrap().to_zoned(TimeZone::UTC).datetime();
            let moment = Moment { millis: 1000 * second, local: true };
            let ours = resolve(&[Some(moment)], &[], &Calendar::new(zone.clone())).times[0];
            proptest::prop_assert_eq!(ours, moment.in_zone(&zone), "{}", civil);
        }
    }
}
