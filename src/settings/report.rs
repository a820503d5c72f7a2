//! Prints mistakes for people, in the style of the Rust compiler.

use std::fmt;

use super::problem::{Location, Problem, Problems};

/// Longest line of a note, in characters, where the note has more than one word.
const LINE_WIDTH: usize = 110;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write_problem(problem, &self.file, f)?;
            writeln!(f)?;
        }
        let (count, plural) = (self.list.len(), if self.list.len() == 1 { "" } else { "s" });
        let file = if self.file.is_empty() { "the environment" } else { &self.file };
        write!(f, "{file}: {count} problem{plural}; nothing was started")
    }
}

impl std::error::Error for Problems {}

fn write_problem(problem: &Problem, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "error: {}", problem.title)?;
    let mut margin = "  ".to_owned();
    match &problem.location {
        Location::File { line, column, text, width } => {
            let number = line.to_string();
            margin = " ".repeat(number.len());
            writeln!(f, "{margin}--> {file}:{line}:{column}")?;
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {}", text.trim_end())?;
            writeln!(f, "{margin} | {}{}", indent(text, column - 1), "^".repeat(*width))?;
        }
        Location::Variable(name) => writeln!(f, "{margin}--> environment variable {name}")?,
        Location::Configuration if file.is_empty() => {}
        Location::Configuration => writeln!(f, "{margin}--> {file}")?,
    }
    let notes = [("key", &problem.key), ("expected", &problem.expected), ("found", &problem.found)];
    let related = problem.related.iter().map(|related| ("see", related));
    for (name, note) in notes.into_iter().chain(related).chain([("hint", &problem.hint)]) {
        if !note.is_empty() {
            write_note(&margin, name, note, f)?;
        }
    }
    Ok(())
}

/// Writes one note. Lists of allowed words continue on further lines, indented below the first word.
fn write_note(margin: &str, name: &str, note: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let head = format!("{margin} = {name}: ");
    let note = if name == "expected" { wrap(note, head.len()) } else { note.to_owned() };
    writeln!(f, "{head}{note}")
}

/// `text` in lines of at most `LINE_WIDTH` characters, broken between words. All lines but the first are indented.
pub fn wrap(text: &str, indent: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), indent);
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > LINE_WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

/// Blanks as wide as the first `columns` characters of `text`. They keep the tabs of the text.
fn indent(text: &str, columns: usize) -> String {
    text.chars().chain(std::iter::repeat(' ')).take(columns).map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
}
