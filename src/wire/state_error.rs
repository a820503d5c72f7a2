//! Errors of records of the state topic.

/// Why a record of the state topic cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Foretide does not write such a key.
    #[error("expected a key like 1/series/STREAM/TOPIC/PARTITION/SERIES or 1/task/STREAM/TOPIC/PARTITION, found {0}")]
    Key(String),
    /// The value is shorter than an envelope with an empty body.
    #[error("the record has {found} bytes, fewer than the {expected} of an empty one: it was truncated")]
    Short {
        /// The bytes found.
        found: usize,
        /// The bytes of an envelope with an empty body.
        expected: usize,
    },
    /// The value does not begin with the magic bytes.
    #[error("the record does not begin with \"FTST\": another program than Foretide wrote to the state topic")]
    Magic,
    /// The value has another layout.
    #[error("the record has the unknown layout {found}; this build reads layout {expected}")]
    Layout {
        /// The layout found.
        found: u16,
        /// The layout of this build.
        expected: u16,
    },
    /// The kind is not a [`StateKind`](super::StateKind).
    #[error("the record is of the unknown kind {0}")]
    Kind(u8),
    /// The bytes have changed since they were written.
    #[error("the record's checksum is {found:08x}, its bytes give {computed:08x}: it is damaged")]
    Checksum {
        /// The checksum in the record.
        found: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// The body does not contain what its kind says.
    #[error("the body cannot be read: {0}")]
    Body(String),
}
