//! Checks the files of `deploy/`, as far as that is possible without a container engine and a running systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_yaml_ng::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{what} is not text: {value:?}"))
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value.as_sequence().unwrap_or_else(|| panic!("{what} is not a list: {value:?}"))
}

fn services(compose: &Value) -> Vec<(&str, &Value)> {
    let services = compose["services"].as_mapping().expect("compose.yaml has services");
    services.iter().map(|(name, service)| (text(name, "a service's name"), service)).collect()
}

/// Source and target of each mount of `service`, including named volumes.
fn mounts<'a>(service: &'a Value, name: &str) -> Vec<(&'a str, &'a str)> {
    let volumes = service.get("volumes").map_or(&[][..], |volumes| list(volumes, name));
    let parts = volumes.iter().map(|volume| text(volume, name).split(':').collect::<Vec<_>>());
    parts.map(|parts| (parts[0], parts[1])).collect()
}

/// All files below `folder` whose names end in one of `endings`.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Runs `program` from the path or from `.cache/tools`. Panics with what to install where it is missing.
fn run(program: &str, arguments: &[&str], install: &str) -> Output {
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools").join(program);
    let program = if cached.exists() { cached } else { PathBuf::from(program) };
    Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}. `scripts/test` downloads it; or {install}", program.display()))
}

fn assert_passes(what: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
}

fn promtool(arguments: &[&str]) {
    let output = run("promtool", arguments, "install promtool (Debian's package prometheus)");
    assert_passes(&format!("promtool {}", arguments.join(" ")), &output);
}

