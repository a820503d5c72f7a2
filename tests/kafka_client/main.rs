//! The promises of the client interface on a real Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

#[path = "../harness/mod.rs"]
mod harness;
mod membership;
mod readers;
mod topics;
mod transactions;

use std::time::Duration;

use foretide::broker::{
    Batch, Broker, BrokerError, Member, MemberEvent, Partition, ProducerRecord, kafka::KafkaBroker,
};
use harness::wait_for;

const SOON: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(2);

fn at(topic: &str, number: i32) -> Partition {
    Partition { topic: topic.into(), number }
}

fn join(broker: &KafkaBroker, group: &str, id: &str, topic: &str) -> Box<dyn Member> {
    broker.join(group, id, &[topic.to_owned()]).unwrap()
}

fn event(member: &mut dyn Member) -> MemberEvent {
    // Skips rebalances that assigned nothing to the member.
    let has_partitions = |event: &MemberEvent| *event != MemberEvent::Assigned(Vec::new());
    wait_for("an event of the group", LIMIT, || member.poll(SOON, 1000).unwrap().filter(has_partitions))
}

fn assigned(member: &mut dyn Member) -> Vec<Partition> {
    match event(member) {
        MemberEvent::Assigned(partitions) => partitions,
        other => panic!("not an assignment: {other:?}"),
    }
}

fn records(member: &mut dyn Member) -> Batch {
    match event(member) {
        MemberEvent::Records(batch) => batch,
        other => panic!("not records: {other:?}"),
    }
}

/// Waits until a partition ends at `end`, records of open transactions included.
fn wait_for_end(broker: &KafkaBroker, partition: &Partition, end: i64) {
    wait_for(&format!("{partition} to end at {end}"), LIMIT, || {
        (broker.offsets(partition).unwrap().end == end).then_some(())
    });
}

/// Commits. Retries while rebalances abort the transaction.
fn commit(member: &mut dyn Member, record: Option<ProducerRecord<'_>>, positions: &[(Partition, i64)]) {
    wait_for("a commit", LIMIT, || {
        member.begin().unwrap();
        let done = record.map_or(Ok(()), |record| member.send(record)).and_then(|()| member.commit(positions));
        match done {
            Ok(()) => Some(()),
            Err(BrokerError::Aborted(_)) => {
                member.abort().unwrap();
                // The first assignment may arrive here, but no revocation.
                let event = member.poll(SOON, 10).unwrap();
                assert!(matches!(event, None | Some(MemberEvent::Assigned(_))), "{event:?}");
                None
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

fn values(batch: &Batch) -> Vec<String> {
    batch.iter().map(|record| String::from_utf8_lossy(record.payload.unwrap()).into_owned()).collect()
}

fn out<'a>(topic: &'a str, payload: &'a [u8]) -> ProducerRecord<'a> {
    ProducerRecord {
        topic,
        partition: Some(0),
        key: Some(b"key"),
        payload: Some(payload),
        headers: &[("a", b"1"), ("b", b"")],
    }
}
