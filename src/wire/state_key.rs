//! Keys of the compacted state topic.
//!
//! A *task* is one (stream, topic, partition). Keys are printable text,
//! `1/series/<stream>/<topic>/<partition>/<series>` and `1/task/<stream>/<topic>/<partition>`, with `%`, `/` and
//! control characters written as `%XX`.

use std::{borrow::Cow, fmt, fmt::Write as _};

use super::escaping::{escape, unescape};
use super::rejection::excerpt;
use super::state_error::StateError;

/// The version of the keys' syntax.
const KEY_VERSION: &str = "1";

/// The key of a record of the state topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKey {
    /// A snapshot of one series.
    Series {
        /// The stream's name.
        stream: String,
        /// The input topic.
        topic: String,
        /// The input partition.
        partition: i32,
        /// The series' key.
        series: String,
    },
    /// The checkpoint of one task.
    Task {
        /// The stream's name.
        stream: String,
        /// The input topic.
        topic: String,
        /// The input partition.
        partition: i32,
    },
}

impl StateKey {
    /// Appends the key of a series' snapshot to `out`.
    pub fn write_series(out: &mut String, stream: &str, topic: &str, partition: i32, series: &str) {
        write_prefix(out, "series", stream, topic, partition);
        out.push('/');
        escape(out, series);
    }

    /// Appends the key of a task's checkpoint to `out`.
    pub fn write_task(out: &mut String, stream: &str, topic: &str, partition: i32) {
        write_prefix(out, "task", stream, topic, partition);
    }

    /// Parses the last part of the key of a series' snapshot: the series.
    ///
    /// # Errors
    /// [`StateError::Key`] where [`Self::write_series`] does not write such a part.
    pub fn read_series(part: &[u8]) -> Result<Cow<'_, str>, StateError> {
        let wrong = || StateError::Key(excerpt(&String::from_utf8_lossy(part)));
        let text = std::str::from_utf8(part).map_err(|_| wrong())?;
        if text.chars().any(|character| character == '%' || character == '/' || character.is_control()) {
            return unescape(text).filter(|_| !text.contains('/')).map(Cow::Owned).ok_or_else(wrong);
        }
        Ok(Cow::Borrowed(text))
    }

    /// Parses a key.
    ///
    /// # Errors
    /// [`StateError::Key`] where neither [`Self::write_series`] nor [`Self::write_task`] writes such a key.
    pub fn parse(key: &[u8]) -> Result<Self, StateError> {
        let wrong = || StateError::Key(excerpt(&String::from_utf8_lossy(key)));
        let text = std::str::from_utf8(key).map_err(|_| wrong())?;
        let parts: Vec<&str> = text.split('/').collect();
        let parsed = match parts[..] {
            [KEY_VERSION, "series", stream, topic, partition, series] => (|| {
                let partition = parse_partition(partition)?;
                Some(Self::Series {
                    stream: unescape(stream)?,
                    topic: unescape(topic)?,
                    partition,
                    series: unescape(series)?,
                })
            })(),
            [KEY_VERSION, "task", stream, topic, partition] => (|| {
                let partition = parse_partition(partition)?;
                Some(Self::Task { stream: unescape(stream)?, topic: unescape(topic)?, partition })
            })(),
            _ => None,
        };
        parsed.ok_or_else(wrong)
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        match self {
            Self::Series { stream, topic, partition, series } => {
                Self::write_series(&mut out, stream, topic, *partition, series);
            }
            Self::Task { stream, topic, partition } => Self::write_task(&mut out, stream, topic, *partition),
        }
        f.write_str(&out)
    }
}

fn write_prefix(out: &mut String, kind: &str, stream: &str, topic: &str, partition: i32) {
    out.push_str(KEY_VERSION);
    out.push('/');
    out.push_str(kind);
    out.push('/');
    escape(out, stream);
    out.push('/');
    escape(out, topic);
    // Writing to a String cannot fail.
    let _ = write!(out, "/{partition}");
}

fn parse_partition(text: &str) -> Option<i32> {
    let partition: i32 = text.parse().ok()?;
    (partition.to_string() == text).then_some(partition)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_the_documented_syntax() {
        let mut key = String::new();
        StateKey::write_series(&mut key, "load", "meters.raw", 7, "plant/1 100%\n°");
        assert_eq!(key, "1/series/load/meters.raw/7/plant%2F1 100%25%0A°");
        key.clear();
        StateKey::write_task(&mut key, "a/b", "t", 0);
        assert_eq!(key, "1/task/a%2Fb/t/0");
    }

    #[test]
    fn foreign_keys_are_rejected() {
        let foreign = [
            "",
            "1",
            "2/task/s/t/0",
            "1/task/s/t",
            "1/task/s/t/x",
            "1/task/s/t/01",
            "1/task/s/t/+1",
            "1/task/s/t/0/k",
            "1/series/s/t/0",
            "1/series/s/t/0/a/b",
            "1/series/s/t/0/%2",
            "1/series/s/t/0/%zz",
            "1/series/s/t/0/%41",
            "1/series/s/t/0/%2f",
            "1/series/s/t/0/%FF",
            "1/other/s/t/0",
            "1/series/s/t/0/a\nb",
        ];
        for key in foreign {
            assert!(matches!(StateKey::parse(key.as_bytes()), Err(StateError::Key(_))), "{key}");
        }
        for part in [&b"a/b"[..], b"%2", b"%zz", b"%41", b"%2f", b"%FF", b"a\nb", b"\xff"] {
            assert!(matches!(StateKey::read_series(part), Err(StateError::Key(_))), "{}", part.escape_ascii());
        }
        assert!(StateKey::parse(b"1/task/\xff/t/0").is_err());
    }

    proptest! {
        #[test]
        fn keys_are_printable_and_read_back(
            stream in ".{1,12}", topic in "[a-zA-Z0-9._-]{1,12}", partition in 0..i32::MAX, series in "(?s).{0,40}",
        ) {
            let key = StateKey::Series { stream: stream.clone(), topic: topic.clone(), partition, series };
            let text = key.to_string();
            prop_assert!(!text.chars().any(char::is_control));
            let last = text.rsplit('/').next().unwrap_or_default();
            let StateKey::Series { series, .. } = &key else { unreachable!() };
            prop_assert_eq!(StateKey::read_series(last.as_bytes()), Ok(series.as_str().into()));
            prop_assert_eq!(StateKey::parse(text.as_bytes()), Ok(key));
            let key = StateKey::Task { stream, topic, partition };
            prop_assert_eq!(StateKey::parse(key.to_string().as_bytes()), Ok(key));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = StateKey::parse(&bytes);
        }
    }
}
