//! Fuzz target of the HTTP server: arbitrary bytes as the requests of a client.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use foretide::{
    dashboard::{
        http::{AppState, Condition, Health, ListenerSpec, router},
        state::{DashboardLimits, DashboardState, SeriesUpdate},
    },
    env::SystemClock,
    settings::{Http, Secret},
    telemetry::Exposition,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

thread_local! {
    static SERVER: &'static Server = Box::leak(Box::new(Server::start()));
}

const TOKEN: &str = "correct-horse-battery";

/// Tokens that the fuzzer inserts.
pub const TOKENS: &[&str] = &[
    "GET ",
    "HEAD ",
    "POST ",
    "OPTIONS ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "Host: a\r\n",
    "/livez",
    "/readyz",
    "/metrics",
    "/api/overview",
    "/api/series?",
    "/api/chart?",
    "search=",
    "&stream=s",
    "&offset=",
    "&limit=18446744073709551615",
    "%C3%B6",
    "%00",
    "%",
    "+",
    "..",
    "//",
    "?",
    "#",
    "Authorization: Bearer ",
    "Authorization: Basic ",
    "correct-horse-battery",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Seeds: a byte whose lowest bit requires the token, then requests.
pub fn samples() -> Vec<Vec<u8>> {
    let request = |token: u8, line: &str, more: &str| {
        [&[token][..], line.as_bytes(), b" HTTP/1.1\r\nHost: a\r\n", more.as_bytes(), b"\r\n"].concat()
    };
    vec![
        request(0, "GET /", ""),
        request(0, "GET /livez", "Connection: close\r\n"),
        request(0, "GET /metrics", ""),
        request(0, "GET /api/overview", ""),
        request(0, "GET /api/series?search=K%C3%B6&stream=s&offset=0&limit=3", ""),
        request(0, "GET /api/chart?stream=s&series=K%C3%B6ln%2FS%C3%BCd+%26", ""),
        request(1, "HEAD /readyz", ""),
        request(1, "GET /api/overview", "Authorization: Bearer correct-horse-battery\r\n"),
        request(1, "GET /metrics", "Authorization: Basic YTpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        request(1, "POST /page.js", "Content-Length: 0\r\n"),
    ]
}

/// Each response is complete and no server error, each page has its security headers, and without the token only the
/// probes are visible.
pub fn check(bytes: &[u8]) {
    let Some((token, request)) = bytes.split_first() else { return };
    let needs_token = token % 2 == 1;
    SERVER.with(|server| {
        let authorised = contains(&request.to_ascii_lowercase(), b"authorization");
        for Answer { status, head, length } in answers(&server.ask(usize::from(needs_token), request)) {
            assert!(status < 500, "{}", head.escape_ascii());
            if status == 200 {
                assert!(contains(head, b"\r\nx-content-type-options: nosniff\r\n"), "{}", head.escape_ascii());
                let allowed = !needs_token || authorised || server.probes.contains(&length);
                assert!(allowed, "without the token: {}", head.escape_ascii());
            }
        }
    });
}

/// One of the responses on a connection.
struct Answer<'a> {
    status: u16,
    head: &'a [u8],
    /// Length of the body, even of a response to `HEAD`.
    length: usize,
}

fn answers(mut rest: &[u8]) -> Vec<Answer<'_>> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
        let head = &rest[..end + 2];
        let text = std::str::from_utf8(head).expect("a head is text");
        let mut lines = text.lines();
        let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).expect("a head begins with the version");
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a head names the status");
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length is a number"));
        rest = &rest[end + 4..];
        if !rest.starts_with(b"HTTP/1.") && !rest.is_empty() {
            rest = rest.get(length..).expect("a body is as long as its head says");
        }
        answers.push(Answer { status, head, length });
    }
    answers
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The HTTP server of the daemon, without and with a token.
struct Server {
    runtime: Runtime,
    listeners: [mpsc::UnboundedSender<Connection>; 2],
    /// Lengths of the responses of the probes.
    probes: Vec<usize>,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let with_token = Http { bearer_token: Some(Secret::new(TOKEN.into())), ..Http::default() };
        let listeners = [Http::default(), with_token].map(|http| {
            let spec = ListenerSpec::from_settings(&http).expect("there is no certificate");
            let service = TowerToHyperService::new(router(&spec, app_state()));
            let (lines, mut connections) = mpsc::unbounded_channel();
            runtime.spawn(async move {
                // HTTP/1 only, as the daemon serves.
                let server = auto::Builder::new(TokioExecutor::new()).http1_only();
                while let Some(connection) = connections.recv().await {
                    let connection: Connection = connection;
                    // An error says that the client sent no request; its response is what counts.
                    drop(server.serve_connection(TokioIo::new(connection), service.clone()).await);
                }
            });
            lines
        });
        let mut server = Self { runtime, listeners, probes: Vec::new() };
        for probe in ["/livez", "/readyz"] {
            let answer = server.ask(0, format!("GET {probe} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            server.probes.extend(answers(&answer).iter().map(|answer| answer.length));
            assert_eq!(answers(&answer).first().map(|answer| answer.status), Some(200), "a probe responds");
        }
        server
    }

    /// The responses to a client that sends `request` and then closes the connection.
    fn ask(&self, listener: usize, request: &[u8]) -> Vec<u8> {
        let (answer, answered) = oneshot::channel();
        let line = Connection {
            request: request.to_vec(),
            read: 0,
            answer: Vec::new(),
            patience: PATIENCE,
            ended: Some(answer),
        };
        assert!(self.listeners[listener].send(line).is_ok(), "the server has ended");
        self.runtime.block_on(answered).expect("a connection ends with its responses")
    }
}

fn app_state() -> AppState {
    let clock = Arc::new(SystemClock::new());
    let health = Health::new(clock.clone());
    health.set("shard-0", Condition::Ready);
    let dashboard = DashboardState::new(DashboardLimits { charted: 3, ..DashboardLimits::default() });
    for series in ["Köln/Süd &", "b", "c"] {
        dashboard.record_forecast(&SeriesUpdate {
            stream: "s",
            series,
            origin: 1,
            value: f64::INFINITY,
            times: &[2],
            point: &[1.5],
            levels: &[0.5],
            quantiles: &[1.5],
            anomaly: Some(1.0),
            anomalous: true,
        });
    }
    AppState {
        dashboard: Arc::new(dashboard),
        health: Arc::new(health),
        exposition: Exposition::detached().expect("the metrics can be described"),
        clock,
        title: "fuzz".into(),
    }
}

/// Polls of an idle connection before its client closes it. A client that closes at once gets no response.
const PATIENCE: u8 = 4;

/// A connection in memory. The client sends all at once, and gets the responses when the server drops the connection.
struct Connection {
    request: Vec<u8>,
    read: usize,
    answer: Vec<u8>,
    /// Remaining polls before the client closes the connection.
    patience: u8,
    ended: Option<oneshot::Sender<Vec<u8>>>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read == self.request.len() && self.patience > 0 {
            self.patience -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = room.remaining().min(self.request.len() - self.read);
        room.put_slice(&self.request[self.read..][..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.patience = PATIENCE;
        self.answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // The client may be gone.
            let _ = ended.send(std::mem::take(&mut self.answer));
        }
    }
}
