//! Loads a configuration: parses the file, merges the environment into it, reads and checks the result.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use toml::de::DeTable;

use super::problem::{Finding, Kind, Problems};
use super::reader::{Entry, Reader, Setting};
use super::root::Settings;
use super::stream::Stream;
use super::{checks, layers, origin};

/// Loads the file at `path`, if any, and the variables of `environment`, which override it.
///
/// # Errors
/// All mistakes, each with its place.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Problems> {
    let Some(path) = path else { return parse("", "", environment) };
    let name = path.display().to_string();
    let unreadable = |found: String, hint: &str| Problems::of_file(&name, "a TOML file", found, hint);
    let bytes = std::fs::read(path).map_err(|error| {
        unreadable(error.to_string(), "config/foretide.toml in the repository of Foretide is a commented example")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(format!("bytes on line {line} that are not UTF-8"), "save the file as UTF-8")
    })?;
    parse(&name, &text, environment)
}

/// Like [`load`], from the text of a file called `name`.
///
/// # Errors
/// All mistakes, each with its place.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut origins = origin::Origins::default();
    origins.index(document.get_ref());
    let (merged, findings) = layers::merge(document.get_ref(), environment, &mut origins);
    let mut reader = Reader::new(origins, findings, &TABLES_OF_KEYS);
    let mut settings = Settings::read(Entry::root(merged), &mut reader).unwrap_or_default();
    if errors.is_empty() {
        checks::check(&mut settings, &mut reader);
    }
    let syntax: Vec<_> = errors.iter().map(|error| syntax_error(text, error)).collect();
    let (origins, findings) = reader.into_findings();
    if syntax.is_empty() && findings.is_empty() {
        return Ok(settings);
    }
    Err(Problems::locate(name, text, &origins, findings, syntax))
}

/// The tables that each key belongs to, for hints.
static TABLES_OF_KEYS: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(tables_of_keys);

fn tables_of_keys() -> BTreeMap<String, Vec<String>> {
    fn collect(table: &serde_json::Value, path: &str, tables: &mut BTreeMap<String, Vec<String>>) {
        for (key, value) in table.as_object().into_iter().flatten() {
            let header = if path.is_empty() { "the top of the file".into() } else { format!("[{path}]") };
            tables.entry(key.clone()).or_default().push(header);
            collect(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, tables);
        }
    }
    let mut tables = BTreeMap::new();
    for (path, table) in
        [("", serde_json::to_value(Settings::default())), ("stream", serde_json::to_value(Stream::default()))]
    {
        collect(&table.unwrap_or_default(), path, &mut tables);
    }
    tables
}

fn syntax_error(text: &str, error: &toml::de::Error) -> (origin::Place, Finding) {
    let span = error.span().unwrap_or(text.len()..text.len());
    let finding = Finding {
        kind: Kind::Syntax,
        path: origin::Path::default(),
        expected: String::new(),
        found: error.message().to_owned(),
        hint: String::new(),
        related: vec![],
    };
    (origin::Place::File(span.start, span.end), finding)
}
