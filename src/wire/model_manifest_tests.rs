//! Tests of manifests and of the keys of the models topic.

use proptest::prelude::*;

use super::*;

pub(in crate::wire) fn release(version: u64) -> Release {
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

#[test]
fn a_manifest_has_the_documented_bytes() {
    let records = Manifest::new(release(3), b"abc").records(b"abc").unwrap();
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
fn unusable_manifests_are_rejected() {
    let manifest = Manifest::new(release(1), b"abc");
    let rejected = |manifest: &Manifest, key: &str| {
        let key = ModelKey::parse(key.as_bytes()).unwrap();
        Manifest::from_json(&key, &manifest.to_json().unwrap()).unwrap_err().to_string()
    };
    assert!(rejected(&manifest, "load%2Fa/2").contains("it describes load%2Fa/1"));
    assert!(rejected(&Manifest { schema: 2, ..manifest.clone() }, "load%2Fa/1").contains("unknown schema 2"));
    assert!(rejected(&Manifest { parts: 0, ..manifest.clone() }, "load%2Fa/1").contains("do not fit"));
    assert!(rejected(&Manifest { parts: u32::MAX, ..manifest.clone() }, "load%2Fa/1").contains("do not fit"));
    let key = ModelKey::parse(b"load/1").unwrap();
    assert!(matches!(Manifest::from_json(&key, b"{}"), Err(ModelError::Manifest { .. })));
    assert!(manifest.records(b"abd").is_err());
}

#[test]
fn foreign_keys_are_rejected() {
    for key in
        ["", "s", "s/", "s/x", "s/01", "s/+1", "s/1/", "s/1/part", "s/1/part/", "s/1/part/x", "s/1/part/1/2", "a/b/1"]
    {
        assert!(matches!(ModelKey::parse(key.as_bytes()), Err(ModelError::Key(_))), "{key}");
    }
    assert!(ModelKey::parse(b"\xff/1").is_err());
    // Version 0 are the initial weights, and the last version could have no next one.
    assert!(ModelKey::parse(b"s/0").is_err() && ModelKey::parse(format!("s/{}", u64::MAX).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn keys_are_read_back(stream in "(?s).{0,20}", version in 1..u64::MAX, part in proptest::option::of(any::<u32>())) {
        let key = ModelKey { stream, version, part };
        prop_assert_eq!(ModelKey::parse(key.to_string().as_bytes()), Ok(key));
    }
}
