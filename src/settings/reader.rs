//! Reads values out of the merged configuration, and collects what is wrong with them instead of stopping.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::origin::{Origins, Path};
use super::problem::{Finding, Kind};
use super::units::Units;

/// A type that can be read from the configuration.
pub trait Setting: Sized {
    /// Reads it; none where it cannot be read, and `reader` then knows why.
    fn read(found: Found, reader: &mut Reader) -> Option<Self>;
}

/// A value and the way to it.
#[derive(Debug, Clone)]
pub struct Found {
    path: Path,
    value: Value,
}

impl Found {
    /// The root of the configuration.
    pub fn root(value: Value) -> Self {
        Self { path: Path::default(), value }
    }

    /// Whether it is this text.
    pub fn is(&self, word: &str) -> bool {
        matches!(&self.value.kind, ValueKind::String(text) if text == word)
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.value.kind, ValueKind::Table(_))
    }

    /// The value, for people; secrets stay hidden.
    fn describe(&self) -> String {
        match &self.value.kind {
            ValueKind::Table(_) => "a table".into(),
            ValueKind::Array(_) => "a list".into(),
            ValueKind::Nil => "nothing".into(),
            _ if self.path.is_secret() => "a value that is not shown".into(),
            ValueKind::String(text) if text.chars().count() > 60 => {
                format!("the text {:?}…", text.chars().take(60).collect::<String>())
            }
            ValueKind::String(text) => format!("the text {text:?}"),
            ValueKind::Boolean(value) => format!("{value}"),
            ValueKind::Float(number) if number.is_infinite() => "a number that is too large".into(),
            other => format!("the number {other}"),
        }
    }
}

/// Reads values and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader {
    /// Where everything stands.
    pub origins: Origins,
    findings: Vec<Finding>,
    refused: BTreeSet<Path>,
    alternatives: Vec<String>,
    homes: &'static BTreeMap<String, Vec<String>>,
}

impl Reader {
    /// A reader of what stands at `origins`.
    ///
    /// `findings` are known already. `homes` says for each key in which tables it belongs, such as `[kafka]`.
    pub fn new(origins: Origins, findings: Vec<Finding>, homes: &'static BTreeMap<String, Vec<String>>) -> Self {
        let refused = findings.iter().map(|finding| finding.path.clone()).collect();
        Self { origins, findings, refused, alternatives: Vec::new(), homes }
    }

    /// Everything that was wrong.
    pub fn into_findings(self) -> (Origins, Vec<Finding>) {
        (self.origins, self.findings)
    }

    /// Adds a finding. Unless it is about several entries, its own takes no part in further checks.
    pub fn report(&mut self, finding: Finding) {
        if finding.kind != Kind::Contradiction {
            self.refused.insert(finding.path.clone());
        }
        self.findings.push(finding);
    }

    /// Whether something is wrong at `path` or below it already.
    pub fn is_refused(&self, path: &Path) -> bool {
        self.refused.iter().any(|refused| refused == path || refused.is_below(path))
    }

    /// Refuses a value that has none of the forms that it may have.
    pub fn refuse_form<T>(&mut self, found: &Found, expected: &str, hint: &str) -> Option<T> {
        let is_text = matches!(found.value.kind, ValueKind::String(_));
        let kind = if is_text { Kind::WrongValue } else { Kind::WrongType };
        self.refuse_as(kind, found, expected, Some(hint.into()))
    }

    /// Refuses a value of the right type.
    pub fn refuse<T>(&mut self, found: &Found, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_as(Kind::WrongValue, found, expected, hint)
    }

    fn mistyped<T>(&mut self, found: &Found, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_as(Kind::WrongType, found, expected, hint)
    }

    fn refuse_as<T>(&mut self, kind: Kind, found: &Found, expected: &str, hint: Option<String>) -> Option<T> {
        let expected = [&[expected.to_owned()], &self.alternatives[..]].concat().join(", or ");
        let (path, hint) = (found.path.clone(), hint.unwrap_or_default());
        self.report(Finding { kind, path, expected, found: found.describe(), hint, related: vec![] });
        None
    }

