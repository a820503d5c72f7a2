//! Arguments of `foretide backtest`.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf};

use crate::{
    backtest::plot,
    cli::{
        data::{FileArguments, ForecastArguments},
        failure::{Failure, USAGE},
        training::TrainingArguments,
    },
    engine::FieldBounds,
    forecast::ValueBounds,
    settings::{Stream, Training},
    train::{DeviceChoice, Gaps},
};

/// The stream's name in emitted records.
pub(super) const STREAM: &str = "backtest";
/// Updates of the weights per training by default: enough for the loss to settle, within minutes.
const UPDATES: usize = 400;

/// Arguments of `foretide backtest`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// CSV, plain or gzipped. Wide: a timestamp column and one column per series
    #[arg(required_unless_present_any = ["m4", "nab"])]
    pub(super) file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) reading: FileArguments,
    #[command(flatten)]
    pub(super) forecast: ForecastArguments,
    /// Seed of the initial weights and of training
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = Stream::default().model.seed,
        help_heading = "Forecast"
    )]
    pub(super) seed: u64,

    #[command(flatten)]
    pub(super) bounds: BoundArguments,

    /// Do not train the network: the calibrated mixture of the other experts forecasts
    #[arg(long, help_heading = "Training")]
    pub(super) no_training: bool,
    /// Use the network's median as the point forecast, without the mixture: shows what the network has learnt
    #[arg(long, help_heading = "Training")]
    pub(super) network_alone: bool,
    /// Train before these rows [default: at the end of --scale-rows, or after 20 % of the rows, and again whenever the
    /// history has grown by half]
    #[arg(
        long,
        value_name = "ROW,…",
        value_delimiter = ',',
        conflicts_with = "no_training",
        help_heading = "Training"
    )]
    pub(super) train_at: Vec<usize>,
    /// After the first training, train again each time this many rows have passed
    #[arg(
        long,
        value_name = "ROWS",
        conflicts_with_all = ["no_training", "train_at"],
        help_heading = "Training"
    )]
    pub(super) train_every: Option<NonZeroUsize>,
    /// Between trainings, refresh the network each time this many rows have passed, from the newest rows and three
    /// times as many older ones
    #[arg(long, value_name = "ROWS", conflicts_with = "no_training", help_heading = "Training")]
    pub(super) refresh_every: Option<NonZeroUsize>,
    /// Updates of the weights per refresh
    #[arg(
        long,
        value_name = "N",
        default_value_t = Training::default().refresh_updates as usize,
        help_heading = "Training"
    )]
    pub(super) refresh_updates: usize,
    /// Updates of the weights per training; the learning rate falls to its minimum over them
    #[arg(long, value_name = "UPDATES", default_value_t = UPDATES, help_heading = "Training")]
    pub(super) train_updates: usize,
    /// Newest steps of each series that training reads
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = Training::default().max_steps_per_series as usize,
        help_heading = "Training"
    )]
    pub(super) train_history: usize,
    /// Device of the training: auto, cpu or cuda. Only on the CPU are two runs identical to the last bit
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    pub(super) device: DeviceChoice,

    #[command(flatten)]
    pub(super) training: TrainingArguments,

    #[command(flatten)]
    pub(super) windows: WindowArguments,
    #[command(flatten)]
    pub(super) impute: ImputeArguments,
    #[command(flatten)]
    pub(super) m4: M4Arguments,
    #[command(flatten)]
    pub(super) nab: NabArguments,

    /// Horizons to report; each is the mean over leads 1 to it [default: 1 and --horizon; with --strategy many_to_one
    /// --horizon]
    #[arg(long, value_name = "STEPS,…", value_delimiter = ',', help_heading = "Report")]
    pub(super) report: Vec<usize>,
    /// Report errors in units of each series' mean and standard deviation in these rows (A <= row < B, from 0)
    #[arg(long, value_name = "A..B", value_parser = rows, help_heading = "Report")]
    pub(super) scale_rows: Option<Range<usize>>,
    /// For each reported horizon, score the forecasts whose targets all lie in these rows [default: the rows after
    /// --scale-rows, or after the first 20 %]
    #[arg(long, value_name = "A..B", value_parser = rows, help_heading = "Report")]
    pub(super) score_rows: Option<Range<usize>>,
    /// Compare the parts of the engine: the whole, its network alone, its mixture untrained, and the naive forecasts;
    /// also reports the time per forecast
    #[arg(
        long,
        conflicts_with_all = ["network_alone", "plot", "emit", "impute", "m4"],
        help_heading = "Report"
    )]
    pub(super) compare: bool,
    /// Print one JSON object instead of a table
    #[arg(long, help_heading = "Report")]
    pub(super) json: bool,
    /// Draw forecasts and errors
    #[arg(
        long,
        value_name = "FILE.svg|png",
        value_parser = plot::PlotFile::parse,
        help_heading = "Report"
    )]
    pub(super) plot: Option<plot::PlotFile>,
    /// The series to draw [default: the first one]
    #[arg(long, value_name = "NAME", requires = "plot", help_heading = "Report")]
    pub(super) plot_series: Option<String>,
    /// Write every forecast as the daemon's record, one per line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) emit: Option<PathBuf>,
    /// The input topic in emitted records
    #[arg(long, value_name = "NAME", default_value = STREAM, help_heading = "Report")]
    pub(super) topic: String,
    /// The partition in emitted records
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "Report")]
    pub(super) partition: i32,
}

/// Bounds and kind of the values of all columns.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Values")]
pub(super) struct BoundArguments {
    /// No forecast lies below this number
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number, conflicts_with = "impute")]
    minimum: Option<f64>,
    /// No forecast lies above this number
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number, conflicts_with = "impute")]
    maximum: Option<f64>,
    /// The values are whole numbers: quantiles are rounded to the nearest one
    #[arg(long, conflicts_with = "impute")]
    integer: bool,
}

