//! Pauses after errors. A request that nobody answers takes seconds, in which the shard serves nothing else.

/// The first pause, in microseconds. Each further failure doubles it.
const FIRST_MICROS: u64 = 500_000;
/// How often it doubles: up to 8 s.
const DOUBLINGS: u32 = 4;

/// When something is tried again that has failed. Times are in microseconds of the monotonic clock.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// The first failure since the last success.
    since: u64,
    until: u64,
}

impl Backoff {
    /// It has failed.
    pub fn fail(&mut self, now: u64) {
        if self.failures == 0 {
            self.since = now;
        }
        self.until = now + (FIRST_MICROS << self.failures.min(DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
    }

    /// It has succeeded.
    pub fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Whether it may be tried.
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.until
    }

    /// For how long it has failed.
    pub fn failing_for(&self, now: u64) -> u64 {
        if self.failures == 0 { 0 } else { now.saturating_sub(self.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_success() {
        let (mut backoff, mut now, mut pauses) = (Backoff::default(), 1_000_000, Vec::new());
        assert!(backoff.is_over(now) && backoff.failing_for(now) == 0);
        for _ in 0..7 {
            backoff.fail(now);
            let pause = (1..100).find(|steps| backoff.is_over(now + steps * 500_000)).unwrap();
            pauses.push(pause);
            now += pause * 500_000;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(backoff.failing_for(now), now - 1_000_000);
        backoff.succeed();
        assert!(backoff.is_over(now) && backoff.failing_for(now) == 0);
    }
}
