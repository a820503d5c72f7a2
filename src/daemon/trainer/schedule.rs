//! When each stream's network is trained.

use std::time::Duration;

use crate::{daemon::plan::TrainingPlan, train::TrainSpec};

/// After drift a training may begin once an eighth of the pause between two trainings is over.
const DRIFT_PAUSE_DIVISOR: u32 = 8;

/// When a stream's network is due, in microseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainingSchedule {
    /// The next full training.
    full_at: u64,
    /// The next incremental training.
    incremental_at: u64,
    /// After drift, a training begins at this time instead.
    earliest_after_drift: u64,
}

impl TrainingSchedule {
    /// The accuracy has drifted: brings the next training forward.
    pub fn bring_forward(&mut self, training: &TrainingPlan) {
        let next = if training.refresh.is_zero() { &mut self.full_at } else { &mut self.incremental_at };
        *next = (*next).min(self.earliest_after_drift);
    }

    /// The training that is due, if any. A full one comes before an incremental one.
    pub fn due(&self, training: &TrainingPlan, now: u64, round: u64) -> Option<TrainSpec> {
        let spec = || TrainSpec { seed: training.spec.seed.wrapping_add(round), ..training.spec.clone() };
        if now >= self.full_at {
            Some(spec())
        } else if now >= self.incremental_at && !training.refresh.is_zero() {
            Some(spec().incremental(training.refresh_updates))
        } else {
            None
        }
    }

    /// A training has ended. The next one of its kind is due after `wait`.
    pub fn completed(&mut self, training: &TrainingPlan, incremental: bool, wait: Duration, now: u64) {
        let after = |wait: Duration| now.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        if incremental {
            self.incremental_at = after(wait);
        } else {
            (self.full_at, self.incremental_at) = (after(wait), after(training.refresh.min(wait)));
        }
        self.earliest_after_drift = after(wait / DRIFT_PAUSE_DIVISOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incremental_trainings_run_between_full_ones_and_early_after_drift() {
        let mut training = TrainingPlan {
            history: 0,
            every: Duration::from_secs(60),
            refresh: Duration::from_secs(8),
            refresh_updates: 5,
            cpu_share: 1.0,
            min_steps: 0,
            max_series: 1,
            max_steps_per_series: 1,
            memory: 1,
            spec: TrainSpec::default(),
        };
        let second = 1_000_000;
        let updates = |schedule: &TrainingSchedule, training: &TrainingPlan, at: u64| {
            schedule.due(training, at * second, 0).map(|spec| spec.max_updates)
        };
        let mut schedule = TrainingSchedule::default();
        assert_eq!(updates(&schedule, &training, 0), Some(1000), "the first one is full");
        schedule.completed(&training, false, training.every, 10 * second);
        assert_eq!([17, 18].map(|at| updates(&schedule, &training, at)), [None, Some(5)]);
        schedule.completed(&training, true, training.refresh, 20 * second);
        schedule.bring_forward(&training);
        let found = [20, 21].map(|at| updates(&schedule, &training, at));
        assert_eq!(found, [None, Some(5)], "an eighth of the pause is kept");
        assert_eq!(updates(&schedule, &training, 70), Some(1000));
        training.refresh = Duration::ZERO;
        assert_eq!(updates(&schedule, &training, 69), None);
        schedule.bring_forward(&training);
        assert_eq!(updates(&schedule, &training, 21), Some(1000), "without incremental ones the full one comes early");
    }
}
