//! Many aged series without waiting until they have aged: the states of some are written again under other keys.

use std::{collections::BTreeMap, time::Duration};

use foretide::{
    broker::{Broker, From, Partition},
    wire::StateKey,
};

use crate::harness::{
    client::{Input, produce},
    kafka::kafka,
};

/// Writes the newest state of each series under `copies - 1` further keys.
pub fn write(app: &str, partitions: i32, copies: i64) {
    let topic = format!("{app}.state");
    for number in 0..partitions {
        let states = newest(&Partition { topic: topic.as_str().into(), number });
        produce(kafka(), &topic, states.iter().flat_map(|(key, state)| of(key, state, copies, number)));
    }
}

/// The copies of one state; none of a task's book.
fn of(key: &[u8], state: &[u8], copies: i64, number: i32) -> Vec<Input> {
    let Ok(StateKey::Series { stream, topic, partition, series }) = StateKey::parse(key) else { return Vec::new() };
    let key = |copy| {
        let series = format!("{series}#{copy}");
        StateKey::Series { stream: stream.clone(), topic: topic.clone(), partition, series }.to_string()
    };
    (1..copies).map(|copy| Input::new(key(copy), state).at(number)).collect()
}

/// The newest value of each key.
fn newest(partition: &Partition) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let broker = kafka().broker();
    let (_, end) = broker.offsets(partition).expect("the state topic is there");
    let mut reader = broker.reader(partition, From::Beginning).expect("it can be read");
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
        } else if reader.reached(end).expect("it can be read") {
            return newest;
        }
    }
}
