//! The origin of each value: a place in the file, or an environment variable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Path from the root of the configuration to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Path {
    /// Path of `key` in this table.
    pub fn key(&self, key: &str) -> Self {
        self.child(Step::Key(key.to_owned()))
    }

    /// Path of the item at `index` in this list.
    pub fn index(&self, index: usize) -> Self {
        self.child(Step::Index(index))
    }

    fn child(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// This path and the paths of the tables and lists around it, up to the root.
    fn and_above(&self) -> impl Iterator<Item = Self> {
        (0..=self.0.len()).rev().map(|length| Self(self.0[..length].to_vec()))
    }

    /// The steps from the root to the value.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last key of the path as TOML writes it; none at the root and in a list.
    pub fn last_key(&self) -> Option<Cow<'_, str>> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(shown_key(key)),
            Some(Step::Index(_)) | None => None,
        }
    }

    /// Whether this value is inside of `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// Whether the value is the path of a file, which is no secret even where the key names one.
    pub fn names_file(&self) -> bool {
        matches!(self.0.last(), Some(Step::Key(key)) if key.ends_with("_file"))
    }

    /// Whether the value must not be printed.
    pub fn is_secret(&self) -> bool {
        let below_properties =
            matches!(&self.0[..], [Step::Key(a), Step::Key(b), _, ..] if a == "kafka" && b == "properties");
        below_properties
            || matches!(self.0.last(), Some(Step::Key(key)) if key.ends_with("password") || key.ends_with("token"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "{}{}", if place > 0 { "." } else { "" }, shown_key(key))?,
            }
        }
        Ok(())
    }
}

/// Deepest nesting whose places are indexed. No key is nested as deeply; a deeper value has the place of what holds it.
const DEEPEST: usize = 16;

/// A key as TOML writes it: bare where it can be, else in quotes.
fn shown_key(key: &str) -> Cow<'_, str> {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.into() } else { format!("{key:?}").into() }
}

/// Byte ranges of a key and of its value in the file.
#[derive(Debug, Clone)]
struct Spot {
    key: Range<usize>,
    value: Range<usize>,
    /// Whether the value is a table or a list.
    is_container: bool,
}

impl Spot {
    fn place(&self, part: Part) -> Place {
        let range = if part == Part::Key { &self.key } else { &self.value };
        Place::File(range.start, range.end)
    }
}

/// A part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// A place that a report points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A byte range in the file.
    File(usize, usize),
    /// An environment variable.
    Variable(String),
    /// Neither: the value is the default.
    Default,
}

/// Places of all configured values.
#[derive(Debug, Default)]
pub struct Origins {
    spots: BTreeMap<Path, Spot>,
    variables: BTreeMap<Path, String>,
}

impl Origins {
    /// Records the places of all entries of the file.
    pub fn index(&mut self, document: &DeTable<'_>) {
        self.index_table(&Path::default(), document);
    }

    fn index_table(&mut self, path: &Path, table: &DeTable<'_>) {
        for (key, value) in table {
            self.index_value(path.key(key.get_ref()), key.span(), value);
        }
    }

    fn index_value(&mut self, path: Path, key: Range<usize>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            _ if path.0.len() >= DEEPEST => {}
            DeValue::Table(table) => self.index_table(&path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.index_value(path.index(index), item.span(), item);
                }
            }
            _ => {}
        }
        let is_container = value.get_ref().is_table() || value.get_ref().is_array();
        self.spots.insert(path, Spot { key, value: value.span(), is_container });
    }

    /// Records that a variable sets `path`.
    pub fn set_by(&mut self, path: Path, variable: &str) {
        self.variables.insert(path, variable.to_owned());
    }

    /// Whether the file has a table at `path`, or another variable sets an entry below it.
    pub fn holds_entries(&self, path: &Path) -> bool {
        let in_file = |other: &Path| other.is_below(path) && matches!(other.0[path.0.len()], Step::Key(_));
        self.spots.keys().any(in_file) || self.variables.keys().any(|other| other.is_below(path))
    }

    /// Whether a variable sets the value at `path`, or a list around it.
    pub fn is_of_variable(&self, path: &Path) -> bool {
        path.and_above().any(|path| self.variables.contains_key(&path))
    }

    /// The place of the entry at `path`, or of the nearest table or list around it.
    pub fn place(&self, path: &Path, part: Part) -> Place {
        path.and_above()
            .find_map(|here| self.at(&here, if here == *path { part } else { Part::Value }))
            .unwrap_or(Place::Default)
    }

    /// The place of this entry itself.
    pub fn exact_place(&self, path: &Path) -> Place {
        self.at(path, Part::Value).unwrap_or(Place::Default)
    }

    fn at(&self, path: &Path, part: Part) -> Option<Place> {
        if let Some(variable) = self.variables.get(path) {
            return Some(Place::Variable(variable.clone()));
        }
        // A variable below `path` turns the value there into a table, or adds a table that the file does not have.
        let mut below = self.variables.iter().filter(|(other, _)| other.is_below(path));
        match (self.spots.get(path), below.next()) {
            (None, None) => None,
            (Some(spot), None) => Some(spot.place(part)),
            (Some(spot), Some(_)) if spot.is_container => Some(spot.place(part)),
            (_, Some((_, variable))) => Some(Place::Variable(variable.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_nested_too_deeply_has_the_place_of_the_table_around_it() {
        let text = format!("a{} = 1", ".a".repeat(DEEPEST + 3));
        let mut origins = Origins::default();
        origins.index(DeTable::parse(&text).expect("valid TOML").get_ref());
        let path = |steps: usize| (0..steps).fold(Path::default(), |path, _| path.key("a"));
        assert_eq!(origins.spots.len(), DEEPEST);
        assert_eq!(origins.place(&path(DEEPEST + 4), Part::Key), origins.exact_place(&path(DEEPEST)));
        assert_ne!(origins.exact_place(&path(DEEPEST)), Place::Default);
    }
}
