//! A strict reader of JSON (RFC 8259) that picks the wanted fields of one object and builds nothing else.
//!
//! It is our own and not serde_json's for three reasons: numbers keep their text and so become the nearest double
//! exactly (serde_json without `float_roundtrip` may be off in the last bit, and then a replay from CSV would forecast
//! other numbers); `NaN` in one field (as Python writes it) spoils that field and not the record; and depth is limited
//! without recursion into what nobody wants to know. Tests hold it against serde_json.

use super::{
    decode::DecodeSpecError,
    fields::{Broken, Fields, Found, Span},
};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// The most names in the path of a field.
const MAX_PATH: usize = 16;
/// Names for the root of the tree of paths.
const ROOT: usize = 0;

/// The wanted fields as a tree of member names.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// For each node, whether the record that is being read has had it.
    seen: Vec<bool>,
}

#[derive(Debug, Default)]
struct Node {
    /// The wanted field that stands here.
    field: Option<usize>,
    /// Members that lead to wanted fields, sorted by name.
    members: Vec<(String, usize)>,
}

impl Paths {
    /// The tree of `fields`, paths with dots; the numbers of the fields are their places in the list.
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

    /// Finds the wanted fields in `text`, which must be one JSON object.
    pub fn read(&mut self, text: &str, fields: &mut Fields) -> Result<(), Broken> {
        self.seen.fill(false);
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, paths: self, fields };
        reader.space();
        if reader.peek() != Some(b'{') {
            return Err(reader.broken("a JSON object"));
        }
        reader.object(Some(ROOT), MAX_DEPTH)?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.broken("nothing after the object"));
        }
        Ok(())
    }
}

/// The names in a path; `\.` stands for a dot within a name.
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
    fn broken(&self, expected: &'static str) -> Broken {
        Broken { at: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Reads any value. `node` is its place among the wanted paths, if it has one; `depth` is what nesting is left.
    fn value(&mut self, node: Option<usize>, depth: usize) -> Result<(), Broken> {
        let start = self.at;
        let found = match self.peek() {
            Some(b'"') => Found::Text(self.string()?),
            Some(b'{') => {
                self.object(node, depth)?;
                Found::Object
            }
            Some(b'[') => {
                self.array(depth)?;
                Found::Array
            }
            Some(b'-' | b'0'..=b'9') if !self.bytes[start..].starts_with(b"-I") => self.number()?,
            _ => self.word()?,
        };
        match node.and_then(|node| self.paths.nodes[node].field) {
            Some(field) => self.fields.found[field] = found,
            None => self.drop_scratch(found),
        }
        Ok(())
    }

    /// Gives the scratch text of something unwanted back, so that it cannot grow beyond what is wanted.
    fn drop_scratch(&mut self, found: Found) {
        if let Found::Text(Span { start, scratch: true, .. }) = found {
            self.fields.scratch.truncate(start);
        }
    }

    fn object(&mut self, node: Option<usize>, depth: usize) -> Result<(), Broken> {
        let depth = depth.checked_sub(1).ok_or(self.broken("at most 64 levels of nesting"))?;
        self.at += 1;
        self.space();
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.broken("a name in quotes"));
            }
            let name = self.string()?;
            let member = node.and_then(|node| self.member(node, name));
            self.drop_scratch(Found::Text(name));
            if member.is_some_and(|member| std::mem::replace(&mut self.paths.seen[member], true)) {
                return Err(Broken { at: start, expected: "each wanted field once" });
            }
            self.space();
            if !self.takes(b':') {
                return Err(self.broken("':'"));
            }
            self.space();
            self.value(member, depth)?;
            self.space();
            if self.takes(b'}') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.broken("',' or '}'"));
            }
            self.space();
        }
    }

    /// The node of the member `name`, if it is wanted or leads to what is.
    fn member(&self, node: usize, name: Span) -> Option<usize> {
        let name = self.fields.text(self.text, name);
        let members = &self.paths.nodes[node].members;
        let place = members.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        Some(members[place].1)
    }

    fn array(&mut self, depth: usize) -> Result<(), Broken> {
        let depth = depth.checked_sub(1).ok_or(self.broken("at most 64 levels of nesting"))?;
        self.at += 1;
        self.space();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            self.value(None, depth)?;
            self.space();
            if self.takes(b']') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.broken("',' or ']'"));
            }
            self.space();
        }
    }

    /// `true`, `false`, `null`, and the words that stand where a number cannot.
    fn word(&mut self) -> Result<Found, Broken> {
        let (start, rest) = (self.at, &self.bytes[self.at..]);
        let words: [(&[u8], Option<Found>); 6] = [
            (b"null", Some(Found::Null)),
            (b"true", Some(Found::Boolean(true))),
            (b"false", Some(Found::Boolean(false))),
            (b"NaN", None),
            (b"Infinity", None),
            (b"-Infinity", None),
        ];
        for (word, found) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                let span = Span { start, end: self.at, scratch: false };
                return Ok(found.unwrap_or(Found::Number(span)));
            }
        }
        Err(self.broken("a value"))
    }

    fn number(&mut self) -> Result<Found, Broken> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _signed = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(Found::Number(Span { start, end: self.at, scratch: false }))
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.broken("a digit")) } else { Ok(()) }
    }

    /// Moves to the next quote, escape or control character.
    fn plain(&mut self) {
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<Span, Broken> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Span { start, end: self.at - 1, scratch: false });
        }
        let (mut from, begin) = (start, self.fields.scratch.len());
        loop {
            self.plain();
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
                Some(_) => return Err(self.broken("no control character in a text")),
                None => return Err(self.broken("the '\"' that ends a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Broken> {
        let start = self.at;
        let wrong = Broken { at: start, expected: "an escape that JSON knows" };
        self.at += 2;
        match self.bytes.get(start + 1) {
            Some(b'n') => Ok('\n'),
            Some(b't') => Ok('\t'),
            Some(b'r') => Ok('\r'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(&plain @ (b'"' | b'\\' | b'/')) => Ok(char::from(plain)),
            Some(b'u') => {
                let first = self.unit().ok_or(wrong)?;
                if !(0xD800..0xDC00).contains(&first) {
                    return char::from_u32(first).ok_or(wrong);
                }
                // The first half of a surrogate pair (RFC 8259, section 7).
                if !(self.takes(b'\\') && self.takes(b'u')) {
                    return Err(wrong);
                }
                let second = self.unit().filter(|second| (0xDC00..0xE000).contains(second)).ok_or(wrong)?;
                char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(wrong)
            }
            _ => Err(wrong),
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, &digit| Some(number * 16 + char::from(digit).to_digit(16)?))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
