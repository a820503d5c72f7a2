//! Retired words do not come back: the project speaks the field's words, in identifiers and in documents alike.
//!
//! A word is retired because it was a metaphor or a participle that a newcomer could not guess. Next to each stands
//! what to say instead.

use std::{fs, path::Path};

use crate::files::files;
use crate::source::{Token, tokens};

/// Retired everywhere: as a part of an identifier, in comments, messages, scripts and documents.
const RETIRED: &[(&str, &str)] = &[
    ("apart", "deviation, residual"),
    ("arrangement", "strategy"),
    ("foreknown", "future covariates"),
    ("foresee", "look up future covariates"),
    ("foreseen", "future covariates"),
    ("foresight", "future covariates"),
    ("heard", "decoded, received"),
    ("hearsay", "last client error"),
    ("heed", "leverage weight"),
    ("heeded", "weighted"),
    ("lookout", "lag monitor"),
    ("outlook", "future covariates"),
    ("outlooks", "future covariates"),
    ("seat", "group membership"),
    ("seats", "group memberships"),
    ("shelf", "registry"),
    ("sighted", "watermark"),
    ("sighting", "watermark"),
    ("sightings", "watermarks"),
    ("told", "reported, published, decoded"),
    ("unhalve", "from_bf16"),
    ("unsettle", "rebalance pending"),
    ("untold", "dirty"),
    ("usual", "mean, baseline, seasonal profile"),
    ("youth", "age"),
];

/// Retired as a part of an identifier; prose may use them in their ordinary meaning.
const RETIRED_IN_NAMES: &[(&str, &str)] = &[
    ("board", "dashboard"),
    ("book", "task checkpoint"),
    ("books", "task checkpoints"),
    ("calm", "clear_after"),
    ("complaint", "last client error"),
    ("door", "listener"),
    ("frozen", "encoded snapshot"),
    ("halve", "to_bf16"),
    ("halves", "to_bf16"),
    ("held", "clamped, stored"),
    ("iterated", "recursive"),
    ("planes", "byte shuffle"),
    ("rarity", "tail model"),
    ("remedy", "recovery action"),
    ("stirred", "touched"),
    ("tell", "report, publish, encode"),
    ("tells", "reports, publishes, encodes"),
];

/// Type names that say when or how a thing is met, not what it is.
const RETIRED_TYPES: &[&str] = &[
    "Ahead", "Aim", "Apart", "Around", "Before", "Beside", "Between", "Coming", "Flow", "Frozen", "Given", "Heard",
    "Kept", "Life", "Lived", "Made", "Spare", "Start", "Starts", "Taken", "Told", "Tried", "Turn", "Way", "Whole",
];

/// Phrases that no document, comment or message uses.
const RETIRED_PHRASES: &[&str] =
    &["made anew", "former life", "learnt by heart", "known in advance", "lets us in", "let us in"];

/// What is read, and the endings of its files.
const READ: &[(&str, &[&str])] = &[
    ("src", &["rs", "html", "js", "css", "toml", "cu"]),
    ("tests", &["rs", "js", "md"]),
    ("benches", &["rs"]),
    ("examples", &["rs"]),
    ("fuzz", &["rs"]),
    ("config", &["toml"]),
    ("deploy", &["md", "toml", "yaml", "yml", "json", "sh", "service"]),
    ("docs", &["md", "json"]),
    ("scripts", &[""]),
];

/// This file and those that must hold a retired word: the table of old keys, whose messages name the new ones.
const EXEMPT: &[&str] =
    &["tests/architecture/vocabulary.rs", "src/settings/renamed.rs", "src/settings/tests/renamed.rs"];

/// The words of a text with their lines; an identifier is one word.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).flat_map(|(number, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(move |word| (number, word))
    })
}

