//! Collects the forecasts made from chosen origins.

use std::collections::{HashMap, HashSet};
use std::io;

use super::observer::Observer;
use super::table::Table;
use super::training::TrainingRound;
use crate::engine::{Engine, Transaction};
use crate::forecast::ForecastSpec;
use crate::train::Progress;

/// A series of the table, by index, and the slot of a forecast's origin.
pub(super) type Origin = (usize, i64);

/// An observer that keeps the quantiles of the forecasts made from chosen origins, and passes everything on.
pub(super) struct OriginForecasts<'a> {
    inner: &'a mut dyn Observer,
    spec: &'a ForecastSpec,
    indices: HashMap<&'a str, usize>,
    wanted: HashSet<Origin>,
    found: HashMap<Origin, Vec<f64>>,
}

impl<'a> OriginForecasts<'a> {
    /// Keeps the forecasts from the origins `wanted`.
    pub fn new(spec: &'a ForecastSpec, table: &'a Table, wanted: HashSet<Origin>, inner: &'a mut dyn Observer) -> Self {
        let indices = table.series.iter().zip(0..).map(|(name, index)| (name.as_str(), index)).collect();
        Self { inner, spec, indices, wanted, found: HashMap::new() }
    }

    /// The quantiles by origin, `[output][level]`. Origins from which nothing was forecast are missing.
    pub fn into_found(self) -> HashMap<Origin, Vec<f64>> {
        self.found
    }
}

impl Observer for OriginForecasts<'_> {
    fn on_progress(&mut self, readings: usize, total: usize) {
        self.inner.on_progress(readings, total);
    }

    fn on_transaction_start(&mut self) {
        self.inner.on_transaction_start();
    }

    fn on_transaction(&mut self, engine: &Engine, transaction: &Transaction) -> io::Result<()> {
        let numbers = self.spec.outputs() * self.spec.levels.len();
        for row in &transaction.forecasts {
            let Some(&series) = self.indices.get(engine.key(row.task, row.series)) else { continue };
            let origin = (series, row.slot);
            if !row.absent && self.wanted.contains(&origin) {
                let quantiles = &transaction.quantiles[row.quantile..row.quantile + numbers];
                self.found.insert(origin, quantiles.to_vec());
            }
        }
        self.inner.on_transaction(engine, transaction)
    }

    fn on_training_progress(&mut self, row: usize, progress: &Progress) {
        self.inner.on_training_progress(row, progress);
    }

    fn on_training_end(&mut self, round: &TrainingRound) {
        self.inner.on_training_end(round);
    }
}
