//! The open transaction: the records that were polled, and what becomes of them until the commit or the rollback.

use std::collections::{BTreeMap, BTreeSet};

use super::intake::{Intake, Rejected};
use super::transaction_limit::TransactionLimit;
use crate::broker::{Batch, BrokerError, Partition};
use crate::daemon::plan::Plan;
use crate::daemon::restore::AssignedPartition;
use crate::engine::Engine;
use crate::wire::Decoder;

/// Snapshots of a stream with few records are spread over at most so many checkpoint intervals: the input must keep its
/// records for as long.
const MOST_INTERVALS: f64 = 10.0;

/// Input of the open transaction, and measures of the last one.
pub struct OpenTransaction {
    /// Polled records, in the order of their arrival.
    pub inbox: Vec<Batch>,
    /// What was not accepted of them.
    pub rejected: Rejected,
    /// Partitions with records that did not fit into the transaction. They are read again.
    unread: BTreeSet<Partition>,
    /// Records of the last transaction.
    records: usize,
    /// Bytes of slots and forecasts per record of the last transaction.
    bytes_per_record: f64,
    /// Bytes of slots and forecasts of the last transaction.
    bytes: usize,
    /// The most of them.
    pub limit: TransactionLimit,
    /// When the last transaction was committed, in microseconds of the monotonic clock.
    last_commit: u64,
}

impl OpenTransaction {
    /// `now` counts as the last commit.
    pub fn new(limit: TransactionLimit, now: u64) -> Self {
        Self {
            inbox: Vec::new(),
            rejected: Rejected::default(),
            unread: BTreeSet::new(),
            records: 0,
            bytes_per_record: 0.0,
            bytes: 0,
            limit,
            last_commit: now,
        }
    }

    /// The most records to poll. They fill a transaction to half of its bytes: what does not fit is read again.
    pub fn record_room(&self) -> usize {
        (self.limit.bytes() as f64 / 2.0 / self.bytes_per_record) as usize
    }

    /// Drops the records of revoked partitions.
    pub fn discard(&mut self, partitions: &[Partition]) {
        self.inbox.retain(|batch| !partitions.contains(&batch.partition));
    }

    /// Shows the engine the future covariates that have arrived, before the first observation of the transaction.
    pub fn show_future_covariates(
        &self,
        engine: &mut Engine,
        partitions: &mut BTreeMap<Partition, AssignedPartition>,
        now: u64,
    ) -> Result<(), BrokerError> {
        for (partition, assigned) in partitions.iter_mut().filter(|(_, assigned)| assigned.running()) {
            if assigned.tasks.iter().all(|task| task.feed.is_none()) {
                continue;
            }
            let mut batches = self.inbox.iter().filter(|batch| batch.partition == *partition).peekable();
            if batches.peek().is_none() {
                continue;
            }
            let newest = batches.flat_map(Batch::iter).filter_map(|record| record.timestamp).max();
            for task in &mut assigned.tasks {
                if let Some(feed) = &mut task.feed {
                    feed.show_arrived(engine, task.handle, newest, now)?;
                }
            }
        }
        Ok(())
    }

    /// Passes the polled records to the engine, as far as the transaction may hold them. The others leave the inbox.
    pub fn process(
        &mut self,
        plan: &Plan,
        engine: &mut Engine,
        decoders: &mut [Decoder],
        partitions: &BTreeMap<Partition, AssignedPartition>,
    ) {
        let mut intake = Intake { plan, max_bytes: self.limit.bytes(), engine, decoders, partitions };
        let accepted = intake.accept(&mut self.inbox, &mut self.rejected);
        for assigned in partitions.values().filter(|assigned| assigned.awaits_commit()) {
            // Without input the task advances to where it is, so that the commit writes its checkpoint.
            assigned.tasks.iter().for_each(|task| engine.advance(task.handle, engine.position(task.handle)));
        }
        self.unread = accepted.unread;
        self.records = accepted.records;
        self.bytes = engine.open_bytes();
        self.bytes_per_record = self.bytes as f64 / accepted.records.max(1) as f64;
    }

    /// The share of the changed series whose snapshots are due at a commit at `now`. It shrinks with the transaction:
    /// snapshots are a part of it.
    pub fn snapshot_share(&self, plan: &Plan, now: u64) -> f64 {
        due_share(plan, now.saturating_sub(self.last_commit), self.records) * self.limit.share()
    }

    /// The transaction was not committed within so many microseconds: the next one is smaller.
    pub fn timed_out(&mut self, micros: u64) {
        self.limit.timed_out(self.bytes, micros);
    }

    /// Begins the next transaction after a commit at `now`, which took so many microseconds. Returns the partitions to
    /// be read again.
    pub fn committed(&mut self, now: u64, micros: u64) -> BTreeSet<Partition> {
        self.limit.committed(self.bytes, micros);
        self.last_commit = now;
        self.inbox.clear();
        self.rejected.clear();
        std::mem::take(&mut self.unread)
    }

    /// Begins the next transaction after a rollback. Returns the partitions to be read again.
    pub fn rolled_back(&mut self) -> BTreeSet<Partition> {
        self.rejected.clear();
        let mut touched = std::mem::take(&mut self.unread);
        touched.extend(self.inbox.drain(..).map(|batch| batch.partition));
        touched
    }
}

/// The share of the changed series that a transaction of so many microseconds and records snapshots.
///
/// A restore replays the records since the oldest snapshot. All snapshots are written once in a checkpoint interval,
/// or, where few records come, once in as many records as are quickly replayed.
fn due_share(plan: &Plan, micros: u64, records: usize) -> f64 {
    let Plan { checkpoint_interval, checkpoint_records, .. } = *plan;
    let of_interval = if checkpoint_interval == 0 { 1.0 } else { micros as f64 / checkpoint_interval as f64 }.min(1.0);
    if checkpoint_interval == 0 || checkpoint_records == 0 {
        return of_interval;
    }
    (records as f64 / checkpoint_records as f64).clamp(of_interval / MOST_INTERVALS, of_interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::specs;
    use crate::settings::{self, Millis};

    fn plan(checkpoint_interval: Millis, checkpoint_records: u64) -> Plan {
        let stream = "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\nvalues = [\"v\"]\ninterval = \"1m\"";
        let mut settings = settings::parse("f.toml", stream, []).unwrap();
        (settings.checkpoint_interval, settings.checkpoint_records) = (checkpoint_interval, checkpoint_records);
        specs::plan(&settings).unwrap()
    }

    #[test]
    fn all_snapshots_are_written_once_in_an_interval_or_in_so_many_records() {
        let plan = |records| plan(Millis::seconds(60), records);
        let is_near = |share: f64, expected: f64| (share - expected).abs() < 1e-12;
        let second = 1_000_000;
        // Many records: a second is a sixtieth of the interval.
        assert!(is_near(due_share(&plan(1_000), second, 20), 1.0 / 60.0));
        // Fewer: the records count.
        assert!(is_near(due_share(&plan(1_000), second, 10), 0.01));
        // Hardly any: after ten intervals all are written.
        assert!(is_near(due_share(&plan(1_000), second, 0), 1.0 / 600.0));
        assert!(is_near(due_share(&plan(0), second, 0), 1.0 / 60.0));
        assert_eq!(due_share(&plan(1_000), 6_000 * second, 5_000), 1.0);
    }

    #[test]
    fn without_an_interval_each_transaction_writes_all() {
        assert_eq!(due_share(&plan(Millis(0), 1_000), 0, 0), 1.0);
    }
}
