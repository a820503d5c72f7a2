//! Group membership: rebalances, fencing of zombies, static membership.

use std::time::Duration;

use foretide::{
    broker::{BrokerError, MemberEvent, kafka::KafkaBroker},
    env::{Clock, SystemClock},
};

use crate::{
    IDLE, LIMIT, SOON, assigned, at, commit, event,
    harness::{
        client::{ConsumerRecord, consume, group_offset},
        kafka::kafka,
        unique, wait_for,
    },
    join, out,
};

#[test]
fn partitions_move_to_a_new_member_only_after_their_release() {
    let kafka = kafka();
    let (source, group) = (kafka.topic("in", 2), unique("group"));
    let broker = kafka.broker();
    let mut first = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *first).len(), 2);
    for number in 0..2 {
        first.start(&at(&source, number), 0).unwrap();
    }
    let mut second = join(&broker, &group, &unique("id"), &source);
    let revoked = wait_for("the group to revoke a partition", LIMIT, || {
        let nothing = [None, Some(MemberEvent::Assigned(Vec::new()))];
        assert!(nothing.contains(&second.poll(SOON, 10).unwrap()), "nothing for the second before the release");
        match first.poll(SOON, 10).unwrap() {
            Some(MemberEvent::Revoked(partitions)) => Some(partitions),
            other => {
                assert_eq!(other, None);
                None
            }
        }
    });
    assert_eq!(revoked.len(), 1);
    for _ in 0..5 {
        assert_eq!(second.poll(SOON, 10).unwrap(), None, "the first member still owns it");
    }
    // A member may commit a revoked partition until it releases it.
    first.begin().unwrap();
    first.commit(&[(revoked[0].clone(), 7)]).unwrap();
    first.release(&revoked).unwrap();
    let moved = wait_for("the partition to arrive", LIMIT, || {
        assert_eq!(first.poll(Duration::from_millis(10), 10).unwrap(), None);
        second.poll(SOON, 10).unwrap()
    });
    assert_eq!(moved, MemberEvent::Assigned(revoked.clone()));
    assert_eq!(second.committed_offsets(&revoked).unwrap(), [Some(7)]);
    second.start(&revoked[0], 0).unwrap();
    // Both may commit their own partitions in the new generation.
    let kept = at(&source, 1 - revoked[0].number);
    commit(&mut *first, None, &[(kept, 8)]);
    commit(&mut *second, None, &[(revoked[0].clone(), 8)]);
    second.leave().unwrap();
    let back = wait_for("the partition to come back", LIMIT, || first.poll(SOON, 10).unwrap());
    assert_eq!(back, MemberEvent::Assigned(revoked));
}

#[test]
fn a_commit_under_an_old_generation_is_aborted_and_the_next_event_explains_it() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 2), kafka.topic("out", 1), unique("group"));
    let broker = kafka.broker();
    let mut first = join(&broker, &group, &unique("id"), &source);
    assigned(&mut *first);
    first.begin().unwrap();
    first.send(out(&sink, b"stale")).unwrap();
    // The first does not poll, but its client takes part in the rebalance in the background.
    let _second = join(&broker, &group, &unique("id"), &source);
    std::thread::sleep(Duration::from_secs(4));
    let error = first.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::Aborted(_)), "{error:?}");
    first.abort().unwrap();
    assert!(matches!(event(&mut *first), MemberEvent::Revoked(_)));
    assert_eq!(group_offset(kafka, &group, &source, 0), None);
}

#[test]
fn a_zombie_cannot_commit_and_learns_what_it_lost() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"));
    let mut options = kafka.options();
    // The member does not poll for longer than this, so its client leaves the group.
    options.poll_interval = options.session_timeout;
    let broker_of_zombie = KafkaBroker::new(options).unwrap();
    let mut zombie = join(&broker_of_zombie, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *zombie), [at(&source, 0)]);
    zombie.start(&at(&source, 0), 0).unwrap();
    zombie.begin().unwrap();
    zombie.send(out(&sink, b"zombie")).unwrap();
    let broker = kafka.broker();
    let mut second = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *second), [at(&source, 0)]);
    let error = zombie.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::MembershipLost(_)), "{error:?}");
    zombie.abort().unwrap();
    assert_eq!(event(&mut *zombie), MemberEvent::Lost(vec![at(&source, 0)]));
    zombie.release(&[at(&source, 0)]).unwrap();
    // The zombie rejoins meanwhile, so the second member may not know the newest generation yet.
    commit(&mut *second, Some(out(&sink, b"second")), &[(at(&source, 0), 2)]);
    let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(ConsumerRecord::text).collect();
    assert_eq!(seen, ["second"]);
    assert_eq!(group_offset(kafka, &group, &source, 0), Some(2));
}

/// With static membership, a member that restarts within the session timeout keeps its partitions, and the other
/// members see no rebalance.
#[test]
fn a_static_member_comes_back_to_its_partitions_without_a_rebalance() {
    let kafka = kafka();
    let (source, group) = (kafka.topic("static", 2), unique("group"));
    let mut options = kafka.options();
    options.static_membership = true;
    options.session_timeout = Duration::from_secs(10);
    let broker = KafkaBroker::new(options).unwrap();
    let (stays, restarts) = (unique("stays"), unique("restarts"));
    let mut one = join(&broker, &group, &stays, &source);
    assert_eq!(assigned(&mut *one), [at(&source, 0), at(&source, 1)]);
    let mut other = join(&broker, &group, &restarts, &source);
    let moved = wait_for("one partition to move", LIMIT, || {
        if let Some(MemberEvent::Revoked(partitions)) = one.poll(SOON, 1).unwrap() {
            one.release(&partitions).unwrap();
        }
        match other.poll(SOON, 1).unwrap() {
            Some(MemberEvent::Assigned(partitions)) if !partitions.is_empty() => Some(partitions),
            _ => None,
        }
    });
    assert_eq!(moved.len(), 1);
    other.leave().unwrap();
    drop(other);
    // Longer than a heartbeat interval, in which a member learns of a rebalance, and shorter than the session.
    let away = SystemClock::new();
    while away.monotonic_micros() < 4_500_000 {
        assert_eq!(one.poll(SOON, 1).unwrap(), None, "no rebalance while it is away");
    }
    let mut again = join(&broker, &group, &restarts, &source);
    assert_eq!(assigned(&mut *again), moved);
    assert_eq!(one.poll(Duration::from_secs(4), 1).unwrap(), None, "no rebalance when it is back");
}
