//! What of the state topic cannot be used, such as after a change of settings: one log line for each stream and
//! partition, whatever the number of series.

use std::collections::BTreeMap;

use crate::broker::Partition;

/// What one restore could not use.
#[derive(Debug, Default)]
pub struct UnusableState {
    streams: BTreeMap<String, Counts>,
}

/// What could not be used of one stream.
#[derive(Debug, Default)]
struct Counts {
    /// Records that could not be used at all, and why the first one could not.
    records: usize,
    error: Option<String>,
    /// Series by the part that could not be used.
    parts: BTreeMap<String, usize>,
}

impl UnusableState {
    /// A record of `stream` cannot be used.
    pub fn reject(&mut self, stream: &str, error: &impl std::fmt::Display) {
        let counts = self.counts(stream);
        counts.records += 1;
        counts.error.get_or_insert_with(|| error.to_string());
    }

    /// A snapshot of `stream` has this part, which cannot be used.
    pub fn discard(&mut self, stream: &str, part: &impl std::fmt::Display) {
        *self.counts(stream).parts.entry(part.to_string()).or_default() += 1;
    }

    /// Forgets everything: the restore starts over.
    pub fn clear(&mut self) {
        self.streams.clear();
    }

    /// Logs everything, once.
    pub fn log(&mut self, partition: &Partition) {
        for (stream, counts) in std::mem::take(&mut self.streams) {
            let parts: Vec<String> = counts.parts.iter().map(|(part, series)| format!("{part} ({series})")).collect();
            tracing::warn!(
                stream, topic = %partition.topic, partition = partition.number, unusable_records = counts.records,
                error = counts.error.map(tracing::field::display),
                discarded_parts = (!parts.is_empty()).then(|| tracing::field::display(parts.join(", "))),
                "snapshots cannot be used as they are, perhaps since the settings changed: series without them, or \
                 without parts of them (with their number), are rebuilt from the input as far as it reaches back"
            );
        }
    }

    fn counts(&mut self, stream: &str) -> &mut Counts {
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.to_owned(), Counts::default());
        }
        self.streams.entry(stream.to_owned()).or_default()
    }
}
