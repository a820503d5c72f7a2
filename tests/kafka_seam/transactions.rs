//! Transactions: records and offsets together, fencing, zombies.

use std::time::Duration;

use foretide::broker::{Broker, BrokerError, MemberEvent, kafka::KafkaBroker};

use crate::harness::{
    client::{ConsumerRecord, Input, consume, group_offset, produce},
    kafka::kafka,
    unique, wait_for,
};
use crate::support::{IDLE, LIMIT, SOON, assigned, at, commit, event, join, out, records, values, wait_for_end};

#[test]
fn records_and_offsets_of_a_transaction_appear_together_or_not_at_all() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"));
    produce(kafka, &source, [Input::new("s", "one").at(0), Input::new("s", "two").at(0)]);
    let broker = kafka.broker();
    let mut member = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *member), [at(&source, 0)]);
    assert_eq!(member.committed_offsets(&[at(&source, 0)]).unwrap(), [None]);
    assert!(member.poll(SOON, 10).unwrap().is_none(), "no records before the start");
    member.start(&at(&source, 0), 0).unwrap();
    let batch = records(&mut *member);
    assert_eq!(values(&batch), ["one", "two"]);

    member.begin().unwrap();
    member.send(out(&sink, b"aborted")).unwrap();
    wait_for_end(&broker, &at(&sink, 0), 1);
    member.abort().unwrap();
    // Back at the start of the transaction, the same records are delivered again.
    member.start(&at(&source, 0), 0).unwrap();
    assert_eq!(values(&records(&mut *member)), ["one", "two"]);

    member.begin().unwrap();
    member.send(out(&sink, b"committed")).unwrap();
    assert_eq!(group_offset(kafka, &group, &source, 0), None);
    member.commit(&[(at(&source, 0), 2)]).unwrap();
    assert_eq!(member.committed_offsets(&[at(&source, 0)]).unwrap(), [Some(2)]);
    assert_eq!(group_offset(kafka, &group, &source, 0), Some(2));
    member.leave().unwrap();

    let seen = consume(kafka, &sink, IDLE);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].text().as_str(), seen[0].key.as_deref()), ("committed", Some(b"key".as_slice())));
    assert_eq!(seen[0].headers, [("a".to_string(), b"1".to_vec()), ("b".to_string(), Vec::new())]);
    assert_eq!(seen[0].offset, 2, "after the aborted record and its marker");
}

#[test]
fn a_second_join_under_the_same_id_fences_the_first() {
    let kafka = kafka();
    let (source, sink, group, id) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"), unique("id"));
    let broker = kafka.broker();
    let mut first = join(&broker, &group, &id, &source);
    assigned(&mut *first);
    first.begin().unwrap();
    first.send(out(&sink, b"zombie")).unwrap();
    let mut second = join(&broker, &unique("group"), &id, &source);
    let error = first.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
    assert!(matches!(first.abort(), Err(BrokerError::Fenced(_))));
    second.begin().unwrap();
    second.send(out(&sink, b"successor")).unwrap();
    second.commit(&[]).unwrap();
    // Kafka writes the markers of an aborted transaction later; until then, readers wait before it.
    let seen = wait_for("the record of the successor", LIMIT, || {
        let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(ConsumerRecord::text).collect();
        (!seen.is_empty()).then_some(seen)
    });
    assert_eq!(seen, ["successor"]);

    let mut publisher = broker.publisher(&id).unwrap();
    publisher.publish(&[out(&sink, b"published")]).unwrap();
    let _newer = broker.publisher(&id).unwrap();
    let error = publisher.publish(&[out(&sink, b"stale")]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
}

#[test]
fn a_commit_under_an_old_generation_is_aborted_and_the_event_explains_it() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 2), kafka.topic("out", 1), unique("group"));
    let broker = kafka.broker();
    let mut first = join(&broker, &group, &unique("id"), &source);
    assigned(&mut *first);
    first.begin().unwrap();
    first.send(out(&sink, b"stale")).unwrap();
    // The first member does not poll, but its client joins the rebalance in the background.
    let _second = join(&broker, &group, &unique("id"), &source);
    std::thread::sleep(Duration::from_secs(4));
    let error = first.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::Aborted(_)), "{error:?}");
    first.abort().unwrap();
    assert!(matches!(event(&mut *first), MemberEvent::Revoked(_)));
    assert_eq!(group_offset(kafka, &group, &source, 0), None);
}

#[test]
fn a_zombie_cannot_commit_and_receives_its_lost_partitions() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"));
    let mut options = kafka.options();
    // The zombie does not poll for longer than this, so its client leaves the group.
    options.poll_interval = options.session_timeout;
    let sleepy = KafkaBroker::new(options).unwrap();
    let mut zombie = join(&sleepy, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *zombie), [at(&source, 0)]);
    zombie.start(&at(&source, 0), 0).unwrap();
    zombie.begin().unwrap();
    zombie.send(out(&sink, b"zombie")).unwrap();
    let broker = kafka.broker();
    let mut successor = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *successor), [at(&source, 0)]);
    let error = zombie.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
    zombie.abort().unwrap();
    assert_eq!(event(&mut *zombie), MemberEvent::Lost(vec![at(&source, 0)]));
    zombie.release(&[at(&source, 0)]).unwrap();
    // The zombie rejoins meanwhile, which starts a generation that the successor may not know yet.
    commit(&mut *successor, Some(out(&sink, b"successor")), &[(at(&source, 0), 2)]);
    let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(ConsumerRecord::text).collect();
    assert_eq!(seen, ["successor"]);
    assert_eq!(group_offset(kafka, &group, &source, 0), Some(2));
}
