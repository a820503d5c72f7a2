//! From where on a stream is forecast when its application first starts.

use std::fmt;

use serde::{Serialize, Serializer};

use super::reader::{Entry, Reader, Setting};
use super::units;
use super::values::{Millis, parse_time};
use crate::time::EventTime;

/// Where the forecasts of a stream begin in a partition that its application has never read. Older records are learnt
/// from without being forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForecastStart {
    /// Near the end: with the newest records, bounded by the bytes of their forecasts.
    Auto,
    /// With the oldest record.
    Earliest,
    /// With the next record.
    Latest,
    /// With the first record of this timestamp, or a later one.
    At(EventTime),
    /// With the first record whose timestamp is at most this long ago.
    Back(Millis),
}

impl ForecastStart {
    const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("earliest", Self::Earliest), ("latest", Self::Latest)];

    /// The position that `text` names, in the form of the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let word = Self::WORDS.into_iter().find(|(word, _)| *word == text).map(|(_, start)| start);
        let duration = || i64::try_from(units::DURATION.parse(text)?).ok().map(|millis| Self::Back(Millis(millis)));
        word.or_else(duration).or_else(|| parse_time(text).map(Self::At))
    }
}

impl fmt::Display for ForecastStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(time) => match jiff::Timestamp::from_millisecond(time.0) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{} ms", time.0),
            },
            Self::Back(duration) => duration.fmt(f),
        }
    }
}

impl Serialize for ForecastStart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Setting for ForecastStart {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let expected = "\"auto\", \"earliest\", \"latest\", a time in RFC 3339, or a duration back from now";
        let text = reader.text(&entry, expected)?;
        let hint = "such as \"2026-11-01T00:00:00Z\" or \"7d\"";
        Self::parse(&text).or_else(|| reader.refuse(&entry, expected, Some(hint.into())))
    }
}
