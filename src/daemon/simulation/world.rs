//! The world of one seed: what happens, in which order, to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_pcg::Pcg64Mcg;

use super::{
    Totals,
    outcome::{Changes, Output},
    replica::{Attempt, Replica, Sleeper},
    stage::{self, GROUP, INPUT, KNOWN, MINUTE, MODELS, MOST_PARTITIONS, STATE, STREAM},
};
use crate::{
    broker::{
        Broker, BrokerError, Partition, ProducerRecord,
        memory::{Delivery, Fault, MemoryCluster, Operation},
    },
    daemon::{
        plan::Plan,
        shard::{Shard, ShardEnd, Turn},
        status::Status,
    },
    env::{Clock, ManualClock},
    nn::Weights,
    wire::{Envelope, Manifest, PublishReason, Release, StateKey, TaskCheckpoint},
};

/// So many replicas there are while nothing happens to them; those that wake up when others have taken their place come
/// on top.
const REPLICAS: usize = 3;

/// The faults that a call can meet. A crash after a call is one before the next, but where the call changes what others
/// see: there its answer is lost.
const TROUBLE: &[(Operation, &[Fault])] = &[
    (Operation::Begin, &[Fault::Retry, Fault::Fenced, Fault::Crashed]),
    (Operation::Send, &[Fault::Retry, Fault::Aborted, Fault::Fenced, Fault::Crashed]),
    (Operation::Commit, &[Fault::Retry, Fault::Aborted, Fault::Fenced, Fault::Crashed]),
    (Operation::CommitAnswer, &[Fault::Crashed]),
    (Operation::Abort, &[Fault::Retry, Fault::Crashed]),
    (Operation::AbortAnswer, &[Fault::Retry, Fault::Crashed]),
    (Operation::Poll, &[Fault::Retry, Fault::Crashed]),
    (Operation::Committed, &[Fault::Retry, Fault::Crashed]),
    (Operation::Offsets, &[Fault::Retry, Fault::Crashed]),
    (Operation::Open, &[Fault::Retry, Fault::Crashed]),
    (Operation::Read, &[Fault::Retry, Fault::Crashed]),
];

