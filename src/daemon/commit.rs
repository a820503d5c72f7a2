//! Writing an epoch: forecasts, dead letters, due snapshots and input offsets in one transaction.

use std::collections::BTreeMap;

use super::{
    forecasts::ForecastWriter,
    partition::{PartitionLife, Served, input},
    plan::Plan,
};
use crate::{
    broker::{Batch, BrokerError, Member, Partition, ProducerRecord},
    engine::{Engine, TaskHandle, TaskId, Transaction},
    wire::{DeadLetter, Envelope, Rejection, StateKey, StateKind, TaskCheckpoint, TopicFingerprint},
};

/// A record that could not be used, or not wholly.
#[derive(Debug)]
pub struct Refused {
    /// Its batch in the inbox.
    pub batch: usize,
    /// Its place in the batch.
    pub record: usize,
    /// The stream that refused it, by its index in the plan.
    pub stream: usize,
    /// Why.
    pub refusal: Rejection,
}

/// What [`write`] needs.
pub struct Writing<'a> {
    /// The shard's plan.
    pub plan: &'a Plan,
    /// For the names of series and tasks.
    pub engine: &'a Engine,
    /// The seat to write through.
    pub member: &'a mut dyn Member,
    /// Turns forecasts into bytes.
    pub forecasts: &'a mut ForecastWriter,
    /// The partitions; what was written of each task is noted there.
    pub partitions: &'a mut BTreeMap<Partition, PartitionLife>,
    /// The input of the epoch.
    pub inbox: &'a [Batch],
    /// Which of it was refused.
    pub refused: &'a [Refused],
    /// What is to be written.
    pub epoch: &'a Transaction,
    /// Microseconds of the monotonic clock.
    pub now: u64,
    /// Room for the bytes of a state record.
    pub state: Vec<u8>,
}

/// Writes the epoch in one transaction and returns the bytes of forecasts, by the stream's index. On an error nothing
/// of it is visible, and the caller aborts and rolls back.
///
/// # Errors
/// What the broker answers; the transaction is then still to be aborted.
pub fn write(mut writing: Writing<'_>) -> Result<Vec<u64>, BrokerError> {
    writing.member.begin()?;
    let bytes = writing.forecasts()?;
    writing.dead_letters()?;
    writing.outlived()?;
    writing.snapshots()?;
    let records = writing.task_records()?;
    // All tasks of a partition have read as far.
    let moved = writing.epoch.tasks.iter().filter(|done| writing.served(done.task).is_some());
    let positions: BTreeMap<_, _> = moved.map(|done| (input(writing.engine.id(done.task)), done.to)).collect();
    writing.member.commit(&positions.into_iter().collect::<Vec<_>>())?;
    for (task, record) in records {
        let life = writing.partitions.get_mut(&input(writing.engine.id(task)));
        if let Some(served) = life.and_then(|life| life.served.iter_mut().find(|served| served.task == task)) {
            served.written = Some(record);
            served.written_at = writing.now;
            served.outlived.clear();
        }
    }
    Ok(bytes)
}

