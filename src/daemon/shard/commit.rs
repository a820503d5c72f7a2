//! Commits a transaction: forecasts, dead letters, due snapshots, task checkpoints and input offsets.

use std::collections::BTreeMap;

use super::record_limits::{Outbox, OversizedRecord};
use super::transaction::OpenTransaction;
use crate::broker::{Batch, BrokerError, Partition, ProducerRecord, Record};
use crate::daemon::forecasts::ForecastWriter;
use crate::daemon::partition_task::{PartitionTask, input_partition};
use crate::daemon::plan::Plan;
use crate::daemon::repartition::Repartitioners;
use crate::daemon::restore::AssignedPartition;
use crate::engine::{Engine, TaskHandle, TaskId, Transaction};
use crate::snapshot::parts_that_fit;
use crate::wire::{
    CopyOrigin, DeadLetter, EncodedDeadLetter, Envelope, Rejection, StateKey, StateKind, TaskCheckpoint,
    TopicFingerprint,
};

/// Checkpoints of a task per checkpoint interval. An older one is never wrong, but makes a successor replay more.
const CHECKPOINTS_PER_INTERVAL: u64 = 10;

/// What [`commit`] needs.
pub struct CommitInputs<'a> {
    pub plan: &'a Plan,
    pub engine: &'a Engine,
    pub outbox: Outbox<'a>,
    pub forecasts: &'a mut ForecastWriter,
    /// The assigned partitions. Their tasks' checkpoints are updated.
    pub partitions: &'a mut BTreeMap<Partition, AssignedPartition>,
    pub repartitioners: &'a Repartitioners,
    pub input: &'a OpenTransaction,
    pub output: &'a Transaction,
    /// Microseconds of the monotonic clock.
    pub now: u64,
}

/// What a committed transaction has written.
pub struct Written {
    /// Bytes of forecasts, by the stream's index in the plan.
    pub forecast_bytes: Vec<u64>,
    /// Records that were left out.
    pub oversized: Vec<OversizedRecord>,
}

/// Writes and commits a transaction.
///
/// # Errors
/// The broker's. Nothing of the transaction is then visible; the caller must abort it and roll back.
pub fn commit(mut inputs: CommitInputs<'_>) -> Result<Written, BrokerError> {
    inputs.outbox.member.begin()?;
    let forecast_bytes = inputs.send_forecasts()?;
    inputs.send_copies()?;
    inputs.send_dead_letters()?;
    inputs.delete_stale_snapshots()?;
    inputs.delete_ended_series()?;
    inputs.send_snapshots()?;
    let checkpoints = inputs.send_checkpoints()?;
    // Every task of a partition has advanced to the same offset.
    let advances = inputs.output.tasks.iter().filter(|advance| inputs.task(advance.task).is_some());
    let mut positions: BTreeMap<_, _> =
        advances.map(|advance| (input_partition(inputs.engine.id(advance.task)), advance.to)).collect();
    positions.extend(inputs.repartitioners.positions());
    inputs.repartitioners.set_commit_metadata(inputs.outbox.member);
    inputs.outbox.member.commit(&positions.into_iter().collect::<Vec<_>>())?;
    for (handle, checkpoint) in checkpoints {
        let assigned = inputs.partitions.get_mut(&input_partition(inputs.engine.id(handle)));
        if let Some(task) = assigned.and_then(|assigned| assigned.tasks.iter_mut().find(|task| task.handle == handle)) {
            task.checkpoint = Some(checkpoint);
            task.checkpoint_at = inputs.now;
            (task.stale_series, task.first_start) = (None, None);
        }
    }
    Ok(Written { forecast_bytes, oversized: inputs.outbox.oversized })
}

