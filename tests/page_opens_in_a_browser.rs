//! Opens the page in headless Chromium with simulated series, and checks its contents and its layout.
//!
//! Fails if there is no browser: `scripts/test` installs Debian's `chromium`; `FORETIDE_TEST_BROWSER` names another.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

#[path = "page/feed.rs"]
mod feed;
#[path = "page/proxy.rs"]
mod proxy;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use foretide::dashboard::http::{AppState, Condition, Health, ListenerSpec, serve};
use foretide::dashboard::state::{
    DashboardLimits, DashboardState, HorizonAccuracy, PartitionState, PartitionStatus, SeriesUpdate,
};
use foretide::env::{Clock, SystemClock};
use foretide::settings::{Http, Secret};
use foretide::telemetry::Exposition;

/// Milliseconds of the page's virtual time before its contents are read.
const PAGE_MILLIS: u32 = 3500;

fn browser() -> PathBuf {
    if let Some(named) = std::env::var_os("FORETIDE_TEST_BROWSER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|it| it.exists());
    found.unwrap_or_else(|| {
        panic!(
            "this test opens the page in a browser and none was found: install Chromium (Debian and Ubuntu: \
             `apt-get install chromium`), or name one with FORETIDE_TEST_BROWSER"
        )
    })
}

/// The page's elements after a while, and the lines of the browser's console.
fn open(url: &str, window: &str) -> (String, Vec<String>) {
    open_with(url, window, &[])
}

fn open_with(url: &str, window: &str, options: &[&str]) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
        .args(["--enable-logging=stderr", "--log-level=0", "--dump-dom"])
        .arg(format!("--window-size={window}"))
        .arg(format!("--virtual-time-budget={PAGE_MILLIS}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the browser failed: {said}");
    let console = said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), console)
}

/// The text of the element with this id, without the tags in it.
fn text(page: &str, id: &str) -> String {
    let from = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}")).1;
    let inside = from.split_once('>').unwrap().1;
    inside.split_once('<').unwrap().0.trim().to_owned()
}

fn hidden(page: &str, id: &str) -> bool {
    let from = page.split_once(&format!("id=\"{id}\"")).unwrap().1;
    from.split_once('>').unwrap().0.contains("hidden")
}

struct Daemon {
    address: SocketAddr,
    dashboard: Arc<DashboardState>,
    health: Arc<Health>,
    _runtime: tokio::runtime::Runtime,
}

fn daemon() -> Daemon {
    serve_page(ListenerSpec::plain("127.0.0.1:0"))
}

fn serve_page(listener: ListenerSpec) -> Daemon {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (dashboard, health) =
        (Arc::new(DashboardState::new(DashboardLimits::default())), Arc::new(Health::new(clock.clone())));
    let exposition = Exposition::detached().unwrap();
    let state =
        AppState { dashboard: dashboard.clone(), health: health.clone(), exposition, clock, title: "a test".into() };
    let serving = runtime.block_on(serve(listener, state, std::future::pending())).unwrap();
    Daemon { address: serving.address, dashboard, health, _runtime: runtime }
}

/// The browser sends the password with every request of the page.
#[test]
fn the_page_opens_with_the_token_as_password() {
    let token = "correct-horse-battery";
    let mut http = Http { bearer_token: Some(Secret::new(token.into())), ..Http::default() };
    http.listen.set_port(0);
    let daemon = serve_page(ListenerSpec::from_settings(&http).unwrap());
    daemon.health.set("shard-0", Condition::Ready);
    let (page, _) = open(&format!("http://anybody:{token}@{}/", daemon.address), "1280,1000");
    assert_eq!(text(&page, "status"), "live", "{page}");
    assert_eq!(text(&page, "title"), "a test");
    let (refused, _) = open(&format!("http://anybody:wrong@{}/", daemon.address), "1280,1000");
    assert!(!refused.contains("id=\"status\""), "{refused}");
}

