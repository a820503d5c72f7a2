//! Readings whose time is not believed, and series that change to it.

use proptest::prelude::*;

use super::*;

/// A slot every 10 ms; a gap of more than 3 slots resets.
fn spec() -> SeriesSpec {
    let any = SeriesSpec::new(Grid::Regular { interval: 10 });
    SeriesSpec { max_gap: 3, max_ahead: 20, max_step: 1_000, max_outage: 1_000, ..any }
}

/// Places readings `(time, timestamp)` in order; returns the slots that close with each, and the placements.
fn run(spec: &SeriesSpec, readings: &[(i64, Option<i64>)]) -> (Vec<ClosedSlot>, Vec<Placement>) {
    let (mut slots, mut closed) = (Slots::default(), Vec::new());
    let placements = readings
        .iter()
        .map(|&(time, timestamp)| {
            let reading = Reading { timestamp, ..Reading::new(EventTime(time), 1.0) };
            let placement = slots.place(spec, &reading, &mut closed);
            let mut clone = Slots::default();
            clone.clone_from(&slots);
            assert!(clone == slots && slots.is_sound(&spec.grid));
            placement
        })
        .collect();
    (closed, placements)
}

/// Whether each reading is accepted.
fn accepted(spec: &SeriesSpec, readings: &[(i64, Option<i64>)]) -> Vec<bool> {
    run(spec, readings).1.into_iter().map(|placement| placement == Placement::Accepted).collect()
}

/// Readings at these times, whose records have no timestamp.
fn bare(times: &[i64]) -> Vec<(i64, Option<i64>)> {
    times.iter().map(|&time| (time, None)).collect()
}

/// Readings at these times, whose records are written at once.
fn live(times: &[i64]) -> Vec<(i64, Option<i64>)> {
    times.iter().map(|&time| (time, Some(time))).collect()
}

#[test]
fn a_reading_far_ahead_is_rejected_and_all_later_ones_are_accepted() {
    let good: Vec<i64> = (0..50).map(|slot| slot * 10).collect();
    // One clock sets time and timestamp: a step over too many slots. Two clocks: even a step of a few slots.
    for wild in [(9_999_999, None), (9_999_999, Some(9_999_999)), (9_999_999, Some(250)), (290, Some(250))] {
        let mut readings = live(&good);
        readings.insert(26, wild);
        let (closed, placements) = run(&spec(), &readings);
        let Placement::ImplausibleTime(ahead) = placements[26] else { panic!("{wild:?}: {placements:?}") };
        let of_record = wild.1 == Some(250);
        let limit = if of_record { 20 } else { 1_000 };
        assert_eq!(ahead, ImplausibleTime { newest: Some(EventTime(250)), limit, of_record });
        assert_eq!(closed, run(&spec(), &live(&good)).0, "it leaves no trace");
        assert_eq!(placements.iter().filter(|placement| **placement == Placement::Accepted).count(), 50);
    }
}

#[test]
fn gaps_and_backfills_are_no_wild_times() {
    let behind = |times: &[i64]| -> Vec<_> { times.iter().map(|&time| (time, Some(1_000_000))).collect() };
    assert_eq!(accepted(&spec(), &live(&[0, 10, 900, 910, 1_900])), [true; 5], "up to the largest step");
    assert_eq!(accepted(&spec(), &behind(&[0, 10, 900, 910, 1_900])), [true; 5]);
    assert_eq!(accepted(&spec(), &live(&[0, 10, 1_011, 20])), [true, true, false, true]);
    let any = SeriesSpec { max_ahead: i64::MAX, max_step: i64::MAX, ..spec() };
    assert_eq!(accepted(&any, &[(0, Some(0)), (9_999_999, Some(0)), (10, Some(0))]), [true, true, false]);
}

