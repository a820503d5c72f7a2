//! Arbitrary bytes as a record of the state topic: what can be read is written back as the same bytes.
#![no_main]

use foretide::wire::{Envelope, StateKey, StateKind, TaskRecord};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = StateKey::parse(bytes) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
    if let Ok(envelope) = Envelope::decode(bytes) {
        let mut again = Vec::new();
        envelope.encode(&mut again);
        assert_eq!(again, bytes);
        if envelope.kind == StateKind::Task {
            let _ = TaskRecord::from_bytes(envelope.layout, envelope.body);
        }
    }
    let _ = TaskRecord::from_bytes(1, bytes);
});
