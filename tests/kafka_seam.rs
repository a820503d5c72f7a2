//! The seam's promises, held against a real Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod harness;

use std::time::Duration;

use foretide::{
    broker::{
        Batch, Broker, BrokerError, Member, MemberEvent, OffsetRange, Partition, ProducerRecord, StartPosition,
        TopicSpec,
        kafka::{KafkaBroker, KafkaOptions},
    },
    env::{Clock, SystemClock},
};
use harness::{
    client::{Input, consume, group_offset, produce},
    kafka::kafka,
    unique, wait_for,
};

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
    // A round of the group in which there was nothing for the member yet is passed over.
    let news = |event: &MemberEvent| *event != MemberEvent::Assigned(Vec::new());
    wait_for("an event of the group", LIMIT, || member.poll(SOON, 1000).unwrap().filter(news))
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

/// Waits until a partition, open transactions included, ends at `end`.
fn wait_for_end(broker: &KafkaBroker, partition: &Partition, end: i64) {
    wait_for(&format!("{partition} to end at {end}"), LIMIT, || {
        (broker.offsets(partition).unwrap().end == end).then_some(())
    });
}

/// Commits, after as many aborted attempts as the group's changes make necessary.
fn commit(member: &mut dyn Member, record: Option<ProducerRecord<'_>>, positions: &[(Partition, i64)]) {
    wait_for("a commit", LIMIT, || {
        member.begin().unwrap();
        let done = record.map_or(Ok(()), |record| member.send(record)).and_then(|()| member.commit(positions));
        match done {
            Ok(()) => Some(()),
            Err(BrokerError::Aborted(_)) => {
                member.abort().unwrap();
                // The group's first assignment may arrive here, but nothing is taken away.
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
    member.send(out(&sink, b"thrown away")).unwrap();
    wait_for_end(&broker, &at(&sink, 0), 1);
    member.abort().unwrap();
    // Back to where the transaction began: the same records come again.
    member.start(&at(&source, 0), 0).unwrap();
    assert_eq!(values(&records(&mut *member)), ["one", "two"]);

    member.begin().unwrap();
    member.send(out(&sink, b"kept")).unwrap();
    assert_eq!(group_offset(kafka, &group, &source, 0), None);
    member.commit(&[(at(&source, 0), 2)]).unwrap();
    assert_eq!(member.committed_offsets(&[at(&source, 0)]).unwrap(), [Some(2)]);
    assert_eq!(group_offset(kafka, &group, &source, 0), Some(2));
    member.leave().unwrap();

    let seen = consume(kafka, &sink, IDLE);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].text().as_str(), seen[0].key.as_deref()), ("kept", Some(b"key".as_slice())));
    assert_eq!(seen[0].headers, [("a".to_string(), b"1".to_vec()), ("b".to_string(), Vec::new())]);
    assert_eq!(seen[0].offset, 2, "after the aborted record and its marker");
}

#[test]
fn stopping_and_batches_and_partitions() {
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
            assert_eq!(record.offset, next[number], "in order, none missing, none twice");
            next[number] += 1;
        }
    }
    member.stop(&partitions[0]).unwrap();
    produce(kafka, &source, [Input::new("s", "silent").at(0), Input::new("s", "heard").at(1)]);
    assert_eq!(values(&records(&mut *member)), ["heard"]);
    assert!(member.poll(Duration::from_millis(500), 10).unwrap().is_none());
    member.start(&partitions[0], 125).unwrap();
    assert_eq!(values(&records(&mut *member)), ["silent"]);
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
    second.send(out(&sink, b"heir")).unwrap();
    second.commit(&[]).unwrap();
    // The markers of an aborted transaction are written in their own time, and hold up what comes after it.
    let seen = wait_for("what the heir sent", LIMIT, || {
        let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(harness::client::Seen::text).collect();
        (!seen.is_empty()).then_some(seen)
    });
    assert_eq!(seen, ["heir"]);

    let mut publisher = broker.publisher(&id).unwrap();
    publisher.publish(&[out(&sink, b"published")]).unwrap();
    let _newer = broker.publisher(&id).unwrap();
    let error = publisher.publish(&[out(&sink, b"stale")]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
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
        assert!(nothing.contains(&second.poll(SOON, 10).unwrap()), "nothing for the second before the release");
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
        assert_eq!(second.poll(SOON, 10).unwrap(), None, "still the first one's");
    }
    // What is still its own may be committed until it is released.
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
    // Both may commit in the new generation, each its own.
    let kept = at(&source, 1 - leaving[0].number);
    commit(&mut *first, None, &[(kept, 8)]);
    commit(&mut *second, None, &[(leaving[0].clone(), 8)]);
    second.leave().unwrap();
    let back = wait_for("the partition to come back", LIMIT, || first.poll(SOON, 10).unwrap());
    assert_eq!(back, MemberEvent::Assigned(leaving));
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
fn a_zombie_cannot_commit_and_hears_what_it_lost() {
    let kafka = kafka();
    let (source, sink, group) = (kafka.topic("in", 1), kafka.topic("out", 1), unique("group"));
    let mut options = kafka.options();
    // It does not poll for longer than this, and its client gives the seat up.
    options.poll_interval = options.session_timeout;
    let sleepy = KafkaBroker::new(options).unwrap();
    let mut zombie = join(&sleepy, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *zombie), [at(&source, 0)]);
    zombie.start(&at(&source, 0), 0).unwrap();
    zombie.begin().unwrap();
    zombie.send(out(&sink, b"zombie")).unwrap();
    let broker = kafka.broker();
    let mut heir = join(&broker, &group, &unique("id"), &source);
    assert_eq!(assigned(&mut *heir), [at(&source, 0)]);
    let error = zombie.commit(&[(at(&source, 0), 1)]).unwrap_err();
    assert!(matches!(error, BrokerError::Fenced(_)), "{error:?}");
    zombie.abort().unwrap();
    assert_eq!(event(&mut *zombie), MemberEvent::Lost(vec![at(&source, 0)]));
    zombie.release(&[at(&source, 0)]).unwrap();
    // The zombie joins anew meanwhile: a generation of which the heir may not have heard yet.
    commit(&mut *heir, Some(out(&sink, b"heir")), &[(at(&source, 0), 2)]);
    let seen: Vec<String> = consume(kafka, &sink, IDLE).iter().map(harness::client::Seen::text).collect();
    assert_eq!(seen, ["heir"]);
    assert_eq!(group_offset(kafka, &group, &source, 0), Some(2));
}

