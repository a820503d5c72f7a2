//! A consumer group: which member owns which partition, in which generation.

use std::collections::{BTreeMap, BTreeSet};

use foretide::broker::{CommittedOffset, Partition};

/// Number of a membership. It grows with every join, so the smallest is the oldest.
pub(super) type MemberId = u64;

/// A membership. Every partition that a member owns is in exactly one of the four sets.
#[derive(Debug)]
struct Membership {
    transactional_id: String,
    topics: Vec<String>,
    /// Assigned, before the member knows it.
    pending_assignment: BTreeSet<Partition>,
    /// Assigned, and the member knows it.
    assigned: BTreeSet<Partition>,
    /// Revoked, before the member knows it.
    pending_revocation: BTreeSet<Partition>,
    /// Revoked, and the member knows it. The member owns them until it releases them.
    revoked: BTreeSet<Partition>,
}

/// The next event of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

impl Membership {
    /// Number of partitions that the member keeps.
    fn load(&self) -> usize {
        self.pending_assignment.len() + self.assigned.len()
    }

    fn consumes(&self, partition: &Partition) -> bool {
        self.topics.iter().any(|topic| **topic == *partition.topic)
    }

    fn owned(&self) -> impl Iterator<Item = &Partition> {
        self.pending_assignment.iter().chain(&self.assigned).chain(&self.pending_revocation).chain(&self.revoked)
    }
}

/// A consumer group with cooperative sticky assignment: the group revokes a partition that has to move, and assigns it
/// again after its owner has released it.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: u64,
    pub(super) offsets: BTreeMap<Partition, CommittedOffset>,
    members: BTreeMap<MemberId, Membership>,
}

impl Group {
    /// Adds a member. `all` are the partitions of all topics in order, here and below.
    pub(super) fn join(&mut self, member: MemberId, transactional_id: &str, topics: &[String], all: &[Partition]) {
        let membership = Membership {
            transactional_id: transactional_id.to_owned(),
            topics: topics.to_vec(),
            pending_assignment: BTreeSet::new(),
            assigned: BTreeSet::new(),
            pending_revocation: BTreeSet::new(),
            revoked: BTreeSet::new(),
        };
        self.members.insert(member, membership);
        self.generation += 1;
        self.rebalance(all);
    }

    /// Removes a member. Its partitions become unassigned.
    pub(super) fn leave(&mut self, member: MemberId, all: &[Partition]) {
        if self.members.remove(&member).is_some() {
            self.generation += 1;
            self.rebalance(all);
        }
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// The committed position of a partition.
    pub(super) fn committed(&self, partition: &Partition) -> Option<CommittedOffset> {
        self.offsets.get(partition).cloned()
    }

    pub(super) fn has_member(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    /// The oldest member with a transactional id.
    pub(super) fn oldest_member(&self, transactional_id: &str) -> Option<MemberId> {
        self.members.iter().find(|(_, member)| member.transactional_id == transactional_id).map(|(member, _)| *member)
    }

    /// The transactional id of each partition's owner.
    pub(super) fn owners(&self) -> BTreeMap<Partition, String> {
        let owned = |member: &Membership| {
            member.owned().cloned().map(|partition| (partition, member.transactional_id.clone())).collect::<Vec<_>>()
        };
        self.members.values().flat_map(owned).collect()
    }

    /// The next event of a member. It takes effect with this call.
    pub(super) fn next_notice(&mut self, member: MemberId) -> Option<Notice> {
        let member = self.members.get_mut(&member)?;
        if !member.pending_revocation.is_empty() {
            let revoked = std::mem::take(&mut member.pending_revocation);
            member.revoked.extend(revoked.iter().cloned());
            return Some(Notice::Revoked(revoked.into_iter().collect()));
        }
        if !member.pending_assignment.is_empty() {
            let assigned = std::mem::take(&mut member.pending_assignment);
            member.assigned.extend(assigned.iter().cloned());
            return Some(Notice::Assigned(assigned.into_iter().collect()));
        }
        None
    }

    /// Releases revoked partitions of a member. The first partition that is not revoked is the error.
    pub(super) fn release<'a>(
        &mut self,
        member: MemberId,
        partitions: &'a [Partition],
        all: &[Partition],
    ) -> Result<(), &'a Partition> {
        let Some(membership) = self.members.get_mut(&member) else { return Ok(()) };
        if let Some(other) = partitions.iter().find(|partition| !membership.revoked.contains(partition)) {
            return Err(other);
        }
        for partition in partitions {
            membership.revoked.remove(partition);
        }
        self.generation += 1;
        self.rebalance(all);
        Ok(())
    }

