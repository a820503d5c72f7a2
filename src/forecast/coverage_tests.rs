//! Coverage of intervals on real series, as they are, after a level shift and after their deviations tripled: in every
//! window of 500 slots, at an interval score close to that of split-conformal prediction. Without the data these tests
//! are skipped with a message.

use super::accuracy_tests::{columns, generated, pedestrian, rows};
use super::test_run::{LEVELS, Run};
use crate::forecast::ForecastSpec;

const HORIZON: usize = 24;
/// Leads that are scored.
const LEADS: [usize; 2] = [1, 24];
/// Limits of each lead for a series as it is, shifted, and with tripled deviations. The errors of lead 24 overlap: a
/// window of 500 slots has some 20 independent ones, which alone makes 5 points of coverage.
const LIMITS: [[Limits; 3]; 2] = [
    [Limits::new(0.03, 1.01), Limits::new(0.03, 1.02), Limits::new(0.03, 1.01)],
    [Limits::new(0.06, 1.1), Limits::new(0.1, 1.45), Limits::new(0.07, 1.0)],
];
/// Steps before a series is scored.
const WARM: usize = 500;
const WINDOW: usize = 500;

struct Limits {
    /// The largest deviation of the coverage from 80 % in any window.
    coverage: f64,
    /// The largest score relative to split-conformal prediction.
    score: f64,
}

impl Limits {
    const fn new(coverage: f64, score: f64) -> Self {
        Self { coverage, score }
    }
}

/// An 80 % interval and its target.
#[derive(Clone, Copy)]
struct Interval {
    point: f64,
    low: f64,
    high: f64,
    target: f64,
}

impl Interval {
    fn covers(&self) -> bool {
        (self.low..=self.high).contains(&self.target)
    }

    /// The interval score: width plus a penalty for a miss (Gneiting and Raftery, Journal of the American Statistical
    /// Association 2007). Smaller is better.
    fn score(&self) -> f64 {
        self.high - self.low + 10.0 * ((self.low - self.target).max(0.0) + (self.target - self.high).max(0.0))
    }
}

/// `[lead][slot of the target]`
fn intervals(values: &[Option<f64>], season: usize) -> Vec<Vec<Option<Interval>>> {
    let spec = ForecastSpec::new(HORIZON, &LEVELS, season).unwrap();
    let mut run = Run::of(spec);
    let mut all = vec![vec![None; values.len()]; LEADS.len()];
    for (step, value) in values.iter().enumerate() {
        run.step(*value);
        if value.is_none() {
            continue;
        }
        for (lead, all) in LEADS.iter().zip(&mut all) {
            let row = run.row(*lead);
            if let Some(Some(target)) = values.get(step + lead) {
                let interval = Interval { point: row[run.spec.median()], low: row[1], high: row[3], target: *target };
                all[step + lead] = Some(interval);
            }
        }
    }
    all
}

/// Deviation of the coverage from 80 %, of all series together: in the worst window, and overall.
fn coverage_errors(of_series: &[Vec<Option<Interval>>]) -> (f64, f64) {
    let slots = of_series.iter().map(Vec::len).max().unwrap_or(0);
    let mut covered = vec![(0.0, 0.0)];
    for slot in 0..slots {
        let (mut inside, mut count) = covered[slot];
        for interval in of_series.iter().filter_map(|series| series.get(slot).copied().flatten()) {
            inside += f64::from(u8::from(interval.covers()));
            count += 1.0;
        }
        covered.push((inside, count));
    }
    let share = |from: usize, to: usize| (covered[to].0 - covered[from].0) / (covered[to].1 - covered[from].1) - 0.8;
    let windows = (WARM..=slots - WINDOW).map(|from| share(from, from + WINDOW));
    let worst = windows.fold(0.0, |worst: f64, error| if error.abs() > worst.abs() { error } else { worst });
    (worst, share(WARM, slots))
}

