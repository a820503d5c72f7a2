//! The fields of one record, as the parser of its format extracts them.

use super::rejection::excerpt;

/// A range of bytes in the record's value, or in the scratch text where the parser had to undo quoting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    /// Whether the range lies in the scratch text.
    pub scratch: bool,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// The record has no such field.
    Absent,
    /// A JSON null, or an empty cell of CSV.
    Null,
    /// A JSON true or false.
    Boolean(bool),
    /// A JSON number, or one of the words `NaN`, `Infinity`, `-Infinity` that some writers put in its place.
    Number(Span),
    /// A JSON string.
    Text(Span),
    /// A cell of CSV that is not empty. The role of its column decides whether it is a number or a text.
    Cell(Span),
    /// A JSON array.
    Array,
    /// A JSON object.
    Object,
}

/// The fields of one record. Only its buffers stay from record to record.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// One value per extracted field.
    pub values: Vec<FieldValue>,
    /// Text of which the parser has undone the quoting.
    pub scratch: String,
}

impl Fields {
    /// Makes room for the `count` fields of the next record.
    pub fn clear(&mut self, count: usize) {
        self.values.clear();
        self.values.resize(count, FieldValue::Absent);
        self.scratch.clear();
    }

    /// The text of a span.
    pub fn text<'a>(&'a self, payload: &'a str, span: Span) -> &'a str {
        let source = if span.scratch { &self.scratch } else { payload };
        &source[span.start..span.end]
    }

    /// Describes the value of a field in a message.
    pub fn describe(&self, payload: &str, found: FieldValue) -> String {
        match found {
            FieldValue::Absent => "nothing".into(),
            FieldValue::Null => "null".into(),
            FieldValue::Boolean(value) => value.to_string(),
            FieldValue::Number(span) => {
                format!("the number {}", excerpt(self.text(payload, span)).replace('"', ""))
            }
            FieldValue::Text(span) => format!("the text {}", excerpt(self.text(payload, span))),
            FieldValue::Cell(span) => excerpt(self.text(payload, span)),
            FieldValue::Array => "a list".into(),
            FieldValue::Object => "an object".into(),
        }
    }
}

/// Where and why a record violates the syntax of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The byte at which reading stopped.
    pub at: usize,
    /// What the parser expected there.
    pub expected: &'static str,
}

impl SyntaxError {
    /// The message, which quotes what was found.
    pub fn explain(self, payload: &str) -> String {
        let found = match payload.get(self.at..) {
            None | Some("") => "the end".into(),
            Some(rest) => excerpt(rest),
        };
        format!("expected {} at byte {}, found {found}", self.expected, self.at)
    }
}
