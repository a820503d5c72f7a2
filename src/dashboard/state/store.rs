//! What stands behind the board's lock.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::{Equivalent, HashMap};

use super::timeline::Timeline;
use super::{Accuracy, DashboardLimits, PartitionStatus, Promotion, SeriesUpdate, TrainingStep, Work};
use crate::forecast::EXPERTS;

/// Seconds over which rates are taken.
const RATE_SECONDS: usize = 10;

/// A shown series' name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) stream: String,
    pub(super) series: String,
}

/// The same by reference; hashes as [`Name`] does.
#[derive(Hash)]
pub(super) struct NameRef<'a> {
    pub(super) stream: &'a str,
    pub(super) series: &'a str,
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.series == name.series && self.stream == name.stream
    }
}

/// A value that came, with the interval that had been forecast for it one step before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) time: i64,
    pub(super) value: f64,
    pub(super) anomaly: Option<f32>,
    pub(super) expected: Option<(f64, f64)>,
}

/// A shown series.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) points: VecDeque<Point>,
    pub(super) times: Vec<i64>,
    pub(super) point: Vec<f64>,
    pub(super) levels: Vec<f32>,
    pub(super) quantiles: Vec<f64>,
    /// The number of the latest post that was anomalous; `None` for series shown because they came first.
    anomalous: Option<u64>,
    /// The order of coming, for a steady page.
    pub(super) order: u64,
}

/// An anomalous value.
#[derive(Debug, Clone)]
pub(super) struct Anomaly {
    pub(super) name: Name,
    pub(super) time: i64,
    pub(super) value: f64,
    pub(super) score: f32,
    pub(super) expected: Option<(f64, f64)>,
}

/// Sums of one horizon bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) count: u64,
    pub(super) foretide: f64,
    pub(super) last_value: f64,
    pub(super) seasonal_naive: f64,
    /// Nominal share, targets, covered; sorted by the share.
    pub(super) intervals: Vec<(f32, u64, u64)>,
    /// Sum of the weights that each expert had.
    pub(super) weights: [f64; EXPERTS],
}

impl Sums {
    pub(super) fn add(&mut self, more: &Accuracy) {
        self.count += more.count;
        self.foretide += more.foretide;
        self.last_value += more.last_value;
        self.seasonal_naive += more.seasonal_naive;
        self.weights = std::array::from_fn(|expert| self.weights[expert] + more.weights[expert]);
        for &(share, targets, covered) in &more.intervals {
            match self.intervals.iter_mut().find(|known| known.0 == share) {
                Some(known) => (known.1, known.2) = (known.1 + targets, known.2 + covered),
                None => {
                    self.intervals.push((share, targets, covered));
                    self.intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
                }
            }
        }
    }

    pub(super) fn merged(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(&Accuracy {
            count: other.count,
            foretide: other.foretide,
            last_value: other.last_value,
            seasonal_naive: other.seasonal_naive,
            intervals: other.intervals.clone(),
            weights: other.weights,
        });
        sum
    }
}

/// A moment of the run: sums so far, over all streams.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: i64,
    pub(super) work: Work,
    pub(super) sums: Sums,
}

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) work: Work,
    pub(super) horizons: BTreeMap<u32, Sums>,
    pub(super) partitions: BTreeMap<(String, i32), PartitionStatus>,
    pub(super) version: u64,
    pub(super) published: Option<i64>,
    pub(super) latest_step: Option<TrainingStep>,
    pub(super) losses: Option<Timeline<TrainingStep>>,
}

/// The board's contents.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) spec: DashboardLimits,
    pub(super) shown: HashMap<Name, Shown>,
    pub(super) first_comers: usize,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) anomalies: VecDeque<Anomaly>,
    pub(super) anomaly_count: u64,
    pub(super) promotions: VecDeque<Promotion>,
    pub(super) moments: Timeline<Moment>,
    pub(super) recent: VecDeque<Moment>,
    pub(super) posts: u64,
}

impl Store {
    pub(super) fn new(spec: DashboardLimits) -> Self {
        Self {
            moments: Timeline::new(spec.samples),
            spec,
            shown: HashMap::new(),
            first_comers: 0,
            streams: BTreeMap::new(),
            anomalies: VecDeque::new(),
            anomaly_count: 0,
            promotions: VecDeque::new(),
            recent: VecDeque::new(),
            posts: 0,
        }
    }

    pub(super) fn record_forecast(&mut self, update: &SeriesUpdate<'_>) {
        self.posts += 1;
        let anomalous = update.anomaly.is_some_and(|score| score >= self.spec.anomaly_threshold);
        let room = self.first_comers < self.spec.shown;
        let name = NameRef { stream: update.stream, series: update.series };
        let shown = match self.shown.get_mut(&name) {
            Some(shown) => shown,
            None if room || anomalous => {
                if room {
                    self.first_comers += 1;
                } else {
                    self.make_room();
                }
                let name = Name { stream: update.stream.to_owned(), series: update.series.to_owned() };
                self.shown.entry(name).insert(Shown::new(self.posts, !room)).into_mut()
            }
            None => return,
        };
        let expected = shown.take(update, self.spec.points);
        if anomalous {
            shown.anomalous = shown.anomalous.map(|_| self.posts);
            self.anomaly_count += 1;
            self.anomalies.push_front(Anomaly {
                name: Name { stream: update.stream.to_owned(), series: update.series.to_owned() },
                time: update.origin,
                value: update.value,
                score: update.anomaly.unwrap_or_default(),
                expected,
            });
            self.anomalies.truncate(self.spec.anomalies);
        }
    }

