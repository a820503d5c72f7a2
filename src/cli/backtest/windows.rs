//! `foretide backtest --windows` and `--cold-start`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use super::{
    arguments::Arguments,
    plan::backtest_spec,
    progress::{BacktestProgress, cannot_write, report_counts},
};
use crate::{
    backtest::{self, BacktestSpec, Table, TimedObserver, WINDOW_LEVELS, WindowReport},
    cli::{data::describe, failure::Failure, output::print},
    env::{Clock, SystemClock},
};

/// Scores single forecasts of the series of a file: of their last windows, or of their first steps.
pub(super) fn run(arguments: &Arguments, file: &Path, table: &Table, clock: &SystemClock) -> Result<(), Failure> {
    let arguments = &Arguments {
        forecast: arguments.forecast.with_default_levels(&WINDOW_LEVELS),
        no_training: arguments.no_training || arguments.windows.cold_start && arguments.train_at.is_empty(),
        ..arguments.clone()
    };
    // The scores of a plain backtest are not shown: as few rows as may be are scored.
    let score_rows = table.rows.saturating_sub(arguments.forecast.horizon as usize)..table.rows;
    let spec = backtest_spec(arguments, table, table.rows / 5, score_rows)?;
    let outcome = arguments.reading.outcome(file, &spec.stream, table)?;
    let updates = spec.training.as_ref().map_or(0, |plan| plan.spec.max_updates);
    let mut progress = BacktestProgress::open(arguments.emit.as_ref(), updates)?;
    progress.say(&describe(&spec.stream, table, arguments.reading.explain));
    if let Some(warning) = outcome.warning() {
        progress.say(&warning);
    }
    let seconds = || clock.monotonic_micros() as f64 / 1e6;
    let Some(windows) = arguments.windows.windows else {
        return cold_start(arguments, &spec, table, progress, seconds);
    };
    let report = backtest::score_windows(&spec, table, windows, &mut progress)?;
    let microseconds = progress.microseconds_per_forecast();
    progress.close(arguments.emit.as_ref())?;
    report_counts(report.counts);
    if let Some(path) = &arguments.windows.emit_windows {
        write_lines(&report, path).map_err(|error| cannot_write(path, &error))?;
    }
    let seconds = seconds();
    print(&if arguments.json {
        report.json(seconds, microseconds) + "\n"
    } else {
        format!("{}{seconds:.1} s\n", report.table())
    })
}

fn cold_start(
    arguments: &Arguments,
    spec: &BacktestSpec,
    table: &Table,
    mut progress: BacktestProgress,
    seconds: impl Fn() -> f64,
) -> Result<(), Failure> {
    let report = backtest::score_cold_start(spec, table, arguments.score_rows.as_ref(), &mut progress)?;
    progress.close(arguments.emit.as_ref())?;
    report_counts(report.counts);
    let seconds = seconds();
    print(&if arguments.json { report.json(seconds) + "\n" } else { format!("{}{seconds:.1} s\n", report.table()) })
}

fn write_lines(report: &WindowReport, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for line in report.lines() {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
