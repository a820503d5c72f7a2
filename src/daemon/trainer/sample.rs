//! Which series a training learns from: a sample that is fair over all partitions, and bounded in series and bytes.
//!
//! Each series has a rank, a hash of its topic, partition and key. The sample holds the series of the lowest ranks, as
//! many as the limits allow: whichever come first, and in whichever partition. A series whose rank is too high is left
//! out from then on, so that those in the sample have their history whole. Series that are too young to be trained on
//! do not count for the limit of series, only for that of bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::daemon::observation_scan::ScannedObservation;
use crate::daemon::plan::{StreamPlan, TrainingPlan};
use crate::nn::{NetworkSpec, fnv_1a, mixed};
use crate::series::{FutureCovariateTable, FutureValues, RecordedSteps, ScaleEstimate, SeriesSpec};
use crate::train::{SequenceBuilder, TrainingSequence};

/// Where the steps of one series would take more than this share of all memory, it keeps fewer.
const LEAST_SERIES: usize = 8;
/// Once the sample has shrunk to this share of its limits, since series have ended, others are admitted again.
const ROOM_SHARE: f64 = 0.875;

/// Where series come from: the index of the topic in the stream, and the partition.
pub type Origin = (usize, i32);

/// What a training learns from.
#[derive(Debug, Default)]
pub struct TrainingSet {
    /// One sequence of each series whose history is long enough.
    pub sequences: Vec<TrainingSequence>,
    /// The scale of each sequence.
    pub scales: Vec<ScaleEstimate>,
    /// Steps of all sequences together.
    pub steps: usize,
    /// Steps of the longest series, long enough or not.
    pub longest: usize,
}

/// The series whose history is kept.
pub struct SeriesSample {
    spec: Arc<SeriesSpec>,
    network: NetworkSpec,
    min_steps: usize,
    max_steps: usize,
    max_series: usize,
    max_bytes: usize,
    /// By rank.
    groups: BTreeMap<u64, Group>,
    /// Series of this rank or a higher one are left out.
    admitted_below: u64,
    bytes: usize,
    /// Series that are long enough.
    trainable: usize,
    /// Observations of series that were left out.
    pub left_out: u64,
}

/// The series of one rank: one, or where future covariates have keys, all series of the key.
struct Group {
    origin: Origin,
    key: Box<str>,
    /// The future covariates of the key.
    table: FutureCovariateTable,
    series: Vec<Series>,
    /// When the newest record of the group arrived, in milliseconds since the Unix epoch.
    touched: i64,
}

struct Series {
    name: Box<str>,
    builder: SequenceBuilder,
}

impl Series {
    fn bytes(&self) -> usize {
        size_of::<Self>() - size_of::<SequenceBuilder>() + self.name.len() + self.builder.bytes()
    }
}

impl Group {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.len()
            + self.table.heap_bytes()
            + self.series.iter().map(Series::bytes).sum::<usize>()
    }

    fn trainable(&self, min_steps: usize) -> usize {
        self.series.iter().filter(|series| series.builder.len() >= min_steps).count()
    }
}

impl SeriesSample {
    /// No series yet.
    pub fn new(stream: &StreamPlan, training: &TrainingPlan) -> Self {
        // Recorded steps stay as they were: what is late does not take part.
        let spec = Arc::new(SeriesSpec { correction: 0, ..stream.engine.series.clone() });
        Self {
            max_steps: max_steps(&spec, training),
            spec,
            network: stream.engine.network.clone(),
            min_steps: training.min_steps,
            max_series: training.max_series,
            max_bytes: training.memory,
            groups: BTreeMap::new(),
            admitted_below: u64::MAX,
            bytes: 0,
            trainable: 0,
            left_out: 0,
        }
    }

    /// Adds an observation that arrived at `now` (milliseconds since the Unix epoch). `shared` are the future
    /// covariates of all series, where they have no keys.
    pub fn observe(
        &mut self,
        origin: Origin,
        now: i64,
        observation: &ScannedObservation<'_>,
        shared: Option<&FutureCovariateTable>,
    ) {
        let &ScannedObservation { series: name, ref reading } = observation;
        let future = &self.spec.extra.future_covariates;
        let key = if future.keyed { future.key_of(name) } else { name };
        let keyed = future.keyed;
        let Some(group) = admit(&mut self.groups, self.admitted_below, &mut self.bytes, (origin, key)) else {
            self.left_out += 1;
            return;
        };
        let at = group.series.iter().position(|series| *series.name == *name).unwrap_or_else(|| {
            let builder = SequenceBuilder::new(Arc::clone(&self.spec), &self.network, self.max_steps);
            let series = Series { name: name.into(), builder };
            self.bytes += series.bytes();
            group.series.push(series);
            group.series.len() - 1
        });
        group.touched = group.touched.max(now);
        let table = if keyed { Some(&group.table) } else { shared };
        let builder = &mut group.series[at].builder;
        let (bytes, was_trainable) = (builder.bytes(), builder.len() >= self.min_steps);
        builder.observe_at(now, reading, table);
        self.bytes = self.bytes + builder.bytes() - bytes;
        self.trainable += usize::from(!was_trainable && builder.len() >= self.min_steps);
        self.keep_limits();
    }

