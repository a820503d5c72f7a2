//! Multiplies aged series: writes copies of their states under other keys.

use std::{collections::BTreeMap, time::Duration};

use foretide::{
    broker::{Broker, Partition, StartPosition},
    wire::StateKey,
};

use crate::harness::{
    client::{Input, produce},
    kafka::kafka,
};

/// Writes the newest state of each series under `copies - 1` more keys.
pub fn write(app: &str, partitions: i32, copies: i64) {
    let topic = format!("{app}.state");
    for number in 0..partitions {
        let states = newest(&Partition { topic: topic.as_str().into(), number });
        // Copies of one state are far from each other, because a compressor would find adjacent ones.
        let copy = |copy| states.iter().filter_map(move |(key, state)| copy_of(key, state, copy, number));
        produce(kafka(), &topic, (1..copies).flat_map(copy));
    }
}

/// One copy of a series' state; `None` for a task checkpoint.
fn copy_of(key: &[u8], state: &[u8], copy: i64, number: i32) -> Option<Input> {
    let Ok(StateKey::Series { stream, topic, partition, series }) = StateKey::parse(key) else { return None };
    let key = StateKey::Series { stream, topic, partition, series: format!("{series}#{copy}") };
    Some(Input::new(key.to_string(), state).at(number))
}

/// The newest value of each key.
fn newest(partition: &Partition) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let broker = kafka().broker();
    let end = broker.offsets(partition).expect("the state topic is there").end;
    let mut reader = broker.reader(partition, StartPosition::Earliest).expect("it can be read");
    let mut newest = BTreeMap::new();
    loop {
        if let Some(batch) = reader.read(Duration::from_millis(100), 10_000).expect("it can be read") {
            for record in batch.iter() {
                let Some(key) = record.key else { continue };
                match record.payload {
                    Some(state) => newest.insert(key.to_vec(), state.to_vec()),
                    None => newest.remove(key),
                };
            }
        } else if reader.has_reached(end).expect("it can be read") {
            return newest;
        }
    }
}
