//! Which faults come, in which order, with which pauses: all of it follows from the seed.

use std::time::Duration;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

/// What can happen to the daemon's replicas, the brokers, and the connections between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL to a replica; it is started again.
    KillReplica,
    /// SIGSTOP to a replica for longer than its session lasts, then SIGCONT: a zombie.
    PauseReplica,
    /// SIGKILL to a broker; it is started again.
    KillBroker,
    /// SIGSTOP to a broker, then SIGCONT.
    PauseBroker,
    /// Every client connection to a broker is closed.
    CutConnections,
    /// Client connections to a broker stay open, and nothing passes for a while.
    HoldConnections,
    /// A further replica joins, and leaves in good order later.
    AddReplica,
    /// A replica leaves in good order, and comes back later.
    RemoveReplica,
    /// All replicas are restarted, one after the other, in good order.
    RollingRestart,
}

impl Kind {
    /// Every kind, with how many of fifty faults (two minutes of them) are of it.
    const ALL: [(Self, usize); 9] = [
        (Self::KillReplica, 16),
        (Self::PauseReplica, 5),
        (Self::KillBroker, 8),
        (Self::PauseBroker, 4),
        (Self::CutConnections, 7),
        (Self::HoldConnections, 4),
        (Self::AddReplica, 3),
        (Self::RemoveReplica, 2),
        (Self::RollingRestart, 1),
    ];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillReplica => "kill_replica",
            Self::PauseReplica => "pause_replica",
            Self::KillBroker => "kill_broker",
            Self::PauseBroker => "pause_broker",
            Self::CutConnections => "cut_connections",
            Self::HoldConnections => "hold_connections",
            Self::AddReplica => "add_replica",
            Self::RemoveReplica => "remove_replica",
            Self::RollingRestart => "rolling_restart",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// How long after the one before.
    pub after: Duration,
    pub kind: Kind,
    /// Which replica or broker, modulo how many there are.
    pub target: usize,
    /// How long until it is made good.
    pub lasts: Duration,
}

/// The faults of a seed, without end. Kinds are dealt like cards: each comes in every two minutes.
pub struct Schedule {
    random: Pcg64Mcg,
    session: Duration,
    deck: Vec<Kind>,
}

impl Schedule {
    /// `session` is how long the group waits for a silent replica.
    pub fn new(seed: u64, session: Duration) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed), session, deck: Vec::new() }
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.deck.is_empty() {
            self.deck = Kind::ALL.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)).collect();
            self.deck.shuffle(&mut self.random);
        }
        let kind = self.deck.pop()?;
        let after = Duration::from_millis(self.random.random_range(800..4_000));
        let longest = match kind {
            Kind::KillReplica => 2_000,
            Kind::PauseReplica => 4_000,
            Kind::KillBroker => 4_000,
            Kind::PauseBroker => 9_000,
            Kind::HoldConnections => 7_000,
            Kind::AddReplica => 12_000,
            Kind::RemoveReplica => 6_000,
            Kind::CutConnections | Kind::RollingRestart => 1,
        };
        let lasts = Duration::from_millis(self.random.random_range(0..longest));
        let lasts = if kind == Kind::PauseReplica { self.session + Duration::from_millis(500) + lasts } else { lasts };
        Some(Fault { after, kind, target: self.random.random_range(0..60), lasts })
    }
}

#[test]
fn every_kind_comes_in_every_fifty_faults() {
    let mut schedule = Schedule::new(1, Duration::from_secs(3));
    for _ in 0..3 {
        let faults: Vec<Fault> = schedule.by_ref().take(50).collect();
        for (kind, count) in Kind::ALL {
            assert_eq!(faults.iter().filter(|fault| fault.kind == kind).count(), count, "{kind:?}");
        }
    }
}
