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

    /// What holds this value; none for the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, steps)| Self(steps.to_vec()))
    }

    /// The steps, from the root on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this value lies within `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// Whether what stands here must never be shown.
    pub fn is_secret(&self) -> bool {
        let below_properties =
            matches!(&self.0[..], [Step::Key(a), Step::Key(b), _, ..] if a == "kafka" && b == "properties");
        below_properties || matches!(self.0.last(), Some(Step::Key(key)) if key.ends_with("password"))
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

/// Byte ranges of a key and its value in the file.
#[derive(Debug, Clone)]
struct Spot {
    key: Range<usize>,
    value: Range<usize>,
    table: bool,
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
            DeValue::Table(table) => self.index_table(&path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.index_value(path.index(index), item.span(), item);
                }
            }
            _ => {}
        }
        self.spots.insert(path, Spot { key, value: value.span(), table: value.get_ref().is_table() });
    }

    /// Notes that a variable sets `path`.
    pub fn set_by(&mut self, path: Path, variable: &str) {
        self.variables.insert(path, variable.to_owned());
    }

    /// Whether the file holds a table at `path`, or another variable sets something below it.
    pub fn holds_entries(&self, path: &Path) -> bool {
        self.spots.get(path).is_some_and(|spot| spot.table) || self.variables.keys().any(|other| other.is_below(path))
    }

    /// Whether a variable sets the value at `path`, or a list that holds it.
    pub fn from_variable(&self, path: &Path) -> bool {
        matches!(self.find(path, Part::Value), Some((Place::Variable(_), _)))
    }

    /// The place of the entry at `path`, or of the nearest table or list that holds it.
    pub fn place(&self, path: &Path, part: Part) -> Place {
        self.find(path, part).map_or(Place::Default, |(place, _)| place)
    }

    /// The place of exactly this entry.
    pub fn exact_place(&self, path: &Path) -> Place {
        self.find(path, Part::Value).filter(|(_, found)| found == path).map_or(Place::Default, |(place, _)| place)
    }

    fn find(&self, path: &Path, part: Part) -> Option<(Place, Path)> {
        let mut at = Some(path.clone());
        while let Some(here) = at {
            if let Some(variable) = self.variables.get(&here) {
                return Some((Place::Variable(variable.clone()), here));
            }
            if let Some(spot) = self.spots.get(&here) {
                let range = if part == Part::Key && here == *path { &spot.key } else { &spot.value };
                return Some((Place::File(range.start, range.end), here));
            }
            at = here.parent();
        }
        // A table that only variables fill.
        let below = self.variables.iter().find(|(other, _)| other.is_below(path));
        below.map(|(other, variable)| (Place::Variable(variable.clone()), other.clone()))
    }
}
