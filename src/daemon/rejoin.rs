//! What a worker remembers from one group membership to the next, and how long it waits in between.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::shard::TransactionLimit;

/// Pause after the first failure in a row. Each further failure doubles it.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Fences in a row that show another process with the same instance name. A restart fences its predecessor once.
const CONFLICT_FENCES: u32 = 3;
/// The longest pause after a fence, in seconds. Two processes with the same name take turns at this pace.
const MAX_FENCE_DELAY: u64 = 120;
/// Without a fence for this long, in microseconds, there is no conflict any more. It exceeds two of the longest pauses.
const FORGET_FENCES: u64 = 600_000_000;

/// State of a worker that outlives its group membership.
pub struct RejoinState {
    delays: ExponentialBackoff,
    /// What the cluster denies or does not take, until a commit, or a while without an error.
    pub obstacle: Option<String>,
    /// The most bytes of a transaction, where a shard has served before.
    pub limit: Option<TransactionLimit>,
    /// Fences in a row, and when the last one was, in microseconds of the monotonic clock.
    fences: u32,
    fenced_at: u64,
}

impl Default for RejoinState {
    fn default() -> Self {
        Self { delays: retry_delays(), obstacle: None, limit: None, fences: 0, fenced_at: 0 }
    }
}

impl RejoinState {
    /// The pause before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        next_delay(&mut self.delays)
    }

    /// A commit shows that the cluster is well. It does not show that nobody else has our instance name: two such
    /// processes commit in turns.
    pub fn committed(&mut self) {
        self.delays = retry_delays();
        self.obstacle = None;
    }

    /// Another producer has fenced ours. Returns the pause before the next attempt, which grows even where commits come
    /// between two fences, and whether another process has our instance name.
    pub fn fenced(&mut self, now: u64) -> (Duration, bool) {
        if now.saturating_sub(self.fenced_at) > FORGET_FENCES {
            self.fences = 0;
        }
        self.fences += 1;
        self.fenced_at = now;
        let doubled = MIN_RETRY_DELAY * (1 << (self.fences - 1).min(16));
        (doubled.min(Duration::from_secs(MAX_FENCE_DELAY)), self.fences >= CONFLICT_FENCES)
    }
}

/// Delays that double from [`MIN_RETRY_DELAY`] to [`MAX_RETRY_DELAY`], without end.
pub fn retry_delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(MIN_RETRY_DELAY)
        .with_max_delay(MAX_RETRY_DELAY)
        .without_max_times()
        .build()
}

/// The next of [`retry_delays`].
pub fn next_delay(delays: &mut ExponentialBackoff) -> Duration {
    delays.next().unwrap_or(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_double_up_to_half_a_minute_and_never_end() {
        let delays: Vec<u128> = retry_delays().take(8).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn fences_in_a_row_show_another_process_although_commits_come_between() {
        let mut rejoin = RejoinState::default();
        let mut seen = Vec::new();
        for fence in 0..10 {
            let (delay, conflict) = rejoin.fenced(fence * 1_000_000);
            seen.push((delay.as_millis(), conflict));
            rejoin.committed();
        }
        assert_eq!(seen[..4], [(500, false), (1_000, false), (2_000, true), (4_000, true)]);
        assert_eq!(seen[9], (120_000, true));
        assert_eq!(rejoin.fenced(10 * FORGET_FENCES), (MIN_RETRY_DELAY, false));
        assert_eq!(rejoin.next_delay(), MIN_RETRY_DELAY, "commits reset the delay of other errors");
    }
}
