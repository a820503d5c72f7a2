//! Checks of keys that name a file: secrets, certificates, private keys and holidays.

use std::io;
use std::path::{Path, PathBuf};

use super::super::holidays_file::read_holidays;
use super::super::problem::{Finding, Kind};
use super::super::secret::Secret;
use super::super::stream::Stream;
use super::checker::Checker;

/// Reports a certificate without its key, or a key without its certificate, by the `names` of the two keys and whether
/// each is `given`.
pub fn certificate_and_key(names: [&str; 2], given: [bool; 2], table: &mut Checker<'_>) {
    for (here, there) in [(0, 1), (1, 0)] {
        let missing = names[there];
        table.contradicts(
            given[here] && !given[there],
            &[names[here], missing],
            "a certificate and its key",
            format!("no {missing}"),
            format!("add {missing}"),
        );
    }
}

/// Reads `secret` from the file that `file_key` names. Reports a secret that both `key` and `file_key` set.
pub fn secret(
    secret: &mut Option<Secret>,
    file: Option<&PathBuf>,
    (key, file_key): (&str, &str),
    table: &mut Checker<'_>,
) {
    let Some(file) = file.filter(|_| table.is_valid(&[key, file_key])) else { return };
    table.contradicts(
        secret.is_some(),
        &[file_key, key],
        "one of the two",
        format!("{key} and {file_key}"),
        "remove one of them",
    );
    match Secret::from_file(file) {
        Ok(read) => *secret = Some(read),
        Err(error) => {
            // An empty secret in its place prevents a second report, of its absence.
            *secret = Some(Secret::new(String::new()));
            unreadable(file, &error, file_key, table);
        }
    }
}

/// Reports a file that cannot be opened. Its users check the content.
pub fn readable(file: Option<&Path>, key: &str, table: &mut Checker<'_>) {
    let Some(file) = file.filter(|_| table.is_valid(&[key])) else { return };
    if let Err(error) = std::fs::File::open(file) {
        unreadable(file, &error, key, table);
    }
}

/// Adds the dates of the file that `holidays_file` names to the holidays of a stream.
pub fn holidays(stream: &mut Stream, table: &mut Checker<'_>) {
    const KEY: &str = "holidays_file";
    let Some(file) = stream.holidays_file.as_deref().filter(|_| table.is_valid(&[KEY])) else { return };
    match read_holidays(file) {
        Ok(dates) => stream.holidays.extend(dates),
        Err(found) => refuse(KEY, "a file with dates, or a calendar (.ics)", found, table),
    }
}

fn unreadable(file: &Path, error: &io::Error, key: &str, table: &mut Checker<'_>) {
    refuse(key, "a file that can be read", format!("{}: {error}", file.display()), table);
}

fn refuse(key: &str, expected: &str, found: String, table: &mut Checker<'_>) {
    let (path, hint) = (table.path.key(key), "relative paths start at the working directory".into());
    table.reader.report(Finding {
        kind: Kind::Unreadable,
        path,
        expected: expected.into(),
        found,
        hint,
        related: vec![],
    });
}
