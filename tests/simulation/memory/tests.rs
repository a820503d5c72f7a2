//! The semantics that simulation tests depend on.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use foretide::broker::{
    Broker, BrokerError, Member, MemberEvent, OffsetRange, Partition, ProducerRecord, StartPosition, TopicSpec,
};

const NO_WAIT: Duration = Duration::ZERO;

fn plan(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, compacted: false, log_append_time: false, max_record_bytes: 100 }
}

fn at(topic: &str, number: i32) -> Partition {
    Partition { topic: topic.into(), number }
}

fn cluster() -> MemoryCluster {
    let cluster = MemoryCluster::new();
    cluster.create(&plan("in", 2)).unwrap();
    cluster.create(&plan("out", 1)).unwrap();
    cluster
}

fn join(cluster: &MemoryCluster, id: &str) -> Box<dyn Member> {
    cluster.join("group", id, &["in".into()]).unwrap()
}

fn out<'a>(payload: &'a [u8]) -> ProducerRecord<'a> {
    ProducerRecord {
        topic: "out",
        partition: Some(0),
        key: Some(b"k"),
        payload: Some(payload),
        headers: &[("h", b"1")],
    }
}

fn payloads(cluster: &MemoryCluster) -> Vec<String> {
    let text = |record: StoredRecord| String::from_utf8(record.payload.unwrap()).unwrap();
    cluster.committed_records("out", 0).into_iter().map(text).collect()
}

fn drain(member: &mut dyn Member) -> Vec<MemberEvent> {
    std::iter::from_fn(|| member.poll(NO_WAIT, 10).unwrap()).collect()
}

/// A member that owns both partitions of the topic.
fn assigned(cluster: &MemoryCluster, id: &str) -> Box<dyn Member> {
    let mut member = join(cluster, id);
    assert_eq!(drain(&mut *member), [MemberEvent::Assigned(vec![at("in", 0), at("in", 1)])]);
    member
}

#[test]
fn records_and_offsets_of_a_transaction_appear_together() {
    let cluster = cluster();
    cluster.set_time(7);
    let mut member = assigned(&cluster, "a");
    member.begin().unwrap();
    member.send(out(b"one")).unwrap();
    assert_eq!(
        cluster.offsets(&at("out", 0)).unwrap(),
        OffsetRange { start: 0, end: 1 },
        "records of open transactions count in the end offset"
    );
    assert!(payloads(&cluster).is_empty());
    assert!(cluster.group_offsets("group").is_empty());
    member.commit(&[(at("in", 0), 5)]).unwrap();
    let record = &cluster.committed_records("out", 0)[0];
    assert_eq!((record.timestamp, record.headers.clone()), (7, vec![("h".to_string(), b"1".to_vec())]));
    assert_eq!(member.committed_offsets(&[at("in", 0), at("in", 1)]).unwrap(), [Some(5), None]);
    assert_eq!(
        cluster.offsets(&at("out", 0)).unwrap(),
        OffsetRange { start: 0, end: 2 },
        "the commit marker takes an offset"
    );
}

#[test]
fn an_open_transaction_hides_later_records_and_an_aborted_one_disappears() {
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    let mut reader = cluster.reader(&at("out", 0), StartPosition::Earliest).unwrap();
    cluster.append("out", 0, None, Some(b"before"), 0).unwrap();
    member.begin().unwrap();
    member.send(out(b"aborted")).unwrap();
    cluster.append("out", 0, None, Some(b"after"), 0).unwrap();
    let end = cluster.offsets(&at("out", 0)).unwrap().end;
    assert_eq!(payloads(&cluster), ["before"]);
    assert_eq!(reader.read(NO_WAIT, 10).unwrap().unwrap().len(), 1);
    assert!(reader.read(NO_WAIT, 10).unwrap().is_none());
    assert!(!reader.has_reached(end).unwrap(), "the open transaction holds the reader back");
    assert!(reader.has_reached(1).unwrap());
    member.abort().unwrap();
    assert_eq!(payloads(&cluster), ["before", "after"]);
    assert!(!reader.has_reached(end).unwrap());
    assert_eq!(reader.read(NO_WAIT, 10).unwrap().unwrap().next_offset(), Some(3));
    assert!(reader.has_reached(4).unwrap(), "the reader passes the abort marker");
    assert!(!reader.has_reached(5).unwrap());
}

