//! Training at fixed rows, from the readings before them.

use std::{ops::ControlFlow, sync::Arc};

use super::{error::BacktestError, table::Table};
use crate::engine::StreamSpec;
use crate::forecast::StreamPrior;
use crate::nn::Weights;
use crate::series::{Reading, ScaleEstimate, SeriesSpec};
use crate::train::{self, Progress, SequenceBuilder, TrainError, TrainSpec, TrainingSequence, Verdict};

/// When and how the network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// A full training takes place before each of these rows, ascending.
    pub rows: Vec<usize>,
    /// Short trainings between the full ones.
    pub refresh: RefreshPlan,
    /// Maximum number of steps of each series' history; the newest ones are used.
    pub max_history: usize,
    /// Hyperparameters of a full training.
    pub spec: TrainSpec,
}

/// When and how long the network is refreshed ([`TrainSpec::incremental`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RefreshPlan {
    /// A refresh takes place before each of these rows, ascending.
    pub rows: Vec<usize>,
    /// Weight updates in each refresh.
    pub updates: usize,
}

/// One training or refresh of a plan.
pub(super) struct PlannedTraining {
    /// It takes place before this row.
    pub row: usize,
    pub max_history: usize,
    pub spec: TrainSpec,
}

impl TrainingPlan {
    /// All trainings and refreshes in order. A row with both has only the training.
    pub(super) fn trainings(&self) -> Vec<PlannedTraining> {
        let planned = |row, spec| PlannedTraining { row, max_history: self.max_history, spec };
        let full = self.rows.iter().map(|row| planned(*row, self.spec.clone()));
        let refreshes = self.refresh.rows.iter().filter(|row| !self.rows.contains(row));
        let refreshes = refreshes.map(|row| planned(*row, self.spec.incremental(self.refresh.updates)));
        let mut all: Vec<_> = full.chain(refreshes).collect();
        all.sort_by_key(|training| training.row);
        all
    }
}

/// The default training rows: `first`, and then whenever the history has grown by half.
pub fn default_training_rows(first: usize, rows: usize) -> Vec<usize> {
    std::iter::successors(Some(first.max(2)), |row| Some(row + row / 2)).take_while(|row| *row < rows).collect()
}

/// The result of one training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRound {
    /// It took place before this row.
    pub row: usize,
    /// Number of weight updates.
    pub updates: usize,
    /// Mean pinball loss of the serving weights on the validation part; NaN without a validation.
    pub champion_loss: f64,
    /// Mean pinball loss of the new weights.
    pub challenger_loss: f64,
    /// Why the new weights were rejected; `None` if they serve from this row on.
    pub rejection: Option<String>,
    /// The new weights, if they were promoted.
    pub weights: Option<Weights>,
    /// The prior of new series from this row on.
    pub prior: Option<Arc<StreamPrior>>,
}

/// Trains on the readings before a row.
pub(super) fn train(
    planned: &PlannedTraining,
    stream: &StreamSpec,
    champion: &Weights,
    table: &Table,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<TrainingRound, BacktestError> {
    let &PlannedTraining { row, max_history, ref spec } = planned;
    let History { sequences, scales } = History::of(stream, table, table.first_reading_of_row(row), max_history);
    let mut observe = |progress: &Progress| {
        on_progress(progress);
        ControlFlow::Continue(())
    };
    let outcome = match train::train(spec, &stream.network, champion, &sequences, &mut observe) {
        Ok(outcome) => outcome,
        Err(TrainError::TooLittle(reason)) => {
            return Ok(TrainingRound {
                row,
                updates: 0,
                champion_loss: f64::NAN,
                challenger_loss: f64::NAN,
                rejection: Some(reason),
                weights: None,
                prior: None,
            });
        }
        Err(error) => return Err(error.into()),
    };
    let rejection = match outcome.verdict {
        Verdict::Promote => None,
        Verdict::Reject(reason) => Some(reason.to_string()),
    };
    let weights = rejection.is_none().then_some(outcome.challenger);
    let prior = weights.as_ref().and_then(|_| train::stream_prior(&stream.forecast, &sequences, &scales));
    let (champion_loss, challenger_loss) = (outcome.champion_loss, outcome.challenger_loss);
    Ok(TrainingRound { row, updates: outcome.updates, champion_loss, challenger_loss, rejection, weights, prior })
}

/// The training data of the first `readings` readings: the newest `max_history` steps of each series.
pub fn training_sequences(
    stream: &StreamSpec,
    table: &Table,
    readings: usize,
    max_history: usize,
) -> Vec<TrainingSequence> {
    History::of(stream, table, readings, max_history).sequences
}

/// Training data with the scale of each series.
struct History {
    sequences: Vec<TrainingSequence>,
    scales: Vec<ScaleEstimate>,
}

impl History {
    fn of(stream: &StreamSpec, table: &Table, readings: usize, max_history: usize) -> Self {
        let builder =
            SequenceBuilder::new(SeriesSpec { correction: 0, ..stream.series.clone() }, &stream.network, max_history);
        let mut builders = vec![builder; table.series.len()];
        let future = table.future_covariate_table(&stream.series.grid);
        for reading in &table.readings[..readings] {
            let builder = &mut builders[reading.series as usize];
            let past_covariates = table.past_covariates_of(reading);
            let reading = Reading { past_covariates, ..Reading::new(reading.time, reading.value) };
            builder.observe(&reading, Some(&future));
        }
        let with_data = || builders.iter().filter(|builder| !builder.is_empty());
        Self {
            sequences: with_data().map(SequenceBuilder::to_sequence).collect(),
            scales: with_data().filter_map(SequenceBuilder::scale_estimate).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_repeats_whenever_the_history_has_grown_by_half() {
        assert_eq!(default_training_rows(100, 500), [100, 150, 225, 337]);
        assert_eq!(default_training_rows(0, 4), [2, 3]);
        assert!(default_training_rows(10, 10).is_empty());
    }
}
