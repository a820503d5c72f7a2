//! The routes and their handlers.

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::{app_state::AppState, health::HealthReport, token::Token};
use crate::{
    dashboard::state::{Filter, Overview},
    telemetry::metrics::HTTP_REFUSED,
};

/// Most bytes of a query string. Longer ones are refused.
const MAX_QUERY_BYTES: usize = 4096;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const CHARTS: &str = include_str!("page/charts.js");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");

/// All routes. Where there is a `token`, every route needs it except the probes: an orchestrator has no secret.
pub(super) fn router(state: AppState, token: Option<Token>, body_bytes: u64) -> Router {
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
        .fallback(async || explain(StatusCode::NOT_FOUND, "not found; see /, /metrics, /livez and /readyz"))
        .layer(middleware::from_fn_with_state(token, require_token))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(body_bytes, limit_requests))
        .with_state(state)
}

/// Refuses other methods than GET and HEAD, long queries and long bodies. Adds headers that keep the page from loading
/// anything from another origin.
async fn limit_requests(State(body_bytes): State<u64>, request: Request, next: Next) -> Response {
    let mut response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = explain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        refused
    } else if request.uri().query().is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
        refused(StatusCode::URI_TOO_LONG, "query", "the query is longer than 4096 bytes")
    } else if body_length(request.headers()) > body_bytes {
        let why = format!("the body is longer than {body_bytes} bytes (http.body_bytes)");
        refused(StatusCode::PAYLOAD_TOO_LARGE, "body", &why)
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
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

/// The announced length of a request's body; endless where it is chunked.
fn body_length(headers: &HeaderMap) -> u64 {
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX),
        None if headers.contains_key(header::TRANSFER_ENCODING) => u64::MAX,
        None => 0,
    }
}

/// The answer to a request that exceeds a limit. It is counted.
fn refused(status: StatusCode, reason: &str, why: &str) -> Response {
    HTTP_REFUSED.counter(&[("reason", reason)]).increment(1);
    explain(status, why)
}

async fn require_token(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    if token.is_none_or(|token| token.authorizes(request.headers().get(header::AUTHORIZATION))) {
        return next.run(request).await;
    }
    let why = "unauthorized: send the token of http.bearer_token as `Authorization: Bearer TOKEN`, or as the password \
               of a browser with any user name";
    let mut refused = explain(StatusCode::UNAUTHORIZED, why);
    for scheme in ["Bearer realm=\"foretide\"", "Basic realm=\"foretide\", charset=\"UTF-8\""] {
        refused.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    refused
}

async fn metrics(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.exposition.render()).into_response()
}

async fn live(State(state): State<AppState>) -> Response {
    health(state.health.live())
}

async fn ready(State(state): State<AppState>) -> Response {
    health(state.health.ready())
}

async fn overview(State(state): State<AppState>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        title: String,
        version: &'static str,
        now: i64,
        ready: HealthReport,
        #[serde(flatten)]
        overview: Overview,
    }
    json(
        StatusCode::OK,
        &Answer {
            title: state.title.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now: state.clock.wall_millis(),
            ready: state.health.ready(),
            overview: state.dashboard.overview(),
        },
    )
}

async fn series(
    State(state): State<AppState>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => json(StatusCode::OK, &state.dashboard.series(&filter)),
        Err(error) => explain(StatusCode::BAD_REQUEST, &error.body_text()),
    }
}

#[derive(Deserialize)]
struct SeriesQuery {
    stream: String,
    series: String,
}

async fn chart(
    State(state): State<AppState>,
    query: Result<Query<SeriesQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return explain(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    match state.dashboard.chart(&query.stream, &query.series) {
        Some(chart) => json(StatusCode::OK, &chart),
        None => explain(
            StatusCode::NOT_FOUND,
            "no chart of this series: the page keeps the first series that appear and those with anomalies",
        ),
    }
}

fn health(report: HealthReport) -> Response {
    json(if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &report)
}

fn explain(status: StatusCode, reason: &str) -> Response {
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
