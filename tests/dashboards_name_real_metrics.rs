//! The alert rules and the Grafana dashboard name only metrics and labels that exist.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use foretide::telemetry::Exposition;
use foretide::telemetry::metrics::{ALL, Kind, Metric};

/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["job", "instance", "le"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every PromQL expression of the dashboard: panels, annotations and variables.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match value {
                    serde_json::Value::String(text) if key == "expr" || key == "query" => found.push(text.clone()),
                    value => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Name and matched labels of every word that looks like one of our metrics.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let after = rest[start..].find(|c| !word(c)).map_or(rest.len(), |length| start + length);
        let (name, next) = (&rest[start..after], &rest[after..]);
        if name.starts_with("foretide_") || name.starts_with("process_") {
            let matchers =
                next.strip_prefix('{').and_then(|inside| inside.split_once('}')).map_or("", |(inside, _)| inside);
            let labels =
                matchers.split(',').filter_map(|matcher| matcher.split_once(['=', '!'])).map(|(label, _)| label);
            found.push((name.to_owned(), labels.map(|label| label.trim().to_owned()).collect()));
        }
        rest = next;
    }
    found
}

fn metric(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram(_) => {
            name.strip_prefix(metric.name).is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
        }
        _ => metric.name == name,
    })
}

/// What is wrong with the metrics that `text` names.
fn wrong(text: &str) -> Vec<String> {
    let known = |(name, labels): (String, Vec<String>)| match metric(&name) {
        None => Some(format!("there is no metric {name}")),
        Some(metric) => labels
            .into_iter()
            .find(|label| !metric.labels.contains(&label.as_str()) && !ADDED.contains(&label.as_str()))
            .map(|label| format!("{name} has no label {label}, only {:?}", metric.labels)),
    };
    named(text).into_iter().filter_map(known).collect()
}

#[test]
fn the_alert_rules_and_their_tests_name_metrics_that_exist() {
    for file in ["prometheus/alerts.yml", "prometheus/alerts.test.yml"] {
        let text = read(file);
        assert!(named(&text).len() > 20, "{file} names metrics");
        assert_eq!(wrong(&text), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn the_dashboard_names_metrics_that_exist_and_shows_all_of_ours() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/dashboards/foretide.json")).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 40, "{}", found.len());
    let text = found.join("\n");
    assert_eq!(wrong(&text), Vec::<String>::new());
    let shown: BTreeSet<&str> =
        named(&text).iter().filter_map(|(name, _)| metric(name)).map(|metric| metric.name).collect();
    let ours = ALL.iter().map(|metric| metric.name).filter(|name| name.starts_with("foretide_"));
    let forgotten: Vec<&str> = ours.filter(|name| !shown.contains(name)).collect();
    assert_eq!(forgotten, Vec::<&str>::new(), "every metric has a panel");
}

#[test]
fn every_alert_has_a_test() {
    let (rules, tests) = (read("prometheus/alerts.yml"), read("prometheus/alerts.test.yml"));
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(tests.contains(name), "{name} has no test in alerts.test.yml");
    }
}

#[test]
fn an_unknown_name_or_label_is_found() {
    assert_eq!(wrong("rate(foretide_records_totals[5m])"), ["there is no metric foretide_records_totals"]);
    assert_eq!(wrong("foretide_commit_seconds > 1"), ["there is no metric foretide_commit_seconds"]);
    assert_eq!(
        wrong("sum(rate(foretide_commit_seconds_bucket{le=\"1\", instance=~\".*\"}[5m]))"),
        Vec::<String>::new()
    );
    let found = wrong("foretide_series{stream=\"a\", series!~\"b\"}");
    assert!(found.len() == 1 && found[0].contains("has no label series"), "{found:?}");
}

#[test]
fn promtool_accepts_the_exposition() {
    let exposition = Exposition::install().unwrap();
    for metric in ALL {
        let labels: Vec<(&'static str, &str)> = metric.labels.iter().map(|label| (*label, "x")).collect();
        match metric.kind {
            Kind::Counter => metric.counter(&labels).increment(1),
            Kind::Sum => metric.sum(&labels).increment(0.5),
            Kind::Gauge => metric.gauge(&labels).set(1.0),
            Kind::Histogram(_) => metric.histogram(&labels).record(0.1),
        }
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools/promtool");
    let promtool = if unpacked.exists() { unpacked } else { "promtool".into() };
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}. `scripts/test` brings it; or install Debian's package prometheus", promtool.display())
        });
    child.stdin.take().unwrap().write_all(exposition.render().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
