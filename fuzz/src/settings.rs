//! Fuzz target of the configuration: arbitrary text as a file, and as environment variables.

use foretide::{
    daemon::specs,
    settings::{self, Problem, problem::Location},
    wire::Decoder,
};

/// Tokens that the fuzzer inserts.
pub const TOKENS: &[&str] = &[
    "[[stream]]\n",
    "[stream.",
    "[kafka]\n",
    "name = ",
    "topics = [\"in\"]\n",
    "values = [\"v\"]\n",
    "interval = \"1m\"\n",
    "\"",
    "'",
    "\"\"\"",
    "= ",
    "\n",
    "[",
    "]",
    "{",
    "}",
    ".",
    "#",
    "\t",
    "é",
    "1e400",
    "-1",
    "0x7fffffffffffffff",
    "9223372036854775808",
    "nan",
    "true",
    "\"auto\"",
    "\"irregular\"",
    "\"366d\"",
    "\"0s\"",
    "\"1MiB\"",
    "2024-02-29",
    "1979-05-27T07:32:00Z",
    "{ fields = [\"a\"] }",
    "{ field = \"at\", format = \"%Y\" }",
    "{stream}",
    "{app}",
    "\0FORETIDE__STREAM__0__HORIZON=",
    "\nFORETIDE__",
    "__",
    "KAFKA__PROPERTIES__",
];

const SMALL: &str = r#"app = "edge"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
past_covariates = ["warm"]
"#;

/// Seeds: files, the second one with environment variables after a zero byte.
pub fn samples() -> Vec<Vec<u8>> {
    vec![
        SMALL.into(),
        [SMALL, "\0FORETIDE__STREAM__0__HORIZON=48\nFORETIDE__KAFKA__BROKERS=a:9092,b:9092"].concat().into(),
        SMALL.replace("\"1m\"", "60").into(),
        br#"[kafka]
properties = { "fetch.wait.max.ms" = "10" }
[http]
listen = "0.0.0.0:1"
[[stream]]
name = "a"
topics = ["x"]
format = "csv"
columns = ["t", "k", "v"]
delimiter = ";"
key = { fields = ["k"] }
time = { field = "t", format = "%Y-%m-%d", zone = "Europe/Berlin" }
values = ["v"]
interval = "irregular"
[stream.model]
cell = "attention"
strategy = "many_to_one"
threshold = 1.5
[stream.training]
k1 = 64
k2 = 32
[stream.future_covariates]
topic = "w"
time = { field = "at" }
values = ["p"]
"#
        .to_vec(),
    ]
}

/// Parses `bytes` as a configuration. A valid one can be planned and decoded; an invalid one is reported with places.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0).map(std::str::from_utf8);
    let (Some(Ok(text)), Ok(variables)) = (parts.next(), parts.next().unwrap_or(Ok(""))) else { return };
    let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables: Vec<(String, String)> = variables.lines().filter_map(variable).collect();
    match settings::parse("f.toml", text, variables.iter().cloned()) {
        Ok(settings) => {
            assert!(settings::summary(&settings, |_| None).starts_with("app "));
            let Ok(plan) = specs::plan(&settings) else { return };
            for stream in plan.streams {
                let decodings = [stream.decode].into_iter().chain(stream.future_covariates.map(|plan| plan.decode));
                decodings.for_each(|spec| drop(Decoder::new(spec).expect("a valid configuration can be decoded")));
            }
        }
        Err(problems) => {
            assert!(!problems.list.is_empty(), "an error without a problem");
            problems.list.iter().for_each(|problem| check_place(problem, text, &variables));
            assert!(problems.to_string().ends_with("nothing was started"));
        }
    }
}

fn check_place(problem: &Problem, text: &str, variables: &[(String, String)]) {
    match &problem.location {
        Location::File { line, column, width, .. } => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(line), "line {line} of {lines}");
            let columns = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
            assert!((1..=columns + 1).contains(column), "column {column} of {columns}");
            assert!(*width <= columns + 1, "{width} characters of {columns}");
        }
        Location::Variable(name) => assert!(variables.iter().any(|(set, _)| set == name), "{name}"),
        Location::Configuration => assert!(!problem.key.is_empty(), "neither a key nor a place: {problem:?}"),
    }
}
