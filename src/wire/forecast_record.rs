//! Forecast records as JSON (schema 1, `docs/forecast.schema.json`).

use super::number::{Decimals, write_natural, write_shortest, write_whole};
use crate::time::EventTime;

/// Decimals of an anomaly score and of a probability.
const PROBABILITY: Decimals = Decimals::exactly(4);

/// The version of the record's schema. Fields may be added under the same version; nothing else may change.
const SCHEMA: u32 = 1;

/// What a single forecast value for the whole horizon means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizonAggregate<'a> {
    /// The aggregate, such as `maximum`.
    pub of: &'a str,
    /// The steps of the horizon.
    pub steps: usize,
    /// The configured threshold, if any, and the probability that the aggregate crosses it.
    pub crossing: Option<ThresholdCrossing>,
}

/// How probably an aggregate crosses a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdCrossing {
    /// The threshold.
    pub threshold: f64,
    /// The probability that the aggregate lies above it, or below it where the aggregate is a minimum.
    pub probability: f32,
}

/// One forecast of one series, as it is written to the forecasts topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastRecord<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The series' key; also the record's key.
    pub series: &'a str,
    /// The time of the newest closed slot: the start of the slot on a regular grid, its time on an irregular one.
    pub origin: EventTime,
    /// The newest closed slot.
    pub step: i64,
    /// The time of each step ahead in milliseconds since the Unix epoch, `[outputs]`; `None` on an irregular grid. Of
    /// an aggregate the end of the horizon.
    pub times: Option<&'a [i64]>,
    /// The value of the newest closed slot; of an empty slot the last one before it.
    pub value: f64,
    /// Whether that slot is empty.
    pub absent: bool,
    /// The point forecasts, `[outputs]`: one per step ahead, or one aggregate.
    pub point: &'a [f64],
    /// The quantile levels, sorted, between 0 and 1.
    pub levels: &'a [f32],
    /// The quantiles, `[outputs, levels]`.
    pub quantiles: &'a [f64],
    /// The anomaly score of the value; `None` where nothing had been forecast for it.
    pub anomaly: Option<f32>,
    /// Whether the series is anomalous; `None` leaves the field out.
    pub anomalous: Option<bool>,
    /// The meaning of an aggregate; `None` for one forecast per step.
    pub aggregate: Option<HorizonAggregate<'a>>,
    /// The version of the weights that made the forecast.
    pub weights_version: u64,
    /// The input topic.
    pub topic: &'a str,
    /// The input partition.
    pub partition: i32,
    /// The offset of the record that closed the slot.
    pub offset: i64,
    /// The series' scale, positive. Points and quantiles are rounded to about a ten-thousandth of it.
    pub scale: f64,
    /// The declared minimum and maximum of points and quantiles; `None` where there is neither. Rounding does not take
    /// them beyond.
    pub bounds: Option<[f64; 2]>,
}

/// Encodes forecast records. It caches texts that many records share.
#[derive(Debug, Default)]
pub struct ForecastEncoder {
    /// The times of the last record, and their text.
    times: Vec<i64>,
    times_text: Vec<u8>,
    /// The levels of the last record, and their texts, such as `"0.05":[`.
    levels: Vec<f32>,
    level_names: Vec<Vec<u8>>,
}

