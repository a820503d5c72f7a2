//! Records to observations: strict, limited, and without an allocation on the way of a good record.

use super::{
    csv::Columns,
    fields::{Fields, Found},
    json::Paths,
    number,
    refusal::{Reason, Rejection},
    timestamp::TimeFormat,
};
use crate::time::EventTime;

/// The largest magnitude of a value; what is larger is refused as out of range.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// How a record's value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record (UTF-8). Of repeated names only those are noticed that are wanted.
    Json,
    /// One line of CSV a record (UTF-8, RFC 4180 quotes), without a header line.
    Csv {
        /// The names of the columns, in order; every record must have exactly these.
        columns: Vec<String>,
        /// The byte between columns, such as `b','` or `b';'`.
        delimiter: u8,
    },
}

/// Where the key of a series comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The record's key, UTF-8 and not empty.
    Record,
    /// Fields of the record's value (text, whole numbers, true or false), joined by `/`. With more than one field, `~`
    /// and `/` within a field are written `~0` and `~1` (as in RFC 6901), so that different fields never give the same
    /// key. No field at all: the stream has one series for each value field, named after it.
    Fields(Vec<String>),
}

/// Where the time of an observation comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeSource {
    /// The record's timestamp.
    Record,
    /// A field of the record's value.
    Field {
        /// The field's name (in JSON: its path).
        name: String,
        /// How it is written.
        format: TimeFormat,
    },
}

/// How a stream's records are read. A field of a JSON record is named by its path: `metrics.cpu` is the member `cpu` of
/// the member `metrics`; `\.` stands for a dot within a name.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeSpec {
    /// How a record's value is written.
    pub format: Format,
    /// Where the key of a series comes from.
    pub key: KeySource,
    /// Where the time comes from.
    pub time: TimeSource,
    /// The value fields; at least one. With one, a series is named by its key alone; with more, by `<key>:<field>`.
    pub values: Vec<String>,
    /// Number fields that come with every value and are no series of their own; any may be absent.
    pub covariates: Vec<String>,
    /// The longest value of a record, in bytes.
    pub max_record_bytes: usize,
    /// The longest key of a series (without the value field's name), in bytes.
    pub max_key_bytes: usize,
    /// The earliest time that is believed.
    pub earliest: EventTime,
    /// The latest time that is believed.
    pub latest: EventTime,
}

/// What contradicts itself in a [`DecodeSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeSpecError {
    /// No value field.
    #[error("expected at least one value field, found none")]
    NoValues,
    /// A field is named twice in one list.
    #[error("the field {0:?} is named twice; name each field once")]
    Repeated(String),
    /// A field is not among the columns.
    #[error("the field {field:?} is none of the columns ({columns}); add it to the columns or correct its name")]
    NotAColumn {
        /// The field.
        field: String,
        /// The columns.
        columns: String,
    },
    /// A field is wanted as a value and as an object at once.
    #[error("the field {0:?} is wanted itself and as the object around another field; a field can only be one of both")]
    Conflict(String),
    /// A path has an empty part or too many parts.
    #[error("the field {0:?} is no path of 1 to 16 names separated by dots")]
    Path(String),
    /// Two different pairs of key and field would give the same series.
    #[error(
        "the value fields {0:?} and {1:?} could give two series the same name, since one ends with ':' and the other"
    )]
    Ambiguous(String, String),
    /// The delimiter cannot separate columns.
    #[error("the delimiter {0:?} cannot separate columns; use a single character such as ',', ';' or a tab")]
    Delimiter(char),
}

/// Reads records by a [`DecodeSpec`]. Keeps buffers between records, and nothing else.
#[derive(Debug)]
pub struct Decoder {
    spec: DecodeSpec,
    layout: Layout,
    /// How many different fields are wanted.
    wanted: usize,
    /// Of the time, the key and the values: which wanted field holds them.
    time_field: Option<usize>,
    key_fields: Vec<usize>,
    value_fields: Vec<usize>,
    covariate_fields: Vec<usize>,
    /// What follows the key in the name of each value's series.
    suffixes: Vec<String>,
    fields: Fields,
    /// The covariates that are being delivered; NaN where there is none.
    covariates: Vec<f64>,
    /// The name of the series that is being delivered.
    series: String,
}

#[derive(Debug)]
enum Layout {
    Json(Paths),
    Csv(Columns),
}

