//! The values that a key can hold: durations and sizes with their units, dates, `auto`, scalars and lists.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::reader::{Entry, Reader, Setting};
use super::secret::Secret;
use super::units;
use crate::time::EventTime;

/// A duration in whole milliseconds, never negative; written with its unit, such as `"10ms"` or `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl Millis {
    /// `count` seconds.
    pub const fn seconds(count: i64) -> Self {
        Self(count * 1_000)
    }

    /// `count` hours.
    pub const fn hours(count: i64) -> Self {
        Self::seconds(count * 3_600)
    }

    /// `count` days of 24 hours.
    pub const fn days(count: i64) -> Self {
        Self::hours(count * 24)
    }

    /// The duration as a type of the standard library.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::DURATION.render(self.0.unsigned_abs()))
    }
}

/// A number of bytes; written with its unit, such as `"512KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// `count` bytes.
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// `count` times 2^20 bytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::SIZE.render(self.0))
    }
}

/// A calendar day, such as `"2026-12-25"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub jiff::civil::Date);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value, or `"auto"` where Foretide chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// Foretide chooses the value.
    Auto,
    /// The configured value.
    Set(T),
}

impl<T> Auto<T> {
    /// The configured value, or `default`.
    pub fn or(self, default: T) -> T {
        match self {
            Self::Auto => default,
            Self::Set(value) => value,
        }
    }
}

/// A limit, `"auto"` where Foretide chooses it, or `"none"` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    /// Foretide chooses the limit.
    Auto,
    /// No limit.
    None,
    /// The configured limit.
    Set(T),
}

/// Implements `Serialize` by `Display`, whose form is the one of the configuration.
macro_rules! serialize_as_displayed {
    ($($kind:ty),+) => { $(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+ };
}

serialize_as_displayed!(Millis, Size, Date);

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Set(limit) => limit.serialize(serializer),
        }
    }
}

/// A time in RFC 3339, from year 1 to 9999.
pub(super) fn parse_time(text: &str) -> Option<EventTime> {
    let time = text.parse::<jiff::Timestamp>().ok().map(|time| EventTime(time.as_millisecond()));
    time.filter(|time| (EventTime::MIN..=EventTime::MAX).contains(time))
}

impl Setting for String {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.text(&entry, "a text")
    }
}

impl Setting for PathBuf {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.text(&entry, "the path of a file").map(Self::from)
    }
}

impl Setting for Secret {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.text(&entry, "a text").map(Self::new)
    }
}

impl Setting for bool {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.boolean(&entry)
    }
}

impl Setting for u32 {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let most = i64::from(Self::MAX);
        reader.integer(&entry, most).and_then(|value| Self::try_from(value).ok())
    }
}

impl Setting for u64 {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.integer(&entry, i64::MAX).and_then(|value| Self::try_from(value).ok())
    }
}

impl Setting for f64 {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.number(&entry)
    }
}

impl Setting for char {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let text = reader.text(&entry, "one ASCII character")?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) if one.is_ascii() => Some(one),
            _ => reader.refuse(&entry, "one ASCII character", Some("such as \",\", \";\" or \"\\t\" (tab)".into())),
        }
    }
}

impl Setting for SocketAddr {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let expected = "an IP address and a port";
        let text = reader.text(&entry, expected)?;
        let read = text.parse().ok();
        read.or_else(|| {
            reader.refuse(&entry, expected, Some("such as \"127.0.0.1:9464\", or \"0.0.0.0:9464\" for all".into()))
        })
    }
}

impl Setting for Millis {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let value = reader.with_unit(&entry, &units::DURATION)?;
        i64::try_from(value).ok().map(Self)
    }
}

impl Setting for Size {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        reader.with_unit(&entry, &units::SIZE).map(Self)
    }
}

impl Setting for Date {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let expected = "a date from year 1 to 9999";
        let text = reader.text(&entry, expected)?;
        // jiff also parses longer forms, such as a date with a time; accepting them would drop a part silently.
        let date = text.parse().ok().map(Self).filter(|date| date.0.year() >= 1 && date.to_string() == text);
        date.or_else(|| reader.refuse(&entry, expected, Some("such as \"2026-12-25\"".into())))
    }
}

impl Setting for EventTime {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let expected = "a time in RFC 3339, from year 1 to 9999";
        let text = reader.text(&entry, expected)?;
        parse_time(&text).or_else(|| reader.refuse(&entry, expected, Some("such as \"2026-11-01T00:00:00Z\"".into())))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let items = reader.list(entry)?;
        let wanted = items.len();
        let read: Self = items.into_iter().filter_map(|item| reader.item(item)).collect();
        (read.len() == wanted).then_some(read)
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let entries = reader.entries(entry)?;
        Some(entries.into_iter().filter_map(|(key, value)| Some((key, T::read(value, reader)?))).collect())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        T::read(entry, reader).map(Some)
    }
}

impl<T: Setting> Setting for Auto<T> {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("auto") {
            return Some(Self::Auto);
        }
        reader.or_words(&["auto"], |reader| T::read(entry, reader)).map(Self::Set)
    }
}

impl<T: Setting> Setting for Limit<T> {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("auto") {
            return Some(Self::Auto);
        }
        if entry.is("none") {
            return Some(Self::None);
        }
        reader.or_words(&["auto", "none"], |reader| T::read(entry, reader)).map(Self::Set)
    }
}
