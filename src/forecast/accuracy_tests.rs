//! Accuracy on real series, without a network: in no bucket of leads is the mixture worse than the better naive
//! forecast, and intervals cover their nominal share. The data lie outside of the repository; without them these tests
//! are skipped with a message.

use std::collections::BTreeMap;
use std::io::Read;

use super::test_run::{LEVELS, Run};
use crate::forecast::{ForecastSpec, IntervalCoverage, PointMeasures, QuantileMeasures};

const HORIZON: usize = 24;
/// Steps before a series is scored.
const WARM: usize = 100;

pub(super) fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let path = format!("../shared/data/{name}.csv.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: {path} does not exist");
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

/// The columns from `first` on, each of them a series.
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

/// Forecasts every series with a network that adds nothing to the last value, and asserts accuracy and coverage of each
/// bucket; `tolerance` is that of the coverage. Errors are in standard deviations of each series.
fn assert_accuracy(name: &str, season: usize, series: &[Vec<Option<f64>>], tolerance: f64) {
    let spec = ForecastSpec::new(HORIZON, &LEVELS, season).unwrap();
    let mut buckets: Vec<_> =
        spec.buckets.iter().map(|_| (Bucket::default(), QuantileMeasures::new(&LEVELS))).collect();
    for values in series {
        score(&spec, values, &mut buckets);
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
            coverage[0].inside, coverage[1].inside
        );
        assert!(mae <= 1.01 && mse <= 1.01, "{name} to lead {end}: {mae} {mse}");
        for IntervalCoverage { nominal, inside, .. } in coverage {
            assert!((inside - nominal).abs() <= tolerance, "{name} to lead {end}: {inside} for {nominal}");
        }
    }
}

fn score(spec: &ForecastSpec, values: &[Option<f64>], buckets: &mut [(Bucket, QuantileMeasures)]) {
    let known: Vec<_> = values.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
    let unit = if deviation > 0.0 { deviation } else { 1.0 };
    let mut run = Run::of(spec.clone());
    for (step, value) in values.iter().enumerate() {
        run.step(*value);
        let Some(value) = *value else { continue };
        for lead in (1..=HORIZON).filter(|_| step >= WARM.max(spec.season)) {
            let Some(Some(target)) = values.get(step + lead) else { continue };
            let (points, quantiles) = &mut buckets[spec.buckets.partition_point(|end| *end < lead)];
            let lag = spec.seasonal_lag(lead);
            let seasonal = lag.and_then(|lag| values[step + lead - lag]).unwrap_or(value);
            let (point, row) = (run.out.point[lead - 1], run.row(lead));
            points.ours.add(target / unit, point / unit, row[spec.median()] / unit, None);
            points.last.add(target / unit, value / unit, value / unit, None);
            points.seasonal.add(target / unit, seasonal / unit, seasonal / unit, None);
            quantiles.add(*target, row);
        }
    }
}

#[test]
fn etth1() {
    if let Some(rows) = rows("ETTh1") {
        assert_accuracy("ETTh1", 24, &columns("ETTh1", 1, rows), 0.03);
    }
}

#[test]
fn exchange_rate() {
    if let Some(rows) = rows("exchange_rate") {
        assert_accuracy("exchange_rate", 7, &columns("exchange_rate", 1, rows), 0.03);
    }
}

#[test]
fn pedestrians() {
    if let Some(rows) = rows("pedestrian") {
        assert_accuracy("pedestrian", 24, &pedestrian(rows), 0.03);
    }
}

#[test]
fn weather_with_sentinels() {
    if let Some(rows) = rows("WTH") {
        assert_accuracy("WTH", 24, &columns("WTH", 1, rows), 0.03);
    }
}

#[test]
fn virtual_machines() {
    if let Some(rows) = rows("azure_vm100_cpu") {
        // The intervals of jobs that recur hourly are calibrated at the ends of the buckets; between them they cover 4
        // points less.
        assert_accuracy("azure_vm100_cpu", 288, &columns("azure_vm100_cpu", 1, rows)[..25], 0.05);
    }
}

#[test]
fn m4_weekly() {
    if let Some(rows) = rows("m4_weekly_train") {
        let series: Vec<_> = rows
            .into_iter()
            .map(|row| row[1..].iter().map_while(|cell| cell.parse().ok()).map(Some).collect())
            .collect();
        assert_accuracy("m4_weekly", 52, &series, 0.03);
    }
}
