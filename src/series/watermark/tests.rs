use proptest::prelude::*;

use super::*;

fn spec(interval: i64) -> SeriesSpec {
    let grid = if interval == 0 { Grid::Irregular } else { Grid::Regular { interval } };
    SeriesSpec { max_gap: 3, horizon: 2, ..SeriesSpec::new(grid) }
}

/// Places readings `(time, value)` in order; returns the closed slots and the placements.
fn run(spec: &SeriesSpec, readings: &[(i64, f64)]) -> (Vec<ClosedSlot>, Vec<Placement>) {
    let (mut slots, mut closed) = (Slots::default(), Vec::new());
    let placements = readings
        .iter()
        .map(|(time, value)| slots.place(spec, &Reading::new(EventTime(*time), *value), &mut closed))
        .collect();
    (closed, placements)
}

const DUPLICATE: Placement = Placement::Duplicate { is_first: true };
const DUPLICATE_AGAIN: Placement = Placement::Duplicate { is_first: false };

fn full(slot: i64, value: f64, readings: u32) -> ClosedSlot {
    ClosedSlot { slot, value: Some(value), readings, reset: false }
}

fn empty(slot: i64) -> ClosedSlot {
    ClosedSlot { slot, value: None, readings: 0, reset: false }
}

#[test]
fn a_slot_closes_when_the_watermark_reaches_its_end() {
    let mut spec = spec(10);
    assert_eq!(run(&spec, &[(1, 1.0), (9, 3.0), (10, 5.0)]).0, [full(0, 2.0, 2)]);
    spec.allowed_lateness = 5;
    assert_eq!(run(&spec, &[(1, 1.0), (14, 3.0), (9, 2.0)]).0, []);
    assert_eq!(run(&spec, &[(1, 1.0), (14, 3.0), (9, 2.0), (15, 3.0)]).0, [full(0, 1.5, 2)]);
}

#[test]
fn slots_before_the_unix_epoch_work() {
    assert_eq!(run(&spec(10), &[(-11, 1.0), (-1, 2.0), (0, 3.0)]).0, [full(-2, 1.0, 1), full(-1, 2.0, 1)]);
}

#[test]
fn late_readings_are_rejected_with_their_lateness() {
    let mut spec = spec(10);
    let (closed, placements) = run(&spec, &[(25, 1.0), (19, 2.0), (20, 3.0)]);
    assert_eq!(placements, [Placement::Accepted, Placement::Late { by: 6 }, Placement::Accepted]);
    assert_eq!(closed, []);
    spec.allowed_lateness = 6;
    assert_eq!(run(&spec, &[(25, 1.0), (19, 2.0), (9, 2.0)]).1[1..], [Placement::Accepted, Placement::Late { by: 10 }]);
}

#[test]
fn gaps_close_as_empty_slots_in_order() {
    let (closed, _) = run(&spec(10), &[(5, 1.0), (35, 2.0), (40, 3.0)]);
    assert_eq!(closed, [full(0, 1.0, 1), empty(1), empty(2), full(3, 2.0, 1)]);
}

#[test]
fn a_gap_over_the_limit_resets_the_series_without_empty_slots() {
    let (closed, _) = run(&spec(10), &[(5, 1.0), (45, 2.0), (100_000_000, 3.0), (100_000_010, 3.0)]);
    assert_eq!(closed.iter().filter(|slot| slot.value.is_none()).count(), 3);
    assert_eq!(closed[4], full(4, 2.0, 1));
    assert_eq!(closed[5], ClosedSlot { reset: true, ..full(10_000_000, 3.0, 1) });
}

#[test]
fn a_gap_that_grows_within_the_lateness_returns_no_more_slots_than_the_limit() {
    let mut spec = spec(10);
    spec.allowed_lateness = 40;
    let readings: Vec<_> = std::iter::once((0, 1.0)).chain((6..20).map(|slot| (slot * 10, 2.0))).collect();
    let (closed, _) = run(&spec, &readings);
    let first = closed.iter().position(|slot| slot.slot >= 6).unwrap();
    assert!(closed[first].reset && closed[first].slot == 6 && first <= 4, "{closed:?}");
}

#[test]
fn a_full_slot_waits_only_for_earlier_ones_that_may_still_fill() {
    let mut spec = spec(10);
    spec.readings_per_slot = Some(2);
    let readings = [(5, 1.0), (21, 2.0), (22, 4.0), (23, 9.0), (5, 9.0), (32, 1.0)];
    let (closed, placements) = run(&spec, &readings);
    assert_eq!(closed, [full(0, 1.0, 1), empty(1), full(2, 3.0, 2)]);
    assert_eq!(placements[3..], [DUPLICATE, Placement::Late { by: 25 }, Placement::Accepted]);
    spec.allowed_lateness = 20;
    let in_order: Vec<_> = (0..6).map(|number| (number * 5, 1.0)).collect();
    assert_eq!(run(&spec, &in_order).0, [0, 1, 2].map(|slot| full(slot, 1.0, 2)), "nobody waits");
    let swapped = [(0, 1.0), (5, 1.0), (20, 2.0), (25, 2.0), (10, 3.0), (15, 3.0), (30, 4.0)];
    let (closed, placements) = run(&spec, &swapped);
    assert_eq!(closed, [full(0, 1.0, 2), full(1, 3.0, 2), full(2, 2.0, 2)]);
    assert_eq!(placements, [Placement::Accepted; 7]);
    let again = [(0, 1.0), (5, 1.0), (20, 2.0), (25, 2.0), (25, 2.0), (10, 3.0), (15, 3.0)];
    let (closed, placements) = run(&spec, &again);
    assert_eq!((closed[2], placements[4]), (full(2, 2.0, 2), DUPLICATE), "a full slot that waits takes no more");
    let missing = [(0, 1.0), (5, 1.0), (20, 2.0), (25, 2.0), (39, 4.0), (40, 4.0)];
    assert_eq!(run(&spec, &missing).0, [full(0, 1.0, 2), empty(1), full(2, 2.0, 2)]);
    assert_eq!(run(&spec, &missing[..5]).0, [full(0, 1.0, 2)], "slot 1 may still fill");
}

