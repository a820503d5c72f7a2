//! Records of the compacted state topic: snapshots of series and the books of tasks.
//!
//! A *task* is one (stream, topic, partition). Keys are printable text, `1/series/<stream>/<topic>/<partition>/<series>`
//! and `1/task/<stream>/<topic>/<partition>`, with `%`, `/` and control characters written as `%XX`. Values are an
//! [`Envelope`] around a body whose layout its kind and version name: of a task [`TaskCheckpoint`](super::TaskCheckpoint).

use std::{borrow::Cow, fmt::Write as _};

/// The first four bytes of every value.
pub const MAGIC: [u8; 4] = *b"FTST";
/// The layout that this build writes; any change to an envelope or a body counts it up.
pub const LAYOUT: u16 = 4;

const KEY_VERSION: &str = "1";
/// Magic, layout, kind, position.
const HEAD_BYTES: usize = 4 + 2 + 1 + 8;
const CHECKSUM_BYTES: usize = 4;

/// What went wrong while reading a record of the state topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The key is not one that Foretide writes.
    #[error("expected a key like 1/series/STREAM/TOPIC/PARTITION/SERIES or 1/task/STREAM/TOPIC/PARTITION, found {0}")]
    Key(String),
    /// The value is shorter than the shortest envelope.
    #[error("the record has {found} bytes, fewer than the {expected} of an empty one: it was cut")]
    Short {
        /// Bytes found.
        found: usize,
        /// Bytes of an envelope with an empty body.
        expected: usize,
    },
    /// The value does not begin with [`MAGIC`].
    #[error("the record does not begin with \"FTST\": something other than Foretide wrote to the state topic")]
    Magic,
    /// The value was written by another version.
    #[error("the record has the unknown layout {found}; this build reads layout {LAYOUT}")]
    Layout {
        /// The layout found.
        found: u16,
    },
    /// The kind is none of [`StateKind`].
    #[error("the record is of the unknown kind {0}")]
    Kind(u8),
    /// The bytes are not those that were written.
    #[error("the record's checksum is {found:08x}, its bytes give {computed:08x}: it is damaged")]
    Checksum {
        /// The checksum in the record.
        found: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// The body does not hold what its kind says.
    #[error("the body cannot be read: {0}")]
    Body(String),
}

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
    /// The book of one task.
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
    /// Writes the key of a series' snapshot at the end of `out`.
    pub fn write_series(out: &mut String, stream: &str, topic: &str, partition: i32, series: &str) {
        write_prefix(out, "series", stream, topic, partition);
        out.push('/');
        escape(out, series);
    }

    /// Writes the key of a task's book at the end of `out`.
    pub fn write_task(out: &mut String, stream: &str, topic: &str, partition: i32) {
        write_prefix(out, "task", stream, topic, partition);
    }

    /// Reads the last part of a series' key back: what [`Self::write_series`] wrote of the series.
    ///
    /// # Errors
    /// [`StateError::Key`] where it is not written so.
    pub fn read_series(part: &[u8]) -> Result<Cow<'_, str>, StateError> {
        let wrong = || StateError::Key(super::refusal::excerpt(&String::from_utf8_lossy(part)));
        let text = std::str::from_utf8(part).map_err(|_| wrong())?;
        if text.chars().any(|character| character == '%' || character == '/' || character.is_control()) {
            return unescape(text).filter(|_| !text.contains('/')).map(Cow::Owned).ok_or_else(wrong);
        }
        Ok(Cow::Borrowed(text))
    }

    /// Reads a key back.
    ///
    /// # Errors
    /// [`StateError::Key`] where it is not a key that [`Self::write_series`] or [`Self::write_task`] writes.
    pub fn parse(key: &[u8]) -> Result<Self, StateError> {
        let wrong = || StateError::Key(super::refusal::excerpt(&String::from_utf8_lossy(key)));
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

impl std::fmt::Display for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Writes a part of a key so that it holds no `/` and no control character and can be read back.
pub(super) fn escape(out: &mut String, part: &str) {
    for character in part.chars() {
        if character == '%' || character == '/' || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
}

/// Reads back what [`escape`] wrote; `None` for anything that it would not write.
pub(super) fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut again = String::with_capacity(part.len());
    escape(&mut again, &text);
    (again == part).then_some(text)
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// The state of one series (the engine's layout).
    Series,
    /// A [`TaskCheckpoint`](super::TaskCheckpoint).
    Task,
}

impl StateKind {
    const fn code(self) -> u8 {
        match self {
            Self::Series => 1,
            Self::Task => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Series),
            2 => Some(Self::Task),
            _ => None,
        }
    }
}