impl BoundArguments {
    /// What the values can be.
    pub(super) fn field_bounds(&self) -> Result<FieldBounds, Failure> {
        let nothing = || {
            let between = "no value lies between --minimum and --maximum; expected a minimum at most as large";
            Failure(USAGE, between.to_owned())
        };
        ValueBounds::new(self.minimum, self.maximum, self.integer).map(FieldBounds::of_all).ok_or_else(nothing)
    }
}

/// Arguments of the evaluations of single forecasts.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Windows")]
pub(super) struct WindowArguments {
    /// Score the last N windows of --horizon steps of each series, each forecast once from the last step before it, as
    /// GIFT-Eval does: MASE, weighted quantile loss, coverage and width, beside the seasonal naive forecast's
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        conflicts_with_all = [
            "report", "scale_rows", "score_rows", "compare", "plot", "impute", "m4", "nab", "cold_start"
        ]
    )]
    pub(super) windows: Option<usize>,
    /// Write each window with its targets, forecasts and scores, one JSON object per line
    #[arg(long, value_name = "FILE", requires = "windows")]
    pub(super) emit_windows: Option<PathBuf>,
    /// Score one forecast of each series after 1, 4, 16, 64, 256 and 1024 observations, against both naive forecasts.
    /// The network is trained before the rows of --train-at only
    #[arg(long, conflicts_with_all = ["report", "compare", "plot", "impute", "m4", "nab"])]
    pub(super) cold_start: bool,
}

/// Arguments of the imputation benchmark.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Gaps")]
pub(super) struct ImputeArguments {
    /// Do not forecast: hide runs of values in the scored rows, and report how well a bidirectional lstm or gru
    /// fills them after training on the rows before
    #[arg(long, conflicts_with = "weights")]
    pub(super) impute: bool,
    /// How many steps in a row are hidden, both bounds included
    #[arg(long, value_name = "SHORTEST..LONGEST", default_value = "1..24", value_parser = gaps, requires = "impute")]
    pub(super) impute_gaps: Gaps,
}

/// Arguments of the M4 benchmark.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "M4")]
pub(super) struct M4Arguments {
    /// Forecast the rows of TEST, each once, from the ends of the rows of TRAIN. A row is a series: its name, then its
    /// values. Reports the errors of the M4 competition
    #[arg(
        long,
        num_args = 2,
        value_names = ["TRAIN", "TEST"],
        // The series have no timestamps, and each is forecast once.
        conflicts_with_all = [
            "file", "long", "key", "value", "columns", "time", "no_time", "time_format", "time_zone", "missing",
            "no_header", "delimiter", "interval", "origin", "week_starts", "season", "report", "scale_rows",
            "score_rows", "impute", "plot"
        ]
    )]
    pub(super) m4: Vec<PathBuf>,
    /// Steps in a season, 1 for none
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = 1,
        requires = "m4",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(super) period: u32,
}

/// Arguments of the Numenta Anomaly Benchmark.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NAB")]
pub(super) struct NabArguments {
    /// Score the anomaly scores of all CSV files below this folder by the rules of the Numenta Anomaly Benchmark,
    /// standard profile. The network is not trained
    #[arg(
        long,
        value_name = "DIR",
        requires = "labels",
        conflicts_with_all = [
            "file", "long", "report", "scale_rows", "score_rows", "impute", "m4", "compare", "plot", "emit",
            "network_alone", "weights"
        ]
    )]
    pub(super) nab: Option<PathBuf>,
    /// The labelled windows of the files: JSON, by each file's folder and name
    #[arg(long, value_name = "FILE", requires = "nab")]
    pub(super) labels: Option<PathBuf>,
}

/// Parses `A..B`.
fn range(text: &str) -> Option<(usize, usize)> {
    let (start, end) = text.split_once("..")?;
    Some((start.trim().parse().ok()?, end.trim().parse().ok()?))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "expected a finite number".to_owned())
}

fn rows(text: &str) -> Result<Range<usize>, String> {
    let invalid = || format!("{text:?} is not a range of rows; expected A..B with A < B, such as 0..2880");
    range(text).filter(|(start, end)| start < end).map(|(start, end)| start..end).ok_or_else(invalid)
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count >= 1);
    count.ok_or_else(|| format!("{text:?} is not a number of windows; expected 1 or more"))
}

fn gaps(text: &str) -> Result<Gaps, String> {
    let invalid =
        || format!("{text:?} is not a range of gap lengths; expected A..B with 1 <= A <= B <= {}", Gaps::LONGEST);
    range(text)
        .filter(|(shortest, longest)| (1..=*longest).contains(shortest) && *longest <= Gaps::LONGEST)
        .map(|(shortest, longest)| Gaps { shortest, longest })
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_rows_gap_lengths_and_counts_are_parsed() {
        assert_eq!(count("20"), Ok(20));
        assert!(["", "0", "-1", "2.5", "all"].into_iter().all(|wrong| count(wrong).is_err()));
        assert_eq!(rows("0..2880"), Ok(0..2880));
        for wrong in ["", "5", "5..5", "a..b", "-1..3", "3..1"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
        assert_eq!(gaps("1..24"), Ok(Gaps { shortest: 1, longest: 24 }));
        assert_eq!(gaps("6..6"), Ok(Gaps { shortest: 6, longest: 6 }));
        for wrong in ["", "5", "0..3", "5..4", "a..b", "1..1025"] {
            assert!(gaps(wrong).is_err(), "{wrong}");
        }
    }
}
