//! The files that the rules read.

use std::{fs, path::Path};

/// Corpora, builds and extracts of data: no text of ours.
const FOREIGN: &[&str] = &["fuzz/corpus", "fuzz/target", "fuzz/artifacts", "tests/data"];

/// Every file below `folder` with one of these endings, as its path below `root` and its text, sorted.
pub fn files(root: &Path, folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![root.join(folder)]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("a readable entry").path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            if path.is_dir() {
                if !FOREIGN.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if endings.contains(&path.extension().unwrap_or_default().to_str().unwrap_or_default()) {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}
