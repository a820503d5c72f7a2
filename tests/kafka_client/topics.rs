//! Topics and rejected requests.

use std::time::Duration;

use foretide::{
    broker::{
        Broker, BrokerError, Isolation, StartPosition, TopicSpec,
        kafka::{KafkaBroker, KafkaOptions},
    },
    env::{Clock, SystemClock},
};

use crate::{
    LIMIT, SOON, at, commit,
    harness::{kafka::kafka, unique, wait_for},
    join, out,
};

#[test]
fn a_record_that_is_too_large_is_refused_and_the_member_continues() {
    let kafka = kafka();
    let (source, sink) = (kafka.topic("in", 1), kafka.topic("out", 1));
    let broker = kafka.broker();
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    // Random bytes do not compress: the topic does not accept 10 MB, and the client does not accept 20 MB.
    let noise: Vec<u8> = (0..20_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [10_000_000, 20_000_000] {
        member.begin().unwrap();
        let sent = member.send(out(&sink, &noise[..bytes]));
        let error = sent.and_then(|()| member.commit(&[])).unwrap_err();
        assert!(matches!(error, BrokerError::Refused { too_large: true, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&sink) && text.contains(&format!("{} bytes", bytes + 3)), "{text}");
        member.abort().unwrap();
    }
    commit(&mut *member, Some(out(&sink, b"fits")), &[]);
    let large = unique("large");
    broker
        .create(&TopicSpec {
            name: large.clone(),
            partitions: 1,
            compacted: false,
            log_append_time: false,
            max_record_bytes: 10 << 20,
        })
        .unwrap();
    let mut publisher = broker.publisher(&unique("id")).unwrap();
    publisher.publish(&[out(&large, &noise[..10_000_000])]).unwrap();
    let mut reader = broker.reader(&at(&large, 0), StartPosition::Earliest).unwrap();
    let batch = wait_for("the large record", LIMIT, || reader.read(SOON, 1).unwrap());
    assert_eq!(batch.iter().next().unwrap().payload.unwrap(), &noise[..10_000_000]);
}

#[test]
fn a_missing_topic_is_rejected_by_name() {
    let kafka = kafka();
    let (source, broker) = (kafka.topic("in", 1), kafka.broker());
    assert_eq!(broker.partitions(&source).unwrap(), Some(1));
    assert_eq!(broker.partitions("no-such-topic").unwrap(), None);
    let error = broker.join(&unique("group"), &unique("id"), &["no-such-topic".into()]).err().unwrap();
    assert!(matches!(&error, BrokerError::Rejected(text) if text.contains("no-such-topic")), "{error:?}");
    let mut member = join(&broker, &unique("group"), &unique("id"), &source);
    assert!(
        matches!(member.start(&at(&source, 0), 0), Err(BrokerError::Rejected(_))),
        "the partition is not assigned yet"
    );
    assert!(matches!(member.commit(&[]), Err(BrokerError::Rejected(_))), "no transaction is open");
    member.begin().unwrap();
    let sent = member.send(out("no-such-topic", b"x")).and_then(|()| member.commit(&[]));
    let error = sent.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Refused { topic, why, .. } if topic == "no-such-topic" && why.contains("create")),
        "{error:?}"
    );
    member.abort().unwrap();
    // Creating an existing topic changes nothing and is no error.
    broker
        .create(&TopicSpec {
            name: source.clone(),
            partitions: 9,
            compacted: true,
            log_append_time: false,
            max_record_bytes: 1,
        })
        .unwrap();
    assert_eq!(broker.partitions(&source).unwrap(), Some(1));
}

#[test]
fn a_topic_gets_the_requested_replication_factor() {
    let create = |copies| {
        let mut options = kafka().options();
        options.replication = Some(copies);
        let plan = TopicSpec {
            name: unique("copies"),
            partitions: 1,
            compacted: false,
            log_append_time: false,
            max_record_bytes: 1 << 20,
        };
        KafkaBroker::new(options).unwrap().create(&plan)
    };
    create(1).unwrap();
    // No test cluster has so many brokers.
    assert!(matches!(create(100), Err(BrokerError::Rejected(_))));
}

#[test]
fn the_settings_of_topics_are_seen() {
    let broker = kafka().broker();
    let names = [kafka().topic("plain", 1), unique("missing"), unique("compacted")];
    let spec = TopicSpec {
        name: names[2].clone(),
        partitions: 1,
        compacted: true,
        log_append_time: false,
        max_record_bytes: 4 << 20,
    };
    broker.create(&spec).unwrap();
    let found = broker.topic_settings(&names).unwrap();
    let policy = |index: usize| Some(found[index].as_ref()?["cleanup.policy"].as_str());
    assert_eq!([policy(0), policy(1), policy(2)], [Some("delete"), None, Some("compact")]);
}

#[test]
fn an_unreachable_broker_gives_a_clear_error_in_time() {
    let clock = SystemClock::new();
    let mut options = KafkaOptions::new("127.0.0.1:1");
    options.request_timeout = Duration::from_secs(1);
    let broker = KafkaBroker::new(options).unwrap();
    let mut errors = vec![broker.partitions("any").unwrap_err(), broker.offsets(&at("any", 0)).unwrap_err()];
    errors.extend(broker.publisher("id").err());
    errors.extend(broker.join("group", "id", &["any".into()]).err());
    errors.extend(broker.reader(&at("any", 0), StartPosition::Earliest).err());
    errors.extend(
        broker
            .create(&TopicSpec {
                name: "any".into(),
                partitions: 1,
                compacted: false,
                log_append_time: false,
                max_record_bytes: 1,
            })
            .err(),
    );
    errors.extend(broker.end_offsets(&[at("any", 0)], Isolation::Committed).err());
    errors.extend(broker.end_offsets(&[at("any", 0)], Isolation::Uncommitted).err());
    errors.extend(broker.topic_settings(&["any".into()]).err());
    assert_eq!(errors.len(), 9);
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, BrokerError::Retriable(_)), "{error:?}");
        assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
    }
    assert!(clock.monotonic_micros() < 20_000_000);
}
