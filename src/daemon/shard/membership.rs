//! A shard's place in the consumer group.

use crate::broker::{Member, Partition};

/// What the group has assigned to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Nothing was assigned yet: the group still rebalances.
    Unassigned,
    /// The group has fewer partitions than members, and none for this one.
    Idle,
    /// Partitions.
    Assigned,
}

/// A member of the consumer group, and what it was assigned.
pub struct GroupMembership {
    /// The member, with its transactional producer.
    pub member: Box<dyn Member>,
    pub state: Membership,
}

impl GroupMembership {
    /// A member that has just joined.
    pub fn new(member: Box<dyn Member>) -> Self {
        Self { member, state: Membership::Unassigned }
    }

    /// Notes an assignment, which adds to earlier ones.
    pub fn assigned(&mut self, partitions: &[Partition]) {
        if !partitions.is_empty() {
            self.state = Membership::Assigned;
        } else if self.state == Membership::Unassigned {
            self.state = Membership::Idle;
        }
    }
}
