//! `foretide backtest --compare`.

use super::progress::{BacktestProgress, report_counts};
use crate::{
    backtest::{self, BacktestSpec, Table},
    cli::{failure::Failure, output::print},
    env::{Clock, SystemClock},
};

/// Runs the parts of the engine one after the other and prints how well each forecasts.
pub(super) fn run(
    spec: &BacktestSpec,
    table: &Table,
    json: bool,
    mut progress: BacktestProgress,
    clock: &SystemClock,
) -> Result<(), Failure> {
    let comparison = backtest::compare(spec, table, &mut progress)?;
    progress.close(None)?;
    if let Some(report) = comparison.full_report() {
        report_counts(report.counts);
    }
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    print(&if json { comparison.json(seconds) + "\n" } else { format!("{}{seconds:.1} s\n", comparison.table()) })
}
