//! Series that are read from several partitions of a topic: each partition then has a series of its own, which sees a
//! part of the readings. Producers that do not key their records by series cause it, and topics that get partitions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

use super::plan::StreamPlan;
use crate::broker::Partition;
use crate::telemetry::{LeftOut, LogLimit, metrics};
use crate::wire::KeySource;

/// The most series of a stream and topic that are watched. A producer that does not key its records spreads them all.
pub const WATCHED_SERIES: usize = 4_096;

/// Lines by stream and topic.
static LIMIT: LogLimit = LogLimit::growing();

/// Where some series of each stream and topic are read. Shared by all shards.
#[derive(Debug, Default)]
pub struct SplitSeries {
    watched: Mutex<BTreeMap<(String, String), WatchedSeries>>,
}

/// Where some series of one stream and topic are read: the first [`WATCHED_SERIES`] of them.
#[derive(Debug, Default)]
pub struct WatchedSeries(HashMap<String, Place>);

/// Where a series is read.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: i32,
    /// Whether it was seen in another partition, too.
    is_split: bool,
}

impl WatchedSeries {
    /// How many series are watched.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Notes that a series is read from a partition. Returns the first two of its partitions, in order, when it is
    /// first seen in another one.
    pub fn observe(&mut self, series: &str, partition: i32) -> Option<[i32; 2]> {
        let Some(place) = self.0.get_mut(series) else {
            if self.count() < WATCHED_SERIES {
                self.0.insert(series.to_owned(), Place { partition, is_split: false });
            }
            return None;
        };
        if place.partition == partition || place.is_split {
            return None;
        }
        place.is_split = true;
        Some([place.partition.min(partition), place.partition.max(partition)])
    }
}

impl SplitSeries {
    /// Notes that series of `stream` are read from `partition`; warns of those that are read from another one, too, and
    /// counts them. `now` is in microseconds of the monotonic clock.
    pub fn observe<'a>(
        &self,
        stream: &StreamPlan,
        partition: &Partition,
        series: impl Iterator<Item = &'a str>,
        now: u64,
    ) {
        let (name, topic): (&str, &str) = (&stream.engine.name, &partition.topic);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.entry((name.to_owned(), topic.to_owned())).or_default();
        for series in series {
            let Some([low, high]) = watched.observe(series, partition.number) else { continue };
            metrics::SPLIT_SERIES.counter(&[("stream", name), ("topic", topic)]).increment(1);
            if let Some(LeftOut(left_out)) = LIMIT.admit(&format!("{name}/{topic}"), now) {
                tracing::warn!(
                    stream = name,
                    topic,
                    series,
                    left_out,
                    "series {series:?} is read from partitions {low} and {high}: {}",
                    advice(&stream.decode.key)
                );
            }
        }
    }
}

/// What it means that a series is in several partitions, and what to do.
pub fn advice(key: &KeySource) -> String {
    let keyed = match key {
        KeySource::Fields(fields) if !fields.is_empty() => format!("key the records by {}", fields.join(", ")),
        KeySource::Fields(_) => "write the records to one partition".to_owned(),
        KeySource::Record => "let the producer choose the partition by the key".to_owned(),
    };
    format!(
        "each partition forecasts a series of its own from the readings that it has; {keyed}, or set repartition = \
         true on the stream, which brings them together. After a topic got more partitions, series whose keys have \
         moved begin anew there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::specs, settings};

    #[test]
    fn a_series_in_two_partitions_is_found_once_and_the_watch_is_bounded() {
        let text = "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\nvalues = [\"v\"]\ninterval = \"1m\"\n";
        let plan = specs::plan(&settings::parse("f.toml", text, []).unwrap()).unwrap();
        let (stream, split) = (&plan.streams[0], SplitSeries::default());
        let keys: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
        let splits = || {
            let watched = split.watched.lock().unwrap();
            let WatchedSeries(places) = &watched[&("s".to_owned(), "in".to_owned())];
            (places.len(), places.values().filter(|place| place.is_split).count())
        };
        split.observe(stream, &Partition::new("in", 0), keys.iter().map(String::as_str), 0);
        split.observe(stream, &Partition::new("in", 0), keys.iter().map(String::as_str), 0);
        assert_eq!(splits(), (WATCHED_SERIES, 0));
        split.observe(stream, &Partition::new("in", 2), keys[..7].iter().map(String::as_str), 0);
        split.observe(stream, &Partition::new("in", 1), keys[..7].iter().map(String::as_str), 0);
        assert_eq!(splits(), (WATCHED_SERIES, 7));
        split.observe(stream, &Partition::new("other", 1), keys[..7].iter().map(String::as_str), 0);
        assert_eq!(splits(), (WATCHED_SERIES, 7));
    }
}