/// The mean score of the later half: ours, and that of split-conformal intervals, as wide as 80 % of the earlier
/// errors.
fn scores(of_series: &[Vec<Option<Interval>>]) -> (f64, f64) {
    let (mut ours, mut split) = (0.0, 0.0);
    for series in of_series {
        let half = series.len() / 2;
        let mut errors: Vec<f64> =
            series[WARM..half].iter().flatten().map(|interval| (interval.target - interval.point).abs()).collect();
        errors.sort_unstable_by(f64::total_cmp);
        let rank = (0.8 * (errors.len() + 1) as f64).ceil() as usize;
        let width = errors[rank.min(errors.len()) - 1];
        let unit = errors.iter().sum::<f64>() / errors.len() as f64;
        let later: Vec<&Interval> = series[half..].iter().flatten().collect();
        let mean = |score: &dyn Fn(&Interval) -> f64| {
            later.iter().map(|interval| score(interval)).sum::<f64>() / later.len() as f64 / unit.max(f64::MIN_POSITIVE)
        };
        ours += mean(&Interval::score);
        split += mean(&|interval: &Interval| {
            Interval { low: interval.point - width, high: interval.point + width, ..*interval }.score()
        });
    }
    (ours, split)
}

/// Changes a value of the later half, given the series' mean and standard deviation.
type Change = fn(f64, f64, f64) -> f64;

/// Asserts the limits on some series, as they are and changed.
fn assert_coverage(name: &str, season: usize, series: &[Vec<Option<f64>>]) {
    let deviation = |values: &[Option<f64>]| {
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        (mean, (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt())
    };
    let from = |values: &[Option<f64>], change: Change| {
        let (mean, deviation) = deviation(values);
        let changed = |(step, value): (usize, &Option<f64>)| {
            value.map(|value| if step < values.len() / 2 { value } else { change(value, mean, deviation) })
        };
        values.iter().enumerate().map(changed).collect::<Vec<_>>()
    };
    let changes: [(&str, Change); 3] = [
        ("unchanged", |value, _, _| value),
        ("shifted by 5 deviations", |value, _, deviation| value + 5.0 * deviation),
        ("with tripled deviations", |value, mean, _| mean + 3.0 * (value - mean)),
    ];
    let mut violations = Vec::new();
    for (kind, (what, change)) in changes.into_iter().enumerate() {
        let all: Vec<_> = series.iter().map(|values| intervals(&from(values, change), season)).collect();
        for (at, lead) in LEADS.iter().enumerate() {
            let of_lead: Vec<_> = all.iter().map(|series| series[at].clone()).collect();
            let ((worst, whole), (ours, split)) = (coverage_errors(&of_lead), scores(&of_lead));
            println!(
                "{name}, {what}, lead {lead}: worst window {:+.1} points, all {:+.1}; score {:.3} of split-conformal",
                100.0 * worst,
                100.0 * whole,
                ours / split
            );
            let Limits { coverage, score } = LIMITS[at][kind];
            let holds = whole.abs() <= 0.01 && worst.abs() <= coverage && ours <= score * split;
            if !holds {
                violations.push(format!("{what}, lead {lead}: {whole} {worst} {}", ours / split));
            }
        }
    }
    assert!(violations.is_empty(), "{name}, overall and worst coverage error, relative score: {violations:#?}");
}

/// The first 6000 values of each series.
fn shortened(series: Vec<Vec<Option<f64>>>) -> Vec<Vec<Option<f64>>> {
    series.into_iter().map(|values| values[..6000].to_vec()).collect()
}

#[test]
fn generated_series() {
    // The errors of a series at lead 24 overlap, so that a window needs many series for a precise share.
    assert_coverage("generated", 24, &generated(20, 6000));
}

#[test]
#[ignore = "needs ../shared/data/ETTh1.csv.gz; scripts/test runs it where that exists"]
fn etth1() {
    assert_coverage("ETTh1", 24, &shortened(columns("ETTh1", 1, rows("ETTh1"))));
}

#[test]
#[ignore = "needs ../shared/data/exchange_rate.csv.gz; scripts/test runs it where that exists"]
fn exchange_rate() {
    assert_coverage("exchange_rate", 7, &columns("exchange_rate", 1, rows("exchange_rate")));
}

#[test]
#[ignore = "needs ../shared/data/pedestrian.csv.gz; scripts/test runs it where that exists"]
fn pedestrians() {
    assert_coverage("pedestrian", 24, &shortened(pedestrian(rows("pedestrian"))));
}
