//! The columns that together hold the time of a row.

use csv::ByteRecord;

use super::cells::CellRule;

/// What a column says about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    /// The whole time, or its date.
    Stamp,
    /// The time of day as text.
    TimeOfDay,
    Year,
    Month,
    Day,
    /// The hour, 0 to 24.
    Hour,
    /// Hour and minute as one number, 0 to 2400.
    HourAndMinute,
    Minute,
    Second,
}

/// One column of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimePart {
    pub column: usize,
    pub kind: PartKind,
}

/// The columns of the time, the larger parts first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeParts(pub Vec<TimePart>);

impl TimeParts {
    /// A single column.
    pub fn one(column: usize) -> Self {
        Self(vec![TimePart { column, kind: PartKind::Stamp }])
    }

    /// Whether a column takes part.
    pub fn contains(&self, column: usize) -> bool {
        self.0.iter().any(|part| part.column == column)
    }

    /// The names of the columns, separated by commas.
    pub fn name(&self, names: &[String]) -> String {
        let names: Vec<&str> = self.0.iter().map(|part| names[part.column].as_str()).collect();
        names.join(",")
    }

    /// Appends the time of a row as one text.
    pub fn write(&self, record: &ByteRecord, rule: &CellRule<'_>, out: &mut Vec<u8>) {
        let cell = |part: &TimePart| record.get(part.column).unwrap_or_default().trim_ascii();
        if let [part] = &self.0[..] {
            let cell = cell(part);
            // A number with a decimal comma, such as a serial date.
            return match rule.style.parse(cell).filter(|_| cell.contains(&b',')) {
                Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
                None => out.extend_from_slice(cell),
            };
        }
        let mut before = None;
        for part in &self.0 {
            let (mark, width): (&[u8], usize) = match part.kind {
                PartKind::Stamp | PartKind::TimeOfDay => (b" ", 0),
                PartKind::Year => (b"", 4),
                PartKind::Month | PartKind::Day => (b"-", 2),
                PartKind::Hour => (b" ", 2),
                PartKind::HourAndMinute => (b" ", 4),
                PartKind::Minute | PartKind::Second => (b":", 2),
            };
            if before.is_some() {
                out.extend_from_slice(mark);
            }
            match rule.number(cell(part)) {
                Ok(Some(number)) if width > 0 && number.fract() == 0.0 && (0.0..=9999.0).contains(&number) => {
                    out.extend_from_slice(format!("{number:0width$}").as_bytes());
                }
                _ => out.extend_from_slice(cell(part)),
            }
            before = Some(part.kind);
        }
        if before == Some(PartKind::Hour) {
            out.extend_from_slice(b":00");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_time_become_one_text() {
        use PartKind::*;
        let text = |cells: &[&str], kinds: &[PartKind]| {
            let parts = kinds.iter().enumerate().map(|(column, kind)| TimePart { column, kind: *kind }).collect();
            let mut out = Vec::new();
            TimeParts(parts).write(&ByteRecord::from(cells.to_vec()), &CellRule::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(&["31.01.2024", "7"], &[Stamp, Hour]), "31.01.2024 07:00");
        assert_eq!(text(&["20240131", "730"], &[Stamp, HourAndMinute]), "20240131 0730");
        assert_eq!(text(&["2024", "1", "31", "24"], &[Year, Month, Day, Hour]), "2024-01-31 24:00");
        assert_eq!(text(&["2024", "1", "31", "7", "5"], &[Year, Month, Day, Hour, Minute]), "2024-01-31 07:05");
        assert_eq!(text(&["2024", "11"], &[Year, Month]), "2024-11");
        assert_eq!(text(&["2024-01-31", "7:30 PM"], &[Stamp, TimeOfDay]), "2024-01-31 7:30 PM");
        assert_eq!(text(&["2024-01-31", ""], &[Stamp, Hour]), "2024-01-31 :00");
    }
}
