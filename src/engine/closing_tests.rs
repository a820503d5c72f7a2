//! Slots that close by the time of their partition.

use super::test_fixture::Fixture;
use super::tests::MINUTE;
use super::*;
use crate::series::{Absence, CloseBy};

fn closed_by_partition(absence: Absence) -> Fixture {
    Fixture::new(|spec| {
        (spec.series.close_by, spec.series.absence, spec.series.max_gap) = (CloseBy::Partition, absence, 5);
        spec.forecast.scores_absence = absence == Absence::Anomaly;
    })
}

impl Fixture {
    fn observe_all(&mut self, series: &[&str], minute: i64) {
        for series in series {
            self.observe(series, minute);
        }
    }

    /// Ends the transaction. Returns the forecasts of a series.
    fn commit_of(&mut self, series: &str) -> Vec<ForecastRow> {
        self.commit(|fixture, transaction| forecasts_of(fixture, transaction, series))
    }
}

fn forecasts_of(fixture: &Fixture, transaction: &Transaction, series: &str) -> Vec<ForecastRow> {
    transaction.forecasts.iter().filter(|row| fixture.key(row) == series).cloned().collect()
}

/// Slot, value, and whether it is absent.
fn slots(rows: &[ForecastRow]) -> Vec<(i64, f64, bool)> {
    rows.iter().map(|row| (row.slot, row.value, row.absent)).collect()
}

#[test]
fn a_silent_series_goes_on_until_its_longest_gap() {
    let mut fixture = closed_by_partition(Absence::Gap);
    for minute in 0..3 {
        fixture.observe_all(&["a", "b", "silent"], minute);
    }
    assert_eq!(slots(&fixture.commit_of("silent")), [(0, 0.0, false), (1, 1.0, false)]);
    for minute in 3..20 {
        fixture.observe_all(&["a", "b"], minute);
    }
    let expected = [(2, 2.0, false), (3, 2.0, true), (4, 2.0, true), (5, 2.0, true), (6, 2.0, true), (7, 2.0, true)];
    let rows = fixture.commit_of("silent");
    assert_eq!(slots(&rows), expected);
    assert!(rows.iter().filter(|row| row.absent).all(|row| row.anomaly.is_none()));
    assert_eq!(fixture.observe("silent", 7), Acceptance::Late { by: MINUTE });
    assert_eq!(fixture.observe("silent", 19), Acceptance::Accepted);
    assert_eq!(slots(&fixture.commit_of("silent")), [], "the gap was too long: nothing more is stepped through");
    fixture.observe_all(&["a", "b"], 20);
    assert_eq!(slots(&fixture.commit_of("silent")), [(19, 19.0, false)]);
}

#[test]
fn an_absent_value_is_zero_where_the_stream_says_so() {
    let mut fixture = closed_by_partition(Absence::Zero);
    fixture.observe_all(&["a", "b", "silent"], 7);
    for minute in 8..11 {
        fixture.observe_all(&["a", "b"], minute);
    }
    assert_eq!(slots(&fixture.commit_of("silent")), [(7, 7.0, false), (8, 0.0, false), (9, 0.0, false)]);
}

#[test]
fn an_absent_heartbeat_is_an_anomaly() {
    let mut fixture = closed_by_partition(Absence::Anomaly);
    for minute in 0..1_200 {
        fixture.observe_all(&["a", "b", "silent"], minute);
    }
    fixture.commit_of("silent");
    for minute in 1_200..1_203 {
        fixture.observe_all(&["a", "b"], minute);
    }
    let rows = fixture.commit_of("silent");
    assert_eq!(slots(&rows)[1..], [(1_200, 1_199.0, true), (1_201, 1_199.0, true)]);
    let anomalies: Vec<_> = rows.iter().map(|row| row.anomaly.unwrap()).collect();
    assert!(!anomalies[0].anomalous && anomalies[1].anomalous && anomalies[2].anomalous, "{anomalies:?}");
    assert!(anomalies[1].score > 0.999 && anomalies[2].score > anomalies[1].score, "{anomalies:?}");
}

#[test]
fn a_wrong_clock_closes_nothing_and_a_rollback_closes_again() {
    let mut fixture = closed_by_partition(Absence::Gap);
    for minute in 0..3 {
        fixture.observe_all(&["a", "b", "silent"], minute);
        fixture.observe("wild", 9_000);
    }
    fixture.commit_of("silent");
    let before = fixture.offset;
    let mut closed = Vec::new();
    for _ in 0..2 {
        fixture.offset = before;
        fixture.observe_all(&["a", "b"], 4);
        let transaction = fixture.engine.finish(0.0);
        let rows = forecasts_of(&fixture, &transaction, "silent");
        closed.push(rows.iter().map(|row| (row.slot, row.offset)).collect::<Vec<_>>());
        fixture.engine.roll_back();
        fixture.engine.begin(true);
    }
    assert_eq!(closed[0], [(2, before + 1), (3, before + 1)]);
    assert_eq!(closed[0], closed[1]);
}

#[test]
fn a_series_that_lags_behind_its_partition_is_late() {
    let mut fixture = closed_by_partition(Absence::Gap);
    for minute in 10..20 {
        fixture.observe_all(&["a", "b"], minute);
    }
    assert_eq!(fixture.observe("lagging", 15), Acceptance::Accepted, "it begins there");
    assert_eq!(fixture.observe("lagging", 16), Acceptance::Late { by: 3 * MINUTE });
    assert_eq!(fixture.observe("lagging", 19), Acceptance::Accepted);
}
