//! Sets the positions and states of streams anew, so that the daemon forecasts again from a time. No instance may run
//! meanwhile.
//!
//! States go first, in transactions of their own. A daemon that starts after half of them finds series missing and
//! rebuilds them. The last transaction writes the task checkpoints together with the positions of the group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::partition_task::FirstStart;
use super::plan::{Plan, RepartitionPlan, StreamPlan};
use super::restore::{commit_metadata, copies_commit_metadata, find_first_start};
use crate::broker::{
    Broker, BrokerError, CommittedOffset, Partition, ProducerRecord, Publisher, Reader, StartPosition, stable_end,
};
use crate::settings::ForecastStart;
use crate::snapshot::TaskProgress;
use crate::wire::{Envelope, StateKey, StateKind, TaskCheckpoint};

/// The most states that one transaction deletes.
const DELETIONS: usize = 10_000;
/// How long one read of the state topic waits, and the most records of one.
const READ_WAIT: Duration = Duration::from_millis(200);
const READ_RECORDS: usize = 10_000;

/// Why streams cannot be reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// A topic is read by a stream that is not to be reset, too. Both have one position.
    #[error(
        "the topic {topic:?} is also read by stream {other:?}, and all streams of a topic share its position: add \
         --stream {other}, or leave --stream out"
    )]
    SharedTopic {
        /// The topic.
        topic: String,
        /// The other stream.
        other: String,
    },
    /// An input topic does not exist.
    #[error("the input topic {0:?} does not exist; create it, or correct its name")]
    MissingTopic(String),
    /// Instances of the application run.
    #[error(
        "the consumer group {group:?} has {members} live members: stop all instances first (one that was killed counts \
         until kafka.session_timeout is over)"
    )]
    Running {
        /// The group.
        group: String,
        /// Its members.
        members: usize,
    },
    /// A checkpoint cannot be written.
    #[error("cannot write a task checkpoint: {0}")]
    Checkpoint(String),
    /// The broker's.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// What a reset does to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReset {
    /// The partition.
    pub partition: Partition,
    /// The position of the group so far.
    pub before: Option<i64>,
    /// Where its streams begin again.
    pub start: FirstStart,
    /// What the partition is to its streams.
    pub role: PartitionRole,
}

/// What a partition is to the streams that are reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionRole {
    /// Their input.
    Input,
    /// Input that is copied to a repartition topic.
    Source,
    /// A part of the repartition topic, whose copies so far are passed over.
    Copies,
}

/// What a reset does.
#[derive(Debug)]
pub struct Reset {
    /// The streams, by their index in the plan.
    streams: BTreeSet<usize>,
    /// The partitions.
    pub partitions: Vec<PartitionReset>,
    /// The keys of states that are deleted, by partition of the state topic.
    deleted: BTreeMap<i32, BTreeSet<Vec<u8>>>,
}

impl Reset {
    /// Finds out what is to be done so that some streams (by their index in the plan) are forecast again from `from`.
    /// `plan` has the partitions of the state topic. `wall` is the present time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Where it is not possible; the broker's.
    pub fn find(
        broker: &dyn Broker,
        plan: &Plan,
        streams: &BTreeSet<usize>,
        from: ForecastStart,
        wall: i64,
    ) -> Result<Self, ResetError> {
        require_stopped(broker, plan)?;
        let mut partitions = Vec::new();
        for stream in streams.iter().map(|stream| &plan.streams[*stream]) {
            if let Some(repartition) = &stream.repartition {
                partitions.extend(reset_repartitioned(broker, plan, stream, repartition, (from, wall))?);
            }
        }
        let direct = streams.iter().map(|stream| &plan.streams[*stream]).filter(|stream| stream.repartition.is_none());
        let topics: BTreeSet<&String> = direct.flat_map(|stream| &stream.topics).collect();
        for topic in topics {
            if let Some((_, other)) = plan.streams_of(topic).find(|(stream, _)| !streams.contains(stream)) {
                return Err(ResetError::SharedTopic { topic: topic.clone(), other: other.to_string() });
            }
            let count = broker.partitions(topic)?.ok_or_else(|| ResetError::MissingTopic(topic.clone()))?;
            for (partition, before) in positions(broker, plan, topic, count)? {
                let streams = plan.streams_of(topic).map(|(stream, _)| &plan.streams[stream]);
                let starts: Vec<FirstStart> = streams
                    .map(|stream| find_first_start(broker, stream, from, &partition, wall))
                    .collect::<Result<_, _>>()?;
                // They differ in how far back they learn.
                let Some(start) = starts.into_iter().min_by_key(|start| start.read_from) else { continue };
                partitions.push(PartitionReset { partition, before, start, role: PartitionRole::Input });
            }
        }
        let mut reset = Self { streams: streams.clone(), partitions, deleted: BTreeMap::new() };
        if broker.partitions(&plan.state_topic)?.is_some() {
            for number in 0..plan.state_partitions {
                reset.find_states(broker, plan, number)?;
            }
        }
        Ok(reset)
    }

    /// How many states are deleted.
    pub fn deleted(&self) -> usize {
        self.deleted.values().map(BTreeSet::len).sum()
    }

