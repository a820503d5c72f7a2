//! A consumer group: who holds which partition, in which generation.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Partition;

/// A member's place in a group.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) transactional_id: String,
    topics: Vec<String>,
    /// Given, and the member does not know it yet.
    coming: BTreeSet<Partition>,
    /// Given, and the member knows it.
    held: BTreeSet<Partition>,
    /// Asked back, and the member does not know it yet. Still its own.
    asked: BTreeSet<Partition>,
    /// Asked back, and the member knows it. Its own until it releases them.
    leaving: BTreeSet<Partition>,
}

/// What a member is to be told next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

impl Seat {
    fn keeps(&self) -> usize {
        self.coming.len() + self.held.len()
    }

    fn reads(&self, partition: &Partition) -> bool {
        self.topics.iter().any(|topic| **topic == *partition.topic)
    }

    fn all(&self) -> impl Iterator<Item = &Partition> {
        self.coming.iter().chain(&self.held).chain(&self.asked).chain(&self.leaving)
    }
}

/// A consumer group with cooperative, sticky assignment: a partition that is to move is asked back from its holder and
/// given on only after the holder has released it.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: u64,
    pub(super) offsets: BTreeMap<Partition, i64>,
    seats: BTreeMap<u64, Seat>,
}

impl Group {
    /// Takes a seat.
    pub(super) fn join(&mut self, seat: u64, transactional_id: &str, topics: &[String], all: &[Partition]) {
        let entry = Seat {
            transactional_id: transactional_id.to_owned(),
            topics: topics.to_vec(),
            coming: BTreeSet::new(),
            held: BTreeSet::new(),
            asked: BTreeSet::new(),
            leaving: BTreeSet::new(),
        };
        self.seats.insert(seat, entry);
        self.generation += 1;
        self.settle(all);
    }

    /// Gives a seat up; its partitions are free.
    pub(super) fn leave(&mut self, seat: u64, all: &[Partition]) {
        if self.seats.remove(&seat).is_some() {
            self.generation += 1;
            self.settle(all);
        }
    }

    pub(super) fn has(&self, seat: u64) -> bool {
        self.seats.contains_key(&seat)
    }

    /// The oldest seat under a transactional id.
    pub(super) fn oldest(&self, transactional_id: &str) -> Option<u64> {
        self.seats.iter().find(|(_, seat)| seat.transactional_id == transactional_id).map(|(number, _)| *number)
    }

    pub(super) fn owners(&self) -> BTreeMap<Partition, String> {
        let owned = |seat: &Seat| seat.all().cloned().map(|p| (p, seat.transactional_id.clone())).collect::<Vec<_>>();
        self.seats.values().flat_map(owned).collect()
    }

    /// What the seat is to be told next; telling it is what makes it so.
    pub(super) fn notice(&mut self, seat: u64) -> Option<Notice> {
        let seat = self.seats.get_mut(&seat)?;
        if !seat.asked.is_empty() {
            let asked = std::mem::take(&mut seat.asked);
            seat.leaving.extend(asked.iter().cloned());
            return Some(Notice::Revoked(asked.into_iter().collect()));
        }
        if !seat.coming.is_empty() {
            let coming = std::mem::take(&mut seat.coming);
            seat.held.extend(coming.iter().cloned());
            return Some(Notice::Assigned(coming.into_iter().collect()));
        }
        None
    }

    /// Takes partitions back that the seat was asked for. The first that it was not asked for comes back as an error.
    pub(super) fn release<'a>(
        &mut self,
        seat: u64,
        partitions: &'a [Partition],
        all: &[Partition],
    ) -> Result<(), &'a Partition> {
        let Some(entry) = self.seats.get_mut(&seat) else { return Ok(()) };
        if let Some(stranger) = partitions.iter().find(|partition| !entry.leaving.contains(partition)) {
            return Err(stranger);
        }
        for partition in partitions {
            entry.leaving.remove(partition);
        }
        self.generation += 1;
        self.settle(all);
        Ok(())
    }

    /// Hands out what is free and asks back what is unfairly held. `all` are the partitions of all topics in order.
    pub(super) fn settle(&mut self, all: &[Partition]) {
        let taken: BTreeSet<Partition> = self.seats.values().flat_map(|seat| seat.all().cloned()).collect();
        let mut given = false;
        for partition in all.iter().filter(|partition| !taken.contains(partition)) {
            let seat = self.least_loaded(partition, &BTreeMap::new());
            if let Some(seat) = seat.and_then(|seat| self.seats.get_mut(&seat)) {
                seat.coming.insert(partition.clone());
                given = true;
            }
        }
        self.generation += u64::from(given);
        // What is on its way counts for the one who will get it.
        let mut promised: BTreeMap<u64, usize> = BTreeMap::new();
        let moving: Vec<Partition> =
            self.seats.values().flat_map(|seat| seat.asked.iter().chain(&seat.leaving).cloned()).collect();
        for partition in &moving {
            if let Some(seat) = self.least_loaded(partition, &promised) {
                *promised.entry(seat).or_default() += 1;
            }
        }
        while self.move_one(&mut promised) {}
    }

    fn load(&self, seat: u64, promised: &BTreeMap<u64, usize>) -> usize {
        self.seats.get(&seat).map_or(0, Seat::keeps) + promised.get(&seat).copied().unwrap_or(0)
    }

    fn least_loaded(&self, partition: &Partition, promised: &BTreeMap<u64, usize>) -> Option<u64> {
        let able = self.seats.iter().filter(|(_, seat)| seat.reads(partition)).map(|(number, _)| *number);
        able.min_by_key(|seat| (self.load(*seat, promised), *seat))
    }

    /// Moves one partition from a seat that has two more than another which could have it. False when all is fair.
    fn move_one(&mut self, promised: &mut BTreeMap<u64, usize>) -> bool {
        let mut richest: Vec<u64> = self.seats.keys().copied().collect();
        richest.sort_by_key(|seat| (std::cmp::Reverse(self.load(*seat, promised)), *seat));
        for rich in richest {
            let Some(seat) = self.seats.get(&rich) else { continue };
            // What the member has not heard of yet moves first: that costs nobody anything.
            let candidates: Vec<Partition> = seat.coming.iter().rev().chain(seat.held.iter().rev()).cloned().collect();
            for partition in candidates {
                let Some(poor) = self.least_loaded(&partition, promised) else { continue };
                if self.load(poor, promised) + 1 >= self.load(rich, promised) {
                    continue;
                }
                self.generation += 1;
                let unheard = self.seats.get_mut(&rich).is_some_and(|seat| {
                    let unheard = seat.coming.remove(&partition);
                    if !unheard {
                        seat.held.remove(&partition);
                        seat.asked.insert(partition.clone());
                    }
                    unheard
                });
                if unheard {
                    if let Some(seat) = self.seats.get_mut(&poor) {
                        seat.coming.insert(partition);
                    }
                } else {
                    *promised.entry(poor).or_default() += 1;
                }
                return true;
            }
        }
        false
    }
}