    /// Reads something beside which these words may stand too.
    pub fn or_words<T>(&mut self, words: &[&str], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        self.or_texts(&quoted.iter().map(String::as_str).collect::<Vec<_>>(), read)
    }

    /// Reads something beside which what these texts describe may stand too.
    pub fn or_texts<T>(&mut self, texts: &[&str], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.alternatives.len();
        self.alternatives.extend(texts.iter().map(|text| (*text).to_owned()));
        let value = read(self);
        self.alternatives.truncate(before);
        value
    }

    /// A text.
    pub fn text(&mut self, found: &Found, expected: &str) -> Option<String> {
        match &found.value.kind {
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => self.mistyped(found, expected, None),
            _ if found.path.is_secret() => self.mistyped(found, expected, Some("put it in quotes".into())),
            other => self.mistyped(found, expected, Some(format!("put it in quotes: \"{other}\""))),
        }
    }

    /// One of `words`.
    pub fn word(&mut self, found: &Found, words: &[&str]) -> Option<String> {
        let list = words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let expected = format!("one of {list}");
        let text = self.text(found, &expected)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let hint = closest(&text, words.iter().copied()).map(|word| format!("did you mean {word:?}?"));
        self.refuse(found, &expected, hint)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, found: &Found) -> Option<bool> {
        let is_of_variable = self.origins.is_of_variable(&found.path);
        match &found.value.kind {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::String(text) if is_of_variable && text == "true" => Some(true),
            ValueKind::String(text) if is_of_variable && text == "false" => Some(false),
            ValueKind::String(text) if text == "true" || text == "false" => {
                let hint = format!("write it without quotes: {text}");
                self.mistyped(found, "true or false", Some(hint))
            }
            _ => self.mistyped(found, "true or false", None),
        }
    }

    /// A whole number from 0 to `most`.
    pub fn integer(&mut self, found: &Found, most: i64) -> Option<i64> {
        let expected = "a whole number";
        let value = match &found.value.kind {
            ValueKind::I64(value) => *value,
            ValueKind::Float(value) if value.is_infinite() => {
                return self.refuse(found, &format!("{expected} from 0 to {most}"), None);
            }
            ValueKind::String(text) => match text.replace('_', "").parse::<i64>() {
                Ok(value) if self.origins.is_of_variable(&found.path) => value,
                Ok(value) => return self.mistyped(found, expected, Some(format!("write it without quotes: {value}"))),
                Err(_) => return self.mistyped(found, expected, None),
            },
            _ => return self.mistyped(found, expected, None),
        };
        if (0..=most).contains(&value) {
            Some(value)
        } else {
            self.refuse(found, &format!("{expected} from 0 to {most}"), None)
        }
    }

    /// A number; never infinite, never NaN.
    pub fn number(&mut self, found: &Found) -> Option<f64> {
        let value = match &found.value.kind {
            ValueKind::I64(value) => *value as f64,
            ValueKind::Float(value) => *value,
            ValueKind::String(text) => match text.parse::<f64>() {
                Ok(value) if self.origins.is_of_variable(&found.path) => value,
                Ok(_) => return self.mistyped(found, "a number", Some(format!("write it without quotes: {text}"))),
                Err(_) => return self.mistyped(found, "a number", None),
            },
            _ => return self.mistyped(found, "a number", None),
        };
        if value.is_finite() { Some(value) } else { self.refuse(found, "a finite number", None) }
    }

    /// A number with a unit.
    pub fn with_unit(&mut self, found: &Found, units: &Units) -> Option<u64> {
        match &found.value.kind {
            ValueKind::String(text) => units.parse(text).or_else(|| {
                let hint = units.guess(text).map(|guess| format!("did you mean {guess:?}?"));
                self.refuse(found, units.expected, hint)
            }),
            ValueKind::I64(value) => {
                let hint = format!("put it in quotes and add the unit: {}", units.examples(*value));
                self.mistyped(found, units.expected, Some(hint))
            }
            _ => self.mistyped(found, units.expected, None),
        }
    }

