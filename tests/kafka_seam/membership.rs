//! Members of a consumer group: assignment, rebalances, static membership.

use std::time::Duration;

use foretide::{
    broker::{MemberEvent, kafka::KafkaBroker},
    env::{Clock, SystemClock},
};

use crate::harness::{
    client::{Input, produce},
    kafka::kafka,
    unique, wait_for,
};
use crate::support::{LIMIT, SOON, assigned, at, commit, join, records, values};

#[test]
fn a_stopped_partition_delivers_nothing_until_it_is_started() {
    let kafka = kafka();
    let (source, group) = (kafka.topic("in", 2), unique("group"));
    let input = (0..250).map(|index| Input::new("s", index.to_string()).at(index % 2));
    produce(kafka, &source, input);
    let broker = kafka.broker();
    let mut member = join(&broker, &group, &unique("id"), &source);
    let mut partitions = assigned(&mut *member);
    partitions.sort();
    assert_eq!(partitions, [at(&source, 0), at(&source, 1)]);
    member.start(&partitions[0], 0).unwrap();
    member.start(&partitions[1], 5).unwrap();
    let mut next = [0, 5];
    while next != [125, 125] {
        let batch = match wait_for("records", LIMIT, || member.poll(SOON, 10).unwrap()) {
            MemberEvent::Records(batch) => batch,
            other => panic!("{other:?}"),
        };
        assert!(batch.len() <= 10);
        let number = usize::try_from(batch.partition.number).unwrap();
        for record in batch.iter() {
            assert_eq!(record.offset, next[number], "records are in order, none is missing, none is repeated");
            next[number] += 1;
        }
    }
    member.stop(&partitions[0]).unwrap();
    produce(kafka, &source, [Input::new("s", "stopped").at(0), Input::new("s", "started").at(1)]);
    assert_eq!(values(&records(&mut *member)), ["started"]);
    assert!(member.poll(Duration::from_millis(500), 10).unwrap().is_none());
    member.start(&partitions[0], 125).unwrap();
    assert_eq!(values(&records(&mut *member)), ["stopped"]);
}

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
    let leaving = wait_for("the group to ask for a partition", LIMIT, || {
        let nothing = [None, Some(MemberEvent::Assigned(Vec::new()))];
        assert!(nothing.contains(&second.poll(SOON, 10).unwrap()), "the second member gets nothing before the release");
        match first.poll(SOON, 10).unwrap() {
            Some(MemberEvent::Revoked(partitions)) => Some(partitions),
            other => {
                assert_eq!(other, None);
                None
            }
        }
    });
    assert_eq!(leaving.len(), 1);
    for _ in 0..5 {
        assert_eq!(second.poll(SOON, 10).unwrap(), None, "the first member still owns the partition");
    }
    // A member may commit a revoked partition until it releases it.
    first.begin().unwrap();
    first.commit(&[(leaving[0].clone(), 7)]).unwrap();
    first.release(&leaving).unwrap();
    let moved = wait_for("the partition to arrive", LIMIT, || {
        assert_eq!(first.poll(Duration::from_millis(10), 10).unwrap(), None);
        second.poll(SOON, 10).unwrap()
    });
    assert_eq!(moved, MemberEvent::Assigned(leaving.clone()));
    assert_eq!(second.committed_offsets(&leaving).unwrap(), [Some(7)]);
    second.start(&leaving[0], 0).unwrap();
    // In the new generation each member may commit its own partition.
    let kept = at(&source, 1 - leaving[0].number);
    commit(&mut *first, None, &[(kept, 8)]);
    commit(&mut *second, None, &[(leaving[0].clone(), 8)]);
    second.leave().unwrap();
    let back = wait_for("the partition to come back", LIMIT, || first.poll(SOON, 10).unwrap());
    assert_eq!(back, MemberEvent::Assigned(leaving));
}

/// With static membership, a member that leaves and returns within the session timeout gets its partitions back. The
/// other members see no rebalance.
#[test]
fn a_static_member_returns_to_its_partitions_without_a_rebalance() {
    let kafka = kafka();
    let (source, group) = (kafka.topic("static", 2), unique("group"));
    let mut options = kafka.options();
    options.static_membership = true;
    options.session_timeout = Duration::from_secs(10);
    let broker = KafkaBroker::new(options).unwrap();
    let (permanent, restarted) = (unique("permanent"), unique("restarted"));
    let mut one = join(&broker, &group, &permanent, &source);
    assert_eq!(assigned(&mut *one), [at(&source, 0), at(&source, 1)]);
    let mut other = join(&broker, &group, &restarted, &source);
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
    // Longer than a heartbeat, whose response would announce a rebalance, and shorter than the session timeout.
    let away = SystemClock::new();
    while away.monotonic_micros() < 4_500_000 {
        assert_eq!(one.poll(SOON, 1).unwrap(), None, "no partition moves while the member is away");
    }
    let mut again = join(&broker, &group, &restarted, &source);
    assert_eq!(assigned(&mut *again), moved);
    assert_eq!(one.poll(Duration::from_secs(4), 1).unwrap(), None, "no partition moves when the member returns");
}
