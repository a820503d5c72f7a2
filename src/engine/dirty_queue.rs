//! The series that have changed since their last snapshot, the oldest change first.

use std::collections::VecDeque;

use crate::time::PartitionClock;

/// A place in a task's input: how far it was read, and the time there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputPoint {
    /// The next offset to be read.
    pub position: i64,
    /// The event time of the task, in milliseconds; [`i64::MIN`] before the first observation.
    pub event_time: i64,
    /// The clock of the partition.
    pub clock: PartitionClock,
}

/// Changed series by their index. Those of one transaction share the point at which it began.
#[derive(Default)]
pub(super) struct DirtyQueue {
    series: VecDeque<u32>,
    runs: VecDeque<Run>,
}

/// Series that the same transaction changed first.
struct Run {
    count: usize,
    since: InputPoint,
}

impl DirtyQueue {
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Adds a series that a transaction changes which began at `since`.
    pub fn push(&mut self, series: u32, since: InputPoint) {
        self.series.push_back(series);
        match self.runs.back_mut() {
            Some(run) if run.since == since => run.count += 1,
            _ => self.runs.push_back(Run { count: 1, since }),
        }
    }

    /// The point of the oldest change that remains without the first `count` series.
    pub fn since(&self, count: usize) -> Option<InputPoint> {
        let mut before = 0;
        let run = self.runs.iter().find(|run| {
            before += run.count;
            before > count
        });
        run.map(|run| run.since)
    }

    /// The first `count` series.
    pub fn first(&self, count: usize) -> impl Iterator<Item = u32> {
        self.series.iter().take(count).copied()
    }

    /// Removes and visits the first `count` series.
    pub fn remove_first(&mut self, count: usize, visit: impl FnMut(u32)) {
        self.series.drain(..count).for_each(visit);
        let mut rest = count;
        while let Some(run) = self.runs.front_mut().filter(|_| rest > 0) {
            let removed = run.count.min(rest);
            (run.count, rest) = (run.count - removed, rest - removed);
            if run.count == 0 {
                self.runs.pop_front();
            }
        }
    }

    /// Removes and visits the series after the first `length`.
    pub fn truncate(&mut self, length: usize, visit: impl FnMut(u32)) {
        let mut rest = self.series.len().saturating_sub(length);
        self.series.drain(self.series.len() - rest..).for_each(visit);
        while let Some(run) = self.runs.back_mut().filter(|_| rest > 0) {
            let removed = run.count.min(rest);
            (run.count, rest) = (run.count - removed, rest - removed);
            if run.count == 0 {
                self.runs.pop_back();
            }
        }
    }

    /// Replaces every index by another one, or drops it.
    pub fn renumber(&mut self, number: impl Fn(u32) -> Option<u32>) {
        let old = std::mem::take(self);
        let mut series = old.series.into_iter();
        for run in old.runs {
            for series in series.by_ref().take(run.count).filter_map(&number) {
                self.push(series, run.since);
            }
        }
    }

    /// Memory in bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * size_of::<u32>() + self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(position: i64) -> InputPoint {
        InputPoint { position, event_time: position * 10, clock: PartitionClock::default() }
    }

    #[test]
    fn series_leave_in_the_order_of_their_changes_and_keep_where_these_began() {
        let mut queue = DirtyQueue::default();
        for (series, at) in [(5, 1), (6, 1), (7, 4), (8, 9), (9, 9)] {
            queue.push(series, point(at));
        }
        let since: Vec<_> = (0..6).map(|count| queue.since(count)).collect();
        assert_eq!(since, [Some(1), Some(1), Some(4), Some(9), Some(9), None].map(|at| at.map(point)));
        let mut dropped = Vec::new();
        queue.truncate(4, |series| dropped.push(series));
        queue.remove_first(1, |series| dropped.push(series));
        assert_eq!((dropped, queue.len()), (vec![9, 5], 3));
        assert_eq!((queue.since(0), queue.since(1), queue.since(2)), (Some(point(1)), Some(point(4)), Some(point(9))));
        queue.renumber(|series| (series != 7).then_some(series - 6));
        assert_eq!(queue.first(9).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((queue.since(0), queue.since(1), queue.since(2)), (Some(point(1)), Some(point(9)), None));
        queue.truncate(0, |_| {});
        assert_eq!((queue.len(), queue.since(0)), (0, None));
    }
}
