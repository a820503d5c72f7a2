//! The end of series: by silence, by eviction, by a deletion.

use std::collections::BTreeSet;

use super::tests::{MINUTE, spec};
use super::*;
use crate::time::{EventTime, Grid};

/// The keys of series that ended, and why.
type Ends = Vec<(String, EndReason)>;

struct Fixture {
    engine: Engine,
    task: TaskHandle,
    offset: i64,
}

impl Fixture {
    fn new(change: impl Fn(&mut StreamSpec)) -> Self {
        let mut spec = spec(Grid::Regular { interval: MINUTE });
        spec.series.allowed_lateness = 0;
        spec.series_ttl = Some(10 * MINUTE);
        change(&mut spec);
        let mut engine = Engine::new(vec![spec]).unwrap();
        let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
        engine.begin(true);
        Self { engine, task, offset: 0 }
    }

    /// An observation in a record of its own, which is as old as the observation.
    fn observe(&mut self, series: &str, minute: i64) -> Acceptance {
        self.observe_at(series, minute, minute)
    }

    /// An observation in a record with another timestamp.
    fn observe_at(&mut self, series: &str, minute: i64, timestamp: i64) -> Acceptance {
        let accepted = self.accept(series, minute, timestamp);
        self.next();
        accepted
    }

    fn accept(&mut self, series: &str, minute: i64, timestamp: i64) -> Acceptance {
        let (time, timestamp) = (EventTime(minute * MINUTE), Some(timestamp * MINUTE));
        let value = minute as f64;
        let (offset, covariates, warm_up) = (self.offset, &[][..], false);
        let observation = Observation { offset, series, time, timestamp, value, covariates, warm_up };
        self.engine.accept(self.task, &observation)
    }

    fn delete(&mut self, series: &str) {
        self.engine.delete(self.task, &Deletion { offset: self.offset, series, warm_up: false });
    }

    fn next(&mut self) {
        self.offset += 1;
        self.engine.advance(self.task, self.offset);
    }

    /// Ends the transaction. Returns the forecasts (series and slot), and the series that ended, in order.
    fn commit(&mut self) -> (Vec<(String, i64)>, Ends) {
        let transaction = self.engine.finish(0.0);
        let key = |row: &ForecastRow| (self.engine.key(self.task, row.series).to_owned(), row.slot);
        let forecasts = transaction.forecasts.iter().map(key).collect();
        let ended = transaction.ended.iter().map(|ended| (ended.series.to_string(), ended.reason)).collect();
        self.engine.commit(&transaction);
        self.engine.begin(true);
        (forecasts, ended)
    }

    fn keys(&self) -> BTreeSet<String> {
        self.engine.keys(self.task).map(str::to_owned).collect()
    }
}

fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn a_silent_series_ends_after_its_open_slot_is_forecast_from() {
    let mut fixture = Fixture::new(|_| {});
    fixture.observe("a", 0);
    fixture.observe("a", 1);
    for minute in 1..11 {
        fixture.observe("b", minute);
    }
    let (forecasts, ended) = fixture.commit();
    assert_eq!(forecasts.iter().filter(|(series, _)| series == "a").count(), 1, "slot 1 is still open");
    assert_eq!(ended, []);
    fixture.observe("b", 11);
    let (forecasts, ended) = fixture.commit();
    assert_eq!(forecasts[0], ("a".to_owned(), 1));
    assert_eq!(ended, [("a".to_owned(), EndReason::Silent)]);
    assert_eq!((fixture.keys(), fixture.engine.series_count(fixture.task)), (keys(&["b"]), 1));
    // Before its last observation: it is new.
    assert_eq!(fixture.observe("a", 0), Acceptance::Accepted);
}

#[test]
fn a_series_that_was_alone_and_silent_is_new_when_it_comes_back() {
    let mut fixture = Fixture::new(|_| {});
    fixture.observe("a", 0);
    fixture.observe("a", 10);
    fixture.observe("a", 11);
    let (forecasts, ended) = fixture.commit();
    assert_eq!(forecasts, [("a".to_owned(), 0), ("a".to_owned(), 10)], "in the order of event time");
    assert_eq!(ended, [("a".to_owned(), EndReason::Silent)]);
}

#[test]
fn a_producer_that_lags_behind_the_others_ends_no_series_that_it_still_observes() {
    let mut fixture = Fixture::new(|_| {});
    for minute in 100..200 {
        fixture.observe("now", minute);
        fixture.observe("lagging", minute - 90);
        fixture.observe_at("lagging", minute - 95, minute);
    }
    assert_eq!(fixture.commit().1, []);
}

#[test]
fn a_wild_time_ends_no_series() {
    let mut fixture = Fixture::new(|_| {});
    for minute in 0..5 {
        for series in ["a", "b"] {
            fixture.observe(series, minute);
        }
    }
    fixture.observe_at("wild", 50_000_000, 5);
    for minute in 5..9 {
        for series in ["a", "b"] {
            assert_eq!(fixture.observe(series, minute), Acceptance::Accepted);
        }
    }
    assert_eq!(fixture.commit().1, []);
    assert_eq!(fixture.keys(), keys(&["a", "b", "wild"]));
}

