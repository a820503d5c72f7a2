//! What is promised, on real series: with no network the mixture is not worse than the better naive forecast in any bucket of leads, and
//! intervals cover what they say. The data lie outside the repository; without them these tests say so and pass.

use std::collections::BTreeMap;
use std::io::Read;

use super::measures::{PointMeasures, QuantileMeasures};
use super::*;
use crate::series::{Aggregation, Calendar, ClosedSlot, ExtraFeatures, SeriesSpec, SeriesState};
use crate::time::Grid;

const HORIZON: usize = 24;
const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];
/// Steps before a series is judged.
const WARM: usize = 100;

pub(super) fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let path = format!("../shared/data/{name}.csv.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: {path} is not there");
        return None;
    };
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.lines()
            .skip(1)
            .map(|line| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect())
            .collect(),
    )
}

/// The columns from `first` on, each a series.
pub(super) fn columns(name: &str, first: usize, rows: Vec<Vec<String>>) -> Vec<Vec<Option<f64>>> {
    let count = rows[0].len();
    assert!(first < count, "{name} has {count} columns");
    (first..count)
        .map(|column| rows.iter().map(|row| row.get(column).and_then(|cell| cell.parse().ok())).collect())
        .collect()
}

/// One series per sensor.
pub(super) fn pedestrian(rows: Vec<Vec<String>>) -> Vec<Vec<Option<f64>>> {
    let mut series = BTreeMap::<String, Vec<_>>::new();
    for row in rows {
        series.entry(row[0].clone()).or_default().push(row[4].parse().ok());
    }
    series.into_values().collect()
}

#[derive(Default)]
struct Bucket {
    ours: PointMeasures,
    last: PointMeasures,
    seasonal: PointMeasures,
}

/// Forecasts every series with a network that adds nothing, and holds the promises for each bucket. Errors are in deviations of each series.
fn hold(name: &str, season: usize, series: &[Vec<Option<f64>>], points: f64) {
    let spec = ForecastSpec::new(HORIZON, &LEVELS, season).unwrap();
    let mut buckets: Vec<_> =
        spec.buckets.iter().map(|_| (Bucket::default(), QuantileMeasures::new(&LEVELS))).collect();
    for values in series {
        run(&spec, values, &mut buckets);
    }
    for ((points_of, quantiles), end) in buckets.iter().zip(&spec.buckets) {
        let ratio = |measure: fn(&PointMeasures) -> Option<f64>| {
            measure(&points_of.ours).unwrap()
                / measure(&points_of.last).unwrap().min(measure(&points_of.seasonal).unwrap())
        };
        let (mae, mse) = (ratio(PointMeasures::mae), ratio(PointMeasures::mse));
        let coverage = quantiles.coverage();
        println!(
            "{name} to lead {end}: MAE {mae:.3} and MSE {mse:.3} of the better naive; 90 % {:.3}, 80 % {:.3}",
            coverage[0].1, coverage[1].1
        );
        assert!(mae <= 1.01 && mse <= 1.01, "{name} to lead {end}: {mae} {mse}");
        for (nominal, inside, _) in coverage {
            assert!((inside - nominal).abs() <= points, "{name} to lead {end}: {inside} for {nominal}");
        }
    }
}

/// A grid of hours for such forecasts.
pub(super) fn hourly(spec: &ForecastSpec) -> SeriesSpec {
    SeriesSpec {
        grid: Grid::Regular { interval: 3_600_000 },
        aggregation: Aggregation::Mean,
        readings_per_slot: None,
        allowed_lateness: 0,
        max_gap: 100,
        max_gap_millis: 0,
        season: spec.season as u32,
        horizon: spec.horizon as u32,
        burn_in: 32,
        calendar: Calendar::utc(),
        extra: ExtraFeatures::default(),
    }
}

fn run(spec: &ForecastSpec, values: &[Option<f64>], buckets: &mut [(Bucket, QuantileMeasures)]) {
    let grid = hourly(spec);
    let known: Vec<_> = values.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
    let unit = if deviation > 0.0 { deviation } else { 1.0 };
    let (mut series, mut state) = (SeriesState::new(), ForecastState::new(spec));
    let (mut facts, mut out, network) =
        (AccuracySums::new(spec), Forecast::new(spec), vec![0.0; HORIZON * LEVELS.len()]);
    for (step, value) in values.iter().enumerate() {
        let slot = ClosedSlot { slot: step as i64, value: *value, readings: 1, reset: false };
        state.mature(spec, &mut series, &slot, &mut facts);
        series.update(&grid, &slot);
        let Some(value) = *value else { continue };
        state.forecast(spec, &series, &network, &mut out);
        for lead in (1..=HORIZON).filter(|_| step >= WARM.max(spec.season)) {
            let Some(Some(target)) = values.get(step + lead) else { continue };
            let (points, quantiles) = &mut buckets[spec.buckets.partition_point(|end| *end < lead)];
            let lag = spec.seasonal_lag(lead);
            let seasonal = lag.and_then(|lag| values[step + lead - lag]).unwrap_or(value);
            let row = &out.quantiles[(lead - 1) * LEVELS.len()..lead * LEVELS.len()];
            points.ours.add(target / unit, out.point[lead - 1] / unit, row[spec.median()] / unit, None);
            points.last.add(target / unit, value / unit, value / unit, None);
            points.seasonal.add(target / unit, seasonal / unit, seasonal / unit, None);
            quantiles.add(*target, row);
        }
    }
}

#[test]
fn etth1() {
    if let Some(rows) = rows("ETTh1") {
        hold("ETTh1", 24, &columns("ETTh1", 1, rows), 0.03);
    }
}

#[test]
fn exchange_rate() {
    if let Some(rows) = rows("exchange_rate") {
        hold("exchange_rate", 7, &columns("exchange_rate", 1, rows), 0.03);
    }
}

#[test]
fn pedestrians() {
    if let Some(rows) = rows("pedestrian") {
        hold("pedestrian", 24, &pedestrian(rows), 0.03);
    }
}

#[test]
fn weather_with_sentinels() {
    if let Some(rows) = rows("WTH") {
        hold("WTH", 24, &columns("WTH", 1, rows), 0.03);
    }
}

#[test]
fn virtual_machines() {
    if let Some(rows) = rows("azure_vm100_cpu") {
        // Jobs that come back every hour are covered at the ends of the buckets, and less between them: 4 points.
        hold("azure_vm100_cpu", 288, &columns("azure_vm100_cpu", 1, rows)[..25], 0.05);
    }
}

#[test]
fn m4_weekly() {
    if let Some(rows) = rows("m4_weekly_train") {
        let series: Vec<_> = rows
            .into_iter()
            .map(|row| row[1..].iter().map_while(|cell| cell.parse().ok()).map(Some).collect())
            .collect();
        hold("m4_weekly", 52, &series, 0.03);
    }
}
