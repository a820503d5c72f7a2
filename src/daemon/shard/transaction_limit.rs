//! How large a transaction may be. Brokers that take less than it holds within the transaction timeout make it smaller.

/// The least bytes of a transaction. Beyond them it holds at least one chunk of records.
const MIN_BYTES: usize = 1 << 10;
/// A commit that takes less than this share of the time in which a transaction has timed out leaves room for more.
const QUICK_SHARE: u64 = 4;
/// Growth per commit, as a divisor: a quarter more.
const GROWTH: usize = 4;

/// The most bytes of a transaction. It outlives the shard, which is replaced when the outcome of a commit is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionLimit {
    /// The configured bytes.
    most: usize,
    bytes: usize,
    /// How long the last transaction that timed out took, in microseconds.
    timed_out_after: u64,
}

impl TransactionLimit {
    /// The configured limit, in bytes.
    pub fn new(most: usize) -> Self {
        Self { most, bytes: most, timed_out_after: 0 }
    }

    /// The most bytes of the next transaction, at least 1.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether timeouts have made it smaller than configured.
    pub fn is_reduced(&self) -> bool {
        self.bytes < self.most
    }

    /// Its share of the configured limit (0 to 1).
    pub fn share(&self) -> f64 {
        self.bytes as f64 / self.most.max(1) as f64
    }

    /// A transaction of `size` bytes timed out after so many microseconds: the next one is half as large.
    pub fn timed_out(&mut self, size: usize, micros: u64) {
        let least = MIN_BYTES.min(self.most);
        self.bytes = (self.bytes.min(size) / 2).clamp(least, self.most.max(1));
        self.timed_out_after = micros;
    }

    /// A transaction of `size` bytes was committed within so many microseconds. The limit grows where the transaction
    /// has nearly filled it and was quick: a small one does not show that a larger one would go through.
    pub fn committed(&mut self, size: usize, micros: u64) {
        let quick = micros.saturating_mul(QUICK_SHARE) <= self.timed_out_after;
        if self.is_reduced() && quick && size >= self.bytes / 2 {
            self.bytes = (self.bytes + self.bytes.div_ceil(GROWTH)).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn timeouts_reduce_it_down_to_one_chunk() {
        let mut limit = TransactionLimit::new(1 << 20);
        limit.timed_out(3 << 20, 30 * SECOND);
        assert_eq!(limit.bytes(), 1 << 19);
        limit.timed_out(1 << 16, 30 * SECOND);
        assert_eq!(limit.bytes(), 1 << 15, "a smaller transaction that timed out counts by its size");
        for _ in 0..20 {
            limit.timed_out(1 << 20, 30 * SECOND);
        }
        assert_eq!(limit.bytes(), MIN_BYTES);
        let mut tiny = TransactionLimit::new(1);
        tiny.timed_out(0, 1);
        assert_eq!(tiny.bytes(), 1);
    }

    #[test]
    fn it_grows_back_only_by_full_and_quick_transactions() {
        let mut limit = TransactionLimit::new(1 << 20);
        limit.timed_out(1 << 20, 30 * SECOND);
        let reduced = limit;
        limit.committed(100, SECOND);
        limit.committed(1 << 19, 8 * SECOND);
        assert_eq!(limit, reduced);
        limit.committed(1 << 19, 7 * SECOND);
        assert_eq!(limit.bytes(), (1 << 19) + (1 << 17));
        for _ in 0..10 {
            limit.committed(1 << 20, SECOND);
        }
        assert!(!limit.is_reduced() && limit.share() == 1.0);
    }
}
