//! What a series with a season has learnt outlives gaps, and the change of the clocks.

use jiff::{Timestamp, tz::TimeZone};

use super::test_run::{LEVELS, Run};
use crate::forecast::ForecastSpec;
use crate::series::{Calendar, ClosedSlot, Target};
use crate::time::Grid;

const HOUR: i64 = 3_600_000;

/// A working day by its hour.
fn office(hour: i64) -> f64 {
    match hour {
        8..16 => 100.0,
        6 | 18 => 40.0,
        7 | 16 | 17 => 70.0,
        _ => 10.0,
    }
}

/// Noise of deviation 5, the same every time.
fn noise(slot: i64) -> f64 {
    let part = |salt: i64| {
        let mut bits = (slot * 12 + salt + 1).cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 27)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    5.0 * ((0..12).map(part).sum::<f64>() - 6.0)
}

/// The mean absolute error of the forecast against the office day, over leads 1 to 24.
fn error(run: &Run) -> f64 {
    let errors = (0..24).map(|output| (run.out.point[output as usize] - office((run.slot + output) % 24)).abs());
    errors.sum::<f64>() / 24.0
}

#[test]
fn after_an_outage_of_hours_forecasts_are_as_good_as_before() {
    for (length, begin) in [(12, 22), (12, 7), (24, 12), (40, 3)] {
        let mut run = Run::new(24, 24);
        let until = 20 * 24 + begin;
        for slot in 0..until {
            run.step(Some(office(slot % 24) + noise(slot)));
        }
        let before = error(&run);
        for _ in 0..length {
            run.step(None);
        }
        for slot in until + length..until + length + 26 {
            run.step(Some(office(slot % 24) + noise(slot)));
            assert!(error(&run) < before.max(3.0) + 1.5, "{length} h, at {slot}: {} after {before}", error(&run));
        }
    }
}

#[test]
fn the_profile_outlives_a_gap_that_resets_the_series() {
    let mut run = Run::new(24, 24);
    (0..20 * 24).for_each(|slot| {
        run.step(Some(office(slot % 24)));
    });
    run.slot += 150 * 24;
    for first in [true, false, false, false, false, false] {
        let value = Some(office(run.slot % 24));
        run.take(ClosedSlot { slot: run.slot, value, readings: 1, reset: first });
        assert!(error(&run) < 0.5, "{}", error(&run));
    }
}

#[test]
fn intervals_are_wider_after_a_gap_for_as_long_as_the_level_is_uncertain() {
    let walk = |slots: std::ops::Range<i64>| slots.map(noise).sum::<f64>();
    let mut run = Run::new(24, 0);
    (0..2000).for_each(|slot| {
        run.step(Some(walk(0..slot)));
    });
    let width = |run: &Run, lead: usize| run.row(lead)[4] - run.row(lead)[0];
    let before = width(&run, 1);
    (0..12).for_each(|_| {
        run.step(None);
    });
    run.step(Some(walk(0..2012)));
    assert!(width(&run, 1) > 2.0 * before, "{} after {before}", width(&run, 1));
    for slot in 2013..2018 {
        run.step(Some(walk(0..slot)));
    }
    assert!(width(&run, 1) < 1.3 * before, "{} after {before}", width(&run, 1));
}

#[test]
fn an_aggregate_is_forecast_from_the_profile_where_the_season_before_is_unknown() {
    let mut run = Run::of(ForecastSpec::aggregate(6, &LEVELS, 24, Target::Mean, None).unwrap());
    (0..20 * 24).for_each(|slot| {
        run.step(Some(office(slot % 24)));
    });
    (0..40).for_each(|_| {
        run.step(None);
    });
    run.step(Some(office(16)));
    let expected = (17..23).map(office).sum::<f64>() / 6.0;
    assert!((run.out.point[0] - expected).abs() < 1.0, "{} for {expected}", run.out.point[0]);
}

#[test]
fn a_change_of_the_clocks_costs_nothing() {
    let berlin = Calendar::new(TimeZone::get("Europe/Berlin").unwrap());
    for change in ["2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z"] {
        let change = change.parse::<Timestamp>().unwrap().as_second() / 3600;
        let grid = Grid::Regular { interval: HOUR };
        let spec = ForecastSpec::new(24, &LEVELS, 24).unwrap().with_local_time(&berlin, &grid);
        let mut run = Run::of(spec);
        run.slot = change - 40 * 24;
        let hour = |slot: i64| {
            let offset = berlin.zone().utc_offset(grid.start(slot).0) / HOUR;
            (slot + offset).rem_euclid(24)
        };
        let mut worst = [0.0_f64; 2];
        while run.slot < change + 5 * 24 {
            run.step(Some(office(hour(run.slot))));
            for lead in [1, 5, 24] {
                let truth = office(hour(run.slot - 1 + lead));
                let error = (run.out.point[lead as usize - 1] - truth).abs();
                let after = usize::from(run.slot > change - 25);
                worst[after] = worst[after].max(if run.slot > change - 5 * 24 { error } else { 0.0 });
            }
        }
        assert!(worst[0] < 0.5 && worst[1] < 0.5, "before and after: {worst:?}");
    }
}
