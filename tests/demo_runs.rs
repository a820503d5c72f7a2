//! `foretide demo` on its embedded broker, and on a real cluster.

mod harness;

use std::time::Duration;

use harness::{free_port, http_get, kafka::kafka, process::Process, wait_for};

const LIMIT: Duration = Duration::from_secs(90);

/// Runs the demo for some seconds, requests the page meanwhile, and returns what the demo printed.
fn demo(extra: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["demo", "--seconds", "25", "--series", "12", "--listen", &listen];
    let mut process = Process::foretide(folder.path(), "demo", arguments.iter().chain(extra));
    wait_for("the page to show a forecast", LIMIT, || {
        assert!(process.runs(), "{}", process.log());
        let (_, overview) = http_get(port, "/api/overview")?;
        let overview: serde_json::Value = serde_json::from_str(&overview).ok()?;
        (overview["forecasts"].as_u64()? > 1_000).then_some(())
    });
    let (status, page) = http_get(port, "/").expect("the page");
    assert!(status == 200 && page.contains("Foretide"));
    assert!(http_get(port, "/metrics").expect("metrics").1.contains("foretide_forecasts_total"));
    let status = process.wait(LIMIT);
    assert!(status.success(), "{status}: {}", process.log());
    process.log()
}

/// Series and forecasts of a stream in the summary.
fn summary(log: &str, stream: &str) -> (u64, u64) {
    let row: Vec<&str> = log
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&stream) && words.len() > 6)
        .unwrap_or_else(|| panic!("no summary of {stream}: {log}"));
    let number = |column: usize| row[column].parse().unwrap_or_else(|_| panic!("{row:?}"));
    (number(1), number(2))
}

#[test]
fn the_demo_runs_on_its_own_broker_and_ends_with_a_summary() {
    let log = demo(&[]);
    assert!(log.contains("embedded") && log.contains("http://127.0.0.1:"), "{log}");
    let ((series, forecasts), (machine, _)) = (summary(&log, "simulated"), summary(&log, "machine"));
    assert!(series == 12 && forecasts > 1_000 && machine > 3, "{log}");
    assert!(log.contains("on last value") && log.contains(" observations, "), "{log}");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "a demo that works warns of nothing: {log}");
}

#[test]
fn the_demo_runs_on_a_real_cluster() {
    let log = demo(&["--brokers", &kafka().servers]);
    assert!(log.contains(&kafka().servers), "{log}");
    assert!(summary(&log, "simulated").1 > 1_000, "{log}");
}
