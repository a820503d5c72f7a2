//! Single restores: from a standby copy, of a recreated topic, after retention or compaction, past unusable records,
//! without a state.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::{
    outcome::{Changes, Output},
    scenario::{self, COVARIATES, DEAD, FORECASTS, GROUP, INPUT, MINUTE, MODELS, STATE, STREAM},
};
use crate::memory::MemoryCluster;
use foretide::{
    broker::{Broker, Partition, ProducerRecord},
    daemon::{
        plan::Plan,
        shard::{PollOutcome, Shard, ShardError},
        status::Status,
    },
    env::{Clock, ManualClock},
    settings::ForecastStart,
    wire::{Envelope, StateKey, StateKind, TaskCheckpoint},
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
    fn append_of(&self, minutes: std::ops::Range<i64>, series: std::ops::Range<i64>) {
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
        Output::reference(&self.cluster, stream, &Default::default(), &Changes::default())
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
        let start = |record: crate::memory::StoredRecord| {
            let StateKey::Task { partition, .. } = StateKey::parse(&record.key?).ok()? else { return None };
            let payload = record.payload?;
            let envelope = Envelope::decode(&payload).ok()?;
            Some((partition, TaskCheckpoint::from_bytes(envelope.body).ok()?.progress.emit_from))
        };
        records.filter_map(start).collect()
    }

    /// The highest offset at which a partition of the input ends.
    fn input_end(&self) -> i64 {
        let end = |number| self.cluster.offsets(&Partition { topic: INPUT.into(), number }).unwrap().end;
        (0..self.partitions()).map(end).max().unwrap()
    }

    /// Deletes the topics of input and output and creates them again. The state topic stays.
    fn recreate_topics(&self, forget_offsets: bool) {
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
}

/// A transaction hardly exceeds its limit. Records beyond it are read again, and none is lost or duplicated.
#[test]
fn records_beyond_the_limit_of_a_transaction_are_read_again() {
    let fixture = Fixture::new(|plan| {
        (plan.max_transaction_records, plan.max_poll_records, plan.max_transaction_bytes) = (10_000, 10_000, 8_000);
    });
    fixture.append(0..60);
    let (mut shard, _) = fixture.join("only");
    let mut transactions = 0;
    for _ in 0..500 {
        fixture.clock.advance_millis(500);
        transactions += usize::from(shard.poll().unwrap() == PollOutcome::Committed);
    }
    assert!(
        transactions > 12,
        "360 forecasts of a kilobyte fit into {transactions} transactions of 8 kB and 16 records"
    );
    Output::committed(&fixture.cluster).assert_is(&fixture.reference());
}

/// A takeover does not read again what a standby has copied, and forecasts the same.
#[test]
fn a_takeover_by_a_warm_standby_reads_only_new_records() {
    for standby_bytes in [0, 1 << 30] {
        let fixture = Fixture::new(|plan| (plan.standby_bytes, plan.checkpoint_interval) = (standby_bytes, 0));
        let (mut owner, dying) = fixture.join("owner");
        fixture.append(0..40);
        fixture.settle(&mut [&mut owner]);
        let (mut standby, _) = fixture.join("standby");
        fixture.settle(&mut [&mut owner, &mut standby]);
        fixture.append(40..42);
        fixture.settle(&mut [&mut owner, &mut standby]);
        assert_eq!(standby.standby_copy_bytes() > 0, standby_bytes > 0);
        dying.faults().crash();
        drop(owner);
        fixture.cluster.expire("owner");
        fixture.settle(&mut [&mut standby]);
        fixture.append(42..50);
        fixture.settle(&mut [&mut standby]);
        Output::committed(&fixture.cluster).assert_is(&fixture.reference());
        let warm: usize = standby.restore_stats().iter().map(|stats| stats.from_standby).sum();
        assert_eq!(warm > 0, standby_bytes > 0, "copies are used where there are any");
    }
}

/// The series of a recreated topic start empty. Their stale snapshots are deleted, so that they never come back: not at
/// a later restart, not once the new topic has outgrown the old one, and not where the state topic is never compacted.
#[test]
fn a_recreated_topic_starts_with_empty_series() {
    // The new topic is empty, shorter than the old one, or has outgrown it before a shard reads it.
    for (offsets_forgotten, minutes) in [(true, 0), (true, 5), (true, 60), (false, 0), (false, 5)] {
        for (killed, compacted) in [(false, false), (true, false), (false, true)] {
            let fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
            fixture.append(0..40);
            fixture.run_once("first", killed);
            assert_eq!(fixture.stored().len(), 6);

            for life in 1..3 {
                fixture.recreate_topics(offsets_forgotten);
                fixture.append(life * 1_000..life * 1_000 + minutes);
                for part in 0..4 {
                    fixture.run_once("next", killed);
                    let (stored, end) = (fixture.stored(), fixture.input_end());
                    assert!(stored.values().all(|position| *position <= end), "{stored:?} of an input of {end}");
                    if compacted {
                        fixture.cluster.compact(STATE).unwrap();
                    }
                    // The first restart finds nothing new. Then the topic grows beyond the old one.
                    if part > 0 {
                        let from = life * 1_000 + 100 * part;
                        fixture.append(from..from + 25);
                    }
                }
                fixture.run_once("last", killed);
            }
        }
    }
}

/// That a topic was recreated is found out once, even where no record has come since.
#[test]
fn an_empty_recreated_topic_is_recognised_once() {
    let fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
    fixture.append(0..40);
    fixture.run_once("first", false);
    fixture.recreate_topics(true);
    fixture.run_once("second", false);
    assert!(fixture.stored().is_empty());
    let (mut shard, _) = fixture.join("third");
    fixture.settle(&mut [&mut shard]);
    let committed = fixture.cluster.group_offsets(GROUP);
    assert_eq!(committed.len() as i32, fixture.partitions(), "{committed:?}");
    assert!(committed.values().all(|offset| *offset == 0));
    assert!(shard.restore_stats().iter().all(|stats| stats.snapshots == 0));
}

/// Where retention has deleted input that a restore needs, the restore counts it, and every series continues.
#[test]
fn retention_in_the_replay_range_is_counted_and_stops_nothing() {
    // Snapshots are never due, so that all input would have to be replayed.
    let fixture = Fixture::new(|plan| plan.checkpoint_interval = u64::MAX);
    let (mut shard, _) = fixture.join("first");
    fixture.append(0..40);
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    for number in 0..fixture.partitions() {
        let partition = Partition { topic: INPUT.into(), number };
        let end = fixture.cluster.offsets(&partition).unwrap().end;
        fixture.cluster.truncate_before(&partition, end / 2).unwrap();
    }
    let before = forecasts(&fixture);
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    assert!(
        shard.restore_stats().iter().all(|stats| stats.lost > 0 && stats.replayed > 0),
        "{:?}",
        shard.restore_stats()
    );
    fixture.append(40..45);
    fixture.settle(&mut [&mut shard]);
    assert!(forecasts(&fixture) > before);
}

fn forecasts(fixture: &Fixture) -> usize {
    Output::committed(&fixture.cluster).forecasts.values().map(Vec::len).sum()
}

/// Tombstones, and records of removed streams, of other partitions, of foreign origin or damaged ones are skipped.
/// Damaged state is rebuilt from the input.
#[test]
fn unusable_records_of_the_state_topic_are_skipped() {
    let fixture = Fixture::new(|plan| plan.checkpoint_interval = 1_000_000);
    let (mut shard, _) = fixture.join("first");
    fixture.append(0..40);
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    let state = |key: &str, payload: Option<&[u8]>| {
        for number in 0..fixture.plan.state_partitions {
            fixture.cluster.append(STATE, number, Some(key.as_bytes()), payload, 0).unwrap();
        }
    };
    let mut body = Vec::new();
    Envelope::new(StateKind::Series, 1, b"of a removed stream").encode(&mut body);
    state(&format!("1/series/removed/{INPUT}/0/s0"), Some(&body));
    state(&format!("1/task/removed/{INPUT}/0"), Some(&body));
    state(&format!("1/series/{STREAM}/{INPUT}/0/gone"), None);
    state(&format!("1/series/{STREAM}/another/0/s0"), Some(&body));
    state("written by another program", Some(b"anything"));
    state(&format!("1/series/{STREAM}/{INPUT}/0/new"), Some(b"FTST damaged"));
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    let rejected: usize = shard.restore_stats().iter().map(|stats| stats.rejected).sum();
    assert!(rejected > 0);
    fixture.append(40..45);
    fixture.settle(&mut [&mut shard]);
    Output::committed(&fixture.cluster).assert_is(&fixture.reference());
}

/// Waiting for an open transaction on the models topic ends when the process stops.
#[test]
fn an_open_transaction_on_the_models_topic_does_not_delay_a_stop() {
    let fixture = Fixture::new(|_| {});
    fixture.cluster.delay_markers(true);
    let record =
        ProducerRecord { topic: MODELS, partition: Some(0), key: Some(b"k"), payload: Some(b"v"), headers: &[] };
    fixture.cluster.publisher("trainer").unwrap().publish(&[record]).unwrap();
    let calls = Cell::new(0);
    let stopped = || {
        calls.set(calls.get() + 1);
        calls.get() > 5
    };
    let join = |stopped: &dyn Fn() -> bool| {
        let clock: Arc<dyn Clock> = fixture.clock.clone();
        let (broker, status) = (Arc::new(fixture.cluster.process()), Arc::new(Status::default()));
        Shard::join(Arc::clone(&fixture.plan), broker, clock, status, "first", stopped)
    };
    assert!(matches!(join(&stopped), Err(ShardError::Stopped)));
    assert_eq!(calls.get(), 6, "it asks each time round");
    fixture.cluster.delay_markers(false);
    assert!(join(&|| false).is_ok());
}

/// The state topic is emptied, or an input partition's state is no longer where it is looked for. The input is read
/// again without forecasting it twice, and the forecasts go on as if nothing had happened.
#[test]
fn missing_state_is_rebuilt_from_the_input() {
    for emptied in [true, false] {
        let mut fixture = Fixture::new(|plan| plan.state_partitions = 1);
        for topic in [INPUT, COVARIATES] {
            fixture.cluster.add_partitions(topic, 3).unwrap();
        }
        let (mut shard, _) = fixture.join("first");
        fixture.append(0..40);
        fixture.settle(&mut [&mut shard]);
        shard.leave().unwrap();
        let moved = if emptied {
            fixture.cluster.recreate_topic(STATE, false).unwrap();
            fixture.partitions()
        } else {
            // The state of partition n is looked for in partition n % 2 from now on.
            fixture.cluster.add_partitions(STATE, 2).unwrap();
            fixture.plan = Arc::new(Plan { state_partitions: 2, ..(*fixture.plan).clone() });
            1
        };
        let (mut shard, _) = fixture.join("second");
        fixture.settle(&mut [&mut shard]);
        let stats = shard.restore_stats();
        assert_eq!(stats.iter().map(|stats| stats.rebuilt).sum::<usize>() as i32, moved, "{stats:?}");
        assert!(stats.iter().all(|stats| stats.lost == 0), "{stats:?}");
        fixture.append(40..50);
        fixture.settle(&mut [&mut shard]);
        Output::committed(&fixture.cluster).assert_is(&fixture.reference());
    }
}

/// The state topic has lost the snapshots of series that have been silent since; the checkpoint is newer and still
/// there.
#[test]
fn missing_snapshots_of_silent_series_are_noticed_and_rebuilt() {
    let fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
    let (mut shard, _) = fixture.join("first");
    fixture.append(0..40);
    fixture.settle(&mut [&mut shard]);
    let state = |number| Partition { topic: STATE.into(), number };
    let partitions = 0..fixture.plan.state_partitions;
    let ends: Vec<i64> =
        partitions.clone().map(|number| fixture.cluster.offsets(&state(number)).unwrap().end).collect();
    // One series of each partition goes on.
    fixture.append_of(40..45, 0..i64::from(fixture.partitions()));
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    for (number, end) in partitions.zip(ends) {
        fixture.cluster.truncate_before(&state(number), end).unwrap();
    }
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    let stats = shard.restore_stats();
    assert!(stats.iter().all(|stats| stats.rebuilt == 1 && stats.lost_series == 0), "{stats:?}");
    fixture.append(45..50);
    fixture.settle(&mut [&mut shard]);
    Output::committed(&fixture.cluster).assert_is(&fixture.reference());
}

/// What retention has deleted of the input of a missing state is counted.
#[test]
fn what_cannot_be_rebuilt_is_counted() {
    let fixture = Fixture::new(|_| {});
    let (mut shard, _) = fixture.join("first");
    fixture.append(0..40);
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    fixture.cluster.recreate_topic(STATE, false).unwrap();
    for number in 0..fixture.partitions() {
        fixture.cluster.truncate_before(&Partition { topic: INPUT.into(), number }, 30).unwrap();
    }
    let before = forecasts(&fixture);
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    let stats = shard.restore_stats();
    assert!(stats.iter().all(|stats| (stats.rebuilt, stats.lost) == (1, 30)), "{stats:?}");
    assert_eq!(forecasts(&fixture), before, "a replay writes nothing");
    fixture.append(40..45);
    fixture.settle(&mut [&mut shard]);
    assert!(forecasts(&fixture) > before);
}

/// Compaction deletes most of the input that was read. Where the topic is known to be compacted, no restore needs it.
/// Where the state is older, what is missing is counted.
#[test]
fn compacted_input_is_not_needed_again_or_counted() {
    let mut undisturbed = None;
    for (known, compacts) in [(true, false), (true, true), (false, true)] {
        let mut fixture = Fixture::new(|plan| {
            plan.checkpoint_interval = u64::MAX;
            plan.compacted_inputs.extend(known.then(|| INPUT.into()));
        });
        let (mut shard, process) = fixture.join("first");
        fixture.append(0..40);
        fixture.settle(&mut [&mut shard]);
        process.faults().crash();
        drop(shard);
        fixture.cluster.expire("first");
        if compacts {
            fixture.cluster.compact(INPUT).unwrap();
        }
        fixture.plan = Arc::new(Plan { compacted_inputs: [INPUT.into()].into(), ..(*fixture.plan).clone() });
        let (mut shard, _) = fixture.join("second");
        fixture.settle(&mut [&mut shard]);
        let stats = shard.restore_stats();
        assert_eq!(stats.iter().all(|stats| stats.replayed == 0), known, "{stats:?}");
        assert_eq!(stats.iter().all(|stats| stats.lost > 0), !known, "{stats:?}");
        fixture.append(40..50);
        fixture.settle(&mut [&mut shard]);
        let output = Output::committed(&fixture.cluster);
        if known {
            output.assert_is(undisturbed.get_or_insert_with(|| Output::committed(&fixture.cluster)));
        }
    }
}