#[test]
fn a_late_reading_that_was_accepted_before_is_a_duplicate() {
    let spec = spec(10);
    let hour = 3_600_000;
    // The first late reading shows that this series needs its readings to be remembered.
    let readings = [(0, 1.0), (10, 1.0), (5, 1.0), (20, 2.0), (31, 3.0), (41, 4.0), (20, 2.0), (20, 5.0), (31, 3.0)];
    let late = |by| Placement::Late { by };
    let placements = run(&spec, &readings).1;
    assert_eq!(placements[..3], [Placement::Accepted, Placement::Accepted, late(5)]);
    assert_eq!(placements[6..], [DUPLICATE, late(21), DUPLICATE_AGAIN]);
    let next_hour = [&readings[..], &[(hour, 1.0), (hour + 10, 1.0), (41, 4.0), (41, 4.0)]].concat();
    assert_eq!(run(&spec, &next_hour).1[11..], [DUPLICATE, DUPLICATE_AGAIN]);
    let forgotten = [&readings[..6], &(10..45).map(|slot| (slot * 10, 0.0)).collect::<Vec<_>>(), &[(41, 4.0)]].concat();
    assert!(matches!(run(&spec, &forgotten).1.last(), Some(Placement::Late { .. })), "only the newest are remembered");
}

#[test]
fn irregular_readings_are_sorted_within_the_lateness_and_duplicates_rejected() {
    let mut spec = spec(0);
    let (closed, placements) = run(&spec, &[(5, 1.0), (5, 2.0), (9, 3.0), (7, 4.0)]);
    assert_eq!(closed, [full(5, 1.0, 1), full(9, 3.0, 1)]);
    assert_eq!(placements[1..], [DUPLICATE, Placement::Accepted, Placement::Late { by: 2 }]);
    spec.allowed_lateness = 4;
    spec.max_gap_millis = 50;
    let (closed, placements) = run(&spec, &[(5, 1.0), (9, 3.0), (7, 4.0), (7, 6.0), (60, 5.0), (64, 1.0)]);
    assert_eq!(placements, [Placement::Accepted; 6]);
    let last = ClosedSlot { reset: true, ..full(60, 5.0, 1) };
    assert_eq!(closed, [full(5, 1.0, 1), full(7, 5.0, 2), full(9, 3.0, 1), last]);
}

#[test]
fn every_aggregation_computes_its_value() {
    let readings = [(4, 2.0), (1, 5.0), (7, -1.0), (7, 3.0), (25, 0.0)];
    for (aggregation, expected) in [
        (Aggregation::Mean, 2.25),
        (Aggregation::Sum, 9.0),
        (Aggregation::Min, -1.0),
        (Aggregation::Max, 5.0),
        (Aggregation::First, 5.0),
        (Aggregation::Last, 3.0),
        (Aggregation::Count, 4.0),
    ] {
        let spec = SeriesSpec { aggregation, ..spec(10) };
        let (closed, _) = run(&spec, &readings);
        assert_eq!(closed[0].value, Some(expected), "{aggregation:?}");
        assert_eq!(closed[1].value, (aggregation == Aggregation::Count).then_some(0.0), "{aggregation:?}");
    }
}

#[test]
fn the_number_of_open_slots_is_limited() {
    let spec = SeriesSpec { allowed_lateness: i64::MAX, ..spec(0) };
    let readings: Vec<_> = (0..2000).map(|time| (time, 1.0)).collect();
    let (closed, placements) = run(&spec, &readings);
    assert_eq!(closed.len(), 2000 - MAX_OPEN_SLOTS);
    assert!(placements.iter().all(|placement| *placement == Placement::Accepted));
}

proptest! {
    /// For any readings in any order: slots ascend one by one except across a reset, runs of empty slots respect the
    /// limit, and every accepted reading is counted once.
    #[test]
    fn closed_slots_are_in_order_and_complete(
        times in prop::collection::vec((0_i64..400, prop::bool::weighted(0.05)), 1..200),
        lateness in 0_i64..60,
        full in prop::option::of(1_u32..4),
        irregular in any::<bool>(),
    ) {
        let spec = SeriesSpec {
            allowed_lateness: lateness,
            readings_per_slot: full,
            max_gap_millis: 30,
            ..spec(if irregular { 0 } else { 10 })
        };
        let mut at = 0;
        let mut readings: Vec<_> = times.iter().map(|(step, far)| {
            at += if *far { 300 } else { step % 7 };
            (at - step % 50, *step as f64)
        }).collect();
        readings.extend([(10_000, 0.0), (20_000, 0.0)]); // closes all earlier slots
        let (closed, placements) = run(&spec, &readings);
        let accepted = placements.iter().filter(|placement| **placement == Placement::Accepted).count();
        let counted: u32 = closed.iter().map(|slot| slot.readings).sum();
        let open = if lateness == 0 && (irregular || full == Some(1)) { 0 } else { 1 };
        prop_assert_eq!(counted as usize + open, accepted);
        for pair in closed.windows(2) {
            prop_assert!(pair[0].slot < pair[1].slot);
            prop_assert!(irregular || pair[1].reset || pair[1].slot == pair[0].slot + 1);
        }
        let mut run = 0;
        for slot in &closed {
            run = if slot.value.is_some() { 0 } else { run + 1 };
            prop_assert!(run <= spec.max_gap);
        }
    }
}
