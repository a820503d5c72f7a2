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
    watched: Mutex<BTreeMap<(String, String), HashMap<String, Place>>>,
}

/// Where a series is read.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: i32,
    /// Whether it was seen in another partition, too.
    is_split: bool,
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
        let places = watched.entry((name.to_owned(), topic.to_owned())).or_default();
        for series in series {
            let full = places.len() >= WATCHED_SERIES;
            let Some(place) = places.get_mut(series) else {
                if !full {
                    places.insert(series.to_owned(), Place { partition: partition.number, is_split: false });
                }
                continue;
            };
            if place.partition == partition.number || place.is_split {
                continue;
            }
            place.is_split = true;
            metrics::SPLIT_SERIES.counter(&[("stream", name), ("topic", topic)]).increment(1);
            if let Some(LeftOut(left_out)) = LIMIT.admit(&format!("{name}/{topic}"), now) {
                let [low, high] = [place.partition.min(partition.number), place.partition.max(partition.number)];
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
        "each partition forecasts a series of its own from the readings that it has; {keyed}. After a topic got more \
         partitions, series whose keys have moved begin anew there"
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
            let places = &watched[&("s".to_owned(), "in".to_owned())];
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
