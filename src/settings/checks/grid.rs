//! Checks of the interval, the season and the longest gap.

use super::super::grid::{Aggregation, Interval, Season};
use super::super::stream::{Absence, CloseBy, Late, Stream};
use super::super::values::{Auto, Limit, Millis};
use super::checker::Checker;
use crate::time::Origin;

/// Most open slots of a series: it bounds the memory that late readings cost.
const MOST_OPEN_SLOTS: i64 = 1_024;
/// Most empty steps in a row that a series steps through: it bounds the time of one record.
const MOST_GAP_STEPS: i64 = 65_536;
/// Most steps of a season (two weeks of minutes): each series stores one season.
const MOST_SEASON_STEPS: u32 = 20_160;
/// The longest interval in months: ten years.
const MOST_MONTHS: u32 = 120;
/// The last day that every month has.
const MOST_DAY_OF_MONTH: i8 = 28;

/// Checks the interval, and the keys that depend on whether it is regular.
pub fn check(stream: &Stream, table: &mut Checker<'_>) {
    origin(stream, table);
    match stream.interval.nominal() {
        Some(interval) => {
            let hint = "write \"irregular\" for series without a grid";
            match stream.interval {
                Interval::Months(months) => {
                    let expected = format!("1mo to {}", Interval::Months(MOST_MONTHS));
                    table.expect((1..=MOST_MONTHS).contains(&months), "interval", expected, stream.interval, hint);
                }
                _ => table.range("interval", interval, Millis(1)..=Millis::days(366), hint),
            }
            let most = interval.0.saturating_mul(MOST_OPEN_SLOTS);
            let expected = format!("at most {MOST_OPEN_SLOTS} intervals, {}", Millis(most));
            let hint = "slots stay open for this time; choose a longer interval or a smaller lateness";
            table.contradicts(
                stream.allowed_lateness.0 > most,
                &["allowed_lateness", "interval"],
                expected,
                stream.allowed_lateness,
                hint,
            );
        }
        None => {
            table.range("allowed_lateness", stream.allowed_lateness, Millis(0)..=Millis::days(7), "");
            let hint = "remove readings_per_slot, or set an interval";
            table.contradicts(
                stream.readings_per_slot.is_some(),
                &["readings_per_slot", "interval"],
                "a regular interval",
                "\"irregular\"",
                hint,
            );
            table.contradicts(
                matches!(stream.season, Season::Every(_) | Season::Months(_)),
                &["season", "interval"],
                "a regular interval",
                "\"irregular\"",
                "remove season, or set an interval",
            );
        }
    }
    absence(stream, table);
    table.range("correction", stream.correction, 1..=256, "each series stores so many readings");
    table.contradicts(
        stream.late == Late::Correct && stream.interval == Interval::Irregular,
        &["late", "interval"],
        "a regular interval",
        "\"irregular\"",
        "an irregular step has one reading: nothing to correct",
    );
    if let Limit::Set(ahead) = stream.max_ahead {
        table.range("max_ahead", ahead, Millis(1)..=Millis::days(36_600), "write \"none\" for any time");
    }
    if let Some(readings) = stream.readings_per_slot {
        table.range("readings_per_slot", readings, 1..=1_000_000, "");
    }
}

/// Checks where steps begin.
fn origin(stream: &Stream, table: &mut Checker<'_>) {
    let keys = &["origin", "interval"];
    table.contradicts(
        stream.interval == Interval::Irregular && stream.origin != Origin::default(),
        keys,
        "a regular interval",
        "\"irregular\"",
        "remove origin, or set an interval",
    );
    let is_month = matches!(stream.interval, Interval::Months(_));
    table.contradicts(
        is_month && stream.origin.date.is_some_and(|date| date.day() > MOST_DAY_OF_MONTH),
        keys,
        format!("a day from 1 to {MOST_DAY_OF_MONTH}, which every month has"),
        stream.origin,
        "months begin on this day",
    );
}

