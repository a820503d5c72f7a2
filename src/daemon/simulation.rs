//! Simulation from a seed: replicas over the in-memory broker are killed, fenced, paused and met by faults at chosen
//! points while input, weights, compaction and time go on. What is committed in the end must equal, to the last byte,
//! what one engine makes of the same input, taken one record at a time, with the recorded changes of weights.
//!
//! `FORETIDE_SIMULATION_SEEDS` (default 1000) sets how many seeds run, `FORETIDE_SIMULATION_FIRST_SEED` where they begin:
//! `FORETIDE_SIMULATION_SEEDS=1 FORETIDE_SIMULATION_FIRST_SEED=17 cargo test --lib simulation` replays one.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_pcg::Pcg64Mcg;

use super::{
    forecasts::ForecastWriter,
    plan::{Plan, StreamPlan},
    shard::{Shard, Turn},
    status::Status,
};
use crate::{
    broker::{
        Broker, Outgoing, Partition, TopicPlan,
        memory::{Fault, MemoryCluster, Operation},
    },
    engine::{Acceptance, Engine, StreamSpec, TaskId},
    env::{Clock, ManualClock},
    forecast::ForecastSpec,
    nn::{Arrangement, CellKind, Network, NetworkSpec, Weights},
    series::{Aggregation, Calendar, Extra, FEATURES, SeriesSpec, Target},
    time::{EventTime, Grid},
    wire::{
        DecodeSpec, Decoder, Format, KeySource, Refusal, TimeFormat, TimeSource, dead_letter,
        model::{Manifest, PublishReason, Release},
        state::{Envelope, StateKey, TaskRecord},
    },
};

const INPUT: &str = "in";
const FORECASTS: &str = "out";
const STATE: &str = "state";
const MODELS: &str = "models";
const DEAD: &str = "dead";
const MINUTE: i64 = 60_000;

/// What a run commits, by partition and series: the forecasts in order; and the refused records.
#[derive(Debug, Default, PartialEq, Eq)]
struct Output {
    forecasts: BTreeMap<String, Vec<String>>,
    refused: BTreeMap<(i32, i64), String>,
}

struct World {
    seed: u64,
    random: Pcg64Mcg,
    cluster: MemoryCluster,
    clock: Arc<ManualClock>,
    plan: Arc<Plan>,
    replicas: Vec<Option<Replica>>,
    started: u32,
    published: BTreeMap<u64, Weights>,
    activations: BTreeMap<i32, BTreeMap<i64, u64>>,
    event_time: i64,
    input_left: u32,
}

