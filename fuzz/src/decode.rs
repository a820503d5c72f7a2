//! What every decoder of records keeps to.

use foretide::{
    time::EventTime,
    wire::{DecodeSpec, Decoder, Format, KeySource, MAX_DETAIL_BYTES, MAX_MAGNITUDE, Rejection, TimeSource},
};

const LONGEST_KEY: usize = 64;

/// A spec with limits that bytes of some hundred can reach.
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

/// What was delivered, by its bits, and whether the record was refused.
type Decoded = (Vec<(String, i64, u64, Vec<u64>)>, Result<(), Rejection>);

/// Decodes `payload` under a key and at a time that are made of it, and holds what is delivered and what is refused to
/// their limits; whether the record as a whole was good. `used` has read other records before, which must not show.
pub fn check(used: &mut Decoder, payload: &[u8]) -> bool {
    let mut fresh = Decoder::new(used.spec().clone()).expect("the spec is sound");
    let decoded = decode(&mut fresh, payload);
    assert_eq!(decode(used, payload), decoded, "a record shows in the next");
    let (delivered, outcome) = decoded;
    match &outcome {
        Ok(()) => assert!(!delivered.is_empty(), "a good record has a value"),
        Err(refused) => assert!(!refused.detail.is_empty() && refused.detail.len() <= MAX_DETAIL_BYTES),
    }
    outcome.is_ok()
}

fn decode(decoder: &mut Decoder, payload: &[u8]) -> Decoded {
    let DecodeSpec { values, covariates, earliest, latest, .. } = decoder.spec().clone();
    let key = payload.split(|byte| *byte == b'\n').next();
    let timestamp = payload.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let mut delivered = Vec::new();
    let outcome = decoder.decode(key, timestamp, Some(payload), &mut |series, time, value, beside| {
        let longest = LONGEST_KEY + values.iter().map(|name| 1 + name.len()).max().unwrap_or(0);
        assert!(!series.is_empty() && series.len() <= longest, "{series:?}");
        assert!((earliest..=latest).contains(&time), "{time:?}");
        assert!(value.abs() <= MAX_MAGNITUDE, "{value}");
        assert_eq!(beside.len(), covariates.len());
        assert!(beside.iter().all(|number| number.is_nan() || number.abs() <= MAX_MAGNITUDE), "{beside:?}");
        let beside = beside.iter().map(|number| number.to_bits()).collect();
        delivered.push((series.to_owned(), time.0, value.to_bits(), beside));
    });
    assert!(delivered.len() <= values.len());
    (delivered, outcome)
}
