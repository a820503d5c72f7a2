//! Bytes as content of the models topic: records, weights and priors.

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

/// The stream of the weights.
static STREAM: LazyLock<StreamSpec> = LazyLock::new(|| streams().swap_remove(0));

/// The network that serves with a fuzzed prior.
static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| {
    let spec = &STREAM.network;
    Arc::new(Network::new(spec, &Weights::initial(spec)).expect("they fit the network"))
});

/// Tokens that mutations insert.
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

/// The kind of the input (records, weights, prior), then valid bytes of that kind.
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

const PRIOR: &str =
    r#"{"scale":{"scale":2.5,"difference":0.5,"relative":false},"mean_absolute_deviations":[1.0,1.5,2.0]}"#;

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

/// A registry returns the weights that its manifests describe, and forecasts are valid with any accepted weights and
/// priors.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, records)) => check_records(records),
        Some((1, weights)) => check_weights(weights),
        Some((2, prior)) => check_prior(prior),
        _ => {}
    }
}

/// Records one after the other: the key up to the end of its line, the length of the value in two bytes, the value.
fn check_records(bytes: &[u8]) {
    let (mut registry, mut rest) = (ModelRegistry::new(), bytes);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (key, after) = (&rest[..end], &rest[end + 1..]);
        let Some((length, after)) = after.split_first_chunk() else { return };
        let (value, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes(*length))));
        rest = after;
        let Ok(parsed) = ModelKey::parse(key) else {
            assert!(registry.apply(key, Some(value)).is_err());
            continue;
        };
        assert_eq!(parsed.to_string().as_bytes(), key);
        if let Ok(manifest) = Manifest::from_json(&parsed, value) {
            let json = manifest.to_json().expect("a manifest in memory can be encoded");
            // A number too large for 32 bits decodes as infinite, which encodes as null.
            if !json.windows(4).any(|window| window == b"null") {
                assert_eq!(Manifest::from_json(&parsed, &json), Ok(manifest));
            }
        }
        if let Ok(Some(manifest)) = registry.apply(key, Some(value)) {
            let Release { stream, version, .. } = manifest.release.clone();
            let weights = registry.weights(&stream, version).expect("a complete version has its weights");
            let known = registry.versions(&stream).find(|manifest| manifest.release.version == version);
            assert_eq!(known.map(|manifest| manifest.bytes), Some(weights.len() as u64));
            assert!(registry.active(&stream).is_some_and(|active| active.release.version >= version));
        }
    }
}

fn check_weights(bytes: &[u8]) {
    let published = Manifest::new(release(None), bytes).records(bytes).expect("they belong together");
    let mut registry = ModelRegistry::new();
    for (key, value) in &published {
        registry.apply(key.as_bytes(), Some(value)).expect("a record that was just encoded");
    }
    assert_eq!(registry.weights("s", 1).as_deref(), Ok(bytes));
    let spec = &STREAM.network;
    let Ok(weights) = Weights::from_bytes(spec, bytes) else { return };
    let again = weights.to_bytes().expect("decoded weights can be encoded");
    assert_eq!(Weights::from_bytes(spec, &again).as_ref(), Ok(&weights));
    let network = Network::new(spec, &weights).expect("they fit the network");
    serve(ServedWeights { network: Arc::new(network), prior: None });
}

fn check_prior(bytes: &[u8]) {
    let Ok(prior) = serde_json::from_slice::<StreamPrior>(bytes) else { return };
    serve(ServedWeights { network: Arc::clone(&NETWORK), prior: Some(Arc::new(prior)) });
}

/// Forecasts a new series with these weights.
fn serve(weights: ServedWeights) {
    ENGINE.with_borrow_mut(|engine| {
        let name = &*STREAM.name;
        engine.install(name, 1, weights);
        let task = open(engine, name);
        engine.activate(task, 1);
        for minutes in [0..4, 4..8] {
            let transaction = feed(engine, task, minutes);
            commit(engine, task, transaction);
        }
        engine.close(task);
    });
}
