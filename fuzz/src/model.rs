//! Bytes as what the models topic holds: records, weights, and where new series begin.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use foretide::{
    engine::{Engine, ServedWeights, StreamSpec},
    forecast::StreamPrior,
    nn::{Network, Weights},
    wire::{Manifest, ModelKey, ModelRegistry, PublishReason, Release},
};

use super::forecasting::{commit, engine, feed, loud, open, streams};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(engine());
}

/// The stream whose weights are read.
static STREAM: LazyLock<StreamSpec> = LazyLock::new(|| streams().swap_remove(0));

/// What serves where only the beginning of a series is read.
static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| {
    let spec = &STREAM.network;
    Arc::new(Network::new(spec, &Weights::initial(spec)).expect("they fit the network"))
});

/// What is worth putting in between.
pub const TOKENS: &[&str] = &[
    "s/1",
    "s/2",
    "/part/0",
    "/part/1",
    "%2F",
    "\"schema\":1",
    "\"stream\":\"s\"",
    "\"version\":1",
    "\"parts\":1",
    "\"bytes\":0",
    "\"fingerprint\":\"00\"",
    "\"reason\":\"promotion\"",
    "\"prior\":",
    "null",
    "1e300",
    "1e39",
    "-1",
    "18446744073709551615",
    "\"dtype\":\"F32\"",
    "\"shape\":[",
    "\"data_offsets\":[0,",
    "\"__metadata__\":",
    "foretide-weights-1",
];

/// Which of the three the rest is, then good bytes of it.
pub fn samples() -> Vec<Vec<u8>> {
    let weights = loud(&STREAM.network).to_bytes().expect("the weights fit their shapes");
    let prior: StreamPrior = serde_json::from_str(PRIOR).expect("a prior");
    let records = |release: Release, weights: &[u8]| {
        let records = Manifest::new(release, weights).records(weights).expect("they belong together");
        let framed = records.iter().flat_map(|(key, value)| {
            let length = u16::try_from(value.len()).expect("a short value");
            [key.as_bytes(), b"\n", &length.to_le_bytes(), value].concat()
        });
        [0].into_iter().chain(framed).collect()
    };
    vec![
        records(release(None), b"abc"),
        records(release(Some(prior)), b""),
        [&[1][..], &weights].concat(),
        [&[2][..], PRIOR.as_bytes()].concat(),
    ]
}

const PRIOR: &str = r#"{"size":{"scale":2.5,"difference":0.5,"relative":false},"usual":[1.0,1.5,2.0]}"#;

fn release(prior: Option<StreamPrior>) -> Release {
    Release {
        stream: "s".into(),
        version: 1,
        parent: 0,
        fingerprint: 7,
        created: 0,
        trained_until: Some(-1),
        champion_loss: Some(0.25),
        challenger_loss: None,
        reason: PublishReason::Promotion,
        prior: prior.map(Arc::new),
    }
}

/// A shelf holds what it says, and forecasts stay sound with whatever weights and priors are taken.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, records)) => check_records(records),
        Some((1, weights)) => check_weights(weights),
        Some((2, prior)) => check_prior(prior),
        _ => {}
    }
}

/// Records one after the other: a key up to the end of its line, the length of the value in two bytes, the value.
fn check_records(bytes: &[u8]) {
    let (mut shelf, mut rest) = (ModelRegistry::new(), bytes);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (key, after) = (&rest[..end], &rest[end + 1..]);
        let Some((length, after)) = after.split_first_chunk() else { return };
        let (value, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes(*length))));
        rest = after;
        let Ok(parsed) = ModelKey::parse(key) else {
            assert!(shelf.apply(key, Some(value)).is_err());
            continue;
        };
        assert_eq!(parsed.to_string().as_bytes(), key);
        if let Ok(manifest) = Manifest::from_json(&parsed, value) {
            let json = manifest.to_json().expect("a manifest in memory can be written");
            // Numbers too large for 32 bits are read as infinite, and nothing that is infinite is written.
            if !json.windows(4).any(|window| window == b"null") {
                assert_eq!(Manifest::from_json(&parsed, &json), Ok(manifest));
            }
        }
        if let Ok(Some(manifest)) = shelf.apply(key, Some(value)) {
            let Release { stream, version, .. } = manifest.release.clone();
            let weights = shelf.weights(&stream, version).expect("a complete version has its weights");
            let known = shelf.versions(&stream).find(|manifest| manifest.release.version == version);
            assert_eq!(known.map(|manifest| manifest.bytes), Some(weights.len() as u64));
            assert!(shelf.active(&stream).is_some_and(|active| active.release.version >= version));
        }
    }
}

fn check_weights(bytes: &[u8]) {
    let published = Manifest::new(release(None), bytes).records(bytes).expect("they belong together");
    let mut shelf = ModelRegistry::new();
    for (key, value) in &published {
        shelf.apply(key.as_bytes(), Some(value)).expect("a record that was just made");
    }
    assert_eq!(shelf.weights("s", 1).as_deref(), Ok(bytes));
    let spec = &STREAM.network;
    let Ok(weights) = Weights::from_bytes(spec, bytes) else { return };
    let again = weights.to_bytes().expect("they were just read");
    assert_eq!(Weights::from_bytes(spec, &again).as_ref(), Ok(&weights));
    let network = Network::new(spec, &weights).expect("they fit the network");
    serve(ServedWeights { network: Arc::new(network), prior: None });
}

fn check_prior(bytes: &[u8]) {
    let Ok(prior) = serde_json::from_slice::<StreamPrior>(bytes) else { return };
    serve(ServedWeights { network: Arc::clone(&NETWORK), prior: Some(Arc::new(prior)) });
}

/// A new series under this version.
fn serve(version: ServedWeights) {
    ENGINE.with_borrow_mut(|engine| {
        let name = &*STREAM.name;
        engine.install(name, 1, version);
        let task = open(engine, name);
        engine.activate(task, 1);
        for minutes in [0..4, 4..8] {
            let epoch = feed(engine, task, minutes);
            commit(engine, task, epoch);
        }
        engine.close(task);
    });
}