struct Replica {
    shard: Shard,
    process: MemoryCluster,
    id: String,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let partitions = random.random_range(1..=3);
        let cluster = MemoryCluster::new();
        for (name, partitions, compacted) in [
            (INPUT, partitions, false),
            (FORECASTS, 2, false),
            (STATE, random.random_range(1..=partitions), true),
            (MODELS, 1, true),
            (DEAD, 1, false),
        ] {
            let plan = TopicPlan { name: name.into(), partitions, compacted, max_record_bytes: 1 << 20 };
            cluster.create(&plan).unwrap();
        }
        let state_partitions = cluster.partitions(STATE).unwrap().unwrap();
        let plan = Arc::new(plan(&mut random, state_partitions));
        Self {
            seed,
            random,
            cluster,
            clock: Arc::default(),
            plan,
            replicas: vec![None, None, None],
            started: 0,
            published: BTreeMap::new(),
            activations: BTreeMap::new(),
            event_time: 0,
            input_left: 400,
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
            stream: "load".into(),
            version,
            parent: version - 1,
            fingerprint: network.fingerprint(),
            created: 0,
            trained_until: None,
            champion_loss: None,
            challenger_loss: None,
            reason: PublishReason::Promotion,
        };
        let bytes = weights.to_bytes().unwrap();
        let records = Manifest::new(release, &bytes).records(&bytes).unwrap();
        let outgoing: Vec<_> = records
            .iter()
            .map(|(key, payload)| Outgoing {
                topic: MODELS,
                partition: Some(0),
                key: Some(key.as_bytes()),
                payload: Some(payload),
                headers: &[],
            })
            .collect();
        self.cluster.process().publisher("trainer").unwrap().publish(&outgoing).unwrap();
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
        let process = self.cluster.process();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let broker = Arc::new(process.clone());
        let joined = Shard::join(Arc::clone(&self.plan), broker, clock, Arc::new(Status::default()), &id);
        self.replicas[place] = joined.ok().map(|shard| Replica { shard, process, id });
    }

    /// One turn of a replica; one that cannot go on is dropped, and its seat times out.
    fn turn(&mut self, place: usize) -> Option<Turn> {
        let replica = self.replicas[place].as_mut()?;
        match replica.shard.turn() {
            Ok(turn) => Some(turn),
            Err(_) => {
                self.drop_replica(place);
                None
            }
        }
    }

    fn drop_replica(&mut self, place: usize) {
        if let Some(replica) = self.replicas[place].take() {
            replica.process.faults().crash();
            self.cluster.expire(&replica.id);
        }
    }

    fn inject(&mut self, place: usize) {
        let Some(replica) = &self.replicas[place] else { return };
        let (operation, faults): (_, &[Fault]) = *[
            (Operation::Begin, &[Fault::Retry, Fault::Fenced, Fault::Crashed][..]),
            (Operation::Send, &[Fault::Retry, Fault::Aborted, Fault::Fenced, Fault::Crashed]),
            (Operation::Commit, &[Fault::Retry, Fault::Aborted, Fault::Fenced, Fault::Crashed]),
            (Operation::CommitAnswer, &[Fault::Crashed]),
            (Operation::Abort, &[Fault::Retry, Fault::Crashed]),
            (Operation::Poll, &[Fault::Retry, Fault::Crashed]),
            (Operation::Committed, &[Fault::Retry, Fault::Crashed]),
            (Operation::Read, &[Fault::Retry, Fault::Crashed]),
        ]
        .choose(&mut self.random)
        .unwrap();
        let fault = *faults.choose(&mut self.random).unwrap();
        let plan = replica.process.faults();
        plan.at(operation, plan.calls(operation) + self.random.random_range(1..6), fault);
    }

    /// Notes what the state topic says of changes of weights, before compaction can take it away.
    fn note_activations(&mut self) {
        for partition in 0..self.plan.state_partitions {
            for record in self.cluster.committed_records(STATE, partition) {
                let (Some(key), Some(payload)) = (&record.key, &record.payload) else { continue };
                if let StateKey::Task { partition, .. } = StateKey::parse(key).unwrap() {
                    let task = TaskRecord::from_bytes(Envelope::decode(payload).unwrap().body).unwrap();
                    self.activations.entry(partition).or_default().extend(task.activations);
                }
            }
        }
    }

    fn run(&mut self) {
        let mut steps = 0;
        while self.input_left > 0 {
            steps += 1;
            assert!(steps < 20_000, "seed {}: no progress", self.seed);
            let place = self.random.random_range(0..self.replicas.len());
            match self.random.random_range(0..100) {
                0..=14 => self.append(),
                15..=16 if self.published.len() < 6 => self.publish(),
                17..=19 => self.inject(place),
                20 => self.drop_replica(place),
                21 => {
                    // The group gives up on a replica that lives on: a zombie.
                    if let Some(replica) = &self.replicas[place] {
                        self.cluster.expire_session(&replica.id);
                    }
                }
                22 => {
                    self.note_activations();
                    self.cluster.compact(STATE).unwrap();
                    self.cluster.compact(MODELS).unwrap();
                }
                23..=30 => self.clock.advance_millis(self.random.random_range(1..2_000)),
                _ if self.replicas[place].is_none() => self.start(place),
                _ => {
                    self.turn(place);
                }
            }
        }
        self.settle();
    }

    /// No more faults: everything that is left must be taken in.
    fn settle(&mut self) {
        let mut quiet = 0;
        let mut steps = 0;
        while quiet < 20 {
            steps += 1;
            assert!(steps < 5_000, "seed {}: the input is never used up", self.seed);
            self.clock.advance_millis(500);
            let place = steps % self.replicas.len();
            if let Some(replica) = &self.replicas[place] {
                replica.process.faults().clear();
            } else {
                self.start(place);
            }
            quiet = if self.turn(place) == Some(Turn::Idle) { quiet + 1 } else { 0 };
        }
        self.note_activations();
        let offsets = self.cluster.group_offsets("app");
        for number in 0..self.partitions() {
            let partition = Partition { topic: INPUT.into(), number };
            let end = self.cluster.offsets(&partition).unwrap().1;
            let committed = offsets.get(&partition).copied().unwrap_or(0);
            assert_eq!(committed, end, "seed {}: {partition} is not read to its end", self.seed);
        }
    }

    fn committed(&self) -> Output {
        let mut output = Output::default();
        for partition in 0..2 {
            for record in self.cluster.committed_records(FORECASTS, partition) {
                let series = String::from_utf8(record.key.unwrap()).unwrap();
                let payload = String::from_utf8(record.payload.unwrap()).unwrap();
                output.forecasts.entry(series).or_default().push(payload);
            }
        }
        for record in self.cluster.committed_records(DEAD, 0) {
            let header = |name| {
                let (_, value) = record.headers.iter().find(|(known, _)| known == name).unwrap();
                String::from_utf8(value.clone()).unwrap()
            };
            let place = (header(dead_letter::PARTITION).parse().unwrap(), header(dead_letter::OFFSET).parse().unwrap());
            let doubled = output.refused.insert(place, header(dead_letter::REASON));
            assert_eq!(doubled, None, "seed {}: a doubled dead letter for {place:?}", self.seed);
        }
        output
    }

    /// One engine, one record an epoch, no broker, no snapshots.
    fn undisturbed(&self) -> Output {
        let mut output = Output::default();
        let stream = &self.plan.streams[0];
        for partition in 0..self.partitions() {
            let mut engine = Engine::new(vec![stream.engine.clone()]).unwrap();
            for (&version, weights) in &self.published {
                engine.install("load", version, Arc::new(Network::new(&stream.engine.network, weights).unwrap()));
            }
            let id = TaskId { stream: "load".into(), topic: INPUT.into(), partition };
            let task = engine.open(id, 0).unwrap();
            let mut decoder = Decoder::new(stream.decode.clone()).unwrap();
            let mut writer = ForecastWriter::default();
            let activations = self.activations.get(&partition).cloned().unwrap_or_default();
            for record in self.cluster.committed_records(INPUT, partition) {
                engine.begin(true);
                if let Some(&version) = activations.get(&record.offset) {
                    engine.activate(task, version);
                }
                let mut refusal = None;
                let decoded = decoder.decode(
                    record.key.as_deref(),
                    Some(record.timestamp),
                    record.payload.as_deref(),
                    &mut |series: &str, time, value, covariates| match engine.accept(
                        task,
                        record.offset,
                        series,
                        time,
                        value,
                        covariates,
                    ) {
                        Acceptance::Late { by } => refusal = Some(Refusal::late(series, by)),
                        Acceptance::Duplicate => refusal = Some(Refusal::duplicate(series)),
                        other => assert_eq!(other, Acceptance::Taken),
                    },
                );
                if let Some(refusal) = decoded.err().or(refusal) {
                    output.refused.insert((partition, record.offset), refusal.reason.label().to_owned());
                }
                engine.advance(task, record.offset + 1);
                let epoch = engine.finish(0.0);
                let mut payload = Vec::new();
                for row in &epoch.forecasts {
                    writer.write(&engine, &epoch, row, &mut payload);
                    let series = engine.key(task, row.series).to_owned();
                    output.forecasts.entry(series).or_default().push(String::from_utf8(payload.clone()).unwrap());
                }
                engine.committed(&epoch);
            }
        }
        output
    }
}