#[test]
fn every_yaml_and_json_file_parses() {
    let (yamls, jsons) = (files(&deploy(), &[".yml", ".yaml"]), files(&deploy(), &[".json"]));
    assert!(yamls.len() >= 4, "files of compose, Prometheus, the alerts and Grafana are missing: {yamls:?}");
    assert!(!jsons.is_empty(), "the dashboard is missing");
    for path in yamls {
        assert!(yaml(&path).is_mapping(), "{} is not a mapping", path.display());
    }
    for path in jsons {
        serde_json::from_str::<serde_json::Value>(&read(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

#[test]
fn compose_refers_to_existing_files_and_services() {
    let compose = yaml(&deploy().join("compose.yaml"));
    let names: Vec<&str> = services(&compose).iter().map(|(name, _)| *name).collect();
    for wanted in ["kafka", "foretide", "prometheus", "grafana"] {
        assert!(names.contains(&wanted), "no service {wanted}");
    }
    for (name, service) in services(&compose) {
        let image = text(&service["image"], name);
        if let Some(build) = service.get("build") {
            let context = deploy().join(text(&build["context"], name));
            assert!(context.join("Cargo.toml").exists(), "{name}: the build's context is not the repository");
            assert!(context.join(text(&build["dockerfile"], name)).exists(), "{name}: no such Dockerfile");
        } else {
            let tag = image.split_once(':').map_or("", |(_, tag)| tag);
            assert!(tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v'), "{name}: pin the version of {image}");
        }
        for (source, target) in mounts(service, name) {
            assert!(target.starts_with('/'), "{name}: {target} is not an absolute path");
            let exists = if source.starts_with('.') {
                deploy().join(source).exists()
            } else {
                compose["volumes"].get(source).is_some()
            };
            assert!(exists, "{name} mounts {source}, which does not exist");
        }
        match service.get("depends_on") {
            Some(Value::Mapping(on)) => on.keys().for_each(|on| assert!(names.contains(&text(on, name)), "{on:?}")),
            Some(on) => list(on, name).iter().for_each(|on| assert!(names.contains(&text(on, name)), "{on:?}")),
            None => {}
        }
    }
}

#[test]
fn prometheus_and_grafana_look_where_compose_mounts_files() {
    let compose = yaml(&deploy().join("compose.yaml"));
    let prometheus = yaml(&deploy().join("prometheus/prometheus.yml"));
    let rules = list(&prometheus["rule_files"], "rule_files");
    let mounted = mounts(&compose["services"]["prometheus"], "prometheus");
    for rule in rules {
        let path = Path::new("/etc/prometheus").join(text(rule, "rule_files"));
        assert!(mounted.iter().any(|(_, target)| Path::new(target) == path), "{path:?} is not mounted: {mounted:?}");
    }
    let scrapes = format!("{:?}", prometheus["scrape_configs"]);
    assert!(scrapes.contains("foretide:9464"), "prometheus.yml does not scrape foretide:9464");
    assert!(read(&deploy().join("Dockerfile")).contains("EXPOSE 9464"));

    let mounted = mounts(&compose["services"]["grafana"], "grafana");
    let mut folders = 0;
    for path in files(&deploy().join("grafana/provisioning"), &[".yml", ".yaml"]) {
        let provisioning = yaml(&path);
        for provider in provisioning.get("providers").map_or(&[][..], |providers| list(providers, "providers")) {
            let folder = text(&provider["options"]["path"], "a provider's path");
            assert!(mounted.iter().any(|(_, target)| *target == folder), "{folder} is not mounted: {mounted:?}");
            folders += 1;
        }
        for source in provisioning.get("datasources").map_or(&[][..], |sources| list(sources, "datasources")) {
            assert_eq!(text(&source["url"], "a data source's url"), "http://prometheus:9090");
        }
    }
    assert!(folders > 0, "grafana has no provider of dashboards");
}

#[test]
fn promtool_passes_the_rules_and_their_tests() {
    let folder = deploy().join("prometheus");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    promtool(&["check", "config", &path("prometheus.yml")]);
    promtool(&["check", "rules", &path("alerts.yml")]);
    let tests: Vec<PathBuf> = files(&folder, &[".yml", ".yaml"])
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("test")))
        .collect();
    assert!(!tests.is_empty(), "no tests of the alert rules in deploy/prometheus");
    for test in tests {
        promtool(&["test", "rules", &test.to_string_lossy()]);
    }
}

/// The value of a metric at a second.
type ValueAt<'a> = &'a dyn Fn(i64) -> i64;

/// A healthy stream whose interval is so many seconds, as Prometheus sees it every `step` seconds: readings come four
/// times a slot, all series close their slots at once, errors and coverage differ from slot to slot, a few readings are
/// late or refused, and a commit fails now and then.
fn healthy_stream(interval: i64, step: i64, samples: i64) -> String {
    const SERIES: i64 = 500;
    let stream = format!("every-{interval}s");
    let sum = |slots: i64, of_slot: &dyn Fn(i64) -> i64| (0..slots).map(of_slot).sum::<i64>();
    // Sums over whole cycles of six slots are known; only the rest is added up.
    let total = |slots: i64, of_slot: &dyn Fn(i64) -> i64| slots / 6 * sum(6, of_slot) + sum(slots % 6, of_slot);
    let labelled = |more: &str| format!("stream=\"{stream}\"{more}");
    let slots = |at: i64| at / interval;
    let readings = |at: i64| (4 * at / interval) * SERIES;
    let last = |at: i64, every: i64| at / every * every;
    let metrics: [(&str, String, ValueAt<'_>); 20] = [
        ("foretide_stream_interval_seconds", labelled(""), &|_| interval),
        ("foretide_stream_allowed_lateness_seconds", labelled(""), &|_| interval / 2),
        ("foretide_last_observation_timestamp_seconds", labelled(""), &|at| last(at, (interval / 4).max(1))),
        ("foretide_last_forecast_timestamp_seconds", labelled(""), &|at| last(at, interval)),
        ("foretide_records_total", labelled(", topic=\"t\", partition=\"0\""), &readings),
        ("foretide_observations_total", labelled(""), &readings),
        ("foretide_forecasts_total", labelled(""), &|at| slots(at) * SERIES),
        ("foretide_late_observations_total", labelled(""), &|at| readings(at) / 40),
        ("foretide_dead_letters_total", labelled(", reason=\"json\""), &|at| readings(at) / 500),
        ("foretide_dead_letters_total", labelled(", reason=\"late\""), &|at| readings(at) / 40),
        ("foretide_stream_degraded", labelled(""), &|_| 0),
        // Where readings are rare, those of all series arrive at once, and are read within a sample.
        ("foretide_consumer_lag_records", labelled(", topic=\"t\", partition=\"0\""), &|at| {
            if interval >= 900 && at % (interval / 4) < step { 30_000 } else { 0 }
        }),
        ("foretide_record_to_commit_seconds_bucket", labelled(", le=\"5\""), &readings),
        ("foretide_record_to_commit_seconds_bucket", labelled(", le=\"+Inf\""), &readings),
        ("foretide_forecast_absolute_error_total", labelled(", horizon=\"1\", method=\"foretide\""), &|at| {
            total(slots(at), &|slot| SERIES * [5, 14, 9, 16, 7, 9][slot as usize % 6])
        }),
        ("foretide_forecast_absolute_error_total", labelled(", horizon=\"1\", method=\"last_value\""), &|at| {
            slots(at) * SERIES * 11
        }),
        ("foretide_interval_targets_total", labelled(", interval=\"0.80\""), &|at| slots(at) * SERIES),
        ("foretide_interval_covered_total", labelled(", interval=\"0.80\""), &|at| {
            total(slots(at), &|slot| SERIES * [60, 95, 75, 97, 65, 88][slot as usize % 6] / 100)
        }),
        ("foretide_anomalies_total", labelled(""), &|at| {
            total(slots(at), &|slot| SERIES * [0, 0, 30, 0, 1, 0][slot as usize % 6] / 100)
        }),
        ("foretide_transactions_total", format!("instance=\"{stream}\", outcome=\"aborted\""), &|at| at / 43_200),
    ];
    let committed = |at: i64| (4 * at / interval).min(at * 10);
    let mut text = String::new();
    let mut series = |name: &str, labels: &str, value: &dyn Fn(i64) -> i64| {
        let values: Vec<String> = (0..samples).map(|sample| value(sample * step).to_string()).collect();
        text += &format!("      - {{ series: '{name}{{{labels}}}', values: \"{}\" }}\n", values.join(" "));
    };
    metrics.iter().for_each(|(name, labels, value)| series(name, labels, value));
    let labels = format!("instance=\"{stream}\", outcome=\"committed\"");
    series("foretide_transactions_total", &labels, &committed);
    text
}

/// From its first sample on, no alert fires on a healthy stream, whatever its interval.
#[test]
fn no_alert_fires_on_a_healthy_stream_of_any_interval() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = deploy().join("prometheus/alerts.yml");
    // Long enough for the longest look back of the rules, twice.
    let short = ("short", "5m", &[1, 10, 60, 300][..], 60, 960);
    let long = ("long", "1h", &[900, 3_600, 21_600, 86_400][..], 900, 1_400);
    for (name, evaluate, intervals, step, samples) in [short, long] {
        let mut text =
            format!("rule_files: [{:?}]\nevaluation_interval: {evaluate}\ntests:\n", rules.to_string_lossy());
        for interval in intervals {
            text += &format!("  - name: every {interval} s\n    interval: {step}s\n    input_series:\n");
            text += &healthy_stream(*interval, step, samples);
            text += &format!(
                "    promql_expr_test:\n      - expr: count by (alertname) (count_over_time(\
                 ALERTS{{alertstate=\"firing\"}}[20d]))\n        eval_time: {}s\n        exp_samples: []\n",
                step * (samples - 1)
            );
        }
        let path = folder.path().join(format!("{name}.test.yml"));
        fs::write(&path, text).expect("a writable folder");
        promtool(&["test", "rules", &path.to_string_lossy()]);
    }
}

#[test]
fn the_systemd_unit_is_valid_and_hardened() {
    // `verify` requires that the program exists: the binary of this build takes the place of the installed one.
    let unit = read(&deploy().join("systemd/foretide.service"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("foretide.service");
    fs::write(&path, unit.replace("/usr/bin/foretide", env!("CARGO_BIN_EXE_foretide"))).expect("a writable folder");
    let path = path.to_string_lossy();
    let install = "install systemd-analyze (Debian's package systemd)";
    assert_passes("systemd-analyze verify", &run("systemd-analyze", &["verify", "--man=no", &path], install));
    // The exposure level is from 0 (isolated) to 10; the threshold is in tenths.
    let security = ["security", "--offline=true", "--no-pager", "--threshold=20", &path];
    assert_passes("systemd-analyze security", &run("systemd-analyze", &security, install));

    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    assert!(
        value("ExecStartPre").is_some_and(|command| command.contains(" check ")),
        "the unit must check the configuration"
    );
    assert_eq!(value("RestartPreventExitStatus"), Some("78"));
}

#[test]
fn systemd_analyze_refuses_a_broken_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("broken.service");
    fs::write(&path, "[Service]\nExecStart=/nowhere/at-all\n").expect("a writable folder");
    let output = run("systemd-analyze", &["verify", "--man=no", &path.to_string_lossy()], "install systemd");
    assert!(!output.status.success(), "the verification of the unit can never fail");
}

fn check(path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretide"));
    command.args(["check", "--config"]).arg(path).output().expect("the binary runs")
}

#[test]
fn the_configuration_of_compose_passes_foretide_check() {
    let path = deploy().join("foretide.toml");
    assert_passes("foretide check", &check(&path));
    // A wrong configuration fails with the exit code that prevents a restart by systemd.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong = folder.path().join("wrong.toml");
    fs::write(&wrong, read(&path).replace("horizon", "horizont")).expect("a writable folder");
    assert_eq!(check(&wrong).status.code(), Some(78));
}

#[test]
fn the_readings_of_compose_have_the_format_that_its_stream_reads() {
    let output = run("sh", &[&deploy().join("readings.sh").to_string_lossy(), "1"], "install a shell");
    assert_passes("readings.sh", &output);
    let lines: Vec<&str> = str::from_utf8(&output.stdout).expect("text").lines().collect();
    assert_eq!(lines.len(), 20);
    for line in lines {
        let (key, value) = line.split_once('\t').expect("key<TAB>value");
        let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
        assert!(key.starts_with("sensor-"));
        assert!(value["time"].as_i64().is_some_and(|time| time > 1_700_000_000_000), "{value}");
        assert!(value["value"].as_f64().is_some_and(f64::is_finite), "{value}");
    }
}
