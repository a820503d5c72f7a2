//! Bytes as a key or a value of the state topic.

use foretide::{
    snapshot::{CovariateWatermark, TaskProgress, WeightsActivation},
    time::PartitionClock,
    wire::{Envelope, StateKey, StateKind, TaskCheckpoint, TopicFingerprint},
};

/// Tokens that mutations insert.
pub const TOKENS: &[&str] =
    &["1/series/", "1/task/", "/", "%2F", "%25", "%", "-1", "FTST", "\u{1}\0", "\u{2}\0", "\0\0\0\0\0\0\0\0"];

/// A key and an envelope of each kind, and the body of a task checkpoint.
pub fn samples() -> Vec<Vec<u8>> {
    let series = StateKey::Series {
        stream: "load".into(),
        topic: "meters.raw".into(),
        partition: 7,
        series: "plant/1 100%\n°".into(),
    };
    let task = StateKey::Task { stream: "a/b".into(), topic: "t".into(), partition: 0 };
    let mut clock = PartitionClock::default();
    for (series, time) in [(1, 5_000), (2, 5_010), (3, 9_999_999)] {
        clock.observe(series, time, 100);
    }
    let checkpoint = TaskCheckpoint {
        progress: TaskProgress {
            replay_from: 5,
            event_time: 1_699_999_999_000,
            rebuilt_to: 4,
            activations: [(0, 0), (900, 1)].map(|(position, version)| WeightsActivation { position, version }).into(),
            watermarks: vec![CovariateWatermark { position: 5, oldest: 0, next: 7, digest: u64::MAX }],
            emit_from: 3,
            clock,
        },
        fingerprint: u64::MAX,
        topic_fingerprint: Some(TopicFingerprint { offset: 899, timestamp: -5 }),
        series: Some(300),
    };
    let body = checkpoint.to_bytes().expect("a checkpoint in memory can be encoded");
    let enveloped = |kind| encoded(&Envelope::new(kind, 4_711, &body));
    vec![
        series.to_string().into(),
        task.to_string().into(),
        enveloped(StateKind::Task),
        enveloped(StateKind::Series),
        body,
    ]
}

/// A decoded record encodes to the same bytes. A task checkpoint, whose numbers have several encodings, decodes to the
/// same checkpoint again.
pub fn check(bytes: &[u8]) {
    if let Ok(key) = StateKey::parse(bytes) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
    if let Ok(series) = StateKey::read_series(bytes) {
        let mut key = String::new();
        StateKey::write_series(&mut key, "s", "t", 0, &series);
        assert_eq!(key.as_bytes().strip_prefix(b"1/series/s/t/0/"), Some(bytes));
    }
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(encoded(&envelope), bytes);
    }
    if let Ok(checkpoint) = TaskCheckpoint::from_bytes(bytes) {
        let body = checkpoint.to_bytes().expect("a checkpoint in memory can be encoded");
        assert_eq!(TaskCheckpoint::from_bytes(&body), Ok(checkpoint));
        let envelope = Envelope::new(StateKind::Task, -1, &body);
        assert_eq!(Envelope::decode(&encoded(&envelope)), Ok(envelope));
    }
}

fn encoded(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    envelope.encode(&mut bytes);
    bytes
}
