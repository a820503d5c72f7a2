//! The cluster's state: topics, groups, transactional producers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    group::Group,
    log::{Log, StoredRecord},
};
use crate::broker::{BrokerError, Partition, ProducerRecord, TopicSpec};

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) logs: Vec<Log>,
    max_record_bytes: usize,
}

impl Topic {
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.logs.len()).unwrap_or(i32::MAX)
    }
}

/// Where in a transactional id's life a client stands. A client whose epoch is not the newest is fenced.
#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    open: Option<Transaction>,
}

#[derive(Debug)]
struct Transaction {
    number: u64,
    seat: Option<u64>,
    touched: BTreeSet<Partition>,
    /// Offsets that were sent into the transaction by a client which died before it ended it.
    pending: Option<(String, Vec<Partition>)>,
}

/// A transaction whose end is decided and not yet written everywhere.
#[derive(Debug)]
struct Ending {
    transactional_id: String,
    number: u64,
    commit: bool,
    /// Where its marker is still to be written.
    touched: BTreeSet<Partition>,
    /// The group's offsets that it moves, while they are still to be moved.
    offsets: Option<(String, Vec<(Partition, i64)>)>,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) now: i64,
    producers: BTreeMap<String, Producer>,
    delay_markers: bool,
    endings: Vec<Ending>,
    transactions: u64,
    seats: u64,
}

fn unknown(topic: &str) -> BrokerError {
    BrokerError::Rejected(format!("topic {topic} does not exist; create it first"))
}

impl Cluster {
    pub(super) fn topic_mut(&mut self, topic: &str) -> Result<&mut Topic, BrokerError> {
        self.topics.get_mut(topic).ok_or_else(|| unknown(topic))
    }

    pub(super) fn log(&self, topic: &str, partition: i32) -> Result<&Log, BrokerError> {
        let found = self.topics.get(topic).ok_or_else(|| unknown(topic))?;
        let index = usize::try_from(partition).ok();
        index.and_then(|index| found.logs.get(index)).ok_or_else(|| no_partition(topic, partition, found.partitions()))
    }

    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Log, BrokerError> {
        let found = self.topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
        let have = found.partitions();
        let index = usize::try_from(partition).ok();
        index.and_then(|index| found.logs.get_mut(index)).ok_or_else(|| no_partition(topic, partition, have))
    }