/// Checks the season against a regular interval.
fn season(stream: &Stream, table: &mut Checker<'_>) {
    let keys = &["season", "interval"];
    let (interval, season, steps) = (stream.interval, stream.season, stream.season_steps());
    let (is_whole, whole) = match (season, interval) {
        (Season::Every(season), Interval::Every(Millis(interval))) if interval > 0 => {
            let steps = (season.0 / interval).saturating_add(1).max(2);
            (season.0 % interval == 0, Millis(interval.saturating_mul(steps)).to_string())
        }
        (Season::Every(_), Interval::Months(months)) => (false, Season::Months(months.saturating_mul(4)).to_string()),
        (Season::Months(season), Interval::Months(months @ 1..)) => {
            let steps = (season / months).saturating_add(1).max(2);
            (season % months == 0, Season::Months(months.saturating_mul(steps)).to_string())
        }
        (Season::Months(_), _) => (true, String::new()),
        _ => return,
    };
    let hint = format!("such as {whole:?}");
    table.contradicts(!is_whole, keys, format!("a multiple of the interval, {interval}"), season, hint);
    table.contradicts(
        is_whole && !(2..=MOST_SEASON_STEPS).contains(&steps),
        keys,
        format!("2 to {MOST_SEASON_STEPS} intervals of {interval}"),
        format!("{season}, {steps} × the interval"),
        "each series stores one season; write \"none\" for none",
    );
}

/// Checks what closes steps, and what empty ones mean.
fn absence(stream: &Stream, table: &mut Checker<'_>) {
    let irregular = stream.interval == Interval::Irregular;
    table.contradicts(
        irregular && stream.close_by == CloseBy::Partition,
        &["close_by", "interval"],
        "a regular interval",
        "\"irregular\"",
        "remove close_by, or set an interval",
    );
    table.contradicts(
        irregular && stream.absence != Absence::Gap,
        &["absence", "interval"],
        "a regular interval",
        "\"irregular\"",
        "without an interval nothing is absent: remove absence, or set an interval",
    );
    let is_anomaly = stream.absence == Absence::Anomaly;
    table.contradicts(
        is_anomaly && !irregular && stream.close_by != CloseBy::Partition,
        &["absence", "close_by"],
        "close_by = \"partition\"",
        "\"series\"",
        "the steps of a silent series close by the time of its partition only",
    );
    table.contradicts(
        is_anomaly && stream.aggregation == Aggregation::Count,
        &["absence", "aggregation"],
        "another aggregation",
        "\"count\"",
        "an empty step has the count 0, which is scored as any other: remove absence",
    );
}

/// Checks the season, the longest gap and the life of a silent series against the interval.
pub fn check_season_and_gap(stream: &Stream, table: &mut Checker<'_>) {
    series_ttl(stream, table);
    let Some(interval) = stream.interval.nominal() else {
        if let Auto::Set(gap) = stream.max_gap {
            table.range("max_gap", gap, Millis(1)..=Millis::days(3_660), "");
        }
        return;
    };
    // `check` refuses an interval of zero; the divisions below must not fail on it.
    let length = interval.0.max(1);
    season(stream, table);
    if let Auto::Set(gap) = stream.max_gap {
        let keys = &["max_gap", "interval"];
        table.contradicts(
            gap < interval,
            keys,
            format!("at least the interval, {}", stream.interval),
            gap,
            "write \"auto\" for two seasons",
        );
        let expected = format!("at most {MOST_GAP_STEPS} intervals of {}", stream.interval);
        table.contradicts(
            gap.0 / length > MOST_GAP_STEPS,
            keys,
            expected,
            gap,
            "each empty step costs as much time as a full one",
        );
    }
}

/// A series must not end between two regular observations, or while late ones are awaited.
fn series_ttl(stream: &Stream, table: &mut Checker<'_>) {
    let Limit::Set(ttl) = stream.series_ttl else { return };
    let regular = stream.interval.nominal().map_or(1, |interval| interval.0.saturating_mul(2));
    let least = Millis(regular.max(stream.allowed_lateness.0));
    table.contradicts(
        ttl < least,
        &["series_ttl", "interval", "allowed_lateness"],
        format!("at least two intervals and allowed_lateness, {least}"),
        ttl,
        "write \"auto\" for at least seven days, or \"none\" for series that never end",
    );
}
