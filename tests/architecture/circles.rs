//! Finds circles of imports between the files of `src/`, tests aside.
//!
//! A file imports another where one of its paths leads into that file's module. A parent imports each child that it
//! declares, so a child that imports its parent closes a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Token, paths_of, tokens};

/// A file: its name below `src/`, and its source with the lines.
type File<'a> = (&'a str, Vec<(usize, Token)>);

/// The module of a file, from its path below `src/`.
pub fn module_of(name: &str) -> Vec<String> {
    let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// Groups of files that import each other, each as lines `file:line imports file`; `files` are names below `src/` with
/// their sources.
pub fn circles(files: &[(String, String)]) -> Vec<Vec<String>> {
    let sources: BTreeMap<Vec<String>, File<'_>> = files
        .iter()
        .filter(|(name, _)| name != "lib.rs" && name != "main.rs")
        .map(|(name, source)| (module_of(name), (name.as_str(), without_tests(&tokens(source)))))
        .collect();
    // What a test module declares, or what a file declares for tests only, is out.
    let modules: BTreeMap<&Vec<String>, &File<'_>> =
        sources.iter().filter(|(module, _)| !is_test(module, files, &sources)).collect();
    let mut imports: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (module, (name, tokens)) in &modules {
        let known = |path: &[String]| {
            (1..=path.len()).rev().find_map(|length| modules.get(&path[..length].to_vec())).map(|(file, _)| *file)
        };
        for (line, path) in paths_of(tokens, module) {
            let child = [module.as_slice(), &path[..1]].concat();
            let target = match path[0].as_str() {
                "crate" => known(&path[1..]),
                _ if modules.contains_key(&child) => known(&[module.as_slice(), &path].concat()),
                _ => None,
            };
            if let Some(target) = target.filter(|target| target != name) {
                imports.entry(name).or_default().entry(target).or_insert(line);
            }
        }
        for (line, child) in declared(tokens) {
            if let Some((target, _)) = modules.get(&[module.as_slice(), &[child]].concat()) {
                imports.entry(name).or_default().entry(target).or_insert(line);
            }
        }
    }
    groups(&imports)
        .into_iter()
        .map(|group| {
            let within = |from: &&str| {
                imports[*from]
                    .iter()
                    .filter(|(to, _)| group.contains(*to))
                    .map(|(to, line)| format!("src/{from}:{line} imports src/{to}"))
                    .collect::<Vec<_>>()
            };
            group.iter().flat_map(within).collect()
        })
        .collect()
}

/// The source without the items that are compiled for tests only: those behind `#[cfg(test)]`, `#[cfg(all(test, …))]`.
fn without_tests(tokens: &[(usize, Token)]) -> Vec<(usize, Token)> {
    let is_mark = |at: usize, mark: char| tokens.get(at).is_some_and(|(_, token)| *token == Token::Mark(mark));
    let is_word = |at: usize, text: &str| matches!(tokens.get(at), Some((_, Token::Word(word))) if word == text);
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let end = (at..tokens.len()).find(|&end| is_mark(end, ']')).unwrap_or(tokens.len());
        let is_attribute = is_mark(at, '#') && is_mark(at + 1, '[') && is_word(at + 2, "cfg");
        let names = |text: &str| (at..end).any(|at| is_word(at, text));
        if !is_attribute || !names("test") || names("not") || names("any") {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0_usize;
        at = end + 1;
        while let Some((_, token)) = tokens.get(at) {
            at += 1;
            match token {
                Token::Mark('{' | '(' | '[') => depth += 1,
                Token::Mark('}') if depth == 1 => break,
                Token::Mark('}' | ')' | ']') => depth = depth.saturating_sub(1),
                Token::Mark(';') if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// The child modules that a source declares in files of their own: `mod name;`.
fn declared(tokens: &[(usize, Token)]) -> Vec<(usize, String)> {
    tokens
        .windows(3)
        .filter_map(|window| match window {
            [(line, Token::Word(word)), (_, Token::Word(name)), (_, Token::Mark(';'))] if word == "mod" => {
                Some((*line, name.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Whether a module is declared for tests only, itself or one that it stands in.
fn is_test(module: &[String], files: &[(String, String)], sources: &BTreeMap<Vec<String>, File<'_>>) -> bool {
    (1..module.len()).any(|length| {
        let (parent, child) = (&module[..length].to_vec(), &module[length]);
        let Some((name, without)) = sources.get(parent) else { return false };
        let whole = files.iter().find(|(file, _)| file == name).map_or("", |(_, source)| source.as_str());
        let names = |tokens: &[(usize, Token)]| declared(tokens).into_iter().any(|(_, name)| name == *child);
        names(&tokens(whole)) && !names(without)
    })
}

/// Strongly connected files, more than one each (every pair reaches each other).
fn groups<'a>(imports: &BTreeMap<&'a str, BTreeMap<&'a str, usize>>) -> Vec<BTreeSet<&'a str>> {
    let reached = |from: &'a str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            for to in imports.get(next).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(*to) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, reached(file))).collect();
    let mut groups: Vec<BTreeSet<&str>> = Vec::new();
    for (file, ahead) in &reach {
        if ahead.contains(file) && !groups.iter().any(|group| group.contains(file)) {
            let back = |other: &&&str| reach.get(**other).is_some_and(|reach| reach.contains(file));
            groups.push(ahead.iter().filter(back).copied().collect());
        }
    }
    groups
}
