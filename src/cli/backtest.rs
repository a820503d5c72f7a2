//! `foretide backtest`: a file through the engine, and how well it was forecast.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Span, SpanRelativeTo, Unit, tz::TimeZone};

use crate::{
    backtest::{
        self, BacktestError, BacktestSpec, DataError, Layout, ReadSpec, Report, Round, Table, TimeColumn, TrainingPlan,
        Watch, plot, schedule,
    },
    daemon::forecasts::ForecastWriter,
    engine::{Engine, Epoch, StreamSpec},
    env::{Clock, SystemClock},
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec},
    series::{Aggregation, Calendar, FEATURES, SeriesSpec},
    settings::{Interval, Millis, Season, Stream, Training},
    time::Grid,
    train::{DeviceChoice, Progress, TrainSpec},
    wire::TimeFormat,
};

/// Exit codes of sysexits.h: wrong usage, bad data, no input, output that cannot be written, and anything else.
const USAGE: u8 = 64;
const BAD_DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const SOFTWARE: u8 = 70;
const CANNOT_WRITE: u8 = 74;

/// The stream's name in emitted records.
const STREAM: &str = "backtest";
/// Readings in one epoch of the engine, about: enough to spread its cost, and few enough to stay in the cache.
const READINGS_PER_EPOCH: usize = 2048;
/// Updates in one training where no other number is asked for: minutes, not hours, and enough for the loss to settle.
const UPDATES: usize = 400;

