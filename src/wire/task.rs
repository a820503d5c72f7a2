//! The book of a task, and how older layouts of it are read.

use serde::{Deserialize, Serialize};

use super::state::StateError;

/// The book of a task: what a new owner needs besides the series' snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCheckpoint {
    /// The offset from which the input must be replayed so that every series' snapshot is brought up to date.
    pub replay_from: i64,
    /// The weights taken up, oldest first: (input position of the first record they served, weights version).
    pub activations: Vec<(i64, u64)>,
    /// The fingerprint of the settings that the state was made with.
    pub fingerprint: u64,
    /// A record of the input, which tells its topic from another of the same name.
    pub topic_fingerprint: Option<Mark>,
    /// What was seen of a second topic, oldest first: (input position from which on, oldest record held, next record, digest of
    /// what was held).
    pub watermarks: Vec<(i64, i64, i64, u64)>,
}

/// A record that was read: where it lay, and its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

/// Layout 1: without the mark and the watermarks.
#[derive(Deserialize)]
struct First {
    replay_from: i64,
    activations: Vec<(i64, u64)>,
    fingerprint: u64,
}

impl From<First> for TaskCheckpoint {
    fn from(First { replay_from, activations, fingerprint }: First) -> Self {
        Self { replay_from, activations, fingerprint, topic_fingerprint: None, watermarks: Vec::new() }
    }
}

impl TaskCheckpoint {
    /// The body of its envelope (postcard).
    ///
    /// # Errors
    /// [`StateError::Body`] where it cannot be written (never, for a value in memory).
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        postcard::to_stdvec(self).map_err(|error| StateError::Body(error.to_string()))
    }

    /// Reads the body of an envelope of some layout.
    ///
    /// # Errors
    /// [`StateError::Body`] where the bytes are no task record, or more than one.
    pub fn from_bytes(layout: u16, bytes: &[u8]) -> Result<Self, StateError> {
        if layout < 2 { read::<First>(bytes).map(Self::from) } else { read(bytes) }
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StateError> {
    let (record, rest) =
        postcard::take_from_bytes(bytes).map_err(|error| StateError::Body(format!("task record: {error}")))?;
    if !rest.is_empty() {
        return Err(StateError::Body(format!("task record: {} bytes too many", rest.len())));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::state::LAYOUT;

    #[test]
    fn a_task_record_is_read_back_and_nothing_else_is() {
        let mark = Some(Mark { offset: 899, timestamp: -5 });
        let watermarks = vec![(5, 0, 7, 1), (9, 3, 12, u64::MAX)];
        let activations = vec![(0, 0), (900, 1)];
        let record =
            TaskCheckpoint { replay_from: 5, activations, fingerprint: u64::MAX, topic_fingerprint: mark, watermarks };
        let mut bytes = record.to_bytes().unwrap();
        assert_eq!(TaskCheckpoint::from_bytes(LAYOUT, &bytes).unwrap(), record);
        bytes.push(0);
        assert!(matches!(TaskCheckpoint::from_bytes(LAYOUT, &bytes), Err(StateError::Body(_))));
        assert!(matches!(TaskCheckpoint::from_bytes(LAYOUT, &[]), Err(StateError::Body(_))));
    }
}
