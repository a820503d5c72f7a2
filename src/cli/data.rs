//! Arguments of the commands that read a file: how it is read, and what is forecast from it.

use std::{collections::BTreeMap, path::Path};

use jiff::{Span, SpanRelativeTo, Unit, tz::TimeZone};

use super::failure::{BAD_DATA, Failure, USAGE};
use super::network::{NetworkArguments, WeightsChoice};
use crate::{
    backtest::{Finding, Layout, Outcome, ReadSpec, Refusals, Table, TimeColumn},
    daemon::specs,
    engine::StreamSpec,
    nn::Weights,
    series::{Calendar, MAX_FUTURE_COVARIATES, MAX_PAST_COVARIATES, detect_seasons},
    settings::{self, Aggregation, Date, Interval, Millis, Model, Season, Stream, StreamLimits},
    wire::{DateOrder, TimeFormat},
};

/// Longest season that is searched for, in steps: a week of five-minute steps.
const LONGEST_SEASON: usize = 2016;

/// How the file is read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "File")]
pub(super) struct FileArguments {
    /// Long format: a row is one value (--value) of one series (--key) at one time (--time)
    #[arg(long, requires = "key")]
    long: bool,
    /// Long format: the column with the series' names, or several ones, separated by commas
    #[arg(long, value_name = "COLUMN", requires = "long")]
    key: Option<String>,
    /// Long format: the column with the values [default: the last one]
    #[arg(long, value_name = "COLUMN", requires = "long")]
    value: Option<String>,
    /// Wide format: the columns to forecast [default: all columns with numbers but one that counts the rows]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    columns: Vec<String>,
    /// Wide format: columns that explain the others and are not forecast
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    past_covariates: Vec<String>,
    /// Wide format: columns whose future values are known over the whole horizon; they are not forecast
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    future_covariates: Vec<String>,
    /// The column with the timestamps, or several ones that hold them together, such as date,hour [default: found out]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// The file has no timestamps: a row follows the one before it after one --interval [default: 1 s]
    #[arg(long, conflicts_with_all = ["time", "time_format"])]
    no_time: bool,
    /// Format of the timestamps: day-first, month-first or year-first (dates in this order), rfc3339, s, ms, us, ns
    /// (since 1970), serial (dates of spreadsheets) or a strptime pattern [default: detected from the whole file]
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// Time zone of timestamps without one, and of days and weeks
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    time_zone: TimeZone,
    /// A number or word that means a missing value, such as -9999; may be given several times
    #[arg(long, value_name = "NUMBER|WORD", allow_negative_numbers = true)]
    missing: Vec<String>,
    /// Mark before decimals, . or , (the other one may stand between thousands) [default: found out]
    #[arg(long, value_name = "MARK", value_parser = decimal)]
    decimal: Option<u8>,
    /// The first line names the columns [default: found out]
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The file has no header; columns are named 1, 2, 3 …
    #[arg(long)]
    no_header: bool,
    /// Column separator [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// The share of values that may be refused, late or doubled; with more there is an error and no result
    #[arg(long, value_name = "SHARE", default_value_t = ReadSpec::default().max_refused, value_parser = share)]
    max_refused: f64,
    /// Say why the file was taken for what it was
    #[arg(long)]
    pub(super) explain: bool,
}