#[test]
fn batches_respect_their_limit_and_partitions_are_served_round_robin() {
    let cluster = cluster();
    for number in [0, 0, 0, 1] {
        cluster.append("in", number, None, Some(b"x"), 0).unwrap();
    }
    let mut member = assigned(&cluster, "a");
    assert!(drain(&mut *member).is_empty(), "nothing before start");
    member.start(&at("in", 0), 0).unwrap();
    member.start(&at("in", 1), 0).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = member.poll(NO_WAIT, 2).unwrap() {
        let MemberEvent::Records(batch) = event else { panic!("{event:?}") };
        seen.push((batch.partition.number, batch.len()));
    }
    assert_eq!(seen, [(0, 2), (1, 1), (0, 1)]);
    member.start(&at("in", 0), 1).unwrap();
    assert_eq!(drain(&mut *member).len(), 1, "start rewinds");
    member.stop(&at("in", 0)).unwrap();
    cluster.append("in", 0, None, Some(b"x"), 0).unwrap();
    assert!(drain(&mut *member).is_empty(), "a stopped partition delivers nothing");
}

#[test]
fn a_second_join_fences_the_first_and_aborts_its_transaction() {
    let cluster = cluster();
    let mut first = assigned(&cluster, "a");
    first.begin().unwrap();
    first.send(out(b"zombie")).unwrap();
    let _second = join(&cluster, "a");
    assert!(matches!(first.send(out(b"more")), Err(BrokerError::Fenced(_))));
    assert!(matches!(first.abort(), Err(BrokerError::Fenced(_))));
    assert!(payloads(&cluster).is_empty());
    assert_eq!(cluster.offsets(&at("out", 0)).unwrap().end, 2, "the record and its abort marker");
}

#[test]
fn partitions_move_only_after_their_release() {
    let cluster = cluster();
    let mut first = assigned(&cluster, "a");
    let mut second = join(&cluster, "b");
    assert!(drain(&mut *second).is_empty());
    assert_eq!(drain(&mut *first), [MemberEvent::Revoked(vec![at("in", 1)])]);
    assert!(drain(&mut *second).is_empty(), "the first member still owns it");
    assert!(matches!(first.release(&[at("in", 0)]), Err(BrokerError::Rejected(_))), "the group has not revoked it");
    first.begin().unwrap();
    first.commit(&[(at("in", 1), 9)]).unwrap();
    first.release(&[at("in", 1)]).unwrap();
    assert_eq!(drain(&mut *second), [MemberEvent::Assigned(vec![at("in", 1)])]);
    assert_eq!(second.committed_offsets(&[at("in", 1)]).unwrap(), [Some(9)]);
    second.leave().unwrap();
    assert_eq!(drain(&mut *first), [MemberEvent::Assigned(vec![at("in", 1)])]);
}

#[test]
fn a_member_with_an_old_group_generation_cannot_commit() {
    let cluster = cluster();
    let mut first = assigned(&cluster, "a");
    first.begin().unwrap();
    first.send(out(b"stale")).unwrap();
    let _second = join(&cluster, "b");
    assert!(matches!(first.commit(&[(at("in", 0), 1)]), Err(BrokerError::Aborted(_))));
    assert!(matches!(first.send(out(b"more")), Err(BrokerError::Aborted(_))), "only an abort is allowed");
    first.abort().unwrap();
    assert!(cluster.group_offsets("group").is_empty() && payloads(&cluster).is_empty());
}

