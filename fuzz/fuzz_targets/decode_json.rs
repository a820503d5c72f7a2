//! Arbitrary bytes as a JSON record.
#![no_main]

use foretide::{
    time::EventTime,
    wire::{DecodeSpec, Decoder, Format, KeySource, TimeFormat, TimeSource},
};

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    let spec = DecodeSpec {
        format: Format::Json,
        key: KeySource::Fields(vec!["id".into(), "m.id".into()]),
        time: TimeSource::Field { name: "ts".into(), format: TimeFormat::EpochSeconds },
        values: vec!["a".into(), "m.b".into()],
        covariates: vec!["c".into()],
        max_record_bytes: 1 << 16,
        max_key_bytes: 64,
        earliest: EventTime::MIN,
        latest: EventTime::MAX,
    };
    let mut decoder = Decoder::new(spec).expect("the spec is sound");
    let _ = decoder.decode(None, None, Some(payload), &mut |series, time, value, covariates| {
        assert!(!series.is_empty() && value.abs() <= 1e100 && covariates.iter().all(|number| number.is_nan() || number.abs() <= 1e100) && (EventTime::MIN..=EventTime::MAX).contains(&time));
    });
});
