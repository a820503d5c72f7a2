use std::io::{Read, Write};

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::server::DRAIN_LIMIT;
use super::*;
use crate::dashboard::state::SeriesUpdate;
use crate::env::{Clock, SystemClock};
use crate::telemetry::Exposition;

fn app_state() -> AppState {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let exposition = Exposition::detached().unwrap();
    let (dashboard, health) = (Arc::default(), Arc::new(Health::new(clock.clone())));
    AppState { dashboard, health, exposition, clock, title: "test".into() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Asks in plain bytes; the status, the head in lower case, and the body.
fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// Runs a server around `visit`.
fn with_server(state: AppState, visit: impl FnOnce(SocketAddr)) {
    let runtime = runtime();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        drop(stopped.await);
    };
    let server = runtime.block_on(serve(ListenerSpec::plain("127.0.0.1:0"), state, shutdown)).unwrap();
    let address = server.address;
    visit(address);
    stop.send(()).unwrap();
    runtime.block_on(server.wait());
    assert!(std::net::TcpStream::connect(address).is_err(), "it has stopped listening");
}

#[test]
fn readiness_is_503_with_the_reason_until_all_parts_are_ready() {
    let state = app_state();
    let health = state.health.clone();
    with_server(state, |address| {
        let (status, _, body) = ask(address, "GET /readyz");
        assert_eq!((status, body.contains("the daemon is starting")), (503, true), "{body}");
        assert_eq!(ask(address, "GET /livez").0, 200);
        health.set("shard-0", Condition::Waiting("restoring in[0]".into()));
        let answer: serde_json::Value = serde_json::from_str(&ask(address, "GET /readyz").2).unwrap();
        assert_eq!(answer["parts"]["shard-0"], serde_json::json!({ "state": "waiting", "reason": "restoring in[0]" }));
        health.set("shard-0", Condition::Ready);
        assert_eq!(ask(address, "GET /readyz").0, 200);
        health.set("shard-0", Condition::Dead("panicked".into()));
        let (status, _, body) = ask(address, "GET /livez");
        assert_eq!((status, body.contains("shard-0 is dead: panicked")), (503, true), "{body}");
    });
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_nothing_can_be_changed() {
    with_server(app_state(), |address| {
        for (path, kind) in [
            ("/", "text/html"),
            ("/style.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/charts.js", "text/javascript"),
            ("/icon.svg", "image/svg+xml"),
            ("/metrics", "text/plain; version=0.0.4"),
            ("/api/overview", "application/json"),
            ("/api/series", "application/json"),
            ("/nothing", "application/json"),
        ] {
            let (status, head, body) = ask(address, &format!("GET {path}"));
            assert_eq!(status, if path == "/nothing" { 404 } else { 200 }, "{path}");
            assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
            assert!(head.contains("content-security-policy: default-src 'none'"), "{path}: {head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
            let addresses = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!addresses.contains("http://") && !addresses.contains("https://"), "{path} names another place");
        }
        let (status, head, _) = ask(address, "POST /api/series");
        assert_eq!((status, head.contains("allow: get, head")), (405, true));
        assert_eq!(ask(address, &format!("GET /api/series?search={}", "x".repeat(5000))).0, 414);
        assert_eq!(ask(address, "GET /livez HTTP/1.1\r\nContent-Length: 4097\r\nX: ").0, 413);
        assert_eq!(ask(address, "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: ").0, 413);
        assert_eq!(ask(address, "GET /api/series?offset=minus").0, 400);
        assert_eq!(ask(address, "GET /api/chart?stream=s").0, 400);
    });
}

#[test]
fn charts_are_found_by_names_of_any_letters() {
    let state = app_state();
    let dashboard = state.dashboard.clone();
    let update = SeriesUpdate {
        stream: "s",
        series: "Köln/Süd & <b>",
        origin: 1,
        value: f64::INFINITY,
        times: &[2],
        point: &[1.5],
        levels: &[0.5],
        quantiles: &[1.5],
        anomaly: None,
        anomalous: false,
    };
    dashboard.record_forecast(&update);
    with_server(state, |address| {
        let (status, _, body) = ask(address, "GET /api/chart?stream=s&series=K%C3%B6ln%2FS%C3%BCd+%26+%3Cb%3E");
        assert_eq!(status, 200, "{body}");
        let chart: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&chart["point"], &chart["values"]), (&serde_json::json!([1.5]), &serde_json::json!([null])));
        let (status, _, body) = ask(address, "GET /api/chart?stream=s&series=other");
        assert_eq!((status, body.contains("no chart of this series")), (404, true));
    });
}

#[test]
fn an_address_that_cannot_be_had_is_explained() {
    let runtime = runtime();
    let try_it = |listen: &str| {
        runtime.block_on(serve(ListenerSpec::plain(listen), app_state(), async {})).unwrap_err().to_string()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let answer = try_it(&address);
    assert!(answer.contains(&address) && answer.contains("another program listens there"), "{answer}");
    let answer = try_it("nonsense");
    assert!(answer.contains("\"nonsense\"") && answer.contains("expected ADDRESS:PORT"), "{answer}");
}

#[test]
fn a_connection_kept_open_does_not_hold_the_shutdown_up() {
    let runtime = runtime();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        drop(stopped.await);
    };
    let server = runtime.block_on(serve(ListenerSpec::plain("127.0.0.1:0"), app_state(), shutdown)).unwrap();
    let mut idle = std::net::TcpStream::connect(server.address).unwrap();
    write!(idle, "GET /livez HTTP/1.1\r\nHost: te").unwrap();
    stop.send(()).unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(DRAIN_LIMIT * 3, server.wait()).await });
    assert!(ended.is_ok(), "it must end within its drain time");
}

#[test]
fn connections_are_limited_and_idle_or_slow_ones_are_closed() {
    let runtime = runtime();
    let spec = ListenerSpec { connections: 2, ..ListenerSpec::plain("127.0.0.1:0") };
    let server = runtime.block_on(serve(spec, app_state(), std::future::pending())).unwrap();
    let connect = || {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    };
    let (mut idle, mut slow) = (connect(), connect());
    slow.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    // Both are accepted before the third one comes.
    std::thread::sleep(Duration::from_millis(300));
    assert!(matches!(connect().read(&mut [0]), Ok(0) | Err(_)), "the third connection is closed at once");
    let clock = SystemClock::new();
    for _ in 0..15 {
        std::thread::sleep(Duration::from_secs(1));
        // A header line a second never completes a request. The write fails once the server has closed the connection.
        let _ = slow.write_all(b"X: y\r\n");
    }
    for stream in [&mut idle, &mut slow] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    assert!(clock.monotonic_micros() < 20_000_000, "both are closed after 15 s");
    assert_eq!(ask(server.address, "GET /livez").0, 200, "there is room again");
}