    /// Lets the series go whose anomaly is the longest past, when the room for such series is full.
    fn make_room(&mut self) {
        if self.shown.len() < self.spec.shown + self.spec.anomalous.max(1) {
            return;
        }
        let quietest = self
            .shown
            .iter()
            .filter_map(|(name, shown)| shown.anomalous.map(|at| (at, name)))
            .min()
            .map(|(_, name)| name.clone());
        if let Some(name) = quietest {
            self.shown.remove(&name);
        }
    }

    fn stream(&mut self, name: &str) -> &mut Stream {
        if !self.streams.contains_key(name) {
            self.streams.insert(name.to_owned(), Stream::default());
        }
        self.streams.entry(name.to_owned()).or_default()
    }

    pub(super) fn record_work(&mut self, stream: &str, more: Work) {
        add(&mut self.stream(stream).work, more);
    }

    pub(super) fn record_accuracy(&mut self, stream: &str, horizon: u32, more: &Accuracy) {
        self.stream(stream).horizons.entry(horizon).or_default().add(more);
    }

    pub(super) fn set_partition(&mut self, stream: &str, topic: &str, number: i32, note: Option<PartitionStatus>) {
        let partitions = &mut self.stream(stream).partitions;
        match note {
            Some(note) => partitions.insert((topic.to_owned(), number), note),
            None => partitions.remove(&(topic.to_owned(), number)),
        };
    }

    pub(super) fn set_weights(&mut self, stream: &str, version: u64, published: Option<i64>) {
        let stream = self.stream(stream);
        (stream.version, stream.published) = (version, published);
    }

    pub(super) fn record_training_step(&mut self, stream: &str, step: TrainingStep) {
        let samples = self.spec.samples;
        let stream = self.stream(stream);
        stream.latest_step = Some(step);
        stream.losses.get_or_insert_with(|| Timeline::new(samples)).push(step);
    }

    pub(super) fn record_training_outcome(&mut self, promotion: Promotion) {
        self.stream(&promotion.stream.clone()).version = promotion.version;
        self.promotions.push_front(promotion);
        self.promotions.truncate(self.spec.promotions);
    }

    pub(super) fn tick(&mut self, wall_millis: i64) {
        let mut moment = Moment { at: wall_millis, work: Work::default(), sums: Sums::default() };
        for stream in self.streams.values() {
            add(&mut moment.work, stream.work);
            moment.sums = stream.horizons.values().fold(moment.sums, |sum, more| sum.merged(more));
        }
        self.recent.push_back(moment.clone());
        if self.recent.len() > RATE_SECONDS + 1 {
            self.recent.pop_front();
        }
        self.moments.push(moment);
    }
}

impl Shown {
    fn new(post: u64, for_an_anomaly: bool) -> Self {
        Self {
            points: VecDeque::new(),
            times: Vec::new(),
            point: Vec::new(),
            levels: Vec::new(),
            quantiles: Vec::new(),
            anomalous: for_an_anomaly.then_some(post),
            order: post,
        }
    }

    /// Takes the update in; returns the interval that had been expected for its value.
    fn take(&mut self, update: &SeriesUpdate<'_>, limit: usize) -> Option<(f64, f64)> {
        let expected = self.expected(update.origin);
        // A series that starts anew (its input was produced again) starts anew here.
        if self.points.back().is_some_and(|newest| update.origin < newest.time) {
            self.points.clear();
        }
        self.points.push_back(Point { time: update.origin, value: update.value, anomaly: update.anomaly, expected });
        while self.points.len() > limit.max(1) {
            self.points.pop_front();
        }
        replace(&mut self.times, update.times);
        replace(&mut self.point, update.point);
        replace(&mut self.levels, update.levels);
        replace(&mut self.quantiles, update.quantiles);
        expected
    }

    /// The widest central interval not wider than 80 % that the kept forecast holds for `time`.
    fn expected(&self, time: i64) -> Option<(f64, f64)> {
        let lead = self.times.iter().position(|&at| at == time)?;
        let count = self.levels.len();
        let row = self.quantiles.get(lead * count..(lead + 1) * count)?;
        let low = self.levels.iter().position(|level| (0.0999..0.5).contains(level))?;
        let high = count.checked_sub(low + 1)?;
        Some((row[low], row[high]))
    }
}

fn add(sum: &mut Work, more: Work) {
    sum.records += more.records;
    sum.observations += more.observations;
    sum.forecasts += more.forecasts;
    sum.late += more.late;
    sum.dead_letters += more.dead_letters;
}

fn replace<T: Copy>(kept: &mut Vec<T>, new: &[T]) {
    kept.clear();
    kept.extend_from_slice(new);
}
