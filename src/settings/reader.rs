//! Reads typed values from the merged configuration. It collects mistakes instead of stopping at the first.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::origin::{Origins, Path};
use super::problem::{Finding, Kind};
use super::renamed;
use super::suggestion::closest;
use super::units::Units;

/// Longest text value, in characters, that a report shows in full.
const LONGEST_TEXT: usize = 60;

/// A type that can be read from the configuration.
pub trait Setting: Sized {
    /// Reads a value. On a mistake it reports a finding to `reader` and returns none.
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self>;
}

/// A value of the configuration and its path.
#[derive(Debug, Clone)]
pub struct Entry {
    path: Path,
    value: Value,
}

impl Entry {
    /// The root of the configuration.
    pub fn root(value: Value) -> Self {
        Self { path: Path::default(), value }
    }

    /// Whether the value is this text.
    pub fn is(&self, word: &str) -> bool {
        matches!(&self.value.kind, ValueKind::String(text) if text == word)
    }

    /// The value, where it is a text.
    pub fn text(&self) -> Option<&str> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.value.kind, ValueKind::Table(_))
    }

    fn is_nothing(&self) -> bool {
        matches!(self.value.kind, ValueKind::Nil)
    }

    /// Describes the value for a report; secrets stay hidden.
    fn describe(&self) -> String {
        match &self.value.kind {
            ValueKind::Table(_) => "a table".into(),
            ValueKind::Array(_) => "a list".into(),
            ValueKind::Nil => "nothing".into(),
            _ if self.path.is_secret() => "a value that is not shown".into(),
            ValueKind::String(text) if text.chars().count() > LONGEST_TEXT => {
                format!("the text {:?}…", text.chars().take(LONGEST_TEXT).collect::<String>())
            }
            ValueKind::String(text) => format!("the text {text:?}"),
            ValueKind::Boolean(value) => format!("{value}"),
            ValueKind::Float(number) if number.is_infinite() => "a number that is too large".into(),
            other => format!("the number {other}"),
        }
    }
}

/// Reads values and collects findings.
#[derive(Debug)]
pub struct Reader {
    /// Places of all entries.
    pub origins: Origins,
    findings: Vec<Finding>,
    refused: BTreeSet<Path>,
    alternatives: Vec<String>,
    tables_of_keys: &'static BTreeMap<String, Vec<String>>,
}

impl Reader {
    /// A reader that starts with `findings`. `tables_of_keys` maps each key to the tables that have it, such as
    /// `[kafka]`.
    pub fn new(
        origins: Origins,
        findings: Vec<Finding>,
        tables_of_keys: &'static BTreeMap<String, Vec<String>>,
    ) -> Self {
        let refused = findings.iter().map(|finding| finding.path.clone()).collect();
        Self { origins, findings, refused, alternatives: Vec::new(), tables_of_keys }
    }

    /// The places of all entries, and all findings.
    pub fn into_findings(self) -> (Origins, Vec<Finding>) {
        (self.origins, self.findings)
    }

    /// Adds a finding. Its entry is excluded from further checks, unless the finding is about several entries.
    pub fn report(&mut self, finding: Finding) {
        if finding.kind != Kind::Contradiction {
            self.refused.insert(finding.path.clone());
        }
        self.findings.push(finding);
    }

    /// Whether the entry at `path`, or one below it, has been refused.
    pub fn is_refused(&self, path: &Path) -> bool {
        self.refused.iter().any(|refused| refused == path || refused.is_below(path))
    }

    /// Refuses a value that has none of the allowed forms.
    pub fn refuse_form<T>(&mut self, entry: &Entry, expected: &str, hint: &str) -> Option<T> {
        let is_text = matches!(entry.value.kind, ValueKind::String(_));
        let kind = if is_text { Kind::WrongValue } else { Kind::WrongType };
        self.refuse_as(kind, entry, expected, Some(hint.into()))
    }

    /// Refuses a value that has the right type.
    pub fn refuse<T>(&mut self, entry: &Entry, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_as(Kind::WrongValue, entry, expected, hint)
    }

    fn refuse_type<T>(&mut self, entry: &Entry, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_as(Kind::WrongType, entry, expected, hint)
    }

    fn refuse_as<T>(&mut self, kind: Kind, entry: &Entry, expected: &str, hint: Option<String>) -> Option<T> {
        let expected = [&[expected.to_owned()], &self.alternatives[..]].concat().join(", or ");
        let (path, hint) = (entry.path.clone(), hint.unwrap_or_default());
        self.report(Finding { kind, path, expected, found: entry.describe(), hint, related: vec![] });
        None
    }

