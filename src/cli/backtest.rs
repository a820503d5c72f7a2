//! `foretide backtest`: runs a file through the engine and reports how well it was forecast.

mod arguments;
mod compare;
mod impute;
mod m4;
mod nab;
mod plan;
mod progress;
mod windows;

use std::process::ExitCode;

use serde_json::json;

use super::{
    data::describe,
    failure::{CANNOT_WRITE, Failure},
    output::print,
};
use crate::{
    backtest::{self, TimedObserver, plot},
    env::{Clock, SystemClock},
};

pub use arguments::Arguments;

use plan::backtest_spec;
use progress::{BacktestProgress, report_counts};

/// Runs the command.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match (&arguments.nab.nab, &arguments.file) {
        (Some(folder), _) => nab::run(arguments, folder),
        (None, None) => m4::run(arguments),
        (None, Some(file)) => forecast(arguments, file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide backtest: {what}");
            ExitCode::from(code)
        }
    }
}

/// Forecasts the series of a file, or fills gaps in them.
fn forecast(arguments: &Arguments, file: &std::path::Path) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let table = backtest::read_file(file, &arguments.reading.read_spec(arguments.forecast.interval))?;
    if arguments.windows.windows.is_some() || arguments.windows.cold_start {
        return windows::run(arguments, file, &table, &clock);
    }
    let first = arguments.scale_rows.as_ref().map_or(table.rows / 5, |rows| rows.end);
    let score_rows = arguments.score_rows.clone().unwrap_or(first..table.rows);
    if arguments.impute.impute {
        return impute::run(arguments, &table, score_rows);
    }
    let spec = backtest_spec(arguments, &table, first, score_rows)?;
    let expected = arguments.reading.outcome(file, &spec.stream, &table)?;
    let updates = spec.training.as_ref().map_or(0, |plan| plan.spec.max_updates);
    let mut progress = BacktestProgress::open(arguments.emit.as_ref(), updates)?;
    progress.say(&describe(&spec.stream, &table, arguments.reading.explain));
    if arguments.compare {
        expected.warning().iter().for_each(|warning| progress.say(warning));
        return compare::run(&spec, &table, arguments.json, progress, &clock);
    }
    let mut report = backtest::run(&spec, &table, &mut progress)?;
    let microseconds = progress.microseconds_per_forecast();
    progress.close(arguments.emit.as_ref())?;
    report_counts(report.counts);
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    if let Some(series) = report.plot_series.as_mut().filter(|_| !arguments.anomalies) {
        series.anomalies.clear();
    }
    if let (Some(file), Some(series)) = (&arguments.plot, &report.plot_series) {
        plot::draw_fan_chart(file, series, &report).map_err(|error| Failure(CANNOT_WRITE, error.to_string()))?;
    }
    let warning = expected.with_counts(report.counts).warning();
    if let Some(warning) = &warning {
        eprintln!("{warning}");
    }
    if arguments.json {
        let extra = json!({"input": table.findings.json(), "warnings": warning.as_slice()});
        return print(&(report.json(seconds, microseconds, extra) + "\n"));
    }
    let warning = warning.map_or_else(String::new, |warning| format!("{warning}\n"));
    let anomalies = if arguments.anomalies {
        backtest::anomaly_table(&report.anomalies, arguments.reading.zone()) + "\n"
    } else {
        String::new()
    };
    print(&format!("{anomalies}{}{warning}{seconds:.1} s\n", report.table()))
}
