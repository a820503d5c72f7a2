//! Time limits of client calls, and the time for log limits.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The end of a time limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    #[expect(
        clippy::disallowed_methods,
        reason = "it measures how long a client call waits; the broker module does not import env::Clock"
    )]
    pub(super) fn after(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The remaining time; zero after the deadline.
    pub(super) fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    pub(super) fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// Microseconds since the first call in this process.
pub(super) fn monotonic_micros() -> u64 {
    static FIRST: LazyLock<Deadline> = LazyLock::new(|| Deadline::after(Duration::ZERO));
    u64::try_from(FIRST.start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