impl CommitInputs<'_> {
    fn send_forecasts(&mut self) -> Result<Vec<u64>, BrokerError> {
        let mut bytes = vec![0; self.plan.streams.len()];
        let Self { plan, engine, outbox, forecasts, partitions, input, output, .. } = self;
        let mut payload = Vec::new();
        let streams: BTreeMap<TaskHandle, usize> =
            partitions.values().flat_map(|assigned| &assigned.tasks).map(|task| (task.handle, task.stream)).collect();
        let (mut stream, mut topic) = (0, (None, ""));
        for row in &output.forecasts {
            if topic.0 != Some(row.task) {
                let Some(index) = streams.get(&row.task) else { continue };
                stream = *index;
                topic = (Some(row.task), &plan.streams[stream].forecasts_topic);
            }
            let is_copy = plan.streams[stream].repartition.is_some();
            let copied = if is_copy { copied_from(&input.inbox, engine.id(row.task), row.offset) } else { None };
            forecasts.write(engine, output, row, copied, &mut payload);
            let record = ProducerRecord {
                topic: topic.1,
                partition: None,
                key: Some(engine.key(row.task, row.series).as_bytes()),
                payload: Some(&payload),
                headers: &[],
            };
            if outbox.send(stream, record)? {
                bytes[stream] += payload.len() as u64;
            }
        }
        Ok(bytes)
    }

    /// Sends what is copied to repartition topics, and the dead letters of what cannot be.
    fn send_copies(&mut self) -> Result<(), BrokerError> {
        for (stream, topic, key, copy) in self.repartitioners.copies() {
            let (key, payload) = (Some(key), Some(copy));
            let record = ProducerRecord { topic, partition: None, key, payload, headers: &[] };
            self.outbox.send(stream, record)?;
        }
        for (stream, refused) in self.repartitioners.refused().filter(|(_, refused)| !refused.warm_up) {
            let letter = dead_letter(self.plan, stream, &refused.partition, refused.record(), &refused.rejection);
            send_dead_letter(&mut self.outbox, &self.plan.dead_letter_topic, (stream, &letter))?;
        }
        Ok(())
    }

    fn send_dead_letters(&mut self) -> Result<(), BrokerError> {
        self.send_covariate_dead_letters()?;
        for rejected in self.input.rejected.records.iter().filter(|rejected| !rejected.warm_up) {
            let batch = &self.input.inbox[rejected.batch];
            let Some(record) = batch.get(rejected.record) else { continue };
            let letter = dead_letter(self.plan, rejected.stream, &batch.partition, record, &rejected.rejection);
            send_dead_letter(&mut self.outbox, &self.plan.dead_letter_topic, (rejected.stream, &letter))?;
        }
        Ok(())
    }

    /// Sends the dead letters of future covariates, for the tasks whose checkpoints say that the records were read.
    fn send_covariate_dead_letters(&mut self) -> Result<(), BrokerError> {
        for task in self.partitions.values().flat_map(|assigned| &assigned.tasks) {
            let Some(feed) = task.feed.as_ref().filter(|_| self.output.moved(task.handle)) else { continue };
            for rejected in &feed.dead_letters {
                let (partition, record) = (&feed.partition, rejected.record());
                let letter = dead_letter(self.plan, task.stream, partition, record, &rejected.rejection);
                send_dead_letter(&mut self.outbox, &self.plan.dead_letter_topic, (task.stream, &letter))?;
            }
        }
        Ok(())
    }

    /// Sends the snapshots that are due. Of one that is too large the parts are sent that fit. Where that is not enough
    /// for a series, its older snapshot is deleted: it would not fit the input that a restore replays.
    fn send_snapshots(&mut self) -> Result<(), BrokerError> {
        let (mut key, mut buffer) = (String::new(), Vec::new());
        for snapshot in &self.output.snapshots {
            let id = self.engine.id(snapshot.task);
            key.clear();
            StateKey::write_series(&mut key, &id.stream, &id.topic, id.partition, &snapshot.series);
            buffer.clear();
            Envelope::new(StateKind::Series, snapshot.position, &snapshot.body).encode(&mut buffer);
            let stream = self.task(snapshot.task).map_or(0, |task| task.stream);
            let record = state_record(self.plan, id.partition, &key, Some(&buffer));
            let frame = record.batch_bytes() - snapshot.body.len();
            if self.outbox.send(stream, record)? {
                continue;
            }
            let room = self.outbox.limits.of(&self.plan.state_topic).saturating_sub(frame);
            buffer.clear();
            let fitting = parts_that_fit(&snapshot.body, room);
            if let Some(body) = &fitting {
                Envelope::new(StateKind::Series, snapshot.position, body).encode(&mut buffer);
            }
            let payload = fitting.is_some().then_some(&*buffer);
            self.outbox.member.send(state_record(self.plan, id.partition, &key, payload))?;
        }
        Ok(())
    }

    /// Deletes the snapshots of a topic that was deleted and recreated, before any of the new topic. The same
    /// transaction replaces the task checkpoint, which names the old topic.
    fn delete_stale_snapshots(&mut self) -> Result<(), BrokerError> {
        for advance in &self.output.tasks {
            let stale = self.task(advance.task).and_then(|task| task.stale_series.clone());
            for series in stale.unwrap_or_default() {
                self.delete_snapshot(advance.task, &series)?;
            }
        }
        Ok(())
    }

    /// Deletes the snapshots of series that have ended, before those of series of the same keys that have begun since.
    fn delete_ended_series(&mut self) -> Result<(), BrokerError> {
        let output = self.output;
        output.ended.iter().try_for_each(|ended| self.delete_snapshot(ended.task, &ended.series))
    }

    /// Deletes the snapshot of a series.
    fn delete_snapshot(&mut self, task: TaskHandle, series: &str) -> Result<(), BrokerError> {
        let (id, mut key) = (self.engine.id(task), String::new());
        StateKey::write_series(&mut key, &id.stream, &id.topic, id.partition, series);
        self.outbox.member.send(state_record(self.plan, id.partition, &key, None))
    }

    /// Sends the checkpoints that are due: those of tasks with new weights or watermarks or fewer series, and old ones.
    fn send_checkpoints(&mut self) -> Result<Vec<(TaskHandle, TaskCheckpoint)>, BrokerError> {
        let mut sent = Vec::new();
        for advance in &self.output.tasks {
            let Some(task) = self.task(advance.task) else { continue };
            let age = self.now.saturating_sub(task.checkpoint_at);
            let old = age >= self.plan.checkpoint_interval / CHECKPOINTS_PER_INTERVAL;
            let id = self.engine.id(advance.task);
            let known = task.checkpoint.as_ref().and_then(|checkpoint| checkpoint.topic_fingerprint);
            let first = task.first_start.and_then(|start| start.topic_fingerprint);
            let topic_fingerprint = self.topic_fingerprint(id).or(known).or(first);
            // Without a fingerprint a restart cannot tell whether the topic was recreated.
            let first = task.checkpoint.is_none() || topic_fingerprint.is_some() && known.is_none();
            if !(advance.checkpoint_due || old || first) {
                continue;
            }
            let checkpoint = TaskCheckpoint {
                progress: advance.progress.clone(),
                fingerprint: self.plan.streams[task.stream].engine.network.fingerprint(),
                topic_fingerprint,
                series: Some(self.engine.series_count(advance.task) as u64),
            };
            let mut key = String::new();
            StateKey::write_task(&mut key, &id.stream, &id.topic, id.partition);
            let body = checkpoint.to_bytes().map_err(|error| BrokerError::Rejected(error.to_string()))?;
            let mut payload = Vec::new();
            Envelope::new(StateKind::Task, advance.to, &body).encode(&mut payload);
            self.outbox.member.send(state_record(self.plan, id.partition, &key, Some(&payload)))?;
            sent.push((advance.task, checkpoint));
        }
        Ok(sent)
    }

    fn task(&self, handle: TaskHandle) -> Option<&PartitionTask> {
        let assigned = self.partitions.get(&input_partition(self.engine.id(handle)))?;
        assigned.tasks.iter().find(|task| task.handle == handle)
    }

    /// The newest input record of a task, if it has a timestamp.
    fn topic_fingerprint(&self, id: &TaskId) -> Option<TopicFingerprint> {
        let of_task = |batch: &&Batch| batch.partition.topic == id.topic && batch.partition.number == id.partition;
        let batch = self.input.inbox.iter().rev().find(of_task)?;
        let record = batch.get(batch.len().checked_sub(1)?)?;
        record.timestamp.map(|timestamp| TopicFingerprint { offset: record.offset, timestamp })
    }
}

