//! A strict reader of JSON (RFC 8259) that extracts the configured fields of one object and builds nothing else.
//!
//! It replaces serde_json for three reasons. Numbers keep their text and so become the nearest double exactly;
//! serde_json without `float_roundtrip` may be off in the last bit, and then a replay from CSV would forecast other
//! values. `NaN` in one field, as Python writes it, costs that field and not the record. Depth is limited. Tests
//! compare the reader with serde_json.

use super::decode_spec::DecodeSpecError;
use super::fields::{FieldValue, Fields, Span, SyntaxError};

/// The deepest nesting of objects and lists in a record: it bounds the recursion.
const MAX_DEPTH: usize = 64;
/// The most names in the path of a field: a configuration error beyond it.
const MAX_PATH: usize = 16;
/// The node at the root of the tree of paths.
const ROOT: usize = 0;

/// The paths of the configured fields, as a tree of member names.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// For each node, whether the current record has had it.
    seen: Vec<bool>,
}

#[derive(Debug, Default)]
struct Node {
    /// The index of the field whose path ends here.
    field: Option<usize>,
    /// Members on the way to a field, with their nodes, sorted by name.
    members: Vec<(String, usize)>,
}

impl Paths {
    /// The tree of `fields`, which are paths with dots. The index of a field is its place in the list.
    pub fn new(fields: &[String]) -> Result<Self, DecodeSpecError> {
        let mut nodes = vec![Node::default()];
        for (number, field) in fields.iter().enumerate() {
            let names = split_path(field);
            if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
                return Err(DecodeSpecError::Path(field.clone()));
            }
            let mut at = ROOT;
            for name in names {
                if nodes[at].field.is_some() {
                    return Err(DecodeSpecError::Conflict(field.clone()));
                }
                at = match nodes[at].members.binary_search_by(|(other, _)| other.as_str().cmp(&name)) {
                    Ok(place) => nodes[at].members[place].1,
                    Err(place) => {
                        let new = nodes.len();
                        nodes[at].members.insert(place, (name, new));
                        nodes.push(Node::default());
                        new
                    }
                };
            }
            if nodes[at].field.is_some() || !nodes[at].members.is_empty() {
                return Err(DecodeSpecError::Conflict(field.clone()));
            }
            nodes[at].field = Some(number);
        }
        Ok(Self { seen: vec![false; nodes.len()], nodes })
    }

    /// Extracts the fields of `text`, which must be one JSON object.
    pub fn read(&mut self, text: &str, fields: &mut Fields) -> Result<(), SyntaxError> {
        self.seen.fill(false);
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, paths: self, fields };
        reader.skip_space();
        if reader.peek() != Some(b'{') {
            return Err(reader.error("a JSON object"));
        }
        reader.object(Some(ROOT), MAX_DEPTH)?;
        reader.skip_space();
        if reader.at < text.len() {
            return Err(reader.error("nothing after the object"));
        }
        Ok(())
    }
}

/// The names in a path. `\.` stands for a dot within a name.
fn split_path(path: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek(), names.last_mut()) {
            ('\\', Some('.'), Some(name)) => {
                name.push('.');
                characters.next();
            }
            ('.', ..) => names.push(String::new()),
            (_, _, Some(name)) => name.push(character),
            (_, _, None) => {}
        }
    }
    names
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    paths: &'a mut Paths,
    fields: &'a mut Fields,
}

