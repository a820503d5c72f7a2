//! The layers of the configuration: the file, and over it the environment. The `config` crate merges them.

use std::collections::HashMap;

use config::{Config, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::origin::{Origins, Path, Step};
use super::problem::{Finding, Kind};

/// Prefix of the variables of Foretide.
const PREFIX: &str = "FORETIDE__";
/// Separator of the steps of a path in the name of a variable.
const SEPARATOR: &str = "__";
/// Key that all layers are nested in, because the `config` crate parses top-level keys as paths and takes nested keys
/// literally.
const ROOT: &str = "foretide";
/// Number of `[[stream]]` tables that variables can reach: it bounds the list that one variable creates.
const MOST_STREAMS: usize = 1_000;

/// One value that replaces the value at `key`.
#[derive(Debug, Clone)]
struct Layer {
    key: String,
    value: Value,
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, config::ConfigError> {
        Ok(HashMap::from([(self.key.clone(), self.value.clone())]))
    }
}

/// Merges the variables of `environment` into `document`, and records in `origins` what each of them sets.
///
/// Returns the merged configuration, and a finding for each variable that names no key.
pub fn merge(
    document: &DeTable<'_>,
    environment: impl IntoIterator<Item = (String, String)>,
    origins: &mut Origins,
) -> (Value, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut builder = Config::builder().add_source(Layer { key: ROOT.into(), value: table_value(document) });
    let mut variables: Vec<(String, String)> =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let paths: Vec<Path> = variables.iter().map(|(name, _)| path_of(name)).collect();
    for ((name, _), path) in variables.iter().zip(&paths) {
        origins.set_by(path.clone(), name);
    }
    for ((_, text), path) in variables.iter().zip(paths) {
        match layer_of(&path, text) {
            _ if origins.holds_entries(&path) => findings.push(names_table(path)),
            None => findings.push(unusable(path)),
            Some(layer) => builder = builder.add_source(layer),
        }
    }
    let merged = builder.build().and_then(|config| config.get::<Value>(ROOT));
    (merged.unwrap_or_else(|_| Value::new(None, HashMap::<String, Value>::new())), findings)
}

/// The path that the name of a variable means. Below `kafka.properties` an underscore means a dot.
fn path_of(name: &str) -> Path {
    let steps = name[PREFIX.len()..].split(SEPARATOR).map(str::to_lowercase);
    steps.fold(Path::default(), |path, step| match step.parse::<usize>() {
        Ok(index) if matches!(path.steps(), [Step::Key(key)] if key == "stream") => path.index(index),
        _ if path.to_string() == "kafka.properties" => path.key(&step.replace('_', ".")),
        _ => path.key(&step),
    })
}

/// The layer that sets `path` to `text`; none where the `config` crate cannot express the path.
fn layer_of(path: &Path, text: &str) -> Option<Layer> {
    let mut key = ROOT.to_owned();
    let mut value = Value::new(None, text);
    let (parents, last) = match path.steps() {
        // The keys of properties contain dots, which a path cannot express: a table can.
        [kafka, properties, Step::Key(last)] if path.to_string().starts_with("kafka.properties.") => {
            (vec![kafka, properties], Some(last))
        }
        steps => (steps.iter().collect(), None),
    };
    for step in parents {
        match step {
            Step::Key(name) if is_name(name) => key.push_str(&format!(".{name}")),
            Step::Index(index) if *index < MOST_STREAMS => key.push_str(&format!("[{index}]")),
            _ => return None,
        }
    }
    if let Some(last) = last {
        value = Value::new(None, HashMap::from([(last.clone(), value)]));
    }
    Some(Layer { key, value })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn names_table(path: Path) -> Finding {
    let hint = format!("append {SEPARATOR} and one of its keys");
    let expected = "the name of a single key".into();
    Finding { kind: Kind::WrongType, path, expected, found: "the name of a whole table".into(), hint, related: vec![] }
}

fn unusable(path: Path) -> Finding {
    let expected = format!("{PREFIX} and the path of a key, its steps separated by {SEPARATOR}");
    let hint = "such as FORETIDE__KAFKA__BROKERS or FORETIDE__STREAM__0__HORIZON".into();
    Finding { kind: Kind::WrongVariable, path, expected, found: String::new(), hint, related: vec![] }
}

fn table_value(table: &DeTable<'_>) -> Value {
    let entries = table.iter().map(|(key, item)| (key.get_ref().to_string(), value_of(item.get_ref())));
    Value::new(None, entries.collect::<HashMap<String, Value>>())
}

fn value_of(value: &DeValue<'_>) -> Value {
    let kind = match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        // No key accepts an infinite number: the reader refuses an integer of more than 64 bits with its place.
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => ValueKind::I64(value),
            Err(_) => ValueKind::Float(f64::INFINITY),
        },
        DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => ValueKind::Boolean(*value),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => ValueKind::Array(items.iter().map(|item| value_of(item.get_ref())).collect()),
        DeValue::Table(table) => return table_value(table),
    };
    Value::new(None, kind)
}
