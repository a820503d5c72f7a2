//! Fills a dashboard with simulated series and simple forecasts, for the page's test and `examples/page.rs`.

use std::collections::BTreeMap;

use foretide::cli::demo::data::{Simulation, SimulationSpec};
use foretide::dashboard::state::{
    DashboardState, Decision, HorizonAccuracy, IntervalCoverage, PartitionState, PartitionStatus, SeriesUpdate,
    TrainingOutcome, TrainingStep, WorkCounts,
};

const STREAM: &str = "simulated";
const INTERVAL: i64 = 300_000;
const DAY: usize = 288;
const HORIZON: usize = 24;
/// Scores from here on are anomalous.
const ANOMALOUS: f32 = 0.999;
const LEVELS: [f32; 7] = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];
/// Standard normal quantiles of the levels.
const NORMAL: [f64; 7] = [-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645];

/// The source of a dashboard's contents.
pub struct Feed {
    simulation: Simulation,
    values: BTreeMap<String, Vec<f64>>,
    steps: u64,
    wall: i64,
}

impl Feed {
    /// `series` simulated series with `days` of history.
    pub fn new(series: usize, days: usize, wall: i64) -> Self {
        let spec = SimulationSpec { seed: 11, series, start: 1_790_000_100_000, interval: INTERVAL };
        let mut simulation = Simulation::new(spec);
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for _ in 0..days * DAY {
            simulation.advance(|it| values.entry(it.key.to_owned()).or_default().push(it.value));
        }
        Self { simulation, values, steps: 0, wall }
    }

    /// Advances event time by one interval and records what a daemon would.
    pub fn step(&mut self, dashboard: &DashboardState) {
        self.steps += 1;
        let values = &mut self.values;
        let interval = |share| IntervalCoverage { share, targets: 0, covered: 0 };
        let mut accuracy =
            HorizonAccuracy { intervals: [0.5, 0.8, 0.9].map(interval).to_vec(), ..HorizonAccuracy::default() };
        let mut count = 0;
        self.simulation.advance(|it| {
            let past = values.entry(it.key.to_owned()).or_default();
            past.push(it.value);
            let (now, before) = (past.len() - 1, past.len() - 2);
            let gap = |lag: usize| (1..DAY).map(|back| (past[now - back] - past[now - back - lag]).abs()).sum::<f64>();
            let (spread, size) = ((gap(1) / DAY as f64).max(1e-3), gap(DAY) / DAY as f64 + 1e-3);
            let error = (past[now] - past[before] - (past[now - DAY] - past[before - DAY])).abs();
            let anomaly = (1.0 - (-error / (spread + size)).exp()) as f32;
            let point: Vec<f64> = (1..=HORIZON)
                .map(|lead| past[now + lead - DAY] + (past[now] - past[now - DAY]) * 0.94f64.powi(lead as i32))
                .collect();
            let quantiles: Vec<f64> = (1..=HORIZON)
                .flat_map(|lead| NORMAL.map(|z| point[lead - 1] + z * spread * (1.0 + 0.55 * (lead as f64).sqrt())))
                .collect();
            let times: Vec<i64> = (1..=HORIZON as i64).map(|lead| it.time + lead * INTERVAL).collect();
            dashboard.record_forecast(&SeriesUpdate {
                stream: STREAM,
                series: it.key,
                origin: it.time,
                value: it.value,
                times: &times,
                point: &point,
                levels: &LEVELS,
                quantiles: &quantiles,
                anomaly: Some(anomaly),
                anomalous: anomaly >= ANOMALOUS,
            });
            count += 1;
            accuracy.count += 1;
            accuracy.weights = [0.2, 0.0, 0.5, 0.3, 0.0, 0.0].map(|weight| weight * count as f64);
            accuracy.foretide += error / size;
            accuracy.last_value += (past[now] - past[before]).abs() / size * 1.3;
            accuracy.seasonal_naive += (past[now] - past[now - DAY]).abs() / size;
            for (interval, z) in accuracy.intervals.iter_mut().zip([0.674, 1.282, 1.645]) {
                interval.targets += 1;
                interval.covered += u64::from(error < z * spread * 1.55);
            }
        });
        for (bucket, share) in [(1, 1.0), (3, 1.1), (6, 1.25), (12, 1.6), (24, 1.9)] {
            let mut longer = accuracy.clone();
            longer.foretide *= share;
            longer.last_value *= share * share;
            dashboard.record_accuracy(STREAM, bucket, &longer);
        }
        dashboard.record_work(
            STREAM,
            WorkCounts { records: count, observations: count, forecasts: count, ..WorkCounts::default() },
        );
        for number in 0..4u64 {
            let status = PartitionStatus {
                state: PartitionState::Running,
                series: (count + number) / 4,
                state_bytes: count / 4 * 3100,
                lag: Some(self.steps * 7 % 40),
                remaining: 0,
            };
            dashboard.set_partition(STREAM, "demo", number as i32, Some(status));
        }
        self.training(dashboard);
        self.wall += 1000;
        dashboard.sample(self.wall);
    }

    fn training(&self, dashboard: &DashboardState) {
        let (round, step) = (self.steps / 30 + 1, self.steps % 30 + 1);
        let progress = self.steps as f64;
        let loss = 0.08 + 0.3 * (-progress / 60.0).exp() + 0.01 * (progress * 1.7).sin();
        dashboard.record_training_step(STREAM, TrainingStep { at: self.wall, step: step * 10, steps: 300, loss });
        if step == 30 {
            let won = !round.is_multiple_of(3);
            let decision = if won {
                Decision::Promoted
            } else {
                Decision::Refused("the win of 0.3 % is below the margin of 1 %".into())
            };
            dashboard.record_training_outcome(TrainingOutcome {
                stream: STREAM.into(),
                at: self.wall,
                version: round - round / 3,
                decision,
                champion_loss: Some(loss * if won { 1.07 } else { 1.003 }),
                challenger_loss: Some(loss),
            });
            dashboard.set_weights(STREAM, round - round / 3, Some(self.wall));
        }
    }
}
