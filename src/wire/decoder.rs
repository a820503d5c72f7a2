//! Observations from records: strict, limited, and without an allocation for a good record.

use super::csv::Columns;
use super::decode_spec::{DecodeSpec, DecodeSpecError, Format, KeySource, MAX_MAGNITUDE, TimeSource};
use super::decoded::Decoded;
use super::fields::{FieldValue, Fields};
use super::framing;
use super::json::Paths;
use super::number;
use super::rejection::{Rejection, RejectionReason};
use super::repartition_record::CopyDecoder;
use super::timestamp::format_time;
use crate::time::EventTime;

/// Decodes records as a [`DecodeSpec`] says. Between records it keeps buffers only.
#[derive(Debug)]
pub struct Decoder {
    spec: DecodeSpec,
    parser: Parser,
    /// How many different fields are extracted.
    field_count: usize,
    /// The indices of the extracted fields that hold the time, the key, the values and the covariates.
    time_field: Option<usize>,
    key_fields: Vec<usize>,
    value_fields: Vec<usize>,
    covariate_fields: Vec<usize>,
    /// What follows the key in the name of each value's series.
    suffixes: Vec<String>,
    fields: Fields,
    /// The covariates of the current record, NaN where one is missing.
    covariates: Vec<f64>,
    /// The name of the current series.
    series: String,
}

/// Extracts fields from the bytes of one format.
#[derive(Debug)]
enum Parser {
    Json(Paths),
    Csv(Columns),
    Copy(CopyDecoder),
}

