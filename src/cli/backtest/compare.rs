//! `foretide backtest --compare`: what it does not go with, and how it tells what came of it.

use super::{Screen, print, tell_counts};
use crate::{
    backtest::{self, BacktestSpec, Table},
    cli::failure::Failure,
    env::{Clock, SystemClock},
};

/// What cannot be asked of several runs at once.
const OTHERS: [&str; 5] = ["network_alone", "plot", "emit", "impute", "m4"];

/// Whether to compare.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompareArguments {
    /// The parts of the engine side by side: the whole, its network alone, its mixture untrained, and the naive forecasts; with the time of a forecast
    #[arg(long, conflicts_with_all = OTHERS, help_heading = "Report")]
    pub(super) compare: bool,
}

/// Runs the parts one after the other and prints how well each did.
pub(super) fn run(
    spec: &BacktestSpec,
    table: &Table,
    json: bool,
    mut screen: Screen,
    clock: &SystemClock,
) -> Result<(), Failure> {
    let comparison = backtest::compare(spec, table, &mut screen)?;
    screen.close(None)?;
    if let Some(whole) = comparison.full_report() {
        tell_counts(whole, table);
    }
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    print(&if json { comparison.json(seconds) + "\n" } else { format!("{}{seconds:.1} s\n", comparison.table()) })
}