    /// Notes the keys of the states of the streams in one partition of the state topic.
    fn find_states(&mut self, broker: &dyn Broker, plan: &Plan, number: i32) -> Result<(), BrokerError> {
        let partition = Partition::new(&plan.state_topic, number);
        let end = stable_end(broker, &partition)?;
        let names: BTreeSet<&str> = self.streams.iter().map(|stream| &*plan.streams[*stream].engine.name).collect();
        let mut reader: Box<dyn Reader> = broker.reader(&partition, StartPosition::Earliest)?;
        let mut found = BTreeSet::new();
        while !reader.has_reached(end)? {
            let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
            for record in batch.iter() {
                let Some(key) = record.key else { continue };
                let Ok(StateKey::Series { stream, .. }) = StateKey::parse(key) else { continue };
                if !names.contains(&*stream) {
                    continue;
                }
                if record.payload.is_some() {
                    found.insert(key.to_vec());
                } else {
                    found.remove(key);
                }
            }
        }
        if !found.is_empty() {
            self.deleted.insert(number, found);
        }
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    /// Where an instance has started meanwhile; the broker's. A reset that has begun can be repeated.
    pub fn apply(&self, broker: &dyn Broker, plan: &Plan) -> Result<(), ResetError> {
        let mut publisher = broker.publisher(&format!("{}.reset", plan.app))?;
        require_stopped(broker, plan)?;
        for (number, keys) in &self.deleted {
            let keys: Vec<&Vec<u8>> = keys.iter().collect();
            for keys in keys.chunks(DELETIONS) {
                let deletion = |key: &&Vec<u8>| (*number, (*key).clone(), None);
                publish(&mut *publisher, plan, &keys.iter().map(deletion).collect::<Vec<_>>(), &[])?;
            }
        }
        let mut checkpoints = Vec::new();
        let mut positions = Vec::new();
        for PartitionReset { partition, start, role, .. } in &self.partitions {
            let FirstStart { read_from, emit_from, topic_fingerprint } = *start;
            let (topic, number) = (&*partition.topic, partition.number);
            for (stream, name) in plan.streams_of(topic) {
                let progress = TaskProgress { replay_from: read_from, emit_from, ..TaskProgress::default() };
                let fingerprint = plan.streams[stream].engine.network.fingerprint();
                let checkpoint = TaskCheckpoint { progress, fingerprint, topic_fingerprint, series: Some(0) };
                let body = checkpoint.to_bytes().map_err(|error| ResetError::Checkpoint(error.to_string()))?;
                let (mut key, mut payload) = (String::new(), Vec::new());
                StateKey::write_task(&mut key, &name, topic, number);
                Envelope::new(StateKind::Task, read_from, &body).encode(&mut payload);
                checkpoints.push((number % plan.state_partitions, key.into_bytes(), Some(payload)));
            }
            let partitions = self.partitions.iter().filter(|other| *other.partition.topic == *topic).count();
            let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
            let metadata = match role {
                PartitionRole::Source => copies_commit_metadata(partitions, emit_from),
                PartitionRole::Input | PartitionRole::Copies => commit_metadata(partitions),
            };
            positions.push((partition.clone(), CommittedOffset { offset: read_from, metadata }));
        }
        publish(&mut *publisher, plan, &checkpoints, &positions)
    }
}

/// What a reset does to the partitions of a stream that is repartitioned: its input is copied again from a time, `from`
/// as seen at `wall`, and what was copied before is passed over.
fn reset_repartitioned(
    broker: &dyn Broker,
    plan: &Plan,
    stream: &StreamPlan,
    repartition: &RepartitionPlan,
    (from, wall): (ForecastStart, i64),
) -> Result<Vec<PartitionReset>, ResetError> {
    let (mut found, of_sources) = (Vec::new(), stream.of_sources());
    for topic in &repartition.sources {
        let count = broker.partitions(topic)?.ok_or_else(|| ResetError::MissingTopic(topic.clone()))?;
        for (partition, before) in positions(broker, plan, topic, count)? {
            let start = find_first_start(broker, &of_sources, from, &partition, wall)?;
            found.push(PartitionReset { partition, before, start, role: PartitionRole::Source });
        }
    }
    let copies = broker.partitions(&repartition.topic)?.unwrap_or(0);
    for (partition, before) in positions(broker, plan, &repartition.topic, copies)? {
        let start = find_first_start(broker, stream, ForecastStart::Latest, &partition, wall)?;
        // Copies from before are not learnt from: those that are made again bring the same readings.
        let start = FirstStart { read_from: start.emit_from, ..start };
        found.push(PartitionReset { partition, before, start, role: PartitionRole::Copies });
    }
    Ok(found)
}

/// The partitions of a topic with the group's positions.
fn positions(
    broker: &dyn Broker,
    plan: &Plan,
    topic: &str,
    count: i32,
) -> Result<Vec<(Partition, Option<i64>)>, BrokerError> {
    let all: Vec<Partition> = (0..count).map(|number| Partition::new(topic, number)).collect();
    let before = broker.group_offsets(&plan.app, &all)?;
    let before = before.into_iter().map(|committed| committed.map(|committed| committed.offset));
    Ok(all.into_iter().zip(before).collect())
}

/// A record of the state topic: partition, key, and value; without one, a tombstone.
type StateRecord = (i32, Vec<u8>, Option<Vec<u8>>);

fn publish(
    publisher: &mut dyn Publisher,
    plan: &Plan,
    records: &[StateRecord],
    positions: &[(Partition, CommittedOffset)],
) -> Result<(), ResetError> {
    let records: Vec<ProducerRecord<'_>> = records
        .iter()
        .map(|(partition, key, payload)| ProducerRecord {
            topic: &plan.state_topic,
            partition: Some(*partition),
            key: Some(key),
            payload: payload.as_deref(),
            headers: &[],
        })
        .collect();
    Ok(publisher.publish_with_offsets(&records, &plan.app, positions)?)
}

fn require_stopped(broker: &dyn Broker, plan: &Plan) -> Result<(), ResetError> {
    match broker.group_members(&plan.app)? {
        0 => Ok(()),
        members => Err(ResetError::Running { group: plan.app.clone(), members }),
    }
}