#[test]
fn the_page_shows_charts_anomalies_skill_and_training() {
    let daemon = daemon();
    daemon.health.set("shard-0", Condition::Ready);
    let mut feed = feed::Feed::new(70, 2, SystemClock::new().wall_millis() - 150_000);
    (0..150).for_each(|_| feed.step(&daemon.dashboard));
    let dashboard = daemon.dashboard.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
            feed.step(&dashboard);
        }
    });

    let (page, console) = open(&format!("http://{}/", daemon.address), "1280,1000");
    assert!(console.is_empty(), "the console must be empty: {console:#?}");
    assert_eq!(text(&page, "status"), "live");
    assert!(hidden(&page, "banner") && hidden(&page, "grid-empty") && hidden(&page, "training-empty"), "{page}");
    assert_eq!(text(&page, "tile-series"), "70");
    assert_eq!(text(&page, "series-count"), "70");
    assert!(text(&page, "tile-skill").ends_with('%') && text(&page, "tile-coverage").ends_with('%'));
    assert!(text(&page, "tile-observations").parse::<f64>().unwrap() > 0.0);
    assert_eq!(page.matches("class=\"card\"").count(), 24, "a page of small charts");
    assert!(page.contains("office-0000") && page.contains("href=\"#/simulated/office-0000\""));
    let lines = page.matches("class=\"line history\" d=\"M").count();
    assert_eq!(lines, 24, "every small chart has its history drawn");
    assert_eq!(page.matches("class=\"line point\" d=\"M").count(), 24, "and its forecast");
    assert!(page.matches("class=\"band\" d=\"M").count() >= 3 * 20, "and its bands");
    assert!(!page.contains("NaN") && !page.contains("undefined"), "no missing number is drawn");
    assert!(page.contains("class=\"score\""), "anomalies are listed");
    assert!(page.contains("v1 promoted") && page.contains("validation loss"), "promotions are listed");
    let chart =
        |id: &str| page.split_once(&format!("id=\"{id}\"")).unwrap().1.split_once("</svg>").unwrap().0.to_owned();
    assert!(chart("skill-chart").contains("class=\"line line-a\" d=\"M"), "skill over time is drawn");
    assert!(chart("loss-chart").contains("class=\"line line-a\" d=\"M"), "the loss is drawn");

    let (page, console) = open(&format!("http://{}/#/simulated/requests-0003", daemon.address), "1280,1000");
    assert!(console.is_empty(), "{console:#?}");
    assert_eq!(text(&page, "detail-name"), "requests-0003");
    let large = page.split_once("id=\"detail-chart\"").unwrap().1;
    assert!(large.contains("class=\"line point\" d=\"M") && large.contains("class=\"rule\""), "with axes");
    assert!(large.contains("90 %") && large.contains("50 %"), "the bands are named");

    let (page, console) = open(&format!("http://{}/", daemon.address), "390,844");
    assert!(console.is_empty(), "{console:#?}");
    assert_eq!(page.matches("class=\"card\"").count(), 12, "a narrow screen gets shorter pages");
}

#[test]
fn the_page_says_which_stream_is_degraded() {
    let daemon = daemon();
    daemon.health.set("shard-0", Condition::Ready);
    daemon.health.set("stream meters", Condition::Degraded("99 of its newest 100 records were refused".into()));
    let (page, _) = open(&format!("http://{}/", daemon.address), "1280,1000");
    assert_eq!((text(&page, "status"), text(&page, "tile-lag")), ("degraded".into(), "–".into()));
    assert_eq!(text(&page, "banner"), "stream meters is degraded: 99 of its newest 100 records were refused.");
}

