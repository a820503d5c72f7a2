//! Makes a [`Table`] of collected rows: reads their times, brings them into order, and finds the step.

use super::findings_text::{describe_gaps, describe_order, describe_times};
use super::order::{order_long, order_wide};
use super::rows::Rows;
use super::spec::ReadSpec;
use super::step::{median_step, move_to_grid, round_step};
use super::times::{RowTimes, row_times};
use crate::backtest::error::DataError;
use crate::backtest::findings::Findings;
use crate::backtest::table::Table;

/// Default step of counted rows, in milliseconds.
const COUNTED_STEP: i64 = 1000;
const DAY: i64 = 86_400_000;

/// Makes the table.
pub(super) fn assemble(mut rows: Rows<'_>, spec: &ReadSpec, mut findings: Findings) -> Result<Table, DataError> {
    let location = rows.location;
    if rows.readings.is_empty() {
        check_refusals(&mut rows, spec)?;
        let expected = "numbers in at least one column besides the time";
        return Err(location.file_error("it holds no numbers", expected));
    }
    let step = spec.interval.unwrap_or(COUNTED_STEP);
    let times = row_times(&mut rows, spec, step)?;
    check_refusals(&mut rows, spec)?;
    describe_times(&rows, &times, spec, &mut findings);
    describe_gaps(&rows, &mut findings);
    let mut table = Table {
        past_covariates: spec.past_covariates.clone(),
        future_covariates: spec.future_covariates.clone(),
        ignored_columns: rows.columns.ignored(),
        gaps: rows.empty_cells + rows.gaps.values().sum::<u64>(),
        likely_keys: rows.columns.likely_keys.iter().map(|column| rows.columns.names[*column].clone()).collect(),
        dates_only: times.dates_only,
        refusals: std::mem::take(&mut rows.refusals),
        ..Table::default()
    };
    describe_order(&rows, &times, &mut findings);
    let RowTimes { times, late_rows, counted, .. } = times;
    let long = rows.columns.long.is_some();
    let mut ordered = if long { order_long(rows, &times, &late_rows) } else { order_wide(rows, &times, &late_rows) };
    table.interval = match spec.interval {
        Some(interval) => interval,
        None if counted => COUNTED_STEP,
        None => {
            let median = median_step(&ordered.tracks).ok_or_else(|| {
                location.file_error("time never advances", "at least two rows at different times, or --interval")
            })?;
            let round = round_step(median, &ordered.tracks);
            let why = if round == median {
                "it is the median step between rows".to_owned()
            } else {
                format!("the median step is {median} ms, and most steps are near multiples of {round} ms")
            };
            findings.note(format!("a step of {round} ms"), why);
            round
        }
    };
    // Days of a zone are no multiples of 24 hours: what looks like jitter may be a change of the clocks.
    let days = table.interval % DAY == 0 && spec.zone != jiff::tz::TimeZone::UTC;
    if !days && !counted {
        move_to_grid(&mut ordered.tracks, table.interval, &mut findings);
    }
    ordered.fill(&mut table);
    table.findings = findings;
    Ok(table)
}

/// An error where more is refused than may be.
fn check_refusals(rows: &mut Rows<'_>, spec: &ReadSpec) -> Result<(), DataError> {
    let refused = rows.refusals.rows();
    let all = rows.lines.len() as u64 + rows.refusals.widths.count;
    let cells = rows.refusals.cells.count;
    let values = rows.readings.len() as u64 + cells;
    let beyond = |part: u64, of: u64| part as f64 > spec.max_refused * of as f64;
    let (part, of, what) = match () {
        () if beyond(refused, all) => (refused, all, "rows"),
        () if beyond(cells, values) => (cells, values, "values"),
        () => return Ok(()),
    };
    let Some(mut error) = rows.first_refusal.take() else { return Ok(()) };
    if let DataError::Line { expected, .. } = &mut error
        && of > 1
    {
        let share = spec.max_refused;
        *expected += &format!("; {part} of {of} {what} are refused, more than --max-refused {share} allows");
    }
    Err(error)
}
