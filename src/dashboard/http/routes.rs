//! What answers where.

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::{Verdict, Window, token::Token};
use crate::{dashboard::state::Filter, telemetry::metrics::HTTP_REFUSED};

/// Longer paths with queries are refused.
const LONGEST_QUERY: usize = 4096;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const CHARTS: &str = include_str!("page/charts.js");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");

/// Everything asks for `token`, where there is one, but for the probes: an orchestrator knows no secrets.
pub(super) fn router(window: Window, token: Option<Token>, body_bytes: u64) -> Router {
    Router::new()
        .route("/", get(async || text("text/html; charset=utf-8", PAGE)))
        .route("/style.css", get(async || text("text/css; charset=utf-8", STYLE)))
        .route("/charts.js", get(async || text("text/javascript; charset=utf-8", CHARTS)))
        .route("/page.js", get(async || text("text/javascript; charset=utf-8", SCRIPT)))
        .route("/icon.svg", get(async || text("image/svg+xml", ICON)))
        .route("/metrics", get(metrics))
        .route("/api/overview", get(overview))
        .route("/api/series", get(series))
        .route("/api/chart", get(chart))
        .fallback(async || told(StatusCode::NOT_FOUND, "there is nothing here; see /, /metrics, /livez and /readyz"))
        .layer(middleware::from_fn_with_state(token, ask_for_token))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(body_bytes, guard))
        .with_state(window)
}

/// Reading only, short queries and bodies only, and headers that let the page load nothing from elsewhere.
async fn guard(State(body_bytes): State<u64>, request: Request, next: Next) -> Response {
    let mut response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = told(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        refused
    } else if request.uri().query().is_some_and(|query| query.len() > LONGEST_QUERY) {
        refused(StatusCode::URI_TOO_LONG, "query", "the query is longer than 4096 bytes")
    } else if body_length(request.headers()) > body_bytes {
        let why = format!("the body is longer than {body_bytes} bytes (http.body_bytes); nothing here takes one");
        refused(StatusCode::PAYLOAD_TOO_LARGE, "body", &why)
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// How long a request's body says it is; of one that does not say, that it has no end.
fn body_length(headers: &HeaderMap) -> u64 {
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX),
        None if headers.contains_key(header::TRANSFER_ENCODING) => u64::MAX,
        None => 0,
    }
}

/// An answer to what exceeds a bound, counted.
fn refused(status: StatusCode, reason: &str, why: &str) -> Response {
    HTTP_REFUSED.counter(&[("reason", reason)]).increment(1);
    told(status, why)
}

async fn ask_for_token(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    if token.is_none_or(|token| token.opens(request.headers().get(header::AUTHORIZATION))) {
        return next.run(request).await;
    }
    let why = "this needs the token of http.bearer_token: as `Authorization: Bearer TOKEN`, or as the password that a \
               browser asks for, with any user name";
    let mut refused = told(StatusCode::UNAUTHORIZED, why);
    for scheme in ["Bearer realm=\"foretide\"", "Basic realm=\"foretide\", charset=\"UTF-8\""] {
        refused.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    refused
}

async fn metrics(State(window): State<Window>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], window.exposition.render()).into_response()
}

async fn live(State(window): State<Window>) -> Response {
    verdict(window.health.live())
}

async fn ready(State(window): State<Window>) -> Response {
    verdict(window.health.ready())
}

async fn overview(State(window): State<Window>) -> Response {
    #[derive(Serialize)]
    struct Told {
        title: String,
        version: &'static str,
        now: i64,
        ready: Verdict,
        #[serde(flatten)]
        overview: crate::dashboard::state::Overview,
    }
    json(
        StatusCode::OK,
        &Told {
            title: window.title.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now: window.clock.wall_millis(),
            ready: window.health.ready(),
            overview: window.dashboard.overview(),
        },
    )
}

async fn series(
    State(window): State<Window>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => json(StatusCode::OK, &window.dashboard.series(&filter)),
        Err(error) => told(StatusCode::BAD_REQUEST, &error.body_text()),
    }
}

#[derive(Deserialize)]
struct Which {
    stream: String,
    series: String,
}

async fn chart(
    State(window): State<Window>,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let which = match which {
        Ok(Query(which)) => which,
        Err(error) => return told(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    match window.dashboard.chart(&which.stream, &which.series) {
        Some(chart) => json(StatusCode::OK, &chart),
        None => told(
            StatusCode::NOT_FOUND,
            "no such series is shown here: the board keeps the first ones to come and those with anomalies",
        ),
    }
}

fn verdict(verdict: Verdict) -> Response {
    json(if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &verdict)
}

fn told(status: StatusCode, reason: &str) -> Response {
    json(status, &serde_json::json!({ "reason": reason }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn text(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}