#[test]
fn an_outage_costs_no_reading_where_the_timestamps_agree() {
    let spec = SeriesSpec { max_outage: 100_000, ..spec() };
    assert_eq!(accepted(&spec, &live(&[0, 10, 90_000, 90_010])), [true; 4]);
    assert_eq!(accepted(&spec, &live(&[0, 10, 900_000, 20])), [true, true, false, true]);
    let behind = |time| (time, Some(1_000_000));
    assert_eq!(accepted(&spec, &[behind(0), behind(10), behind(90_000), behind(20)]), [true, true, false, true]);
}

#[test]
fn a_constant_offset_of_the_clock_costs_no_more_than_two_readings() {
    for step in [10, 100] {
        let skewed: Vec<_> = (0..10).map(|number| (number * step + 5_000, Some(number * step))).collect();
        assert_eq!(accepted(&spec(), &skewed), [&[false; 2][..], &[true; 8]].concat());
    }
}

#[test]
fn a_change_of_the_clock_is_taken_up_and_back() {
    let times = [0, 10, 20, 90_000, 90_010, 90_020, 90_030, 90_040, 30, 40, 50, 60, 70];
    let (t, f) = (true, false);
    assert_eq!(accepted(&spec(), &live(&times)), [t, t, t, f, f, t, t, t, f, f, t, t, t]);
    // The way back is open for as long as the clock is wrong.
    let wrong: Vec<i64> = (0..500).map(|slot| 90_000 + 10 * slot).collect();
    let all = [&[0, 10][..], &wrong, &[5_000, 5_010, 5_020, 5_030]].concat();
    assert_eq!(accepted(&spec(), &live(&all))[502..], [f, f, t, t]);
}

#[test]
fn readings_before_the_jump_are_late_and_take_no_series_back() {
    let times = [0, 10, 20, 90_000, 90_010, 90_020, -30, -20, -10, 0, 10, 20, 90_030];
    let (closed, placements) = run(&spec(), &live(&times));
    assert!(placements[6..12].iter().all(|placement| matches!(placement, Placement::Late { .. })), "{placements:?}");
    assert_eq!(closed.last().map(|slot| (slot.slot, slot.reset)), Some((9_002, true)));
}

#[test]
fn a_confirmed_series_is_not_thrown_back_by_old_readings() {
    let old = [&[50_000, 50_010, 50_020][..], &(0..100).map(|slot| slot * 10).collect::<Vec<_>>(), &[50_030]].concat();
    let accepted = accepted(&spec(), &live(&old));
    assert_eq!(accepted.iter().filter(|accepted| **accepted).count(), 4);
    assert!(accepted[103]);
}

#[test]
fn a_first_reading_does_not_decide_for_ever() {
    let (t, f) = (true, false);
    assert_eq!(accepted(&spec(), &bare(&[90_000, 0, 10, 20, 30])), [t, f, f, t, t], "far in the future");
    assert_eq!(accepted(&spec(), &bare(&[-90_000, 0, 10, 20, 30])), [t, f, f, t, t], "far in the past");
    let ahead = [(90_000, Some(0)), (0, Some(0)), (10, Some(10)), (20, Some(20))];
    assert_eq!(accepted(&spec(), &ahead), [f, t, t, t], "ahead of its record");
}

#[test]
fn wild_times_that_disagree_or_stand_still_confirm_nothing() {
    assert_eq!(
        accepted(&spec(), &bare(&[0, 90_000, 90_000, 90_000, 90_000, 10])),
        [true, false, false, false, false, true]
    );
    assert_eq!(
        accepted(&spec(), &bare(&[0, 50_000, 90_000, 20_000, 70_000, 10])),
        [true, false, false, false, false, true]
    );
    let interleaved: Vec<i64> = (0..20).flat_map(|slot| [slot * 10, 90_000 + slot * 10]).collect();
    let expected: Vec<bool> = (0..20).flat_map(|_| [true, false]).collect();
    assert_eq!(accepted(&spec(), &bare(&interleaved)), expected, "two producers, one of them wrong");
}

