//! Series that end, and the restores that follow.

use super::{
    fixture::Fixture,
    outcome::Output,
    scenario::{INPUT, MINUTE, STATE},
};
use foretide::engine::WhenFull;

/// A restore reads the old input of ended series again, cold or warm, and brings none back. One that comes back is new.
#[test]
fn ended_series_stay_ended_through_restores() {
    for (standby_bytes, compacts) in [(0, false), (0, true), (1 << 30, false)] {
        // Only new series are snapshotted, so that a restore reads all input again.
        let fixture = Fixture::new(|plan| {
            (plan.standby_bytes, plan.checkpoint_interval) = (standby_bytes, u64::MAX);
            let stream = &mut plan.streams[0].engine;
            (stream.series_ttl, stream.max_series) = (Some(30 * MINUTE), 1_000);
        });
        let (mut owner, dying) = fixture.join("owner");
        let (mut standby, _) = fixture.join("standby");
        fixture.append(0..40);
        fixture.settle(&mut [&mut owner, &mut standby]);
        assert_eq!(fixture.stored().len(), 6);
        fixture.append_of(40..100, 0..3);
        fixture.settle(&mut [&mut owner, &mut standby]);
        assert_eq!(fixture.stored().len(), 3);
        if compacts {
            fixture.cluster.compact(STATE).unwrap();
        }
        dying.faults().crash();
        drop(owner);
        fixture.cluster.expire("owner");
        fixture.settle(&mut [&mut standby]);
        let stats = standby.restore_stats();
        assert!(stats.iter().all(|stats| (stats.rebuilt, stats.lost_series) == (0, 0)), "{stats:?}");
        assert!(stats.iter().any(|stats| stats.replayed > 0), "{stats:?}");
        assert_eq!(fixture.stored().len(), 3, "nothing has come back");
        fixture.append(100..140);
        fixture.settle(&mut [&mut standby]);
        assert_eq!(fixture.stored().len(), 6);
        fixture.run_once("last", true);
        let (committed, reference) = (Output::committed(&fixture.cluster), fixture.reference());
        committed.assert_is(&reference);
        assert_eq!(committed.series, reference.series);
    }
}

/// A series that cannot be read again is not taken for one that has ended: state that is missing is rebuilt, and after
/// a crash in the middle of that, rebuilt again.
#[test]
fn a_rebuild_that_was_interrupted_is_taken_up() {
    let fixture = Fixture::new(|plan| {
        plan.checkpoint_interval = u64::MAX;
        plan.streams[0].engine.series_ttl = Some(30 * MINUTE);
        plan.streams[0].engine.max_series = 1_000;
    });
    fixture.append(0..40);
    fixture.append_of(40..100, 0..3);
    fixture.run_once("first", false);
    fixture.cluster.recreate_topic(STATE, false).unwrap();
    for (id, from) in [("second", 100), ("third", 110), ("fourth", 120)] {
        fixture.append_of(from..from + 10, 0..4);
        fixture.run_once(id, true);
    }
}

/// A day of pods, each of which lives for an hour: the state topic holds those that live.
#[test]
fn a_day_of_pods_leaves_the_state_topic_flat() {
    let fixture = Fixture::new(|plan| {
        let stream = &mut plan.streams[0].engine;
        (stream.series_ttl, stream.max_series, stream.when_full) = (Some(10 * MINUTE), 1_000, WhenFull::Evict);
        plan.checkpoint_interval = 20_000_000;
    });
    let (mut shard, _) = fixture.join("only");
    let mut sizes = Vec::new();
    for hour in 0..24 {
        for minute in hour * 60..(hour + 1) * 60 {
            // Two pods begin each ten minutes, and each writes once in five.
            let newest = minute / 5;
            for pod in ((newest - 12).max(0)..=newest).filter(|pod| (pod + minute) % 5 == 0) {
                let payload = format!("{{\"time\":{},\"value\":{}}}", minute * MINUTE, pod % 7 + minute % 11);
                let (key, partition) = (format!("pod-{pod}"), 0);
                let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
                fixture.cluster.append(INPUT, partition, key, payload, minute * MINUTE).unwrap();
            }
        }
        fixture.settle(&mut [&mut shard]);
        fixture.cluster.compact(STATE).unwrap();
        sizes.push(fixture.stored().len());
    }
    Output::committed(&fixture.cluster).assert_is(&fixture.reference());
    assert!(sizes[2..].iter().all(|size| size.abs_diff(sizes[2]) <= 2), "{sizes:?}");
}
