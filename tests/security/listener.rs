//! The HTTP listener of the daemon: TLS and a token.

use std::{net::TcpStream, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use foretide::{
    dashboard::{
        http::{AppState, Health, ListenerSpec, serve},
        state::DashboardState,
    },
    env::{Clock, SystemClock},
    settings::{Http, Secret},
    telemetry::Exposition,
};

use crate::harness::{certificates::Authority, http_get, wait_for};
use crate::support::ask;

const TOKEN: &str = "correct-horse-battery";

fn app_state() -> AppState {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    AppState {
        dashboard: Arc::new(DashboardState::default()),
        health: Arc::new(Health::new(Arc::clone(&clock))),
        exposition: Exposition::detached().unwrap(),
        clock,
        title: "a test".into(),
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[test]
fn all_paths_but_the_probes_require_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, key) = authority.sign("server");
    let mut http = Http {
        tls_certificate_file: Some(certificate),
        tls_key_file: Some(key),
        bearer_token: Some(Secret::new(TOKEN.into())),
        ..Http::default()
    };
    http.listen.set_port(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let serving = runtime
        .block_on(serve(ListenerSpec::from_settings(&http).unwrap(), app_state(), std::future::pending()))
        .unwrap();
    assert!(serving.address.ip().is_loopback(), "the default is this machine only");
    let port = serving.address.port();
    let get = |path: &str, headers: &str| {
        ask(port, &authority.certificate(), &format!("GET {path}"), headers).expect("a response over TLS")
    };

    // A client that never starts the TLS handshake does not block others.
    let _silent = TcpStream::connect(serving.address).unwrap();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let basic = format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("me:{TOKEN}")));
    let wrong = "Authorization: Bearer correct-horse-batterz\r\n";
    for path in ["/", "/page.js", "/metrics", "/api/overview", "/api/series", "/nowhere"] {
        let found = if path == "/nowhere" { "404" } else { "200" };
        assert_eq!(status(&get(path, &bearer)), found, "{path}");
        assert_eq!(status(&get(path, &basic)), found, "{path}");
        for headers in ["", wrong] {
            let refused = get(path, headers).to_lowercase();
            assert_eq!(status(&refused), "401", "{path}");
            assert!(refused.contains("www-authenticate: bearer ") && refused.contains("www-authenticate: basic "));
        }
    }
    assert_eq!(status(&get("/livez", "")), "200");
    assert_eq!(status(&get("/readyz", "")), "503", "the daemon is starting, and reports it without a token");
    assert_eq!(http_get(port, "/livez"), None, "there is no response without TLS");
    let stranger = Authority::new(folder.path(), "stranger");
    assert_eq!(
        ask(port, &stranger.certificate(), "GET /livez", ""),
        None,
        "the server presents the configured certificate"
    );
}

#[test]
fn an_unusable_certificate_is_reported_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let ((certificate, key), (_, other)) = (authority.sign("server"), authority.sign("other"));
    let load = |certificate: &std::path::Path, key: &std::path::Path| {
        let (certificate, key) = (Some(certificate.to_owned()), Some(key.to_owned()));
        ListenerSpec::from_settings(&Http { tls_certificate_file: certificate, tls_key_file: key, ..Http::default() })
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(load(&certificate, &key), Ok(()));
    let error = load(&certificate, &other).unwrap_err();
    assert!(error.contains("http.tls_key_file") && error.contains("other.key"), "{error}");
    let error = load(&key, &key).unwrap_err();
    assert!(error.contains("http.tls_certificate_file") && error.contains("no certificate"), "{error}");
    let error = load(&certificate, &certificate).unwrap_err();
    assert!(error.contains("http.tls_key_file") && error.contains("server.pem"), "{error}");
}

/// A renewed certificate is served without a restart, as soon as its files match. Until then, the old one is served.
#[test]
fn a_replaced_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let ((certificate, key), (new_certificate, new_key)) = (old.sign("server"), new.sign("renewed"));
    let mut http =
        Http { tls_certificate_file: Some(certificate.clone()), tls_key_file: Some(key.clone()), ..Http::default() };
    http.listen.set_port(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = ListenerSpec::from_settings(&http).unwrap();
    let server = runtime.block_on(serve(listener, app_state(), std::future::pending())).unwrap();
    let port = server.address.port();
    let trusts = |authority: &Authority| ask(port, &authority.certificate(), "GET /livez", "").is_some();
    assert!(trusts(&old) && !trusts(&new));

    std::fs::copy(new_certificate, &certificate).unwrap();
    std::thread::sleep(Duration::from_secs(7));
    assert!(trusts(&old) && !trusts(&new), "a certificate without its key is not served");
    std::fs::copy(new_key, &key).unwrap();
    wait_for("the renewed certificate", Duration::from_secs(30), || trusts(&new).then_some(()));
    assert!(!trusts(&old));
}
