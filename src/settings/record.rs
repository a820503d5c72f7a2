//! How a record becomes an observation: its format, the key of its series, and its event time.

use serde::{Serialize, Serializer};

use super::declare::words;
use super::reader::{Entry, Reader, Setting};

words! {
    /// How the value of a record is encoded.
    pub enum Format {
        /// One JSON object per record.
        Json = "json",
        /// One line of delimited values per record; `columns` names them.
        Csv = "csv",
    }
}

/// What identifies a series within a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// The key of the record.
    Record,
    /// The values of these fields, in this order.
    Fields(Vec<String>),
}

/// A field that holds values, and what they can be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueField {
    /// Name of the field.
    pub field: String,
    /// Least value of a step; absent: any.
    pub minimum: Option<f64>,
    /// Largest value of a step; absent: any.
    pub maximum: Option<f64>,
    /// Whether the values of steps are whole numbers.
    pub integer: bool,
}

impl From<&str> for ValueField {
    fn from(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }
}

/// As the name alone, like in most configurations.
impl Serialize for ValueField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.field)
    }
}

/// Where the event time of an observation comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Time {
    /// The timestamp of the record.
    Record,
    /// A field of the record.
    Field {
        /// Name of the field.
        field: String,
        /// Format of the time in it.
        format: TimeFormat,
        /// Time zone of timestamps without an offset; absent: the `time_zone` of the stream.
        zone: Option<String>,
    },
}

/// How a time is written in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeFormat {
    /// RFC 3339, such as `2026-11-01T12:00:00Z`.
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z; fractions are allowed.
    Seconds,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Milliseconds,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Microseconds,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Nanoseconds,
    /// A pattern in the style of `strptime`, such as `%Y-%m-%d %H:%M:%S`.
    Pattern(String),
}

impl Setting for Key {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("record") {
            return Some(Self::Record);
        }
        if !entry.is_table() {
            let hint = "such as key = { fields = [\"site\", \"meter\"] }";
            return reader.refuse_form(&entry, "\"record\", or a table that names fields", hint);
        }
        let mut table = reader.table(entry, &["fields"])?;
        let fields = table.read("fields", Vec::new(), reader);
        table.require("fields", "[\"meter\"]", reader);
        Some(Self::Fields(fields))
    }
}

impl Setting for ValueField {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if !entry.is_table() {
            return reader
                .or_texts(&["a table such as { field = \"load\", minimum = 0 }"], |reader| String::read(entry, reader))
                .map(|field| Self { field, ..Self::default() });
        }
        let mut table = reader.table(entry, &["field", "minimum", "maximum", "integer"])?;
        let field = table.read("field", String::new(), reader);
        let minimum = table.read("minimum", None, reader);
        let maximum = table.read("maximum", None, reader);
        let integer = table.read("integer", false, reader);
        table.require("field", "\"load\"", reader);
        Some(Self { field, minimum, maximum, integer })
    }
}

impl Setting for Time {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("record") {
            return Some(Self::Record);
        }
        if !entry.is_table() {
            let hint = "such as time = { field = \"at\", format = \"rfc3339\" }";
            return reader.refuse_form(&entry, "\"record\", or a table that names a field", hint);
        }
        let mut table = reader.table(entry, &["field", "format", "zone"])?;
        let field = table.read("field", String::new(), reader);
        let format = table.read("format", TimeFormat::Rfc3339, reader);
        let zone = table.read("zone", None, reader);
        table.require("field", "\"at\"", reader);
        Some(Self::Field { field, format, zone })
    }
}

impl Setting for TimeFormat {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let words = ["rfc3339", "seconds", "milliseconds", "microseconds", "nanoseconds"];
        let text = reader.text(&entry, "a format of times")?;
        match text.as_str() {
            "rfc3339" => Some(Self::Rfc3339),
            "seconds" => Some(Self::Seconds),
            "milliseconds" => Some(Self::Milliseconds),
            "microseconds" => Some(Self::Microseconds),
            "nanoseconds" => Some(Self::Nanoseconds),
            _ if text.contains('%') => Some(Self::Pattern(text)),
            _ => reader
                .or_texts(&["a pattern such as \"%Y-%m-%d %H:%M:%S\""], |reader| reader.word(&entry, &words))
                .and(None),
        }
    }
}
