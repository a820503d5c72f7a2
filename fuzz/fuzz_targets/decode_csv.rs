//! Arbitrary bytes as a line of CSV.
#![no_main]

use foretide::{
    time::EventTime,
    wire::{DecodeSpec, Decoder, Format, KeySource, TimeFormat, TimeSource},
};

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    let columns = ["ts", "id", "a", "b"].map(String::from).to_vec();
    let spec = DecodeSpec {
        format: Format::Csv { columns, delimiter: b',' },
        key: KeySource::Fields(vec!["id".into()]),
        time: TimeSource::Field { name: "ts".into(), format: TimeFormat::Rfc3339 },
        values: vec!["a".into()],
        covariates: vec!["b".into()],
        max_record_bytes: 1 << 16,
        max_key_bytes: 64,
        earliest: EventTime::MIN,
        latest: EventTime::MAX,
    };
    let mut decoder = Decoder::new(spec).expect("the spec is sound");
    let _ = decoder.decode(None, None, Some(payload), &mut |series, _, value, covariates| {
        assert!(!series.is_empty() && value.abs() <= 1e100 && covariates.iter().all(|number| number.is_nan() || number.abs() <= 1e100));
    });
});