impl Decoder {
    /// A decoder for `spec`.
    ///
    /// # Errors
    /// [`DecodeSpecError`] where the spec contradicts itself.
    pub fn new(spec: DecodeSpec) -> Result<Self, DecodeSpecError> {
        let key_names: &[String] = if let KeySource::Fields(names) = &spec.key { names } else { &[] };
        check_distinct(key_names)?;
        check_distinct(&spec.values)?;
        check_distinct(&spec.covariates)?;
        if spec.values.is_empty() {
            return Err(DecodeSpecError::NoValues);
        }
        let mut names: Vec<String> = Vec::new();
        let mut index_of = |name: &String| {
            names.iter().position(|other| other == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        };
        let key_fields = key_names.iter().map(&mut index_of).collect();
        let value_fields = spec.values.iter().map(&mut index_of).collect();
        let covariate_fields = spec.covariates.iter().map(&mut index_of).collect();
        let time_field = match &spec.time {
            TimeSource::Record => None,
            TimeSource::Field { name, .. } => Some(index_of(name)),
        };
        Ok(Self {
            parser: parser(&spec, &names)?,
            field_count: names.len(),
            time_field,
            key_fields,
            value_fields,
            covariate_fields,
            covariates: Vec::new(),
            suffixes: suffixes(&spec)?,
            fields: Fields::default(),
            series: String::new(),
            spec,
        })
    }

    /// The spec of the decoder.
    pub fn spec(&self) -> &DecodeSpec {
        &self.spec
    }

    /// Decodes one record and passes each observation, (series, time, value, covariates), to `deliver`, in the order of
    /// the value fields. A covariate that is absent, null or unusable is NaN.
    ///
    /// # Errors
    /// A [`Rejection`] where the record, or one of its fields, cannot be used. The other value fields have been
    /// delivered by then: unless key, time or the record as a whole is bad, each field stands for itself. Of several
    /// value fields some may be absent or null, but not all.
    pub fn decode(
        &mut self,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        payload: Option<&[u8]>,
        deliver: &mut impl FnMut(&str, EventTime, f64, &[f64]),
    ) -> Result<(), Rejection> {
        let payload = self.payload(payload)?;
        self.fields.clear(self.field_count);
        match &mut self.parser {
            Parser::Copy(copies) => {
                let mut deletes = false;
                copies.decode(payload, &mut |decoded| match decoded {
                    Decoded::Observation { series, time, value, covariates, .. } => {
                        deliver(series, time, value, covariates);
                    }
                    Decoded::Deleted { .. } => deletes = true,
                })?;
                return if deletes { self.payload(None).map(drop) } else { Ok(()) };
            }
            Parser::Json(paths) => paths
                .read(payload, &mut self.fields)
                .map_err(|error| unreadable(RejectionReason::BrokenJson, payload, || error.explain(payload)))?,
            Parser::Csv(columns) => columns
                .read(payload, &mut self.fields)
                .map_err(|error| unreadable(RejectionReason::BrokenCsv, payload, || error.explain(payload)))?,
        }
        self.name_series(key, payload)?;
        let time = self.time(timestamp, payload)?;
        let key_length = self.series.len();
        let (mut delivered, mut rejected) = (0, 0);
        let mut first: Option<Rejection> = None;
        self.covariates.clear();
        for (name, &field) in self.spec.covariates.iter().zip(&self.covariate_fields) {
            let number =
                self.number(("covariate", name), self.fields.values[field], payload).unwrap_or_else(|rejection| {
                    rejected += 1;
                    first.get_or_insert(rejection);
                    None
                });
            self.covariates.push(number.unwrap_or(f64::NAN));
        }
        for (place, &field) in self.value_fields.iter().enumerate() {
            match self.number(("value field", &self.spec.values[place]), self.fields.values[field], payload) {
                Ok(Some(value)) => {
                    self.series.truncate(key_length);
                    self.series.push_str(&self.suffixes[place]);
                    deliver(&self.series, time, value, &self.covariates);
                    delivered += 1;
                }
                Ok(None) => {}
                Err(rejection) => {
                    rejected += 1;
                    first.get_or_insert(rejection);
                }
            }
        }
        match first {
            Some(rejection) if rejected > 1 => Err(Rejection::new(
                rejection.reason,
                format!("{} (and {} more fields)", rejection.detail, rejected - 1),
            )),
            Some(rejection) => Err(rejection),
            None if delivered == 0 => Err(self.no_value(payload)),
            None => Ok(()),
        }
    }

    /// Decodes one record, and passes each observation and each series that it deletes to `deliver`.
    ///
    /// # Errors
    /// Those of [`Self::decode`] and [`Self::decode_tombstone`].
    pub fn decode_record(
        &mut self,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        payload: Option<&[u8]>,
        deliver: &mut impl FnMut(Decoded<'_>),
    ) -> Result<(), Rejection> {
        let warm_up = false;
        if let Parser::Copy(_) = self.parser {
            let payload = self.payload(payload)?;
            let Parser::Copy(copies) = &mut self.parser else { return Ok(()) };
            return copies.decode(payload, deliver);
        }
        if payload.is_none() {
            return self.decode_tombstone(key, &mut |series| deliver(Decoded::Deleted { series, warm_up }));
        }
        self.decode(key, timestamp, payload, &mut |series, time, value, covariates| {
            deliver(Decoded::Observation { series, time, timestamp, value, covariates, warm_up });
        })
    }

    /// Passes the name of each series that a record without a value deletes, as a compacted topic means it: those of
    /// the record's key.
    ///
    /// # Errors
    /// A [`Rejection`] where the record has no key that names series: `stream.key` names fields of the value, or the
    /// key cannot be used.
    pub fn decode_tombstone(&mut self, key: Option<&[u8]>, deliver: &mut impl FnMut(&str)) -> Result<(), Rejection> {
        if self.spec.key != KeySource::Record {
            self.payload(None)?;
        }
        self.name_series(key, "")?;
        let key_length = self.series.len();
        for suffix in &self.suffixes {
            self.series.truncate(key_length);
            self.series.push_str(suffix);
            deliver(&self.series);
        }
        Ok(())
    }

    fn payload<'a>(&self, payload: Option<&'a [u8]>) -> Result<&'a str, Rejection> {
        let bytes = payload.ok_or_else(|| {
            Rejection::new(
                RejectionReason::Tombstone,
                "expected a value, found none (a tombstone, which deletes a series only where stream.key is the \
                 record's key)",
            )
        })?;
        let limit = self.spec.max_record_bytes;
        if bytes.len() > limit {
            let detail = format!("expected at most {limit} bytes (stream.limits.record_bytes), found {}", bytes.len());
            return Err(Rejection::new(RejectionReason::TooLarge, detail));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Rejection::new(
                RejectionReason::EmptyRecord,
                "expected a value, found no bytes but white space",
            ));
        }
        std::str::from_utf8(bytes).map_err(|error| match framing::describe(bytes) {
            Some(framing) => Rejection::new(RejectionReason::NotUtf8, framing),
            None => not_utf8("value", error),
        })
    }

    /// Sets `series` to the key of the record.
    fn name_series(&mut self, key: Option<&[u8]>, payload: &str) -> Result<(), Rejection> {
        self.series.clear();
        if self.spec.key == KeySource::Record {
            let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
                Rejection::new(
                    RejectionReason::MissingKey,
                    "expected a record with a key that names its series, found none",
                )
            })?;
            self.series.push_str(std::str::from_utf8(key).map_err(|error| not_utf8("key", error))?);
        }
        for (place, &field) in self.key_fields.iter().enumerate() {
            let found = self.fields.values[field];
            let reject = |reason| {
                let KeySource::Fields(names) = &self.spec.key else { return Rejection::new(reason, "") };
                let found = self.fields.describe(payload, found);
                let detail = format!(
                    "key field {:?}: expected a text, a whole number, true or false, found {found}",
                    names[place]
                );
                Rejection::new(reason, detail)
            };
            let text = match found {
                FieldValue::Boolean(true) => "true",
                FieldValue::Boolean(false) => "false",
                FieldValue::Text(span) | FieldValue::Cell(span) => self.fields.text(payload, span),
                FieldValue::Number(span) => Some(self.fields.text(payload, span))
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
                    .ok_or_else(|| reject(RejectionReason::WrongType))?,
                FieldValue::Absent | FieldValue::Null => return Err(reject(RejectionReason::MissingKey)),
                FieldValue::Array | FieldValue::Object => return Err(reject(RejectionReason::WrongType)),
            };
            if text.is_empty() {
                return Err(reject(RejectionReason::MissingKey));
            }
            if self.key_fields.len() == 1 {
                self.series.push_str(text);
                continue;
            }
            if place > 0 {
                self.series.push('/');
            }
            for character in text.chars() {
                match character {
                    '~' => self.series.push_str("~0"),
                    '/' => self.series.push_str("~1"),
                    plain => self.series.push(plain),
                }
            }
        }
        let (limit, length) = (self.spec.max_key_bytes, self.series.len());
        if length > limit {
            let detail = format!("expected a key of at most {limit} bytes (stream.limits.key_bytes), found {length}");
            return Err(Rejection::new(RejectionReason::TooLarge, detail));
        }
        Ok(())
    }

    fn time(&self, timestamp: Option<i64>, payload: &str) -> Result<EventTime, Rejection> {
        let (time, found) = match (&self.spec.time, self.time_field) {
            (TimeSource::Field { name, format }, Some(field)) => {
                let found = self.fields.values[field];
                let reject = |reason| {
                    let (expected, found) = (format.expectation(), self.fields.describe(payload, found));
                    Rejection::new(reason, format!("time field {name:?}: expected {expected}, found {found}"))
                };
                let span = match found {
                    FieldValue::Absent | FieldValue::Null => return Err(reject(RejectionReason::MissingField)),
                    FieldValue::Number(span) if format.is_number() => span,
                    FieldValue::Text(span) if !format.is_number() => span,
                    FieldValue::Cell(span) => span,
                    _ => return Err(reject(RejectionReason::WrongType)),
                };
                let time = format.parse(self.fields.text(payload, span).trim_ascii());
                (time.ok_or_else(|| reject(RejectionReason::BadTime))?, Some((name, found)))
            }
            _ => {
                let reject =
                    || Rejection::new(RejectionReason::BadTime, "expected a record with a timestamp, found none");
                (EventTime(timestamp.ok_or_else(reject)?), None)
            }
        };
        let (earliest, latest) = (self.spec.earliest.max(EventTime::MIN), self.spec.latest.min(EventTime::MAX));
        if (earliest..=latest).contains(&time) {
            return Ok(time);
        }
        let found = found.map_or_else(
            || format!("the record's timestamp {}", time.0),
            |(name, found)| format!("time field {name:?}: {}", self.fields.describe(payload, found)),
        );
        let (earliest, latest) = (format_time(earliest), format_time(latest));
        let detail = format!("{found} means {}; expected a time from {earliest} to {latest}", format_time(time));
        Err(Rejection::new(RejectionReason::AbsurdTime, detail))
    }

    /// The number in a field, of which `kind` and `name` describe the role; `None` where the field is absent or null.
    fn number(&self, (kind, name): (&str, &str), found: FieldValue, payload: &str) -> Result<Option<f64>, Rejection> {
        let reject = |reason, expected: &str| {
            let found = self.fields.describe(payload, found);
            Rejection::new(reason, format!("{kind} {name:?}: expected {expected}, found {found}"))
        };
        let text = match found {
            FieldValue::Absent | FieldValue::Null => return Ok(None),
            FieldValue::Number(span) => self.fields.text(payload, span),
            FieldValue::Cell(span) => self.fields.text(payload, span).trim_ascii(),
            FieldValue::Text(_) => return Err(reject(RejectionReason::WrongType, "a number without quotes")),
            _ => return Err(reject(RejectionReason::WrongType, "a number")),
        };
        match number::parse(text) {
            Some(number) if number.abs() <= MAX_MAGNITUDE => Ok(Some(number)),
            // Where there are digits, the number is not infinite: it overflowed.
            Some(number) if number.is_finite() || text.bytes().any(|byte| byte.is_ascii_digit()) => {
                Err(reject(RejectionReason::OutOfRange, "a number of at most 1e100 in size"))
            }
            Some(_) => Err(reject(RejectionReason::NotFinite, "a finite number")),
            None => Err(reject(RejectionReason::WrongType, "a number")),
        }
    }

    /// Rejects a record without any value.
    fn no_value(&self, payload: &str) -> Rejection {
        let detail = match (&self.spec.values[..], &self.value_fields[..]) {
            ([name], &[field]) => {
                let found = self.fields.describe(payload, self.fields.values[field]);
                format!("value field {name:?}: expected a number, found {found}")
            }
            (names, _) => format!("expected a number in at least one of the value fields {}", names.join(", ")),
        };
        Rejection::new(RejectionReason::MissingField, detail)
    }
}