    /// The items of a list; in a variable they are separated by commas.
    pub fn list(&mut self, found: Found) -> Option<Vec<Found>> {
        let items: Vec<Value> = match &found.value.kind {
            ValueKind::Array(items) => items.clone(),
            ValueKind::String(text) if self.origins.is_of_variable(&found.path) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| Value::new(None, item)).collect()
            }
            ValueKind::Table(_) => return self.mistyped(&found, "a list", None),
            ValueKind::String(text) => {
                let hint = (!found.path.is_secret()).then(|| format!("put it in brackets: [{text:?}]"));
                return self.mistyped(&found, "a list", hint);
            }
            other => {
                let hint = format!("put it in brackets: [{other}]");
                return self.mistyped(&found, "a list", Some(hint));
            }
        };
        let items = items.into_iter().enumerate();
        Some(items.map(|(index, value)| Found { path: found.path.index(index), value }).collect())
    }

    /// One item of a list. Variables may have left it out.
    pub fn item<T: Setting>(&mut self, item: Found) -> Option<T> {
        if !matches!(item.value.kind, ValueKind::Nil) {
            return T::read(item, self);
        }
        let expected = format!("{}, since variables set what comes behind it", item.path);
        let (found, hint) = ("nothing".into(), "count without gaps, from 0".into());
        self.report(Finding { kind: Kind::Missing, path: item.path, expected, found, hint, related: vec![] });
        None
    }

    /// The entries of a table whose keys are free.
    pub fn entries(&mut self, found: Found) -> Option<BTreeMap<String, Found>> {
        let ValueKind::Table(entries) = found.value.kind else { return self.mistyped(&found, "a table", None) };
        Some(
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), Found { path: found.path.key(&key), value }))
                .collect(),
        )
    }

    /// The entries of a table that has exactly these keys.
    pub fn table(&mut self, found: Found, keys: &[&str]) -> Option<Table> {
        let path = found.path.clone();
        let entries = self.entries(found)?;
        for (key, entry) in entries.iter().filter(|(key, _)| !keys.contains(&key.as_str())) {
            let elsewhere = || self.homes.get(key).map(|homes| format!("`{key}` belongs in {}", homes.join(" or ")));
            let near = || closest(key, keys.iter().copied()).map(|key| format!("did you mean `{key}`?"));
            let hint = elsewhere().or_else(near);
            self.report(Finding {
                kind: Kind::UnknownKey,
                path: entry.path.clone(),
                expected: format!("one of {}", keys.join(", ")),
                found: String::new(),
                hint: hint.unwrap_or_default(),
                related: vec![],
            });
        }
        Some(Table { path, entries })
    }
}

/// A table that is being read.
#[derive(Debug)]
pub struct Table {
    path: Path,
    entries: BTreeMap<String, Found>,
}

impl Table {
    /// The value of `key`, or `default` where it is absent or cannot be read.
    pub fn read<T: Setting>(&mut self, key: &str, default: T, reader: &mut Reader) -> T {
        match self.entries.get(key) {
            Some(found) if !matches!(found.value.kind, ValueKind::Nil) => {
                T::read(found.clone(), reader).unwrap_or(default)
            }
            _ => default,
        }
    }

    /// Reports that `key` is absent where it is; `example` shows how it may look.
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

/// The word that `text` was probably meant to be.
pub fn closest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase().replace('-', "_");
    let near = words.map(|word| (distance(&text, &word.to_lowercase().replace('-', "_")), word));
    near.min_by_key(|(distance, _)| *distance).filter(|(d, word)| *d <= word.len().div_ceil(3)).map(|(_, word)| word)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one text into the other: the restricted
/// Damerau-Levenshtein distance, cut to 64 characters.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().take(64).collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = match (i, j) {
                (i, 0) => i,
                (0, j) => j,
                _ => {
                    let same = one[i - 1] == other[j - 1];
                    let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    swap.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(!same))
                }
            };
        }
    }
    rows[one.len()][other.len()]
}