impl ForecastEncoder {
    /// An encoder with empty caches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the content of `out` by the record's JSON.
    ///
    /// Points and quantiles are rounded half away from zero to the fewest decimals (0 to 15) of which the last is
    /// worth at most a ten-thousandth of the scale. With a scale below 1e-11, and for numbers of more than 2^53 last
    /// decimals, they are written in full; so are numbers that would be rounded beyond the bounds. The value is
    /// always written in full, anomaly score and probability with 4 decimals. A number that is not finite becomes
    /// `null`.
    pub fn encode(&mut self, record: &ForecastRecord<'_>, out: &mut Vec<u8>) {
        out.clear();
        // Measured records have about 9 bytes a number and 14 a time.
        out.reserve(512 + 9 * (record.point.len() + record.quantiles.len()) + 14 * record.point.len());
        out.extend_from_slice(br#"{"schema":"#);
        write_natural(u64::from(SCHEMA), out);
        out.extend_from_slice(br#","stream":"#);
        write_text(record.stream, out);
        out.extend_from_slice(br#","series":"#);
        write_text(record.series, out);
        out.extend_from_slice(br#","origin":"#);
        write_whole(record.origin.0, out);
        out.extend_from_slice(br#","step":"#);
        write_whole(record.step, out);
        out.extend_from_slice(br#","times":"#);
        match record.times {
            Some(times) => out.extend_from_slice(self.times_text(times)),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","value":"#);
        write_shortest(record.value, out);
        if record.absent {
            out.extend_from_slice(br#","absent":true"#);
        }
        let decimals = Decimals::for_scale(record.scale);
        out.extend_from_slice(br#","point":["#);
        write_numbers(record.point.iter(), decimals, record.bounds, out);
        out.extend_from_slice(br#"],"quantiles":{"#);
        self.name_levels(record.levels);
        for (level, name) in self.level_names.iter().enumerate() {
            out.extend_from_slice(name);
            let path = record.quantiles.iter().skip(level).step_by(record.levels.len());
            write_numbers(path, decimals, record.bounds, out);
            out.extend_from_slice(b"],");
        }
        if !record.levels.is_empty() {
            out.pop();
        }
        out.extend_from_slice(br#"},"anomaly":"#);
        match record.anomaly {
            Some(anomaly) => PROBABILITY.write(f64::from(anomaly), out),
            None => out.extend_from_slice(b"null"),
        }
        match record.anomalous {
            Some(true) => out.extend_from_slice(br#","anomalous":true"#),
            Some(false) => out.extend_from_slice(br#","anomalous":false"#),
            None => {}
        }
        if let Some(aggregate) = &record.aggregate {
            write_aggregate(aggregate, out);
        }
        out.extend_from_slice(br#","weights_version":"#);
        write_natural(record.weights_version, out);
        write_input(record.topic, record.partition, record.offset, out);
        out.push(b'}');
    }

    fn times_text(&mut self, times: &[i64]) -> &[u8] {
        if self.times_text.is_empty() || self.times != times {
            self.times.clear();
            self.times.extend_from_slice(times);
            self.times_text.clear();
            self.times_text.push(b'[');
            for (place, &time) in times.iter().enumerate() {
                if place > 0 {
                    self.times_text.push(b',');
                }
                write_whole(time, &mut self.times_text);
            }
            self.times_text.push(b']');
        }
        &self.times_text
    }

    fn name_levels(&mut self, levels: &[f32]) {
        if self.levels != levels {
            self.levels = levels.to_vec();
            // The shortest decimals of the 32-bit level: 0.05 and not 0.05000000074505806.
            self.level_names = levels.iter().map(|level| format!("\"{level}\":[").into_bytes()).collect();
        }
    }
}

fn write_numbers<'a>(
    numbers: impl Iterator<Item = &'a f64>,
    decimals: Option<Decimals>,
    bounds: Option<[f64; 2]>,
    out: &mut Vec<u8>,
) {
    let is_rounded_beyond = |decimals: Decimals, number| {
        bounds.is_some_and(|[minimum, maximum]| {
            let rounded = decimals.round(number);
            rounded < minimum || rounded > maximum
        })
    };
    for (place, &number) in numbers.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        match decimals {
            Some(decimals) if !is_rounded_beyond(decimals, number) => decimals.write(number, out),
            _ => write_shortest(number, out),
        }
    }
}

fn write_aggregate(aggregate: &HorizonAggregate<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","target":{"of":"#);
    write_text(aggregate.of, out);
    out.extend_from_slice(br#","steps":"#);
    write_natural(aggregate.steps as u64, out);
    out.push(b'}');
    if let Some(ThresholdCrossing { threshold, probability }) = aggregate.crossing {
        out.extend_from_slice(br#","crossing":{"threshold":"#);
        write_shortest(threshold, out);
        out.extend_from_slice(br#","probability":"#);
        PROBABILITY.write(f64::from(probability), out);
        out.push(b'}');
    }
}

/// Writes the member that names an input record.
pub(super) fn write_input(topic: &str, partition: i32, offset: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","input":{"topic":"#);
    write_text(topic, out);
    out.extend_from_slice(br#","partition":"#);
    write_whole(i64::from(partition), out);
    out.extend_from_slice(br#","offset":"#);
    write_whole(offset, out);
    out.push(b'}');
}

/// Writes a JSON string (RFC 8259, section 7).
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    out.extend_from_slice(b"\\u00");
                    out.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn small() -> ForecastRecord<'static> {
        ForecastRecord {
            stream: "load",
            series: "plant/1:power",
            origin: EventTime(1_700_000_000_000),
            step: 472_222,
            times: Some(&[1_700_003_600_000, 1_700_007_200_000]),
            value: 20.125,
            absent: false,
            point: &[20.13, 20.245_678],
            levels: &[0.05, 0.5, 0.95],
            quantiles: &[19.0, 20.13, 21.0, 18.5, 20.245_678, 22.0],
            anomaly: Some(0.731_28),
            anomalous: None,
            aggregate: None,
            weights_version: 3,
            topic: "meters",
            partition: 7,
            offset: 123_456,
            scale: 1.5,
            bounds: None,
        }
    }

    fn encode(record: &ForecastRecord<'_>) -> String {
        let mut out = b"earlier content".to_vec();
        ForecastEncoder::new().encode(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_has_the_documented_bytes() {
        assert_eq!(
            encode(&small()),
            "{\"schema\":1,\"stream\":\"load\",\"series\":\"plant/1:power\",\"origin\":1700000000000,\"step\":472222,\
             \"times\":[1700003600000,1700007200000],\"value\":20.125,\"point\":[20.13,20.2457],\
             \"quantiles\":{\"0.05\":[19,18.5],\"0.5\":[20.13,20.2457],\"0.95\":[21,22]},\"anomaly\":0.7313,\
             \"weights_version\":3,\"input\":{\"topic\":\"meters\",\"partition\":7,\"offset\":123456}}"
        );
    }

    #[test]
    fn rounding_leaves_no_bounds() {
        let bounds = Some([-2.000_04, 19.999_96]);
        let point = [-2.000_04, -2.000_02, 19.999_96, 19.999_94];
        let record = ForecastRecord { point: &point, bounds, ..small() };
        assert!(encode(&record).contains(r#""point":[-2,-2,19.99996,19.9999],"#), "{}", encode(&record));
        let record = ForecastRecord { bounds: Some([-1.999_97, f64::INFINITY]), point: &[-1.999_97, 25.0], ..small() };
        assert!(encode(&record).contains(r#""point":[-1.99997,25],"#), "{}", encode(&record));
    }

    #[test]
    fn an_aggregate_names_its_target_and_threshold() {
        let aggregate = HorizonAggregate {
            of: "maximum",
            steps: 24,
            crossing: Some(ThresholdCrossing { threshold: 80.5, probability: 0.031_24 }),
        };
        let record = ForecastRecord {
            times: Some(&[1_700_086_400_000]),
            point: &[20.13],
            quantiles: &[19.0, 20.13, 21.0],
            aggregate: Some(aggregate),
            ..small()
        };
        let value: Value = serde_json::from_str(&encode(&record)).unwrap();
        assert_eq!(value["target"], serde_json::json!({"of": "maximum", "steps": 24}));
        assert_eq!(value["crossing"], serde_json::json!({"threshold": 80.5, "probability": 0.0312}));
        let without = ForecastRecord { aggregate: Some(HorizonAggregate { crossing: None, ..aggregate }), ..record };
        let value: Value = serde_json::from_str(&encode(&without)).unwrap();
        assert!(value["target"].is_object() && value.get("crossing").is_none());
    }

    #[test]
    fn unknown_values_are_null() {
        let record = ForecastRecord { times: None, anomaly: None, levels: &[], quantiles: &[], ..small() };
        let value: Value = serde_json::from_str(&encode(&record)).unwrap();
        assert!(value["times"].is_null() && value["anomaly"].is_null());
        assert_eq!(value["quantiles"], serde_json::json!({}));
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        let record =
            ForecastRecord { value: f64::NAN, point: &[f64::INFINITY, 1.0], anomaly: Some(f32::NAN), ..small() };
        let value: Value = serde_json::from_str(&encode(&record)).unwrap();
        assert!(value["value"].is_null() && value["point"][0].is_null() && value["anomaly"].is_null());
    }

    #[test]
    fn cached_texts_change_no_byte() {
        let other = ForecastRecord { times: Some(&[1]), point: &[1.0], levels: &[0.5], quantiles: &[1.0], ..small() };
        let none = ForecastRecord { times: Some(&[]), point: &[], levels: &[], quantiles: &[], ..small() };
        let mut encoder = ForecastEncoder::new();
        for record in [small(), other, small(), none, other, none, small(), small()] {
            let mut out = Vec::new();
            encoder.encode(&record, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), encode(&record));
        }
    }

    proptest! {
        #[test]
        fn every_finite_record_is_valid_json_within_the_rounding(
            stream in "(?s).{0,12}", series in "(?s).{0,24}", topic in "(?s).{0,12}",
            (origin, step, offset, version) in (any::<i64>(), any::<i64>(), any::<i64>(), any::<u64>()),
            value in any::<f64>().prop_filter("finite", |number| number.is_finite()),
            numbers in proptest::collection::vec(-1e12..1e12f64, 12),
            times in proptest::option::of(proptest::array::uniform3(any::<i64>())),
            (exponent, anomaly) in (-14..14i32, proptest::option::of(0f32..1.0)),
            anomalous in proptest::option::of(proptest::bool::ANY),
        ) {
            let scale = 10f64.powi(exponent) * 3.0;
            let record = ForecastRecord {
                stream: &stream, series: &series, topic: &topic, origin: EventTime(origin), step, offset,
                times: times.as_ref().map(|times| &times[..]), value,
                absent: anomalous == Some(true), point: &numbers[..3], levels: &[0.1, 0.5, 0.975],
                quantiles: &numbers[3..], anomaly, anomalous, aggregate: None, weights_version: version, partition: 0,
                scale, bounds: None,
            };
            let text = encode(&record);
            let back: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&back["stream"], &stream);
            prop_assert_eq!(&back["series"], &series);
            prop_assert_eq!(&back["input"]["topic"], &topic);
            prop_assert_eq!(back["origin"].as_i64(), Some(origin));
            prop_assert_eq!(back["step"].as_i64(), Some(step));
            prop_assert_eq!(back["input"]["offset"].as_i64(), Some(offset));
            prop_assert_eq!(back["weights_version"].as_u64(), Some(version));
            prop_assert_eq!(&back["times"], &serde_json::json!(times));
            // serde_json may be off by an ulp or two.
            prop_assert!((back["value"].as_f64().unwrap() - value).abs() <= value.abs() * 1e-15 + 1e-323);
            let near = |back: &Value, number: f64| {
                (back.as_f64().unwrap() - number).abs() <= scale / 2e4 * 1.001 + number.abs() * 1e-15
            };
            for (horizon, &number) in record.point.iter().enumerate() {
                prop_assert!(near(&back["point"][horizon], number));
                for (level, name) in ["0.1", "0.5", "0.975"].iter().enumerate() {
                    prop_assert!(near(&back["quantiles"][name][horizon], record.quantiles[horizon * 3 + level]));
                }
            }
            prop_assert_eq!(back["anomaly"].is_null(), anomaly.is_none());
            prop_assert_eq!(back["anomalous"].as_bool(), anomalous);
            prop_assert_eq!(back.get("absent").is_some(), record.absent);
        }
    }
}
