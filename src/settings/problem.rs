//! What is wrong with a configuration, and how it is told.

use std::fmt;

use super::origin::{Origins, Part, Path, Place};

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file cannot be read, or a file that it names.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// A key or table that Foretide does not know.
    UnknownKey,
    /// A value of another type.
    WrongType,
    /// A value of the right type that cannot be.
    WrongValue,
    /// A key that must be there is not.
    Missing,
    /// Values that are fine by themselves but not together.
    Contradiction,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable file",
            Self::Syntax => "syntax error",
            Self::UnknownKey => "unknown key",
            Self::WrongType => "wrong type",
            Self::WrongValue => "wrong value",
            Self::Missing => "missing key",
            Self::Contradiction => "contradiction",
        }
    }
}

/// One mistake, before its place in the file is looked up.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What kind of mistake.
    pub kind: Kind,
    /// The entry that it is about.
    pub path: Path,
    /// What should stand there.
    pub expected: String,
    /// What stands there; empty where nothing does.
    pub found: String,
    /// What to do; empty where nothing is known.
    pub hint: String,
    /// Other entries that it is about.
    pub related: Vec<Path>,
}

/// One mistake and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What kind of mistake.
    pub kind: Kind,
    /// The entry that it is about, such as `stream[0].horizon`; empty where it is about the whole file.
    pub key: String,
    /// Where it is.
    pub location: Location,
    /// What should stand there.
    pub expected: String,
    /// What stands there; empty where nothing does.
    pub found: String,
    /// What to do; empty where nothing is known.
    pub hint: String,
    /// Other entries that it is about, each with its place.
    pub related: Vec<String>,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// In the file.
    File {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The line itself, without what must not be shown.
        text: String,
        /// Characters to underline; 0 where they are not shown.
        width: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In the configuration as a whole.
    Whole,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Problems {
    /// The file's name; empty where there is none.
    pub file: String,
    /// The mistakes: those in the file first, from its top to its end, then those in variables.
    pub list: Vec<Problem>,
}

impl Problems {
    /// One mistake that concerns the file as a whole.
    pub fn whole(file: &str, kind: Kind, expected: &str, found: String, hint: &str) -> Self {
        let problem = Problem {
            kind,
            key: String::new(),
            location: Location::Whole,
            expected: expected.into(),
            found,
            hint: hint.into(),
            related: Vec::new(),
        };
        Self { file: file.into(), list: vec![problem] }
    }

    /// Looks up the places of `findings`, given the file's text, and sorts them. What a syntax error may have caused is
    /// left out: keys that are missing, and whatever stands on the same line or below a
    /// broken header.
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
                let line = source.line_at(*start).0;
                !broken.contains(&line) && !broken.contains(&source.header_of(line))
            }
            _ => true,
        });
        placed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let list = placed
            .into_iter()
            .map(|(place, finding)| {
                let related = finding.related.iter();
                Problem {
                    location: source.location(&place, &finding),
                    related: related.map(|path| source.refer(path, &origins.exact_place(path))).collect(),
                    key: finding.path.to_string(),
                    kind: finding.kind,
                    expected: finding.expected,
                    found: finding.found,
                    hint: finding.hint,
                }
            })
            .collect();
        Self { file: file.into(), list }
    }
}

/// The file, for looking up lines.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn location(&self, place: &Place, finding: &Finding) -> Location {
        match place {
            Place::Variable(name) => Location::Variable(name.clone()),
            Place::Default => Location::Whole,
            Place::File(start, end) => {
                let (line, column, text) = self.line_at(*start);
                let width = self
                    .text
                    .get(*start..*end)
                    .and_then(|part| part.lines().next())
                    .map_or(0, |part| part.chars().count());
                let before: String = text.chars().take(column - 1).collect();
                let shown = if finding.path.is_secret() || (shows_secret(text) && !finding.path.names_file()) {
                    let key = before.split_once('=').map_or(before.as_str(), |(key, _)| key);
                    if key.len() < before.len() { format!("{key}= ***") } else { format!("{before}***") }
                } else if finding.kind == Kind::UnknownKey && !text.trim_start().starts_with('[') {
                    // The value is not to blame, and may be a secret under a mistyped key.
                    text.chars().take(column - 1 + width).collect()
                } else {
                    text.to_owned()
                };
                let room = (shown.chars().count() + 1).saturating_sub(column);
                Location::File { line, column, width: width.clamp(1, room.max(1)), text: shown }
            }
        }
    }

    /// The line of a syntax error.
    fn line_of(&self, place: &Place, finding: &Finding) -> Option<usize> {
        match place {
            Place::File(start, _) if finding.kind == Kind::Syntax => Some(self.line_at(*start).0),
            _ => None,
        }
    }

    /// The line of the table header that is nearest above a line, or on it; 0 above the first.
    fn header_of(&self, line: usize) -> usize {
        let headers = self.text.lines().take(line).enumerate().filter(|(_, text)| text.trim_start().starts_with('['));
        headers.last().map_or(0, |(before, _)| before + 1)
    }

    fn refer(&self, path: &Path, place: &Place) -> String {
        match place {
            Place::File(start, _) => {
                let (line, column, _) = self.line_at(*start);
                format!("{path} at {}:{line}:{column}", self.file)
            }
            Place::Variable(name) => format!("{path} from the environment variable {name}"),
            Place::Default => format!("{path} by default"),
        }
    }

    /// Line and column, both from 1, of a byte, and the text of its line.
    fn line_at(&self, byte: usize) -> (usize, usize, &str) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1, line)
    }
}

/// Whether a line may hold a secret: by the words that name one.
fn shows_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    line.contains('=')
        && ["password", "passwd", "pwd", "secret", "token", "credential"].iter().any(|word| line.contains(word))
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            problem.write(&self.file, f)?;
            writeln!(f)?;
        }
        let (count, plural) = (self.list.len(), if self.list.len() == 1 { "" } else { "s" });
        let file = if self.file.is_empty() { "the environment" } else { &self.file };
        write!(f, "{file}: {count} problem{plural}; nothing was started")
    }
}

impl std::error::Error for Problems {}

impl Problem {
    fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.kind.title())?;
        let mut margin = "  ".to_owned();
        match &self.location {
            Location::File { line, column, text, width } => {
                let number = line.to_string();
                margin = " ".repeat(number.len());
                writeln!(f, "{margin}--> {file}:{line}:{column}")?;
                writeln!(f, "{margin} |")?;
                writeln!(f, "{number} | {}", text.trim_end())?;
                writeln!(f, "{margin} | {}{}", indent(text, column - 1), "^".repeat(*width))?;
            }
            Location::Variable(name) => writeln!(f, "{margin}--> environment variable {name}")?,
            Location::Whole if file.is_empty() => {}
            Location::Whole => writeln!(f, "{margin}--> {file}")?,
        }
        let notes = [("key", &self.key), ("expected", &self.expected), ("found", &self.found)];
        for (name, note) in notes.into_iter().filter(|(_, note)| !note.is_empty()) {
            writeln!(f, "{margin} = {name}: {note}")?;
        }
        for related in &self.related {
            writeln!(f, "{margin} = see: {related}")?;
        }
        if !self.hint.is_empty() {
            writeln!(f, "{margin} = hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Blanks as wide as the first `columns` characters of `text`, keeping its tabs.
fn indent(text: &str, columns: usize) -> String {
    text.chars().chain(std::iter::repeat(' ')).take(columns).map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
}
