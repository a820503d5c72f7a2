//! A shard's place in the consumer group.

use crate::broker::{Member, Partition};

/// What the group has assigned to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Nothing was assigned yet, or everything was lost: the group still rebalances, or does not answer.
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

    /// Notes a revocation, after which there may be `none` left. The group then assigns anew, be it nothing: a member
    /// that has lost its session in silence must not count as one that is not needed.
    pub fn revoked(&mut self, none: bool) {
        if none {
            self.state = Membership::Unassigned;
        }
    }
}