/// The parts of a name, in lower case: `FooBar_baz` has `foo`, `bar` and `baz`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && after_lower {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether a word of a text is the name of something, not one of prose: it has several parts or capitals inside.
fn is_name(word: &str) -> bool {
    word.contains('_') || word.chars().skip(1).any(char::is_uppercase)
}

/// What is wrong in a text, with its lines. In code every word outside comments and strings is a name.
fn wrongs(text: &str, code: bool) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let say = |word: &str, instead: &str| format!("`{word}`: say {instead}");
    for (number, word) in words(text) {
        for part in parts(word) {
            if let Some((_, instead)) = RETIRED.iter().find(|(retired, _)| *retired == part) {
                wrong.push((number, say(word, instead)));
            }
        }
    }
    let tokens = if code { tokens(text) } else { Vec::new() };
    let of_code = tokens.iter().filter_map(|(line, token)| match token {
        Token::Word(word) => Some((*line, word.as_str())),
        _ => None,
    });
    let of_prose = words(text).filter(|(_, word)| !code && is_name(word));
    for (number, word) in of_code.chain(of_prose) {
        for part in parts(word) {
            if let Some((_, instead)) = RETIRED_IN_NAMES.iter().find(|(retired, _)| *retired == part) {
                wrong.push((number, say(word, instead)));
            }
        }
        if code && RETIRED_TYPES.contains(&word) {
            wrong.push((number, say(word, "what the thing is")));
        }
    }
    // A phrase may run over the end of a line, and over the mark of a comment.
    let lines: Vec<&str> = text.lines().map(|line| line.trim().trim_start_matches(['/', '!', '#']).trim()).collect();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let both = format!("{line} {next}").to_lowercase();
        for phrase in RETIRED_PHRASES {
            if both.contains(phrase) && !next.to_lowercase().contains(phrase) {
                wrong.push((at + 1, format!("`{phrase}`")));
            }
        }
    }
    wrong.sort();
    wrong
}

#[test]
fn retired_words_do_not_come_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<(String, String)> =
        READ.iter().flat_map(|(folder, endings)| files(root, folder, endings)).collect();
    assert!(texts.len() > 200, "the sources were not found");
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", ".ci/run"] {
        texts.push((name.into(), fs::read_to_string(root.join(name)).expect(name)));
    }
    let mut wrong = Vec::new();
    for (name, text) in texts.iter().filter(|(name, _)| !EXEMPT.contains(&name.as_str())) {
        let code = name.ends_with(".rs");
        wrong.extend(wrongs(text, code).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let retired = RETIRED.iter().chain(RETIRED_IN_NAMES);
        wrong.extend(
            retired
                .filter(|(word, _)| parts(&stem).iter().any(|part| part == word))
                .map(|(word, instead)| format!("{name}: a file called `{word}`: say {instead}")),
        );
    }
    assert!(wrong.is_empty(), "{} retired words:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_retired_word_is_found_wherever_it_stands() {
    for (text, code) in [
        ("let seat = 1;", true),
        ("struct SeatState;", true),
        ("fn is_told() {}", true),
        ("// the seat is lost", true),
        ("let x = \"the seat is lost\";", true),
        ("struct Around(f32);", true),
        ("let held = 2;", true),
        ("fn tell_all() {}", true),
        ("The task's outlook.", false),
        ("see `board_spec`", false),
        ("A topic that was made\nanew", false),
        ("/// What is known in\n/// advance.", true),
    ] {
        assert!(!wrongs(text, code).is_empty(), "not found: {text}");
    }
}

#[test]
fn ordinary_words_pass() {
    for (text, code) in [
        ("// The lock is held while writing.", true),
        ("let s = \"boards\"; let c = '\"'; let dashboard = 1;", true),
        ("let kept = r#\"held\"#;", true),
        ("usually unusual, toldo", false),
        ("before the first, between two, made by hand", false),
        ("let keyboard = 1; let taken = 2;", true),
    ] {
        assert_eq!(wrongs(text, code), Vec::new(), "{text}");
    }
}
