//! What the process is configured to do. [`specs`](super::specs) makes it from the settings.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    engine::StreamSpec,
    settings::{ForecastStart, Late},
    train::TrainSpec,
    wire::DecodeSpec,
};

/// What shards, trainer and lag monitor need of the configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The application's id: its consumer group, and the prefix of its transactional ids.
    pub app: String,
    /// The streams, in the order of the configuration.
    pub streams: Vec<StreamPlan>,
    /// The compacted topic of snapshots and task checkpoints.
    pub state_topic: String,
    /// Its partitions. The states of an input partition are in partition `number % state_partitions`.
    pub state_partitions: i32,
    /// The input topics that are compacted: a restore cannot rely on reading their records again.
    pub compacted_inputs: BTreeSet<String>,
    /// The input topics that cannot be read yet.
    pub missing_inputs: BTreeSet<String>,
    /// The compacted topic of the weights.
    pub models_topic: String,
    /// The topic of records that cannot be used.
    pub dead_letter_topic: String,
    /// How long a transaction collects records before it is committed, in microseconds.
    pub commit_interval: u64,
    /// The longest time until a changed series is snapshotted, in microseconds; 0: at every commit.
    pub checkpoint_interval: u64,
    /// Records over which a shard spreads the snapshots where fewer come within the interval; 0: it does not.
    pub checkpoint_records: u64,
    /// Series whose settings have changed are rebuilt before their partition is served where that takes no more than so
    /// many records, and meanwhile otherwise.
    pub rebuild_first: i64,
    /// The most records of one transaction.
    pub max_transaction_records: usize,
    /// The most bytes of one transaction: of its input, and of its slots and forecasts.
    pub max_transaction_bytes: usize,
    /// The most records of one poll.
    pub max_poll_records: usize,
    /// The most bytes of one shard's standby copies; 0: none.
    pub standby_bytes: usize,
}

/// One stream of a [`Plan`].
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// What the engine computes.
    pub engine: StreamSpec,
    /// How the records of `topics` become observations.
    pub decode: DecodeSpec,
    /// The topics that the engine reads: the input topics, or the repartition topic.
    pub topics: Vec<String>,
    /// Where forecasts begin in a partition of `topics` that the group has never read.
    pub start: ForecastStart,
    /// What is copied to its repartition topic, if it has one.
    pub repartition: Option<RepartitionPlan>,
    /// Where its future covariates come from, if it has some.
    pub future_covariates: Option<FutureCovariatesPlan>,
    /// The topic of the forecasts.
    pub forecasts_topic: String,
    /// What becomes of late readings. They are counted in any case.
    pub late: Late,
    /// How its network is trained, if it is.
    pub training: Option<TrainingPlan>,
}

/// What is copied to the repartition topic of a stream, which is the one of its `topics`.
#[derive(Debug, Clone)]
pub struct RepartitionPlan {
    /// The repartition topic.
    pub topic: String,
    /// The input topics.
    pub sources: Vec<String>,
    /// How their records become observations.
    pub decode: DecodeSpec,
    /// Where forecasts begin in a partition of `sources` that the group has never read.
    pub start: ForecastStart,
    /// Whether the repartition topic is created where it is missing.
    pub create: bool,
}

/// Where the future covariates of a stream come from.
#[derive(Debug, Clone)]
pub struct FutureCovariatesPlan {
    /// Their topic, partitioned as the input.
    pub topic: String,
    /// How its records are decoded. Each value is a covariate too, so that every observation carries all of them.
    pub decode: DecodeSpec,
    /// Whether a record is for the series of one key. Otherwise it is for all series.
    pub keyed: bool,
}

/// How a stream's network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// How far back history is read, by the records' timestamps, in milliseconds.
    pub history: i64,
    /// Pause between two full trainings.
    pub every: Duration,
    /// Pause between two incremental trainings; zero: none.
    pub refresh: Duration,
    /// Updates of the weights in an incremental training.
    pub refresh_updates: usize,
    /// Share of the time in which training computes (0 to 1).
    pub cpu_share: f64,
    /// Steps of history that a series needs to be trained on.
    pub min_steps: usize,
    /// The most series that are trained on; others are left out.
    pub max_series: usize,
    /// The most steps of each series: the newest ones.
    pub max_steps_per_series: usize,
    /// The most bytes of the history of all series; series beyond it are left out.
    pub memory: usize,
    /// How the optimiser works.
    pub spec: TrainSpec,
}

impl StreamPlan {
    /// The input topics.
    pub fn sources(&self) -> &[String] {
        self.repartition.as_ref().map_or(&self.topics, |repartition| &repartition.sources)
    }

    /// The stream as it would be without a repartition topic: its topics are the input topics.
    #[must_use]
    pub fn of_sources(&self) -> Self {
        let mut stream = self.clone();
        if let Some(RepartitionPlan { sources, decode, start, .. }) = stream.repartition.take() {
            (stream.topics, stream.decode, stream.start) = (sources, decode, start);
        }
        stream
    }
}

impl Plan {
    /// The topics that the engine reads, of all streams, each once, without the missing ones.
    pub fn topics(&self) -> Vec<String> {
        self.present(|stream| &stream.topics)
    }

    /// The repartition topics.
    pub fn repartition_topics(&self) -> impl Iterator<Item = &RepartitionPlan> {
        self.streams.iter().filter_map(|stream| stream.repartition.as_ref())
    }

    /// The input topics of all streams, each once, without the missing ones.
    pub fn source_topics(&self) -> Vec<String> {
        self.present(StreamPlan::sources)
    }

    /// Topics of all streams, each once, without the missing ones.
    fn present(&self, topics: impl Fn(&StreamPlan) -> &[String]) -> Vec<String> {
        let mut topics: Vec<String> = self.streams.iter().flat_map(|stream| topics(stream).to_vec()).collect();
        topics.retain(|topic| !self.missing_inputs.contains(topic));
        topics.sort();
        topics.dedup();
        topics
    }

    /// The topics of others that are read: the input topics and the future-covariate topics of all streams, each once.
    pub fn all_topics(&self) -> Vec<String> {
        let covariates =
            self.streams.iter().filter_map(|stream| Some(stream.future_covariates.as_ref()?.topic.clone()));
        let mut topics: Vec<String> = self.source_topics().into_iter().chain(covariates).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The streams that read `topic`: index and name.
    pub fn streams_of(&self, topic: &str) -> impl Iterator<Item = (usize, Arc<str>)> {
        self.streams
            .iter()
            .enumerate()
            .filter(move |(_, stream)| stream.topics.iter().any(|input| input == topic))
            .map(|(index, stream)| (index, Arc::clone(&stream.engine.name)))
    }
}
