//! What a shard is told to do: the settings, turned into each room's own specification.

use std::sync::Arc;

use crate::{engine::StreamSpec, wire::DecodeSpec};

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
    pub max_epoch_records: usize,
    /// The most bytes of input of one epoch.
    pub max_epoch_bytes: usize,
    /// The most records that one poll brings.
    pub max_poll_records: usize,
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
    /// The topic of the forecasts.
    pub forecasts_topic: String,
}

impl Plan {
    /// The input topics of all streams, each once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.streams.iter().flat_map(|stream| stream.topics.clone()).collect();
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
