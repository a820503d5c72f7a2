//! A cluster with one plan, and shards that are polled by hand.

use std::{collections::BTreeMap, sync::Arc};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::{
    outcome::{Changes, Output},
    scenario::{self, DEAD, FORECASTS, INPUT, MINUTE, STATE},
};
use crate::memory::{MemoryCluster, StoredRecord};
use foretide::{
    broker::{Broker, Partition},
    daemon::{
        plan::Plan,
        shard::{PollOutcome, Shard},
        status::Status,
    },
    env::{Clock, ManualClock},
    settings::ForecastStart,
    wire::{Envelope, StateKey, TaskCheckpoint},
};

pub struct Fixture {
    pub cluster: MemoryCluster,
    pub plan: Arc<Plan>,
    pub clock: Arc<ManualClock>,
}

impl Fixture {
    pub fn new(change: impl Fn(&mut Plan)) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let cluster = scenario::cluster(&mut random);
        let mut plan = scenario::plan(&mut random, cluster.partitions(STATE).unwrap().unwrap());
        plan.standby_bytes = 0;
        let stream = &mut plan.streams[0].engine;
        (stream.series_ttl, stream.max_series) = (None, 1_000);
        plan.streams[0].start = ForecastStart::Earliest;
        change(&mut plan);
        Self { cluster, plan: Arc::new(plan), clock: Arc::default() }
    }

    pub fn partitions(&self) -> i32 {
        self.cluster.partitions(INPUT).unwrap().unwrap()
    }

    /// A reading of each of six series in each of some minutes.
    pub fn append(&self, minutes: std::ops::Range<i64>) {
        self.append_of(minutes, 0..6);
    }

    /// A reading of each of some series in each of some minutes.
    pub fn append_of(&self, minutes: std::ops::Range<i64>, series: std::ops::Range<i64>) {
        for minute in minutes {
            for series in series.clone() {
                let payload = format!("{{\"time\":{},\"value\":{}}}", minute * MINUTE, minute * 3 + series);
                let (key, partition) = (format!("s{series}"), series as i32 % self.partitions());
                let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
                self.cluster.append(INPUT, partition, key, payload, minute * MINUTE).unwrap();
            }
        }
    }

    pub fn join(&self, id: &str) -> (Shard, MemoryCluster) {
        let process = self.cluster.process();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (broker, status) = (Arc::new(process.clone()), Arc::new(Status::default()));
        (Shard::join(Arc::clone(&self.plan), broker, clock, status, id, &|| false).unwrap(), process)
    }

    /// Polls until nothing is left to do.
    pub fn settle(&self, shards: &mut [&mut Shard]) {
        let mut quiet = 0;
        for _ in 0..2_000 {
            self.clock.advance_millis(500);
            let outcomes: Vec<PollOutcome> = shards.iter_mut().map(|shard| shard.poll().unwrap()).collect();
            quiet = if outcomes.iter().all(|outcome| *outcome == PollOutcome::Idle) { quiet + 1 } else { 0 };
            if quiet == 20 {
                return;
            }
        }
        panic!("the shards never come to rest");
    }

    pub fn reference(&self) -> Output {
        let stream = &self.plan.streams[0];
        Output::reference(&self.cluster, stream, &Default::default(), &Changes::default()).output
    }

    /// Keys and positions of the newest snapshots of series in the state topic.
    pub fn stored(&self) -> BTreeMap<String, i64> {
        let records = (0..self.plan.state_partitions).flat_map(|number| self.cluster.committed_records(STATE, number));
        let mut found = BTreeMap::new();
        for record in records {
            let StateKey::Series { series, .. } = StateKey::parse(&record.key.unwrap()).unwrap() else { continue };
            match record.payload {
                Some(payload) => found.insert(series, Envelope::decode(&payload).unwrap().position),
                None => found.remove(&series),
            };
        }
        found
    }

    /// The recorded starts of the partitions.
    pub fn starts(&self) -> BTreeMap<i32, i64> {
        let records = (0..self.plan.state_partitions).flat_map(|number| self.cluster.committed_records(STATE, number));
        let start = |record: StoredRecord| {
            let StateKey::Task { partition, .. } = StateKey::parse(&record.key?).ok()? else { return None };
            let payload = record.payload?;
            let envelope = Envelope::decode(&payload).ok()?;
            Some((partition, TaskCheckpoint::from_bytes(envelope.body).ok()?.progress.emit_from))
        };
        records.filter_map(start).collect()
    }

    /// The highest offset at which a partition of the input ends.
    pub fn input_end(&self) -> i64 {
        let end = |number| self.cluster.offsets(&Partition { topic: INPUT.into(), number }).unwrap().end;
        (0..self.partitions()).map(end).max().unwrap()
    }

    /// Deletes the topics of input and output and creates them again. The state topic stays.
    pub fn recreate_topics(&self, forget_offsets: bool) {
        self.cluster.recreate_topic(INPUT, forget_offsets).unwrap();
        self.cluster.recreate_topic(FORECASTS, true).unwrap();
        self.cluster.recreate_topic(DEAD, true).unwrap();
    }

    /// A shard that joins, does what there is to do, and leaves or is killed.
    pub fn run_once(&self, id: &str, killed: bool) {
        let (mut shard, process) = self.join(id);
        self.settle(&mut [&mut shard]);
        if killed {
            process.faults().crash();
            drop(shard);
            self.cluster.expire(id);
        } else {
            shard.leave().unwrap();
        }
        Output::committed(&self.cluster).assert_is(&self.reference());
    }

    /// How many forecasts are committed.
    pub fn forecasts(&self) -> usize {
        Output::committed(&self.cluster).forecasts.values().map(Vec::len).sum()
    }
}
