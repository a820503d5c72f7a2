//! Bytes as a line of CSV, of an input topic or of a topic of future covariates.

use std::cell::RefCell;

use foretide::wire::{Decoder, Format, KeySource, TimeFormat, TimeSource};

use super::decode::{self, spec};

thread_local! {
    static DECODERS: RefCell<Vec<Decoder>> = RefCell::new(decoders());
}

/// Tokens that mutations insert.
pub const TOKENS: &[&str] = &[
    ",",
    ";",
    "\"",
    "\"\"",
    "\",\"",
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    "NaN",
    "inf",
    "1e308",
    "-0",
    "+1",
    "1_000",
    "0x10",
    "1e-400",
    "1700000000000",
    "2024-05-01T12:30:00Z",
    "2024-05-01 12:30:00",
    "é",
    "\u{feff}",
];

/// Lines that at least one of the decoders accepts.
pub fn samples() -> Vec<Vec<u8>> {
    [
        "2024-05-01T12:30:00Z,meter-1,1.5,-2e3",
        "2024-05-01T12:30:00+02:00,\"a,\"\"b\"\"\",1.5,",
        "1700000000000;x;\"2.5\";3",
        "2024-05-01 12:30:00,x, 4.25 ,1\r\n",
    ]
    .map(Vec::from)
    .to_vec()
}

fn decoders() -> Vec<Decoder> {
    let format = |delimiter| Format::Csv { columns: ["ts", "id", "a", "b"].map(String::from).into(), delimiter };
    let field = |format| TimeSource::Field { name: "ts".into(), format };
    let fields = |names: &[&str]| KeySource::Fields(names.iter().map(ToString::to_string).collect());
    let stamp = TimeFormat::Strftime { pattern: "%Y-%m-%d %H:%M:%S".into(), zone: jiff::tz::TimeZone::UTC };
    [
        spec(format(b','), fields(&["id"]), field(TimeFormat::Rfc3339), &["a"], &["b"]),
        spec(format(b';'), fields(&[]), field(TimeFormat::EpochMillis), &["a", "b"], &["a", "b"]),
        spec(format(b','), KeySource::Record, field(stamp), &["b"], &[]),
    ]
    .map(|spec| Decoder::new(spec).expect("the spec is sound"))
    .into()
}

/// Delivered values are within their limits, and a rejection has a reason.
pub fn check(bytes: &[u8]) {
    DECODERS.with_borrow_mut(|decoders| {
        for decoder in decoders {
            decode::check(decoder, bytes);
        }
    });
}
