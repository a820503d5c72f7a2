//! Shared by the tests against a real broker: the broker, independent clients, processes, waiting.
//!
//! A test file under `tests/` includes it with `mod harness;`. Where Kafka is missing, the tests fail with what to
//! install. `FORETIDE_TEST_BROKERS=host:port` names a cluster to use instead.
#![allow(dead_code, reason = "no test uses all of it")]

pub mod background;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod guarded;
pub mod kafka;
pub mod process;
pub mod proxy;
pub mod secured;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use foretide::env::{Clock, SystemClock};

/// A name that is unique among tests and among runs on the same cluster.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{}-{}-{count}", SystemClock::new().wall_millis(), std::process::id())
}

/// Polls `ask` until it returns a value. Panics with `what` where it returns none within `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let passed = Duration::from_micros(clock.monotonic_micros());
        assert!(passed < limit, "waited {passed:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number from an environment variable, or `default`. Panics where the variable is not a number.
pub fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}: a number")))
}

/// The sum of a metric of a daemon over its labels. `None` where the daemon does not respond.
pub fn metric(port: u16, name: &str) -> Option<f64> {
    let (_, text) = http_get(port, "/metrics")?;
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    Some(text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// The last `count` lines of a file. Empty where it cannot be read.
pub fn last_lines(file: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A TCP port of this machine that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A free port outside of the range of ephemeral ports: a process can bind it again after a restart.
pub fn stable_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = (std::process::id() % 97) * 123 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + u16::try_from(number % 12_000).expect("it is small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An HTTP GET: the status and the body. `None` where there is no response.
pub fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Some((status, if chunked { decode_chunks(body)? } else { body.to_owned() }))
}

fn decode_chunks(mut body: &str) -> Option<String> {
    let mut decoded = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(decoded);
        }
        decoded.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}
