//! Mistakes in a configuration: their kinds, and their places in the file or the environment.

use super::origin::{Origins, Part, Path, Place};

/// The kind of a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The configuration file, or a file that it names, cannot be read.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// Foretide has no such key or table.
    UnknownKey,
    /// The name of an environment variable names no key.
    WrongVariable,
    /// The value has another type.
    WrongType,
    /// The value has the right type, but is not allowed.
    WrongValue,
    /// A required key is absent.
    Missing,
    /// Each value is allowed, but not together with the other.
    Contradiction,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable file",
            Self::Syntax => "syntax error",
            Self::UnknownKey => "unknown key",
            Self::WrongVariable => "wrong name of a variable",
            Self::WrongType => "wrong type",
            Self::WrongValue => "wrong value",
            Self::Missing => "missing key",
            Self::Contradiction => "conflicting values",
        }
    }
}

/// A mistake whose place in the file has not been looked up yet.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Kind of the mistake.
    pub kind: Kind,
    /// Path of the entry.
    pub path: Path,
    /// What is allowed; empty where the hint says it.
    pub expected: String,
    /// What the configuration has; empty where it has nothing.
    pub found: String,
    /// What to do; empty where there is no suggestion.
    pub hint: String,
    /// Paths of other entries that take part in the mistake.
    pub related: Vec<Path>,
}

impl Finding {
    /// The headline of the report.
    fn title(&self) -> String {
        match (self.kind, self.path.last_key()) {
            (Kind::UnknownKey, Some(key)) if self.hint.is_empty() => format!("unknown key `{key}`"),
            (Kind::UnknownKey, Some(key)) => format!("unknown key `{key}`; {}", self.hint),
            _ => self.kind.title().to_owned(),
        }
    }
}

/// A mistake and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Kind of the mistake.
    pub kind: Kind,
    /// Headline of the report, such as ``unknown key `known`; it is called `future_covariates` ``.
    pub title: String,
    /// Path of the entry, such as `stream[0].horizon`; empty where the mistake concerns the whole file.
    pub key: String,
    /// Place of the mistake.
    pub location: Location,
    /// What is allowed; empty where the title says it.
    pub expected: String,
    /// What the configuration has; empty where it has nothing.
    pub found: String,
    /// What to do; empty where there is no suggestion, or the title has it.
    pub hint: String,
    /// Other entries that take part in the mistake, each with its place.
    pub related: Vec<String>,
}

/// Place of a mistake.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// In the file.
    File {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Text of the line, without secrets.
        text: String,
        /// Number of characters to underline.
        width: usize,
    },
    /// In the environment variable of this name.
    Variable(String),
    /// In the configuration as a whole.
    Configuration,
}

/// All mistakes of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Problems {
    /// Name of the file; empty where there is none.
    pub file: String,
    /// The mistakes: those in the file in the order of their places, then those in variables.
    pub list: Vec<Problem>,
}

impl Problems {
    /// The one mistake of a file that cannot be read.
    pub fn of_file(file: &str, expected: &str, found: String, hint: &str) -> Self {
        let problem = Problem {
            kind: Kind::Unreadable,
            title: Kind::Unreadable.title().into(),
            key: String::new(),
            location: Location::Configuration,
            expected: expected.into(),
            found,
            hint: hint.into(),
            related: Vec::new(),
        };
        Self { file: file.into(), list: vec![problem] }
    }

