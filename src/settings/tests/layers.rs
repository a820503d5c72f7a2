//! Layers: the environment over the file over the defaults. Secrets. Arbitrary text.

use std::io::Write;

use proptest::prelude::*;

use super::super::{Auto, Key, Millis, Role, Secret, SecurityProtocol, load, parse};
use super::STREAM;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let text = format!(
        "app = \"mine\"\nshards = 3\n[kafka.properties]\n\"a.b\" = \"1\"\n\"c.d\" = \"2\"\n\
         {STREAM}horizon = 6\nkey = \"record\""
    );
    let environment = variables(&[
        ("FORETIDE__SHARDS", "auto"),
        ("FORETIDE__ROLE", "score"),
        ("FORETIDE__KAFKA__BROKERS", " a:1 , b:2,"),
        ("FORETIDE__KAFKA__CREATE_TOPICS", "false"),
        ("FORETIDE__KAFKA__PROPERTIES__C_D", "3"),
        ("FORETIDE__STREAM__0__HORIZON", "48"),
        ("FORETIDE__STREAM__0__QUANTILES", "0.1,0.5"),
        ("FORETIDE__STREAM__0__KEY__FIELDS", "site,meter"),
        ("FORETIDE__STREAM__0__TRAINING__LEARNING_RATE", "1e-3"),
        ("FORETIDE_TEST_BROKERS", "not ours"),
        ("OTHER", "not ours"),
    ]);
    let settings = parse("f.toml", &text, environment).unwrap();
    assert_eq!((settings.app.as_str(), settings.shards, settings.role), ("mine", Auto::Auto, Role::Score));
    assert_eq!(settings.commit_interval, Millis(100));
    assert_eq!(settings.kafka.brokers, ["a:1", "b:2"]);
    assert!(!settings.kafka.create_topics);
    let properties: Vec<_> =
        settings.kafka.properties.iter().map(|(key, value)| (key.as_str(), value.reveal())).collect();
    assert_eq!(properties, [("a.b", "1"), ("c.d", "3")]);
    let stream = &settings.stream[0];
    assert_eq!((stream.horizon, &stream.quantiles[..]), (48, &[0.1, 0.5][..]));
    assert_eq!(stream.key, Key::Fields(vec!["site".into(), "meter".into()]));
    assert_eq!(stream.training.learning_rate, 1e-3);
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = variables(&[
        ("FORETIDE__STREAM__0__NAME", "a"),
        ("FORETIDE__STREAM__0__TOPICS", "in"),
        ("FORETIDE__STREAM__0__VALUES", "load"),
        ("FORETIDE__STREAM__0__INTERVAL", "1m"),
        ("FORETIDE__STREAM__1__NAME", "b"),
        ("FORETIDE__STREAM__1__TOPICS", "in"),
        ("FORETIDE__STREAM__1__VALUES", "load"),
        ("FORETIDE__STREAM__1__INTERVAL", "irregular"),
    ]);
    let settings = load(None, environment).unwrap();
    assert_eq!(settings.stream.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hunter2\r\n").unwrap();
    let text = format!(
        "[kafka]\nsecurity_protocol = \"sasl_ssl\"\nsasl_username = \"me\"\n\
         sasl_password_file = {:?}\nproperties = {{ \"ssl.key.pem\" = \"hunter2\" }}\n{STREAM}",
        file.path().display().to_string()
    );
    let settings = parse("f.toml", &text, []).unwrap();
    assert_eq!(settings.kafka.security_protocol, SecurityProtocol::SaslSsl);
    assert_eq!(settings.kafka.sasl_password.as_ref().map(Secret::reveal), Some("hunter2"));
    let shown = format!("{settings:?}{settings:#?}{}", serde_json::to_string(&settings).unwrap());
    assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let missing = load(Some("does/not/exist.toml".as_ref()), []).unwrap_err().to_string();
    let expected = "\
error: unreadable file
  --> does/not/exist.toml
   = expected: a TOML file
   = found: No such file or directory (os error 2)
   = hint: config/foretide.toml in the repository of Foretide is a commented example

does/not/exist.toml: 1 problem; nothing was started";
    assert_eq!(missing, expected);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"app = \"x\"\nrole = \"\xff\"\n").unwrap();
    let report = load(Some(file.path()), []).unwrap_err().to_string();
    assert!(report.contains("found: bytes on line 2 that are not UTF-8"), "{report}");
}

/// Text that resembles a configuration often enough to reach all readers.
fn toml_like() -> impl Strategy<Value = String> {
    let keys = "app|shards|brokers|properties|name|topics|format|columns|delimiter|key|time|values|interval|season|\
                max_gap|horizon|quantiles|history|k2|min_steps|earliest|zone|fields|sasl_password|stream|kafka|model|\
                [a-z.\"\\[\\]{}]{0,6}";
    let values = "\"[a-z0-9%:. é/{}]{0,8}\"|-?[0-9]{1,20}|[0-9]{1,3}(ms|s|m|h|d)|\
                  \"[0-9]{1,18}(ms|s|m|h|d|B|GiB)\"|inf|nan|-?[0-9.]{1,6}|true|\\[\\]|\
                  \\[(\"[a-z]{0,2}\",? ?|[0-9.]{1,3}, ?){0,4}\\]|\
                  \\{ (field|fields|format|zone) = (\"[a-z%]{0,3}\"|\\[\"a\"\\]|1) \\}|\"\"\"|.{0,8}";
    let line = prop_oneof![
        8 => (keys, values).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => "\\[\\[stream\\]\\]|\
              \\[(kafka|limits|log|stream|stream.model|stream.training|topics|kafka.properties)\\]"
            .prop_map(String::from),
        1 => ".{0,20}".prop_map(String::from),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

/// Names of variables, of which few name a key.
const NAMES: &str = "FORETIDE__(STREAM__[0-9]{1,20}__|KAFKA__|KAFKA__PROPERTIES__|STREAM|)[A-Zé_.0-9]{0,8}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_and_no_variable_panics(
        text in toml_like(),
        names in prop::collection::vec(NAMES, 0..4),
        value in "[0-9a-z,.:\" ]{0,8}",
    ) {
        let environment: Vec<_> = names.into_iter().map(|name| (name, value.clone())).collect();
        if let Err(problems) = parse("f.toml", &text, environment) {
            prop_assert!(!problems.list.is_empty());
            prop_assert!(problems.to_string().starts_with("error: "));
        }
    }

    #[test]
    fn any_bytes_as_text_do_not_panic(text in "\\PC{0,200}") {
        let _ = parse("f.toml", &text, []).map_err(|problems| problems.to_string());
    }
}
