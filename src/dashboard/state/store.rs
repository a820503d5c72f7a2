//! The data behind the lock, and how updates change it.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use super::{
    accuracy::HorizonAccuracy,
    series::{ChartedSeries, Name, NameRef},
    timeline::Timeline,
    update::{PartitionStatus, SeriesUpdate, TrainingOutcome, TrainingStep, WorkCounts},
};

/// Rates are means over this many seconds.
const RATE_SECONDS: usize = 10;

/// How much the dashboard keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct DashboardLimits {
    /// Series with a chart because they were among the first to appear.
    pub charted: usize,
    /// Further series with a chart because a value of theirs was anomalous; the one whose last anomaly is the oldest
    /// makes room for a new one.
    pub anomalous: usize,
    /// Values of history per charted series.
    pub points: usize,
    /// Anomalies in the list, newest first.
    pub anomalies: usize,
    /// Training outcomes in the list, newest first.
    pub outcomes: usize,
    /// Samples of a curve (skill, loss); a full curve drops every second sample, so that it always covers the whole
    /// run.
    pub samples: usize,
}

impl Default for DashboardLimits {
    fn default() -> Self {
        Self { charted: 500, anomalous: 100, points: 240, anomalies: 200, outcomes: 100, samples: 600 }
    }
}

/// A run of anomalous values of one series, shown by its most anomalous value.
#[derive(Debug, Clone)]
pub(super) struct Anomaly {
    pub(super) name: Name,
    pub(super) time: i64,
    pub(super) value: f64,
    pub(super) score: f32,
    pub(super) expected: Option<(f64, f64)>,
}

/// Sums over all streams at a moment of the wall clock (milliseconds).
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: i64,
    pub(super) work: WorkCounts,
    pub(super) accuracy: HorizonAccuracy,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) work: WorkCounts,
    /// Anomalous values.
    pub(super) anomalous: u64,
    /// Accuracy by the last lead of the horizon bucket.
    pub(super) horizons: BTreeMap<u32, HorizonAccuracy>,
    /// Status by topic and partition.
    pub(super) partitions: BTreeMap<(String, i32), PartitionStatus>,
    pub(super) version: u64,
    pub(super) published: Option<i64>,
    pub(super) latest_step: Option<TrainingStep>,
    pub(super) losses: Option<Timeline<TrainingStep>>,
}

/// The contents of the dashboard.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) limits: DashboardLimits,
    pub(super) charted: HashMap<Name, ChartedSeries>,
    /// How many of `charted` were among the first to appear.
    early: usize,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) anomalies: VecDeque<Anomaly>,
    pub(super) outcomes: VecDeque<TrainingOutcome>,
    pub(super) moments: Timeline<Moment>,
    pub(super) recent: VecDeque<Moment>,
    /// Sequence number of the latest update.
    sequence: u64,
}

impl Store {
    pub(super) fn new(limits: DashboardLimits) -> Self {
        Self {
            moments: Timeline::new(limits.samples),
            limits,
            charted: HashMap::new(),
            early: 0,
            streams: BTreeMap::new(),
            anomalies: VecDeque::new(),
            outcomes: VecDeque::new(),
            recent: VecDeque::new(),
            sequence: 0,
        }
    }

    pub(super) fn stream(&mut self, name: &str) -> &mut Stream {
        if !self.streams.contains_key(name) {
            self.streams.insert(name.to_owned(), Stream::default());
        }
        self.streams.entry(name.to_owned()).or_default()
    }

    pub(super) fn record_forecast(&mut self, update: &SeriesUpdate<'_>) {
        self.sequence += 1;
        let sequence = self.sequence;
        let room = self.early < self.limits.charted;
        let name = NameRef { stream: update.stream, series: update.series };
        if !self.charted.contains_key(&name) {
            if room {
                self.early += 1;
            } else if update.anomalous {
                self.make_room();
            } else {
                return;
            }
            self.charted.insert(name.to_name(), ChartedSeries::new(sequence, !room));
        }
        let Some(series) = self.charted.get_mut(&name) else { return };
        let continues = series.is_anomalous();
        let expected = series.update(update, self.limits.points);
        if update.anomalous {
            series.anomalous_at = series.anomalous_at.map(|_| sequence);
            self.record_anomaly(name, update, expected, continues);
        }
    }

    /// Lists an anomalous value. A value that `continues` an anomaly replaces its entry if it has a higher score.
    fn record_anomaly(
        &mut self,
        name: NameRef<'_>,
        update: &SeriesUpdate<'_>,
        expected: Option<(f64, f64)>,
        continues: bool,
    ) {
        self.stream(name.stream).anomalous += 1;
        let score = update.anomaly.unwrap_or_default();
        let anomaly = Anomaly { name: name.to_name(), time: update.origin, value: update.value, score, expected };
        let listed = self.anomalies.iter_mut().find(|listed| continues && listed.name == anomaly.name);
        match listed {
            Some(listed) if listed.score >= score => {}
            Some(listed) => *listed = anomaly,
            None => {
                self.anomalies.push_front(anomaly);
                self.anomalies.truncate(self.limits.anomalies);
            }
        }
    }

    /// Drops the series whose last anomaly is the oldest if the room for anomalous series is full.
    fn make_room(&mut self) {
        if self.charted.len() < self.limits.charted + self.limits.anomalous.max(1) {
            return;
        }
        let anomalous = self.charted.iter().filter_map(|(name, series)| series.anomalous_at.map(|at| (at, name)));
        if let Some(name) = anomalous.min().map(|(_, name)| name.clone()) {
            self.charted.remove(&name);
        }
    }

    pub(super) fn set_partition(
        &mut self,
        stream: &str,
        (topic, number): (&str, i32),
        status: Option<PartitionStatus>,
    ) {
        let partitions = &mut self.stream(stream).partitions;
        match status {
            Some(status) => partitions.insert((topic.to_owned(), number), status),
            None => partitions.remove(&(topic.to_owned(), number)),
        };
    }

    pub(super) fn record_training_step(&mut self, stream: &str, step: TrainingStep) {
        let samples = self.limits.samples;
        let stream = self.stream(stream);
        stream.latest_step = Some(step);
        stream.losses.get_or_insert_with(|| Timeline::new(samples)).push(step);
    }

    pub(super) fn record_training_outcome(&mut self, outcome: TrainingOutcome) {
        self.stream(&outcome.stream).version = outcome.version;
        self.outcomes.push_front(outcome);
        self.outcomes.truncate(self.limits.outcomes);
    }

    pub(super) fn sample(&mut self, wall_millis: i64) {
        let mut work = WorkCounts::default();
        self.streams.values().for_each(|stream| work.add(stream.work));
        let accuracy = HorizonAccuracy::total(self.streams.values().flat_map(|stream| stream.horizons.values()));
        let moment = Moment { at: wall_millis, work, accuracy };
        self.recent.push_back(moment.clone());
        if self.recent.len() > RATE_SECONDS + 1 {
            self.recent.pop_front();
        }
        self.moments.push(moment);
    }
}