    /// Adds future covariates of one key.
    pub fn insert_future_values(&mut self, origin: Origin, now: i64, key: &str, values: FutureValues) {
        let max_slots = self.spec.extra.future_covariates.max_slots;
        let admitted = admit(&mut self.groups, self.admitted_below, &mut self.bytes, (origin, key));
        let Some(group) = admitted else { return };
        group.touched = group.touched.max(now);
        let bytes = group.table.heap_bytes();
        group.table.insert(values, max_slots);
        self.bytes = self.bytes + group.table.heap_bytes() - bytes;
        self.keep_limits();
    }

    /// Drops what arrived before `time`, and the series that then have no history. Where that leaves room, series that
    /// were left out are admitted again, with their history from then on.
    pub fn drop_before(&mut self, time: i64) {
        self.groups.retain(|_, group| {
            group.series.iter_mut().for_each(|series| series.builder.drop_before(time));
            let silent = group.touched < time;
            group.series.retain(|series| !(silent && series.builder.is_empty()));
            !silent || !group.series.is_empty()
        });
        self.count();
        let has_room = |used: usize, most: usize| (used as f64) < ROOM_SHARE * most as f64;
        if has_room(self.bytes, self.max_bytes) && has_room(self.trainable, self.max_series) {
            self.admitted_below = u64::MAX;
        }
    }

    /// Drops the series of a partition whose topic was recreated.
    pub fn drop_origin(&mut self, origin: Origin) {
        self.groups.retain(|_, group| group.origin != origin);
        self.count();
    }

    /// What a training learns from, in the order of topics, partitions and keys. It shares the steps: it should be
    /// dropped before the next observation.
    pub fn training_set(&self) -> TrainingSet {
        let mut set = TrainingSet::default();
        let mut all: Vec<(Origin, &Series)> =
            self.groups.values().flat_map(|group| group.series.iter().map(|series| (group.origin, series))).collect();
        all.sort_by(|one, other| (one.0, &*one.1.name).cmp(&(other.0, &*other.1.name)));
        for (_, Series { builder, .. }) in all {
            set.longest = set.longest.max(builder.len());
            if builder.len() >= self.min_steps {
                set.sequences.push(builder.to_sequence());
                set.scales.extend(builder.scale_estimate());
                set.steps += builder.len();
            }
        }
        set
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn count(&mut self) {
        self.bytes = self.groups.values().map(Group::bytes).sum();
        self.trainable = self.groups.values().map(|group| group.trainable(self.min_steps)).sum();
    }

    /// Lets the highest ranks go until the sample is within its limits.
    fn keep_limits(&mut self) {
        while self.bytes > self.max_bytes || self.trainable > self.max_series {
            let Some((rank, group)) = self.groups.pop_last() else { return };
            self.admitted_below = rank;
            self.bytes = self.bytes.saturating_sub(group.bytes());
            self.trainable -= group.trainable(self.min_steps);
        }
    }
}

/// The group of a key, new or not; `None` where it is left out. Adds the bytes of a new one.
fn admit<'a>(
    groups: &'a mut BTreeMap<u64, Group>,
    admitted_below: u64,
    bytes: &mut usize,
    (origin, key): (Origin, &str),
) -> Option<&'a mut Group> {
    let rank = rank(origin, key);
    if rank >= admitted_below {
        return None;
    }
    let group = groups.entry(rank).or_insert_with(|| {
        let (table, series, touched) = (FutureCovariateTable::default(), Vec::new(), i64::MIN);
        let group = Group { origin, key: key.into(), table, series, touched };
        *bytes += group.bytes();
        group
    });
    // Two keys of the same hash: the second is left out.
    (group.origin == origin && *group.key == *key).then_some(group)
}

/// The rank of a key: its hash, mixed, since keys often differ in their last characters alone.
fn rank((topic, partition): Origin, key: &str) -> u64 {
    let origin = (topic as u64).to_le_bytes().into_iter().chain(partition.to_le_bytes());
    mixed(fnv_1a(origin.chain(key.bytes())))
}

/// The most steps of a series that a training keeps.
fn max_steps(spec: &SeriesSpec, training: &TrainingPlan) -> usize {
    let fits = |steps: usize| RecordedSteps::predicted_bytes(spec, steps) <= training.memory / LEAST_SERIES;
    let mut steps = training.max_steps_per_series;
    while steps > training.min_steps && !fits(steps) {
        steps = (steps / 2).max(training.min_steps);
    }
    steps
}

#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;
