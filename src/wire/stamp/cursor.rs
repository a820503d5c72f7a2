//! A position in the text of a timestamp.

/// A part of the text and the `strftime` field that it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub start: usize,
    pub end: usize,
    pub name: &'static str,
}

/// Reads a text from left to right, byte by byte.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// The fields so far, where they are asked for.
    pub fields: Option<Vec<Field>>,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, with_fields: bool) -> Self {
        Self { text: text.as_bytes(), at: 0, fields: with_fields.then(Vec::new) }
    }

    /// The current byte, 0 at the end.
    pub fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back to an earlier position.
    pub fn reset(&mut self, position: usize) {
        self.at = position;
    }

    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// Passes over this byte if it comes next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && !self.is_at_end();
        self.at += usize::from(found);
        found
    }

    /// Passes over spaces, which include no-break spaces. Whether there were any.
    pub fn spaces(&mut self) -> bool {
        let start = self.at;
        loop {
            let rest = &self.text[self.at.min(self.text.len())..];
            self.at += match rest {
                [b' ' | b'\t', ..] => 1,
                [0xc2, 0xa0, ..] => 2,
                [0xe2, 0x80, 0xaf, ..] => 3,
                _ => return self.at > start,
            };
        }
    }

    /// Number of digits that come next.
    pub fn digits_ahead(&self) -> usize {
        self.text[self.at.min(self.text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// The number made of the next `count` digits, at most 18.
    pub fn number(&mut self, count: usize) -> Option<i64> {
        if count == 0 || count > 18 || self.digits_ahead() < count {
            return None;
        }
        let digits = &self.text[self.at..self.at + count];
        self.at += count;
        Some(digits.iter().fold(0, |number, digit| 10 * number + i64::from(digit - b'0')))
    }

    /// The next run of letters; any byte outside ASCII counts as one, but a no-break space.
    pub fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at.min(self.text.len())..];
        let letter = |at: &usize| rest[*at].is_ascii_alphabetic() || rest[*at] >= 0x80;
        let mut length = (0..rest.len()).take_while(letter).count();
        if let Some(space) = rest[..length].windows(2).position(|pair| pair == [0xc2, 0xa0]) {
            length = space;
        }
        self.at += length;
        std::str::from_utf8(&rest[..length]).unwrap_or("")
    }

    /// The next run of bytes of which `is_part` holds.
    pub fn run(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at.min(self.text.len())..];
        let length = rest.iter().take_while(|byte| is_part(**byte)).count();
        self.at += length;
        std::str::from_utf8(&rest[..length]).unwrap_or("")
    }

    /// Notes that the text from `start` to here is a field.
    pub fn note(&mut self, start: usize, name: &'static str) {
        self.note_between(start, self.at, name);
    }

    /// Notes that the text from `start` to `end` is a field.
    pub fn note_between(&mut self, start: usize, end: usize, name: &'static str) {
        if let Some(fields) = &mut self.fields {
            fields.push(Field { start, end, name });
        }
    }
}
