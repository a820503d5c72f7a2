//! Members and readers under test, and what the tests expect of them.

use std::time::Duration;

use foretide::broker::{
    Batch, Broker, BrokerError, Member, MemberEvent, Partition, ProducerRecord, Reader, kafka::KafkaBroker,
};

use crate::harness::wait_for;

/// Time of one poll.
pub const SOON: Duration = Duration::from_millis(100);
/// Longest time that a test waits for an event.
pub const LIMIT: Duration = Duration::from_secs(30);
/// Time without a record after which the console consumer stops.
pub const IDLE: Duration = Duration::from_secs(2);

pub fn at(topic: &str, number: i32) -> Partition {
    Partition { topic: topic.into(), number }
}

pub fn join(broker: &KafkaBroker, group: &str, id: &str, topic: &str) -> Box<dyn Member> {
    broker.join(group, id, &[topic.to_owned()]).unwrap()
}

pub fn event(member: &mut dyn Member) -> MemberEvent {
    // An assignment of no partitions is skipped: the member has none yet.
    let is_relevant = |event: &MemberEvent| *event != MemberEvent::Assigned(Vec::new());
    wait_for("an event of the group", LIMIT, || member.poll(SOON, 1000).unwrap().filter(is_relevant))
}

pub fn assigned(member: &mut dyn Member) -> Vec<Partition> {
    match event(member) {
        MemberEvent::Assigned(partitions) => partitions,
        other => panic!("not an assignment: {other:?}"),
    }
}

pub fn records(member: &mut dyn Member) -> Batch {
    match event(member) {
        MemberEvent::Records(batch) => batch,
        other => panic!("not records: {other:?}"),
    }
}

/// Waits until the end offset of a partition, including open transactions, is `end`.
pub fn wait_for_end(broker: &KafkaBroker, partition: &Partition, end: i64) {
    wait_for(&format!("{partition} to end at {end}"), LIMIT, || {
        (broker.offsets(partition).unwrap().end == end).then_some(())
    });
}

/// Commits. Repeats the transaction where a rebalance aborts it.
pub fn commit(member: &mut dyn Member, record: Option<ProducerRecord<'_>>, positions: &[(Partition, i64)]) {
    wait_for("a commit", LIMIT, || {
        member.begin().unwrap();
        let done = record.map_or(Ok(()), |record| member.send(record)).and_then(|()| member.commit(positions));
        match done {
            Ok(()) => Some(()),
            Err(BrokerError::Aborted(_)) => {
                member.abort().unwrap();
                // The first assignment may arrive here, but no partition is revoked.
                let event = member.poll(SOON, 10).unwrap();
                assert!(matches!(event, None | Some(MemberEvent::Assigned(_))), "{event:?}");
                None
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

pub fn values(batch: &Batch) -> Vec<String> {
    batch.iter().map(|record| String::from_utf8_lossy(record.payload.unwrap()).into_owned()).collect()
}

pub fn out<'a>(topic: &'a str, payload: &'a [u8]) -> ProducerRecord<'a> {
    ProducerRecord {
        topic,
        partition: Some(0),
        key: Some(b"key"),
        payload: Some(payload),
        headers: &[("a", b"1"), ("b", b"")],
    }
}

/// Reads until no record arrives for about a second.
pub fn drain(reader: &mut dyn Reader) -> Vec<String> {
    let mut all = Vec::new();
    let mut idle = 0;
    while idle < 3 {
        match reader.read(Duration::from_millis(300), 100).unwrap() {
            Some(batch) => all.extend(values(&batch)),
            None => idle += 1,
        }
    }
    all
}
