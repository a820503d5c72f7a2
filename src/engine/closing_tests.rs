//! Slots that close by the time of their partition.

use super::tests::{MINUTE, spec};
use super::*;
use crate::series::{Absence, CloseBy};
use crate::time::{EventTime, Grid};

struct Fixture {
    engine: Engine,
    task: TaskHandle,
    offset: i64,
}

impl Fixture {
    fn new(absence: Absence) -> Self {
        let mut spec = spec(Grid::Regular { interval: MINUTE });
        spec.series.allowed_lateness = 0;
        (spec.series.close_by, spec.series.absence, spec.series.max_gap) = (CloseBy::Partition, absence, 5);
        spec.forecast.scores_absence = absence == Absence::Anomaly;
        let mut engine = Engine::new(vec![spec]).unwrap();
        let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
        engine.begin(true);
        Self { engine, task, offset: 0 }
    }

    /// An observation in a record of its own, which is as old as the observation.
    fn observe(&mut self, series: &str, minute: i64) -> Acceptance {
        self.observe_at(series, minute, minute)
    }

    fn observe_all(&mut self, series: &[&str], minute: i64) {
        series.iter().for_each(|series| {
            self.observe(series, minute);
        });
    }

    fn observe_at(&mut self, series: &str, minute: i64, timestamp: i64) -> Acceptance {
        let (time, timestamp) = (EventTime(minute * MINUTE), Some(timestamp * MINUTE));
        let observation = Observation {
            offset: self.offset,
            series,
            time,
            timestamp,
            value: minute as f64,
            covariates: &[],
            warm_up: false,
        };
        let accepted = self.engine.accept(self.task, &observation);
        self.offset += 1;
        self.engine.advance(self.task, self.offset);
        accepted
    }

    /// Ends the transaction. Returns the forecasts of a series.
    fn commit(&mut self, series: &str) -> Vec<ForecastRow> {
        let transaction = self.engine.finish(0.0);
        let of_series = |row: &&ForecastRow| self.engine.key(self.task, row.series) == series;
        let rows = transaction.forecasts.iter().filter(of_series).cloned().collect();
        self.engine.commit(&transaction);
        self.engine.begin(true);
        rows
    }
}

/// Slot, value, and whether it is absent.
fn slots(rows: &[ForecastRow]) -> Vec<(i64, f64, bool)> {
    rows.iter().map(|row| (row.slot, row.value, row.absent)).collect()
}

#[test]
fn a_silent_series_goes_on_until_its_longest_gap() {
    let mut fixture = Fixture::new(Absence::Gap);
    for minute in 0..3 {
        fixture.observe_all(&["a", "b", "silent"], minute);
    }
    assert_eq!(slots(&fixture.commit("silent")), [(0, 0.0, false), (1, 1.0, false)]);
    for minute in 3..20 {
        fixture.observe_all(&["a", "b"], minute);
    }
    let expected = [(2, 2.0, false), (3, 2.0, true), (4, 2.0, true), (5, 2.0, true), (6, 2.0, true), (7, 2.0, true)];
    let rows = fixture.commit("silent");
    assert_eq!(slots(&rows), expected);
    assert!(rows.iter().filter(|row| row.absent).all(|row| row.anomaly.is_none()));
    assert_eq!(fixture.observe("silent", 7), Acceptance::Late { by: MINUTE });
    assert_eq!(fixture.observe("silent", 19), Acceptance::Accepted);
    assert_eq!(slots(&fixture.commit("silent")), [], "the gap was too long: nothing more is stepped through");
    fixture.observe_all(&["a", "b"], 20);
    assert_eq!(slots(&fixture.commit("silent")), [(19, 19.0, false)]);
}

#[test]
fn an_absent_value_is_zero_where_the_stream_says_so() {
    let mut fixture = Fixture::new(Absence::Zero);
    fixture.observe_all(&["a", "b", "silent"], 7);
    for minute in 8..11 {
        fixture.observe_all(&["a", "b"], minute);
    }
    assert_eq!(slots(&fixture.commit("silent")), [(7, 7.0, false), (8, 0.0, false), (9, 0.0, false)]);
}

#[test]
fn an_absent_heartbeat_is_an_anomaly() {
    let mut fixture = Fixture::new(Absence::Anomaly);
    for minute in 0..1_200 {
        fixture.observe_all(&["a", "b", "silent"], minute);
    }
    fixture.commit("silent");
    for minute in 1_200..1_203 {
        fixture.observe_all(&["a", "b"], minute);
    }
    let rows = fixture.commit("silent");
    assert_eq!(slots(&rows)[1..], [(1_200, 1_199.0, true), (1_201, 1_199.0, true)]);
    let anomalies: Vec<_> = rows.iter().map(|row| row.anomaly.unwrap()).collect();
    assert!(!anomalies[0].anomalous && anomalies[1].anomalous && anomalies[2].anomalous, "{anomalies:?}");
    assert!(anomalies[1].score > 0.999 && anomalies[2].score > anomalies[1].score, "{anomalies:?}");
}

#[test]
fn a_wrong_clock_closes_nothing_and_a_rollback_closes_again() {
    let mut fixture = Fixture::new(Absence::Gap);
    for minute in 0..3 {
        fixture.observe_all(&["a", "b", "silent"], minute);
        fixture.observe("wild", 9_000);
    }
    fixture.commit("silent");
    let before = fixture.offset;
    let mut closed = Vec::new();
    for _ in 0..2 {
        fixture.offset = before;
        fixture.observe_all(&["a", "b"], 4);
        let transaction = fixture.engine.finish(0.0);
        let rows: Vec<_> = transaction
            .forecasts
            .iter()
            .filter(|row| fixture.engine.key(fixture.task, row.series) == "silent")
            .map(|row| (row.slot, row.offset))
            .collect();
        closed.push(rows);
        fixture.engine.roll_back();
        fixture.engine.begin(true);
    }
    assert_eq!(closed[0], [(2, before + 1), (3, before + 1)]);
    assert_eq!(closed[0], closed[1]);
}

#[test]
fn a_series_that_lags_behind_its_partition_is_late() {
    let mut fixture = Fixture::new(Absence::Gap);
    for minute in 10..20 {
        fixture.observe_all(&["a", "b"], minute);
    }
    assert_eq!(fixture.observe("lagging", 15), Acceptance::Accepted, "it begins there");
    assert_eq!(fixture.observe("lagging", 16), Acceptance::Late { by: 3 * MINUTE });
    assert_eq!(fixture.observe("lagging", 19), Acceptance::Accepted);
}
