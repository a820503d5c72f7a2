//! `foretide backtest --impute`.

use std::ops::Range;

use super::{
    arguments::{Arguments, STREAM},
    progress::BacktestProgress,
};
use crate::{
    backtest::{self, ImputationSpec, Table},
    cli::{
        data::describe,
        failure::{Failure, USAGE},
        output::print,
    },
    engine::StreamSpec,
    nn::NetworkSpec,
    settings::Training,
    train::{DeviceChoice, ImputerSpec},
};

/// Windows in one update of the weights.
const WINDOWS: usize = 32;

/// Hides values, fills them, and prints the errors.
pub(super) fn run(arguments: &Arguments, table: &Table, rows: Range<usize>) -> Result<(), Failure> {
    let stream = arguments.forecast.without_weights().stream_spec(STREAM, arguments.seed, table)?;
    check(arguments, &stream.network)?;
    let spec = imputation_spec(arguments, &stream, rows);
    let progress = BacktestProgress::open(None, spec.imputer.updates)?;
    progress.say(&describe(&stream, table));
    let imputed = backtest::impute(&spec, table, &mut |update, loss| progress.on_imputer_update(update, loss))?;
    progress.close(None)?;
    print(&if arguments.json { imputed.json() + "\n" } else { imputed.table() })
}

/// Refuses arguments that have no meaning for imputation.
fn check(arguments: &Arguments, network: &NetworkSpec) -> Result<(), Failure> {
    let NetworkSpec { cell, hidden, inputs, horizon, levels, seed, .. } = *network;
    let plain = NetworkSpec { cell, hidden, inputs, horizon, levels, seed, ..NetworkSpec::default() };
    let refused = [
        (*network != plain, "network options other than --cell and --hidden"),
        (arguments.device == DeviceChoice::Cuda, "--device cuda"),
        (!arguments.train_at.is_empty(), "--train-at"),
        (arguments.train_every.is_some(), "--train-every"),
        (arguments.network_alone, "--network-alone"),
        (!arguments.report.is_empty(), "--report"),
        (arguments.plot.is_some(), "--plot"),
        (arguments.emit.is_some(), "--emit"),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(Failure(USAGE, format!("--impute cannot be used with {what}; leave one of them out"))),
        None => Ok(()),
    }
}

fn imputation_spec(arguments: &Arguments, stream: &StreamSpec, score_rows: Range<usize>) -> ImputationSpec {
    let imputer = ImputerSpec {
        cell: stream.network.cell,
        hidden: stream.network.hidden,
        gaps: arguments.impute.impute_gaps,
        season: stream.series.season as usize,
        updates: if arguments.no_training { 0 } else { arguments.train_updates },
        windows: WINDOWS,
        learning_rate: Training::default().learning_rate,
        seed: arguments.seed,
    };
    let (max_history, scale_rows) = (arguments.train_history, arguments.scale_rows.clone());
    ImputationSpec { imputer, max_history, scale_rows, score_rows }
}