    /// Looks up the places of `findings` in the text of the file, and sorts them. Drops findings that may be
    /// consequences of a syntax error: missing keys, and what is on the same line or below a broken table header.
    pub fn locate(
        file: &str,
        text: &str,
        origins: &Origins,
        findings: Vec<Finding>,
        syntax: Vec<(Place, Finding)>,
    ) -> Self {
        let place = |finding: Finding| {
            let part = if finding.kind == Kind::UnknownKey { Part::Key } else { Part::Value };
            (origins.place(&finding.path, part), finding)
        };
        let mut placed: Vec<(Place, Finding)> = syntax.into_iter().chain(findings.into_iter().map(place)).collect();
        let source = Source { file, text };
        let broken: Vec<usize> = placed.iter().filter_map(|(place, finding)| source.line_of(place, finding)).collect();
        placed.retain(|(place, finding)| match (finding.kind, place) {
            (Kind::Syntax, _) => true,
            (Kind::Missing, _) => broken.is_empty(),
            (_, Place::File(start, _)) => {
                let line = source.line_at(*start).number;
                !broken.contains(&line) && !broken.contains(&source.header_of(line))
            }
            _ => true,
        });
        placed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let problem = |(place, finding): (Place, Finding)| {
            let related = finding.related.iter();
            Problem {
                title: finding.title(),
                location: source.location(&place, &finding),
                related: related.map(|path| source.refer(path, &origins.exact_place(path))).collect(),
                key: finding.path.to_string(),
                kind: finding.kind,
                expected: finding.expected,
                found: finding.found,
                hint: if finding.kind == Kind::UnknownKey { String::new() } else { finding.hint },
            }
        };
        Self { file: file.into(), list: placed.into_iter().map(problem).collect() }
    }
}

/// The file, for looking up lines.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

/// A line of the file, and a column in it.
struct Line<'a> {
    /// Number of the line, from 1.
    number: usize,
    /// Column in characters, from 1.
    column: usize,
    text: &'a str,
}

impl Source<'_> {
    fn location(&self, place: &Place, finding: &Finding) -> Location {
        match place {
            Place::Variable(name) => Location::Variable(name.clone()),
            Place::Default => Location::Configuration,
            Place::File(start, end) => {
                let Line { number, column, text } = self.line_at(*start);
                let part = self.text.get(*start..*end).and_then(|part| part.lines().next());
                let width = part.map_or(0, |part| part.chars().count());
                let before: String = text.chars().take(column - 1).collect();
                let shown = if finding.path.is_secret() || (may_show_secret(text) && !finding.path.names_file()) {
                    let key = before.split_once('=').map_or(before.as_str(), |(key, _)| key);
                    if key.len() < before.len() { format!("{key}= ***") } else { format!("{before}***") }
                } else if finding.kind == Kind::UnknownKey && !text.trim_start().starts_with('[') {
                    // The value of an unknown key does not matter, and may be a secret under a mistyped key.
                    text.chars().take(column - 1 + width).collect()
                } else {
                    text.to_owned()
                };
                let room = (shown.chars().count() + 1).saturating_sub(column);
                Location::File { line: number, column, width: width.clamp(1, room.max(1)), text: shown }
            }
        }
    }

    /// The line of a syntax error; none for other mistakes.
    fn line_of(&self, place: &Place, finding: &Finding) -> Option<usize> {
        match place {
            Place::File(start, _) if finding.kind == Kind::Syntax => Some(self.line_at(*start).number),
            _ => None,
        }
    }

    /// The line of the nearest table header above a line or on it; 0 where there is none.
    fn header_of(&self, line: usize) -> usize {
        let headers = self.text.lines().take(line).enumerate().filter(|(_, text)| text.trim_start().starts_with('['));
        headers.last().map_or(0, |(before, _)| before + 1)
    }

    /// Names an entry and its place.
    fn refer(&self, path: &Path, place: &Place) -> String {
        match place {
            Place::File(start, _) => {
                let Line { number, column, .. } = self.line_at(*start);
                format!("{path} at {}:{number}:{column}", self.file)
            }
            Place::Variable(name) => format!("{path} from the environment variable {name}"),
            Place::Default => format!("{path} by default"),
        }
    }

    /// The line and column of a byte.
    fn line_at(&self, byte: usize) -> Line<'_> {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let text = self.text[start..].lines().next().unwrap_or_default();
        Line { number: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1, text }
    }
}

/// Whether a line may contain a secret, judged by the words in it.
fn may_show_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    line.contains('=')
        && ["password", "passwd", "pwd", "secret", "token", "credential"].iter().any(|word| line.contains(word))
}
