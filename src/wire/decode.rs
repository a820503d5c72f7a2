//! Records to observations: strict, limited, and without an allocation on the way of a good record.

use super::{refusal::Refusal, timestamp::TimeFormat};
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
}

impl Decoder {
    /// Checks the spec and prepares for it.
    ///
    /// # Errors
    /// [`DecodeSpecError`] where the spec contradicts itself.
    pub fn new(spec: DecodeSpec) -> Result<Self, DecodeSpecError> {
        Ok(Self { spec })
    }

    /// Reads one record and gives each observation, (series, time, value), to `deliver`.
    ///
    /// # Errors
    /// A [`Refusal`] where the record, or one of its value fields, cannot be used. Its other value fields have been
    /// delivered by then: each field stands for itself, unless key, time or the record as a whole is bad.
    pub fn decode(
        &mut self,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        payload: Option<&[u8]>,
        deliver: &mut impl FnMut(&str, EventTime, f64),
    ) -> Result<(), Refusal> {
        let _ = (&self.spec, key, timestamp, payload, deliver);
        unimplemented!("merged next")
    }
}
