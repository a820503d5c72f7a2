//! One seed: which events happen, in which order, to which replica.

mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_pcg::Pcg64Mcg;

use super::{
    Totals,
    outcome::{Changes, Output, Reference},
    repartition,
    replica::{PauseAttempt, PausedReplica, Replica},
    scenario::{
        self, COVARIATES, DEAD, FORECASTS, GROUP, INPUT, MINUTE, MODELS, MOST_PARTITIONS, SOURCE, STATE, STREAM,
    },
};
use crate::memory::{Delivery, Fault, MemoryCluster, Operation};
use foretide::{
    broker::{Broker, BrokerError, Partition, ProducerRecord},
    daemon::{
        plan::Plan,
        shard::{PollOutcome, Shard, ShardError, TransactionLimit},
        status::Status,
    },
    env::{Clock, ManualClock},
    nn::Weights,
    wire::{Manifest, PublishReason, Release},
};

/// Series of the input.
const SERIES: usize = 7;
/// Of so many seeds one repartitions its input.
const REPARTITIONED: u64 = 4;
/// Replicas that run side by side. One that resumes after another has taken its slot comes on top.
const REPLICAS: usize = 3;

pub struct World {
    random: Pcg64Mcg,
    cluster: MemoryCluster,
    clock: Arc<ManualClock>,
    plan: Arc<Plan>,
    replicas: Vec<Option<Replica>>,
    /// The limit of transactions that the newest shard of each slot has left, as a supervisor keeps it.
    limits: BTreeMap<usize, TransactionLimit>,
    paused: Vec<PausedReplica>,
    /// Transactional ids of dead processes that the broker has not noticed yet.
    unnoticed: Vec<String>,
    started: u32,
    ids: BTreeSet<String>,
    published: BTreeMap<u64, Weights>,
    changes: Changes,
    /// Offsets of the state topic's partitions at which the present life of the input topic began.
    state_begins: Vec<i64>,
    /// Whether the state topic is ever compacted. Its active segment never is.
    compacts: bool,
    event_time: i64,
    /// By how much the clock of each series is wrong.
    clock_errors: [i64; SERIES],
    /// The newest values that were sent, by series.
    sent: [Vec<String>; SERIES],
    input_left: u32,
    totals: Totals,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let cluster = scenario::cluster(&mut random);
        let state_partitions = cluster.partitions(STATE).unwrap().unwrap();
        let mut plan = scenario::plan(&mut random, state_partitions);
        if seed.is_multiple_of(REPARTITIONED) {
            scenario::repartition(&mut plan, &cluster, random.random_range(1..=3));
        }
        let plan = Arc::new(plan);
        let input_left = random.random_range(30..250);
        let compacts = random.random_bool(0.7);
        Self {
            random,
            cluster,
            clock: Arc::default(),
            plan,
            replicas: (0..REPLICAS).map(|_| None).collect(),
            limits: BTreeMap::new(),
            paused: Vec::new(),
            unnoticed: Vec::new(),
            started: 0,
            ids: BTreeSet::new(),
            published: BTreeMap::new(),
            changes: Changes::default(),
            state_begins: vec![0; state_partitions as usize],
            compacts,
            event_time: 0,
            clock_errors: [0; SERIES],
            sent: Default::default(),
            input_left,
            totals: Totals { seeds: 1, ..Totals::default() },
        }
    }

    /// Runs the seed, and compares what is committed with the reference run. Panics at the first difference.
    pub fn run(mut self) -> Totals {
        let mut steps = 0;
        while self.input_left > 0 {
            steps += 1;
            assert!(steps < 20_000, "no progress");
            self.step();
        }
        self.compare();
        self.totals
    }

    /// Ends all faults, and compares what was committed for the present input topic with the reference run.
    fn compare(&mut self) {
        self.settle();
        let committed = Output::committed(&self.cluster);
        let stream = &self.plan.streams[0];
        let Reference { mut output, ended } = Output::reference(&self.cluster, stream, &self.published, &self.changes);
        if let Some(repartition) = &stream.repartition {
            let (copies, rejected) = repartition::check_copies(&self.cluster, repartition);
            self.totals.copies += copies;
            output.rejected.extend(rejected);
        }
        committed.assert_is(&output);
        assert_eq!(committed.series, output.series, "the series in the state topic");
        self.totals.compared(&committed, &ended, &self.changes);
    }

    /// Deletes the topics of input and output while no replica runs, and creates them again. The state topic stays.
    fn recreate(&mut self) {
        self.compare();
        for place in 0..self.replicas.len() {
            if self.random.random_bool(0.5) { self.kill(place) } else { self.leave(place) }
        }
        self.expire_all();
        self.totals.recreations += 1;
        let source = self.plan.streams[0].repartition.as_ref().map(|_| SOURCE);
        for topic in [INPUT, FORECASTS, DEAD].into_iter().chain(source) {
            self.cluster.recreate_topic(topic, true).unwrap();
        }
        self.changes = Changes::default();
        let end = |number| self.cluster.offsets(&Partition { topic: STATE.into(), number }).unwrap().end;
        self.state_begins = (0..self.plan.state_partitions).map(end).collect();
    }

    fn step(&mut self) {
        let place = self.random.random_range(0..self.replicas.len());
        match self.random.random_range(0..200) {
            0..=22 => self.append(),
            165..=174 => self.append_covariates(),
            23..=25 if self.published.len() < 6 => self.publish(),
            // More versions at once than a shard keeps: replays need some that it has dropped.
            23 if self.published.len() < 30 => (0..10).for_each(|_| self.publish()),
            26..=39 => self.inject(place),
            40..=41 => self.kill(place),
            42 => self.leave(place),
            // The group gives up on a running replica: a zombie.
            43 => self.expire_running(place),
            44 => self.outage(),
            45 => self.grow(),
            164 if self.random.random_bool(0.3) => self.recreate(),
            46 => {
                self.changes.record(&self.cluster, &self.state_begins);
                if self.compacts {
                    self.cluster.compact(STATE).unwrap();
                }
                self.cluster.compact(MODELS).unwrap();
            }
            47..=62 => self.clock.advance_millis(self.random.random_range(1..2_000)),
            63..=66 => self.cluster.delay_markers(self.random.random_bool(0.5)),
            67..=74 => {
                self.cluster.write_marker(self.random.random_range(0..100));
            }
            75..=78 => self.disorder(place),
            79..=84 => self.poll_and_pause(place),
            85..=92 => self.disturb_paused(),
            93..=95 => self.notice_death(),
            _ if self.replicas[place].is_none() => self.start(place),
            _ => {
                self.poll(place);
            }
        }
    }

    fn partitions(&self) -> i32 {
        self.cluster.partitions(INPUT).unwrap().unwrap()
    }

    fn is_repartitioned(&self) -> bool {
        self.plan.streams[0].repartition.is_some()
    }

    /// Publishes weights as a trainer does. They are random, and differ enough to change every forecast.
    fn publish(&mut self) {
        let network = &self.plan.streams[0].engine.network;
        let mut tensors = Weights::initial(network).tensors().clone();
        for values in tensors.values_mut().map(|tensor| &mut tensor.values) {
            values.iter_mut().for_each(|value| *value += self.random.random_range(-0.3..0.3));
        }
        let weights = Weights::from_tensors(tensors);
        let version = self.published.last_key_value().map_or(0, |(&version, _)| version) + 1;
        let release = Release {
            stream: STREAM.into(),
            version,
            parent: version - 1,
            fingerprint: network.fingerprint(),
            created: 0,
            trained_until: None,
            champion_loss: None,
            challenger_loss: None,
            reason: PublishReason::Promotion,
            prior: scenario::prior(&self.plan.streams[0].engine.forecast, version),
        };
        let bytes = weights.to_bytes().unwrap();
        let records = Manifest::new(release, &bytes).records(&bytes).unwrap();
        let outgoing: Vec<_> = records
            .iter()
            .map(|(key, payload)| ProducerRecord {
                topic: MODELS,
                partition: Some(0),
                key: Some(key.as_bytes()),
                payload: Some(payload),
                headers: &[],
            })
            .collect();
        self.cluster.process().publisher("trainer").unwrap().publish(&outgoing).unwrap();
        // A shard that joins waits in one call until this transaction has ended.
        self.cluster.delay_markers(false);
        self.published.insert(version, weights);
    }

    fn start(&mut self, place: usize) {
        // Either the same replica restarts under its old id, or a new one takes its slot.
        let id = if self.random.random_bool(0.5) {
            format!("replica-{place}")
        } else {
            self.started += 1;
            format!("replica-{place}-{}", self.started)
        };
        self.ids.insert(id.clone());
        let process = self.cluster.process();
        if self.input_left > 0 && self.random.random_bool(0.05) {
            let operation = *[Operation::Offsets, Operation::Open, Operation::Read, Operation::Join]
                .choose(&mut self.random)
                .unwrap();
            let fault = *[Fault::Retry, Fault::Crashed].choose(&mut self.random).unwrap();
            process.faults().at(operation, 1, fault);
        }
        let clock: Arc<dyn Clock> = self.clock.clone();
        let broker = Arc::new(process.clone());
        let joined = Shard::join(Arc::clone(&self.plan), broker, clock, Arc::new(Status::default()), &id, &|| false);
        let limit = self.limits.get(&place).copied();
        self.replicas[place] = joined.ok().map(|mut shard| {
            limit.into_iter().for_each(|limit| shard.set_transaction_limit(limit));
            Replica { shard, process, id }
        });
    }

    fn poll(&mut self, place: usize) -> Option<PollOutcome> {
        let mut replica = self.replicas[place].take()?;
        let outcome = replica.shard.poll();
        self.after_poll(place, replica, outcome)
    }

    /// Puts a replica back into its slot, or drops one that cannot go on.
    fn after_poll(
        &mut self,
        place: usize,
        replica: Replica,
        outcome: Result<PollOutcome, ShardError>,
    ) -> Option<PollOutcome> {
        self.limits.insert(place, replica.shard.transaction_limit());
        match outcome {
            Ok(outcome) => {
                self.totals.commits += u64::from(outcome == PollOutcome::Committed);
                self.totals.aborts += u64::from(outcome == PollOutcome::RolledBack);
                for stats in replica.shard.restore_stats() {
                    assert_eq!((stats.rebuilt, stats.lost_series), (0, 0), "state is missing");
                }
                self.replicas[place] = Some(replica);
                Some(outcome)
            }
            Err(error) => {
                self.totals.crashes += u64::from(replica.process.faults().crashed());
                self.totals.fences += u64::from(matches!(error, ShardError::Broker(BrokerError::Fenced(_))));
                self.bury(&replica.process, replica.id);
                None
            }
        }
    }

    /// Kills a process. The broker notices at once, or later.
    fn bury(&mut self, process: &MemoryCluster, id: String) {
        process.faults().crash();
        if self.random.random_bool(0.6) {
            self.cluster.expire(&id);
        } else {
            self.unnoticed.push(id);
        }
    }

    fn notice_death(&mut self) {
        if !self.unnoticed.is_empty() {
            let id = self.unnoticed.swap_remove(self.random.random_range(0..self.unnoticed.len()));
            self.cluster.expire(&id);
        }
    }

    fn kill(&mut self, place: usize) {
        if let Some(replica) = self.replicas[place].take() {
            self.totals.kills += 1;
            self.bury(&replica.process, replica.id);
        }
    }

    fn leave(&mut self, place: usize) {
        if let Some(replica) = self.replicas[place].take() {
            self.totals.leaves += 1;
            let left = replica.shard.leave();
            if left.is_err() {
                self.bury(&replica.process, replica.id);
            }
        }
    }

    fn expire_running(&mut self, place: usize) {
        if let Some(replica) = &self.replicas[place] {
            self.totals.expiries += 1;
            self.cluster.expire_session(&replica.id);
        }
    }

    fn outage(&mut self) {
        self.totals.outages += 1;
        for replica in self.replicas.iter().flatten() {
            replica.process.faults().outage(self.random.random_range(1..10));
        }
    }

    fn grow(&mut self) {
        if self.is_repartitioned() {
            let more = self.cluster.partitions(SOURCE).unwrap().unwrap() + 1;
            if more <= MOST_PARTITIONS && self.random.random_bool(0.5) {
                self.totals.growths += 1;
                self.cluster.add_partitions(SOURCE, more).unwrap();
            }
            return;
        }
        let more = self.partitions() + 1;
        if more <= MOST_PARTITIONS && self.random.random_bool(0.5) {
            self.totals.growths += 1;
            self.cluster.add_partitions(COVARIATES, more).unwrap();
            self.cluster.add_partitions(INPUT, more).unwrap();
        }
    }

    /// Partitions deliver out of order among each other, in chunks, and sometimes nothing although there are records.
    fn disorder(&mut self, place: usize) {
        let Some(replica) = &self.replicas[place] else { return };
        for _ in 0..self.random.random_range(1..12) {
            let delivery =
                Delivery { skip: self.random.random_range(0..4), max_records: self.random.random_range(0..8) };
            replica.process.faults().deliver(delivery);
        }
    }

    fn inject(&mut self, place: usize) {
        let Some(replica) = &self.replicas[place] else { return };
        let (operation, faults) = *scenario::FAULTS.choose(&mut self.random).unwrap();
        let fault = *faults.choose(&mut self.random).unwrap();
        let plan = replica.process.faults();
        plan.at(operation, plan.calls(operation) + self.random.random_range(1..6), fault);
    }

    /// Runs a poll iteration that may pause. The slot is then free for another replica.
    fn poll_and_pause(&mut self, place: usize) {
        let Some(replica) = self.replicas[place].take() else { return };
        let (operation, _) = *scenario::FAULTS.choose(&mut self.random).unwrap();
        match replica.poll_and_pause(operation, self.random.random_range(1..4)) {
            PauseAttempt::Finished(replica, outcome) => {
                self.after_poll(place, *replica, outcome);
            }
            PauseAttempt::Paused(paused) => {
                self.totals.pauses += 1;
                self.paused.push(paused);
            }
        }
    }

    fn disturb_paused(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let chosen = self.random.random_range(0..self.paused.len());
        match self.random.random_range(0..8) {
            0 | 1 => {
                self.totals.expiries += 1;
                self.cluster.expire_session(&self.paused[chosen].id);
            }
            2 => {
                self.totals.expiries += 1;
                self.cluster.expire(&self.paused[chosen].id);
            }
            3 => {
                let paused = self.paused.swap_remove(chosen);
                self.totals.kills += 1;
                paused.process.faults().crash();
                let (replica, _) = paused.resume();
                self.bury(&replica.process, replica.id);
            }
            _ => {
                let paused = self.paused.swap_remove(chosen);
                self.resume(paused);
            }
        }
    }

    /// Resumes a replica in a free slot, or in a new one.
    fn resume(&mut self, paused: PausedReplica) {
        let (replica, outcome) = paused.resume();
        let free = self.replicas.iter().position(Option::is_none).unwrap_or(self.replicas.len());
        if free == self.replicas.len() {
            self.replicas.push(None);
        }
        self.after_poll(free, replica, outcome);
    }

    /// Expires every session. Running replicas then join again.
    fn expire_all(&mut self) {
        self.unnoticed.clear();
        for id in &self.ids {
            while self.cluster.expire(id) {}
        }
    }

    /// Ends all faults. The remaining input must then be processed.
    fn settle(&mut self) {
        self.cluster.delay_markers(false);
        while let Some(paused) = self.paused.pop() {
            self.resume(paused);
        }
        self.replicas.iter().flatten().for_each(|replica| replica.process.faults().clear());
        self.expire_all();
        let mut quiet = 0;
        let mut steps = 0;
        while quiet < 20 {
            steps += 1;
            assert!(steps < 5_000, "the input is never read to its end");
            self.clock.advance_millis(500);
            let place = steps % self.replicas.len();
            if self.replicas[place].is_none() {
                self.start(place);
            }
            let outcome = self.poll(place);
            if self.replicas[place].is_none() {
                self.expire_all();
            }
            quiet = if outcome == Some(PollOutcome::Idle) { quiet + 1 } else { 0 };
        }
        self.changes.record(&self.cluster, &self.state_begins);
        let offsets = self.cluster.group_offsets(GROUP);
        for number in 0..self.partitions() {
            let partition = Partition { topic: INPUT.into(), number };
            let end = match self.is_repartitioned() {
                true => self.cluster.committed_records(INPUT, number).last().map_or(0, |record| record.offset + 1),
                false => self.cluster.offsets(&partition).unwrap().end,
            };
            let committed = offsets.get(&partition).copied().unwrap_or(0);
            assert_eq!(committed, end, "{partition} is not read to its end");
        }
    }
}
