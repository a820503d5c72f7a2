//! Callbacks of a running backtest.

use std::io;

use super::training::TrainingRound;
use crate::engine::{Engine, Transaction};
use crate::train::Progress;

/// Observes a backtest.
pub trait Observer {
    /// The engine has received `readings` of `total` readings.
    fn on_progress(&mut self, _readings: usize, _total: usize) {}

    /// A transaction of the engine begins.
    fn on_transaction_start(&mut self) {}

    /// A transaction ends; its forecasts are ordered by position and series.
    ///
    /// # Errors
    /// An error of writing the forecasts, which ends the backtest.
    fn on_transaction(&mut self, _engine: &Engine, _transaction: &Transaction) -> io::Result<()> {
        Ok(())
    }

    /// Training before `row` makes progress.
    fn on_training_progress(&mut self, _row: usize, _progress: &Progress) {}

    /// A training round ends.
    fn on_training_end(&mut self, _round: &TrainingRound) {}
}

/// An observer that does nothing.
pub struct NoObserver;

impl Observer for NoObserver {}

/// An [`Observer`] that measures the time of forecasts.
pub trait TimedObserver: Observer {
    /// Mean time of one forecast since the last call, in microseconds; `None` without forecasts.
    fn microseconds_per_forecast(&mut self) -> Option<f64>;
}
