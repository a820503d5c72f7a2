//! The end of series: by silence, by eviction, by a deletion.

use std::collections::BTreeSet;

use super::test_fixture::Fixture;
use super::tests::MINUTE;
use super::*;

/// The keys of series that ended, and why.
type Ends = Vec<(String, EndReason)>;

/// A stream whose series end after ten minutes of silence, with these changes.
fn short_lived(change: impl Fn(&mut StreamSpec)) -> Fixture {
    Fixture::new(|spec| {
        spec.series_ttl = Some(10 * MINUTE);
        change(spec);
    })
}

impl Fixture {
    fn delete(&mut self, series: &str) {
        self.engine.delete(self.task, &Deletion { offset: self.offset, series, warm_up: false });
    }

    /// Ends the transaction. Returns the forecasts (series and slot), and the series that ended, in order.
    fn commit_ends(&mut self) -> (Vec<(String, i64)>, Ends) {
        self.commit(|fixture, transaction| {
            let forecasts = transaction.forecasts.iter().map(|row| (fixture.key(row).to_owned(), row.slot)).collect();
            let ended = transaction.ended.iter().map(|ended| (ended.series.to_string(), ended.reason)).collect();
            (forecasts, ended)
        })
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
    let mut fixture = short_lived(|_| {});
    fixture.observe("a", 0);
    fixture.observe("a", 1);
    for minute in 1..11 {
        fixture.observe("b", minute);
    }
    let (forecasts, ended) = fixture.commit_ends();
    assert_eq!(forecasts.iter().filter(|(series, _)| series == "a").count(), 1, "slot 1 is still open");
    assert_eq!(ended, []);
    fixture.observe("b", 11);
    let (forecasts, ended) = fixture.commit_ends();
    assert_eq!(forecasts[0], ("a".to_owned(), 1));
    assert_eq!(ended, [("a".to_owned(), EndReason::Silent)]);
    assert_eq!((fixture.keys(), fixture.engine.series_count(fixture.task)), (keys(&["b"]), 1));
    // Before its last observation: it is new.
    assert_eq!(fixture.observe("a", 0), Acceptance::Accepted);
}

#[test]
fn a_series_that_was_alone_and_silent_is_new_when_it_comes_back() {
    let mut fixture = short_lived(|_| {});
    fixture.observe("a", 0);
    fixture.observe("a", 10);
    fixture.observe("a", 11);
    let (forecasts, ended) = fixture.commit_ends();
    assert_eq!(forecasts, [("a".to_owned(), 0), ("a".to_owned(), 10)], "in the order of event time");
    assert_eq!(ended, [("a".to_owned(), EndReason::Silent)]);
}

#[test]
fn a_producer_that_lags_behind_the_others_ends_no_series_that_it_still_observes() {
    let mut fixture = short_lived(|_| {});
    for minute in 100..200 {
        fixture.observe("now", minute);
        fixture.observe("lagging", minute - 90);
        fixture.observe_at("lagging", minute - 95, minute);
    }
    assert_eq!(fixture.commit_ends().1, []);
}

#[test]
fn a_wild_time_ends_no_series() {
    let mut fixture = short_lived(|_| {});
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
    assert_eq!(fixture.commit_ends().1, []);
    assert_eq!(fixture.keys(), keys(&["a", "b", "wild"]));
}

#[test]
fn series_without_a_ttl_never_end() {
    let mut fixture = short_lived(|spec| spec.series_ttl = None);
    fixture.observe("a", 0);
    fixture.observe("b", 50_000_000);
    assert_eq!((fixture.commit_ends().1, fixture.keys()), (vec![], keys(&["a", "b"])));
}

#[test]
fn the_longest_silent_series_makes_room_or_a_new_one_is_refused() {
    let mut fixture = short_lived(|spec| (spec.max_series, spec.when_full) = (3, WhenFull::Evict));
    for series in ["a", "b", "c", "a"] {
        fixture.observe(series, 0);
    }
    assert_eq!(fixture.observe("d", 0), Acceptance::Accepted);
    assert_eq!(fixture.commit_ends().1, [("b".to_owned(), EndReason::Evicted)]);
    // Series of one record are silent for as long as each other. Their keys decide.
    for series in ["y", "x", "z"] {
        fixture.accept(series, 1, 1);
    }
    fixture.next();
    fixture.commit_ends();
    fixture.observe("w", 1);
    assert_eq!(fixture.commit_ends().1, [("x".to_owned(), EndReason::Evicted)]);

    let mut fixture = short_lived(|spec| (spec.max_series, spec.when_full) = (1, WhenFull::Refuse));
    assert_eq!(fixture.observe("a", 0), Acceptance::Accepted);
    assert_eq!(fixture.observe("b", 1), Acceptance::SeriesLimit);
    assert_eq!(fixture.observe("b", 10), Acceptance::Accepted, "the first one has ended");
}

#[test]
fn a_deleted_series_is_new_at_once() {
    let mut fixture = short_lived(|_| {});
    fixture.observe("a", 5);
    fixture.delete("a");
    fixture.delete("unknown");
    fixture.next();
    assert_eq!(fixture.observe("a", 1), Acceptance::Accepted, "its watermark is gone");
    fixture.observe("a", 2);
    let (forecasts, ended) = fixture.commit_ends();
    assert_eq!(forecasts, [("a".to_owned(), 5), ("a".to_owned(), 1)], "the old series first");
    assert_eq!(ended, [("a".to_owned(), EndReason::Deleted)]);
    assert_eq!(fixture.keys(), keys(&["a"]));
}

/// A day of pods: each lives for an hour. Memory and the number of snapshots do not grow.
#[test]
fn series_that_come_and_go_leave_memory_and_state_flat() {
    const PODS: i64 = 60;
    let mut fixture = short_lived(|_| {});
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
    let mut fixture = short_lived(|spec| spec.max_series = 10_000);
    for series in 0..5_000 {
        fixture.observe(&format!("s{series}"), 0);
    }
    fixture.commit_ends();
    let full = fixture.engine.state_bytes(fixture.task);
    for minute in 1..20 {
        for series in ["s7", "s4999", "new"] {
            fixture.observe(series, minute);
        }
    }
    assert_eq!(fixture.commit_ends().1.len(), 4_998);
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
    let (forecasts, ended) = fixture.commit_ends();
    assert_eq!(ended, [("new".to_owned(), EndReason::Silent), ("s4999".to_owned(), EndReason::Silent)]);
    assert!(forecasts.contains(&("s4999".to_owned(), 20)) && forecasts.contains(&("s7".to_owned(), 28)));
}