#[test]
fn the_page_says_what_is_missing() {
    let daemon = daemon();
    let status =
        PartitionStatus { state: PartitionState::Restoring, series: 0, state_bytes: 0, lag: Some(9), remaining: 1234 };
    daemon.dashboard.set_partition("meters", "in", 0, Some(status));
    daemon.health.set("shard-0", Condition::Waiting("restoring in[0]".into()));
    let (page, console) = open(&format!("http://{}/#/meters/unknown", daemon.address), "1280,1000");
    // The browser logs the 404 of a series without a chart. Nothing else may be logged.
    assert!(console.iter().all(|line| line.contains("404")), "{console:#?}");
    assert_eq!(text(&page, "status"), "restoring 1 of 1 partitions, 1,234 records to go");
    assert_eq!(text(&page, "banner"), "Not ready: shard-0 is waiting: restoring in[0].");
    assert!(text(&page, "grid-empty").starts_with("No series yet"));
    assert!(!hidden(&page, "skill-empty") && !hidden(&page, "training-empty") && !hidden(&page, "anomalies-empty"));
    assert_eq!((text(&page, "tile-skill"), text(&page, "tile-coverage")), ("–".into(), "–".into()));
    assert!(text(&page, "detail-empty").starts_with("This series has no chart here"));
}

#[test]
fn the_page_says_that_the_daemon_does_not_answer() {
    // The page's files are served, its requests for data are not.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
            let (file, kind) = match path.as_str() {
                "/" => ("index.html", "text/html; charset=utf-8"),
                "/page.js" | "/charts.js" => (path.trim_start_matches('/'), "text/javascript; charset=utf-8"),
                "/style.css" => ("style.css", "text/css"),
                _ => continue,
            };
            let body = std::fs::read(format!("{}/src/dashboard/http/page/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
            let _ = write!(stream, "{head}Connection: close\r\n\r\n").and_then(|()| stream.write_all(&body));
        }
    });
    let (page, _) = open(&format!("http://{address}/"), "1280,1000");
    assert_eq!(text(&page, "status"), "no answer");
    assert!(!hidden(&page, "banner") && text(&page, "banner").contains("Is it running?"), "{}", text(&page, "banner"));
    assert!(page.contains("data-gone=\"yes\""));
}

/// A second stream with a long name and a long key, as a test of the layout.
fn add_long_names(dashboard: &DashboardState) {
    let stream = "temperatures.of.the.second.building";
    let name = "building-2/floor-11/room-1107/sensor-with-a-very-long-name/temperature-in-degrees-celsius";
    for origin in 0..50 {
        dashboard.record_forecast(&SeriesUpdate {
            stream,
            series: name,
            origin: origin * 60_000,
            value: 123_456_789.25,
            times: &[(origin + 1) * 60_000],
            point: &[123_456_789.25],
            levels: &[0.1, 0.5, 0.9],
            quantiles: &[123_456_700.0, 123_456_789.25, 123_456_900.0],
            anomaly: Some(0.9999),
            anomalous: origin % 2 == 0,
        });
    }
    let accuracy = HorizonAccuracy {
        count: 50,
        foretide: 400.0,
        last_value: 1.0,
        seasonal_naive: 1.0,
        weights: [10.0; 6],
        ..HorizonAccuracy::default()
    };
    [1, 100_000].iter().for_each(|horizon| dashboard.record_accuracy(stream, *horizon, &accuracy));
}

/// At every width and in both colour schemes, no element is wider than its parent or lies outside the viewport.
#[test]
fn the_page_fits_screens_from_360_to_2560_pixels_in_light_and_dark() {
    let daemon = daemon();
    daemon.health.set("shard-0", Condition::Ready);
    let mut feed = feed::Feed::new(70, 2, SystemClock::new().wall_millis() - 150_000);
    (0..150).for_each(|_| feed.step(&daemon.dashboard));
    add_long_names(&daemon.dashboard);
    let address = proxy::start(daemon.address, include_str!("page/measure.js"));
    for (scheme, setting) in [("light", "preferredColorScheme=1"), ("dark", "preferredColorScheme=0")] {
        for (width, height) in [(360, 780), (768, 1024), (1400, 900), (2560, 1440)] {
            for series in ["", "simulated/requests-0003"] {
                let url = format!("http://{address}/frame/{width}/{height}/{series}");
                let (page, console) = open_with(&url, "2600,1500", &[&format!("--blink-settings={setting}")]);
                assert!(console.is_empty(), "{console:#?}");
                assert_eq!(text(&page, "measured"), format!("{width} {scheme}, many elements"), "{url}");
            }
        }
    }
}