/// What is forecast, and with which network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forecast")]
pub(super) struct ForecastArguments {
    /// Horizon: number of steps to forecast
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().horizon)]
    pub(super) horizon: u32,
    /// Length of a step, such as 15m [default: the median time between rows]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(super) interval: Option<i64>,
    /// Steps in a season, 0 for none; auto: one day if it has 4 to 1440 steps, one week if a step is a day
    #[arg(long, value_name = "STEPS|auto", default_value = "auto", value_parser = season)]
    season: SeasonChoice,
    /// Quantile levels, ascending, with 0.5 [default: those of the daemon; with --windows and --cold-start
    /// 0.05,0.1,0.2 to 0.9,0.95]
    #[arg(long, value_name = "LEVEL,…", value_delimiter = ',')]
    quantiles: Vec<f64>,
    /// Holidays in --time-zone, such as 2014-12-25: days that do not behave like their weekday
    #[arg(long, value_name = "DATE,…", value_delimiter = ',', value_parser = date)]
    holidays: Vec<Date>,
    /// Number of linear experts in the mixture, 0 to 3: on values, on values without season, on values without week
    #[arg(
        long,
        value_name = "N",
        default_value_t = Stream::default().model.linear_experts,
        value_parser = clap::value_parser!(u32).range(..=3)
    )]
    linear_experts: u32,
    /// Give the network the time of year as an input
    #[arg(long)]
    year_phase: bool,
    /// Weights that the network begins with: builtin (those of the binary), none (random ones), or a file of foretide
    /// pretrain or foretide train [default: builtin, or none where an option asks for another network]
    #[arg(long, alias = "from", value_name = "WEIGHTS")]
    pub(super) weights: Option<WeightsChoice>,
    #[command(flatten)]
    pub(super) network: NetworkArguments,
}

impl FileArguments {
    /// How the file is read onto a grid of `interval` milliseconds; `None` detects the interval.
    pub(super) fn read_spec(&self, interval: Option<i64>) -> ReadSpec {
        let layout = match &self.key {
            Some(key) => Layout::Long { key: key.clone(), value: self.value.clone() },
            None => Layout::Wide { columns: self.columns.clone() },
        };
        let time = match &self.time {
            _ if self.no_time => TimeColumn::None,
            Some(column) => TimeColumn::Named(column.clone()),
            None => TimeColumn::Found,
        };
        let time_format = self.time_format.as_deref().map(|format| match format {
            "rfc3339" => TimeFormat::Rfc3339,
            "s" => TimeFormat::EpochSeconds,
            "ms" => TimeFormat::EpochMillis,
            "us" => TimeFormat::EpochMicros,
            "ns" => TimeFormat::EpochNanos,
            "day-first" => TimeFormat::AnyStamp { order: DateOrder::DayFirst, zone: self.time_zone.clone() },
            "month-first" => TimeFormat::AnyStamp { order: DateOrder::MonthFirst, zone: self.time_zone.clone() },
            "year-first" => TimeFormat::AnyStamp { order: DateOrder::YearFirst, zone: self.time_zone.clone() },
            "serial" => TimeFormat::Serial { zone: self.time_zone.clone() },
            pattern => TimeFormat::Strftime { pattern: pattern.to_owned(), zone: self.time_zone.clone() },
        });
        ReadSpec {
            layout,
            past_covariates: self.past_covariates.clone(),
            future_covariates: self.future_covariates.clone(),
            time,
            time_format,
            zone: self.time_zone.clone(),
            interval,
            missing: self.missing.iter().filter_map(|missing| missing.parse().ok()).collect(),
            missing_words: self.missing.clone(),
            decimal: self.decimal,
            header: (self.header || self.no_header).then_some(self.header),
            delimiter: self.delimiter,
            max_refused: self.max_refused,
        }
    }

    /// The zone of days and weeks.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// How many values of `table` the engine will take; an error where too few.
    pub(super) fn outcome(&self, file: &Path, stream: &StreamSpec, table: &Table) -> Result<Outcome, Failure> {
        let outcome = Outcome::expected(table, stream.series.grid);
        if outcome.share() <= self.max_refused {
            return Ok(outcome);
        }
        let (file, share) = (file.display(), 100.0 * self.max_refused);
        Err(Failure(BAD_DATA, format!("{file}: {}; expected at most {share} % (--max-refused)", outcome.describe())))
    }
}

impl ForecastArguments {
    /// The same arguments with a season of `steps`, 0 for none.
    pub(super) fn with_season(&self, steps: u32) -> Self {
        Self { season: SeasonChoice::Steps(steps), ..self.clone() }
    }

    /// The same arguments with `levels` as the quantile levels, unless levels are given.
    pub(super) fn with_default_levels(&self, levels: &[f64]) -> Self {
        let quantiles = if self.quantiles.is_empty() { levels } else { &self.quantiles };
        Self { quantiles: quantiles.to_vec(), ..self.clone() }
    }