/// What `foretide backtest` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// CSV, plain or gzipped. Wide: a time stamp and one column for each series
    file: PathBuf,

    /// Every row is one reading: of the series that --key names, at --time, with --value
    #[arg(long, requires = "key", help_heading = "File")]
    long: bool,
    /// Long: the column that names the series
    #[arg(long, value_name = "COLUMN", requires = "long", help_heading = "File")]
    key: Option<String>,
    /// Long: the column of the value [default: the last one]
    #[arg(long, value_name = "COLUMN", requires = "long", help_heading = "File")]
    value: Option<String>,
    /// Wide: the columns to forecast [default: every one that holds numbers]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "long", help_heading = "File")]
    columns: Vec<String>,
    /// The column of the time stamp [default: the first one]
    #[arg(long, value_name = "COLUMN", help_heading = "File")]
    time: Option<String>,
    /// There is no time stamp: rows are one --interval apart [default: 1 s]
    #[arg(long, conflicts_with_all = ["time", "time_format"], help_heading = "File")]
    no_time: bool,
    /// rfc3339, s, ms, us, ns (since 1970) or a strptime pattern [default: found out from the file]
    #[arg(long, value_name = "FORMAT", help_heading = "File")]
    time_format: Option<String>,
    /// Time zone of stamps that name none, and of days and weeks
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone, help_heading = "File")]
    time_zone: TimeZone,
    /// A number that stands for none, such as -9999; may be given several times
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = "File")]
    missing: Vec<f64>,
    /// The first row holds numbers already; columns are called 1, 2, 3 …
    #[arg(long, help_heading = "File")]
    no_header: bool,
    /// What stands between columns
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter, help_heading = "File")]
    delimiter: u8,

    /// Steps ahead to forecast
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().horizon, help_heading = "Forecast")]
    horizon: u32,
    /// Length of a step, such as 15m [default: the median time between readings]
    #[arg(long, value_name = "TIME", value_parser = interval, help_heading = "Forecast")]
    interval: Option<i64>,
    /// Steps in a season, 0 for none; auto: one day where it has 24 to 1440 steps
    #[arg(long, value_name = "STEPS|auto", default_value = "auto", value_parser = season, help_heading = "Forecast")]
    season: SeasonChoice,
    /// Quantile levels, ascending, 0.5 among them
    #[arg(long, value_name = "LEVEL,…", value_delimiter = ',', default_values_t = Stream::default().quantiles, help_heading = "Forecast")]
    quantiles: Vec<f64>,
    /// The network's cell
    #[arg(long, value_name = "lstm|gru", default_value_t = default_cell(), help_heading = "Forecast")]
    cell: CellKind,
    /// Its units in a layer
    #[arg(long, value_name = "UNITS", default_value_t = Stream::default().model.hidden, help_heading = "Forecast")]
    hidden: u32,
    /// Its layers
    #[arg(long, value_name = "LAYERS", default_value_t = Stream::default().model.layers, help_heading = "Forecast")]
    layers: u32,
    /// Seed of its weights and of training
    #[arg(long, value_name = "NUMBER", default_value_t = Stream::default().model.seed, help_heading = "Forecast")]
    seed: u64,

    /// The network stays untrained: what forecasts is the mixture of naive experts, calibrated
    #[arg(long, help_heading = "Training")]
    no_training: bool,
    /// Train before these rows [default: at the end of --scale-rows, or after 20 % of the rows, and whenever the history has grown by half]
    #[arg(
        long,
        value_name = "ROW,…",
        value_delimiter = ',',
        conflicts_with = "no_training",
        help_heading = "Training"
    )]
    train_at: Vec<usize>,
    /// After the first training, train every so many rows
    #[arg(long, value_name = "ROWS", conflicts_with_all = ["no_training", "train_at"], help_heading = "Training")]
    train_every: Option<std::num::NonZeroUsize>,
    /// Updates of the weights in one training: its budget, over which the learning rate goes down
    #[arg(long, value_name = "UPDATES", default_value_t = UPDATES, help_heading = "Training")]
    train_updates: usize,
    /// Newest steps of each series that training reads
    #[arg(long, value_name = "STEPS", default_value_t = Training::default().max_steps_per_series as usize, help_heading = "Training")]
    train_history: usize,
    /// Where training runs: auto, cpu or cuda. Only on the CPU are two runs the same to the last bit
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    device: DeviceChoice,

    /// Horizons to report; each is the mean over leads 1 to it [default: 1 and --horizon]
    #[arg(long, value_name = "STEPS,…", value_delimiter = ',', help_heading = "Report")]
    report: Vec<usize>,
    /// Errors in units of each series' mean and standard deviation in these rows (A <= row < B, from 0)
    #[arg(long, value_name = "A..B", value_parser = rows, help_heading = "Report")]
    scale_rows: Option<Range<usize>>,
    /// Score, for each reported horizon, the forecasts all of whose targets up to it lie in these rows [default: what follows --scale-rows, or the first 20 %]
    #[arg(long, value_name = "A..B", value_parser = rows, help_heading = "Report")]
    score_rows: Option<Range<usize>>,
    /// One JSON object on standard output instead of a table
    #[arg(long, help_heading = "Report")]
    json: bool,
    /// Draw forecasts and errors
    #[arg(long, value_name = "FILE.svg|png", value_parser = plot::PlotFile::parse, help_heading = "Report")]
    plot: Option<plot::PlotFile>,
    /// The series to draw [default: the first one]
    #[arg(long, value_name = "NAME", requires = "plot", help_heading = "Report")]
    plot_series: Option<String>,
    /// Write every forecast as the daemon's record, one a line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    emit: Option<PathBuf>,
    /// The input topic that emitted records name
    #[arg(long, value_name = "NAME", default_value = STREAM, help_heading = "Report")]
    topic: String,
    /// The partition that they name
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "Report")]
    partition: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeasonChoice {
    Auto,
    Steps(u32),
}

/// What went wrong, and with which exit code it ends.
struct Failure(u8, String);

