//! A strict reader of one line of CSV (RFC 4180) that extracts the configured columns.

use super::fields::{FieldValue, Fields, Span, SyntaxError};

/// The columns of a line.
#[derive(Debug)]
pub(super) struct Columns {
    /// For each column the index of the field that it holds, if any.
    fields: Vec<Option<usize>>,
    delimiter: u8,
}

impl Columns {
    /// `fields` gives for each column the index of the field that it holds, if any.
    pub fn new(fields: Vec<Option<usize>>, delimiter: u8) -> Self {
        Self { fields, delimiter }
    }

    /// Extracts the fields of `text`, which must be one line with exactly the configured columns.
    pub fn read(&self, text: &str, fields: &mut Fields) -> Result<(), SyntaxError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut at = 0;
        for (number, field) in self.fields.iter().enumerate() {
            if number > 0 {
                if line.as_bytes().get(at) != Some(&self.delimiter) {
                    return Err(SyntaxError { at, expected: "the delimiter and another column" });
                }
                at += 1;
            }
            let scratch = fields.scratch.len();
            let cell = if line.as_bytes().get(at) == Some(&b'"') {
                quoted(line, &mut at, &mut fields.scratch)?
            } else {
                self.plain(line, &mut at)?
            };
            match *field {
                Some(field) if cell.start == cell.end => fields.values[field] = FieldValue::Null,
                Some(field) => fields.values[field] = FieldValue::Cell(cell),
                None => fields.scratch.truncate(scratch),
            }
        }
        if at < line.len() {
            return Err(SyntaxError { at, expected: "the end of the line after the last column" });
        }
        Ok(())
    }

    fn plain(&self, line: &str, at: &mut usize) -> Result<Span, SyntaxError> {
        let start = *at;
        for (length, &byte) in line.as_bytes()[start..].iter().enumerate() {
            match byte {
                byte if byte == self.delimiter => {
                    *at = start + length;
                    return Ok(Span { start, end: *at, scratch: false });
                }
                b'"' => {
                    return Err(SyntaxError { at: start + length, expected: "no quote inside a cell without quotes" });
                }
                b'\n' | b'\r' => return Err(SyntaxError { at: start + length, expected: "one line per record" }),
                _ => {}
            }
        }
        *at = line.len();
        Ok(Span { start, end: *at, scratch: false })
    }
}

/// Reads a cell in quotes. A quote within the cell is doubled.
fn quoted(line: &str, at: &mut usize, scratch: &mut String) -> Result<Span, SyntaxError> {
    let (open, begin) = (*at, scratch.len());
    let mut from = open + 1;
    loop {
        let Some(length) = line[from..].find('"') else {
            return Err(SyntaxError { at: open, expected: "a cell whose quotes are closed" });
        };
        let quote = from + length;
        let doubled = line.as_bytes().get(quote + 1) == Some(&b'"');
        if !doubled {
            *at = quote + 1;
            if from == open + 1 {
                return Ok(Span { start: from, end: quote, scratch: false });
            }
            scratch.push_str(&line[from..quote]);
            return Ok(Span { start: begin, end: scratch.len(), scratch: true });
        }
        scratch.push_str(&line[from..=quote]);
        from = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(columns: usize, delimiter: u8, text: &str) -> Result<Vec<String>, SyntaxError> {
        let mut fields = Fields::default();
        fields.clear(columns);
        Columns::new((0..columns).map(Some).collect(), delimiter).read(text, &mut fields)?;
        Ok(fields
            .values
            .iter()
            .map(|&value| match value {
                FieldValue::Cell(span) => fields.text(text, span).to_owned(),
                FieldValue::Null => String::new(),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn reads_plain_and_quoted_cells() {
        assert_eq!(read(3, b',', "a,1.5,x y\r\n").unwrap(), ["a", "1.5", "x y"]);
        assert_eq!(read(4, b';', "\"a;b\";\"say \"\"hi\"\"\";\"\";\n").unwrap(), ["a;b", "say \"hi\"", "", ""]);
        assert_eq!(read(2, b',', "\"two\nlines\",1").unwrap(), ["two\nlines", "1"]);
        assert_eq!(read(1, b',', "\"\"\"\"").unwrap(), ["\""]);
    }

    #[test]
    fn text_that_is_not_one_line_with_these_columns_is_rejected() {
        let cases = [
            ("a", 1, "the delimiter and another column"),
            ("a,b,c", 3, "the end of the line after the last column"),
            ("a,b\nc,d", 3, "one line per record"),
            ("a,b\"c", 3, "no quote inside a cell without quotes"),
            ("a,\"b", 2, "a cell whose quotes are closed"),
            ("\"a\"x,b", 3, "the delimiter and another column"),
            ("a,\"b\"c", 5, "the end of the line after the last column"),
        ];
        for (text, at, expected) in cases {
            assert_eq!(read(2, b',', text), Err(SyntaxError { at, expected }), "{text}");
        }
    }

    #[test]
    fn unwanted_cells_leave_no_scratch_text() {
        let mut fields = Fields::default();
        fields.clear(1);
        let columns = Columns::new(vec![None, Some(0)], b',');
        columns.read("\"a\"\"b\",\"c\"\"d\"", &mut fields).unwrap();
        assert_eq!(fields.scratch, "c\"d");
    }

    proptest! {
        #[test]
        fn reads_what_the_csv_crate_writes(cells in proptest::collection::vec("(?s)[a-c,;\"\n\r é]{0,6}", 2..6)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&cells).unwrap();
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(read(cells.len(), b',', &text).unwrap(), cells);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,60}", structure in "[\",a\n\r]{0,20}") {
            let _ = read(3, b',', &text);
            let _ = read(3, b',', &structure);
        }
    }
}
