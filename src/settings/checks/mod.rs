//! What a type cannot say: ranges, forms of names, and values that contradict each other.

mod cluster;
mod http;
mod known;
mod names;
mod stream;

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

use super::Settings;
use super::origin::Path;
use super::problem::{Finding, Kind};
use super::reader::Reader;

/// Checks everything, and takes in the secrets that stand in files of their own.
pub fn check(settings: &mut Settings, reader: &mut Reader) {
    let mut root = Checker { reader, at: Path::default() };
    cluster::check(settings, &mut root);
    for (index, stream) in settings.stream.iter().enumerate() {
        stream::check(stream, settings, &mut root.within("stream", Some(index)));
    }
    names::check(settings, &mut root);
}

/// Checks the keys of one table. What is wrong already is not checked further.
struct Checker<'a> {
    reader: &'a mut Reader,
    at: Path,
}

impl Checker<'_> {
    /// The checker of a table in this one.
    fn within(&mut self, key: &str, index: Option<usize>) -> Checker<'_> {
        let at = self.at.key(key);
        let at = index.map_or(at.clone(), |index| at.index(index));
        Checker { reader: self.reader, at }
    }

    /// Whether nothing is wrong yet with any of `keys`.
    fn fine(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.reader.is_refused(&self.at.key(key)))
    }

    /// Refuses the value of `key` unless it is fine.
    fn expect(
        &mut self,
        fine: bool,
        key: &str,
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        self.expect_at(fine, self.at.key(key), expected, found, hint);
    }

    /// Refuses the item of `key` at `index` unless it is fine.
    fn expect_item(
        &mut self,
        fine: bool,
        (key, index): (&str, usize),
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        self.expect_at(fine, self.at.key(key).index(index), expected, found, hint);
    }

    fn expect_at(
        &mut self,
        fine: bool,
        path: Path,
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        if !fine && !self.reader.is_refused(&path) {
            let (expected, found, hint) = (expected.into(), found.to_string(), hint.into());
            self.reader.report(Finding { kind: Kind::WrongValue, path, expected, found, hint, related: vec![] });
        }
    }

    /// Refuses a number, span or size outside `range`; `note` says why it is bounded.
    fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>, note: &str) {
        let expected = format!("{} to {}", range.start(), range.end());
        self.expect(range.contains(&value), key, expected, value, note);
    }

    /// Reports that the first of `keys` contradicts the others, unless one of them is wrong already.
    fn contradicts(
        &mut self,
        contradicts: bool,
        keys: &[&str],
        expected: impl Into<String>,
        found: impl Display,
        hint: impl Into<String>,
    ) {
        let paths: Vec<Path> = keys.iter().map(|key| self.at.key(key)).collect();
        if let (true, true, [path, related @ ..]) = (contradicts, self.fine(keys), &paths[..]) {
            self.contradiction(path.clone(), related.to_vec(), expected.into(), found.to_string(), hint.into());
        }
    }

    fn contradiction(&mut self, path: Path, related: Vec<Path>, expected: String, found: String, hint: String) {
        self.reader.report(Finding { kind: Kind::Contradiction, path, expected, found, hint, related });
    }

    /// Reports items of the list `key` that occur twice.
    fn distinct<T: PartialEq + Debug>(&mut self, key: &str, items: &[T]) {
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = items[..index].iter().position(|other| other == item) {
                let (path, first) = (self.at.key(key).index(index), self.at.key(key).index(first));
                let (expected, found) = ("every item once".into(), format!("{item:?} twice"));
                self.contradiction(path, vec![first], expected, found, "take one of them out".into());
            }
        }
    }
}
