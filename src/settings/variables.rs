//! Environment variables that look like ours and set nothing, such as `FORETIDE_APP` with one underscore for two.

use std::fmt;

use super::root::Settings;
use super::stream::Stream;
use super::suggestion;

/// What the names of our variables begin with, and the separator of the steps of a path.
const PREFIX: &str = "FORETIDE__";
/// What the variables begin with that look like ours.
const LIKE_OURS: &str = "FORETIDE_";
/// First words of the variables of the project's tests and scripts.
const TOOLS: [&str; 6] = ["BIN", "CHAOS", "FUZZ", "SIMULATION", "SOAK", "TEST"];

/// A variable that sets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredVariable {
    /// Its name.
    pub name: String,
    /// The variable that it probably stands for.
    pub suggestion: Option<String>,
}

impl fmt::Display for IgnoredVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown environment variable {}, which sets nothing; ", self.name)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "did you mean {suggestion}?"),
            None => write!(f, "a variable is named {PREFIX} and the path of a key, its steps separated by __"),
        }
    }
}

/// The variables of these names that look like ours and set nothing. Leaves out those of the project's own tools, and
/// those that Kubernetes sets for a service called foretide.
pub fn ignored_variables(names: impl IntoIterator<Item = String>) -> Vec<IgnoredVariable> {
    let names = names.into_iter().filter(|name| name.starts_with(LIKE_OURS) && !name.starts_with(PREFIX));
    let mut ignored: Vec<IgnoredVariable> = names.filter_map(ignored_variable).collect();
    ignored.sort_by(|one, other| one.name.cmp(&other.name));
    ignored
}

fn ignored_variable(name: String) -> Option<IgnoredVariable> {
    let words: Vec<&str> = name[LIKE_OURS.len()..].split('_').filter(|word| !word.is_empty()).collect();
    let known = known_variables(words.get(1).filter(|_| words[0] == "STREAM").copied());
    let flat = words.join("_");
    let exact = known.iter().find(|(other, _)| *other == flat).map(|(_, full)| full.clone());
    if exact.is_none() && (words.first().is_none_or(|word| TOOLS.contains(word)) || is_service_link(&flat)) {
        return None;
    }
    let near = || {
        let near = suggestion::closest(&flat, known.iter().map(|(other, _)| other.as_str()))?;
        known.iter().find(|(other, _)| other == near).map(|(_, full)| full.clone())
    };
    Some(IgnoredVariable { suggestion: exact.or_else(near), name })
}

/// Whether Kubernetes sets such a variable, to link containers to a service.
fn is_service_link(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.contains("SERVICE_HOST")
        || name.contains("SERVICE_PORT")
        || name.ends_with("PORT")
        || name.split("PORT_").skip(1).any(numbered)
}

/// All variables that name a key: with single underscores and without prefix, and in full. Those of streams have this
/// number, or else 0.
fn known_variables(stream: Option<&str>) -> Vec<(String, String)> {
    fn collect(table: &serde_json::Value, path: &[&str], known: &mut Vec<(String, String)>) {
        for (key, value) in table.as_object().into_iter().flatten() {
            let path = [path, &[key]].concat();
            if value.is_object() && key != "properties" {
                collect(value, &path, known);
            } else {
                known.push((path.join("_").to_uppercase(), format!("{PREFIX}{}", path.join("__").to_uppercase())));
            }
        }
    }
    let number = stream.filter(|number| number.chars().all(|c| c.is_ascii_digit())).unwrap_or("0");
    let mut known = Vec::new();
    for (path, table) in [
        (&[][..], serde_json::to_value(Settings::default())),
        (&["stream", number][..], serde_json::to_value(Stream::default())),
    ] {
        collect(&table.unwrap_or_default(), path, &mut known);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggestions(names: &[&str]) -> Vec<String> {
        let ignored = ignored_variables(names.iter().map(|name| (*name).to_owned()));
        ignored.into_iter().map(|one| format!("{} {}", one.name, one.suggestion.unwrap_or_default())).collect()
    }

    #[test]
    fn single_underscores_are_found_out() {
        let names = ["FORETIDE_STREAM_0_HORIZON", "FORETIDE_KAFKA_BROKERS", "FORETIDE_STREAM_12_TRAINING_K1"];
        let expected = [
            "FORETIDE_KAFKA_BROKERS FORETIDE__KAFKA__BROKERS",
            "FORETIDE_STREAM_0_HORIZON FORETIDE__STREAM__0__HORIZON",
            "FORETIDE_STREAM_12_TRAINING_K1 FORETIDE__STREAM__12__TRAINING__K1",
        ];
        assert_eq!(suggestions(&names), expected);
        assert_eq!(suggestions(&["FORETIDE_COMMIT_INTERVAL"]), ["FORETIDE_COMMIT_INTERVAL FORETIDE__COMMIT_INTERVAL"]);
        assert_eq!(suggestions(&["FORETIDE_KAFKA__BROKER"]), ["FORETIDE_KAFKA__BROKER FORETIDE__KAFKA__BROKERS"]);
        assert_eq!(suggestions(&["FORETIDE_NOTHING_LIKE_A_KEY_AT_ALL"]), ["FORETIDE_NOTHING_LIKE_A_KEY_AT_ALL "]);
        let ignored = IgnoredVariable { name: "FORETIDE_APP".into(), suggestion: Some("FORETIDE__APP".into()) };
        let text = "unknown environment variable FORETIDE_APP, which sets nothing; did you mean FORETIDE__APP?";
        assert_eq!(ignored.to_string(), text);
    }

    #[test]
    fn ours_and_those_of_tools_and_of_kubernetes_are_left_alone() {
        let names = [
            "FORETIDE__KAFKA__BROKERS",
            "FORETIDE_TEST_BROKERS",
            "FORETIDE_BIN",
            "FORETIDE_CHAOS_SEED",
            "FORETIDE_SERVICE_HOST",
            "FORETIDE_SERVICE_PORT_HTTP",
            "FORETIDE_PORT",
            "FORETIDE_PORT_9464_TCP_ADDR",
            "FORETIDE_TRAINER_PORT_9464_TCP",
            "PATH",
        ];
        assert_eq!(suggestions(&names), [""; 0]);
    }
}
