//! Checks of the interval, the season and the longest gap.

use super::super::grid::{Aggregation, Interval, Season};
use super::super::stream::{Absence, CloseBy, Late, Stream};
use super::super::values::{Auto, Limit, Millis};
use super::checker::Checker;

/// Most open slots of a series: it bounds the memory that late readings cost.
const MOST_OPEN_SLOTS: i64 = 1_024;
/// Most empty steps in a row that a series steps through: it bounds the time of one record.
const MOST_GAP_STEPS: i64 = 65_536;
/// Most steps of a season (two weeks of minutes): each series stores one season.
const MOST_SEASON_STEPS: i64 = 20_160;

/// Checks the interval, and the keys that depend on whether it is regular.
pub fn check(stream: &Stream, table: &mut Checker<'_>) {
    match stream.interval {
        Interval::Every(interval) => {
            table.range(
                "interval",
                interval,
                Millis(1)..=Millis::days(366),
                "write \"irregular\" for series without a grid",
            );
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
        Interval::Irregular => {
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
                matches!(stream.season, Season::Every(_)),
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
    let Interval::Every(interval) = stream.interval else {
        if let Auto::Set(gap) = stream.max_gap {
            table.range("max_gap", gap, Millis(1)..=Millis::days(3_660), "");
        }
        return;
    };
    // `check` refuses an interval of zero; the division below must not fail on it.
    let length = interval.0.max(1);
    if let Season::Every(season) = stream.season {
        let keys = &["season", "interval"];
        let steps = season.0 / length;
        let whole = season.0 % length == 0;
        let hint = format!("such as {:?}", Millis(length.saturating_mul(steps.saturating_add(1).max(2))).to_string());
        table.contradicts(!whole, keys, format!("a multiple of the interval, {interval}"), season, hint);
        let expected = format!("2 to {MOST_SEASON_STEPS} intervals of {interval}");
        let wrong = whole && !(2..=MOST_SEASON_STEPS).contains(&steps);
        table.contradicts(
            wrong,
            keys,
            expected,
            format!("{season}, {steps} × the interval"),
            "each series stores one season; write \"none\" for none",
        );
    }
    if let Auto::Set(gap) = stream.max_gap {
        let keys = &["max_gap", "interval"];
        table.contradicts(
            gap < interval,
            keys,
            format!("at least the interval, {interval}"),
            gap,
            "write \"auto\" for two seasons",
        );
        let expected = format!("at most {MOST_GAP_STEPS} intervals of {interval}");
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
    let regular = match stream.interval {
        Interval::Every(interval) => interval.0.saturating_mul(2),
        Interval::Irregular => 1,
    };
    let least = Millis(regular.max(stream.allowed_lateness.0));
    table.contradicts(
        ttl < least,
        &["series_ttl", "interval", "allowed_lateness"],
        format!("at least two intervals and allowed_lateness, {least}"),
        ttl,
        "write \"auto\" for at least seven days, or \"none\" for series that never end",
    );
}