impl From<BacktestError> for Failure {
    fn from(error: BacktestError) -> Self {
        let code = match &error {
            BacktestError::Asked(_) | BacktestError::Network(_) => USAGE,
            BacktestError::Write(_) => CANNOT_WRITE,
            BacktestError::Train(_) => SOFTWARE,
        };
        Self(code, error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self(if matches!(error, DataError::Unreadable { .. }) { NO_INPUT } else { BAD_DATA }, error.to_string())
    }
}

/// Runs the file through the engine and prints how well it was forecast.
pub fn run(arguments: &Arguments) -> ExitCode {
    match whole(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide backtest: {what}");
            ExitCode::from(code)
        }
    }
}

fn whole(arguments: &Arguments) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let table = backtest::read_file(&arguments.file, &read_spec(arguments))?;
    let spec = backtest_spec(arguments, &table)?;
    let mut screen = Screen::open(arguments, &spec)?;
    screen.say(&what_it_is(&spec, &table));
    let report = backtest::run(&spec, &table, &mut screen)?;
    screen.close(arguments)?;
    tell_counts(&report, &table);
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    if let (Some(plot), Some(gallery)) = (&arguments.plot, &report.gallery) {
        plot::draw(plot, gallery, &report).map_err(|error| Failure(CANNOT_WRITE, error.to_string()))?;
    }
    let text = if arguments.json { report.json(seconds) + "\n" } else { format!("{}{seconds:.1} s\n", report.table()) };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(CANNOT_WRITE, error.to_string())),
        _ => Ok(()),
    }
}

fn read_spec(arguments: &Arguments) -> ReadSpec {
    let layout = match &arguments.key {
        Some(key) => Layout::Long { key: key.clone(), value: arguments.value.clone() },
        None => Layout::Wide { columns: arguments.columns.clone() },
    };
    let time = match &arguments.time {
        _ if arguments.no_time => TimeColumn::None,
        Some(column) => TimeColumn::Named(column.clone()),
        None => TimeColumn::First,
    };
    let time_format = arguments.time_format.as_deref().map(|format| match format {
        "rfc3339" => TimeFormat::Rfc3339,
        "s" => TimeFormat::EpochSeconds,
        "ms" => TimeFormat::EpochMillis,
        "us" => TimeFormat::EpochMicros,
        "ns" => TimeFormat::EpochNanos,
        pattern => TimeFormat::Strftime { pattern: pattern.to_owned(), zone: arguments.time_zone.clone() },
    });
    ReadSpec {
        layout,
        time,
        time_format,
        zone: arguments.time_zone.clone(),
        interval: arguments.interval,
        missing: arguments.missing.clone(),
        header: !arguments.no_header,
        delimiter: arguments.delimiter,
    }
}

fn backtest_spec(arguments: &Arguments, table: &Table) -> Result<BacktestSpec, Failure> {
    let first = arguments.scale_rows.as_ref().map_or(table.rows / 5, |rows| rows.end);
    let horizon = arguments.horizon as usize;
    let mut report = if arguments.report.is_empty() { vec![1, horizon] } else { arguments.report.clone() };
    report.sort_unstable();
    report.dedup();
    let shown = arguments.plot_series.clone().or_else(|| table.series.first().cloned());
    Ok(BacktestSpec {
        stream: stream_spec(arguments, table)?,
        topic: Arc::from(arguments.topic.as_str()),
        partition: arguments.partition,
        report,
        scale_rows: arguments.scale_rows.clone(),
        score_rows: arguments.score_rows.clone().unwrap_or(first..table.rows),
        training: (!arguments.no_training).then(|| training_plan(arguments, first, table.rows)),
        block: (READINGS_PER_EPOCH / table.series.len().max(1)).clamp(1, 256),
        shown: arguments.plot.as_ref().and(shown),
    })
}