    /// Assigns unowned partitions, and revokes partitions of overloaded members.
    pub(super) fn rebalance(&mut self, all: &[Partition]) {
        let owned: BTreeSet<Partition> = self.members.values().flat_map(|member| member.owned().cloned()).collect();
        let mut changed = false;
        for partition in all.iter().filter(|partition| !owned.contains(partition)) {
            let member = self.least_loaded(partition, &BTreeMap::new());
            if let Some(member) = member.and_then(|member| self.members.get_mut(&member)) {
                member.pending_assignment.insert(partition.clone());
                changed = true;
            }
        }
        self.generation += u64::from(changed);
        // A revoked partition counts for the member that will get it.
        let mut promised: BTreeMap<MemberId, usize> = BTreeMap::new();
        let moving: Vec<Partition> = self
            .members
            .values()
            .flat_map(|member| member.pending_revocation.iter().chain(&member.revoked).cloned())
            .collect();
        for partition in &moving {
            if let Some(member) = self.least_loaded(partition, &promised) {
                *promised.entry(member).or_default() += 1;
            }
        }
        while self.move_one(&mut promised) {}
    }

    fn load(&self, member: MemberId, promised: &BTreeMap<MemberId, usize>) -> usize {
        self.members.get(&member).map_or(0, Membership::load) + promised.get(&member).copied().unwrap_or(0)
    }

    fn least_loaded(&self, partition: &Partition, promised: &BTreeMap<MemberId, usize>) -> Option<MemberId> {
        let able = self.members.iter().filter(|(_, member)| member.consumes(partition)).map(|(member, _)| *member);
        able.min_by_key(|member| (self.load(*member, promised), *member))
    }

    /// Moves one partition from a member that has at least two more than another consumer of it. Returns whether it
    /// found one.
    fn move_one(&mut self, promised: &mut BTreeMap<MemberId, usize>) -> bool {
        let mut donors: Vec<MemberId> = self.members.keys().copied().collect();
        donors.sort_by_key(|member| (std::cmp::Reverse(self.load(*member, promised)), *member));
        for donor in donors {
            let Some(member) = self.members.get(&donor) else { continue };
            // Pending assignments move first: their member does not know them yet, so nothing has to be revoked.
            let candidates: Vec<Partition> =
                member.pending_assignment.iter().rev().chain(member.assigned.iter().rev()).cloned().collect();
            for partition in candidates {
                let Some(receiver) = self.least_loaded(&partition, promised) else { continue };
                if self.load(receiver, promised) + 1 >= self.load(donor, promised) {
                    continue;
                }
                self.generation += 1;
                let was_pending = self.members.get_mut(&donor).is_some_and(|member| {
                    let was_pending = member.pending_assignment.remove(&partition);
                    if !was_pending {
                        member.assigned.remove(&partition);
                        member.pending_revocation.insert(partition.clone());
                    }
                    was_pending
                });
                if was_pending {
                    if let Some(member) = self.members.get_mut(&receiver) {
                        member.pending_assignment.insert(partition);
                    }
                } else {
                    *promised.entry(receiver).or_default() += 1;
                }
                return true;
            }
        }
        false
    }
}
