//! Where each value comes from: a place in the file, or an environment variable.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The way from the root of the configuration to a value.
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
    /// The value of `key` in this table.
    pub fn key(&self, key: &str) -> Self {
        self.child(Step::Key(key.to_owned()))
    }

    /// The item at `index` of this list.
    pub fn index(&self, index: usize) -> Self {
        self.child(Step::Index(index))
    }

    fn child(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// This path and those of everything that holds it, from the nearest to the root.
    fn and_above(&self) -> impl Iterator<Item = Self> {
        (0..=self.0.len()).rev().map(|length| Self(self.0[..length].to_vec()))
    }

    /// The steps, from the root on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this value lies within `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// Whether what stands here is the path of a file: no secret, whatever its key says.
    pub fn names_file(&self) -> bool {
        matches!(self.0.last(), Some(Step::Key(key)) if key.ends_with("_file"))
    }

    /// Whether what stands here must never be shown.
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
                Step::Key(key) => {
                    let dot = if place > 0 { "." } else { "" };
                    let bare =
                        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                    if bare { write!(f, "{dot}{key}")? } else { write!(f, "{dot}{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// Nothing that can be configured lies so deep: what does is told with the place of what holds it.
const DEEPEST: usize = 16;

/// Byte ranges of a key and its value in the file.
#[derive(Debug, Clone)]
struct Spot {
    key: Range<usize>,
    value: Range<usize>,
    /// Whether the value is a table or a list.
    holds: bool,
}

impl Spot {
    fn place(&self, part: Part) -> Place {
        let range = if part == Part::Key { &self.key } else { &self.value };
        Place::File(range.start, range.end)
    }
}

/// Which part of an entry is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// A place that a report can point at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A byte range in the file.
    File(usize, usize),
    /// An environment variable.
    Variable(String),
    /// Neither: the default.
    Default,
}

/// Where everything that was configured stands.
#[derive(Debug, Default)]
pub struct Origins {
    spots: BTreeMap<Path, Spot>,
    variables: BTreeMap<Path, String>,
}

impl Origins {
    /// Notes where each entry of the file stands.
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
        let holds = value.get_ref().is_table() || value.get_ref().is_array();
        self.spots.insert(path, Spot { key, value: value.span(), holds });
    }

    /// Notes that a variable sets `path`.
    pub fn set_by(&mut self, path: Path, variable: &str) {
        self.variables.insert(path, variable.to_owned());
    }

    /// Whether the file has a table at `path`, or another variable sets something below it.
    pub fn holds_entries(&self, path: &Path) -> bool {
        let in_file = |other: &Path| other.is_below(path) && matches!(other.0[path.0.len()], Step::Key(_));
        self.spots.keys().any(in_file) || self.variables.keys().any(|other| other.is_below(path))
    }

    /// Whether a variable sets the value at `path`, or a list that holds it.
    pub fn is_of_variable(&self, path: &Path) -> bool {
        path.and_above().any(|path| self.variables.contains_key(&path))
    }

    /// The place of the entry at `path`, or of the nearest table or list that holds it.
    pub fn place(&self, path: &Path, part: Part) -> Place {
        path.and_above()
            .find_map(|here| self.at(&here, if here == *path { part } else { Part::Value }))
            .unwrap_or(Place::Default)
    }

    /// The place of exactly this entry.
    pub fn exact_place(&self, path: &Path) -> Place {
        self.at(path, Part::Value).unwrap_or(Place::Default)
    }

    fn at(&self, path: &Path, part: Part) -> Option<Place> {
        if let Some(variable) = self.variables.get(path) {
            return Some(Place::Variable(variable.clone()));
        }
        // A variable that sets something below makes a table of what is none, or a table that the file does not have.
        let mut below = self.variables.iter().filter(|(other, _)| other.is_below(path));
        match (self.spots.get(path), below.next()) {
            (None, None) => None,
            (Some(spot), None) => Some(spot.place(part)),
            (Some(spot), Some(_)) if spot.holds => Some(spot.place(part)),
            (_, Some((_, variable))) => Some(Place::Variable(variable.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_too_deep_has_the_place_of_what_holds_it() {
        let text = format!("a{} = 1", ".a".repeat(DEEPEST + 3));
        let mut origins = Origins::default();
        origins.index(DeTable::parse(&text).expect("valid TOML").get_ref());
        let path = |steps: usize| (0..steps).fold(Path::default(), |path, _| path.key("a"));
        assert_eq!(origins.spots.len(), DEEPEST);
        assert_eq!(origins.place(&path(DEEPEST + 4), Part::Key), origins.exact_place(&path(DEEPEST)));
        assert_ne!(origins.exact_place(&path(DEEPEST)), Place::Default);
    }
}