/// The stream as the daemon would have it: what is not asked for here has the daemon's own default.
fn stream_spec(arguments: &Arguments, table: &Table) -> Result<StreamSpec, Failure> {
    let usage = |what: String| Failure(USAGE, what);
    let interval = table.interval;
    let season = match arguments.season {
        SeasonChoice::Auto => Season::Auto,
        SeasonChoice::Steps(0) => Season::None,
        SeasonChoice::Steps(steps) => Season::Every(Millis(interval.saturating_mul(i64::from(steps)))),
    };
    let stream = Stream { interval: Interval::Every(Millis(interval)), season, ..Stream::default() };
    let season = stream.season_steps();
    let levels: Vec<f32> = arguments.quantiles.iter().map(|level| *level as f32).collect();
    let forecast = ForecastSpec::new(arguments.horizon as usize, &levels, season as usize)
        .map_err(|error| usage(error.to_string()))?;
    let network = NetworkSpec {
        cell: arguments.cell,
        layers: arguments.layers as usize,
        hidden: arguments.hidden as usize,
        inputs: FEATURES,
        horizon: forecast.horizon,
        levels: levels.len(),
        seed: arguments.seed,
        ..NetworkSpec::default()
    };
    network.check().map_err(|error| usage(error.to_string()))?;
    Ok(StreamSpec {
        name: Arc::from(STREAM),
        series: SeriesSpec {
            grid: Grid::Regular { interval },
            aggregation: Aggregation::Last,
            readings_per_slot: Some(1),
            allowed_lateness: stream.allowed_lateness.0,
            max_gap: u32::try_from(stream.max_gap_millis() / interval).unwrap_or(u32::MAX),
            max_gap_millis: stream.max_gap_millis(),
            season,
            horizon: arguments.horizon,
            burn_in: stream.model.burn_in,
            calendar: Calendar::new(arguments.time_zone.clone()),
        },
        forecast,
        network,
        max_series: table.series.len(),
    })
}

fn training_plan(arguments: &Arguments, first: usize, rows: usize) -> TrainingPlan {
    let mut at = arguments.train_at.clone();
    at.sort_unstable();
    at.dedup();
    let rows = match arguments.train_every {
        _ if !at.is_empty() => at,
        Some(every) => (first..rows).step_by(every.get()).collect(),
        None => schedule(first, rows),
    };
    let defaults = Training::default();
    let spec = TrainSpec {
        k1: defaults.k1 as usize,
        k2: defaults.k2 as usize,
        learning_rate: defaults.learning_rate,
        clip: defaults.clip,
        lanes: defaults.lanes as usize,
        max_steps: arguments.train_updates,
        epochs: usize::MAX,
        held_out: defaults.held_out,
        seed: arguments.seed,
        device: arguments.device,
        levels: arguments.quantiles.iter().map(|level| *level as f32).collect(),
        margin: defaults.margin,
        ..TrainSpec::default()
    };
    TrainingPlan { rows, most_steps: arguments.train_history, spec }
}

fn what_it_is(spec: &BacktestSpec, table: &Table) -> String {
    let step = Millis(table.interval);
    let season = match spec.stream.series.season {
        0 => "no season".to_owned(),
        steps => format!("season {steps} steps"),
    };
    let mut text = format!("{} series, {} rows, step {step}, {season}", table.series.len(), table.rows);
    if !table.left_out.is_empty() {
        text += &format!("; left out, no numbers: {}", table.left_out.join(", "));
    }
    text
}

fn tell_counts(report: &Report, table: &Table) {
    let counts = report.counts;
    let all = [(table.gaps, "gaps"), (counts.doubled, "doubled and refused"), (counts.late, "late and refused")];
    let parts: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if !parts.is_empty() {
        eprintln!("{} readings taken; {}", counts.taken, parts.join(", "));
    }
}

/// Progress on standard error, and the file of forecasts.
struct Screen {
    bar: ProgressBar,
    emit: Option<(ForecastWriter, BufWriter<File>)>,
    record: Vec<u8>,
    updates: usize,
}

