//! `foretide demo`, as a newcomer runs it: on its own broker, and on a real cluster.

mod harness;

use std::time::Duration;

use harness::{free_port, http_get, kafka::kafka, process::Process, wait_for};

const LIMIT: Duration = Duration::from_secs(90);

/// Runs the demo for some seconds and returns what it printed; the page is asked for while it runs.
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

fn number(log: &str, what: &str) -> u64 {
    let line =
        log.lines().find(|line| line.trim_start().starts_with(what)).unwrap_or_else(|| panic!("no {what}: {log}"));
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn the_demo_runs_on_its_own_broker_and_ends_with_a_summary() {
    let log = demo(&[]);
    assert!(log.contains("embedded") && log.contains("http://127.0.0.1:"), "{log}");
    assert!(number(&log, "observations") > 1_000 && number(&log, "forecasts") > 1_000, "{log}");
    assert!(log.contains("error against the last value") && log.contains("promotions"), "{log}");
}

#[test]
fn the_demo_runs_on_a_real_cluster() {
    let log = demo(&["--brokers", &kafka().servers]);
    assert!(log.contains(&kafka().servers), "{log}");
    assert!(number(&log, "forecasts") > 1_000, "{log}");
}
