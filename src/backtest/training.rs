//! Training at fixed rows, from what was fed before them.

use std::{ops::ControlFlow, sync::Arc};

use super::{error::BacktestError, table::Table};
use crate::{
    engine::StreamSpec,
    forecast::StreamPrior,
    nn::Weights,
    series::ScaleEstimate,
    train::{self, Progress, SequenceBuilder, TrainError, TrainSpec, TrainingSequence, Verdict},
};

/// When and how the network learns.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// The rows before which it is trained, ascending.
    pub rows: Vec<usize>,
    /// The rows, ascending, before which a small training refreshes it ([`TrainSpec::incremental`]), and its updates.
    pub refreshes: (Vec<usize>, usize),
    /// The most steps of one series' history, the newest ones.
    pub max_history: usize,
    /// How.
    pub spec: TrainSpec,
}

impl TrainingPlan {
    /// Every training: its row, and how.
    pub(super) fn trainings(&self) -> Vec<(usize, TrainSpec)> {
        let (rows, updates) = &self.refreshes;
        let whole = self.rows.iter().map(|row| (*row, self.spec.clone()));
        let small = rows.iter().filter(|row| !self.rows.contains(row));
        let mut all: Vec<_> = whole.chain(small.map(|row| (*row, self.spec.incremental(*updates)))).collect();
        all.sort_by_key(|(row, _)| *row);
        all
    }
}

/// The rows of training where none are named: `first`, and then each time the history has grown by half.
pub fn default_training_rows(first: usize, rows: usize) -> Vec<usize> {
    std::iter::successors(Some(first.max(2)), |row| Some(row + row / 2)).take_while(|row| *row < rows).collect()
}

/// What came of one training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRound {
    /// The row before which it took place.
    pub row: usize,
    /// Updates of the weights.
    pub updates: usize,
    /// Mean pinball loss of the serving weights on the held-out part; NaN where nothing was judged.
    pub champion_loss: f64,
    /// That of the new ones.
    pub challenger_loss: f64,
    /// Why they were refused; `None`: they serve from this row on.
    pub rejection: Option<String>,
    /// The new weights, where they were promoted.
    pub weights: Option<Weights>,
    /// Where a new series begins from here on, if that is known.
    pub prior: Option<Arc<StreamPrior>>,
}

/// Trains from what is fed before `row`, the newest `most_steps` of each series.
pub(super) fn round(
    most_steps: usize,
    spec: &TrainSpec,
    stream: &StreamSpec,
    champion: &Weights,
    table: &Table,
    row: usize,
    tell: &mut dyn FnMut(&Progress),
) -> Result<TrainingRound, BacktestError> {
    let (lanes, sizes) = history(stream, table, table.before_row(row), most_steps);
    let mut observe = |progress: &Progress| {
        tell(progress);
        ControlFlow::Continue(())
    };
    let nothing = |refused: String| TrainingRound {
        row,
        updates: 0,
        champion_loss: f64::NAN,
        challenger_loss: f64::NAN,
        rejection: Some(refused),
        weights: None,
        prior: None,
    };
    match train::train(spec, &stream.network, champion, &lanes, &mut observe) {
        Ok(outcome) => {
            let refused = match outcome.verdict {
                Verdict::Promote => None,
                Verdict::Reject(why) => Some(why.to_string()),
            };
            let (champion_loss, challenger_loss) = (outcome.champion_loss, outcome.challenger_loss);
            let weights = refused.is_none().then_some(outcome.challenger);
            let prior = weights.as_ref().and_then(|_| train::stream_prior(&stream.forecast, &lanes, &sizes));
            Ok(TrainingRound {
                row,
                updates: outcome.updates,
                champion_loss,
                challenger_loss,
                rejection: refused,
                weights,
                prior,
            })
        }
        Err(TrainError::TooLittle(why)) => Ok(nothing(why)),
        Err(error) => Err(error.into()),
    }
}

/// What training reads from the first `fed` readings: the newest `most` steps of each series.
pub fn training_sequences(stream: &StreamSpec, table: &Table, fed: usize, most: usize) -> Vec<TrainingSequence> {
    history(stream, table, fed, most).0
}

/// The same, and how large the values of each series are.
fn history(stream: &StreamSpec, table: &Table, fed: usize, most: usize) -> (Vec<TrainingSequence>, Vec<ScaleEstimate>) {
    let builder = SequenceBuilder::new(stream.series.clone(), &stream.network, most);
    let mut builders = vec![builder; table.series.len()];
    let outlook = table.outlook(stream.series.grid);
    for reading in &table.readings[..fed] {
        // What serving refuses is not learnt from either.
        let beside = table.beside(reading);
        builders[reading.series as usize].observe(reading.time, reading.value, beside, Some(&outlook));
    }
    let begun = || builders.iter().filter(|builder| !builder.is_empty());
    (begun().map(SequenceBuilder::to_sequence).collect(), begun().filter_map(SequenceBuilder::scale_estimate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_comes_again_when_history_has_grown_by_half() {
        assert_eq!(default_training_rows(100, 500), [100, 150, 225, 337]);
        assert_eq!(default_training_rows(0, 4), [2, 3]);
        assert!(default_training_rows(10, 10).is_empty());
    }
}
