//! The values that a key can hold: durations and sizes with their unit, `auto`, lists, and the forms of a stream's
//! key, time, interval and season.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::reader::{Found, Reader, Setting};
use super::secret::Secret;
use super::stream::{Interval, Key, Season, Time, TimeFormat};
use super::units;
use crate::time::EventTime;

/// A span of time in whole milliseconds, never negative; written with its unit, such as `"10ms"` or `"7d"`.
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

    /// The same span for the standard library.
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

/// A day of the calendar; written such as `"2026-12-25"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub jiff::civil::Date);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value, or what Foretide works out by itself where the configuration says `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// To be worked out.
    Auto,
    /// What the configuration says.
    Set(T),
}

impl<T> Auto<T> {
    /// What the configuration says, or else `worked_out`.
    pub fn or(self, worked_out: T) -> T {
        match self {
            Self::Auto => worked_out,
            Self::Set(value) => value,
        }
    }
}

/// Values that serialise as they are displayed, which is as the configuration writes them.
macro_rules! serialize_as_displayed {
    ($($kind:ty),+) => { $(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+ };
}

serialize_as_displayed!(Millis, Size, Date, Interval, Season);

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Irregular => f.write_str("irregular"),
            Self::Every(length) => length.fmt(f),
        }
    }
}

impl fmt::Display for Season {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Every(length) => length.fmt(f),
        }
    }
}

impl Setting for String {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.text(&found, "a text")
    }
}

impl Setting for PathBuf {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.text(&found, "the path of a file").map(Self::from)
    }
}

impl Setting for Secret {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.text(&found, "a text").map(Self::new)
    }
}

impl Setting for bool {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.boolean(&found)
    }
}

impl Setting for u32 {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let most = i64::from(Self::MAX);
        reader.integer(&found, most).and_then(|value| Self::try_from(value).ok())
    }
}

impl Setting for u64 {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.integer(&found, i64::MAX).and_then(|value| Self::try_from(value).ok())
    }
}

impl Setting for f64 {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.number(&found)
    }
}

impl Setting for char {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let text = reader.text(&found, "one ASCII character")?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) if one.is_ascii() => Some(one),
            _ => reader.refuse(&found, "one ASCII character", Some("such as \",\", \";\" or \"\\t\" (tab)".into())),
        }
    }
}

impl Setting for SocketAddr {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let expected = "an IP address and a port";
        let text = reader.text(&found, expected)?;
        let read = text.parse().ok();
        read.or_else(|| {
            reader.refuse(&found, expected, Some("such as \"127.0.0.1:9464\", or \"0.0.0.0:9464\" for all".into()))
        })
    }
}

impl Setting for Millis {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let value = reader.with_unit(&found, &units::DURATION)?;
        i64::try_from(value).ok().map(Self)
    }
}

impl Setting for Size {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        reader.with_unit(&found, &units::SIZE).map(Self)
    }
}

impl Setting for Date {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let expected = "a date from year 1 to 9999";
        let text = reader.text(&found, expected)?;
        // Of what else can be read as a date, a time among it, nothing is dropped in silence.
        let date = text.parse().ok().map(Self).filter(|date| date.0.year() >= 1 && date.to_string() == text);
        date.or_else(|| reader.refuse(&found, expected, Some("such as \"2026-12-25\"".into())))
    }
}

impl Setting for EventTime {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let expected = "a time in RFC 3339, from year 1 to 9999";
        let text = reader.text(&found, expected)?;
        let time = text.parse::<jiff::Timestamp>().ok().map(|time| Self(time.as_millisecond()));
        time.filter(|time| (Self::MIN..=Self::MAX).contains(time))
            .or_else(|| reader.refuse(&found, expected, Some("such as \"2026-11-01T00:00:00Z\"".into())))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let items = reader.list(found)?;
        let wanted = items.len();
        let read: Self = items.into_iter().filter_map(|item| reader.item(item)).collect();
        (read.len() == wanted).then_some(read)
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let entries = reader.entries(found)?;
        Some(entries.into_iter().filter_map(|(key, value)| Some((key, T::read(value, reader)?))).collect())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        T::read(found, reader).map(Some)
    }
}

impl<T: Setting> Setting for Auto<T> {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        if found.is("auto") {
            return Some(Self::Auto);
        }
        reader.or_words(&["auto"], |reader| T::read(found, reader)).map(Self::Set)
    }
}

impl Setting for Interval {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        if found.is("irregular") {
            return Some(Self::Irregular);
        }
        reader.or_words(&["irregular"], |reader| Millis::read(found, reader)).map(Self::Every)
    }
}

impl Setting for Season {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        if found.is("auto") {
            return Some(Self::Auto);
        }
        if found.is("none") {
            return Some(Self::None);
        }
        reader.or_words(&["auto", "none"], |reader| Millis::read(found, reader)).map(Self::Every)
    }
}

impl Setting for Key {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        if found.is("record") {
            return Some(Self::Record);
        }
        if !found.is_table() {
            let hint = "such as key = { fields = [\"site\", \"meter\"] }";
            return reader.refuse_form(&found, "\"record\", or a table that names fields", hint);
        }
        let mut table = reader.table(found, &["fields"])?;
        let fields = table.read("fields", Vec::new(), reader);
        table.require("fields", "[\"meter\"]", reader);
        Some(Self::Fields(fields))
    }
}

impl Setting for Time {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        if found.is("record") {
            return Some(Self::Record);
        }
        if !found.is_table() {
            let hint = "such as time = { field = \"at\", format = \"rfc3339\" }";
            return reader.refuse_form(&found, "\"record\", or a table that names a field", hint);
        }
        let mut table = reader.table(found, &["field", "format", "zone"])?;
        let field = table.read("field", String::new(), reader);
        let format = table.read("format", TimeFormat::Rfc3339, reader);
        let zone = table.read("zone", None, reader);
        table.require("field", "\"at\"", reader);
        Some(Self::Field { field, format, zone })
    }
}

impl Setting for TimeFormat {
    fn read(found: Found, reader: &mut Reader) -> Option<Self> {
        let words = ["rfc3339", "seconds", "milliseconds", "microseconds", "nanoseconds"];
        let text = reader.text(&found, "a format of times")?;
        match text.as_str() {
            "rfc3339" => Some(Self::Rfc3339),
            "seconds" => Some(Self::Seconds),
            "milliseconds" => Some(Self::Milliseconds),
            "microseconds" => Some(Self::Microseconds),
            "nanoseconds" => Some(Self::Nanoseconds),
            _ if text.contains('%') => Some(Self::Pattern(text)),
            _ => reader
                .or_texts(&["a pattern such as \"%Y-%m-%d %H:%M:%S\""], |reader| reader.word(&found, &words))
                .and(None),
        }
    }
}