pub struct World {
    random: Pcg64Mcg,
    cluster: MemoryCluster,
    clock: Arc<ManualClock>,
    plan: Arc<Plan>,
    replicas: Vec<Option<Replica>>,
    sleepers: Vec<Sleeper>,
    /// Transactional ids whose holder is gone without the broker having noticed.
    gone: Vec<String>,
    started: u32,
    ids: BTreeSet<String>,
    published: BTreeMap<u64, Weights>,
    changes: Changes,
    event_time: i64,
    input_left: u32,
    totals: Totals,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let cluster = stage::cluster(&mut random);
        let state_partitions = cluster.partitions(STATE).unwrap().unwrap();
        let plan = Arc::new(stage::plan(&mut random, state_partitions));
        let input_left = random.random_range(30..250);
        Self {
            random,
            cluster,
            clock: Arc::default(),
            plan,
            replicas: (0..REPLICAS).map(|_| None).collect(),
            sleepers: Vec::new(),
            gone: Vec::new(),
            started: 0,
            ids: BTreeSet::new(),
            published: BTreeMap::new(),
            changes: Changes::default(),
            event_time: 0,
            input_left,
            totals: Totals { seeds: 1, ..Totals::default() },
        }
    }

    /// Lets everything happen, and holds what is committed against the undisturbed run.
    pub fn run(mut self) -> Totals {
        let mut steps = 0;
        while self.input_left > 0 {
            steps += 1;
            assert!(steps < 20_000, "no progress");
            self.step();
        }
        self.settle();
        let committed = Output::committed(&self.cluster);
        let stream = &self.plan.streams[0];
        committed.assert_is(&Output::undisturbed(&self.cluster, stream, &self.published, &self.changes));
        self.totals.forecasts = committed.forecasts.values().map(Vec::len).sum::<usize>() as u64;
        self.totals.refused = committed.refused.len() as u64;
        self.totals.weights = self.changes.activations.values().map(BTreeMap::len).sum::<usize>() as u64;
        self.totals.watermarks = self.changes.watermarks.values().map(BTreeMap::len).sum::<usize>() as u64;
        self.totals
    }

    fn step(&mut self) {
        let place = self.random.random_range(0..self.replicas.len());
        match self.random.random_range(0..200) {
            0..=22 => self.append(),
            165..=174 => self.tell(),
            23..=25 if self.published.len() < 6 => self.publish(),
            26..=39 => self.inject(place),
            40..=41 => self.kill(place),
            42 => self.leave(place),
            // The group gives up on a replica that lives on: a zombie.
            43 => self.expire_living(place),
            44 => self.outage(),
            45 => self.grow(),
            46 => {
                self.note_changes();
                self.cluster.compact(STATE).unwrap();
                self.cluster.compact(MODELS).unwrap();
            }
            47..=62 => self.clock.advance_millis(self.random.random_range(1..2_000)),
            63..=66 => self.cluster.delay_markers(self.random.random_bool(0.5)),
            67..=74 => {
                self.cluster.write_marker(self.random.random_range(0..100));
            }
            75..=78 => self.disorder(place),
            79..=84 => self.turn_asleep(place),
            85..=92 => self.disturb_sleeper(),
            93..=95 => self.notice_gone(),
            _ if self.replicas[place].is_none() => self.start(place),
            _ => {
                self.turn(place);
            }
        }
    }

    fn partitions(&self) -> i32 {
        self.cluster.partitions(INPUT).unwrap().unwrap()
    }

    /// Appends a few records, some of them bad, late, doubled or after a gap.
    fn append(&mut self) {
        for _ in 0..self.random.random_range(1..12_u32).min(self.input_left) {
            self.input_left -= 1;
            let series = self.random.random_range(0..7);
            let partition = series % self.partitions();
            self.event_time += match self.random.random_range(0..40) {
                0 => 90 * MINUTE,
                1..=8 => MINUTE,
                _ => self.random.random_range(0..20_000),
            };
            let late = if self.random.random_bool(0.1) { self.random.random_range(0..5 * MINUTE) } else { 0 };
            let value = f64::from(self.random.random_range(-1000..1000)) / 16.0;
            let payload = match self.random.random_range(0..25) {
                0 => Some("{\"time\":".to_owned()),
                1 => None,
                2 => Some(format!("{{\"time\":{},\"value\":\"x\"}}", self.event_time)),
                _ => Some(format!("{{\"time\":{},\"value\":{value}}}", self.event_time - late)),
            };
            let key = format!("s{series}");
            let payload = payload.as_deref().map(str::as_bytes);
            self.cluster.append(INPUT, partition, Some(key.as_bytes()), payload, self.event_time).unwrap();
        }
    }

    /// Tells of a few slots in advance, some of them again; a record may be of no use.
    fn tell(&mut self) {
        for _ in 0..self.random.random_range(1..6) {
            let series = self.random.random_range(0..7);
            let time = self.event_time + self.random.random_range(-2..12) * MINUTE;
            let [warm, price] = [0; 2].map(|_| f64::from(self.random.random_range(-100..100)) / 8.0);
            let payload = match self.random.random_range(0..12) {
                0 => "{\"time\":".to_owned(),
                1 => format!("{{\"time\":{time},\"price\":{price}}}"),
                _ => format!("{{\"time\":{time},\"warm\":{warm},\"price\":{price}}}"),
            };
            let (key, partition) = (format!("s{series}"), series % self.partitions());
            let stamp = self.event_time + self.random.random_range(-1..2) * MINUTE;
            self.cluster.append(KNOWN, partition, Some(key.as_bytes()), Some(payload.as_bytes()), stamp).unwrap();
        }
    }

    /// Publishes weights as a trainer does: made up, but such that every forecast shows them.
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
            prior: stage::prior(&self.plan.streams[0].engine.forecast, version),
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
        // Whoever takes a seat waits, in one call, until the weights are decided.
        self.cluster.delay_markers(false);
        self.published.insert(version, weights);
    }

    fn start(&mut self, place: usize) {
        // Either the same replica comes back under its old id, or a new one takes its place.
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
        self.replicas[place] = joined.ok().map(|shard| Replica { shard, process, id });
    }

    fn turn(&mut self, place: usize) -> Option<Turn> {
        let mut replica = self.replicas[place].take()?;
        let turn = replica.shard.turn();
        self.after_turn(place, replica, turn)
    }

    /// A replica that cannot go on is dropped; one that can has its place.
    fn after_turn(&mut self, place: usize, replica: Replica, turn: Result<Turn, ShardEnd>) -> Option<Turn> {
        match turn {
            Ok(turn) => {
                self.totals.commits += u64::from(turn == Turn::Committed);
                self.totals.aborts += u64::from(turn == Turn::RolledBack);
                self.replicas[place] = Some(replica);
                Some(turn)
            }
            Err(end) => {
                self.totals.crashes += u64::from(replica.process.faults().crashed());
                self.totals.fences += u64::from(matches!(end, ShardEnd::Broker(BrokerError::Fenced(_))));
                self.bury(&replica.process, replica.id);
                None
            }
        }
    }

    /// Ends a process. The broker notices at once, or later.
    fn bury(&mut self, process: &MemoryCluster, id: String) {
        process.faults().crash();
        if self.random.random_bool(0.6) {
            self.cluster.expire(&id);
        } else {
            self.gone.push(id);
        }
    }

    fn notice_gone(&mut self) {
        if !self.gone.is_empty() {
            let id = self.gone.swap_remove(self.random.random_range(0..self.gone.len()));
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

    fn expire_living(&mut self, place: usize) {
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
        let more = self.partitions() + 1;
        if more <= MOST_PARTITIONS && self.random.random_bool(0.5) {
            self.totals.growths += 1;
            self.cluster.add_partitions(KNOWN, more).unwrap();
            self.cluster.add_partitions(INPUT, more).unwrap();
        }
    }

    /// Partitions deliver out of turn, in pieces, and sometimes nothing comes where there is something.
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
        let (operation, faults) = *TROUBLE.choose(&mut self.random).unwrap();
        let fault = *faults.choose(&mut self.random).unwrap();
        let plan = replica.process.faults();
        plan.at(operation, plan.calls(operation) + self.random.random_range(1..6), fault);
    }

    /// A turn in the middle of which the replica may fall asleep; its place is then free for another.
    fn turn_asleep(&mut self, place: usize) {
        let Some(replica) = self.replicas[place].take() else { return };
        let (operation, _) = *TROUBLE.choose(&mut self.random).unwrap();
        match replica.turn_asleep(operation, self.random.random_range(1..4)) {
            Attempt::Ended(replica, turn) => {
                self.after_turn(place, *replica, turn);
            }
            Attempt::Asleep(sleeper) => {
                self.totals.pauses += 1;
                self.sleepers.push(sleeper);
            }
        }
    }

    fn disturb_sleeper(&mut self) {
        if self.sleepers.is_empty() {
            return;
        }
        let chosen = self.random.random_range(0..self.sleepers.len());
        match self.random.random_range(0..8) {
            0 | 1 => {
                self.totals.expiries += 1;
                self.cluster.expire_session(&self.sleepers[chosen].id);
            }
            2 => {
                self.totals.expiries += 1;
                self.cluster.expire(&self.sleepers[chosen].id);
            }
            3 => {
                let sleeper = self.sleepers.swap_remove(chosen);
                self.totals.kills += 1;
                sleeper.process.faults().crash();
                let (replica, _) = sleeper.wake();
                self.bury(&replica.process, replica.id);
            }
            _ => {
                let sleeper = self.sleepers.swap_remove(chosen);
                self.wake(sleeper);
            }
        }
    }

    /// One that wakes up finds a free place, or a new one.
    fn wake(&mut self, sleeper: Sleeper) {
        let (replica, turn) = sleeper.wake();
        let free = self.replicas.iter().position(Option::is_none).unwrap_or(self.replicas.len());
        if free == self.replicas.len() {
            self.replicas.push(None);
        }
        self.after_turn(free, replica, turn);
    }

    /// Notes what the state topic says of changes of weights and of what was seen in advance, before compaction can take it away.
    fn note_changes(&mut self) {
        for partition in 0..self.plan.state_partitions {
            for record in self.cluster.committed_records(STATE, partition) {
                let (Some(key), Some(payload)) = (&record.key, &record.payload) else { continue };
                if let StateKey::Task { partition, .. } = StateKey::parse(key).unwrap() {
                    let envelope = Envelope::decode(payload).unwrap();
                    let task = TaskCheckpoint::from_bytes(envelope.body).unwrap().progress;
                    let activations = task.activations.into_iter().map(|made| (made.position, made.version));
                    self.changes.activations.entry(partition).or_default().extend(activations);
                    let watermarks = task.watermarks.into_iter().map(|seen| (seen.position, seen.next));
                    self.changes.watermarks.entry(partition).or_default().extend(watermarks);
                }
            }
        }
    }

    /// Every session expires, whoever holds it: the living take new seats.
    fn expire_all(&mut self) {
        self.gone.clear();
        for id in &self.ids {
            while self.cluster.expire(id) {}
        }
    }

    /// No more faults: everything that is left must be taken in.
    fn settle(&mut self) {
        self.cluster.delay_markers(false);
        while let Some(sleeper) = self.sleepers.pop() {
            self.wake(sleeper);
        }
        self.replicas.iter().flatten().for_each(|replica| replica.process.faults().clear());
        self.expire_all();
        let mut quiet = 0;
        let mut steps = 0;
        while quiet < 20 {
            steps += 1;
            assert!(steps < 5_000, "the input is never used up");
            self.clock.advance_millis(500);
            let place = steps % self.replicas.len();
            if self.replicas[place].is_none() {
                self.start(place);
            }
            let turn = self.turn(place);
            if self.replicas[place].is_none() {
                self.expire_all();
            }
            quiet = if turn == Some(Turn::Idle) { quiet + 1 } else { 0 };
        }
        self.note_changes();
        let offsets = self.cluster.group_offsets(GROUP);
        for number in 0..self.partitions() {
            let partition = Partition { topic: INPUT.into(), number };
            let end = self.cluster.offsets(&partition).unwrap().end;
            let committed = offsets.get(&partition).copied().unwrap_or(0);
            assert_eq!(committed, end, "{partition} is not read to its end");
        }
    }
}
