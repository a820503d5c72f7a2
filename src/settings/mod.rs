//! TOML to checked types, with errors that point at the line.
//!
//! Three layers, each laid over the one before: the defaults (they stand beside the keys, in [`cluster`] and
//! [`stream`], and in [`Settings`]), the file, the environment. A variable's name is `FORETIDE__` and the key's path
//! in capitals with `__` between its steps: `FORETIDE__KAFKA__BROKERS=a:9092,b:9092`, `FORETIDE__STREAM__0__HORIZON=48`.
//! Everything that is wrong is reported at once. `config/foretide.toml` is the reference of every key.

mod checks;
pub mod cluster;
mod declare;
mod layers;
mod origin;
pub mod problem;
mod reader;
mod secret;
pub mod stream;
mod summary;
mod units;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use toml::de::DeTable;

use self::declare::table;
use self::problem::{Finding, Kind};
use self::reader::{Found, Reader, Setting};

pub use self::cluster::{
    Compression, Http, Kafka, Limits, Log, LogFormat, Role, SaslMechanism, SecurityProtocol, Topics,
};
pub use self::problem::{Problem, Problems};
pub use self::secret::Secret;
pub use self::stream::{
    Aggregation, Anomaly, Cell, Device, Format, Interval, Key, Known, Model, Outputs, Season, Strategy, Stream,
    StreamLimits, Target, Time, TimeFormat, Training,
};
pub use self::summary::{Footprint, summary};
pub use self::values::{Auto, Date, Millis, Size};

table! {
    /// Everything that can be configured.
    pub struct Settings {
        /// Names the consumer group, and begins transactional ids and topic names.
        pub app: String = "foretide".into(),
        /// Tells this process from its replicas; auto: the host's name.
        pub instance: Auto<String> = Auto::Auto,
        /// What this process does.
        pub role: Role = Role::All,
        /// Serving threads; auto: one fewer than the machine's cores, at least one.
        pub shards: Auto<u32> = Auto::Auto,
        /// Longest time between two transactions while records come.
        pub commit_interval: Millis = Millis(100),
        /// Time over which the snapshots of all changed series are spread; zero: each transaction snapshots what it changed.
        pub checkpoint_interval: Millis = Millis::seconds(60),
        /// Longest time that an orderly shutdown takes.
        pub shutdown_deadline: Millis = Millis::seconds(30),
        /// The connection to the cluster.
        pub kafka: Kafka = Kafka::default(),
        /// Names of the output topics.
        pub topics: Topics = Topics::default(),
        /// Metrics, health and the page.
        pub http: Http = Http::default(),
        /// What is logged.
        pub log: Log = Log::default(),
        /// Bounds of everything that queues.
        pub limits: Limits = Limits::default(),
        /// The streams.
        pub stream: Vec<Stream> = Vec::new(),
    }
}

impl Settings {
    /// The topic that takes the forecasts of `stream`.
    pub fn forecasts_topic(&self, stream: &Stream) -> String {
        let pattern = stream.outputs.topic.as_ref().unwrap_or(&self.topics.forecasts);
        self.topic(pattern).replace("{stream}", &stream.name)
    }

    /// The topic that takes snapshots.
    pub fn state_topic(&self) -> String {
        self.topic(&self.topics.state)
    }

    /// The topic that takes weights.
    pub fn models_topic(&self) -> String {
        self.topic(&self.topics.models)
    }

    /// The topic that takes what could not be used.
    pub fn dead_letters_topic(&self) -> String {
        self.topic(&self.topics.dead_letters)
    }

    fn topic(&self, pattern: &str) -> String {
        pattern.replace("{app}", &self.app)
    }
}

/// Reads the file at `path`, if any, lays the variables of `environment` over it, and checks the whole.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Problems> {
    let Some(path) = path else { return parse("", "", environment) };
    let name = path.display().to_string();
    let unreadable = |found: String, hint: &str| Problems::whole(&name, Kind::Unreadable, "a TOML file", found, hint);
    let bytes = std::fs::read(path).map_err(|error| {
        unreadable(error.to_string(), "config/foretide.toml in Foretide's repository is a commented example")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(format!("bytes on line {line} that are not UTF-8"), "save the file in UTF-8")
    })?;
    parse(&name, &text, environment)
}

/// As [`load`], from the text of a file called `name`.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut origins = origin::Origins::default();
    origins.index(document.get_ref());
    let (merged, findings) = layers::merge(document.get_ref(), environment, &mut origins);
    let mut reader = Reader::new(origins, findings, &HOMES);
    let mut settings = Settings::read(Found::root(merged), &mut reader).unwrap_or_default();
    if errors.is_empty() {
        checks::check(&mut settings, &mut reader);
    }
    let syntax: Vec<_> = errors.iter().map(|error| syntax_error(text, error)).collect();
    let (origins, findings) = reader.into_findings();
    if syntax.is_empty() && findings.is_empty() {
        return Ok(settings);
    }
    Err(Problems::locate(name, text, &origins, findings, syntax))
}

/// In which tables each key belongs: for hints.
static HOMES: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(homes);

fn homes() -> BTreeMap<String, Vec<String>> {
    fn collect(table: &serde_json::Value, path: &str, homes: &mut BTreeMap<String, Vec<String>>) {
        for (key, value) in table.as_object().into_iter().flatten() {
            let home = if path.is_empty() { "the top of the file".into() } else { format!("[{path}]") };
            homes.entry(key.clone()).or_default().push(home);
            collect(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, homes);
        }
    }
    let mut homes = BTreeMap::new();
    for (path, table) in
        [("", serde_json::to_value(Settings::default())), ("stream", serde_json::to_value(Stream::default()))]
    {
        collect(&table.unwrap_or_default(), path, &mut homes);
    }
    homes
}

fn syntax_error(text: &str, error: &toml::de::Error) -> (origin::Place, Finding) {
    let span = error.span().unwrap_or(text.len()..text.len());
    let finding = Finding {
        kind: Kind::Syntax,
        path: origin::Path::default(),
        expected: String::new(),
        found: error.message().to_owned(),
        hint: String::new(),
        related: vec![],
    };
    (origin::Place::File(span.start, span.end), finding)
}

#[cfg(test)]
mod tests;
