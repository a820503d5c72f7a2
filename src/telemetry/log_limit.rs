//! Limits log lines that may repeat: one line of a kind, then none for a while, and the next one says how many were
//! left out. What is left out is written at level debug, or counted in a metric.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The shortest pause between two lines of a kind, in microseconds: a minute.
const SHORTEST_PAUSE: u64 = 60_000_000;
/// The longest pause of a limit whose pauses grow, in microseconds: ten minutes.
const LONGEST_PAUSE: u64 = 600_000_000;
/// Kinds that one limit remembers. Names of kinds come from code and configuration, so that more are a mistake.
const MAX_KINDS: usize = 10_000;

/// The number of lines of this kind that were left out since the last one; `None` for no line. A log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(pub Option<u64>);

/// A duration in whole seconds (`2s`) or milliseconds (`500ms`). A log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortDuration(pub Duration);

impl std::fmt::Display for ShortDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_millis() {
            millis if millis % 1000 == 0 => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

/// Decides which lines of each kind are written. Usually a `static` beside the code that writes them.
#[derive(Debug)]
pub struct LogLimit {
    longest_pause: u64,
    kinds: Mutex<BTreeMap<String, Kind>>,
}

/// The lines of one kind.
#[derive(Debug)]
struct Kind {
    /// When the last line was written, in microseconds of a monotonic clock.
    written: u64,
    /// The pause that follows it.
    pause: u64,
    /// Lines left out since.
    left_out: u64,
}

impl LogLimit {
    /// One line of each kind a minute.
    pub const fn per_minute() -> Self {
        Self { longest_pause: SHORTEST_PAUSE, kinds: Mutex::new(BTreeMap::new()) }
    }

    /// One line of each kind, the next one after a minute; while a kind repeats its pauses double up to ten minutes.
    pub const fn growing() -> Self {
        Self { longest_pause: LONGEST_PAUSE, kinds: Mutex::new(BTreeMap::new()) }
    }

    /// Whether a line of this kind may be written at `now`, in microseconds of a monotonic clock; `None` if it is left
    /// out.
    pub fn admit(&self, kind: &str, now: u64) -> Option<LeftOut> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = kinds.get_mut(kind) else {
            if kinds.len() >= MAX_KINDS {
                kinds.clear();
            }
            kinds.insert(kind.to_owned(), Kind { written: now, pause: SHORTEST_PAUSE, left_out: 0 });
            return Some(LeftOut(None));
        };
        // A clock that lies before the last line is another one.
        if now >= known.written && now - known.written < known.pause {
            known.left_out += 1;
            return None;
        }
        let left_out = std::mem::take(&mut known.left_out);
        known.pause = if left_out > 0 { (2 * known.pause).min(self.longest_pause) } else { SHORTEST_PAUSE };
        known.written = now;
        Some(LeftOut((left_out > 0).then_some(left_out)))
    }
}

/// The kind of a message: what stands before its first colon, which says what failed and not how.
pub fn kind_of(message: &str) -> &str {
    message.split_once(':').map_or(message, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that an hour of 13 messages a second leaves, and how many messages they stand for.
    fn hour(limit: &LogLimit) -> (usize, u64) {
        let admitted: Vec<LeftOut> =
            (0..13 * 3600).filter_map(|message| limit.admit("away", message * 1_000_000 / 13)).collect();
        let left_out: u64 = admitted.iter().filter_map(|LeftOut(count)| *count).sum();
        (admitted.len(), admitted.len() as u64 + left_out)
    }

    #[test]
    fn an_hour_of_the_same_message_leaves_tens_of_lines_that_count_the_others() {
        let (lines, messages) = hour(&LogLimit::per_minute());
        assert_eq!(lines, 60);
        assert!(messages > 13 * 3500, "{messages}");
        let (lines, messages) = hour(&LogLimit::growing());
        assert!(lines < 12 && messages > 13 * 2900, "{lines} {messages}");
    }

    #[test]
    fn another_kind_is_written_at_once_and_a_kind_that_was_quiet_begins_anew() {
        let limit = LogLimit::growing();
        assert_eq!(limit.admit("a", 5), Some(LeftOut(None)));
        assert_eq!(limit.admit("b", 6), Some(LeftOut(None)));
        assert_eq!(limit.admit("a", 7), None);
        assert_eq!(limit.admit("a", SHORTEST_PAUSE + 5), Some(LeftOut(Some(1))));
        assert_eq!(limit.admit("a", SHORTEST_PAUSE * 2 + 5), None, "the second pause is longer");
        assert_eq!(limit.admit("a", SHORTEST_PAUSE * 4), Some(LeftOut(Some(1))));
        assert_eq!(limit.admit("a", SHORTEST_PAUSE * 40), Some(LeftOut(None)));
        assert_eq!(limit.admit("a", SHORTEST_PAUSE * 41), Some(LeftOut(None)), "and its pause is a minute again");
        assert_eq!(limit.admit("a", 3), Some(LeftOut(None)), "a clock that started later");
    }

    #[test]
    fn the_kind_of_a_message_leaves_out_how_it_failed() {
        assert_eq!(kind_of("asking for topic in: no answer (after 12 ms)"), "asking for topic in");
        assert_eq!(kind_of("plain"), "plain");
    }
}