/// The value of a record of the state topic. On the wire, little-endian: [`MAGIC`], layout (u16), kind (u8), input
/// position (i64), body, CRC-32 (IEEE 802.3) of all bytes before it (u32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the body holds.
    pub kind: StateKind,
    /// The input position the body stands at: the offset of the next record to be read.
    pub position: i64,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// A record as this build writes it.
    pub fn new(kind: StateKind, position: i64, body: &'a [u8]) -> Self {
        Self { kind, position, body }
    }

    /// Writes the record at the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(HEAD_BYTES + self.body.len() + CHECKSUM_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&LAYOUT.to_le_bytes());
        out.push(self.kind.code());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(self.body);
        let checksum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Says whether it is short, foreign, of another layout, damaged or of an unknown kind, in that order.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StateError> {
        let short = || StateError::Short { found: bytes.len(), expected: HEAD_BYTES + CHECKSUM_BYTES };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(StateError::Magic);
        }
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(short)?;
        let (head, body) = checked.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
        let [_, _, _, _, layout_low, layout_high, kind, position @ ..] = *head;
        let layout = u16::from_le_bytes([layout_low, layout_high]);
        if layout != LAYOUT {
            return Err(StateError::Layout { found: layout });
        }
        let (found, computed) = (u32::from_le_bytes(*checksum), crc32fast::hash(checked));
        if found != computed {
            return Err(StateError::Checksum { found, computed });
        }
        let kind = StateKind::from_code(kind).ok_or(StateError::Kind(kind))?;
        Ok(Self { kind, position: i64::from_le_bytes(position), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(kind: StateKind, position: i64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Envelope::new(kind, position, body).encode(&mut out);
        out
    }

    #[test]
    fn keys_are_as_documented() {
        let mut key = String::new();
        StateKey::write_series(&mut key, "load", "meters.raw", 7, "plant/1 100%\n°");
        assert_eq!(key, "1/series/load/meters.raw/7/plant%2F1 100%25%0A°");
        key.clear();
        StateKey::write_task(&mut key, "a/b", "t", 0);
        assert_eq!(key, "1/task/a%2Fb/t/0");
    }

    #[test]
    fn foreign_keys_are_refused() {
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

    #[test]
    fn the_layout_is_as_documented() {
        let bytes = encoded(StateKind::Series, 0x0102, b"body");
        assert_eq!(&bytes[..15], b"FTST\x04\x00\x01\x02\x01\0\0\0\0\0\0");
        assert_eq!(&bytes[15..19], b"body");
        assert_eq!(bytes.len(), 23);
        assert_eq!(Envelope::decode(&bytes).unwrap(), Envelope::new(StateKind::Series, 0x0102, b"body"));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let good = encoded(StateKind::Task, -1, b"");
        assert!(matches!(Envelope::decode(b""), Err(StateError::Short { found: 0, expected: 19 })));
        assert!(matches!(Envelope::decode(b"FTST\x01\0"), Err(StateError::Short { found: 6, .. })));
        assert!(matches!(Envelope::decode(b"{\"some\":\"json\"}......."), Err(StateError::Magic)));
        let mut newer = good.clone();
        newer[4] = 9;
        assert_eq!(Envelope::decode(&newer), Err(StateError::Layout { found: 9 }));
        let mut unknown = good[..good.len() - 4].to_vec();
        unknown[6] = 77;
        unknown.extend_from_slice(&crc32fast::hash(&unknown).to_le_bytes());
        assert_eq!(Envelope::decode(&unknown), Err(StateError::Kind(77)));
        assert_eq!(Envelope::decode(&good).unwrap().kind, StateKind::Task);
    }

    proptest! {
        #[test]
        fn keys_are_printable_and_read_back(stream in ".{1,12}", topic in "[a-zA-Z0-9._-]{1,12}", partition in 0..i32::MAX, series in "(?s).{0,40}") {
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
        fn any_single_damage_is_found(body in proptest::collection::vec(any::<u8>(), 0..64), position in any::<i64>(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = encoded(StateKind::Series, position, &body);
            prop_assert_eq!(Envelope::decode(&bytes).unwrap(), Envelope::new(StateKind::Series, position, &body));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Envelope::decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::decode(&bytes);
            let _ = StateKey::parse(&bytes);
            let _ = crate::wire::TaskCheckpoint::from_bytes(&bytes);
        }
    }
}