impl Screen {
    fn open(arguments: &Arguments, spec: &BacktestSpec) -> Result<Self, Failure> {
        let create = |path: &PathBuf| {
            let failure = |error: io::Error| Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()));
            File::create(path).map(|file| (ForecastWriter::default(), BufWriter::new(file))).map_err(failure)
        };
        let emit = arguments.emit.as_ref().map(create).transpose()?;
        // indicatif draws on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/blue} {percent:>3} %  {eta:>4} left  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        let updates = spec.training.as_ref().map_or(0, |plan| plan.spec.max_steps);
        Ok(Self { bar, emit, record: Vec::new(), updates })
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn close(mut self, arguments: &Arguments) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let (Some((_, out)), Some(path)) = (&mut self.emit, &arguments.emit) {
            let failure = |error| Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()));
            out.flush().map_err(failure)?;
        }
        Ok(())
    }
}

impl Watch for Screen {
    fn fed(&mut self, readings: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(readings as u64);
    }

    fn epoch(&mut self, engine: &Engine, epoch: &Epoch) -> io::Result<()> {
        let Some((writer, out)) = &mut self.emit else { return Ok(()) };
        for row in &epoch.forecasts {
            writer.write(engine, epoch, row, &mut self.record);
            self.record.push(b'\n');
            out.write_all(&self.record)?;
        }
        Ok(())
    }

    fn training(&mut self, row: usize, progress: &Progress) {
        let (step, of, loss) = (progress.step, self.updates, progress.loss);
        self.bar.set_message(format!("training before row {row}: update {step} of {of}, loss {loss:.4}"));
        self.bar.tick();
    }

    fn trained(&mut self, round: &Round) {
        self.bar.set_message("");
        let losses = format!("held-out loss {:.4} to {:.4}", round.champion_loss, round.challenger_loss);
        let (row, updates) = (round.row, round.updates);
        self.say(&match &round.refused {
            None => format!("trained before row {row}, {updates} updates: promoted, {losses}"),
            Some(why) => format!("trained before row {row}, {updates} updates: refused, {why}"),
        });
    }
}

fn default_cell() -> CellKind {
    match Stream::default().model.cell {
        crate::settings::Cell::Lstm => CellKind::Lstm,
        crate::settings::Cell::Gru => CellKind::Gru,
    }
}

fn rows(text: &str) -> Result<Range<usize>, String> {
    let parse = |text: &str| text.trim().parse::<usize>().ok();
    let range = text.split_once("..").and_then(|(start, end)| Some(parse(start)?..parse(end)?));
    let expected = || format!("{text:?} is no range of rows; expected A..B with A < B, such as 0..2880");
    range.filter(|range| range.start < range.end).ok_or_else(expected)
}

fn season(text: &str) -> Result<SeasonChoice, String> {
    // A season is kept in memory for every series.
    let steps = text.parse().ok().filter(|steps| *steps <= 1_000_000);
    match text {
        "auto" => Ok(SeasonChoice::Auto),
        _ => steps.map(SeasonChoice::Steps).ok_or_else(|| "expected auto or a number of steps, 0 for none".to_owned()),
    }
}

fn interval(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is no length of time; expected one such as 500ms, 15m, 1h or 1d");
    let span: Span = text.parse().map_err(|_| expected())?;
    let millis = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).map_err(|_| expected())?;
    // Whole, and exact in an f64.
    let whole = (millis >= 1.0 && millis.fract() == 0.0 && millis < 1e15).then_some(millis as i64);
    whole.ok_or_else(expected)
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
    fn ranges_and_lengths_of_time_are_read() {
        assert_eq!(rows("0..2880"), Ok(0..2880));
        for wrong in ["", "5", "5..5", "a..b", "-1..3", "3..1"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
        let read = ["15m", "1h", "1d", "500ms", "90s"].map(|text| interval(text).unwrap());
        assert_eq!(read, [900_000, 3_600_000, 86_400_000, 500, 90_000]);
        for wrong in ["", "5", "-1h", "0s", "soon", "1mo"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
        assert_eq!((season("auto"), season("48")), (Ok(SeasonChoice::Auto), Ok(SeasonChoice::Steps(48))));
    }
}