    /// The same arguments with a network that begins with random weights.
    pub(super) fn without_weights(&self) -> Self {
        Self { weights: Some(WeightsChoice::Initial(settings::InitialWeights::None)), ..self.clone() }
    }

    /// The weights of a file that the arguments name; the network of `stream` becomes theirs.
    pub(super) fn read_weights(&self, stream: &mut StreamSpec) -> Result<Option<Weights>, Failure> {
        self.weights.as_ref().map_or(Ok(None), |choice| choice.read(stream))
    }

    /// The quantile levels: those given, or those of the daemon.
    fn quantiles(&self) -> Vec<f64> {
        if self.quantiles.is_empty() { Stream::default().quantiles } else { self.quantiles.clone() }
    }

    /// The quantile levels.
    pub(super) fn levels(&self) -> Vec<f32> {
        self.quantiles().iter().map(|level| *level as f32).collect()
    }

    /// The stream of `table`. Settings that have no argument have the daemon's defaults.
    pub(super) fn stream_spec(
        &self,
        name: &str,
        seed: u64,
        reading: &FileArguments,
        table: &Table,
    ) -> Result<StreamSpec, Failure> {
        let (interval, covariates) = (table.interval, table.past_covariates.len());
        if covariates > MAX_PAST_COVARIATES {
            let what = format!("{covariates} past covariates; expected at most {MAX_PAST_COVARIATES}");
            return Err(Failure(USAGE, what));
        }
        if table.future_covariates.len() > MAX_FUTURE_COVARIATES {
            let what = format!(
                "{} future covariates; expected at most {MAX_FUTURE_COVARIATES}",
                table.future_covariates.len()
            );
            return Err(Failure(USAGE, what));
        }
        let season = match self.season {
            SeasonChoice::Auto => Season::Auto,
            SeasonChoice::Steps(0) => Season::None,
            SeasonChoice::Steps(steps) => Season::Every(Millis(interval.saturating_mul(i64::from(steps)))),
        };
        let stream = Stream {
            name: name.to_owned(),
            interval: Interval::Every(Millis(interval)),
            aggregation: Aggregation::Last,
            readings_per_slot: Some(1),
            max_ahead: settings::Limit::None,
            season,
            horizon: self.horizon,
            quantiles: self.quantiles(),
            holidays: self.holidays.clone(),
            year_phase: self.year_phase,
            past_covariates: table.past_covariates.clone(),
            future_covariates: settings::FutureCovariates {
                values: table.future_covariates.clone(),
                slots: settings::Auto::Set(u32::MAX),
                ..settings::FutureCovariates::default()
            },
            model: Model {
                weights: WeightsChoice::setting(self.weights.as_ref()),
                linear_experts: self.linear_experts,
                ..self.network.model(seed)?
            },
            limits: StreamLimits { series: table.series.len() as u64, ..StreamLimits::default() },
            ..Stream::default()
        };
        specs::engine_spec(&stream, Calendar::new(reading.time_zone.clone()))
            .map_err(|error| Failure(USAGE, error.to_string()))
    }
}

/// Describes the file for the user: what it was taken for, with `explain` also why; then series, rows, step and season.
pub(super) fn describe(stream: &StreamSpec, table: &Table, explain: bool) -> String {
    let findings = table.findings.0.iter().filter(|finding| finding.said || explain);
    let line = |finding: &Finding| {
        let Finding { what, why, .. } = finding;
        if explain { format!("{what} ({why})\n") } else { format!("{what}\n") }
    };
    let mut text: String = findings.map(line).collect();
    let step = Millis(table.interval);
    let season = match stream.series.season {
        0 => "no season".to_owned(),
        steps => format!("season {steps} steps"),
    };
    text += &format!("{} series, {} rows, step {step}, {season}", table.series.len(), table.rows);
    text += &match found_seasons(table) {
        found if found.is_empty() => " (none found in the data)".to_owned(),
        found => format!(" (found in the data: {})", seasons_text(&found)),
    };
    let shown: Vec<&str> = table.series.iter().take(SHOWN).map(String::as_str).collect();
    let more = if table.series.len() > SHOWN { ", …" } else { "" };
    text += &format!("; series: {}{more}", shown.join(", "));
    if !table.ignored_columns.is_empty() {
        text += &format!("; ignored, without numbers: {}", table.ignored_columns.join(", "));
    }
    if explain {
        text += "\nseries: the columns with numbers that have no other use (--columns names them)";
        text += "\nseason: one day if it has 4 to 1440 steps, one week if a step is a day (--season sets it)";
    }
    let Refusals { times, widths, cells } = &table.refusals;
    for (refused, what) in [(times, "rows without a time"), (widths, "rows"), (cells, "cells")] {
        if refused.count > 0 {
            text += &format!("\n{} {what} refused, the first: {}", refused.count, refused.first);
        }
    }
    text
}