    pub(super) fn create(&mut self, plan: &TopicSpec) -> Result<(), BrokerError> {
        let count = usize::try_from(plan.partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
            BrokerError::Rejected(format!("topic {}: {} partitions cannot be; at least 1", plan.name, plan.partitions))
        })?;
        let logs = || (0..count).map(|_| Log::default()).collect();
        let topic = || Topic { logs: logs(), max_record_bytes: plan.max_record_bytes };
        self.topics.entry(plan.name.clone()).or_insert_with(topic);
        self.settle_all();
        Ok(())
    }

    pub(super) fn add_partitions(&mut self, topic: &str, total: i32) -> Result<(), BrokerError> {
        let found = self.topic_mut(topic)?;
        let total = usize::try_from(total).unwrap_or(0).max(found.logs.len());
        found.logs.resize_with(total, Log::default);
        self.settle_all();
        Ok(())
    }

    /// All partitions of all topics, in order.
    fn everything(&self) -> Vec<Partition> {
        let of = |(name, topic): (&String, &Topic)| {
            let name: Arc<str> = name.as_str().into();
            (0..topic.partitions()).map(|number| Partition { topic: Arc::clone(&name), number }).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    fn settle_all(&mut self) {
        let all = self.everything();
        self.groups.values_mut().for_each(|group| group.settle(&all));
    }

    /// Takes a seat and returns its number.
    pub(super) fn join(&mut self, group: &str, transactional_id: &str, topics: &[String]) -> Result<u64, BrokerError> {
        if let Some(missing) = topics.iter().find(|topic| !self.topics.contains_key(*topic)) {
            return Err(unknown(missing));
        }
        self.seats += 1;
        let (seat, all) = (self.seats, self.everything());
        self.groups.entry(group.to_owned()).or_default().join(seat, transactional_id, topics, &all);
        Ok(seat)
    }

    pub(super) fn leave(&mut self, group: &str, seat: u64) {
        let all = self.everything();
        if let Some(group) = self.groups.get_mut(group) {
            group.leave(seat, &all);
        }
    }

    pub(super) fn release(&mut self, group: &str, seat: u64, partitions: &[Partition]) -> Result<(), BrokerError> {
        let all = self.everything();
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        group
            .release(seat, partitions, &all)
            .map_err(|stranger| BrokerError::Rejected(format!("{stranger} was released without having been asked for")))
    }

    pub(super) fn expire(&mut self, transactional_id: &str, and_transaction: bool) -> bool {
        let holder = |(name, group): (&String, &Group)| group.oldest(transactional_id).map(|seat| (seat, name.clone()));
        let found = self.groups.iter().filter_map(holder).min();
        if let Some((seat, group)) = &found {
            self.leave(group, *seat);
        }
        let seat = found.as_ref().map(|(seat, _)| *seat);
        let open = self.producers.get(transactional_id).and_then(|producer| producer.open.as_ref());
        let left_open = and_transaction && open.is_some_and(|open| seat.is_none() || open.seat == seat);
        if left_open {
            self.fence(transactional_id);
        }
        found.is_some() || left_open
    }

    /// Starts a new epoch of a transactional id: whoever wrote under it is fenced, its open transaction aborted.
    pub(super) fn fence(&mut self, transactional_id: &str) -> u64 {
        self.end(transactional_id, false);
        self.write_markers_of(Some(transactional_id));
        let producer = self.producers.entry(transactional_id.to_owned()).or_default();
        producer.epoch += 1;
        producer.epoch
    }

    fn producer(&mut self, transactional_id: &str, epoch: u64) -> Result<&mut Producer, BrokerError> {
        let found = self.producers.get_mut(transactional_id).filter(|producer| producer.epoch == epoch);
        found.ok_or_else(|| BrokerError::Fenced(format!("transactional id {transactional_id} is in newer hands")))
    }

    /// Fails where the client of `epoch` is fenced.
    pub(super) fn check(&mut self, transactional_id: &str, epoch: u64) -> Result<(), BrokerError> {
        self.producer(transactional_id, epoch).map(|_| ())
    }

    pub(super) fn begin(&mut self, transactional_id: &str, epoch: u64, seat: Option<u64>) -> Result<(), BrokerError> {
        self.check(transactional_id, epoch)?;
        self.write_markers_of(Some(transactional_id));
        let number = self.transactions + 1;
        let producer = self.producer(transactional_id, epoch)?;
        producer.open = Some(Transaction { number, seat, touched: BTreeSet::new(), pending: None });
        self.transactions = number;
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        transactional_id: &str,
        epoch: u64,
        record: &ProducerRecord<'_>,
    ) -> Result<(), BrokerError> {
        let partition = self.place(record)?;
        let now = self.now;
        let Some(open) = self.producer(transactional_id, epoch)?.open.as_mut() else {
            return Err(BrokerError::Rejected("no transaction is open".into()));
        };
        let number = open.number;
        open.touched.insert(partition.clone());
        let stored = StoredRecord::new(now, record.key, record.payload, record.headers);
        self.log_mut(&partition.topic, partition.number)?.append(stored, Some(number));
        Ok(())
    }

    /// Where a record goes, if it may.
    pub(super) fn place(&self, record: &ProducerRecord<'_>) -> Result<Partition, BrokerError> {
        let topic = self.topics.get(record.topic).ok_or_else(|| unknown(record.topic))?;
        let bytes = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
        if bytes > topic.max_record_bytes {
            let (name, limit) = (record.topic, topic.max_record_bytes);
            return Err(BrokerError::Rejected(format!("{name}: a record of {bytes} bytes; the topic takes {limit}")));
        }
        let hashed = || record.key.map_or(0, |key| murmur2(key) & i32::MAX) % topic.partitions();
        let number = record.partition.unwrap_or_else(hashed);
        self.log(record.topic, number)?;
        Ok(Partition { topic: record.topic.into(), number })
    }

    /// Leaves offsets hanging in the open transaction: nobody can tell yet whether they will hold.
    pub(super) fn leave_pending(&mut self, transactional_id: &str, group: &str, positions: &[(Partition, i64)]) {
        let open = self.producers.get_mut(transactional_id).and_then(|producer| producer.open.as_mut());
        if let Some(open) = open {
            open.pending = Some((group.to_owned(), positions.iter().map(|(partition, _)| partition.clone()).collect()));
        }
    }

    /// Whether an open transaction, or one whose end is not written yet, may still move the committed offset of
    /// `partition`.
    pub(super) fn pending(&self, group: &str, partition: &Partition) -> bool {
        let open = self.producers.values().filter_map(|producer| producer.open.as_ref()?.pending.as_ref());
        let ending = self.endings.iter().filter_map(|ending| ending.offsets.as_ref());
        open.into_iter().any(|(of, partitions)| of == group && partitions.contains(partition))
            || ending.into_iter().any(|(of, moves)| of == group && moves.iter().any(|(moved, _)| moved == partition))
    }

    /// Commits the open transaction together with the group's offsets.
    pub(super) fn commit(&mut self, transactional_id: &str, group: &str, positions: &[(Partition, i64)]) {
        let offsets = (!positions.is_empty()).then(|| (group.to_owned(), positions.to_vec()));
        self.decide(transactional_id, true, offsets);
    }

    /// Ends the open transaction, if there is one: a marker goes to every partition that it touched.
    pub(super) fn end(&mut self, transactional_id: &str, commit: bool) {
        self.decide(transactional_id, commit, None);
    }

    fn decide(&mut self, transactional_id: &str, commit: bool, offsets: Option<(String, Vec<(Partition, i64)>)>) {
        let open = self.producers.get_mut(transactional_id).and_then(|producer| producer.open.take());
        let Some(Transaction { number, touched, .. }) = open else { return };
        let transactional_id = transactional_id.to_owned();
        self.endings.push(Ending { transactional_id, number, commit, touched, offsets });
        if !self.delay_markers {
            self.write_markers_of(None);
        }
    }

    /// Whether the ends of transactions are from now on written only when asked for.
    pub(super) fn delay_markers(&mut self, delay: bool) {
        self.delay_markers = delay;
        if !delay {
            self.write_markers_of(None);
        }
    }

    /// Writes what is outstanding of one transactional id, or of all.
    fn write_markers_of(&mut self, transactional_id: Option<&str>) {
        let (due, others) = std::mem::take(&mut self.endings)
            .into_iter()
            .partition(|ending| transactional_id.is_none_or(|id| ending.transactional_id == id));
        self.endings = due;
        while self.write_marker(0) {}
        self.endings = others;
    }

    /// Writes one outstanding marker, or moves the offsets of one transaction. False where nothing is outstanding.
    pub(super) fn write_marker(&mut self, choice: usize) -> bool {
        let Some(place) = choice.checked_rem(self.endings.len()) else { return false };
        let ending = &mut self.endings[place];
        let kinds = ending.touched.len() + usize::from(ending.offsets.is_some());
        let chosen = choice.checked_rem(kinds).and_then(|kind| ending.touched.iter().nth(kind).cloned());
        if let Some(partition) = chosen {
            let (number, commit) = (ending.number, ending.commit);
            ending.touched.remove(&partition);
            if let Ok(log) = self.log_mut(&partition.topic, partition.number) {
                log.end(number, commit);
            }
        } else if let Some((group, moves)) = ending.offsets.take() {
            self.groups.entry(group).or_default().offsets.extend(moves);
        }
        self.endings.retain(|ending| !ending.touched.is_empty() || ending.offsets.is_some());
        true
    }
}

fn no_partition(topic: &str, partition: i32, have: i32) -> BrokerError {
    BrokerError::Rejected(format!("{topic}[{partition}] does not exist; the topic has {have} partitions"))
}

/// Kafka's key hash (`org.apache.kafka.common.utils.Utils.murmur2`, after Austin Appleby's MurmurHash2).
#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "the hash is defined on wrapping bits")]
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let chunks = data.chunks_exact(4);
    let tail = chunks.remainder();
    for chunk in chunks {
        let mut k = chunk.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        hash ^= tail.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_go_where_kafkas_own_client_sends_them() {
        // The vectors of Kafka's UtilsTest.testMurmur2.
        let vectors: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(super::murmur2(key), hash);
        }
    }
}
