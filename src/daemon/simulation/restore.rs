//! Restores one at a time: by a warm standby, from a topic made anew, after retention, past records that are of no use.

use std::sync::Arc;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::{
    outcome::{Changes, Output},
    stage::{self, DEAD, FORECASTS, INPUT, MINUTE, STATE, STREAM},
};
use crate::{
    broker::{Broker, Partition, memory::MemoryCluster},
    daemon::{
        plan::Plan,
        shard::{Shard, Turn},
        status::Status,
    },
    env::{Clock, ManualClock},
    wire::{Envelope, StateKey, StateKind},
};

struct Stage {
    cluster: MemoryCluster,
    plan: Arc<Plan>,
    clock: Arc<ManualClock>,
}

impl Stage {
    fn new(change: impl Fn(&mut Plan)) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let cluster = stage::cluster(&mut random);
        let mut plan = stage::plan(&mut random, cluster.partitions(STATE).unwrap().unwrap());
        plan.standby_bytes = 0;
        change(&mut plan);
        Self { cluster, plan: Arc::new(plan), clock: Arc::default() }
    }

    fn partitions(&self) -> i32 {
        self.cluster.partitions(INPUT).unwrap().unwrap()
    }

    /// A reading of each of six series in each of some minutes.
    fn append(&self, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            for series in 0..6 {
                let payload = format!("{{\"time\":{},\"value\":{}}}", minute * MINUTE, minute * 3 + series);
                let (key, partition) = (format!("s{series}"), series as i32 % self.partitions());
                let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
                self.cluster.append(INPUT, partition, key, payload, minute * MINUTE).unwrap();
            }
        }
    }

    fn join(&self, id: &str) -> (Shard, MemoryCluster) {
        let process = self.cluster.process();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (broker, status) = (Arc::new(process.clone()), Arc::new(Status::default()));
        (Shard::join(Arc::clone(&self.plan), broker, clock, status, id, &|| false).unwrap(), process)
    }

    /// Turns until nothing is left to do.
    fn settle(&self, shards: &mut [&mut Shard]) {
        let mut quiet = 0;
        for _ in 0..2_000 {
            self.clock.advance_millis(500);
            let turns: Vec<Turn> = shards.iter_mut().map(|shard| shard.turn().unwrap()).collect();
            quiet = if turns.iter().all(|turn| *turn == Turn::Idle) { quiet + 1 } else { 0 };
            if quiet == 20 {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn undisturbed(&self) -> Output {
        let stream = &self.plan.streams[0];
        Output::undisturbed(&self.cluster, stream, &Default::default(), &Changes::default())
    }

    /// Keys of the series in the state topic that have not been deleted.
    fn stored(&self) -> Vec<(String, i64)> {
        self.cluster.compact(STATE).unwrap();
        let records = (0..self.plan.state_partitions).flat_map(|number| self.cluster.committed_records(STATE, number));
        let mut found = Vec::new();
        for record in records {
            let StateKey::Series { series, .. } = StateKey::parse(&record.key.unwrap()).unwrap() else { continue };
            found.push((series, Envelope::decode(&record.payload.unwrap()).unwrap().position));
        }
        found.sort();
        found
    }
}

/// An epoch holds little more than it may; what was polled beyond that is read again, and nothing of it is lost or doubled.
#[test]
fn what_one_epoch_cannot_hold_is_read_again() {
    let stage = Stage::new(|plan| {
        (plan.max_transaction_records, plan.max_poll_records, plan.max_transaction_bytes) = (10_000, 10_000, 8_000);
    });
    stage.append(0..60);
    let (mut shard, _) = stage.join("only");
    let mut epochs = 0;
    for _ in 0..500 {
        stage.clock.advance_millis(500);
        epochs += usize::from(shard.turn().unwrap() == Turn::Committed);
    }
    assert!(epochs > 12, "360 forecasts of a kilobyte are no {epochs} epochs of 8 kB and sixteen records");
    Output::committed(&stage.cluster).assert_is(&stage.undisturbed());
}

/// What a standby has copied it does not read again, and what is served then is what would have been.
#[test]
fn a_takeover_by_a_warm_standby_reads_only_what_is_new() {
    for standby_bytes in [0, 1 << 30] {
        let stage = Stage::new(|plan| (plan.standby_bytes, plan.checkpoint_interval) = (standby_bytes, 0));
        let (mut owner, dying) = stage.join("owner");
        stage.append(0..40);
        stage.settle(&mut [&mut owner]);
        let (mut spare, _) = stage.join("spare");
        stage.settle(&mut [&mut owner, &mut spare]);
        stage.append(40..42);
        stage.settle(&mut [&mut owner, &mut spare]);
        assert_eq!(spare.standby_copy_bytes() > 0, standby_bytes > 0);
        dying.faults().crash();
        drop(owner);
        stage.cluster.expire("owner");
        stage.settle(&mut [&mut spare]);
        stage.append(42..50);
        stage.settle(&mut [&mut spare]);
        Output::committed(&stage.cluster).assert_is(&stage.undisturbed());
        let warm: usize = spare.restore_facts().iter().map(|facts| facts.warm).sum();
        assert_eq!(warm > 0, standby_bytes > 0, "copies are used where there are some");
    }
}

/// A topic that was deleted and made again begins anew: its new records are forecast as if there had been no others, and
/// the states of its former life are deleted, so that they never come back.
#[test]
fn a_topic_that_was_made_anew_starts_anew() {
    // The second time round it has grown beyond what was read of the former one before anybody looks.
    for (offsets_forgotten, minutes) in [(true, 5), (true, 60), (false, 5)] {
        let stage = Stage::new(|plan| plan.checkpoint_interval = 0);
        let (mut shard, _) = stage.join("first");
        stage.append(0..40);
        stage.settle(&mut [&mut shard]);
        assert_eq!(stage.stored().len(), 6);
        shard.leave().unwrap();

        stage.cluster.recreate_topic(INPUT, offsets_forgotten).unwrap();
        stage.cluster.recreate_topic(FORECASTS, true).unwrap();
        stage.cluster.recreate_topic(DEAD, true).unwrap();
        stage.append(100..100 + minutes);
        let (mut shard, _) = stage.join("second");
        stage.settle(&mut [&mut shard]);
        Output::committed(&stage.cluster).assert_is(&stage.undisturbed());
        shard.leave().unwrap();

        let partitions = 0..stage.partitions();
        let ends =
            partitions.map(|number| stage.cluster.offsets(&Partition { topic: INPUT.into(), number }).unwrap().end);
        let end = ends.max().unwrap();
        assert!(stage.stored().iter().all(|(_, position)| *position <= end), "{:?}", stage.stored());
        stage.append(200..205);
        let (mut shard, _) = stage.join("third");
        stage.settle(&mut [&mut shard]);
        Output::committed(&stage.cluster).assert_is(&stage.undisturbed());
    }
}

/// Retention that has taken what a restore wanted to read again stops nothing: it is told, and every series goes on.
#[test]
fn retention_that_has_taken_the_replay_range_is_told_and_stops_nothing() {
    // Snapshots are never due, so that everything would have to be read again.
    let stage = Stage::new(|plan| plan.checkpoint_interval = u64::MAX);
    let (mut shard, _) = stage.join("first");
    stage.append(0..40);
    stage.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    for number in 0..stage.partitions() {
        let partition = Partition { topic: INPUT.into(), number };
        let end = stage.cluster.offsets(&partition).unwrap().end;
        stage.cluster.truncate_before(&partition, end / 2).unwrap();
    }
    let before = forecasts(&stage);
    let (mut shard, _) = stage.join("second");
    stage.settle(&mut [&mut shard]);
    assert!(
        shard.restore_facts().iter().all(|facts| facts.lost > 0 && facts.replayed > 0),
        "{:?}",
        shard.restore_facts()
    );
    stage.append(40..45);
    stage.settle(&mut [&mut shard]);
    assert!(forecasts(&stage) > before);
}

fn forecasts(stage: &Stage) -> usize {
    Output::committed(&stage.cluster).forecasts.values().map(Vec::len).sum()
}

/// Tombstones, records of streams that are no more, of other partitions, foreign and damaged ones: each is passed over, and
/// what is damaged is rebuilt from the input.
#[test]
fn records_of_no_use_in_the_state_topic_are_passed_over() {
    let stage = Stage::new(|plan| plan.checkpoint_interval = 1_000_000);
    let (mut shard, _) = stage.join("first");
    stage.append(0..40);
    stage.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    let state = |key: &str, payload: Option<&[u8]>| {
        for number in 0..stage.plan.state_partitions {
            stage.cluster.append(STATE, number, Some(key.as_bytes()), payload, 0).unwrap();
        }
    };
    let mut body = Vec::new();
    Envelope::new(StateKind::Series, 1, b"of a removed stream").encode(&mut body);
    state(&format!("1/series/removed/{INPUT}/0/s0"), Some(&body));
    state(&format!("1/task/removed/{INPUT}/0"), Some(&body));
    state(&format!("1/series/{STREAM}/{INPUT}/0/gone"), None);
    state(&format!("1/series/{STREAM}/another/0/s0"), Some(&body));
    state("written by somebody else", Some(b"anything"));
    state(&format!("1/series/{STREAM}/{INPUT}/0/new"), Some(b"FTST damaged"));
    let (mut shard, _) = stage.join("second");
    stage.settle(&mut [&mut shard]);
    let refused: usize = shard.restore_facts().iter().map(|facts| facts.refused).sum();
    assert!(refused > 0);
    stage.append(40..45);
    stage.settle(&mut [&mut shard]);
    Output::committed(&stage.cluster).assert_is(&stage.undisturbed());
}
