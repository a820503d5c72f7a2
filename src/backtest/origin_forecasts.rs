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
    table: &'a Table,
    indices: HashMap<&'a str, usize>,
    wanted: HashSet<Origin>,
    found: HashMap<Origin, Vec<f64>>,
    /// Position of the first reading that the serving weights were not trained on.
    trained_until: i64,
}

impl<'a> OriginForecasts<'a> {
    /// Keeps the forecasts from the origins `wanted`.
    pub fn new(spec: &'a ForecastSpec, table: &'a Table, wanted: HashSet<Origin>, inner: &'a mut dyn Observer) -> Self {
        let indices = table.series.iter().zip(0..).map(|(name, index)| (name.as_str(), index)).collect();
        Self { inner, spec, table, indices, wanted, found: HashMap::new(), trained_until: 0 }
    }

    /// The quantiles by origin, `[output][level]`. Origins from which nothing was forecast are missing.
    pub fn into_found(self) -> HashMap<Origin, Vec<f64>> {
        self.found
    }

    /// The position of the newest reading up to the start of `slot` of any series.
    fn position_of(&self, slot: i64) -> i64 {
        let known =
            self.table.readings.partition_point(|reading| reading.time.0.div_euclid(self.table.interval) <= slot);
        known.checked_sub(1).map_or(-1, |newest| i64::from(self.table.readings[newest].position))
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
            // An empty slot is forecast from only once a later reading closes it. If weights were promoted in
            // between, they may have been trained on other series' readings after the origin.
            let is_late = row.absent && self.position_of(row.slot) + 1 < self.trained_until;
            if self.wanted.contains(&origin) && !is_late {
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
        if round.weights.is_some() {
            let first = self.table.readings.get(self.table.first_reading_of_row(round.row));
            self.trained_until = first.map_or(i64::MAX, |reading| i64::from(reading.position));
        }
        self.inner.on_training_end(round);
    }
}