impl Reader<'_> {
    fn error(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Consumes `byte` if it comes next. Returns whether it did.
    fn consume(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Reads any value. `node` is its node in the tree of paths, if it has one; `depth` levels of nesting remain.
    fn value(&mut self, node: Option<usize>, depth: usize) -> Result<(), SyntaxError> {
        let start = self.at;
        let found = match self.peek() {
            Some(b'"') => FieldValue::Text(self.string()?),
            Some(b'{') => {
                self.object(node, depth)?;
                FieldValue::Object
            }
            Some(b'[') => {
                self.array(depth)?;
                FieldValue::Array
            }
            Some(b'-' | b'0'..=b'9') if !self.bytes[start..].starts_with(b"-I") => self.number()?,
            _ => self.word()?,
        };
        match node.and_then(|node| self.paths.nodes[node].field) {
            Some(field) => self.fields.values[field] = found,
            None => self.drop_scratch(found),
        }
        Ok(())
    }

    /// Drops the scratch text of a value that is not extracted, so that the scratch text stays small.
    fn drop_scratch(&mut self, found: FieldValue) {
        if let FieldValue::Text(Span { start, scratch: true, .. }) = found {
            self.fields.scratch.truncate(start);
        }
    }

    fn object(&mut self, node: Option<usize>, depth: usize) -> Result<(), SyntaxError> {
        let depth = depth.checked_sub(1).ok_or(self.error("at most 64 levels of nesting"))?;
        self.at += 1;
        self.skip_space();
        if self.consume(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("a name in quotes"));
            }
            let name = self.string()?;
            let member = node.and_then(|node| self.member(node, name));
            self.drop_scratch(FieldValue::Text(name));
            if member.is_some_and(|member| std::mem::replace(&mut self.paths.seen[member], true)) {
                return Err(SyntaxError { at: start, expected: "each configured field once" });
            }
            self.skip_space();
            if !self.consume(b':') {
                return Err(self.error("':'"));
            }
            self.skip_space();
            self.value(member, depth)?;
            self.skip_space();
            if self.consume(b'}') {
                return Ok(());
            }
            if !self.consume(b',') {
                return Err(self.error("',' or '}'"));
            }
            self.skip_space();
        }
    }

    /// The node of the member `name`, if it is on the way to a field.
    fn member(&self, node: usize, name: Span) -> Option<usize> {
        let name = self.fields.text(self.text, name);
        let members = &self.paths.nodes[node].members;
        let place = members.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        Some(members[place].1)
    }

    fn array(&mut self, depth: usize) -> Result<(), SyntaxError> {
        let depth = depth.checked_sub(1).ok_or(self.error("at most 64 levels of nesting"))?;
        self.at += 1;
        self.skip_space();
        if self.consume(b']') {
            return Ok(());
        }
        loop {
            self.value(None, depth)?;
            self.skip_space();
            if self.consume(b']') {
                return Ok(());
            }
            if !self.consume(b',') {
                return Err(self.error("',' or ']'"));
            }
            self.skip_space();
        }
    }

    /// Reads `true`, `false`, `null`, or a word that some writers use for a number that JSON does not have.
    fn word(&mut self) -> Result<FieldValue, SyntaxError> {
        let (start, rest) = (self.at, &self.bytes[self.at..]);
        let words: [(&[u8], Option<FieldValue>); 6] = [
            (b"null", Some(FieldValue::Null)),
            (b"true", Some(FieldValue::Boolean(true))),
            (b"false", Some(FieldValue::Boolean(false))),
            (b"NaN", None),
            (b"Infinity", None),
            (b"-Infinity", None),
        ];
        for (word, found) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                let span = Span { start, end: self.at, scratch: false };
                return Ok(found.unwrap_or(FieldValue::Number(span)));
            }
        }
        Err(self.error("a value"))
    }

    fn number(&mut self) -> Result<FieldValue, SyntaxError> {
        let start = self.at;
        self.consume(b'-');
        if !self.consume(b'0') {
            self.digits()?;
        }
        if self.consume(b'.') {
            self.digits()?;
        }
        if self.consume(b'e') || self.consume(b'E') {
            let _signed = self.consume(b'+') || self.consume(b'-');
            self.digits()?;
        }
        Ok(FieldValue::Number(Span { start, end: self.at, scratch: false }))
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit")) } else { Ok(()) }
    }

    /// Skips to the next quote, escape or control character.
    fn skip_plain(&mut self) {
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<Span, SyntaxError> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Span { start, end: self.at - 1, scratch: false });
        }
        let (mut from, begin) = (start, self.fields.scratch.len());
        loop {
            self.skip_plain();
            self.fields.scratch.push_str(&self.text[from..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Span { start: begin, end: self.fields.scratch.len(), scratch: true });
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    self.fields.scratch.push(character);
                    from = self.at;
                }
                Some(_) => return Err(self.error("no control character in a text")),
                None => return Err(self.error("the '\"' that ends a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        let wrong = SyntaxError { at: start, expected: "an escape that JSON knows" };
        self.at += 2;
        match self.bytes.get(start + 1) {
            Some(b'n') => Ok('\n'),
            Some(b't') => Ok('\t'),
            Some(b'r') => Ok('\r'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(&plain @ (b'"' | b'\\' | b'/')) => Ok(char::from(plain)),
            Some(b'u') => {
                let first = self.code_unit().ok_or(wrong)?;
                if !(0xD800..0xDC00).contains(&first) {
                    return char::from_u32(first).ok_or(wrong);
                }
                // The first half of a surrogate pair (RFC 8259, section 7).
                if !(self.consume(b'\\') && self.consume(b'u')) {
                    return Err(wrong);
                }
                let second = self.code_unit().filter(|second| (0xDC00..0xE000).contains(second)).ok_or(wrong)?;
                char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(wrong)
            }
            _ => Err(wrong),
        }
    }

    /// Reads four hexadecimal digits: a UTF-16 code unit.
    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, &digit| Some(number * 16 + char::from(digit).to_digit(16)?))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
