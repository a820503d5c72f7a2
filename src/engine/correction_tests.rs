//! Late readings that correct closed slots.

use super::tests::{MINUTE, engine_of, spec};
use super::*;
use crate::series::Aggregation;
use crate::time::{EventTime, Grid};

/// Readings of two hundred minutes, of which one brings 40 more than the others. `delay` is how many readings late it
/// comes; none: never. Returns what is forecast from the last minute.
fn forecast(correction: u32, delay: Option<usize>) -> Vec<f64> {
    let mut spec = spec(Grid::Regular { interval: MINUTE });
    (spec.series.allowed_lateness, spec.series.aggregation) = (0, Aggregation::Sum);
    spec.series.correction = correction;
    let (mut engine, task) = engine_of(spec);
    engine.activate(task, 1);
    let rhythm = |minute: i64| (minute, f64::from(minute as i32 % 6) * 3.0 + (minute as f64 * 0.7).sin());
    let mut readings: Vec<(i64, f64)> = (0..200).map(rhythm).collect();
    if let Some(delay) = delay {
        readings.insert(196 + delay, (195, 40.0));
    }
    let mut points = Vec::new();
    for (offset, (minute, value)) in (0..).zip(readings) {
        engine.begin(true);
        let time = EventTime(minute * MINUTE);
        engine.accept(task, &Observation::new(offset, "a", time, value));
        engine.advance(task, offset + 1);
        let transaction = engine.finish(0.0);
        if !transaction.points.is_empty() {
            points.clone_from(&transaction.points);
        }
        engine.commit(&transaction);
    }
    points
}

#[test]
fn the_next_forecast_is_made_from_the_corrected_steps() {
    let distance = |one: &[f64], other: &[f64]| -> f64 { one.iter().zip(other).map(|(a, b)| (a - b).abs()).sum() };
    let (in_time, never) = (forecast(0, Some(0)), forecast(0, None));
    assert_eq!(forecast(4, Some(0)), in_time, "nothing is late");
    assert_eq!(forecast(0, Some(2)), never, "late readings are not used");
    let corrected = forecast(4, Some(2));
    assert_ne!(corrected, never);
    let (left, before) = (distance(&corrected, &in_time), distance(&never, &in_time));
    // What was learnt from the value before the correction stays.
    assert!(left < 0.8 * before, "{left} of {before} is left");
    assert_eq!(forecast(2, Some(3)), never, "too late");
}
