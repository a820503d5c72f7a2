//! Tests of the model registry.

use proptest::prelude::*;

use super::*;
use crate::wire::model_manifest::{MAX_PART_BYTES, tests::release};

fn records(version: u64, weights: &[u8]) -> Vec<(String, Vec<u8>)> {
    Manifest::new(release(version), weights).records(weights).unwrap()
}

fn apply_all(registry: &mut ModelRegistry, records: &[(String, Vec<u8>)]) -> Option<u64> {
    let mut complete = None;
    for (key, value) in records {
        if let Some(manifest) = registry.apply(key.as_bytes(), Some(value)).unwrap() {
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
fn the_highest_complete_version_is_active() {
    let mut registry = ModelRegistry::new();
    let (first, second) = (weights(2 * MAX_PART_BYTES + 5, 1), weights(MAX_PART_BYTES, 2));
    let records_of_first = records(1, &first);
    assert_eq!(records_of_first.len(), 4);
    assert!(records_of_first.iter().all(|(_, value)| value.len() <= MAX_PART_BYTES));
    assert!(registry.active("load/a").is_none());
    assert_eq!(apply_all(&mut registry, &records_of_first), Some(1));
    let records_of_second = records(2, &second);
    assert_eq!(apply_all(&mut registry, &records_of_second[..1]), None);
    assert_eq!(registry.active("load/a").unwrap().release.version, 1);
    assert_eq!(apply_all(&mut registry, &records_of_second[1..]), Some(2));
    assert_eq!(registry.active("load/a").unwrap().release.version, 2);
    assert_eq!(registry.weights("load/a", 1).unwrap(), first);
    assert_eq!(registry.weights("load/a", 2).unwrap(), second);
    assert_eq!(registry.versions("load/a").map(|manifest| manifest.release.version).collect::<Vec<_>>(), [1, 2]);
    assert!(registry.active("load").is_none());
    registry.drop_weights_below("load/a", 2);
    assert!(matches!(registry.weights("load/a", 1), Err(ModelError::MissingPart { part: 0, parts: 3, .. })));
    assert!(registry.weights("load/a", 2).is_ok());
}

#[test]
fn an_incomplete_version_never_serves() {
    let mut registry = ModelRegistry::new();
    apply_all(&mut registry, &records(1, &weights(10, 0)));
    let bytes = weights(MAX_PART_BYTES + 1, 7);
    let mut second = records(2, &bytes);
    let missing = second.remove(1);
    let (key, value) = second.pop().unwrap();
    apply_all(&mut registry, &second);
    let error = registry.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(matches!(error, ModelError::MissingPart { version: 2, part: 1, parts: 2, .. }), "{error}");
    assert_eq!(registry.active("load/a").unwrap().release.version, 1);
    let mut wrong = missing.1.clone();
    wrong[0] ^= 1;
    registry.apply(missing.0.as_bytes(), Some(&wrong)).unwrap();
    let error = registry.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(error.to_string().contains("expected SHA-256"), "{error}");
    registry.apply(missing.0.as_bytes(), Some(&[])).unwrap();
    let error = registry.apply(key.as_bytes(), Some(&value)).unwrap_err();
    assert!(error.to_string().contains("expected 921601 bytes, found 921600 bytes"), "{error}");
    assert_eq!(registry.active("load/a").unwrap().release.version, 1);
    registry.apply(missing.0.as_bytes(), Some(&missing.1)).unwrap();
    assert!(registry.apply(key.as_bytes(), Some(&value)).unwrap().is_some());
    assert_eq!(registry.weights("load/a", 2).unwrap(), bytes);
}

#[test]
fn a_version_that_is_published_again_replaces_the_earlier_one_completely() {
    let mut registry = ModelRegistry::new();
    apply_all(&mut registry, &records(1, &weights(MAX_PART_BYTES + 9, 1)));
    let shorter = weights(20, 2);
    let again = records(1, &shorter);
    apply_all(&mut registry, &again[..1]);
    assert!(registry.active("load/a").is_none());
    assert_eq!(apply_all(&mut registry, &again[1..]), Some(1));
    assert_eq!(registry.weights("load/a", 1).unwrap(), shorter);
}

#[test]
fn tombstones_of_its_keys_delete_a_version() {
    let mut registry = ModelRegistry::new();
    let bytes = weights(MAX_PART_BYTES + 1, 1);
    apply_all(&mut registry, &records(1, &bytes));
    for key in Manifest::new(release(1), &bytes).keys() {
        assert!(registry.apply(key.as_bytes(), None).unwrap().is_none());
    }
    assert!(registry.active("load/a").is_none());
    assert!(matches!(registry.weights("load/a", 1), Err(ModelError::Unknown { .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        key in proptest::collection::vec(any::<u8>(), 0..20), value in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut registry = ModelRegistry::new();
        let _ = registry.apply(&key, Some(&value));
        let _ = registry.apply(b"s/1", Some(&value));
        let _ = registry.apply(b"s/1/part/0", Some(&value));
        prop_assert!(registry.active("s").is_none());
    }
}
