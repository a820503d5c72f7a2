//! Arguments of the commands that read a file: how it is read, and what is forecast from it.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::{Span, SpanRelativeTo, Unit, tz::TimeZone};

use super::failure::{BAD_DATA, Failure, USAGE};
use super::network::{NetworkArguments, WeightsChoice};
use crate::{
    backtest::{GridRequest, Layout, ReadSpec, Table, TimeColumn},
    daemon::specs,
    engine::StreamSpec,
    nn::Weights,
    series::{MAX_FUTURE_COVARIATES, MAX_PAST_COVARIATES, detect_seasons},
    settings::{self, Aggregation, Date, Interval, Millis, Model, Season, Stream, StreamLimits, Weekday},
    time::{Length, Origin},
    wire::TimeFormat,
};

/// Longest season that is searched for, in steps: a week of five-minute steps.
const LONGEST_SEASON: usize = 2016;
/// The longest step in months: ten years.
const MOST_MONTHS: u32 = 120;

/// How the file is read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "File")]
pub(super) struct FileArguments {
    /// Long format: a row is one value (--value) of one series (--key) at one time (--time)
    #[arg(long, requires = "key")]
    long: bool,
    /// Long format: the column with the series' names
    #[arg(long, value_name = "COLUMN", requires = "long")]
    key: Option<String>,
    /// Long format: the column with the values [default: the last one]
    #[arg(long, value_name = "COLUMN", requires = "long")]
    value: Option<String>,
    /// Wide format: the columns to forecast [default: all columns with numbers]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    columns: Vec<String>,
    /// Wide format: columns that explain the others and are not forecast
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    past_covariates: Vec<String>,
    /// Wide format: columns whose future values are known over the whole horizon; they are not forecast
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long")]
    future_covariates: Vec<String>,
    /// The column with the timestamps [default: the first one]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// The file has no timestamps: a row follows the one before it after one --interval [default: 1 s]
    #[arg(long, conflicts_with_all = ["time", "time_format"])]
    no_time: bool,
    /// Format of the timestamps: rfc3339, s, ms, us, ns (since 1970) or a strptime pattern [default: detected]
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// Time zone of timestamps without one, and of days, weeks and months [default: UTC; for days with offsets a zone
    /// that has these offsets]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,
    /// A number that means a missing value, such as -9999; may be given several times
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    missing: Vec<f64>,
    /// The file has no header; columns are named 1, 2, 3 …
    #[arg(long)]
    no_header: bool,
    /// Column separator
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
}

/// What is forecast, and with which network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forecast")]
pub(super) struct ForecastArguments {
    /// Horizon: number of steps to forecast
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().horizon)]
    pub(super) horizon: u32,
    #[command(flatten)]
    pub(super) grid: GridArguments,
    /// Steps in a season, 0 for none; auto: one day if it has 4 to 1440 steps, one week if a step is a day, one year if
    /// it is a week, a month or a quarter
    #[arg(long, value_name = "STEPS|auto", default_value = "auto", value_parser = season)]
    season: SeasonChoice,
    /// Quantile levels, ascending, with 0.5 [default: those of the daemon; with --windows and --cold-start
    /// 0.05,0.1,0.2 to 0.9,0.95]
    #[arg(long, value_name = "LEVEL,…", value_delimiter = ',')]
    quantiles: Vec<f64>,
    /// Holidays in --time-zone, such as 2014-12-25: days that do not behave like their weekday
    #[arg(long, value_name = "DATE,…", value_delimiter = ',', value_parser = date)]
    holidays: Vec<Date>,
    /// A file with further holidays: a date a line, CSV, or a calendar (.ics)
    #[arg(long, value_name = "FILE")]
    holidays_file: Option<PathBuf>,
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

/// The grid of the steps.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forecast")]
pub(super) struct GridArguments {
    /// Length of a step, such as 15m, 1d, 1w, 1mo or 1y [default: what lies between the rows]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<Length>,
    /// Local time at which a step begins: a time of day such as 06:00, or a date, such as 2026-04-01 for years from
    /// April on
    #[arg(long, value_name = "TIME", value_parser = origin)]
    origin: Option<Origin>,
    /// Day with which weeks begin, such as sunday [default: the weekday of all rows, or monday]
    #[arg(long, value_name = "DAY", value_parser = weekday)]
    week_starts: Option<Weekday>,
}

