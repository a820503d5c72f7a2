//! `foretide backtest --m4`: what of the verb's arguments it takes.

use std::path::PathBuf;

use super::{Arguments, Screen, backtest_spec, print, tell_counts};
use crate::{
    backtest::{self, M4, M4Errors},
    cli::{
        data::what_it_is,
        failure::{BAD_DATA, Failure, USAGE},
    },
};

/// What cannot be asked of series without time stamps that are forecast once.
const OTHERS: [&str; 19] = [
    "file",
    "long",
    "key",
    "value",
    "columns",
    "time",
    "no_time",
    "time_format",
    "time_zone",
    "missing",
    "no_header",
    "delimiter",
    "interval",
    "season",
    "report",
    "scale_rows",
    "score_rows",
    "impute",
    "plot",
];

/// What is said of the M4 competition's files.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct M4Arguments {
    /// Forecast the rows of TEST, each once, from the ends of those of TRAIN: one series a row, its name and then its values. Errors are those of the M4 competition
    #[arg(long, num_args = 2, value_names = ["TRAIN", "TEST"], conflicts_with_all = OTHERS, help_heading = "M4")]
    m4: Vec<PathBuf>,
    /// Steps in a season, 1 for none
    #[arg(long, value_name = "STEPS", default_value_t = 1, requires = "m4", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "M4")]
    period: u32,
}

/// Learns on all series, forecasts each once and prints how well it was forecast.
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
        // Once more as late as can be: before the value from which each is forecast.
        plan.rows.retain(|row| row + 1 < m4.end);
        plan.rows.push(m4.end - 1);
    }
    let mut screen = Screen::open(arguments.emit.as_ref(), arguments.train_updates)?;
    screen.say(&what_it_is(&spec.stream, &m4.table));
    let report = backtest::run(&spec, &m4.table, &mut screen)?;
    screen.close(arguments.emit.as_ref())?;
    tell_counts(&report, &m4.table);
    let nothing = || Failure(BAD_DATA, format!("{}: nothing was scored; expected series that move", test.display()));
    let errors = M4Errors::of(&report).ok_or_else(nothing)?;
    print(&if arguments.json { errors.json(&m4.naive2) + "\n" } else { errors.table(&m4.naive2) })
}