#[test]
fn series_without_a_ttl_never_end() {
    let mut fixture = Fixture::new(|spec| spec.series_ttl = None);
    fixture.observe("a", 0);
    fixture.observe("b", 50_000_000);
    assert_eq!((fixture.commit().1, fixture.keys()), (vec![], keys(&["a", "b"])));
}

#[test]
fn the_longest_silent_series_makes_room_or_a_new_one_is_refused() {
    let mut fixture = Fixture::new(|spec| (spec.max_series, spec.when_full) = (3, WhenFull::Evict));
    for series in ["a", "b", "c", "a"] {
        fixture.observe(series, 0);
    }
    assert_eq!(fixture.observe("d", 0), Acceptance::Accepted);
    assert_eq!(fixture.commit().1, [("b".to_owned(), EndReason::Evicted)]);
    // Series of one record are silent for as long as each other. Their keys decide.
    for series in ["y", "x", "z"] {
        fixture.accept(series, 1, 1);
    }
    fixture.next();
    fixture.commit();
    fixture.observe("w", 1);
    assert_eq!(fixture.commit().1, [("x".to_owned(), EndReason::Evicted)]);

    let mut fixture = Fixture::new(|spec| (spec.max_series, spec.when_full) = (1, WhenFull::Refuse));
    assert_eq!(fixture.observe("a", 0), Acceptance::Accepted);
    assert_eq!(fixture.observe("b", 1), Acceptance::SeriesLimit);
    assert_eq!(fixture.observe("b", 10), Acceptance::Accepted, "the first one has ended");
}

#[test]
fn a_deleted_series_is_new_at_once() {
    let mut fixture = Fixture::new(|_| {});
    fixture.observe("a", 5);
    fixture.delete("a");
    fixture.delete("unknown");
    fixture.next();
    assert_eq!(fixture.observe("a", 1), Acceptance::Accepted, "its watermark is gone");
    fixture.observe("a", 2);
    let (forecasts, ended) = fixture.commit();
    assert_eq!(forecasts, [("a".to_owned(), 5), ("a".to_owned(), 1)], "the old series first");
    assert_eq!(ended, [("a".to_owned(), EndReason::Deleted)]);
    assert_eq!(fixture.keys(), keys(&["a"]));
}

/// A day of pods: each lives for an hour. Memory and the number of snapshots do not grow.
#[test]
fn series_that_come_and_go_leave_memory_and_state_flat() {
    const PODS: i64 = 60;
    let mut fixture = Fixture::new(|_| {});
    let (mut stored, mut sizes) = (BTreeSet::new(), Vec::new());
    for minute in 0..24 * 60 {
        // Pod n lives from minute n * 60 / PODS on.
        for pod in ((minute - 60) * PODS / 60).max(0)..=minute * PODS / 60 {
            fixture.observe(&format!("pod-{pod:08}"), minute);
        }
        let transaction = fixture.engine.finish(0.1);
        stored.retain(|key| transaction.ended.iter().all(|ended| ended.series != *key));
        stored.extend(transaction.snapshots.iter().map(|snapshot| snapshot.series.clone()));
        fixture.engine.commit(&transaction);
        fixture.engine.recycle(transaction);
        fixture.engine.begin(true);
        if minute % 60 == 59 {
            assert_eq!(stored.len(), fixture.engine.series_count(fixture.task));
            sizes.push((stored.len(), fixture.engine.state_bytes(fixture.task)));
        }
    }
    println!("series and bytes by the hour: {sizes:?}");
    let (second, last) = (sizes[2], sizes[23]);
    assert_eq!(second.0, last.0, "{sizes:?}");
    assert!(last.1 * 10 <= second.1 * 11, "{sizes:?}");
}

/// Where most series have ended, their places go, too.
#[test]
fn the_places_of_ended_series_are_given_back() {
    let mut fixture = Fixture::new(|spec| spec.max_series = 10_000);
    for series in 0..5_000 {
        fixture.observe(&format!("s{series}"), 0);
    }
    fixture.commit();
    let full = fixture.engine.state_bytes(fixture.task);
    for minute in 1..20 {
        for series in ["s7", "s4999", "new"] {
            fixture.observe(series, minute);
        }
    }
    assert_eq!(fixture.commit().1.len(), 4_998);
    // The snapshots of all that changed last are due now.
    let transaction = fixture.engine.finish(1.0);
    fixture.engine.commit(&transaction);
    let left = fixture.engine.state_bytes(fixture.task);
    assert!(left * 50 < full, "{left} of {full} bytes are left");
    assert_eq!(fixture.keys(), keys(&["new", "s4999", "s7"]));
    fixture.engine.begin(true);
    fixture.observe("s4999", 20);
    fixture.observe("s7", 28);
    fixture.observe("s7", 31);
    let (forecasts, ended) = fixture.commit();
    assert_eq!(ended, [("new".to_owned(), EndReason::Silent), ("s4999".to_owned(), EndReason::Silent)]);
    assert!(forecasts.contains(&("s4999".to_owned(), 20)) && forecasts.contains(&("s7".to_owned(), 28)));
}