fn plan(random: &mut Pcg64Mcg, state_partitions: i32) -> Plan {
    let levels = [0.1, 0.5, 0.9];
    let (horizon, season) = (random.random_range(1..=4), *[0, 4].choose(random).unwrap());
    let irregular = random.random_bool(0.2);
    let arrangement = *[Arrangement::ManyToMany, Arrangement::Iterated, Arrangement::ManyToOne].choose(random).unwrap();
    let target = *Target::ALL.choose(random).unwrap();
    let (steps, rhythm) = (horizon as usize, if irregular { 0 } else { season as usize });
    let forecast = match arrangement {
        Arrangement::ManyToOne => ForecastSpec::one(steps, &levels, rhythm, target, Some(0.5)),
        _ => ForecastSpec::new(steps, &levels, rhythm),
    };
    let engine = StreamSpec {
        name: "load".into(),
        series: SeriesSpec {
            grid: if irregular { Grid::Irregular } else { Grid::Regular { interval: MINUTE } },
            aggregation: Aggregation::Mean,
            readings_per_slot: (!irregular && random.random_bool(0.3)).then_some(2),
            allowed_lateness: *[0, MINUTE, 3 * MINUTE].choose(random).unwrap(),
            max_gap: 20,
            max_gap_millis: 20 * MINUTE,
            season: if irregular { 0 } else { season },
            horizon,
            burn_in: 5,
            calendar: Calendar::utc(),
            extra: Extra::default(),
        },
        forecast: forecast.unwrap(),
        network: NetworkSpec {
            cell: *CellKind::ALL.choose(random).unwrap(),
            layers: random.random_range(1..=2),
            hidden: 8,
            context: 4,
            inputs: FEATURES,
            horizon: horizon as usize,
            levels: levels.len(),
            seed: 7,
            arrangement,
            target,
            ..NetworkSpec::default()
        },
        max_series: 1_000,
    };
    let decode = DecodeSpec {
        format: Format::Json,
        key: KeySource::Record,
        time: TimeSource::Field { name: "time".into(), format: TimeFormat::EpochMillis },
        values: vec!["value".into()],
        covariates: Vec::new(),
        max_record_bytes: 1_000,
        max_key_bytes: 100,
        earliest: EventTime(-1_000 * MINUTE),
        latest: EventTime::MAX,
    };
    Plan {
        app: "app".into(),
        streams: vec![StreamPlan {
            engine,
            decode,
            topics: vec![INPUT.into()],
            forecasts_topic: FORECASTS.into(),
            training: None,
        }],
        state_topic: STATE.into(),
        state_partitions,
        models_topic: MODELS.into(),
        dead_letter_topic: DEAD.into(),
        commit_interval: 10_000,
        checkpoint_interval: *[0, 1_000_000, 20_000_000].choose(random).unwrap(),
        max_epoch_records: random.random_range(1..60),
        max_epoch_bytes: 1 << 20,
        max_poll_records: random.random_range(1..20),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

#[test]
fn simulation_commits_what_an_undisturbed_run_makes() {
    let first = setting("FORETIDE_SIMULATION_FIRST_SEED", 1);
    let (mut forecasts, mut refused, mut activations) = (0, 0, 0);
    for seed in first..first + setting("FORETIDE_SIMULATION_SEEDS", 1_000) {
        let mut world = World::new(seed);
        world.run();
        let (committed, undisturbed) = (world.committed(), world.undisturbed());
        for (series, expected) in &undisturbed.forecasts {
            let found = committed.forecasts.get(series).map_or(&[][..], Vec::as_slice);
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!(found, expected, "seed {seed}: forecast {place} of {series} differs");
            }
            assert_eq!(found.len(), expected.len(), "seed {seed}: {series} has lost or doubled forecasts");
        }
        assert_eq!(committed, undisturbed, "seed {seed}");
        forecasts += committed.forecasts.values().map(Vec::len).sum::<usize>();
        refused += committed.refused.len();
        activations += world.activations.values().map(BTreeMap::len).sum::<usize>();
    }
    println!("{forecasts} forecasts, {refused} refused records, {activations} changes of weights compared");
    assert!(forecasts > 0 && refused > 0, "the simulation shows nothing");
}
