//! How numbers are written: with a decimal point or comma, and with marks between thousands.

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum NumberStyle {
    /// With a decimal point and no other mark: 1234.5.
    #[default]
    Plain,
    /// With this mark before decimals, and others between thousands: the other one of point and comma, spaces,
    /// apostrophes.
    Marked {
        /// `.` or `,`.
        decimal: u8,
    },
}

/// Why the style of a file's numbers is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnknownStyle {
    /// Every comma stands before exactly three digits, as in this cell.
    Ambiguous(String),
}

impl NumberStyle {
    /// The number in a cell without spaces around it.
    pub fn parse(self, cell: &[u8]) -> Option<f64> {
        let text = std::str::from_utf8(cell).ok()?;
        match self {
            Self::Plain => text.parse().ok().or_else(|| decorated(text).and_then(|text| text.parse().ok())),
            Self::Marked { decimal } => {
                let number = plain(decorated(text).as_deref().unwrap_or(text), decimal)?;
                number.parse().ok()
            }
        }
    }

    /// The style in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "decimal point",
            Self::Marked { decimal: b',' } => "decimal comma",
            Self::Marked { .. } => "decimal point, commas between thousands",
        }
    }
}

/// The text without a percent sign, a currency or a typographic minus; `None` where there is none of them.
fn decorated(text: &str) -> Option<String> {
    let is_mark = |c: char| matches!(c, '%' | '€' | '$' | '£' | '−' | '\u{a0}');
    if !text.contains(is_mark) {
        return None;
    }
    let text = text.replace('−', "-");
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let rest = rest.trim_start_matches(['€', '$', '£']).trim_end_matches(['%', '€', '$', '£']);
    Some(format!("{sign}{}", rest.trim()))
}

/// Whether text between marks is a group of thousands.
fn is_group(group: &str) -> bool {
    group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit())
}

/// A marked number with a decimal point and no other mark; `None` where its marks stand wrong.
fn plain(text: &str, decimal: u8) -> Option<String> {
    let (whole, fraction) = match text.rsplit_once(char::from(decimal)) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let thousands = if decimal == b',' { '.' } else { ',' };
    let mut groups = whole.split([thousands, ' ', '\'', '’', '\u{a0}', '\u{202f}', '\u{2009}']);
    let first = groups.next()?;
    let mut number = first.to_owned();
    let digits = first.trim_start_matches(['-', '+']);
    for group in groups {
        if !is_group(group) || !(1..=3).contains(&digits.len()) || digits.starts_with('0') {
            return None;
        }
        number += group;
    }
    if let Some(fraction) = fraction {
        number.push('.');
        number += fraction;
    }
    Some(number)
}

/// What the cells of a file say about its style.
#[derive(Debug, Default)]
pub(super) struct StyleEvidence {
    /// Cells that only a decimal comma explains.
    comma: usize,
    /// Cells that only a decimal point explains.
    point: usize,
    /// Cells that only commas or other marks between thousands explain, with a decimal point or none.
    marked: usize,
    /// A cell with a comma before exactly three digits.
    ambiguous: Option<String>,
}

impl StyleEvidence {
    /// Adds a cell; whatever is no number says nothing.
    pub fn add(&mut self, cell: &[u8]) {
        let Ok(text) = std::str::from_utf8(cell.trim_ascii()) else { return };
        let marks = text.bytes().filter(|byte| matches!(byte, b',' | b'.' | b'\'' | b' ') || *byte >= 0x80).count();
        if marks == 0 {
            return;
        }
        let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
        if self.point > 0 && marks == 1 && text.bytes().all(is_plain) {
            // A number as those before: this is most cells.
            return;
        }
        let with = |decimal: u8| NumberStyle::Marked { decimal }.parse(text.as_bytes()).is_some();
        let plain = NumberStyle::Plain.parse(text.as_bytes()).is_some();
        let as_thousands = text.split_once(',').is_some_and(|(before, after)| {
            let digits = before.trim_start_matches(['-', '+']);
            is_group(after) && (1..=3).contains(&digits.len()) && digits != "0"
        });
        match (with(b','), with(b'.')) {
            (true, true) if as_thousands => {
                self.ambiguous.get_or_insert_with(|| text.to_owned());
            }
            // With either, 1.234 and 1.234.567 are numbers; the second has two marks.
            (true, true) if !plain => self.marked += 1,
            (true, false) if !plain => self.comma += 1,
            (false, true) if plain => self.point += 1,
            (false, true) => {
                self.point += 1;
                self.marked += 1;
            }
            _ => {}
        }
    }