/// The record that the record at `offset` of a task's input is a copy of.
fn copied_from<'a>(inbox: &'a [Batch], task: &TaskId, offset: i64) -> Option<CopyOrigin<'a>> {
    let of_task = |batch: &&Batch| batch.partition.number == task.partition && batch.partition.topic == task.topic;
    let copy = inbox.iter().filter(of_task).find_map(|batch| batch.at_offset(offset))?;
    CopyOrigin::read(copy.payload?)
}

/// A record of the state topic; without a payload, a tombstone. All states of an input partition are in one partition.
fn state_record<'a>(plan: &'a Plan, partition: i32, key: &'a str, payload: Option<&'a [u8]>) -> ProducerRecord<'a> {
    ProducerRecord {
        topic: &plan.state_topic,
        partition: Some(partition % plan.state_partitions),
        key: Some(key.as_bytes()),
        payload,
        headers: &[],
    }
}

fn dead_letter<'a>(
    plan: &'a Plan,
    stream: usize,
    partition: &'a Partition,
    record: Record<'a>,
    rejection: &'a Rejection,
) -> DeadLetter<'a> {
    let Record { offset, timestamp, key, payload } = record;
    let (stream, topic, partition) = (&plan.streams[stream].engine.name, &partition.topic, partition.number);
    DeadLetter { rejection, stream, topic, partition, offset, timestamp, key, payload }
}

/// Sends the dead letter of a stream (its index in the plan), truncated to what the topic accepts.
fn send_dead_letter(
    outbox: &mut Outbox<'_>,
    topic: &str,
    (stream, letter): (usize, &DeadLetter<'_>),
) -> Result<(), BrokerError> {
    let EncodedDeadLetter { key, payload, headers } = letter.encode(outbox.limits.of(topic));
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    outbox.send(stream, ProducerRecord { topic, partition: None, key, payload, headers: &headers })?;
    Ok(())
}