#[test]
fn a_zombie_cannot_commit_and_learns_what_it_lost() {
    let cluster = cluster();
    let mut zombie = assigned(&cluster, "a");
    zombie.begin().unwrap();
    zombie.send(out(b"zombie")).unwrap();
    assert!(cluster.expire_session("a"));
    let mut heir = join(&cluster, "b");
    assert_eq!(drain(&mut *heir), [MemberEvent::Assigned(vec![at("in", 0), at("in", 1)])]);
    assert!(matches!(zombie.commit(&[(at("in", 0), 1)]), Err(BrokerError::Fenced(_))));
    zombie.abort().unwrap();
    assert!(payloads(&cluster).is_empty());
    let lost = vec![at("in", 0), at("in", 1)];
    assert_eq!(zombie.poll(NO_WAIT, 1).unwrap(), Some(MemberEvent::Lost(lost.clone())));
    zombie.release(&lost).unwrap();
    assert_eq!(drain(&mut *heir), [MemberEvent::Revoked(vec![at("in", 1)])], "the zombie has rejoined");
}

#[test]
fn expiry_ends_the_membership_and_transaction_of_a_crashed_client_only() {
    let cluster = cluster();
    let dead = cluster.process();
    let mut member = assigned(&dead, "a");
    member.begin().unwrap();
    member.send(out(b"lost")).unwrap();
    dead.faults().next(Operation::Commit, Fault::Crashed);
    assert!(matches!(member.commit(&[(at("in", 0), 3)]), Err(BrokerError::Fatal(_))));
    assert!(matches!(member.poll(NO_WAIT, 1), Err(BrokerError::Fatal(_))), "a crashed process stays crashed");
    assert!(dead.reader(&at("in", 0), StartPosition::Earliest).is_err());
    let mut other = join(&cluster, "b");
    assert!(
        matches!(other.committed_offsets(&[at("in", 0)]), Err(BrokerError::Retriable(_))),
        "its offsets are still pending"
    );
    let mut again = join(&cluster, "a");
    assert_eq!(other.committed_offsets(&[at("in", 0)]).unwrap(), [None], "the new join has aborted them");
    again.begin().unwrap();
    again.send(out(b"alive")).unwrap();
    assert!(cluster.expire("a"), "the membership of the crashed client");
    drain(&mut *again);
    again.commit(&[]).unwrap();
    assert_eq!(payloads(&cluster), ["alive"]);
    assert_eq!(cluster.group_owners("group").len(), 2);
}

#[test]
fn a_lost_answer_is_a_crash_after_the_commit() {
    let cluster = cluster();
    let process = cluster.process();
    let mut member = assigned(&process, "a");
    process.faults().at(Operation::CommitAnswer, 2, Fault::Crashed);
    for payload in [b"one", b"two"] {
        member.begin().unwrap();
        member.send(out(payload)).unwrap();
        let answer = member.commit(&[(at("in", 0), i64::from(payload[0]))]);
        assert_eq!(answer.is_err(), payload == b"two");
    }
    assert_eq!(payloads(&cluster), ["one", "two"]);
    assert_eq!(cluster.group_offsets("group")[&at("in", 0)], i64::from(b't'));
}

#[test]
fn a_transaction_can_be_aborted_after_every_planned_fault() {
    for fault in [Fault::Retry, Fault::Aborted] {
        for operation in [Operation::Send, Operation::Commit] {
            let cluster = cluster();
            let mut member = assigned(&cluster, "a");
            cluster.faults().at(operation, 1, fault);
            member.begin().unwrap();
            let failed = member.send(out(b"x")).and_then(|()| member.commit(&[])).unwrap_err();
            assert_eq!(failed.to_string(), fault.error().to_string());
            assert!(matches!(member.commit(&[]), Err(BrokerError::Aborted(_))));
            member.abort().unwrap();
            member.begin().unwrap();
            member.send(out(b"y")).unwrap();
            member.commit(&[]).unwrap();
            assert_eq!(payloads(&cluster), ["y"]);
        }
    }
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    cluster.faults().next(Operation::Send, Fault::Fenced);
    member.begin().unwrap();
    assert!(matches!(member.send(out(b"x")), Err(BrokerError::Fenced(_))));
    assert!(matches!(member.abort(), Err(BrokerError::Fenced(_))), "the member is fenced");
}