impl Writing<'_> {
    fn forecasts(&mut self) -> Result<Vec<u64>, BrokerError> {
        let mut bytes = vec![0; self.plan.streams.len()];
        let Self { plan, engine, member, forecasts, partitions, epoch, .. } = self;
        let mut payload = Vec::new();
        let streams: BTreeMap<TaskHandle, usize> =
            partitions.values().flat_map(|life| &life.served).map(|served| (served.task, served.stream)).collect();
        let (mut stream, mut topic) = (0, (None, ""));
        for row in &epoch.forecasts {
            if topic.0 != Some(row.task) {
                let Some(known) = streams.get(&row.task) else { continue };
                stream = *known;
                topic = (Some(row.task), &plan.streams[stream].forecasts_topic);
            }
            forecasts.write(engine, epoch, row, &mut payload);
            bytes[stream] += payload.len() as u64;
            member.send(ProducerRecord {
                topic: topic.1,
                partition: None,
                key: Some(engine.key(row.task, row.series).as_bytes()),
                payload: Some(&payload),
                headers: &[],
            })?;
        }
        Ok(bytes)
    }

    fn dead_letters(&mut self) -> Result<(), BrokerError> {
        self.letters_of_known()?;
        for refused in self.refused {
            let batch = &self.inbox[refused.batch];
            let Some(record) = batch.get(refused.record) else { continue };
            let letter = DeadLetter {
                rejection: &refused.refusal,
                stream: &self.plan.streams[refused.stream].engine.name,
                topic: &batch.partition.topic,
                partition: batch.partition.number,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                payload: record.payload,
            };
            send_letter(self.member, &self.plan.dead_letter_topic, &letter)?;
        }
        Ok(())
    }

    /// Those of second topics, of tasks that this epoch moves on: their books say that they were seen.
    fn letters_of_known(&mut self) -> Result<(), BrokerError> {
        for served in self.partitions.values().flat_map(|life| &life.served) {
            let Some(feed) = served.feed.as_ref().filter(|_| self.epoch.moved(served.task)) else { continue };
            for (offset, timestamp, letter) in &feed.letters {
                let letter = DeadLetter {
                    rejection: &letter.refusal,
                    stream: &self.plan.streams[served.stream].engine.name,
                    topic: &feed.partition.topic,
                    partition: feed.partition.number,
                    offset: *offset,
                    timestamp: *timestamp,
                    key: letter.key.as_deref(),
                    payload: letter.payload.as_deref(),
                };
                send_letter(self.member, &self.plan.dead_letter_topic, &letter)?;
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<(), BrokerError> {
        let mut key = String::new();
        for snapshot in &self.epoch.snapshots {
            let id = self.engine.id(snapshot.task);
            key.clear();
            StateKey::write_series(&mut key, &id.stream, &id.topic, id.partition, &snapshot.series);
            let state = Envelope::new(StateKind::Series, snapshot.position, &snapshot.body);
            self.send_state(id.partition, &key, Some(&state))?;
        }
        Ok(())
    }

    /// Deletes the snapshots of series of a former life of a topic, before any of the new one. The task's own record, which
    /// tells that there was one, is replaced in the same transaction.
    fn outlived(&mut self) -> Result<(), BrokerError> {
        let mut key = String::new();
        for done in &self.epoch.tasks {
            let id = self.engine.id(done.task);
            for series in self.served(done.task).map(|served| served.outlived.clone()).unwrap_or_default() {
                key.clear();
                StateKey::write_series(&mut key, &id.stream, &id.topic, id.partition, &series);
                self.send_state(id.partition, &key, None)?;
            }
        }
        Ok(())
    }

    /// Writes a record of the state topic, or a tombstone, beside the states of the same input partition.
    fn send_state(&mut self, partition: i32, key: &str, state: Option<&Envelope<'_>>) -> Result<(), BrokerError> {
        self.state.clear();
        if let Some(state) = state {
            state.encode(&mut self.state);
        }
        self.member.send(ProducerRecord {
            topic: &self.plan.state_topic,
            partition: Some(partition % self.plan.state_partitions),
            key: Some(key.as_bytes()),
            payload: state.map(|_| self.state.as_slice()),
            headers: &[],
        })
    }

    /// Where each task stands. An older record is never wrong, it only makes a successor replay more: so it is written when
    /// weights change, and else ten times in a checkpoint interval.
    fn task_records(&mut self) -> Result<Vec<(TaskHandle, TaskCheckpoint)>, BrokerError> {
        let mut written = Vec::new();
        for done in &self.epoch.tasks {
            let Some(served) = self.served(done.task) else { continue };
            let old = self.now.saturating_sub(served.written_at) >= self.plan.checkpoint_interval / 10;
            if !(done.checkpoint_due || old || served.written.is_none()) {
                continue;
            }
            let id = self.engine.id(done.task);
            let record = TaskCheckpoint {
                progress: done.progress.clone(),
                fingerprint: self.plan.streams[served.stream].engine.network.fingerprint(),
                topic_fingerprint: self.mark(id),
            };
            let mut key = String::new();
            StateKey::write_task(&mut key, &id.stream, &id.topic, id.partition);
            let body = record.to_bytes().map_err(|error| BrokerError::Rejected(error.to_string()))?;
            let state = Envelope::new(StateKind::Task, done.to, &body);
            self.send_state(id.partition, &key, Some(&state))?;
            written.push((done.task, record));
        }
        Ok(written)
    }

    fn served(&self, task: TaskHandle) -> Option<&Served> {
        let life = self.partitions.get(&input(self.engine.id(task)))?;
        life.served.iter().find(|served| served.task == task)
    }

    /// The newest record of the task's input that has a timestamp.
    fn mark(&self, id: &TaskId) -> Option<TopicFingerprint> {
        let of_task = |batch: &&Batch| batch.partition.topic == id.topic && batch.partition.number == id.partition;
        let batch = self.inbox.iter().rev().find(of_task)?;
        let record = batch.get(batch.len().checked_sub(1)?)?;
        record.timestamp.map(|timestamp| TopicFingerprint { offset: record.offset, timestamp })
    }
}

fn send_letter(member: &mut dyn Member, topic: &str, letter: &DeadLetter<'_>) -> Result<(), BrokerError> {
    let headers = letter.headers();
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    member.send(ProducerRecord {
        topic,
        partition: None,
        key: letter.truncated_key(),
        payload: letter.truncated_payload(),
        headers: &headers,
    })
}
