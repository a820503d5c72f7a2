//! What a shard is told to do: the settings, turned into each room's own specification.

use std::{sync::Arc, time::Duration};

use crate::{engine::StreamSpec, train::TrainSpec, wire::DecodeSpec};

/// Everything that a shard needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The application's id: consumer group and prefix of transactional ids.
    pub app: String,
    /// The streams, in the order of the configuration.
    pub streams: Vec<StreamPlan>,
    /// The compacted topic of the series' states.
    pub state_topic: String,
    /// How many partitions it has; an input partition's states are in partition `number % state_partitions`.
    pub state_partitions: i32,
    /// The compacted topic of the weights.
    pub models_topic: String,
    /// Where records go that cannot be used.
    pub dead_letter_topic: String,
    /// How long an epoch gathers records before it is committed, in microseconds.
    pub commit_interval: u64,
    /// Within how long every changed series is snapshotted, in microseconds; 0: at every commit.
    pub checkpoint_interval: u64,
    /// The most records of one epoch.
    pub max_transaction_records: usize,
    /// The most bytes of input, and of slots and forecasts, of one epoch.
    pub max_transaction_bytes: usize,
    /// The most records that one poll brings.
    pub max_poll_records: usize,
    /// The most bytes of others' states that are kept for a takeover; 0: none.
    pub standby_bytes: usize,
}

/// One stream of a [`Plan`].
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// What the engine does.
    pub engine: StreamSpec,
    /// How records become observations.
    pub decode: DecodeSpec,
    /// The input topics.
    pub topics: Vec<String>,
    /// Numbers that are known in advance; `None` where there are none.
    pub future_covariates: Option<FutureCovariatesPlan>,
    /// The topic of the forecasts.
    pub forecasts_topic: String,
    /// How its network learns; `None` where it does not.
    pub training: Option<TrainingPlan>,
}

/// Where the numbers of a stream come from that are known in advance.
#[derive(Debug, Clone)]
pub struct FutureCovariatesPlan {
    /// The topic, partitioned as the input.
    pub topic: String,
    /// How its records are read: every number is a value and a covariate, so that all come with each.
    pub decode: DecodeSpec,
    /// Whether a record tells of the series of one key; otherwise of all.
    pub keyed: bool,
}

/// How a stream's network learns.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// How far back the history is read, by the records' timestamps, in milliseconds.
    pub history: i64,
    /// How often a round begins.
    pub every: Duration,
    /// How often a small training keeps up with what is new; none where this is zero.
    pub refresh: Duration,
    /// Its updates of the weights.
    pub refresh_updates: usize,
    /// Share of the time in which a round computes; it rests for the others.
    pub cpu_share: f64,
    /// The least steps of history that a series needs to take part.
    pub min_steps: usize,
    /// The most series whose history is read.
    pub max_series: usize,
    /// The most steps of each, the newest.
    pub max_steps_per_series: usize,
    /// What the optimiser is told.
    pub spec: TrainSpec,
}

impl Plan {
    /// The input topics of all streams, each once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.streams.iter().flat_map(|stream| stream.topics.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The same, and the topics of what is known in advance.
    pub fn topics_read(&self) -> Vec<String> {
        let known = self.streams.iter().filter_map(|stream| Some(stream.future_covariates.as_ref()?.topic.clone()));
        let mut topics: Vec<String> = self.topics().into_iter().chain(known).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The streams that read `topic`.
    pub fn streams_of(&self, topic: &str) -> impl Iterator<Item = (usize, Arc<str>)> {
        self.streams
            .iter()
            .enumerate()
            .filter(move |(_, stream)| stream.topics.iter().any(|known| known == topic))
            .map(|(index, stream)| (index, Arc::clone(&stream.engine.name)))
    }
}