#[test]
fn readers_start_at_the_requested_position() {
    let cluster = cluster();
    for time in [10, 20, 30] {
        cluster.append("in", 0, None, Some(b"x"), time).unwrap();
    }
    let first = |from| {
        let mut reader = cluster.reader(&at("in", 0), from).unwrap();
        reader.read(NO_WAIT, 1).unwrap().map(|batch| batch.iter().next().unwrap().offset)
    };
    assert_eq!(first(StartPosition::Earliest), Some(0));
    assert_eq!(first(StartPosition::Offset(2)), Some(2));
    assert_eq!(first(StartPosition::Offset(3)), None);
    assert_eq!(first(StartPosition::Timestamp(11)), Some(1));
    assert_eq!(first(StartPosition::Timestamp(31)), None);
    cluster.truncate_before(&at("in", 0), 2).unwrap();
    assert_eq!(first(StartPosition::Earliest), Some(2));
    assert_eq!(first(StartPosition::Offset(0)), Some(2));
    assert_eq!(cluster.offsets(&at("in", 0)).unwrap(), OffsetRange { start: 2, end: 3 });
}

#[test]
fn a_position_after_the_end_of_a_partition_is_rejected() {
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    member.start(&at("in", 0), 0).unwrap();
    assert!(matches!(member.start(&at("in", 0), 1), Err(BrokerError::Rejected(_))));
}

