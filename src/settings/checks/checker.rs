//! Checks the keys of one table, and reports what it refuses.

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

use super::super::origin::Path;
use super::super::problem::{Finding, Kind};
use super::super::reader::Reader;

/// Checks the keys of one table. It skips entries that have been refused.
pub struct Checker<'a> {
    /// Collects the findings.
    pub reader: &'a mut Reader,
    /// Path of the table.
    pub path: Path,
}

impl Checker<'_> {
    /// The checker of the table `key`, or of the item `index` of the list `key`.
    pub fn within(&mut self, key: &str, index: Option<usize>) -> Checker<'_> {
        let path = self.path.key(key);
        let path = index.map_or(path.clone(), |index| path.index(index));
        Checker { reader: self.reader, path }
    }

    /// Whether no entry of `keys` has been refused.
    pub fn is_valid(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.reader.is_refused(&self.path.key(key)))
    }

    /// Refuses the value of `key` unless it is valid.
    pub fn expect(
        &mut self,
        valid: bool,
        key: &str,
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        self.expect_at(valid, self.path.key(key), expected, found, hint);
    }

    /// Refuses the item of `key` at `index` unless it is valid.
    pub fn expect_item(
        &mut self,
        valid: bool,
        (key, index): (&str, usize),
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        self.expect_at(valid, self.path.key(key).index(index), expected, found, hint);
    }

    /// Refuses the entry at `path` unless it is valid.
    pub fn expect_at(
        &mut self,
        valid: bool,
        path: Path,
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        if !valid && !self.reader.is_refused(&path) {
            let (expected, found, hint) = (expected.into(), found.to_string(), hint.into());
            self.reader.report(Finding { kind: Kind::WrongValue, path, expected, found, hint, related: vec![] });
        }
    }

    /// Refuses a number, duration or size outside `range`. `note` says why it is bounded.
    pub fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>, note: &str) {
        let expected = format!("{} to {}", range.start(), range.end());
        self.expect(range.contains(&value), key, expected, value, note);
    }

    /// Reports that the value of the first of `keys` conflicts with the others, unless one of them has been refused.
    pub fn contradicts(
        &mut self,
        conflict: bool,
        keys: &[&str],
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        let paths: Vec<Path> = keys.iter().map(|key| self.path.key(key)).collect();
        if let (true, true, [path, related @ ..]) = (conflict, self.is_valid(keys), &paths[..]) {
            self.contradiction(path.clone(), related.to_vec(), expected.into(), found.to_string(), hint.into());
        }
    }

    /// Reports that the entry at `path` conflicts with those at `related`.
    pub fn contradiction(&mut self, path: Path, related: Vec<Path>, expected: String, found: String, hint: String) {
        self.reader.report(Finding { kind: Kind::Contradiction, path, expected, found, hint, related });
    }

    /// Reports items of the list `key` that occur twice.
    pub fn distinct<T: PartialEq + Debug>(&mut self, key: &str, items: &[T]) {
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = items[..index].iter().position(|other| other == item) {
                let (path, first) = (self.path.key(key).index(index), self.path.key(key).index(first));
                let (expected, found) = ("each item once".into(), format!("{item:?} twice"));
                self.contradiction(path, vec![first], expected, found, "remove one of them".into());
            }
        }
    }
}