/// Reads until nothing more comes at once.
fn drain(reader: &mut dyn foretide::broker::Reader) -> Vec<String> {
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

#[test]
fn a_reader_knows_the_end_behind_markers_aborts_and_open_transactions() {
    let kafka = kafka();
    let (source, sink) = (kafka.topic("in", 1), kafka.topic("out", 1));
    let broker = kafka.broker();
    let place = at(&sink, 0);
    let mut empty = broker.reader(&place, StartPosition::Earliest).unwrap();
    assert!(empty.has_reached(0).unwrap(), "an empty partition has no records below its end");

    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    member.begin().unwrap();
    member.send(out(&sink, b"one")).unwrap();
    member.commit(&[]).unwrap();
    member.begin().unwrap();
    member.send(out(&sink, b"aborted")).unwrap();
    wait_for_end(&broker, &place, 3);
    member.abort().unwrap();
    // The markers are written after the answer to the abort.
    wait_for_end(&broker, &place, 4);
    let end = 4;
    let mut reader = broker.reader(&place, StartPosition::Earliest).unwrap();
    assert!(!reader.has_reached(end).unwrap(), "nothing has been read yet");
    assert_eq!(drain(&mut *reader), ["one"]);
    assert!(reader.has_reached(end).unwrap(), "an aborted record and markers lie at the end");

    member.begin().unwrap();
    member.send(out(&sink, b"open")).unwrap();
    wait_for_end(&broker, &place, 5);
    let mut late = broker.reader(&place, StartPosition::Offset(1)).unwrap();
    for reader in [&mut reader, &mut late] {
        assert!(drain(&mut **reader).is_empty());
        assert!(!reader.has_reached(5).unwrap(), "the open transaction holds it back");
        assert!(reader.has_reached(4).unwrap());
    }
    member.abort().unwrap();
    for reader in [&mut reader, &mut late] {
        wait_for("the end", LIMIT, || {
            assert_eq!(reader.read(SOON, 10).unwrap(), None);
            reader.has_reached(5).unwrap().then_some(())
        });
    }
    member.begin().unwrap();
    member.send(out(&sink, b"two")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(drain(&mut *late), ["two"], "a reader goes on after the end");
    assert!(late.has_reached(7).unwrap());
}

#[test]
fn readers_start_where_they_are_told() {
    let kafka = kafka();
    let topic = kafka.topic("in", 1);
    // Retention would take records of long ago.
    let start = SystemClock::new().wall_millis() - 10_000;
    let timed = |time: i64| Input { timestamp: Some(start + time), ..Input::new("s", time.to_string()).at(0) };
    produce(kafka, &topic, [1000, 2000, 3000].map(timed));
    let broker = kafka.broker();
    let read = |from| drain(&mut *broker.reader(&at(&topic, 0), from).unwrap());
    assert_eq!(read(StartPosition::Earliest), ["1000", "2000", "3000"]);
    assert_eq!(read(StartPosition::Offset(2)), ["3000"]);
    assert_eq!(read(StartPosition::Timestamp(start + 1001)), ["2000", "3000"]);
    assert!(read(StartPosition::Timestamp(start + 4000)).is_empty());
    let beyond = broker.reader(&at(&topic, 0), StartPosition::Offset(9)).err().unwrap();
    assert!(matches!(beyond, BrokerError::Rejected(_)), "{beyond:?}");

    // Retention takes the first two records.
    let group = unique("group");
    let mut member = join(&broker, &group, &unique("id"), &topic);
    assigned(&mut *member);
    delete_below(&topic, 2);
    assert_eq!(broker.offsets(&at(&topic, 0)).unwrap(), OffsetRange { start: 2, end: 3 });
    assert_eq!(read(StartPosition::Earliest), ["3000"]);
    assert_eq!(read(StartPosition::Offset(0)), ["3000"]);
    member.start(&at(&topic, 0), 1).unwrap();
    assert_eq!(values(&records(&mut *member)), ["3000"]);
    // A rollback to what retention has taken meanwhile.
    member.start(&at(&topic, 0), 0).unwrap();
    assert_eq!(values(&records(&mut *member)), ["3000"]);
}

fn delete_below(topic: &str, offset: i64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offsets.json");
    let json = format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":{offset}}}],"version":1}}"#);
    std::fs::write(&file, json).unwrap();
    let servers = &kafka().servers;
    let file = file.to_str().unwrap();
    let arguments = ["--bootstrap-server", servers, "--offset-json-file", file];
    kafka().tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments);
}

#[test]
fn a_reader_passes_a_tail_that_compaction_took() {
    let kafka = kafka();
    let broker = kafka.broker();
    let name = unique("compacted");
    broker
        .create(&TopicSpec { name: name.clone(), partitions: 1, compacted: true, max_record_bytes: 4 << 20 })
        .unwrap();
    let config = "segment.ms=100,min.cleanable.dirty.ratio=0.001,delete.retention.ms=0,min.compaction.lag.ms=0";
    let servers = &kafka.servers;
    let entity = ["--bootstrap-server", servers, "--entity-type", "topics", "--entity-name", &name];
    let alter = [entity.as_slice(), &["--alter", "--add-config", config]].concat();
    kafka.tool("kafka.admin.ConfigCommand", &alter);
    let described = kafka.tool("kafka.admin.ConfigCommand", &[entity.as_slice(), &["--describe"]].concat());
    let described = String::from_utf8_lossy(&described).into_owned();
    assert!(described.contains("compression.type=zstd"), "{described}");
    assert!(described.contains("cleanup.policy=compact") && described.contains("max.message.bytes=42"), "{described}");

    for round in 0..20 {
        produce(kafka, &name, [Input::new("k", round.to_string()).at(0)]);
    }
    let read = || drain(&mut *broker.reader(&at(&name, 0), StartPosition::Earliest).unwrap());
    wait_for("compaction", Duration::from_secs(60), || {
        // A new segment begins, and an old one can be cleaned, only with a new record.
        produce(kafka, &name, [Input::new("k", "last").at(0)]);
        (read().len() < 15).then_some(())
    });
    let end = broker.offsets(&at(&name, 0)).unwrap().end;
    let mut reader = broker.reader(&at(&name, 0), StartPosition::Earliest).unwrap();
    drain(&mut *reader);
    assert!(reader.has_reached(end).unwrap());
    let mut middle = broker.reader(&at(&name, 0), StartPosition::Offset(3)).unwrap();
    wait_for("the hole to be passed", LIMIT, || {
        middle.read(SOON, 1).unwrap();
        middle.has_reached(4).unwrap().then_some(())
    });
}

#[test]
fn a_record_too_large_is_refused_and_the_member_goes_on() {
    let kafka = kafka();
    let (source, sink) = (kafka.topic("in", 1), kafka.topic("out", 1));
    let broker = kafka.broker();
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    // Random bytes do not compress: 10 MB is more than the topic takes, 20 MB more than the client.
    let noise: Vec<u8> = (0..20_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [10_000_000, 20_000_000] {
        member.begin().unwrap();
        let sent = member.send(out(&sink, &noise[..bytes]));
        let error = sent.and_then(|()| member.commit(&[])).unwrap_err();
        assert!(matches!(error, BrokerError::Rejected(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&sink) && text.contains(&format!("{} bytes", bytes + 3)), "{text}");
        member.abort().unwrap();
    }
    commit(&mut *member, Some(out(&sink, b"fits")), &[]);
    let large = unique("large");
    broker
        .create(&TopicSpec { name: large.clone(), partitions: 1, compacted: false, max_record_bytes: 10 << 20 })
        .unwrap();
    let mut publisher = broker.publisher(&unique("id")).unwrap();
    publisher.publish(&[out(&large, &noise[..10_000_000])]).unwrap();
    let mut reader = broker.reader(&at(&large, 0), StartPosition::Earliest).unwrap();
    let batch = wait_for("the large record", LIMIT, || reader.read(SOON, 1).unwrap());
    assert_eq!(batch.iter().next().unwrap().payload.unwrap(), &noise[..10_000_000]);
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let kafka = kafka();
    let (source, broker) = (kafka.topic("in", 1), kafka.broker());
    assert_eq!(broker.partitions(&source).unwrap(), Some(1));
    assert_eq!(broker.partitions("no-such-topic").unwrap(), None);
    let error = broker.join(&unique("group"), &unique("id"), &["no-such-topic".into()]).err().unwrap();
    assert!(matches!(&error, BrokerError::Rejected(text) if text.contains("no-such-topic")), "{error:?}");
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    assert!(matches!(member.start(&at(&source, 0), 0), Err(BrokerError::Rejected(_))), "not assigned yet");
    assert!(matches!(member.commit(&[]), Err(BrokerError::Rejected(_))), "nothing is open");
    member.begin().unwrap();
    let sent = member.send(out("no-such-topic", b"x")).and_then(|()| member.commit(&[]));
    let error = sent.unwrap_err();
    assert!(matches!(&error, BrokerError::Rejected(text) if text.contains("no-such-topic")), "{error:?}");
    member.abort().unwrap();
    // Creating it again is no error and changes nothing.
    broker.create(&TopicSpec { name: source.clone(), partitions: 9, compacted: true, max_record_bytes: 1 }).unwrap();
    assert_eq!(broker.partitions(&source).unwrap(), Some(1));
}

#[test]
fn a_topic_gets_as_many_copies_as_were_asked_for() {
    let create = |copies| {
        let mut options = kafka().options();
        options.replication = Some(copies);
        let plan = TopicSpec { name: unique("copies"), partitions: 1, compacted: false, max_record_bytes: 1 << 20 };
        KafkaBroker::new(options).unwrap().create(&plan)
    };
    create(1).unwrap();
    // No cluster of tests has so many brokers.
    assert!(matches!(create(100), Err(BrokerError::Rejected(_))));
}

#[test]
fn an_unknown_broker_gives_a_clear_error_in_time() {
    let clock = SystemClock::new();
    let mut options = KafkaOptions::new("127.0.0.1:1");
    options.request_timeout = Duration::from_secs(1);
    let broker = KafkaBroker::new(options).unwrap();
    let mut errors = vec![broker.partitions("any").unwrap_err(), broker.offsets(&at("any", 0)).unwrap_err()];
    errors.extend(broker.publisher("id").err());
    errors.extend(broker.join("group", "id", &["any".into()]).err());
    errors.extend(broker.reader(&at("any", 0), StartPosition::Earliest).err());
    errors.extend(
        broker.create(&TopicSpec { name: "any".into(), partitions: 1, compacted: false, max_record_bytes: 1 }).err(),
    );
    assert_eq!(errors.len(), 6);
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, BrokerError::Retriable(_)), "{error:?}");
        assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
    }
    assert!(clock.monotonic_micros() < 20_000_000);
}

