//! Records of the compacted state topic: snapshots of series and checkpoints of tasks, in an [`Envelope`].

use super::state_error::StateError;

/// The first four bytes of every value.
const MAGIC: [u8; 4] = *b"FTST";
/// The layout of envelopes and of task checkpoints. Any change of it increases the number; the parts of a snapshot
/// count their versions themselves.
pub const STATE_LAYOUT: u16 = 5;

/// Magic, layout, kind, position.
const HEAD_BYTES: usize = 4 + 2 + 1 + 8;
/// CRC-32.
const CHECKSUM_BYTES: usize = 4;

/// What the body of an envelope contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// The snapshot of one series: named parts.
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

/// The value of a record of the state topic. On the wire, little-endian: the bytes `FTST`, layout (u16), kind (u8),
/// input position (i64), body, CRC-32 (IEEE 802.3) of all bytes before it (u32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the body contains.
    pub kind: StateKind,
    /// The input position of the body: the offset of the next record to be read.
    pub position: i64,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// An envelope of this build.
    pub fn new(kind: StateKind, position: i64, body: &'a [u8]) -> Self {
        Self { kind, position, body }
    }

    /// Appends the record's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(HEAD_BYTES + self.body.len() + CHECKSUM_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&STATE_LAYOUT.to_le_bytes());
        out.push(self.kind.code());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(self.body);
        let checksum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Where the record is foreign, too short, of another layout, damaged or of an unknown kind, checked in this order.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StateError> {
        let short = || StateError::Short { found: bytes.len(), expected: HEAD_BYTES + CHECKSUM_BYTES };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(StateError::Magic);
        }
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(short)?;
        let (head, body) = checked.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
        let [_, _, _, _, layout_low, layout_high, kind, position @ ..] = *head;
        let layout = u16::from_le_bytes([layout_low, layout_high]);
        if layout != STATE_LAYOUT {
            return Err(StateError::Layout { found: layout, expected: STATE_LAYOUT });
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
    use proptest::prelude::*;

    use super::*;

    fn encoded(kind: StateKind, position: i64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Envelope::new(kind, position, body).encode(&mut out);
        out
    }

    #[test]
    fn an_envelope_has_the_documented_bytes() {
        let bytes = encoded(StateKind::Series, 0x0102, b"body");
        assert_eq!(&bytes[..15], b"FTST\x05\x00\x01\x02\x01\0\0\0\0\0\0");
        assert_eq!(&bytes[15..19], b"body");
        assert_eq!(bytes.len(), 23);
        assert_eq!(Envelope::decode(&bytes).unwrap(), Envelope::new(StateKind::Series, 0x0102, b"body"));
    }

    #[test]
    fn an_unusable_record_is_rejected_with_its_reason() {
        let good = encoded(StateKind::Task, -1, b"");
        assert!(matches!(Envelope::decode(b""), Err(StateError::Short { found: 0, expected: 19 })));
        assert!(matches!(Envelope::decode(b"FTST\x05\0"), Err(StateError::Short { found: 6, .. })));
        assert!(matches!(Envelope::decode(b"{\"some\":\"json\"}......."), Err(StateError::Magic)));
        let mut newer = good.clone();
        newer[4] = 9;
        assert_eq!(Envelope::decode(&newer), Err(StateError::Layout { found: 9, expected: STATE_LAYOUT }));
        let mut unknown = good[..good.len() - 4].to_vec();
        unknown[6] = 77;
        unknown.extend_from_slice(&crc32fast::hash(&unknown).to_le_bytes());
        assert_eq!(Envelope::decode(&unknown), Err(StateError::Kind(77)));
        assert_eq!(Envelope::decode(&good).unwrap().kind, StateKind::Task);
    }

    proptest! {
        #[test]
        fn any_single_damaged_byte_is_found(
            body in proptest::collection::vec(any::<u8>(), 0..64), position in any::<i64>(),
            at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let mut bytes = encoded(StateKind::Series, position, &body);
            prop_assert_eq!(Envelope::decode(&bytes).unwrap(), Envelope::new(StateKind::Series, position, &body));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Envelope::decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::decode(&bytes);
            let _ = crate::wire::TaskCheckpoint::from_bytes(&bytes);
        }
    }
}
