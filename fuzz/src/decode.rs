//! The properties of every record decoder.

use foretide::{
    time::EventTime,
    wire::{DecodeSpec, Decoder, Format, KeySource, MAX_DETAIL_BYTES, MAX_MAGNITUDE, Rejection, TimeSource},
};

/// The longest key in bytes: short, so that inputs of some hundred bytes reach it.
const LONGEST_KEY: usize = 64;

/// A spec with limits that inputs of some hundred bytes reach.
pub fn spec(format: Format, key: KeySource, time: TimeSource, values: &[&str], covariates: &[&str]) -> DecodeSpec {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    DecodeSpec {
        format,
        key,
        time,
        values: names(values),
        covariates: names(covariates),
        max_record_bytes: 1 << 12,
        max_key_bytes: LONGEST_KEY,
        earliest: EventTime(0),
        latest: EventTime(4_102_444_800_000),
    }
}

/// The delivered observations, by their bits, and whether the record was rejected.
type Decoded = (Vec<(String, i64, u64, Vec<u64>)>, Result<(), Rejection>);

/// Decodes `payload` with a key and a timestamp that derive from it, and checks the limits of observations and
/// rejections. Returns whether the record was accepted. `used` has decoded other records before, which must make no
/// difference.
pub fn check(used: &mut Decoder, payload: &[u8]) -> bool {
    let mut fresh = Decoder::new(used.spec().clone()).expect("the spec is sound");
    let decoded = decode(&mut fresh, payload);
    assert_eq!(decode(used, payload), decoded, "a record changes the next one");
    let (delivered, outcome) = decoded;
    match &outcome {
        Ok(()) => assert!(!delivered.is_empty(), "an accepted record has a value"),
        Err(rejection) => assert!(!rejection.detail.is_empty() && rejection.detail.len() <= MAX_DETAIL_BYTES),
    }
    outcome.is_ok()
}

fn decode(decoder: &mut Decoder, payload: &[u8]) -> Decoded {
    let DecodeSpec { values, covariates, earliest, latest, .. } = decoder.spec().clone();
    let key = payload.split(|byte| *byte == b'\n').next();
    let timestamp = payload.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let mut delivered = Vec::new();
    let outcome = decoder.decode(key, timestamp, Some(payload), &mut |series, time, value, found| {
        let longest = LONGEST_KEY + values.iter().map(|name| 1 + name.len()).max().unwrap_or(0);
        assert!(!series.is_empty() && series.len() <= longest, "{series:?}");
        assert!((earliest..=latest).contains(&time), "{time:?}");
        assert!(value.abs() <= MAX_MAGNITUDE, "{value}");
        assert_eq!(found.len(), covariates.len());
        assert!(found.iter().all(|number| number.is_nan() || number.abs() <= MAX_MAGNITUDE), "{found:?}");
        let found = found.iter().map(|number| number.to_bits()).collect();
        delivered.push((series.to_owned(), time.0, value.to_bits(), found));
    });
    assert!(delivered.len() <= values.len());
    (delivered, outcome)
}
