//! `foretide backtest --impute`: what of the verb's arguments it takes, and how it tells what came of it.

use std::ops::Range;

use super::{Arguments, STREAM, Screen, print};
use crate::{
    backtest::{self, ImputationSpec, Table},
    cli::{
        data::what_it_is,
        failure::{Failure, USAGE},
    },
    engine::StreamSpec,
    nn::NetworkSpec,
    settings::Training,
    train::{DeviceChoice, Gaps, ImputerSpec},
};

/// Windows in one update.
const WINDOWS: usize = 32;

/// What is said of gaps.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ImputeArguments {
    /// Hide stretches of values in the scored rows instead of forecasting, and tell how well they are filled by a bidirectional lstm or gru that learnt from the rows before
    #[arg(long, help_heading = "Gaps")]
    pub(super) impute: bool,
    /// How many steps are hidden in a row, both included
    #[arg(long, value_name = "SHORTEST..LONGEST", default_value = "1..24", value_parser = gaps, requires = "impute", help_heading = "Gaps")]
    impute_gaps: Gaps,
}

/// Hides, fills and prints how well it went.
pub(super) fn run(arguments: &Arguments, table: &Table, rows: Range<usize>) -> Result<(), Failure> {
    let stream = arguments.forecast.stream_spec(STREAM, arguments.seed, &arguments.reading, table)?;
    check(arguments, &stream.network)?;
    let spec = impute_spec(arguments, &stream, rows);
    let screen = Screen::open(None, spec.imputer.updates)?;
    screen.say(&what_it_is(&stream, table));
    let imputed = backtest::impute(&spec, table, &mut |update, loss| screen.learning(update, loss))?;
    screen.close(None)?;
    print(&if arguments.json { imputed.json() + "\n" } else { imputed.table() })
}

/// Holds the arguments against what filling gaps can take.
fn check(arguments: &Arguments, network: &NetworkSpec) -> Result<(), Failure> {
    let NetworkSpec { cell, hidden, inputs, horizon, levels, seed, .. } = *network;
    let plain = NetworkSpec { cell, hidden, inputs, horizon, levels, seed, ..NetworkSpec::default() };
    let refused = [
        (*network != plain, "other options of the network than --cell and --hidden"),
        (arguments.device == DeviceChoice::Cuda, "--device cuda"),
        (!arguments.train_at.is_empty(), "--train-at"),
        (arguments.train_every.is_some(), "--train-every"),
        (arguments.network_alone, "--network-alone"),
        (!arguments.report.is_empty(), "--report"),
        (arguments.plot.is_some(), "--plot"),
        (arguments.emit.is_some(), "--emit"),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(Failure(USAGE, format!("--impute does not go with {what}; leave one of them out"))),
        None => Ok(()),
    }
}

fn impute_spec(arguments: &Arguments, stream: &StreamSpec, score_rows: Range<usize>) -> ImputationSpec {
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
    ImputationSpec {
        imputer,
        max_history: arguments.train_history,
        scale_rows: arguments.scale_rows.clone(),
        score_rows,
    }
}

fn gaps(text: &str) -> Result<Gaps, String> {
    let parse = |text: &str| text.trim().parse::<usize>().ok();
    let gaps = text.split_once("..").and_then(|(shortest, longest)| {
        let (shortest, longest) = (parse(shortest)?, parse(longest)?);
        Some(Gaps { shortest, longest })
    });
    let expected = || format!("{text:?} are no lengths of gaps; expected A..B with 1 <= A <= B <= {}", Gaps::LONGEST);
    gaps.filter(|gaps| (1..=gaps.longest).contains(&gaps.shortest) && gaps.longest <= Gaps::LONGEST)
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_gaps_are_read() {
        assert_eq!(gaps("1..24"), Ok(Gaps { shortest: 1, longest: 24 }));
        assert_eq!(gaps("6..6"), Ok(Gaps { shortest: 6, longest: 6 }));
        for wrong in ["", "5", "0..3", "5..4", "a..b", "1..1025"] {
            assert!(gaps(wrong).is_err(), "{wrong}");
        }
    }
}