/// Number of series that are named.
const SHOWN: usize = 5;
/// Number of series in which seasons are searched for.
pub(super) const SAMPLE: usize = 8;

/// Seasons in steps that at least half of the first series have, and how many of them have it.
fn found_seasons(table: &Table) -> Vec<(usize, usize)> {
    let sample = 0..table.series.len().min(SAMPLE);
    common_seasons(sample.map(|series| table.on_grid(series)))
}

/// Seasons in steps that at least half of the given series have, and how many of them have it. There is one
/// value per step.
pub(super) fn common_seasons(series: impl ExactSizeIterator<Item = Vec<f64>>) -> Vec<(usize, usize)> {
    let (mut counts, of) = (BTreeMap::new(), series.len());
    for steps in series.flat_map(|values| detect_seasons(&values, LONGEST_SEASON)) {
        *counts.entry(steps).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, count)| 2 * count >= of).collect()
}

/// Seasons as text, such as `24 steps in 7 series`.
pub(super) fn seasons_text(found: &[(usize, usize)]) -> String {
    let text = |(steps, count): &(usize, usize)| format!("{steps} steps in {count} series");
    found.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeasonChoice {
    Auto,
    Steps(u32),
}

fn season(text: &str) -> Result<SeasonChoice, String> {
    // The seasonal profile of every series has one entry per step of the season.
    let steps = text.parse().ok().filter(|steps| *steps <= 1_000_000);
    match text {
        "auto" => Ok(SeasonChoice::Auto),
        _ => steps.map(SeasonChoice::Steps).ok_or_else(|| "expected auto or a number of steps, 0 for none".to_owned()),
    }
}

fn interval(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is not a duration; expected one such as 500ms, 15m, 1h or 1d");
    let span: Span = text.parse().map_err(|_| expected())?;
    let millis = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).map_err(|_| expected())?;
    // A whole number that an f64 represents exactly.
    let whole = (millis >= 1.0 && millis.fract() == 0.0 && millis < 1e15).then_some(millis as i64);
    whole.ok_or_else(expected)
}

fn date(text: &str) -> Result<Date, String> {
    let date = text.parse().ok().map(Date).filter(|date| date.to_string() == text);
    date.ok_or_else(|| format!("{text:?} is not a date; expected one such as 2014-12-25"))
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|error| format!("{error}; expected a name such as Europe/Vienna"))
}

fn decimal(text: &str) -> Result<u8, String> {
    match text {
        "." | "," => Ok(text.as_bytes()[0]),
        _ => Err("expected . or ,".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share of 0 to 1, such as 0.2".to_owned())
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [one] => Ok(*one),
        _ if text == "\\t" => Ok(b'\t'),
        _ => Err("expected one ASCII character, or \\t".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seasons_dates_and_durations_are_parsed() {
        let read = ["15m", "1h", "1d", "500ms", "90s"].map(|text| interval(text).unwrap());
        assert_eq!(read, [900_000, 3_600_000, 86_400_000, 500, 90_000]);
        for wrong in ["", "5", "-1h", "0s", "soon", "1mo"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
        assert_eq!(date("2014-12-25").map(|date| date.to_string()).as_deref(), Ok("2014-12-25"));
        for wrong in ["", "2014-12-32", "25.12.2014", "2014-12-25T00:00"] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
        assert_eq!((season("auto"), season("48")), (Ok(SeasonChoice::Auto), Ok(SeasonChoice::Steps(48))));
    }
}
