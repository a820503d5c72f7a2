//! Holds the plan of the house: imports point down only, some crates and words stay out of some rooms, files stay
//! short. The reader of sources below is itself held by small made-up files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One room, lowest first: what of ours it may import. Anything that is not named is refused, a new room included.
const ROOMS: &[(&str, &[&str])] = &[
    ("env", &[]),
    ("time", &[]),
    ("series", &["time"]),
    ("nn", &["time", "series"]),
    ("forecast", &["time", "series", "nn"]),
    ("engine", &["time", "series", "nn", "forecast"]),
    // broker, wire, engine and train meet only in the daemon and in backtest.
    ("train", &["env", "time", "series", "nn", "forecast"]),
    ("wire", &["env", "time", "series", "nn", "forecast"]),
    ("broker", &[]),
    ("backtest", &["env", "time", "series", "nn", "forecast", "engine", "train", "wire", "broker"]),
    (
        "daemon",
        &[
            "env",
            "time",
            "series",
            "nn",
            "forecast",
            "engine",
            "train",
            "wire",
            "broker",
            "backtest",
            // Two leaves that stand higher: types of the settings, and the names of the metrics.
            "settings",
            "telemetry",
        ],
    ),
    ("settings", &["time"]),
    ("telemetry", &["env", "time", "settings"]),
    (
        "cli",
        &[
            "env",
            "time",
            "series",
            "nn",
            "forecast",
            "engine",
            "train",
            "wire",
            "broker",
            "backtest",
            "daemon",
            "settings",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
];

/// The rooms that are pure: everything they need comes in as arguments, what happened goes out as values.
const PURE: &[&str] = &["time", "series", "nn", "forecast", "engine"];

/// Heads of paths that a pure room may not name.
const IMPURE_PATHS: &[&str] = &[
    "rdkafka",
    "tokio",
    "metrics",
    "tracing",
    "log",
    "axum",
    "config",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "rand::rng",
    "rand::random",
];

/// Words that a pure room may not use at all.
const IMPURE_WORDS: &[&str] = &["Instant", "SystemTime", "async", "await"];

/// Nor these, but in its tests.
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Where `unsafe` may be: kernels, of the processor and of a GPU.
const UNSAFE: &[&str] = &["nn/kernel/", "nn/cuda/"];

/// No file is longer than this.
const CEILING: usize = 600;
/// What we aim for; longer files are named when the test fails and when it is run with `--nocapture`.
const AIM: usize = 500;

// ---- reading sources -------------------------------------------------------------------------------------------

/// A word or a mark of the source; what is in comments, strings and characters is left out.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
}

fn tokens(source: &str) -> Vec<(usize, Token)> {
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
fn paths(source: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(source);
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
            // A path does not start behind `::` or `.`.
            Token::Word(_) if i == 0 || !matches!(tokens[i - 1].1, Token::Path | Token::Mark('.')) => {
                let mut found = Vec::new();
                let next = spell_out(&tokens, i, &mut Vec::new(), &mut found);
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

// ---- the rules -------------------------------------------------------------------------------------------------

/// What is wrong in one file of `src/`: `name` is its path below `src/`.
fn wrongs(name: &str, source: &str) -> Vec<String> {
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    let room = module[0].as_str();
    if room == "lib" {
        return Vec::new(); // names the rooms, imports nothing
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(known, _)| *known == room) else {
        return vec![format!("src/{name}: the room `{room}` has no row in ROOMS of tests/architecture.rs")];
    };
    let mut wrong = Vec::new();
    if !source.starts_with("//!") && !name.ends_with("tests.rs") {
        wrong.push(format!("src/{name}:1: begin with `//!` and say what the file is for"));
    }
    for (line, path) in paths(source, &module) {
        let spelt = path.join("::");
        let mut say = |what: &str| wrong.push(format!("src/{name}:{line}: `{spelt}`: {what}"));
        // What is no room is not held: files mounted by `#[path]` stand deeper than their name says.
        let other = path.get(1).filter(|other| *other != room && ROOMS.iter().any(|(known, _)| known == other));
        if path[0] == "crate" && other.is_some_and(|other| !allowed.contains(&other.as_str())) {
            say(&format!("`{room}` may import {allowed:?} only"));
        }
        let names = |head: &str| spelt == head || spelt.starts_with(&format!("{head}::"));
        // A pure room's tests may read the real series that it must do well on.
        let reads_data = name.ends_with("tests.rs") && names("std::fs");
        if PURE.contains(&room) && path.len() > 1 && IMPURE_PATHS.iter().any(|head| names(head)) && !reads_data {
            say(&format!("`{room}` is pure: it takes what it needs as arguments"));
        }
        if path[0].starts_with("candle_") && !["nn", "train"].contains(&room) {
            say("candle stays in `nn` and `train`");
        }
        if (path[0] == "rdkafka" || path[0] == "rdkafka_sys") && room != "broker" {
            say("Kafka's client stays in `broker`");
        }
    }
    let words = tokens(source);
    let words: Vec<(usize, &str)> = words
        .iter()
        .filter_map(|(line, token)| if let Token::Word(word) = token { Some((*line, word.as_str())) } else { None })
        .collect();
    let tests = if name.ends_with("tests.rs") {
        0
    } else {
        words.windows(2).position(|pair| pair[0].1 == "cfg" && pair[1].1 == "test").unwrap_or(words.len())
    };
    for (place, (line, word)) in words.into_iter().enumerate() {
        if PURE.contains(&room) && (IMPURE_WORDS.contains(&word) || PRINTS.contains(&word) && place < tests) {
            wrong.push(format!("src/{name}:{line}: `{word}`: `{room}` is pure"));
        }
        if word == "unsafe" && !UNSAFE.iter().any(|folder| name.starts_with(folder)) {
            wrong.push(format!("src/{name}:{line}: `unsafe` stays in {UNSAFE:?}"));
        }
    }
    wrong
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `folder`, by its path below it, sorted.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("below the folder").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("a readable source")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn imports_point_down_and_rooms_keep_to_themselves() {
    let files = sources(&root().join("src"));
    assert!(files.len() > 10, "src/ was not found");
    let wrong: Vec<String> = files.iter().flat_map(|(name, source)| wrongs(name, source)).collect();
    assert!(wrong.is_empty(), "{} things to mend:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_of_rooms_itself_points_down() {
    let place = |room: &str| ROOMS.iter().position(|(known, _)| *known == room);
    for (room, allowed) in ROOMS {
        for below in *allowed {
            let leaf = *room == "daemon" && ["settings", "telemetry"].contains(below);
            assert!(leaf || place(below) < place(room), "`{room}` stands below `{below}`");
            assert!(place(below).is_some(), "`{room}` may import `{below}`, which is no room");
        }
    }
}

#[test]
fn files_stay_short() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (name, source) in sources(&root().join(folder)) {
            if source.lines().count() > AIM {
                long.push((source.lines().count(), format!("{folder}/{name}")));
            }
        }
    }
    long.sort_by(|a, b| b.cmp(a));
    let list: Vec<String> = long.iter().map(|(lines, name)| format!("{name}: {lines} lines")).collect();
    println!("over {AIM} lines: {list:?}");
    let over = long.iter().filter(|(lines, _)| *lines > CEILING).count();
    assert!(over == 0, "{over} files over {CEILING} lines; over {AIM}, which we aim for:\n{}", list.join("\n"));
}

// ---- the checker, checked --------------------------------------------------------------------------------------

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    for (name, source) in [
        ("series/grid.rs", "//! x\nuse crate::engine::Table;"),
        ("series/grid.rs", "//! x\nuse crate::{time::Grid, nn::{self, Network}};"),
        ("series/grid.rs", "//! x\nfn f(x: &crate::forecast::Forecast) {}"),
        ("series/mod.rs", "//! x\nuse super::daemon::Event as E;"),
        ("series/grid.rs", "//! x\nuse super::super::wire;"),
        ("series/grid.rs", "//! x\nmod tests { use super::super::super::cli; }"),
        ("series/grid.rs", "//! x\nuse self::super::super::cli;"),
        ("wire/mod.rs", "//! x\nuse crate::engine;"),
        ("train/mod.rs", "//! x\nuse crate::engine;"),
        ("broker/kafka.rs", "//! x\nuse crate::time::Grid;"),
        ("backtest/mod.rs", "//! x\nuse crate::settings::Settings;"),
        ("main.rs", "//! x\nfn main() { foretide::daemon::run() }"),
        ("cellar/mod.rs", "//! x"),
    ] {
        assert!(!wrongs(name, source).is_empty(), "not found in {name}: {source}");
    }
}

#[test]
fn a_crate_or_word_in_the_wrong_room_is_found() {
    for (name, source) in [
        ("engine/mod.rs", "//! x\nuse std::time::{Duration, Instant};"),
        ("engine/mod.rs", "//! x\nfn f() { let t = std::time::SystemTime::now(); }"),
        ("forecast/mod.rs", "//! x\nuse tracing::info;"),
        ("nn/mod.rs", "//! x\nfn f() { metrics::counter!(\"a\"); }"),
        ("series/mod.rs", "//! x\nuse std::{fs, fmt};"),
        ("engine/mod.rs", "//! x\nasync fn f() {}"),
        ("engine/mod.rs", "//! x\nfn f() { println!() }\n#[cfg(test)] mod tests {}"),
        ("engine/mod.rs", "//! x\nuse candle_core::Tensor;"),
        ("daemon/mod.rs", "//! x\nuse rdkafka::ClientConfig;"),
        ("nn/cell.rs", "//! x\nfn f() { unsafe { g() } }"),
        ("nn/cell.rs", "fn f() {}"),
    ] {
        assert!(!wrongs(name, source).is_empty(), "not found in {name}: {source}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (name, source) in [
        ("series/grid.rs", "//! x\nuse crate::time::{EventTime, Grid};\nuse super::scale;\nuse crate::series::Scale;"),
        ("series/grid.rs", "//! [`crate::engine`] calls this.\n/* use crate::cli; /* unsafe */ */ fn f<'a>() {}"),
        ("series/grid.rs", "//! x\nconst A: &str = \"use crate::cli;\"; const B: &str = r#\"\"crate::cli\"#;"),
        ("series/grid.rs", "//! x\nconst Q: char = '\"'; const R: char = '\\''; use crate::time; // \""),
        ("series/grid.rs", "//! x\nmod tests { use super::*; use super::super::scale; }"),
        ("nn/kernel/gru.rs", "//! x\n#[allow(unsafe_code)]\nunsafe fn f() {}"),
        ("nn/cuda/device.rs", "//! x\n#[allow(unsafe_code)]\nunsafe fn f() {}"),
        ("nn/mod.rs", "//! x\nuse candle_core::{Device, Tensor};"),
        ("nn/mod.rs", "//! x\n#[cfg(test)] mod tests { fn f() { println!() } }"),
        ("nn/kernel/tests.rs", "//! x\nfn f() { println!() }"),
        ("nn/data_tests.rs", "//! x\nfn f() { std::fs::File::open(\"a\") }"),
        ("engine/mod.rs", "//! x\nuse std::time::Duration;\nfn f(c: Counts) -> u64 { c.metrics::<u8>() }"),
        ("daemon/mod.rs", "//! x\nuse crate::{settings, telemetry, engine::Shard};"),
        ("main.rs", "//! x\nfn main() { foretide::cli::main() }"),
    ] {
        assert_eq!(wrongs(name, source), Vec::<String>::new(), "{name}: {source}");
    }
}