#[test]
fn compaction_keeps_the_newest_record_of_each_key_and_readers_still_pass_the_end() {
    let cluster = cluster();
    for (key, payload) in [("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("b", None)] {
        cluster.append("in", 0, Some(key.as_bytes()), payload.map(str::as_bytes), 0).unwrap();
    }
    cluster.compact("in").unwrap();
    let left: Vec<i64> = cluster.committed_records("in", 0).iter().map(|record| record.offset).collect();
    assert_eq!(left, [2, 3]);
    let mut reader = cluster.reader(&at("in", 0), StartPosition::Earliest).unwrap();
    assert!(!reader.has_reached(3).unwrap());
    reader.read(NO_WAIT, 10).unwrap();
    assert!(reader.has_reached(4).unwrap());
}

#[test]
fn new_partitions_are_assigned() {
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    cluster.add_partitions("in", 3).unwrap();
    assert_eq!(drain(&mut *member), [MemberEvent::Assigned(vec![at("in", 2)])]);
    assert_eq!(cluster.partitions("in").unwrap(), Some(3));
    assert_eq!(cluster.partitions("nowhere").unwrap(), None);
}

#[test]
fn invalid_requests_are_rejected() {
    let cluster = cluster();
    assert!(matches!(cluster.join("group", "a", &["nowhere".into()]), Err(BrokerError::Rejected(_))));
    let mut member = assigned(&cluster, "a");
    assert!(matches!(member.commit(&[]), Err(BrokerError::Rejected(_))), "no transaction is open");
    member.begin().unwrap();
    assert!(matches!(member.begin(), Err(BrokerError::Rejected(_))), "only one transaction at a time");
    let text = member.send(out(&[0; 200])).unwrap_err().to_string();
    assert!(text.contains("201 bytes") && text.contains("100"), "{text}");
}

#[test]
fn a_publisher_writes_all_or_nothing_and_is_fenced_by_the_next() {
    let cluster = cluster();
    let mut first = cluster.publisher("models").unwrap();
    first.publish(&[out(b"1"), out(b"2")]).unwrap();
    assert!(first.publish(&[out(b"3"), out(&[0; 200])]).is_err());
    let mut second = cluster.publisher("models").unwrap();
    assert!(matches!(first.publish(&[out(b"4")]), Err(BrokerError::Fenced(_))));
    second.publish(&[out(b"5")]).unwrap();
    assert_eq!(payloads(&cluster), ["1", "2", "5"]);
}

/// A change of a group.
#[derive(Debug, Clone)]
enum GroupChange {
    Join(usize),
    Leave(usize),
    Expire(usize),
    Poll(usize),
    Release(usize),
    Grow,
}

fn group_change() -> impl Strategy<Value = GroupChange> {
    prop_oneof![
        (0..4_usize).prop_map(GroupChange::Join),
        (0..4_usize).prop_map(GroupChange::Leave),
        (0..4_usize).prop_map(GroupChange::Expire),
        (0..4_usize).prop_map(GroupChange::Poll),
        (0..4_usize).prop_map(GroupChange::Release),
        Just(GroupChange::Grow),
    ]
}

/// A member as its daemon sees it.
struct Client {
    member: Box<dyn Member>,
    assigned: BTreeSet<Partition>,
    revoked: Vec<Partition>,
    /// Its session has expired, so it owns nothing although it does not know that before its next poll.
    zombie: bool,
}

impl Client {
    fn poll(&mut self) {
        self.zombie = false;
        match self.member.poll(NO_WAIT, 1).unwrap() {
            Some(MemberEvent::Assigned(partitions)) => self.assigned.extend(partitions),
            Some(MemberEvent::Revoked(partitions)) => self.revoked.extend(partitions),
            Some(MemberEvent::Lost(partitions)) => {
                for partition in &partitions {
                    self.assigned.remove(partition);
                }
                self.revoked.clear();
                self.member.release(&partitions).unwrap();
            }
            Some(MemberEvent::Records(_)) => unreachable!("no partition was started"),
            None => {}
        }
    }

    fn release(&mut self) {
        let revoked = std::mem::take(&mut self.revoked);
        self.member.release(&revoked).unwrap();
        for partition in &revoked {
            self.assigned.remove(partition);
        }
    }
}

proptest! {
    #[test]
    fn no_two_live_members_own_the_same_partition_and_the_final_assignment_is_fair(
        changes in prop::collection::vec(group_change(), 1..60)
    ) {
        let cluster = MemoryCluster::new();
        cluster.create(&plan("in", 3)).unwrap();
        let mut partitions = 3_i32;
        let mut members: BTreeMap<usize, Client> = BTreeMap::new();
        for step in changes {
            match step {
                GroupChange::Join(who) => {
                    members.entry(who).or_insert_with(|| Client {
                        member: join(&cluster, &who.to_string()),
                        assigned: BTreeSet::new(),
                        revoked: Vec::new(),
                        zombie: false,
                    });
                }
                GroupChange::Leave(who) => {
                    if let Some(mut seen) = members.remove(&who) {
                        seen.member.leave().unwrap();
                    }
                }
                GroupChange::Expire(who) => {
                    if let Some(seen) = members.get_mut(&who) {
                        cluster.expire(&who.to_string());
                        seen.zombie = true;
                    }
                }
                GroupChange::Poll(who) => {
                    members.get_mut(&who).map(Client::poll);
                }
                GroupChange::Release(who) => {
                    if let Some(seen) = members.get_mut(&who).filter(|seen| !seen.zombie) {
                        seen.release();
                    }
                }
                GroupChange::Grow => {
                    partitions += 1;
                    cluster.add_partitions("in", partitions).unwrap();
                }
            }
            let mut owned = BTreeSet::new();
            for partition in members.values().filter(|seen| !seen.zombie).flat_map(|seen| &seen.assigned) {
                prop_assert!(owned.insert(partition.clone()), "{partition} has two owners");
            }
        }
        for _ in 0..100 {
            members.values_mut().for_each(|seen| {
                seen.poll();
                seen.release();
            });
        }
        let loads: Vec<usize> = members.values().map(|seen| seen.assigned.len()).collect();
        if let (Some(least), Some(most)) = (loads.iter().min(), loads.iter().max()) {
            prop_assert_eq!(loads.iter().sum::<usize>(), usize::try_from(partitions).unwrap());
            prop_assert!(most - least <= 1, "unfair: {:?}", loads);
        }
    }
}
