//! Turns TOML and environment variables into checked types, with errors that point at the line.
//!
//! A configuration has three layers, each over the one before: the defaults (declared with the keys in [`cluster`],
//! [`stream`] and [`Settings`]), the file, and the environment. The name of a variable is `FORETIDE__` and the path
//! of the key in capitals with `__` between its steps: `FORETIDE__KAFKA__BROKERS=a:9092,b:9092`,
//! `FORETIDE__STREAM__0__HORIZON=48`. [`load`] reports all mistakes at once. `config/foretide.toml` is the reference
//! of all keys.

mod checks;
pub mod cluster;
mod declare;
mod derived;
mod grid;
mod holidays_file;
mod layers;
mod load;
mod origin;
pub mod problem;
mod reader;
mod record;
mod renamed;
mod report;
mod root;
mod secret;
mod start;
pub mod stream;
mod suggestion;
mod summary;
mod units;
mod values;
mod variables;

pub use cluster::{Compression, Http, Kafka, Limits, Log, LogFormat, Role, SaslMechanism, SecurityProtocol, Topics};
pub use grid::{Aggregation, Interval, Season, Weekday};
pub use holidays_file::read_holidays;
pub use load::{load, parse};
pub use problem::{Problem, Problems};
pub use record::{Format, Key, Time, TimeFormat, ValueField};
pub use root::Settings;
pub use secret::Secret;
pub use start::ForecastStart;
pub use stream::{
    Absence, Anomaly, Cell, CloseBy, Device, FutureCovariates, InitialWeights, Late, Model, Outputs, Strategy, Stream,
    StreamLimits, Target, Training, WhenFull,
};
pub use summary::{Footprint, summary};
pub use values::{Auto, Date, Limit, Millis, Size};
pub use variables::{IgnoredVariable, ignored_variables};

#[cfg(test)]
mod tests;