/// Under static membership a member that goes and comes back within the session timeout has what it had, and the others
/// hear nothing of it.
#[test]
fn a_static_member_comes_back_to_its_partitions_without_a_rebalance() {
    let kafka = kafka();
    let (source, group) = (kafka.topic("static", 2), unique("group"));
    let mut options = kafka.options();
    options.static_membership = true;
    options.session_timeout = Duration::from_secs(10);
    let broker = KafkaBroker::new(options).unwrap();
    let (stays, goes) = (unique("stays"), unique("goes"));
    let mut one = join(&broker, &group, &stays, &source);
    assert_eq!(assigned(&mut *one), [at(&source, 0), at(&source, 1)]);
    let mut other = join(&broker, &group, &goes, &source);
    let moved = wait_for("half of it to move", LIMIT, || {
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
    // Longer than a heartbeat, which would tell of a rebalance, and shorter than the session.
    let away = SystemClock::new();
    while away.monotonic_micros() < 4_500_000 {
        assert_eq!(one.poll(SOON, 1).unwrap(), None, "nothing moves while it is away");
    }
    let mut again = join(&broker, &group, &goes, &source);
    assert_eq!(assigned(&mut *again), moved);
    assert_eq!(one.poll(Duration::from_secs(4), 1).unwrap(), None, "nor when it is back");
}