impl FileArguments {
    /// How the file is read onto a grid; what `grid` leaves open is found from the rows.
    pub(super) fn read_spec(&self, grid: &GridArguments) -> ReadSpec {
        let layout = match &self.key {
            Some(key) => Layout::Long { key: key.clone(), value: self.value.clone() },
            None => Layout::Wide { columns: self.columns.clone() },
        };
        let time = match &self.time {
            _ if self.no_time => TimeColumn::None,
            Some(column) => TimeColumn::Named(column.clone()),
            None => TimeColumn::First,
        };
        let zone = self.time_zone.clone().unwrap_or(TimeZone::UTC);
        let time_format = self.time_format.as_deref().map(|format| match format {
            "rfc3339" => TimeFormat::Rfc3339,
            "s" => TimeFormat::EpochSeconds,
            "ms" => TimeFormat::EpochMillis,
            "us" => TimeFormat::EpochMicros,
            "ns" => TimeFormat::EpochNanos,
            pattern => TimeFormat::Strftime { pattern: pattern.to_owned(), zone: zone.clone() },
        });
        let grid = GridRequest {
            length: grid.interval,
            origin: grid.origin.unwrap_or_default(),
            week_starts: grid.week_starts.map(Into::into),
            zone: self.time_zone.clone(),
        };
        ReadSpec {
            layout,
            past_covariates: self.past_covariates.clone(),
            future_covariates: self.future_covariates.clone(),
            time,
            time_format,
            zone,
            grid,
            missing: self.missing.clone(),
            header: !self.no_header,
            delimiter: self.delimiter,
        }
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
    pub(super) fn stream_spec(&self, name: &str, seed: u64, table: &Table) -> Result<StreamSpec, Failure> {
        let covariates = table.past_covariates.len();
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
        let interval = Interval::from(&table.grid);
        let season = match self.season {
            SeasonChoice::Auto => Season::Auto,
            SeasonChoice::Steps(0) => Season::None,
            SeasonChoice::Steps(steps) => season_of(interval, steps),
        };
        let mut holidays = self.holidays.clone();
        if let Some(file) = &self.holidays_file {
            holidays.extend(settings::read_holidays(file).map_err(|what| Failure(BAD_DATA, what))?);
        }
        let stream = Stream {
            name: name.to_owned(),
            interval,
            aggregation: Aggregation::Last,
            readings_per_slot: Some(1),
            max_ahead: settings::Limit::None,
            season,
            horizon: self.horizon,
            quantiles: self.quantiles(),
            holidays,
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
        specs::engine_spec(&stream, table.zone.clone().into(), table.grid.clone())
            .map_err(|error| Failure(USAGE, error.to_string()))
    }
}

/// Describes the file in one line for the user: series, rows, step and season.
pub(super) fn describe(stream: &StreamSpec, table: &Table) -> String {
    let step = Interval::from(&table.grid);
    let season = match stream.series.season {
        0 => "no season".to_owned(),
        steps => format!("season {steps} steps"),
    };
    let mut text = format!("{} series, {} rows, step {step}, {season}", table.series.len(), table.rows);
    text += &match found_seasons(table) {
        found if found.is_empty() => " (none found in the data)".to_owned(),
        found => format!(" (found in the data: {})", seasons_text(&found)),
    };
    if !table.ignored_columns.is_empty() {
        text += &format!("; ignored, without numbers: {}", table.ignored_columns.join(", "));
    }
    text
}

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

/// A season of so many steps.
fn season_of(interval: Interval, steps: u32) -> Season {
    match interval {
        Interval::Months(months) => Season::Months(months.saturating_mul(steps)),
        _ => {
            let length = interval.nominal().map_or(0, |interval| interval.0);
            Season::Every(Millis(length.saturating_mul(i64::from(steps))))
        }
    }
}

fn origin(text: &str) -> Result<Origin, String> {
    text.parse()
}

fn weekday(text: &str) -> Result<Weekday, String> {
    let day = Weekday::from_word(&text.to_lowercase());
    day.ok_or_else(|| format!("{text:?} is no weekday; expected one of {}", Weekday::WORDS.join(", ")))
}

fn interval(text: &str) -> Result<Length, String> {
    let expected = || format!("{text:?} is not a duration; expected one such as 500ms, 15m, 1h, 1d, 1w, 1mo or 1y");
    let span: Span = text.parse().map_err(|_| expected())?;
    let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
    if months > 0 {
        let are_all = span.fieldwise() == Span::new().years(span.get_years()).months(span.get_months()).fieldwise();
        let months = u32::try_from(months).ok().filter(|months| are_all && *months <= MOST_MONTHS);
        return months.map(Length::Months).ok_or_else(expected);
    }
    let millis = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).map_err(|_| expected())?;
    // A whole number that an f64 represents exactly.
    let whole = (millis >= 1.0 && millis.fract() == 0.0 && millis < 1e15).then_some(millis as i64);
    whole.map(Length::Clock).ok_or_else(expected)
}

fn date(text: &str) -> Result<Date, String> {
    let date = text.parse().ok().map(Date).filter(|date| date.to_string() == text);
    date.ok_or_else(|| format!("{text:?} is not a date; expected one such as 2014-12-25"))
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|error| format!("{error}; expected a name such as Europe/Vienna"))
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
        assert_eq!(read, [900_000, 3_600_000, 86_400_000, 500, 90_000].map(Length::Clock));
        let read = ["1w", "1mo", "3mo", "1y", "1y 6mo"].map(|text| interval(text).unwrap());
        assert_eq!(read[0], Length::Clock(7 * 86_400_000));
        assert_eq!(read[1..], [1, 3, 12, 18].map(Length::Months));
        for wrong in ["", "5", "-1h", "0s", "soon", "1mo 1d", "-1mo", "1000y"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
        assert_eq!(date("2014-12-25").map(|date| date.to_string()).as_deref(), Ok("2014-12-25"));
        for wrong in ["", "2014-12-32", "25.12.2014", "2014-12-25T00:00"] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
        assert_eq!((season("auto"), season("48")), (Ok(SeasonChoice::Auto), Ok(SeasonChoice::Steps(48))));
    }
}