#[test]
fn a_return_resets_the_series_where_a_slot_of_the_jump_has_closed() {
    // The step of 900 ms is accepted as a gap; its slot is open when the series returns.
    let (closed, placements) = run(&spec(), &bare(&[0, 10, 20, 920, 30, 40, 50, 60, 70]));
    assert_eq!(placements.iter().filter(|placement| **placement == Placement::Accepted).count(), 7);
    let slots: Vec<_> = closed.iter().map(|slot| (slot.slot, slot.value.is_some(), slot.reset)).collect();
    let (t, f) = (true, false);
    assert_eq!(slots, [(0, t, f), (1, t, f), (2, t, f), (3, f, f), (4, f, f), (5, t, f), (6, t, f)]);
    let full = SeriesSpec { readings_per_slot: Some(1), ..spec() };
    let (closed, _) = run(&full, &bare(&[0, 10, 20, 920, 30, 40, 50, 60]));
    let slots: Vec<_> = closed[3..].iter().map(|slot| (slot.slot, slot.reset)).collect();
    assert_eq!(slots, [(92, t), (5, t), (6, f)]);
}

#[test]
fn a_jump_over_many_slots_that_resets_nothing_is_taken_back_too() {
    let spec = SeriesSpec { max_gap: 200, readings_per_slot: Some(1), max_step: 10_000, ..spec() };
    let series = |empty: i64| {
        let mut times: Vec<i64> = (0..100).map(|slot| slot * 10).collect();
        times.insert(50, 490 + 10 * (empty + 1));
        accepted(&spec, &bare(&times)).into_iter().filter(|accepted| !accepted).count()
    };
    assert_eq!((series(65), series(199)), (2, 2), "two readings are late before the third takes the series back");
    assert_eq!(series(8), 9, "a short one costs as many readings as it has slots");
}

#[test]
fn nothing_is_corrected_between_a_return_and_the_slot_that_resets_the_series() {
    let spec = SeriesSpec { max_gap: 200, correction: 8, ..spec() };
    let jump = [0, 10, 20, 920, 930, 30, 40, 50];
    let placed = |times: &[i64]| run(&spec, &bare(&[&jump[..], times].concat())).1[jump.len()..].to_vec();
    assert_eq!(run(&spec, &bare(&[0, 10, 20, 30, 12])).1[4], Placement::Corrected { by: 18 });
    // Steps of the slots up to 92 may have been taken, or may still wait.
    assert!(matches!(placed(&[12])[0], Placement::Late { .. }));
    assert_eq!(placed(&[60, 70, 52])[2], Placement::Corrected { by: 18 }, "after the reset");
}

#[test]
fn nothing_is_remembered_of_a_series_without_doubts() {
    let mut slots = Slots::default();
    for slot in 0..5 {
        slots.place(&spec(), &Reading::new(EventTime(slot * 10), 1.0), &mut Vec::new());
        assert_eq!(slots.exceptions.is_some(), slot < 2, "slot {slot}");
    }
    assert_eq!(size_of::<Slots>(), 64);
}

proptest! {
    /// However wild the times: after any of them, a run of good readings is accepted from its third on.
    #[test]
    fn a_series_always_recovers(
        wild in prop::collection::vec((0_i64..200_000, prop::option::of(0_i64..200_000)), 0..40),
        irregular in any::<bool>(),
    ) {
        let grid = if irregular { Grid::Irregular } else { Grid::Regular { interval: 10 } };
        let spec = SeriesSpec { grid, max_gap_millis: 30, ..spec() };
        let begin = 300_000;
        let good = (0..10).map(|slot| (begin + slot * 10, Some(begin + slot * 10)));
        let readings: Vec<_> = wild.into_iter().chain(good).collect();
        let accepted = accepted(&spec, &readings);
        prop_assert!(accepted[accepted.len() - 8..].iter().all(|accepted| *accepted), "{accepted:?}");
    }
}
