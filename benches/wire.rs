//! Decoding and encoding of one record.
#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foretide::{
    time::EventTime,
    wire::{DecodeSpec, Decoder, ForecastEncoder, ForecastRecord, Format, KeySource, TimeFormat, TimeSource},
};
use std::hint::black_box;

fn spec() -> DecodeSpec {
    DecodeSpec {
        format: Format::Json,
        key: KeySource::Record,
        time: TimeSource::Field { name: "ts".into(), format: TimeFormat::EpochMillis },
        values: vec!["value".into()],
        covariates: Vec::new(),
        max_record_bytes: 1 << 20,
        max_key_bytes: 512,
        earliest: EventTime(0),
        latest: EventTime::MAX,
    }
}

fn decode(criterion: &mut Criterion) {
    let text_time = TimeSource::Field { name: "ts".into(), format: TimeFormat::Rfc3339 };
    let columns = ["ts", "site", "unit", "value"].map(String::from).to_vec();
    let csv = Format::Csv { columns, delimiter: b',' };
    let fields = KeySource::Fields(vec!["site".into(), "unit".into()]);
    let many: Vec<String> = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"].map(String::from).to_vec();
    let cases: [(&str, DecodeSpec, &str); 5] = [
        (
            "json, 85 bytes",
            spec(),
            r#"{"ts":1700000000123,"value":-12.345678901,"unit":"kWh","site":"north-07","ok":true }"#,
        ),
        (
            "json, RFC 3339",
            DecodeSpec { time: text_time.clone(), ..spec() },
            r#"{"ts":"2024-05-01T12:30:00.250Z","value":-12.345678901,"site":"north-07"}"#,
        ),
        (
            "json, key of two fields",
            DecodeSpec { key: fields.clone(), ..spec() },
            r#"{"ts":1700000000123,"value":-12.345678901,"unit":"kWh","site":"north-07"}"#,
        ),
        (
            "json, seven values",
            DecodeSpec { values: many, ..spec() },
            concat!(
                r#"{"ts":1467331200000,"HUFL":5.827000141143799,"HULL":2.009000062942505,"MUFL":1.5989999771118164,"#,
                r#""MULL":0.4620000123977661,"LUFL":4.203000068664552,"LULL":1.3400000333786009,"OT":30.5310001373291}"#
            ),
        ),
        (
            "csv, RFC 3339",
            DecodeSpec { format: csv, key: fields, time: text_time, ..spec() },
            "2024-05-01T12:30:00.250Z,north-07,kWh,-12.345678901\n",
        ),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, spec, payload) in cases {
        let mut decoder = Decoder::new(spec).expect("the spec is sound");
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let payload = Some(black_box(payload).as_bytes());
                let mut sum = 0.0;
                let result = decoder.decode(Some(b"meter-0001"), None, payload, &mut |_, _, value, _| sum += value);
                assert!(result.is_ok());
                sum
            });
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let levels = [0.05, 0.25, 0.5, 0.75, 0.95];
    let times: Vec<i64> = (1..=24).map(|horizon| 1_700_000_000_000 + horizon * 3_600_000).collect();
    let point: Vec<f64> = (0..24).map(|horizon| 20.0 + (f64::from(horizon) * 0.7).sin() * 3.0).collect();
    let quantiles: Vec<f64> =
        point.iter().flat_map(|point| levels.map(|level| point + (f64::from(level) - 0.5) * 2.7)).collect();
    let record = ForecastRecord {
        stream: "load",
        series: "north-07/meter-0001",
        origin: EventTime(1_700_000_000_000),
        step: 472_222,
        times: Some(&times),
        value: 20.125,
        absent: false,
        point: &point,
        levels: &levels,
        quantiles: &quantiles,
        anomaly: Some(0.731),
        anomalous: Some(false),
        aggregate: None,
        weights_version: 3,
        topic: "meters",
        partition: 7,
        offset: 123_456,
        scale: 1.5,
        bounds: None,
    };
    let (mut encoder, mut out) = (ForecastEncoder::new(), Vec::new());
    encoder.encode(&record, &mut out);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("24 horizons, 5 levels", |bencher| {
        bencher.iter(|| {
            encoder.encode(black_box(&record), &mut out);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
