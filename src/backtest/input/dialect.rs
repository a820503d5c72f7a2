//! The shape of a CSV file: its separator, and where its table begins.

use crate::backtest::findings::Findings;

/// Number of lines from which the shape is found out.
const SAMPLE_LINES: usize = 200;
/// At most so many lines above the table are passed over.
const MAX_PREAMBLE: usize = 40;
/// Separators, the less likely ones within cells first.
const DELIMITERS: [u8; 4] = [b';', b'\t', b'|', b','];

/// The shape of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    /// Byte at which the table begins: its header, or its first row.
    pub start: usize,
    /// Number of lines before it.
    pub lines_before: u64,
}

/// A line with its place.
struct Line<'a> {
    start: usize,
    number: u64,
    text: &'a [u8],
}

/// Finds the separator that gives most lines the same number of cells, and passes over lines above the table.
/// `delimiter` is the separator where it is known.
pub(super) fn find_dialect(text: &[u8], delimiter: Option<u8>, findings: &mut Findings) -> Dialect {
    let mut lines = sample(text);
    let named = lines.first().and_then(|line| match line.text {
        [b's', b'e', b'p', b'=', mark] => Some(*mark),
        _ => None,
    });
    let commented: Option<(usize, u64, usize)> = lines
        .iter()
        .take_while(|line| line.text[0] == b'#' || line.number == 1 && named.is_some())
        .filter(|line| line.text[0] == b'#')
        .last()
        .map(|line| (line.start + 1, line.number, line.text.len()));
    lines.retain(|line| line.text[0] != b'#' && !(named.is_some() && line.number == 1));
    let known = delimiter.or(named);
    let candidates: Vec<u8> = known.map_or(DELIMITERS.to_vec(), |known| vec![known]);
    let mut best = (known.unwrap_or(b','), 1, 0);
    for delimiter in candidates {
        let (cells, support) = most_frequent(lines.iter().map(|line| cell_count(line.text, delimiter)));
        if cells > 1 && support > best.2 {
            best = (delimiter, cells, support);
        }
    }
    let (delimiter, cells, support) = best;
    if known.is_none() && delimiter != b',' {
        let what = format!("columns separated by {}", delimiter_name(delimiter));
        findings.say(what, format!("it gives {support} of the first {} lines {cells} cells each", lines.len()));
    }
    let count = |line: &Line<'_>| cell_count(line.text, delimiter);
    // A header may have one name less than the rows have cells.
    let is_short_header = |at: usize| {
        let next = lines.get(at + 1).filter(|next| count(next) == cells);
        count(&lines[at]) + 1 == cells && next.is_some_and(|next| cells > 2 || begins_with_digit(next.text))
    };
    let begins = |at: &usize| count(&lines[*at]) == cells || is_short_header(*at);
    let first = (0..lines.len().min(MAX_PREAMBLE)).find(begins).filter(|_| support * 5 >= lines.len() * 3).unwrap_or(0);
    // A header behind a comment mark, as scientific programs write it.
    if let (Some((start, number, length)), Some(line)) = (commented, lines.first()) {
        let names = &text[start..start + length - 1];
        let fits = cells > 1 && cell_count(names, delimiter) == cells;
        if fits && begins_with_digit(line.text) && !begins_with_digit(names) {
            findings
                .note("the header is the comment above the first row".into(), "it has a name for each column".into());
            return Dialect { delimiter, start, lines_before: number - 1 };
        }
    }
    if first > 0 {
        let what = format!("{first} lines above the table passed over");
        findings.say(what, format!("they do not have {cells} cells, as the lines below them"));
    }
    let (start, lines_before) = lines.get(first).map_or((0, 0), |line| (line.start, line.number - 1));
    Dialect { delimiter, start, lines_before }
}

fn begins_with_digit(line: &[u8]) -> bool {
    line.trim_ascii().first().is_some_and(u8::is_ascii_digit)
}

/// The first lines that are not empty.
fn sample(text: &[u8]) -> Vec<Line<'_>> {
    let (mut lines, mut start) = (Vec::new(), 0);
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let trimmed = line.trim_ascii_end();
        if !trimmed.is_empty() {
            lines.push(Line { start, number, text: trimmed });
        }
        start += line.len() + 1;
        if lines.len() == SAMPLE_LINES {
            break;
        }
    }
    lines
}

/// Number of cells of a line.
fn cell_count(line: &[u8], delimiter: u8) -> usize {
    let (mut quoted, mut cells) = (false, 1);
    for byte in line {
        quoted ^= *byte == b'"';
        cells += usize::from(*byte == delimiter && !quoted);
    }
    cells
}

/// The most frequent number above 1, and how often it occurs.
fn most_frequent(counts: impl Iterator<Item = usize>) -> (usize, usize) {
    let mut occurrences = std::collections::BTreeMap::new();
    for count in counts.filter(|count| *count > 1) {
        *occurrences.entry(count).or_insert(0) += 1;
    }
    occurrences.into_iter().max_by_key(|(count, support)| (*support, *count)).unwrap_or((1, 0))
}

fn delimiter_name(delimiter: u8) -> &'static str {
    match delimiter {
        b';' => "semicolons",
        b'\t' => "tabs",
        b'|' => "bars",
        _ => "commas",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (char, &str, u64) {
        let dialect = find_dialect(text.as_bytes(), None, &mut Findings::default());
        let rest = &text[dialect.start..];
        (char::from(dialect.delimiter), rest.lines().next().unwrap_or(""), dialect.lines_before)
    }

    #[test]
    fn separators_and_lines_above_the_table_are_found() {
        assert_eq!(found("t,x\n1,2\n"), (',', "t,x", 0));
        assert_eq!(found("Zeit;Last\n01.01.2024;10,5\n02.01.2024;10,5\n"), (';', "Zeit;Last", 0));
        assert_eq!(found("t\tx\n1\t2,5\n"), ('\t', "t\tx", 0));
        assert_eq!(found("t|x\n1|2\n"), ('|', "t|x", 0));
        assert_eq!(found("\"a;b\",x\n\"c;d\",2\n"), (',', "\"a;b\",x", 0));
        assert_eq!(found("sep=;\nt;x\n1;2\n"), (';', "t;x", 1));
        assert_eq!(found("Station 7\n\nt,x,y\n1,2,3\n2,3,4\n"), (',', "t,x,y", 2));
        assert_eq!(found("# made by hand\nt,x\n1,2\n"), (',', "t,x", 1));
        assert_eq!(found("# made by hand\n#t,x\n1,2\n2,3\n"), (',', "t,x", 1));
        assert_eq!(found("x\n1\n2\n"), (',', "x", 0));
        assert_eq!(found("x\n1,2\n2,3\n"), (',', "x", 0));
        assert_eq!(found(""), (',', "", 0));
    }
}
