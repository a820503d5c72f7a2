//! A daemon under test, its input, and requests to its HTTP listener.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use foretide::broker::{Broker, Partition};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::harness::{
    client::{Input, group_offset, produce},
    free_port, http_get,
    process::Process,
    secured::{SecuredCluster, secured},
    wait_for,
};

/// Longest time that a test waits for an event.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A configuration with one stream called `stream`, with a reading per minute.
pub struct Setup<'a> {
    pub app: &'a str,
    pub role: &'a str,
    /// The table `[kafka]`.
    pub kafka: &'a str,
    pub topic: &'a str,
    /// Further keys of `[http]`.
    pub http: &'a str,
    pub level: &'a str,
    pub training: &'a str,
    /// Further keys of the stream.
    pub stream: &'a str,
}

impl<'a> Setup<'a> {
    pub fn new(app: &'a str, kafka: &'a str, topic: &'a str) -> Self {
        let (role, http, level, training, stream) = ("score", "", "info", "enabled = false", "");
        Self { app, role, kafka, topic, http, level, training, stream }
    }

    /// The configuration as TOML, with the HTTP listener on `port`.
    pub fn toml(&self, port: u16) -> String {
        format!(
            "app = {:?}\ninstance = \"one\"\nrole = {:?}\ncommit_interval = \"50ms\"\nshards = 1\n{}\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n{}\n[log]\nlevel = {:?}\n\
             [[stream]]\nname = \"stream\"\ntopics = [{:?}]\nkey = \"record\"\nvalues = [\"value\"]\n\
             interval = \"1m\"\nreadings_per_slot = 1\nseason = \"none\"\nhorizon = 4\n\
             time = {{ field = \"time\", format = \"milliseconds\" }}\n\
             model = {{ hidden = 8 }}\ntraining = {{ {} }}\n{}\n",
            self.app, self.role, self.kafka, self.http, self.level, self.topic, self.training, self.stream
        )
    }
}

/// A running daemon.
pub struct Daemon {
    pub process: Process,
    pub port: u16,
    pub config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Daemon {
    pub fn start(setup: &Setup<'_>) -> Self {
        Self::start_with(setup, &[])
    }

    pub fn start_with(setup: &Setup<'_>, environment: &[(&str, &str)]) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = folder.path().join("foretide.toml");
        std::fs::write(&config, setup.toml(port)).unwrap();
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let process = Process::foretide_with(folder.path(), setup.app, arguments, environment);
        Self { process, port, config, _folder: folder }
    }

    /// Waits until the daemon is ready.
    pub fn ready(&mut self) {
        self.answers("readiness", |status, _| status == 200);
    }

    /// Waits until the reason why the daemon is not ready contains all of `words`, and returns it.
    pub fn waits_for(&mut self, words: &[&str]) -> String {
        self.answers(&format!("{words:?} in the reason"), |status, body| {
            status == 503 && words.iter().all(|word| body.contains(word))
        })
    }

    /// Waits until `minutes` of the input of [`feed`] and their forecasts are committed.
    pub fn forecasts(&mut self, setup: &Setup<'_>, minutes: i64) {
        let kafka = &secured().kafka;
        wait_for(&format!("{} to read {}", setup.app, setup.topic), LIMIT, || {
            assert!(self.process.runs(), "the daemon has ended:\n{}", self.process.log());
            (group_offset(kafka, setup.app, setup.topic, 0) >= Some(8 * minutes)).then_some(())
        });
        let forecasts = Partition { topic: format!("{}.stream.forecasts", setup.app).into(), number: 0 };
        let end = kafka.broker().offsets(&forecasts).unwrap().end;
        assert!(end >= 8 * minutes, "{end} forecasts of {} readings", 8 * minutes);
    }

    fn answers(&mut self, what: &str, is_expected: impl Fn(u16, &str) -> bool) -> String {
        let mut last = String::new();
        wait_for(&format!("{what} of {}", self.config.display()), LIMIT, || {
            assert!(self.process.runs(), "the daemon has ended:\n{}", self.process.log());
            let (status, body) = http_get(self.port, "/readyz")?;
            if body != last {
                println!("{}: {status} {body}", self.port);
                last.clone_from(&body);
            }
            is_expected(status, &body).then_some(body)
        })
    }
}

/// Produces readings of eight series for these minutes.
pub fn feed(topic: &str, minutes: std::ops::Range<i64>) {
    let reading = |series: i64, minute: i64| {
        let value = ((minute + 3 * series) as f64 / 8.0 * std::f64::consts::TAU).sin() * 10.0;
        let time = 1_700_000_040_000 + minute * 60_000;
        Input::new(format!("s{series}"), format!("{{\"time\":{time},\"value\":{value}}}")).at(0)
    };
    produce(&secured().kafka, topic, minutes.flat_map(|minute| (0..8).map(move |series| reading(series, minute))));
}

/// Runs `foretide` to its end.
pub fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).args(arguments).output().unwrap()
}

/// The output of a process, standard output first.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Sends a request over TLS, and trusts the authority in a file. `None` where the handshake fails.
pub fn ask(port: u16, authority: &Path, request: &str, headers: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    CertificateDer::pem_file_iter(authority).unwrap().for_each(|one| roots.add(one.unwrap()).unwrap());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp);
    write!(stream, "{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").ok()?;
    let mut answer = Vec::new();
    // A server that closes without a TLS close message has sent the whole response.
    let _end = stream.read_to_end(&mut answer);
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// `[kafka]` over TLS with a client certificate from the folder of [`SecuredCluster`].
pub fn with_certificate(kafka: &SecuredCluster, certificate: &str, key: &str, password: &str) -> String {
    format!(
        "[kafka]\nbrokers = [\"127.0.0.1:{}\"]\nsecurity_protocol = \"ssl\"\nssl_ca_file = {:?}\n\
         ssl_certificate_file = {:?}\nssl_key_file = {:?}\n{}",
        kafka.tls,
        kafka.file("authority.pem"),
        kafka.file(certificate),
        kafka.file(key),
        if password.is_empty() { String::new() } else { format!("ssl_key_password = {password:?}\n") },
    )
}
