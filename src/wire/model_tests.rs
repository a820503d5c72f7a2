//! Tests of the models topic's records.

use super::*;
use proptest::prelude::*;

fn release(version: u64) -> Release {
    Release {
        stream: "load/a".into(),
        version,
        parent: version - 1,
        fingerprint: 0xfedc_ba98_7654_3210,
        created: 1_700_000_000_000,
        trained_until: Some(1_699_999_000_000),
        champion_loss: Some(0.5),
        challenger_loss: Some(0.25),
        reason: PublishReason::Promotion,
        prior: None,
    }
}

fn records(version: u64, weights: &[u8]) -> Vec<(String, Vec<u8>)> {
    Manifest::new(release(version), weights).records(weights).unwrap()
}

fn take_all(shelf: &mut ModelRegistry, records: &[(String, Vec<u8>)]) -> Option<u64> {
    let mut complete = None;
    for (key, value) in records {
        if let Some(manifest) = shelf.apply(key.as_bytes(), Some(value)).unwrap() {
            assert_eq!(complete, None);
            complete = Some(manifest.release.version);
        }
    }
    complete
}

fn weights(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8 ^ seed).collect()
}

#[test]
fn the_manifest_is_as_documented() {
    let records = records(3, b"abc");
    assert_eq!(records.len(), 2);
    assert_eq!(records[0], ("load%2Fa/3/part/0".into(), b"abc".to_vec()));
    assert_eq!(records[1].0, "load%2Fa/3");
    assert_eq!(
        String::from_utf8(records[1].1.clone()).unwrap(),
        "{\"schema\":1,\"stream\":\"load/a\",\"version\":3,\"parent\":2,\"fingerprint\":\"fedcba9876543210\",\
         \"created\":1700000000000,\"trained_until\":1699999000000,\"champion_loss\":0.5,\"challenger_loss\":0.25,\
         \"reason\":\"promotion\",\"parts\":1,\"bytes\":3,\
         \"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}"
    );
    let key = ModelKey::parse(records[1].0.as_bytes()).unwrap();
    assert_eq!(Manifest::from_json(&key, &records[1].1).unwrap(), Manifest::new(release(3), b"abc"));
}

#[test]
fn the_highest_complete_version_is_active() {
    let mut shelf = ModelRegistry::new();
    let (first, second) = (weights(2 * MAX_PART_BYTES + 5, 1), weights(MAX_PART_BYTES, 2));
    let records_of_first = records(1, &first);
    assert_eq!(records_of_first.len(), 4);
    assert!(records_of_first.iter().all(|(_, value)| value.len() <= MAX_PART_BYTES));
    assert!(shelf.active("load/a").is_none());
    assert_eq!(take_all(&mut shelf, &records_of_first), Some(1));
    let records_of_second = records(2, &second);
    assert_eq!(take_all(&mut shelf, &records_of_second[..1]), None);
    assert_eq!(shelf.active("load/a").unwrap().release.version, 1);
    assert_eq!(take_all(&mut shelf, &records_of_second[1..]), Some(2));
    assert_eq!(shelf.active("load/a").unwrap().release.version, 2);
    assert_eq!(shelf.weights("load/a", 1).unwrap(), first);
    assert_eq!(shelf.weights("load/a", 2).unwrap(), second);
    assert_eq!(shelf.versions("load/a").map(|manifest| manifest.release.version).collect::<Vec<_>>(), [1, 2]);
    assert!(shelf.active("load").is_none());
    shelf.drop_weights_below("load/a", 2);
    assert!(matches!(shelf.weights("load/a", 1), Err(ModelError::MissingPart { part: 0, parts: 3, .. })));
    assert!(shelf.weights("load/a", 2).is_ok());
}