    /// Runs `read`; what it refuses is reported with `words` among the allowed values.
    pub fn or_words<T>(&mut self, words: &[&str], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        self.or_texts(&quoted.iter().map(String::as_str).collect::<Vec<_>>(), read)
    }

    /// Runs `read`; what it refuses is reported with these descriptions among the allowed values.
    pub fn or_texts<T>(&mut self, texts: &[&str], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.alternatives.len();
        self.alternatives.extend(texts.iter().map(|text| (*text).to_owned()));
        let value = read(self);
        self.alternatives.truncate(before);
        value
    }

    /// A text.
    pub fn text(&mut self, entry: &Entry, expected: &str) -> Option<String> {
        match &entry.value.kind {
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => self.refuse_type(entry, expected, None),
            _ if entry.path.is_secret() => self.refuse_type(entry, expected, Some("put it in quotes".into())),
            other => self.refuse_type(entry, expected, Some(format!("put it in quotes: \"{other}\""))),
        }
    }

    /// One of `words`.
    pub fn word(&mut self, entry: &Entry, words: &[&str]) -> Option<String> {
        let list = words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let expected = format!("one of {list}");
        let text = self.text(entry, &expected)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let present = renamed::present_name(renamed::WORDS, &text).filter(|word| words.contains(word));
        let hint = present.map(|word| format!("it is called {word:?}"));
        let near = || closest(&text, words.iter().copied()).map(|word| format!("did you mean {word:?}?"));
        self.refuse(entry, &expected, hint.or_else(near))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        let is_of_variable = self.origins.is_of_variable(&entry.path);
        match &entry.value.kind {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::String(text) if is_of_variable && text == "true" => Some(true),
            ValueKind::String(text) if is_of_variable && text == "false" => Some(false),
            ValueKind::String(text) if text == "true" || text == "false" => {
                let hint = format!("write it without quotes: {text}");
                self.refuse_type(entry, "true or false", Some(hint))
            }
            _ => self.refuse_type(entry, "true or false", None),
        }
    }

    /// A whole number from 0 to `most`.
    pub fn integer(&mut self, entry: &Entry, most: i64) -> Option<i64> {
        let expected = "a whole number";
        let value = match &entry.value.kind {
            ValueKind::I64(value) => *value,
            ValueKind::Float(value) if value.is_infinite() => {
                return self.refuse(entry, &format!("{expected} from 0 to {most}"), None);
            }
            ValueKind::String(text) => match text.replace('_', "").parse::<i64>() {
                Ok(value) if self.origins.is_of_variable(&entry.path) => value,
                Ok(value) => {
                    return self.refuse_type(entry, expected, Some(format!("write it without quotes: {value}")));
                }
                Err(_) => return self.refuse_type(entry, expected, None),
            },
            _ => return self.refuse_type(entry, expected, None),
        };
        if (0..=most).contains(&value) {
            Some(value)
        } else {
            self.refuse(entry, &format!("{expected} from 0 to {most}"), None)
        }
    }

    /// A finite number.
    pub fn number(&mut self, entry: &Entry) -> Option<f64> {
        let value = match &entry.value.kind {
            ValueKind::I64(value) => *value as f64,
            ValueKind::Float(value) => *value,
            ValueKind::String(text) => match text.parse::<f64>() {
                Ok(value) if self.origins.is_of_variable(&entry.path) => value,
                Ok(_) => return self.refuse_type(entry, "a number", Some(format!("write it without quotes: {text}"))),
                Err(_) => return self.refuse_type(entry, "a number", None),
            },
            _ => return self.refuse_type(entry, "a number", None),
        };
        if value.is_finite() { Some(value) } else { self.refuse(entry, "a finite number", None) }
    }

    /// A number with a unit.
    pub fn with_unit(&mut self, entry: &Entry, units: &Units) -> Option<u64> {
        self.with_units(entry, units, &[])
    }

    /// A number with a unit; what is refused may be guessed to have one of `others`, too.
    pub fn with_units(&mut self, entry: &Entry, units: &Units, others: &[&Units]) -> Option<u64> {
        match &entry.value.kind {
            ValueKind::String(text) => units.parse(text).or_else(|| {
                let guess = std::iter::once(units).chain(others.iter().copied()).find_map(|units| units.guess(text));
                let hint = guess.map(|guess| format!("did you mean {guess:?}?"));
                self.refuse(entry, units.expected, hint)
            }),
            ValueKind::I64(value) => {
                let hint = format!("put it in quotes and add the unit: {}", units.examples(*value));
                self.refuse_type(entry, units.expected, Some(hint))
            }
            _ => self.refuse_type(entry, units.expected, None),
        }
    }

