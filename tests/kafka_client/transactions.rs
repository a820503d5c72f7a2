//! Transactions and delivery of records.

use std::time::Duration;

use foretide::broker::{Broker, BrokerError, Member, MemberEvent, kafka::KafkaBroker};

use crate::{
    IDLE, LIMIT, SOON, assigned, at,
    harness::{
        client::{ConsumerRecord, Input, TransactionalProducer, consume, group_offset, produce},
        kafka::{Kafka, kafka},
        proxy::Proxy,
        unique, wait_for,
    },
    join, out, records, values, wait_for_end,
};

#[test]
fn records_and_offsets_of_a_transaction_appear_together_or_not_at_all() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"));
    produce(kafka, &source, [Input::new("s", "one").at(0), Input::new("s", "two").at(0)]);
    let broker = kafka.broker();
    let mut member = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *member), [at(&source, 0)]);
    assert_eq!(member.committed_offsets(&[at(&source, 0)]).unwrap(), [None]);
    assert!(member.poll(SOON, 10).unwrap().is_none(), "nothing before the start");
    member.start(&at(&source, 0), 0).unwrap();
    let batch = records(&mut *member);
    assert_eq!(values(&batch), ["one", "two"]);

    member.begin().unwrap();
    member.send(out(&sink, b"aborted")).unwrap();
    wait_for_end(&broker, &at(&sink, 0), 1);
    member.abort().unwrap();
    // After the rollback the same records come again.
    member.start(&at(&source, 0), 0).unwrap();
    assert_eq!(values(&records(&mut *member)), ["one", "two"]);
    assert_eq!(member.delivery_positions().unwrap(), [(at(&source, 0), 2)]);

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
fn delivery_passes_markers_and_aborted_records() {
    let kafka = kafka();
    let source = kafka.topic("in", 2);
    let upstream = TransactionalProducer::start(kafka, &unique("upstream"));
    let record = |text: &str| Input::new("s", text).at(0);
    upstream.begin(&source, ["one", "two"].map(record));
    upstream.commit();
    upstream.begin(&source, [record("aborted")]);
    upstream.abort();
    let broker = kafka.broker();
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    assert_eq!(assigned(&mut *member).len(), 2);
    assert_eq!(member.delivery_positions().unwrap(), [], "nothing is started");
    (0..2).for_each(|number| member.start(&at(&source, number), 0).unwrap());
    assert_eq!(values(&records(&mut *member)), ["one", "two"]);
    let mut passed = |offset| {
        wait_for("delivery to pass the markers", LIMIT, || {
            assert_eq!(member.poll(SOON, 10).unwrap(), None);
            let positions = member.delivery_positions().unwrap();
            positions.contains(&(at(&source, 0), offset)).then_some(())
        });
    };
    passed(5);
    upstream.begin(&source, [record("open")]);
    std::thread::sleep(SOON);
    passed(5);
    upstream.abort();
    passed(7);
}

#[test]
fn batches_respect_their_limit_and_a_stopped_partition_delivers_nothing() {
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
            assert_eq!(record.offset, next[number], "records come in order, each once");
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
fn a_second_join_with_the_same_id_fences_the_first() {
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
    second.send(out(&sink, b"second")).unwrap();
    second.commit(&[]).unwrap();
    // Readers wait for the markers of the aborted transaction, which the broker writes later.
    let seen = wait_for("the record of the second member", LIMIT, || {
        let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(ConsumerRecord::text).collect();
        (!seen.is_empty()).then_some(seen)
    });
    assert_eq!(seen, ["second"]);

    let mut publisher = broker.publisher(&id).unwrap();
    publisher.publish(&[out(&sink, b"published")]).unwrap();
    let _newer = broker.publisher(&id).unwrap();
    let error = publisher.publish(&[out(&sink, b"stale")]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
}

/// A cluster behind a proxy, a member of a group that is connected through it, and an output topic that already has an
/// acknowledged record of the member's open transaction.
fn open_transaction_through_a_proxy() -> (Kafka, Proxy, Box<dyn Member>, String) {
    let (kafka, proxy) = Kafka::behind_a_proxy();
    let (source, sink) = (kafka.topic("in", 1), kafka.topic("out", 1));
    let mut options = kafka.options();
    options.bootstrap_servers = format!("127.0.0.1:{}", proxy.port);
    let broker = KafkaBroker::new(options).unwrap();
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    assigned(&mut *member);
    member.begin().unwrap();
    member.send(out(&sink, b"first")).unwrap();
    wait_for_end(&kafka.broker(), &at(&sink, 0), 1);
    std::thread::sleep(SOON);
    (kafka, proxy, member, sink)
}

/// Aborts while the member has lost its connections and cannot connect again yet.
fn abort_without_connection(member: &mut dyn Member, proxy: &Proxy) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(10 * SOON);
            proxy.pause(false);
        });
        // The client notices that its connections are closed.
        std::thread::sleep(3 * SOON);
        member.abort().unwrap();
    });
}

#[test]
fn a_record_whose_acknowledgement_is_lost_is_not_taken_for_its_repetition() {
    let (kafka, proxy, mut member, sink) = open_transaction_through_a_proxy();
    proxy.detain_responses();
    member.send(out(&sink, b"second")).unwrap();
    wait_for_end(&kafka.broker(), &at(&sink, 0), 2);
    proxy.pause(true);
    proxy.cut();
    abort_without_connection(&mut *member, &proxy);

    member.begin().unwrap();
    member.send(out(&sink, b"again")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(texts(&kafka, &sink), ["again"]);
}

#[test]
fn a_late_record_of_an_aborted_transaction_does_not_join_the_next_one() {
    let (kafka, proxy, mut member, sink) = open_transaction_through_a_proxy();
    proxy.detain_requests();
    for late in [b"second".as_slice(), b"third"] {
        member.send(out(&sink, late)).unwrap();
        std::thread::sleep(SOON);
    }
    proxy.pause(true);
    proxy.cut_clients();
    abort_without_connection(&mut *member, &proxy);

    member.begin().unwrap();
    member.send(out(&sink, b"again")).unwrap();
    wait_for_end(&kafka.broker(), &at(&sink, 0), 3);
    proxy.deliver();
    // The broker answers nobody: nothing shows when it has refused the late records.
    std::thread::sleep(5 * SOON);
    member.commit(&[]).unwrap();
    assert_eq!(texts(&kafka, &sink), ["again"]);
}

/// The committed records, once there are any: readers wait for the marker, which the broker writes later.
fn texts(kafka: &Kafka, topic: &str) -> Vec<String> {
    wait_for("committed records", LIMIT, || {
        let seen: Vec<String> = consume(kafka, topic, IDLE).iter().map(ConsumerRecord::text).collect();
        (!seen.is_empty()).then_some(seen)
    })
}
