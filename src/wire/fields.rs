//! The wanted fields of one record, as its format has found them.

/// A piece of text: of the record's value, or of the scratch text where quoting had to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    /// Whether the text is in the scratch text.
    pub scratch: bool,
}

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing: the record has no such field.
    Absent,
    /// JSON's null, or an empty cell of CSV.
    Null,
    /// JSON's true or false.
    Boolean(bool),
    /// A JSON number, or one of the words `NaN`, `Infinity`, `-Infinity` that some writers put in its place.
    Number(Span),
    /// A JSON string.
    Text(Span),
    /// A cell of CSV, not empty: its role says whether it is a number or a text.
    Cell(Span),
    /// A JSON array.
    Array,
    /// A JSON object.
    Object,
}

/// The fields of one record; kept from record to record for its buffers only.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// One for each wanted field.
    pub found: Vec<Found>,
    /// Text whose quoting had to be undone.
    pub scratch: String,
}

impl Fields {
    /// Forgets the record before.
    pub fn clear(&mut self, wanted: usize) {
        self.found.clear();
        self.found.resize(wanted, Found::Absent);
        self.scratch.clear();
    }

    /// The text of a span.
    pub fn text<'a>(&'a self, payload: &'a str, span: Span) -> &'a str {
        let source = if span.scratch { &self.scratch } else { payload };
        &source[span.start..span.end]
    }

    /// What stands in a field, for an error message.
    pub fn describe(&self, payload: &str, found: Found) -> String {
        match found {
            Found::Absent => "nothing".into(),
            Found::Null => "null".into(),
            Found::Boolean(value) => value.to_string(),
            Found::Number(span) => {
                format!("the number {}", super::refusal::excerpt(self.text(payload, span)).replace('"', ""))
            }
            Found::Text(span) => format!("the text {}", super::refusal::excerpt(self.text(payload, span))),
            Found::Cell(span) => super::refusal::excerpt(self.text(payload, span)),
            Found::Array => "a list".into(),
            Found::Object => "an object".into(),
        }
    }
}

/// Where and why a record does not follow its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    /// The byte at which reading stopped.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

impl Broken {
    /// The message, with the beginning of what was found.
    pub fn explain(self, payload: &str) -> String {
        let found = match payload.get(self.at..) {
            None | Some("") => "the end".into(),
            Some(rest) => super::refusal::excerpt(rest),
        };
        format!("expected {} at byte {}, found {found}", self.expected, self.at)
    }
}
