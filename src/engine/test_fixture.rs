//! One task whose records are given one by one.

use super::tests::{MINUTE, spec};
use super::*;
use crate::time::{EventTime, Grid};

pub(super) struct Fixture {
    pub engine: Engine,
    pub task: TaskHandle,
    pub offset: i64,
}

impl Fixture {
    /// A stream of slots of a minute, without lateness, with these changes.
    pub fn new(change: impl Fn(&mut StreamSpec)) -> Self {
        let mut spec = spec(Grid::Regular { interval: MINUTE });
        spec.series.allowed_lateness = 0;
        change(&mut spec);
        let mut engine = Engine::new(vec![spec]).unwrap();
        let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
        engine.begin(true);
        Self { engine, task, offset: 0 }
    }

    /// An observation in a record of its own, which is as old as the observation.
    pub fn observe(&mut self, series: &str, minute: i64) -> Acceptance {
        self.observe_at(series, minute, minute)
    }

    /// An observation in a record with another timestamp.
    pub fn observe_at(&mut self, series: &str, minute: i64, timestamp: i64) -> Acceptance {
        let accepted = self.accept(series, minute, timestamp);
        self.next();
        accepted
    }

    pub fn accept(&mut self, series: &str, minute: i64, timestamp: i64) -> Acceptance {
        let (time, timestamp) = (EventTime(minute * MINUTE), Some(timestamp * MINUTE));
        let observation = Observation { timestamp, ..Observation::new(self.offset, series, time, minute as f64) };
        self.engine.accept(self.task, &observation)
    }

    /// Goes on with the next record.
    pub fn next(&mut self) {
        self.offset += 1;
        self.engine.advance(self.task, self.offset);
    }

    /// Commits the open transaction, and opens the next one. Returns what it held.
    pub fn commit<T>(&mut self, read: impl Fn(&Self, &Transaction) -> T) -> T {
        let transaction = self.engine.finish(0.0);
        let found = read(self, &transaction);
        self.engine.commit(&transaction);
        self.engine.begin(true);
        found
    }

    pub fn key(&self, row: &ForecastRow) -> &str {
        self.engine.key(self.task, row.series)
    }
}
