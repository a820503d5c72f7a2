//! From arguments to the specification of a backtest.

use std::{ops::Range, path::Path, sync::Arc};

use super::arguments::{Arguments, STREAM};
use crate::{
    backtest::{BacktestSpec, RefreshPlan, Table, TrainingPlan, default_training_rows},
    cli::{
        failure::{BAD_DATA, Failure, USAGE},
        files,
    },
    daemon::specs,
    engine::StreamSpec,
    nn::{Weights, WeightsError},
    settings::Training,
    train::TrainSpec,
};

/// Observations per transaction of the engine, about: enough to spread its fixed cost, few enough to stay in the cache.
const OBSERVATIONS_PER_TRANSACTION: usize = 2048;

/// The backtest of `table`. Training begins at row `first` unless the arguments name rows.
pub(super) fn backtest_spec(
    arguments: &Arguments,
    table: &Table,
    first: usize,
    score_rows: Range<usize>,
) -> Result<BacktestSpec, Failure> {
    let horizon = arguments.forecast.horizon as usize;
    let drawn = arguments.plot_series.clone().or_else(|| table.series.first().cloned());
    let mut stream = arguments.forecast.stream_spec(STREAM, arguments.seed, &arguments.reading, table)?;
    let mut report_horizons = match &arguments.report[..] {
        [] if stream.forecast.target.is_some() => vec![horizon],
        [] => vec![1, horizon],
        named => named.to_vec(),
    };
    report_horizons.sort_unstable();
    report_horizons.dedup();
    stream.bounds = arguments.bounds.field_bounds()?;
    stream.forecast.network_alone = arguments.network_alone;
    let weights = arguments.weights.as_deref().map(|path| read_weights(path, &mut stream)).transpose()?;
    // Weights of its own make a network that is not trained worth showing alone.
    let answers_queries = stream.network.decoder > 0;
    if answers_queries && !(arguments.no_training || arguments.network_alone) {
        let what = "weights that answer queries are not trained on: add --no-training or --network-alone";
        return Err(Failure(USAGE, what.to_owned()));
    }
    let trains = !arguments.no_training && !answers_queries;
    Ok(BacktestSpec {
        stream,
        topic: Arc::from(arguments.topic.as_str()),
        partition: arguments.partition,
        report_horizons,
        scale_rows: arguments.scale_rows.clone(),
        score_rows,
        weights,
        training: trains.then(|| training_plan(arguments, first, table.rows)),
        rows_per_transaction: (OBSERVATIONS_PER_TRANSACTION / table.series.len().max(1)).clamp(1, 256),
        plot_series: arguments.plot.as_ref().and(drawn),
    })
}

/// Reads weights, and lets the stream's network answer queries where they do.
fn read_weights(path: &Path, stream: &mut StreamSpec) -> Result<Weights, Failure> {
    let unfit = |error: WeightsError| Failure(BAD_DATA, format!("{}: {error}", path.display()));
    let bytes = files::read(path, "weights of foretide pretrain --out or foretide train --out")?;
    if let Some([units, hidden]) = Weights::decoder_shape(&bytes).map_err(unfit)? {
        *stream = stream.clone().with_decoder(units);
        stream.network.hidden = hidden;
    }
    Weights::from_bytes(&stream.network, &bytes).map_err(unfit)
}

fn training_plan(arguments: &Arguments, first: usize, last: usize) -> TrainingPlan {
    let mut named = arguments.train_at.clone();
    named.sort_unstable();
    named.dedup();
    let rows = match arguments.train_every {
        _ if !named.is_empty() => named,
        Some(every) => (first..last).step_by(every.get()).collect(),
        None => default_training_rows(first, last),
    };
    let defaults = specs::train_spec(&Training::default(), arguments.seed, arguments.forecast.levels());
    let (max_updates, device) = (arguments.train_updates, arguments.device);
    let mut spec = TrainSpec { max_updates, epochs: usize::MAX, device, ..defaults };
    arguments.training.apply(&mut spec);
    let from = rows.first().copied().unwrap_or(last);
    let refreshes = arguments.refresh_every.map(|every| (from..last).step_by(every.get()).skip(1).collect());
    let refresh = RefreshPlan { rows: refreshes.unwrap_or_default(), updates: arguments.refresh_updates };
    TrainingPlan { rows, refresh, max_history: arguments.train_history, spec }
}
