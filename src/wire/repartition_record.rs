//! Records of a repartition topic: copies of observations that are keyed by series, as JSON.
//!
//! ```json
//! {"schema":1,"series":"host-1","time":1700000000000,"value":0.5,"covariates":{"0":21.5,"1":null},
//!  "input":{"topic":"load","partition":2,"offset":17},"timestamp":1700000000123,"warm_up":true}
//! ```
//!
//! `timestamp` is that of the record in `input`. A copy with `"deleted":true` has no time and no value: it ends the
//! series. `docs/RECORDS.md` describes them for readers in other languages.

use std::ops::RangeInclusive;

use super::decode_spec::{DecodeSpec, DecodeSpecError, MAX_MAGNITUDE};
use super::decoded::Decoded;
use super::fields::{FieldValue, Fields};
use super::forecast_record::{write_input, write_text};
use super::json::Paths;
use super::number::{self, write_natural, write_shortest, write_whole};
use super::rejection::{Rejection, RejectionReason};
use crate::time::EventTime;

/// The layout of the records.
const SCHEMA: u32 = 1;
/// The extracted fields, by their indices. The covariates follow them.
const FIELDS: [&str; 6] = ["series", "time", "value", "timestamp", "warm_up", "deleted"];
const SERIES: usize = 0;
const TIME: usize = 1;
const VALUE: usize = 2;
const TIMESTAMP: usize = 3;
const WARM_UP: usize = 4;
const DELETED: usize = 5;

/// The record that a copy was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct CopyOrigin<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl<'a> CopyOrigin<'a> {
    /// The record that the copy `payload` was made of.
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Copy<'a> {
            #[serde(borrow)]
            input: CopyOrigin<'a>,
        }
        serde_json::from_slice(payload).ok().map(|Copy { input }| input)
    }
}