    /// The style in which all cells are numbers.
    pub fn style(&self) -> Result<NumberStyle, UnknownStyle> {
        match (&self.ambiguous, self.comma, self.point) {
            (_, 1.., 0) => Ok(NumberStyle::Marked { decimal: b',' }),
            (Some(_), 0, 1..) => Ok(NumberStyle::Marked { decimal: b'.' }),
            (Some(cell), 0, 0) if self.marked == 0 => Err(UnknownStyle::Ambiguous(cell.clone())),
            _ if self.marked > 0 || self.ambiguous.is_some() => Ok(NumberStyle::Marked { decimal: b'.' }),
            _ => Ok(NumberStyle::Plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(cells: &[&str]) -> Result<NumberStyle, UnknownStyle> {
        let mut evidence = StyleEvidence::default();
        cells.iter().for_each(|cell| evidence.add(cell.as_bytes()));
        evidence.style()
    }

    const COMMA: NumberStyle = NumberStyle::Marked { decimal: b',' };
    const POINT: NumberStyle = NumberStyle::Marked { decimal: b'.' };

    #[test]
    fn the_style_is_what_explains_every_cell() {
        assert_eq!(style(&["1", "2.5", "1.234", "-3"]), Ok(NumberStyle::Plain));
        assert_eq!(style(&["10,5", "1.234", "7"]), Ok(COMMA));
        assert_eq!(style(&["1.234,5"]), Ok(COMMA));
        assert_eq!(style(&["0,125"]), Ok(COMMA));
        assert_eq!(style(&["1,234", "12.5"]), Ok(POINT));
        assert_eq!(style(&["1,234,567"]), Ok(POINT));
        assert_eq!(style(&["1'234.5", "7"]), Ok(POINT));
        assert_eq!(style(&["1 234,5"]), Ok(COMMA));
        assert_eq!(style(&["12", "1,234"]), Err(UnknownStyle::Ambiguous("1,234".into())));
        assert_eq!(style(&["a, b", "2024-01-01", "Jan 1, 2024"]), Ok(NumberStyle::Plain));
    }

    #[test]
    fn numbers_are_read_in_their_style() {
        let read = |style: NumberStyle, text: &str| style.parse(text.as_bytes());
        for (text, number) in [("10,5", 10.5), ("-1.234,5", -1234.5), ("1.234", 1234.0), ("1 234", 1234.0), ("2", 2.0)]
        {
            assert_eq!(read(COMMA, text), Some(number), "{text}");
        }
        for (text, number) in [("1,234.5", 1234.5), ("1,234,567", 1_234_567.0), ("1’234", 1234.0), ("-0.5e3", -500.0)]
        {
            assert_eq!(read(POINT, text), Some(number), "{text}");
        }
        for (text, number) in [("12.5 %", 12.5), ("€ 5", 5.0), ("−3", -3.0), ("-$2.50", -2.5), ("+4", 4.0)] {
            assert_eq!(read(NumberStyle::Plain, text), Some(number), "{text}");
        }
        for text in ["1.23,4", "12.34.5", "1,5,5", ",", "", "%", "a"] {
            assert_eq!(read(COMMA, text), None, "{text}");
        }
        assert_eq!(read(NumberStyle::Plain, "10,5"), None);
    }
}