#[test]
fn an_incomplete_version_never_serves() {
    let mut shelf = ModelRegistry::new();
    take_all(&mut shelf, &records(1, &weights(10, 0)));
    let bytes = weights(MAX_PART_BYTES + 1, 7);
    let mut second = records(2, &bytes);
    let missing = second.remove(1);
    let (key, value) = second.pop().unwrap();
    take_all(&mut shelf, &second);
    let error = shelf.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(matches!(error, ModelError::MissingPart { version: 2, part: 1, parts: 2, .. }), "{error}");
    assert_eq!(shelf.active("load/a").unwrap().release.version, 1);
    let mut wrong = missing.1.clone();
    wrong[0] ^= 1;
    shelf.apply(missing.0.as_bytes(), Some(&wrong)).unwrap();
    let error = shelf.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(error.to_string().contains("expected SHA-256"), "{error}");
    shelf.apply(missing.0.as_bytes(), Some(&[])).unwrap();
    let error = shelf.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(error.to_string().contains("expected 921601 bytes, found 921600 bytes"), "{error}");
    assert_eq!(shelf.active("load/a").unwrap().release.version, 1);
    shelf.apply(missing.0.as_bytes(), Some(&missing.1)).unwrap();
    assert!(shelf.apply(key.as_bytes(), Some(&value)).unwrap().is_some());
    assert_eq!(shelf.weights("load/a", 2).unwrap(), bytes);
}

#[test]
fn a_version_published_again_replaces_the_earlier_one_whole() {
    let mut shelf = ModelRegistry::new();
    take_all(&mut shelf, &records(1, &weights(MAX_PART_BYTES + 9, 1)));
    let shorter = weights(20, 2);
    let again = records(1, &shorter);
    take_all(&mut shelf, &again[..1]);
    assert!(shelf.active("load/a").is_none());
    assert_eq!(take_all(&mut shelf, &again[1..]), Some(1));
    assert_eq!(shelf.weights("load/a", 1).unwrap(), shorter);
}

#[test]
fn tombstones_of_its_keys_delete_a_version() {
    let mut shelf = ModelRegistry::new();
    let bytes = weights(MAX_PART_BYTES + 1, 1);
    take_all(&mut shelf, &records(1, &bytes));
    for key in Manifest::new(release(1), &bytes).keys() {
        assert!(shelf.apply(key.as_bytes(), None).unwrap().is_none());
    }
    assert!(shelf.active("load/a").is_none());
    assert!(matches!(shelf.weights("load/a", 1), Err(ModelError::Unknown { .. })));
}

#[test]
fn unusable_manifests_are_refused() {
    let manifest = Manifest::new(release(1), b"abc");
    let refused = |manifest: &Manifest, key: &str| {
        let key = ModelKey::parse(key.as_bytes()).unwrap();
        Manifest::from_json(&key, &manifest.to_json().unwrap()).unwrap_err().to_string()
    };
    assert!(refused(&manifest, "load%2Fa/2").contains("it describes load%2Fa/1"));
    assert!(refused(&Manifest { schema: 2, ..manifest.clone() }, "load%2Fa/1").contains("schema 2"));
    assert!(refused(&Manifest { parts: 0, ..manifest.clone() }, "load%2Fa/1").contains("do not fit"));
    assert!(refused(&Manifest { parts: u32::MAX, ..manifest.clone() }, "load%2Fa/1").contains("do not fit"));
    let mut shelf = ModelRegistry::new();
    assert!(matches!(shelf.apply(b"load/1", Some(b"{}")), Err(ModelError::Manifest { .. })));
    assert!(manifest.records(b"abd").is_err());
}

#[test]
fn foreign_keys_are_refused() {
    for key in
        ["", "s", "s/", "s/x", "s/01", "s/+1", "s/1/", "s/1/part", "s/1/part/", "s/1/part/x", "s/1/part/1/2", "a/b/1"]
    {
        assert!(matches!(ModelKey::parse(key.as_bytes()), Err(ModelError::Key(_))), "{key}");
    }
    assert!(ModelKey::parse(b"\xff/1").is_err());
    // The initial weights are nobody's to publish, and after the last version there could be no next one.
    assert!(ModelKey::parse(b"s/0").is_err() && ModelKey::parse(format!("s/{}", u64::MAX).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn keys_are_read_back(stream in "(?s).{0,20}", version in 1..u64::MAX, part in proptest::option::of(any::<u32>())) {
        let key = ModelKey { stream, version, part };
        prop_assert_eq!(ModelKey::parse(key.to_string().as_bytes()), Ok(key));
    }

    #[test]
    fn arbitrary_bytes_never_panic(key in proptest::collection::vec(any::<u8>(), 0..20), value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut shelf = ModelRegistry::new();
        let _ = shelf.apply(&key, Some(&value));
        let _ = shelf.apply(b"s/1", Some(&value));
        let _ = shelf.apply(b"s/1/part/0", Some(&value));
        prop_assert!(shelf.active("s").is_none());
    }
}