/// Checks that no name occurs twice.
fn check_distinct(names: &[String]) -> Result<(), DecodeSpecError> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DecodeSpecError::Repeated(pair[0].clone())),
        None => Ok(()),
    }
}

/// The parser that extracts the fields `names`.
fn parser(spec: &DecodeSpec, names: &[String]) -> Result<Parser, DecodeSpecError> {
    let (columns, delimiter) = match &spec.format {
        Format::Json => return Ok(Parser::Json(Paths::new(names)?)),
        Format::Copy => return Ok(Parser::Copy(CopyDecoder::new(spec)?)),
        Format::Csv { columns, delimiter } => (columns, delimiter),
    };
    if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\n' | b'\r' | b'\0') {
        return Err(DecodeSpecError::Delimiter(char::from(*delimiter)));
    }
    check_distinct(columns)?;
    if let Some(field) = names.iter().find(|name| !columns.contains(name)) {
        return Err(DecodeSpecError::NotAColumn { field: field.clone(), columns: columns.join(", ") });
    }
    let fields = columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
    Ok(Parser::Csv(Columns::new(fields, *delimiter)))
}

/// What follows the key in the name of each value field's series.
fn suffixes(spec: &DecodeSpec) -> Result<Vec<String>, DecodeSpecError> {
    if spec.key == KeySource::Fields(Vec::new()) {
        return Ok(spec.values.clone());
    }
    if let [_] = spec.values[..] {
        return Ok(vec![String::new()]);
    }
    let suffixes: Vec<String> = spec.values.iter().map(|field| format!(":{field}")).collect();
    for (longer, field) in spec.values.iter().enumerate() {
        if let Some(shorter) = suffixes.iter().position(|suffix| field.ends_with(suffix)) {
            return Err(DecodeSpecError::Ambiguous(spec.values[longer].clone(), spec.values[shorter].clone()));
        }
    }
    Ok(suffixes)
}

/// The rejection of a value that is not in the configured format; `explain` says where it departs from it.
fn unreadable(reason: RejectionReason, payload: &str, explain: impl FnOnce() -> String) -> Rejection {
    Rejection::new(reason, framing::describe(payload.as_bytes()).unwrap_or_else(explain))
}

fn not_utf8(what: &str, error: std::str::Utf8Error) -> Rejection {
    let detail = format!("expected a {what} in UTF-8, found something else at byte {}", error.valid_up_to());
    Rejection::new(RejectionReason::NotUtf8, detail)
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
