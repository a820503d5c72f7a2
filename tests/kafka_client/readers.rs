//! Readers: start positions, the end of a partition, compaction.

use std::time::Duration;

use foretide::{
    broker::{Broker, BrokerError, Isolation, OffsetRange, Partition, Reader, StartPosition, TopicSpec, stable_end},
    env::{Clock, SystemClock},
};

use crate::{
    LIMIT, SOON, assigned, at,
    harness::{
        client::{Input, produce},
        kafka::kafka,
        unique, wait_for,
    },
    join, out, records, values, wait_for_end,
};

/// Reads until no more records come.
fn drain(reader: &mut dyn Reader) -> Vec<String> {
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
fn a_reader_detects_the_end_behind_markers_aborts_and_open_transactions() {
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
    // The broker writes the markers after it has answered the abort.
    wait_for_end(&broker, &place, 4);
    let end = 4;
    let mut reader = broker.reader(&place, StartPosition::Earliest).unwrap();
    assert!(!reader.has_reached(end).unwrap(), "nothing has been read yet");
    assert_eq!(drain(&mut *reader), ["one"]);
    assert!(reader.has_reached(end).unwrap(), "an aborted record and markers are at the end");

    member.begin().unwrap();
    member.send(out(&sink, b"open")).unwrap();
    wait_for_end(&broker, &place, 5);
    let mut late = broker.reader(&place, StartPosition::Offset(1)).unwrap();
    for reader in [&mut reader, &mut late] {
        assert!(drain(&mut **reader).is_empty());
        assert!(!reader.has_reached(5).unwrap(), "the open transaction holds it back");
        assert!(reader.has_reached(4).unwrap());
    }
    assert_eq!(stable_end(&broker, &place).unwrap(), 4);
    assert_eq!(broker.end_offsets(std::slice::from_ref(&place), Isolation::Uncommitted).unwrap(), [5]);
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
    assert_eq!(drain(&mut *late), ["two"], "a reader continues after the end");
    assert!(late.has_reached(7).unwrap());
}

#[test]
fn kafka_readers_start_at_the_requested_position() {
    let kafka = kafka();
    let topic = kafka.topic("in", 1);
    // Retention would delete old records.
    let start = SystemClock::new().wall_millis() - 10_000;
    let timed = |time: i64| Input { timestamp: Some(start + time), ..Input::new("s", time.to_string()).at(0) };
    produce(kafka, &topic, [1000, 2000, 3000].map(timed));
    let broker = kafka.broker();
    let read = |from| drain(&mut *broker.reader(&at(&topic, 0), from).unwrap());
    assert_eq!(read(StartPosition::Earliest), ["1000", "2000", "3000"]);
    assert_eq!(read(StartPosition::Offset(2)), ["3000"]);
    assert_eq!(read(StartPosition::Timestamp(start + 1001)), ["2000", "3000"]);
    assert!(read(StartPosition::Timestamp(start + 4000)).is_empty());
    let offset_at = |millis| broker.offset_at(&at(&topic, 0), millis).unwrap();
    assert_eq!([offset_at(-5), offset_at(start + 1001), offset_at(start + 4000)], [0, 1, 3]);
    let beyond = broker.reader(&at(&topic, 0), StartPosition::Offset(9)).err().unwrap();
    assert!(matches!(beyond, BrokerError::Rejected(_)), "{beyond:?}");

    // Deletes the first two records, as retention does.
    let group = unique("group");
    let mut member = join(&broker, &group, &unique("id"), &topic);
    assigned(&mut *member);
    delete_below(&topic, 2);
    assert_eq!(broker.offsets(&at(&topic, 0)).unwrap(), OffsetRange { start: 2, end: 3 });
    assert_eq!(read(StartPosition::Earliest), ["3000"]);
    assert_eq!(read(StartPosition::Offset(0)), ["3000"]);
    member.start(&at(&topic, 0), 1).unwrap();
    assert_eq!(values(&records(&mut *member)), ["3000"]);
    // A rollback to a deleted position.
    member.start(&at(&topic, 0), 0).unwrap();
    assert_eq!(values(&records(&mut *member)), ["3000"]);
}

/// One call for all partitions says the same as one for each, and takes less time.
#[test]
fn the_ends_of_many_partitions_are_asked_for_at_once() {
    let kafka = kafka();
    let (topic, other) = (kafka.topic("wide", 200), kafka.topic("narrow", 1));
    produce(kafka, &topic, (0..1_000).map(|index| Input::new(index.to_string(), "x")));
    produce(kafka, &other, (0..3).map(|_| Input::new("s", "x").at(0)));
    let broker = kafka.broker();
    let partitions: Vec<Partition> = (0..200).rev().map(|number| at(&topic, number)).chain([at(&other, 0)]).collect();
    let clock = SystemClock::new();
    let mut passed = Vec::new();
    let single: Vec<i64> = partitions.iter().map(|partition| broker.offsets(partition).unwrap().end).collect();
    passed.push(clock.monotonic_micros());
    for isolation in [Isolation::Committed, Isolation::Uncommitted] {
        // The first call opens a connection.
        broker.end_offsets(&partitions[..1], isolation).unwrap();
        let start = clock.monotonic_micros();
        assert_eq!(broker.end_offsets(&partitions, isolation).unwrap(), single);
        passed.push(clock.monotonic_micros() - start);
    }
    println!("ends of 201 partitions: one by one {} us, at once {} us and {} us", passed[0], passed[1], passed[2]);
    assert_eq!(single.iter().sum::<i64>(), 1_003);
    assert!(broker.end_offsets(&[], Isolation::Committed).unwrap().is_empty());
    assert!(broker.end_offsets(&[at(&other, 7)], Isolation::Committed).is_err());
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
fn a_reader_passes_a_tail_that_compaction_deleted() {
    let kafka = kafka();
    let broker = kafka.broker();
    let name = unique("compacted");
    broker
        .create(&TopicSpec {
            name: name.clone(),
            partitions: 1,
            compacted: true,
            log_append_time: false,
            max_record_bytes: 4 << 20,
        })
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
        // Only a new record starts a new segment, after which the old one can be compacted.
        produce(kafka, &name, [Input::new("k", "last").at(0)]);
        (read().len() < 15).then_some(())
    });
    let end = broker.offsets(&at(&name, 0)).unwrap().end;
    let mut reader = broker.reader(&at(&name, 0), StartPosition::Earliest).unwrap();
    drain(&mut *reader);
    assert!(reader.has_reached(end).unwrap());
    let mut middle = broker.reader(&at(&name, 0), StartPosition::Offset(3)).unwrap();
    wait_for("the reader to pass the deleted records", LIMIT, || {
        middle.read(SOON, 1).unwrap();
        middle.has_reached(4).unwrap().then_some(())
    });
}
