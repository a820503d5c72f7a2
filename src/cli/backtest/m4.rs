//! `foretide backtest --m4`.

use super::{
    arguments::Arguments,
    plan::backtest_spec,
    progress::{BacktestProgress, report_counts},
};
use crate::{
    backtest::{self, M4, M4Errors},
    cli::{
        data::describe,
        failure::{BAD_DATA, Failure, USAGE},
        output::print,
    },
};

/// Trains on all series, forecasts each once, and prints the errors of the M4 competition.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let [train, test] = &arguments.m4.m4[..] else { return Err(Failure(USAGE, "expected a file".to_owned())) };
    let period = arguments.m4.period;
    let m4 = M4::read(train, test, period as usize, arguments.forecast.horizon as usize)?;
    let season = if period == 1 { 0 } else { period };
    let arguments = &Arguments { forecast: arguments.forecast.with_season(season), ..arguments.clone() };
    let rows = m4.end..m4.table.rows;
    let mut spec = backtest_spec(arguments, &m4.table, m4.end / 5, rows)?;
    if spec.stream.forecast.target.is_some() {
        return Err(Failure(USAGE, "--m4 forecasts every step; expected no --strategy many_to_one".to_owned()));
    }
    if let Some(plan) = spec.training.as_mut().filter(|_| arguments.train_at.is_empty()) {
        // Train once more as late as possible: before the value from which each series is forecast.
        plan.rows.retain(|row| row + 1 < m4.end);
        plan.rows.push(m4.end - 1);
    }
    let mut progress = BacktestProgress::open(arguments.emit.as_ref(), arguments.train_updates)?;
    progress.say(&describe(&spec.stream, &m4.table, false));
    let report = backtest::run(&spec, &m4.table, &mut progress)?;
    progress.close(arguments.emit.as_ref())?;
    report_counts(report.counts);
    let nothing = || format!("{}: no series could be scored; expected series that are not constant", test.display());
    let errors = M4Errors::of(&report).ok_or_else(|| Failure(BAD_DATA, nothing()))?;
    print(&if arguments.json { errors.json(&m4.naive2) + "\n" } else { errors.table(&m4.naive2) })
}