/// Appends the copy of an observation, or of the end of a series, to `out`.
pub fn write_copy(copied: &Decoded<'_>, origin: &CopyOrigin<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"schema":"#);
    write_natural(u64::from(SCHEMA), out);
    out.extend_from_slice(br#","series":"#);
    let (timestamp, warm_up) = match copied {
        Decoded::Observation { series, time, timestamp, value, covariates, warm_up } => {
            write_text(series, out);
            out.extend_from_slice(br#","time":"#);
            write_whole(time.0, out);
            out.extend_from_slice(br#","value":"#);
            write_shortest(*value, out);
            if !covariates.is_empty() {
                out.extend_from_slice(br#","covariates":{"#);
                for (index, covariate) in covariates.iter().enumerate() {
                    out.extend_from_slice(if index == 0 { br#"""# } else { br#",""# });
                    write_natural(index as u64, out);
                    out.extend_from_slice(br#"":"#);
                    write_shortest(*covariate, out);
                }
                out.push(b'}');
            }
            (*timestamp, *warm_up)
        }
        Decoded::Deleted { series, warm_up } => {
            write_text(series, out);
            out.extend_from_slice(br#","deleted":true"#);
            (None, *warm_up)
        }
    };
    write_input(origin.topic, origin.partition, origin.offset, out);
    if let Some(timestamp) = timestamp {
        out.extend_from_slice(br#","timestamp":"#);
        write_whole(timestamp, out);
    }
    if warm_up {
        out.extend_from_slice(br#","warm_up":true"#);
    }
    out.push(b'}');
}

/// Reads copies. Between records it keeps buffers only.
#[derive(Debug)]
pub(super) struct CopyDecoder {
    paths: Paths,
    fields: Fields,
    /// NaN where one is missing.
    covariates: Vec<f64>,
    count: usize,
    /// The longest name of a series, in bytes.
    max_series_bytes: usize,
    times: RangeInclusive<EventTime>,
}

impl CopyDecoder {
    /// Reads copies of observations within the limits of `spec`, with as many past covariates.
    pub fn new(spec: &DecodeSpec) -> Result<Self, DecodeSpecError> {
        let covariates = (0..spec.covariates.len()).map(|index| format!("covariates.{index}"));
        let names: Vec<String> = FIELDS.iter().map(|name| (*name).to_owned()).chain(covariates).collect();
        let longest_suffix = spec.values.iter().map(|name| name.len() + 1).max().unwrap_or(0);
        Ok(Self {
            paths: Paths::new(&names)?,
            fields: Fields::default(),
            covariates: Vec::new(),
            count: names.len(),
            max_series_bytes: spec.max_key_bytes.saturating_add(longest_suffix),
            times: spec.earliest.max(EventTime::MIN)..=spec.latest.min(EventTime::MAX),
        })
    }

    /// Passes what a copy holds to `deliver`.
    ///
    /// # Errors
    /// A [`Rejection`] where it is none that [`write_copy`] writes.
    pub fn decode(&mut self, payload: &str, deliver: &mut impl FnMut(Decoded<'_>)) -> Result<(), Rejection> {
        self.fields.clear(self.count);
        self.paths
            .read(payload, &mut self.fields)
            .map_err(|error| Rejection::new(RejectionReason::BrokenJson, error.explain(payload)))?;
        let Self { fields, covariates, .. } = self;
        let FieldValue::Text(series) = fields.values[SERIES] else { return Err(unusable("series", "a text")) };
        let series = fields.text(payload, series);
        if series.is_empty() || series.len() > self.max_series_bytes {
            return Err(unusable("series", "the name of a series, within stream.limits.key_bytes"));
        }
        let is_true = |field: usize| fields.values[field] == FieldValue::Boolean(true);
        let warm_up = is_true(WARM_UP);
        if is_true(DELETED) {
            deliver(Decoded::Deleted { series, warm_up });
            return Ok(());
        }
        let text = |field: usize| match fields.values[field] {
            FieldValue::Number(span) => Some(fields.text(payload, span)),
            _ => None,
        };
        let whole = |field: usize| text(field).and_then(|text| text.parse::<i64>().ok());
        let finite = |field: usize| text(field).and_then(number::parse).filter(|number| number.abs() <= MAX_MAGNITUDE);
        let (time, timestamp) = (whole(TIME).map(EventTime), whole(TIMESTAMP));
        let time = time.filter(|time| self.times.contains(time));
        let time =
            time.ok_or_else(|| unusable("time", "milliseconds since 1970, from stream.earliest to stream.latest"))?;
        let value = finite(VALUE).ok_or_else(|| unusable("value", "a finite number"))?;
        covariates.clear();
        covariates.extend((FIELDS.len()..self.count).map(|field| finite(field).unwrap_or(f64::NAN)));
        deliver(Decoded::Observation { series, time, timestamp, value, covariates, warm_up });
        Ok(())
    }
}

fn unusable(name: &str, expected: &str) -> Rejection {
    let detail = format!("a copy in a repartition topic: field {name:?}: expected {expected}, found something else");
    Rejection::new(RejectionReason::WrongType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DecodeSpec, Decoder, Format, KeySource, TimeSource};

    fn decoder(covariates: usize) -> Decoder {
        let spec = DecodeSpec {
            format: Format::Copy,
            key: KeySource::Record,
            time: TimeSource::Record,
            values: vec!["v".into()],
            covariates: (0..covariates).map(|index| format!("c{index}")).collect(),
            max_record_bytes: usize::MAX,
            max_key_bytes: 100,
            earliest: EventTime(0),
            latest: EventTime::MAX,
        };
        Decoder::new(spec).unwrap()
    }

    #[test]
    fn a_copy_reads_back_to_the_last_bit() {
        let origin = CopyOrigin { topic: "in", partition: 3, offset: 17 };
        for value in [0.1, -1e100, 1.0 / 3.0, 5e-324, 0.0, 9_007_199_254_740_993.0] {
            for (timestamp, warm_up) in [(None, true), (Some(-5), false)] {
                let (series, time, covariates) = ("a \"é\"\n/b:c", EventTime(1_700_000_000_123), [f64::NAN, value]);
                let copied = Decoded::Observation { series, time, timestamp, value, covariates: &covariates, warm_up };
                let mut payload = Vec::new();
                write_copy(&copied, &origin, &mut payload);
                let mut found = 0;
                let mut deliver = |decoded: Decoded<'_>| {
                    let Decoded::Observation { covariates, .. } = decoded else { panic!("{decoded:?}") };
                    assert!(covariates[0].is_nan() && covariates[1].to_bits() == value.to_bits());
                    assert_eq!(format!("{decoded:?}"), format!("{copied:?}"));
                    found += 1;
                };
                decoder(2).decode_record(None, Some(9), Some(&payload), &mut deliver).unwrap();
                assert_eq!(found, 1);
                assert_eq!(CopyOrigin::read(&payload), Some(origin));
            }
        }
    }

    #[test]
    fn a_deletion_reads_back_and_damage_is_a_rejection() {
        let origin = CopyOrigin { topic: "in", partition: 0, offset: 1 };
        let mut payload = Vec::new();
        write_copy(&Decoded::Deleted { series: "s", warm_up: true }, &origin, &mut payload);
        let mut deliver = |decoded: Decoded<'_>| {
            assert!(matches!(decoded, Decoded::Deleted { series: "s", warm_up: true }), "{decoded:?}");
        };
        decoder(0).decode_record(None, None, Some(&payload), &mut deliver).unwrap();
        let damaged: [&[u8]; 9] = [
            b"",
            b"{",
            br#"{"time":1,"value":1}"#,
            br#"{"series":"s","time":1.5,"value":1}"#,
            br#"{"series":"s","time":9223372036854775807,"value":1}"#,
            br#"{"series":"s","time":1,"value":null}"#,
            br#"{"series":"s","time":1,"value":1e300}"#,
            br#"{"series":"s","time":-1,"value":1}"#,
            br#"{"series":"","time":1,"value":1}"#,
        ];
        for payload in damaged {
            assert!(decoder(0).decode_record(None, None, Some(payload), &mut |_| panic!("delivered")).is_err());
        }
        assert!(decoder(0).decode_record(Some(b"s"), None, None, &mut |_| panic!("delivered")).is_err());
    }
}