    /// The items of a list; commas separate them in a variable.
    pub fn list(&mut self, entry: Entry) -> Option<Vec<Entry>> {
        let items: Vec<Value> = match &entry.value.kind {
            ValueKind::Array(items) => items.clone(),
            ValueKind::String(text) if self.origins.is_of_variable(&entry.path) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| Value::new(None, item)).collect()
            }
            ValueKind::Table(_) => return self.refuse_type(&entry, "a list", None),
            ValueKind::String(text) => {
                let hint = (!entry.path.is_secret()).then(|| format!("put it in brackets: [{text:?}]"));
                return self.refuse_type(&entry, "a list", hint);
            }
            other => {
                let hint = format!("put it in brackets: [{other}]");
                return self.refuse_type(&entry, "a list", Some(hint));
            }
        };
        let items = items.into_iter().enumerate();
        Some(items.map(|(index, value)| Entry { path: entry.path.index(index), value }).collect())
    }

    /// One item of a list. Variables that name a later item may have left it out.
    pub fn item<T: Setting>(&mut self, item: Entry) -> Option<T> {
        if !item.is_nothing() {
            return T::read(item, self);
        }
        let expected = format!("{}, since variables set an item after it", item.path);
        let (found, hint) = ("nothing".into(), "count without gaps, from 0".into());
        self.report(Finding { kind: Kind::Missing, path: item.path, expected, found, hint, related: vec![] });
        None
    }

    /// The entries of a table that takes any key.
    pub fn entries(&mut self, entry: Entry) -> Option<BTreeMap<String, Entry>> {
        let ValueKind::Table(values) = entry.value.kind else { return self.refuse_type(&entry, "a table", None) };
        let entry_of = |(key, value): (String, Value)| {
            let path = entry.path.key(&key);
            (key, Entry { path, value })
        };
        Some(values.into_iter().map(entry_of).collect())
    }

    /// The entries of a table that takes exactly these keys.
    pub fn table(&mut self, entry: Entry, keys: &[&str]) -> Option<Table> {
        let path = entry.path.clone();
        let entries = self.entries(entry)?;
        for (key, entry) in entries.iter().filter(|(key, _)| !keys.contains(&key.as_str())) {
            let hint = self.hint_for_key(key, entry, keys);
            let expected = if hint.is_some() { String::new() } else { format!("one of {}", keys.join(", ")) };
            self.report(Finding {
                kind: Kind::UnknownKey,
                path: entry.path.clone(),
                expected,
                found: String::new(),
                hint: hint.unwrap_or_default(),
                related: vec![],
            });
        }
        Some(Table { path, entries })
    }

    /// What to write instead of a key that a table with `keys` does not have.
    fn hint_for_key(&self, key: &str, entry: &Entry, keys: &[&str]) -> Option<String> {
        let tables = |key: &str| self.tables_of_keys.get(key).map(|tables| tables.join(" or "));
        if let Some(present) = renamed::present_name(renamed::KEYS, key) {
            let word = match &entry.value.kind {
                ValueKind::String(word) => renamed::present_name(renamed::WORDS, word),
                _ => None,
            };
            let example = word.map_or(String::new(), |word| format!(": write {present} = {word:?}"));
            let elsewhere = (!keys.contains(&present)).then(|| tables(present)).flatten();
            let place = elsewhere.map_or(String::new(), |tables| format!(" and belongs in {tables}"));
            return Some(format!("it is called `{present}`{place}{example}"));
        }
        let elsewhere = tables(key).map(|tables| format!("it belongs in {tables}"));
        elsewhere.or_else(|| closest(key, keys.iter().copied()).map(|key| format!("did you mean `{key}`?")))
    }
}

/// A table that is being read.
#[derive(Debug)]
pub struct Table {
    path: Path,
    entries: BTreeMap<String, Entry>,
}

impl Table {
    /// The value of `key`, or `default` where the key is absent or its value is refused.
    pub fn read<T: Setting>(&mut self, key: &str, default: T, reader: &mut Reader) -> T {
        match self.entries.get(key).filter(|entry| !entry.is_nothing()) {
            Some(entry) => T::read(entry.clone(), reader).unwrap_or(default),
            None => default,
        }
    }

    /// Reports `key` where it is absent. `example` is a possible value.
    pub fn require(&self, key: &str, example: &str, reader: &mut Reader) {
        if !self.entries.contains_key(key) {
            reader.report(Finding {
                kind: Kind::Missing,
                path: self.path.key(key),
                expected: format!("the key `{key}` in this table"),
                found: String::new(),
                hint: format!("add a line such as {key} = {example}"),
                related: vec![],
            });
        }
    }
}
