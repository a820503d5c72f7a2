//! Arbitrary bytes as records of the models topic.
#![no_main]

use foretide::wire::ModelShelf;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (key, value) = input;
    let mut shelf = ModelShelf::new();
    let _ = shelf.take_in(&key, Some(&value));
    let _ = shelf.take_in(b"s/1/part/0", Some(&key));
    if shelf.take_in(b"s/1", Some(&value)).is_ok_and(|complete| complete.is_some()) {
        let version = shelf.active("s").map_or(0, |manifest| manifest.release.version);
        assert!(shelf.weights("s", version).is_ok());
    }
});