impl Decoder {
    /// Checks the spec and prepares for it.
    ///
    /// # Errors
    /// [`DecodeSpecError`] where the spec contradicts itself.
    pub fn new(spec: DecodeSpec) -> Result<Self, DecodeSpecError> {
        let key_names: &[String] = if let KeySource::Fields(names) = &spec.key { names } else { &[] };
        distinct(key_names)?;
        distinct(&spec.values)?;
        distinct(&spec.covariates)?;
        if spec.values.is_empty() {
            return Err(DecodeSpecError::NoValues);
        }
        let mut names: Vec<String> = Vec::new();
        let mut number = |name: &String| {
            names.iter().position(|other| other == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        };
        let key_fields = key_names.iter().map(&mut number).collect();
        let value_fields = spec.values.iter().map(&mut number).collect();
        let covariate_fields = spec.covariates.iter().map(&mut number).collect();
        let time_field = match &spec.time {
            TimeSource::Record => None,
            TimeSource::Field { name, .. } => Some(number(name)),
        };
        Ok(Self {
            layout: layout(&spec.format, &names)?,
            wanted: names.len(),
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

    /// The spec it reads by.
    pub fn spec(&self) -> &DecodeSpec {
        &self.spec
    }

    /// Reads one record and gives each observation, (series, time, value, covariates), to `deliver`, in the order of the value
    /// fields.
    ///
    /// # Errors
    /// A [`Rejection`] where the record, or one of its value fields, cannot be used. Its other value fields have been
    /// delivered by then: each field stands for itself, unless key, time or the record as a whole is bad. Of several
    /// value fields some may be absent or null, but not all. A covariate that is absent or null, or cannot be used, is NaN.
    pub fn decode(
        &mut self,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        payload: Option<&[u8]>,
        deliver: &mut impl FnMut(&str, EventTime, f64, &[f64]),
    ) -> Result<(), Rejection> {
        let payload = self.payload(payload)?;
        self.fields.clear(self.wanted);
        match &mut self.layout {
            Layout::Json(paths) => paths
                .read(payload, &mut self.fields)
                .map_err(|broken| Rejection::new(Reason::BrokenJson, broken.explain(payload)))?,
            Layout::Csv(columns) => columns
                .read(payload, &mut self.fields)
                .map_err(|broken| Rejection::new(Reason::BrokenCsv, broken.explain(payload)))?,
        }
        self.name_series(key, payload)?;
        let time = self.time(timestamp, payload)?;
        let key_length = self.series.len();
        let (mut delivered, mut refused) = (0, 0);
        let mut first: Option<Rejection> = None;
        self.covariates.clear();
        for (name, &field) in self.spec.covariates.iter().zip(&self.covariate_fields) {
            let number =
                self.number(("covariate", name), self.fields.found[field], payload).unwrap_or_else(|refusal| {
                    refused += 1;
                    first.get_or_insert(refusal);
                    None
                });
            self.covariates.push(number.unwrap_or(f64::NAN));
        }
        for (place, &field) in self.value_fields.iter().enumerate() {
            match self.number(("value field", &self.spec.values[place]), self.fields.found[field], payload) {
                Ok(Some(value)) => {
                    self.series.truncate(key_length);
                    self.series.push_str(&self.suffixes[place]);
                    deliver(&self.series, time, value, &self.covariates);
                    delivered += 1;
                }
                Ok(None) => {}
                Err(refusal) => {
                    refused += 1;
                    first.get_or_insert(refusal);
                }
            }
        }
        match first {
            Some(refusal) if refused > 1 => {
                Err(Rejection::new(refusal.reason, format!("{} (and {} more fields)", refusal.detail, refused - 1)))
            }
            Some(refusal) => Err(refusal),
            None if delivered == 0 => Err(self.no_value(payload)),
            None => Ok(()),
        }
    }

    fn payload<'a>(&self, payload: Option<&'a [u8]>) -> Result<&'a str, Rejection> {
        let bytes = payload.ok_or_else(|| {
            Rejection::new(Reason::Tombstone, "expected a value, found none (a deletion mark of a compacted topic)")
        })?;
        let limit = self.spec.max_record_bytes;
        if bytes.len() > limit {
            let detail = format!("expected at most {limit} bytes (max_record_bytes), found {}", bytes.len());
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Rejection::new(Reason::EmptyRecord, "expected a value, found no bytes but white space"));
        }
        std::str::from_utf8(bytes).map_err(|error| not_utf8("value", error))
    }

    /// Sets `series` to the key.
    fn name_series(&mut self, key: Option<&[u8]>, payload: &str) -> Result<(), Rejection> {
        self.series.clear();
        if self.spec.key == KeySource::Record {
            let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
                Rejection::new(Reason::MissingKey, "expected a record with a key that names its series, found none")
            })?;
            self.series.push_str(std::str::from_utf8(key).map_err(|error| not_utf8("key", error))?);
        }
        for (place, &field) in self.key_fields.iter().enumerate() {
            let found = self.fields.found[field];
            let refuse = |reason| {
                let KeySource::Fields(names) = &self.spec.key else { return Rejection::new(reason, "") };
                let found = self.fields.describe(payload, found);
                let detail = format!(
                    "key field {:?}: expected a text, a whole number, true or false, found {found}",
                    names[place]
                );
                Rejection::new(reason, detail)
            };
            let text = match found {
                Found::Boolean(true) => "true",
                Found::Boolean(false) => "false",
                Found::Text(span) | Found::Cell(span) => self.fields.text(payload, span),
                Found::Number(span) => Some(self.fields.text(payload, span))
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
                    .ok_or_else(|| refuse(Reason::WrongType))?,
                Found::Absent | Found::Null => return Err(refuse(Reason::MissingKey)),
                Found::Array | Found::Object => return Err(refuse(Reason::WrongType)),
            };
            if text.is_empty() {
                return Err(refuse(Reason::MissingKey));
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
            let detail = format!("expected a key of at most {limit} bytes (max_key_bytes), found {length}");
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        Ok(())
    }

    fn time(&self, timestamp: Option<i64>, payload: &str) -> Result<EventTime, Rejection> {
        let (time, found) = match (&self.spec.time, self.time_field) {
            (TimeSource::Field { name, format }, Some(field)) => {
                let found = self.fields.found[field];
                let refuse = |reason| {
                    let (expected, found) = (format.expectation(), self.fields.describe(payload, found));
                    Rejection::new(reason, format!("time field {name:?}: expected {expected}, found {found}"))
                };
                let span = match found {
                    Found::Absent | Found::Null => return Err(refuse(Reason::MissingField)),
                    Found::Number(span) if format.is_number() => span,
                    Found::Text(span) if !format.is_number() => span,
                    Found::Cell(span) => span,
                    _ => return Err(refuse(Reason::WrongType)),
                };
                let time = format.parse(self.fields.text(payload, span).trim_ascii());
                (time.ok_or_else(|| refuse(Reason::BadTime))?, Some((name, found)))
            }
            _ => {
                let refuse = || Rejection::new(Reason::BadTime, "expected a record with a timestamp, found none");
                (EventTime(timestamp.ok_or_else(refuse)?), None)
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
        let (earliest, latest) = (readable(earliest), readable(latest));
        let detail = format!("{found} means {}; expected a time from {earliest} to {latest}", readable(time));
        Err(Rejection::new(Reason::AbsurdTime, detail))
    }

    /// The number in a field of that kind and name; `None` where it may be and is left out.
    fn number(&self, (kind, name): (&str, &str), found: Found, payload: &str) -> Result<Option<f64>, Rejection> {
        let refuse = |reason, expected: &str| {
            let found = self.fields.describe(payload, found);
            Rejection::new(reason, format!("{kind} {name:?}: expected {expected}, found {found}"))
        };
        let text = match found {
            Found::Absent | Found::Null => return Ok(None),
            Found::Number(span) => self.fields.text(payload, span),
            Found::Cell(span) => self.fields.text(payload, span).trim_ascii(),
            Found::Text(_) => return Err(refuse(Reason::WrongType, "a number without quotes")),
            _ => return Err(refuse(Reason::WrongType, "a number")),
        };
        match number::parse(text) {
            Some(number) if number.abs() <= MAX_MAGNITUDE => Ok(Some(number)),
            // Of what reads as infinite only the words say so; digits overflowed.
            Some(number) if number.is_finite() || text.bytes().any(|byte| byte.is_ascii_digit()) => {
                Err(refuse(Reason::OutOfRange, "a number of at most 1e100 in size"))
            }
            Some(_) => Err(refuse(Reason::NotFinite, "a finite number")),
            None => Err(refuse(Reason::WrongType, "a number")),
        }
    }

    /// The refusal of a record without any value.
    fn no_value(&self, payload: &str) -> Rejection {
        let detail = match (&self.spec.values[..], &self.value_fields[..]) {
            ([name], &[field]) => {
                let found = self.fields.describe(payload, self.fields.found[field]);
                format!("value field {name:?}: expected a number, found {found}")
            }
            (names, _) => format!("expected a number in at least one of the value fields {}", names.join(", ")),
        };
        Rejection::new(Reason::MissingField, detail)
    }
}

fn distinct(names: &[String]) -> Result<(), DecodeSpecError> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DecodeSpecError::Repeated(pair[0].clone())),
        None => Ok(()),
    }
}

fn layout(format: &Format, names: &[String]) -> Result<Layout, DecodeSpecError> {
    let Format::Csv { columns, delimiter } = format else { return Ok(Layout::Json(Paths::new(names)?)) };
    if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\n' | b'\r' | b'\0') {
        return Err(DecodeSpecError::Delimiter(char::from(*delimiter)));
    }
    distinct(columns)?;
    if let Some(field) = names.iter().find(|name| !columns.contains(name)) {
        return Err(DecodeSpecError::NotAColumn { field: field.clone(), columns: columns.join(", ") });
    }
    let wanted = columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
    Ok(Layout::Csv(Columns::new(wanted, *delimiter)))
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

fn not_utf8(what: &str, error: std::str::Utf8Error) -> Rejection {
    let detail = format!("expected a {what} in UTF-8, found something else at byte {}", error.valid_up_to());
    Rejection::new(Reason::NotUtf8, detail)
}

/// A time for a person; the number where no calendar knows it.
fn readable(time: EventTime) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| format!("{} ms", time.0), |stamp| stamp.to_string())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
