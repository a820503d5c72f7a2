//! What one step of one series costs: grid, scale and features; learning and forecasting.

#![allow(missing_docs)] // criterion's macros make undocumented functions

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foretide::forecast::{AccuracySums, Forecast, ForecastSpec, ForecastState, SeriesStep, ValueBounds};
use foretide::series::{ClosedSlot, FEATURES, Reading, SeriesSpec, SeriesState};
use foretide::time::{EventTime, Grid};

const HOUR: i64 = 3_600_000;
const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];
const HORIZON: usize = 24;

fn series_spec() -> SeriesSpec {
    SeriesSpec { season: 24, horizon: HORIZON as u32, burn_in: 32, ..SeriesSpec::new(Grid::Regular { interval: HOUR }) }
}

fn value(slot: i64) -> f64 {
    (slot % 24) as f64 + ((slot * 7919) % 1000) as f64 / 500.0
}

fn series(bench: &mut Criterion) {
    let spec = series_spec();
    let (mut state, mut closed, mut features, mut slot) = (SeriesState::new(), Vec::new(), [0.0; FEATURES], 400_000);
    let mut group = bench.benchmark_group("series");
    group.throughput(Throughput::Elements(1));
    group.bench_function("observe, update, features", |bencher| {
        bencher.iter(|| {
            slot += 1;
            state.observe(&spec, &Reading::new(EventTime(slot * HOUR), value(slot)), &mut closed);
            for slot in closed.drain(..) {
                state.update(&spec, &slot);
                state.features(&spec, &mut features);
                black_box(&features);
            }
        });
    });
    group.bench_function("burn-in, 32 steps", |bencher| {
        bencher.iter(|| {
            state.recent_features(&spec, |features| {
                black_box(features);
            });
        });
    });
    group.finish();
}

fn forecast(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("forecast");
    group.throughput(Throughput::Elements(1));
    for (name, spread) in [("untrained network", 0.0), ("trained network", 0.3)] {
        let (spec, grid) = (ForecastSpec::new(HORIZON, &LEVELS, 24).expect("a valid forecast"), series_spec());
        let (mut series, mut state, mut slot) = (SeriesState::new(), ForecastState::new(&spec), 400_000);
        let (mut sums, mut out, mut features) = (AccuracySums::new(&spec), Forecast::new(&spec), [0.0; FEATURES]);
        let network: Vec<_> = (0..HORIZON * 5).map(|at| spread * (at % 5) as f32).collect();
        group.bench_function(format!("learn, forecast, {name}"), |bencher| {
            bencher.iter(|| {
                slot += 1;
                let closed = ClosedSlot { slot, value: Some(value(slot)), readings: 1, reset: false };
                let mut learner = state.learner(&spec, &mut sums);
                let step = SeriesStep { spec: &grid, slot: &closed, future: None };
                step.apply(&mut series, &mut learner, &mut features);
                black_box((learner.score(), &features));
                state.forecast(&spec, &series, ValueBounds::default(), black_box(&network), &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, series, forecast);
criterion_main!(benches);
