//! From arguments to the specification of a backtest.

use std::{ops::Range, sync::Arc};

use super::arguments::{Arguments, STREAM};
use crate::{
    backtest::{BacktestSpec, RefreshPlan, Table, TrainingPlan, default_training_rows},
    cli::failure::Failure,
    daemon::specs,
    engine::StreamSpec,
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
    let mut stream = arguments.forecast.stream_spec(STREAM, arguments.seed, table)?;
    let mut report_horizons = match &arguments.report[..] {
        [] if stream.forecast.target.is_some() => vec![horizon],
        [] => vec![1, horizon],
        named => named.to_vec(),
    };
    report_horizons.sort_unstable();
    report_horizons.dedup();
    stream.bounds = arguments.bounds.field_bounds()?;
    stream.forecast.network_alone = arguments.network_alone;
    let weights = arguments.forecast.read_weights(&mut stream)?;
    let training = (!arguments.no_training).then(|| training_plan(arguments, &stream, first, table.rows));
    Ok(BacktestSpec {
        stream,
        topic: Arc::from(arguments.topic.as_str()),
        partition: arguments.partition,
        report_horizons,
        scale_rows: arguments.scale_rows.clone(),
        score_rows,
        weights,
        training,
        rows_per_transaction: (OBSERVATIONS_PER_TRANSACTION / table.series.len().max(1)).clamp(1, 256),
        plot_series: arguments.plot.as_ref().and(drawn),
    })
}

fn training_plan(arguments: &Arguments, stream: &StreamSpec, first: usize, last: usize) -> TrainingPlan {
    let mut named = arguments.train_at.clone();
    named.sort_unstable();
    named.dedup();
    let rows = match arguments.train_every {
        _ if !named.is_empty() => named,
        Some(every) => (first..last).step_by(every.get()).collect(),
        None => default_training_rows(first, last),
    };
    let defaults = specs::train_spec(&Training::default(), arguments.seed, stream.network_levels().to_vec());
    let (max_updates, device) = (arguments.train_updates, arguments.device);
    let mut spec = TrainSpec { max_updates, epochs: usize::MAX, device, ..defaults };
    arguments.training.apply(&mut spec);
    let from = rows.first().copied().unwrap_or(last);
    let refreshes = arguments.refresh_every.map(|every| (from..last).step_by(every.get()).skip(1).collect());
    let refresh = RefreshPlan { rows: refreshes.unwrap_or_default(), updates: arguments.refresh_updates };
    TrainingPlan { rows, refresh, max_history: arguments.train_history, spec }
}
