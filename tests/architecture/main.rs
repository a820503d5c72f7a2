//! Holds the structure of `src/`: imports point down and never in a circle, some crates and words stay out of some
//! rooms, files and lines stay short, and names are the field's words. The reader of sources is itself tested on small
//! made-up files.

mod checker_tests;
mod circles;
mod files;
mod source;
mod vocabulary;

use std::{fs, path::PathBuf};

use circles::{circles, module_of};
use files::files;
use source::{Token, paths, tokens};

/// One room, lowest first: which rooms it may import. Anything that is not named is refused, a new room included.
const ROOMS: &[(&str, &[&str])] = &[
    ("env", &[]),
    ("time", &[]),
    // What a snapshot is made of: shared by the rooms that have state and those that write it down.
    ("snapshot", &["time"]),
    ("settings", &["time"]),
    ("telemetry", &["env", "time", "settings"]),
    ("series", &["time", "snapshot"]),
    ("nn", &["time", "series"]),
    ("forecast", &["time", "snapshot", "series", "nn"]),
    ("engine", &["time", "snapshot", "series", "nn", "forecast"]),
    // broker, wire, engine and train meet only in the daemon and in backtest.
    ("train", &["env", "time", "series", "nn", "forecast"]),
    ("pretrain", &["time", "series", "nn", "train"]),
    ("wire", &["env", "time", "snapshot", "series", "nn", "forecast"]),
    // Only the limit of log lines.
    ("broker", &["telemetry"]),
    ("backtest", &["env", "time", "series", "nn", "forecast", "engine", "train", "wire", "broker"]),
    ("dashboard", &["env", "time", "settings", "telemetry", "forecast"]),
    (
        "daemon",
        &[
            "env",
            "time",
            "snapshot",
            "settings",
            "telemetry",
            "series",
            "nn",
            "forecast",
            "engine",
            "train",
            "wire",
            "broker",
            "backtest",
            "dashboard",
        ],
    ),
    (
        "cli",
        &[
            "env",
            "time",
            "settings",
            "telemetry",
            "series",
            "nn",
            "forecast",
            "engine",
            "train",
            "pretrain",
            "wire",
            "broker",
            "backtest",
            "dashboard",
            "daemon",
        ],
    ),
    ("main", &["cli"]),
];

/// The rooms that are pure: everything they need comes in as arguments, what happened goes out as values.
const PURE: &[&str] = &["time", "snapshot", "series", "nn", "forecast", "engine"];

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

/// No file has more lines than this.
const MAX_LINES: usize = 500;
/// No line is wider than this, in characters.
const MAX_WIDTH: usize = 120;

// ---- the rules -------------------------------------------------------------------------------------------------

/// What is wrong in one file of `src/`: `name` is its path below `src/`.
fn wrongs(name: &str, source: &str) -> Vec<String> {
    let module = module_of(name);
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

/// Every `.rs` file of `src/`, by its path below it.
fn sources() -> Vec<(String, String)> {
    let below = |(name, source): (String, String)| (name["src/".len()..].to_owned(), source);
    files(&root(), "src", &["rs"]).into_iter().map(below).collect()
}

#[test]
fn imports_point_down_and_rooms_keep_to_themselves() {
    let files = sources();
    assert!(files.len() > 10, "src/ was not found");
    let wrong: Vec<String> = files.iter().flat_map(|(name, source)| wrongs(name, source)).collect();
    assert!(wrong.is_empty(), "{} things to mend:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_of_rooms_itself_points_down() {
    let place = |room: &str| ROOMS.iter().position(|(known, _)| *known == room);
    for (room, allowed) in ROOMS {
        for below in *allowed {
            assert!(place(below).is_some(), "`{room}` may import `{below}`, which is no room");
            assert!(place(below) < place(room), "`{room}` stands below `{below}`");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles(&sources());
    let list: Vec<String> = found.iter().map(|circle| circle.join("\n")).collect();
    assert!(found.is_empty(), "{} circles of imports:\n{}", found.len(), list.join("\n\n"));
}

#[test]
fn files_and_lines_stay_short() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for (name, source) in files(&root(), folder, &["rs"]) {
            let lines = source.lines().count();
            if lines > MAX_LINES {
                wrong.push(format!("{name}: {lines} lines; split it, at most {MAX_LINES}"));
            }
            for (number, line) in (1..).zip(source.lines()) {
                if line.chars().count() > MAX_WIDTH {
                    wrong.push(format!("{name}:{number}: wider than {MAX_WIDTH} characters"));
                }
            }
        }
    }
    let mut documents: Vec<PathBuf> = ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "deploy/README"]
        .map(|name| root().join(format!("{name}.md")))
        .to_vec();
    documents.extend(fs::read_dir(root().join("docs")).expect("docs/").map(|entry| entry.expect("an entry").path()));
    for path in documents.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&path).expect("a readable document");
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| line.chars().count() > MAX_WIDTH) {
            wrong.push(format!("{}:{number}: wider than {MAX_WIDTH} characters: {line}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}
