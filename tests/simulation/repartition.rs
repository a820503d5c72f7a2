//! What is in a repartition topic, compared with the input.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::scenario::{GROUP, INPUT, SOURCE};
use crate::memory::{MemoryCluster, StoredRecord, partition_of};
use foretide::{
    broker::{Broker, Partition},
    daemon::plan::RepartitionPlan,
    wire::{Decoded, Decoder},
};

/// The dead letters of records: the reason by topic, partition and offset.
pub type DeadLetters = BTreeMap<(String, i32, i64), String>;

/// Where the forecasts of an input partition begin, by the text of the group's position.
fn emit_from(cluster: &MemoryCluster, number: i32) -> i64 {
    let positions = Broker::group_offsets(cluster, GROUP, &[Partition::new(SOURCE, number)]).unwrap();
    let text = positions[0].as_ref().map_or("", |position| &position.metadata);
    text.split_once("emit_from=").map_or(0, |(_, offset)| offset.parse().unwrap())
}

/// The copies of each input record: the partition of the repartition topic, the series, and whether it is a warm-up.
pub fn copies(cluster: &MemoryCluster) -> BTreeMap<(i32, i64), Vec<(String, bool)>> {
    let partitions = cluster.partitions(INPUT).unwrap().unwrap();
    let mut found: BTreeMap<(i32, i64), Vec<_>> = BTreeMap::new();
    for number in 0..partitions {
        let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
        for StoredRecord { key, payload, .. } in cluster.committed_records(INPUT, number) {
            assert_eq!(number, partition_of(key.as_deref(), partitions), "a series is in one partition");
            let copy: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
            let input = &copy["input"];
            assert_eq!(input["topic"], SOURCE);
            let [partition, offset] = ["partition", "offset"].map(|name| input[name].as_i64().unwrap());
            let before = newest.insert(partition, offset);
            assert!(before.is_none_or(|before| before <= offset), "the order of a partition stays");
            let series = copy["series"].as_str().unwrap().to_owned();
            let place = (partition as i32, offset);
            found.entry(place).or_default().push((series, copy["warm_up"] == Value::Bool(true)));
        }
    }
    found
}

/// Checks that each observation of the input was copied once, and that the group stands at the end of the input.
/// Returns how many copies there are, and the dead letters of records that could not be copied.
pub fn check_copies(cluster: &MemoryCluster, plan: &RepartitionPlan) -> (u64, DeadLetters) {
    let (mut copies, mut letters) = (copies(cluster), DeadLetters::new());
    let count = copies.values().map(Vec::len).sum::<usize>() as u64;
    let mut decoder = Decoder::new(plan.decode.clone()).unwrap();
    let offsets = cluster.group_offsets(GROUP);
    for number in 0..cluster.partitions(SOURCE).unwrap().unwrap() {
        let start = emit_from(cluster, number);
        let first = copies.range((number, 0)..(number + 1, 0)).next().map_or(start, |((_, offset), _)| *offset);
        let records = cluster.committed_records(SOURCE, number);
        let end = records.last().map_or(0, |record| record.offset + 1);
        assert_eq!(offsets.get(&Partition::new(SOURCE, number)), Some(&end), "{SOURCE}[{number}] is copied to its end");
        for record in records.iter().filter(|record| record.offset >= first.min(start)) {
            let mut expected = BTreeSet::new();
            let deliver = &mut |decoded: Decoded<'_>| {
                let (Decoded::Observation { series, .. } | Decoded::Deleted { series, .. }) = decoded;
                expected.insert((series.to_owned(), record.offset < start));
            };
            let (key, payload) = (record.key.as_deref(), record.payload.as_deref());
            let decoded = decoder.decode_record(key, Some(record.timestamp), payload, deliver);
            if let Some(rejection) = decoded.err().filter(|_| record.offset >= start) {
                let place = (SOURCE.to_owned(), number, record.offset);
                letters.insert(place, rejection.reason.label().to_owned());
            }
            let found = copies.remove(&(number, record.offset)).unwrap_or_default();
            assert_eq!(found.len(), expected.len(), "{SOURCE}[{number}] {}: {found:?}", record.offset);
            assert_eq!(BTreeSet::from_iter(found), expected, "{SOURCE}[{number}] {}", record.offset);
        }
    }
    assert!(copies.is_empty(), "copies of nothing: {copies:?}");
    (count, letters)
}
