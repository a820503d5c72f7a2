//! Bytes as a JSON record: of an input topic, of a topic of future covariates, or of a repartition topic.

use std::cell::RefCell;

use foretide::wire::{Decoder, Format, KeySource, TimeFormat, TimeSource};
use serde::de::IgnoredAny;

use super::decode::{self, spec};

thread_local! {
    static DECODERS: RefCell<Vec<Decoder>> = RefCell::new(decoders());
}

/// Tokens that mutations insert.
pub const TOKENS: &[&str] = &[
    "\"ts\":",
    "\"id\":",
    "\"m\":{",
    "\"a\":",
    "\"b\":",
    "\"c\":",
    "\"series\":\"x\"",
    "\"time\":17",
    "\"value\":",
    "\"covariates\":{\"0\":",
    "\"deleted\":true",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "null",
    "true",
    "false",
    "NaN",
    "1e308",
    "-1e-400",
    "0.1",
    "17e8",
    "9223372036854775807",
    "\n",
    "é",
    "2024-05-01T12:30:00Z",
];

/// Records that at least one of the decoders accepts.
pub fn samples() -> Vec<Vec<u8>> {
    [
        r#"{"ts":1700000000,"id":"x","m":{"id":7,"b":2.5},"a":1,"c":-3e2}"#,
        r#"{"id":true,"ts":1700000000.25,"a":null,"m":{"b":1e-3,"id":"ü/~","more":[1,{"a":2},"\u00e9\\"]}}"#,
        r#"{"ts":"2024-05-01T12:30:00Z","a":12.5,"b":null,"c":0}"#,
        " {\"a\": 1 , \"b\":\t-0.0}\n",
        r#"{"series":"x","time":1700000000000,"value":0.5,"covariates":{"0":1,"1":null},"timestamp":17}"#,
    ]
    .map(Vec::from)
    .to_vec()
}

fn decoders() -> Vec<Decoder> {
    let field = |format| TimeSource::Field { name: "ts".into(), format };
    let fields = |names: &[&str]| KeySource::Fields(names.iter().map(ToString::to_string).collect());
    let all = ["a", "b", "c"];
    [
        spec(Format::Json, fields(&["id", "m.id"]), field(TimeFormat::EpochSeconds), &["a", "m.b"], &["c"]),
        spec(Format::Json, fields(&[]), field(TimeFormat::Rfc3339), &all, &all),
        spec(Format::Json, KeySource::Record, TimeSource::Record, &["a"], &["b", "c"]),
        spec(Format::Copy, KeySource::Record, TimeSource::Record, &["a"], &["b", "c"]),
    ]
    .map(|spec| Decoder::new(spec).expect("the spec is sound"))
    .into()
}

/// Delivered values are within their limits, a rejection has a reason, and an accepted record is JSON, except for `NaN`
/// and `Infinity`, which cost their field alone.
pub fn check(bytes: &[u8]) {
    let strict =
        ["NaN", "Infinity"].map(str::as_bytes).iter().all(|word| !bytes.windows(word.len()).any(|part| part == *word));
    DECODERS.with_borrow_mut(|decoders| {
        for decoder in decoders {
            if decode::check(decoder, bytes) && strict {
                let parsed = serde_json::from_slice::<IgnoredAny>(bytes);
                assert!(parsed.is_ok(), "{parsed:?}");
            }
        }
    });
}
