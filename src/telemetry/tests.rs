use std::collections::BTreeSet;

use super::metrics::{ALL, Kind, Metric, Unit};
use super::recorder::Exposition;

fn touch(metric: &Metric) {
    let labels: Vec<(&'static str, &str)> = metric.labels.iter().map(|label| (*label, "x")).collect();
    match metric.kind {
        Kind::Counter => metric.counter(&labels).increment(3),
        Kind::Sum => metric.sum(&labels).increment(0.5),
        Kind::Gauge => metric.gauge(&labels).set(2.0),
        Kind::Histogram(_) => metric.histogram(&labels).record(0.03),
    }
}

fn rendered() -> String {
    let (recorder, exposition) = Exposition::build().unwrap();
    ::metrics::with_local_recorder(&recorder, || {
        ALL.iter().for_each(touch);
        exposition.render()
    })
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(names.insert(name), "{name} is not unique");
        assert!(name.starts_with("foretide_") || name.starts_with("process_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let total = matches!(metric.kind, Kind::Counter | Kind::Sum);
        assert_eq!(total, name.ends_with("_total"), "{name}: counters and only they end in _total");
        let base = name.strip_suffix("_total").unwrap_or(name);
        match metric.unit {
            Unit::Seconds => assert!(base.ends_with("_seconds"), "{name}"),
            Unit::Bytes => assert!(base.ends_with("_bytes"), "{name}"),
            Unit::Ratio => assert!(base.ends_with("_ratio"), "{name}"),
            Unit::Count | Unit::None => {
                assert!(!["_seconds", "_bytes", "_ratio"].iter().any(|unit| base.ends_with(unit)), "{name}");
            }
        }
        for reserved in ["_sum", "_count", "_bucket", "_info"] {
            assert!(!name.ends_with(reserved) || name == "foretide_build_info", "{name}");
        }
        assert!(metric.help.len() > 20 && metric.help.ends_with('.'), "{name}: {}", metric.help);
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
        }
    }
}

#[test]
fn labels_are_bounded_and_no_series_is_one() {
    let known = [
        "stream",
        "topic",
        "partition",
        "reason",
        "state",
        "outcome",
        "direction",
        "horizon",
        "method",
        "expert",
        "interval",
        "weights",
        "version",
        "queue",
        "shard",
    ];
    for metric in ALL {
        assert!(metric.labels.iter().all(|label| known.contains(label)), "{}: {:?}", metric.name, metric.labels);
        let distinct: BTreeSet<_> = metric.labels.iter().collect();
        assert_eq!(distinct.len(), metric.labels.len(), "{}", metric.name);
    }
}

#[test]
fn exposed_metrics_have_their_help_type_and_labels() {
    let text = rendered();
    for metric in ALL {
        let (name, help) = (metric.name, metric.help);
        assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}");
        let kind = match metric.kind {
            Kind::Counter | Kind::Sum => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}\n{text}");
    }
    assert!(text.contains("foretide_dead_letters_total{stream=\"x\",reason=\"x\"} 3\n"), "{text}");
    assert!(text.contains("foretide_training_seconds_total{stream=\"x\"} 0.5\n"));
    assert!(text.contains("foretide_commit_seconds_bucket{le=\"0.05\"} 1\n"));
    assert!(text.contains("foretide_commit_seconds_bucket{le=\"0.025\"} 0\n"));
    assert!(text.contains("foretide_commit_seconds_count 1\n"));
}

#[test]
fn a_gauge_that_is_not_a_number_is_absent() {
    let (recorder, exposition) = Exposition::build().unwrap();
    let text = ::metrics::with_local_recorder(&recorder, || {
        for (partition, lag) in [("0", f64::NAN), ("1", 3.0)] {
            super::metrics::LAG.gauge(&[("stream", "s"), ("topic", "t"), ("partition", partition)]).set(lag);
        }
        exposition.render()
    });
    assert!(text.contains("partition=\"1\"} 3\n") && !text.contains("partition=\"0\""), "{text}");
}

#[test]
fn each_rendering_has_current_process_metrics() {
    let text = rendered();
    let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    let value: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(value > 1e6, "{line}");
}

#[test]
#[should_panic(expected = "takes the labels")]
#[cfg(debug_assertions)]
fn undeclared_labels_panic_in_debug_builds() {
    let _ = super::metrics::RECORDS.counter(&[("series", "x")]);
}

#[test]
fn a_wrong_log_level_is_explained() {
    let error = super::logs::filter("foretide=loud").unwrap_err().to_string();
    assert!(error.contains("foretide=loud") && error.contains("expected error, warn, info"), "{error}");
    assert!(super::logs::filter("info,foretide::daemon=debug").is_ok());
}
