//! The schedule of faults: kinds, order and pauses follow from the seed.

use std::time::Duration;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

/// FaultKind of a fault of the replicas of the daemon, the brokers, or the connections between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// SIGKILL to a replica, and a restart.
    KillReplica,
    /// SIGSTOP to a replica for longer than its session timeout, then SIGCONT: a zombie.
    PauseReplica,
    /// SIGKILL to a broker, and a restart.
    KillBroker,
    /// SIGSTOP to a broker, then SIGCONT.
    PauseBroker,
    /// All client connections to a broker are closed.
    CutConnections,
    /// Client connections to a broker stay open, but transfer nothing for a while.
    PauseConnections,
    /// A further replica joins, and leaves later.
    AddReplica,
    /// A replica leaves, and returns later.
    RemoveReplica,
    /// All replicas are restarted, one after the other.
    RollingRestart,
}

impl FaultKind {
    /// All kinds, each with its number among fifty faults, which take about two minutes.
    const ALL: [(Self, usize); 9] = [
        (Self::KillReplica, 16),
        (Self::PauseReplica, 5),
        (Self::KillBroker, 8),
        (Self::PauseBroker, 4),
        (Self::CutConnections, 7),
        (Self::PauseConnections, 4),
        (Self::AddReplica, 3),
        (Self::RemoveReplica, 2),
        (Self::RollingRestart, 1),
    ];

    /// Name of the kind in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillReplica => "kill_replica",
            Self::PauseReplica => "pause_replica",
            Self::KillBroker => "kill_broker",
            Self::PauseBroker => "pause_broker",
            Self::CutConnections => "cut_connections",
            Self::PauseConnections => "hold_connections",
            Self::AddReplica => "add_replica",
            Self::RemoveReplica => "remove_replica",
            Self::RollingRestart => "rolling_restart",
        }
    }
}

/// A fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Time since the previous fault.
    pub after: Duration,
    pub kind: FaultKind,
    /// Number of the replica or broker, modulo the count of them.
    pub target: usize,
    /// Time until the repair.
    pub lasts: Duration,
}

/// The endless sequence of faults of a seed. Each fifty faults have all kinds, in a shuffled order.
pub struct Schedule {
    random: Pcg64Mcg,
    session: Duration,
    deck: Vec<FaultKind>,
}

impl Schedule {
    /// A schedule for replicas with this session timeout.
    pub fn new(seed: u64, session: Duration) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed), session, deck: Vec::new() }
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.deck.is_empty() {
            self.deck = FaultKind::ALL.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count)).collect();
            self.deck.shuffle(&mut self.random);
        }
        let kind = self.deck.pop()?;
        let after = Duration::from_millis(self.random.random_range(800..4_000));
        let longest = match kind {
            FaultKind::KillReplica => 2_000,
            FaultKind::PauseReplica => 4_000,
            FaultKind::KillBroker => 4_000,
            FaultKind::PauseBroker => 9_000,
            FaultKind::PauseConnections => 7_000,
            FaultKind::AddReplica => 12_000,
            FaultKind::RemoveReplica => 6_000,
            FaultKind::CutConnections | FaultKind::RollingRestart => 1,
        };
        let lasts = Duration::from_millis(self.random.random_range(0..longest));
        let lasts =
            if kind == FaultKind::PauseReplica { self.session + Duration::from_millis(500) + lasts } else { lasts };
        Some(Fault { after, kind, target: self.random.random_range(0..60), lasts })
    }
}

#[test]
fn each_fifty_faults_have_all_kinds() {
    let mut schedule = Schedule::new(1, Duration::from_secs(3));
    for _ in 0..3 {
        let faults: Vec<Fault> = schedule.by_ref().take(50).collect();
        for (kind, count) in FaultKind::ALL {
            assert_eq!(faults.iter().filter(|fault| fault.kind == kind).count(), count, "{kind:?}");
        }
    }
}
