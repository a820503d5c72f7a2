//! How the records of a stream are decoded.

use super::timestamp::TimeFormat;
use crate::time::EventTime;

/// The largest magnitude of a value. A larger one is rejected as out of range.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// How a record's value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per record, in UTF-8. Of repeated names only the configured ones are noticed.
    Json,
    /// One line of CSV per record, in UTF-8 with quotes as in RFC 4180, without a header line.
    Csv {
        /// The names of the columns, in order. Every record must have exactly these.
        columns: Vec<String>,
        /// The byte between columns, such as `b','` or `b';'`.
        delimiter: u8,
    },
    /// A copy of an observation, as Foretide writes it to a repartition topic. Fields, key and time are those of the
    /// copy.
    Copy,
}

/// Where the key of a series comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The record's key: UTF-8 and not empty.
    Record,
    /// Fields of the record's value (text, whole numbers, true or false), joined by `/`. With more than one field, `~`
    /// and `/` within a field are written `~0` and `~1` (as in RFC 6901), so that different fields never give the same
    /// key. Without any field, the stream has one series per value field, named after it.
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
        /// How the time is written.
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
    /// The value fields, at least one. With one field a series has the name of its key, with more `<key>:<field>`.
    pub values: Vec<String>,
    /// Number fields that come with every value and are not series of their own. Any of them may be absent.
    pub covariates: Vec<String>,
    /// The longest value of a record, in bytes.
    pub max_record_bytes: usize,
    /// The longest key of a series (without the name of the value field), in bytes.
    pub max_key_bytes: usize,
    /// The earliest plausible time.
    pub earliest: EventTime,
    /// The latest plausible time.
    pub latest: EventTime,
}

/// A contradiction within a [`DecodeSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeSpecError {
    /// There is no value field.
    #[error("expected at least one value field, found none")]
    NoValues,
    /// One list names a field twice.
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
    /// A field is both a value and an object around another field.
    #[error("the field {0:?} is named itself and as the object around another field; a field can only be one of both")]
    Conflict(String),
    /// A path has an empty part or too many parts.
    #[error("the field {0:?} is not a path of 1 to 16 names separated by dots")]
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
