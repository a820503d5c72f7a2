//! Reads Rust sources: words and marks without comments and strings, and every path that a file names.

/// A word or a mark of the source; what is in comments, strings and characters is left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
}

pub fn tokens(source: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < text.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < text.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= text.len() {
                        break;
                    }
                }
            }
            '"' => i = after_string(&text, i),
            // A character, not a lifetime: 'x' or an escape.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < text.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            c if c.is_alphabetic() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = text[start..i].iter().collect();
                let raw = ["r", "br", "cr"].contains(&word.as_str());
                let hashes = (i..).take_while(|&j| at(j) == '#').count();
                if raw && at(i + hashes) == '"' {
                    i = after_raw_string(&text, i + hashes + 1, hashes);
                } else {
                    out.push((line, Token::Word(word)));
                }
            }
            ':' if at(i + 1) == ':' => {
                out.push((line, Token::Path));
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    out.push((line, Token::Mark(c)));
                }
                i += 1;
            }
        }
        line += text[start..i.min(text.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

fn after_string(text: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < text.len() && text[i] != '"' {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn after_raw_string(text: &[char], start: usize, hashes: usize) -> usize {
    (start..text.len())
        .find(|&i| text[i] == '"' && text[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes)
        .map_or(text.len(), |i| i + 1 + hashes)
}

/// Every path in `source` with its line, spelt out (`use a::{b, c::d}` gives `a::b` and `a::c::d`). What starts at
/// `crate`, `foretide`, `self` or `super` is given as `crate::…`; `module` is where the file stands.
pub fn paths(source: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    paths_of(&tokens(source), module)
}

/// The same of a source that is read already.
pub fn paths_of(tokens: &[(usize, Token)], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let (mut out, mut i, mut depth) = (Vec::new(), 0, 0_usize);
    // Modules written inside the file, with the depth of braces at which they end.
    let mut inner: Vec<(usize, String)> = Vec::new();
    while i < tokens.len() {
        match &tokens[i].1 {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                if inner.last().is_some_and(|(end, _)| *end == depth) {
                    inner.pop();
                }
            }
            Token::Word(word) if word == "mod" => {
                if let (Some((_, Token::Word(name))), Some((_, Token::Mark('{')))) =
                    (tokens.get(i + 1), tokens.get(i + 2))
                {
                    inner.push((depth, name.clone()));
                }
            }
            // `pub(super)` and `pub(in …)` name no import.
            Token::Word(_) if is_visibility(tokens, i) => {}
            // A path does not start behind `::` or `.`.
            Token::Word(_) if i == 0 || !matches!(tokens[i - 1].1, Token::Path | Token::Mark('.')) => {
                let mut found = Vec::new();
                let next = spell_out(tokens, i, &mut Vec::new(), &mut found);
                let here: Vec<String> = module.iter().chain(inner.iter().map(|(_, name)| name)).cloned().collect();
                out.extend(found.into_iter().map(|(line, path)| (line, from_root(path, &here))));
                i = next;
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    out
}

/// Whether the word at `i` stands in the brackets of `pub(…)`.
fn is_visibility(tokens: &[(usize, Token)], i: usize) -> bool {
    let word = |back: usize, text: &str| {
        i.checked_sub(back).is_some_and(|i| matches!(&tokens[i].1, Token::Word(word) if word == text))
    };
    let open = |back: usize| i.checked_sub(back).is_some_and(|i| tokens[i].1 == Token::Mark('('));
    open(1) && word(2, "pub") || word(1, "in") && open(2) && word(3, "pub")
}

/// Reads one path or tree of paths from `i` on; returns where it ends.
fn spell_out(
    tokens: &[(usize, Token)],
    mut i: usize,
    prefix: &mut Vec<String>,
    out: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let kept = prefix.len();
    let line = tokens[i].0;
    loop {
        match tokens.get(i).map(|(_, token)| token) {
            Some(Token::Word(word)) => prefix.push(word.clone()),
            Some(Token::Mark('*')) if !prefix.is_empty() => {}
            Some(Token::Mark('{')) if !prefix.is_empty() => {
                i += 1;
                while i < tokens.len() && tokens[i].1 != Token::Mark('}') {
                    if matches!(tokens[i].1, Token::Word(_)) {
                        i = spell_out(tokens, i, prefix, out);
                        // `as name`
                        if matches!(&tokens.get(i), Some((_, Token::Word(word))) if word == "as") {
                            i += 2;
                        }
                    } else {
                        i += 1;
                    }
                }
                prefix.truncate(kept);
                return i + 1;
            }
            // `name::<…>`: what is in the brackets is read as paths of their own.
            _ => break,
        }
        i += 1;
        match tokens.get(i) {
            Some((_, Token::Path)) => i += 1,
            _ => break,
        }
    }
    out.push((line, prefix.clone()));
    prefix.truncate(kept);
    i
}

fn from_root(path: Vec<String>, here: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let (base, rest) = match path[0].as_str() {
        "crate" | "foretide" => (Vec::new(), &path[1..]),
        "self" if path.len() > 1 => {
            let supers = path[1..].iter().take_while(|segment| *segment == "super").count();
            (here[..here.len().saturating_sub(supers)].to_vec(), &path[1 + supers..])
        }
        "super" => (here[..here.len().saturating_sub(supers)].to_vec(), &path[supers..]),
        _ => return path,
    };
    ["crate".to_owned()].into_iter().chain(base).chain(rest.iter().cloned()).collect()
}
