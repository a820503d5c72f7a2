//! `foretide backtest`: a file through the engine, and how well it was forecast.

mod compare;
mod impute;
mod m4;
mod nab;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use indicatif::{ProgressBar, ProgressStyle};

use self::{compare::CompareArguments, impute::ImputeArguments, m4::M4Arguments, nab::NabArguments};
use super::{
    data::{FileArguments, ForecastArguments, what_it_is},
    failure::{CANNOT_WRITE, Failure},
    training::TrainingArguments,
};
use crate::{
    backtest::{
        self, BacktestSpec, Observer, Report, Table, TimedObserver, TrainingPlan, TrainingRound, default_training_rows,
        plot,
    },
    daemon::{forecasts::ForecastWriter, specs},
    engine::{Engine, Transaction},
    env::{Clock, SystemClock},
    settings::{Stream, Training},
    train::{DeviceChoice, Progress, TrainSpec},
};

/// The stream's name in emitted records.
const STREAM: &str = "backtest";
/// Readings in one epoch of the engine, about: enough to spread its cost, and few enough to stay in the cache.
const READINGS_PER_EPOCH: usize = 2048;
/// Updates in one training where no other number is asked for: minutes, not hours, and enough for the loss to settle.
const UPDATES: usize = 400;

/// What `foretide backtest` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// CSV, plain or gzipped. Wide: a time stamp and one column for each series
    #[arg(required_unless_present_any = ["m4", "nab"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    reading: FileArguments,
    #[command(flatten)]
    forecast: ForecastArguments,
    /// Seed of its weights and of training
    #[arg(long, value_name = "NUMBER", default_value_t = Stream::default().model.seed, help_heading = "Forecast")]
    seed: u64,

    /// The network stays untrained: what forecasts is the mixture of naive experts, calibrated
    #[arg(long, help_heading = "Training")]
    no_training: bool,
    /// The network's median is the point forecast, without the mixture: to see what it has learnt
    #[arg(long, conflicts_with = "no_training", help_heading = "Training")]
    network_alone: bool,
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
    /// Between trainings refresh the network every so many rows, from what is newest and three times as much of what is older
    #[arg(long, value_name = "ROWS", conflicts_with = "no_training", help_heading = "Training")]
    refresh_every: Option<std::num::NonZeroUsize>,
    /// Updates of the weights in such a refresh
    #[arg(long, value_name = "N", default_value_t = Training::default().refresh_updates as usize, help_heading = "Training")]
    refresh_updates: usize,
    /// Updates of the weights in one training: its budget, over which the learning rate goes down
    #[arg(long, value_name = "UPDATES", default_value_t = UPDATES, help_heading = "Training")]
    train_updates: usize,
    /// Newest steps of each series that training reads
    #[arg(long, value_name = "STEPS", default_value_t = Training::default().max_steps_per_series as usize, help_heading = "Training")]
    train_history: usize,
    /// Where training runs: auto, cpu or cuda. Only on the CPU are two runs the same to the last bit
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    device: DeviceChoice,

    #[command(flatten)]
    training: TrainingArguments,

    #[command(flatten)]
    impute: ImputeArguments,
    #[command(flatten)]
    m4: M4Arguments,
    #[command(flatten)]
    nab: NabArguments,
    #[command(flatten)]
    compare: CompareArguments,

    /// Horizons to report; each is the mean over leads 1 to it [default: 1 and --horizon, of one number --horizon]
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
    if let Some(folder) = &arguments.nab.nab {
        return nab::run(arguments, folder);
    }
    let Some(file) = &arguments.file else { return m4::run(arguments) };
    let clock = SystemClock::new();
    let table = backtest::read_file(file, &arguments.reading.read_spec(arguments.forecast.interval))?;
    let first = arguments.scale_rows.as_ref().map_or(table.rows / 5, |rows| rows.end);
    let score_rows = arguments.score_rows.clone().unwrap_or(first..table.rows);
    if arguments.impute.impute {
        return impute::run(arguments, &table, score_rows);
    }
    let spec = backtest_spec(arguments, &table, first, score_rows)?;
    let updates = spec.training.as_ref().map_or(0, |plan| plan.spec.max_updates);
    let mut screen = Screen::open(arguments.emit.as_ref(), updates)?;
    screen.say(&what_it_is(&spec.stream, &table));
    if arguments.compare.compare {
        return compare::run(&spec, &table, arguments.json, screen, &clock);
    }
    let report = backtest::run(&spec, &table, &mut screen)?;
    let microseconds = screen.microseconds_per_forecast();
    screen.close(arguments.emit.as_ref())?;
    tell_counts(&report, &table);
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    if let (Some(plot), Some(gallery)) = (&arguments.plot, &report.gallery) {
        plot::draw(plot, gallery, &report).map_err(|error| Failure(CANNOT_WRITE, error.to_string()))?;
    }
    let text = if arguments.json {
        report.json(seconds, microseconds) + "\n"
    } else {
        format!("{}{seconds:.1} s\n", report.table())
    };
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(CANNOT_WRITE, error.to_string())),
        _ => Ok(()),
    }
}

/// What is run; training begins at row `first` where no other row is named.
fn backtest_spec(
    arguments: &Arguments,
    table: &Table,
    first: usize,
    score_rows: Range<usize>,
) -> Result<BacktestSpec, Failure> {
    let horizon = arguments.forecast.horizon as usize;
    let shown = arguments.plot_series.clone().or_else(|| table.series.first().cloned());
    let mut stream = arguments.forecast.stream_spec(STREAM, arguments.seed, &arguments.reading, table)?;
    let mut report = match &arguments.report[..] {
        [] if stream.forecast.target.is_some() => vec![horizon],
        [] => vec![1, horizon],
        asked => asked.to_vec(),
    };
    report.sort_unstable();
    report.dedup();
    stream.forecast.network_alone = arguments.network_alone;
    Ok(BacktestSpec {
        stream,
        topic: Arc::from(arguments.topic.as_str()),
        partition: arguments.partition,
        report_horizons: report,
        scale_rows: arguments.scale_rows.clone(),
        score_rows,
        training: (!arguments.no_training).then(|| training_plan(arguments, first, table.rows)),
        rows_per_transaction: (READINGS_PER_EPOCH / table.series.len().max(1)).clamp(1, 256),
        plot_series: arguments.plot.as_ref().and(shown),
    })
}

fn training_plan(arguments: &Arguments, first: usize, last: usize) -> TrainingPlan {
    let mut at = arguments.train_at.clone();
    at.sort_unstable();
    at.dedup();
    let rows = match arguments.train_every {
        _ if !at.is_empty() => at,
        Some(every) => (first..last).step_by(every.get()).collect(),
        None => default_training_rows(first, last),
    };
    let defaults = specs::train_spec(&Training::default(), arguments.seed, arguments.forecast.levels());
    let (max_steps, device) = (arguments.train_updates, arguments.device);
    let mut spec = TrainSpec { max_updates: max_steps, epochs: usize::MAX, device, ..defaults };
    arguments.training.apply(&mut spec);
    let from = rows.first().copied().unwrap_or(last);
    let refreshes = arguments.refresh_every.map(|every| (from..last).step_by(every.get()).skip(1).collect());
    let refreshes = (refreshes.unwrap_or_default(), arguments.refresh_updates);
    TrainingPlan { rows, refreshes, max_history: arguments.train_history, spec }
}

fn tell_counts(report: &Report, table: &Table) {
    let counts = report.counts;
    let all = [(table.gaps, "gaps"), (counts.duplicate, "doubled and refused"), (counts.late, "late and refused")];
    let parts: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if !parts.is_empty() {
        eprintln!("{} readings taken; {}", counts.accepted, parts.join(", "));
    }
}

/// Progress on standard error, and the file of forecasts.
struct Screen {
    bar: ProgressBar,
    emit: Option<(ForecastWriter, BufWriter<File>)>,
    record: Vec<u8>,
    updates: usize,
    clock: SystemClock,
    /// When the epoch that is open began, how long those before it took, in microseconds, and their forecasts.
    begun: u64,
    spent: u64,
    forecasts: u64,
}

impl Screen {
    fn open(emit: Option<&PathBuf>, updates: usize) -> Result<Self, Failure> {
        let create = |path: &PathBuf| {
            let failure = |error: io::Error| Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()));
            File::create(path).map(|file| (ForecastWriter::default(), BufWriter::new(file))).map_err(failure)
        };
        let emit = emit.map(create).transpose()?;
        // indicatif draws on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/blue} {percent:>3} %  {eta:>4} left  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        let (clock, record) = (SystemClock::new(), Vec::new());
        Ok(Self { bar, emit, record, updates, clock, begun: 0, spent: 0, forecasts: 0 })
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// An imputer learns.
    fn learning(&self, update: usize, loss: f64) {
        self.bar.set_length(self.updates as u64);
        self.bar.set_position(update as u64);
        self.bar.set_message(format!("learning to fill gaps: loss {loss:.4}"));
    }

    fn close(mut self, emit: Option<&PathBuf>) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let (Some((_, out)), Some(path)) = (&mut self.emit, emit) {
            let failure = |error| Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()));
            out.flush().map_err(failure)?;
        }
        Ok(())
    }
}

impl TimedObserver for Screen {
    fn microseconds_per_forecast(&mut self) -> Option<f64> {
        let (spent, forecasts) = (std::mem::take(&mut self.spent), std::mem::take(&mut self.forecasts));
        (forecasts > 0).then(|| spent as f64 / forecasts as f64)
    }
}

impl Observer for Screen {
    fn on_progress(&mut self, readings: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(readings as u64);
    }

    fn on_transaction_start(&mut self) {
        self.begun = self.clock.monotonic_micros();
    }

    fn on_transaction(&mut self, engine: &Engine, epoch: &Transaction) -> io::Result<()> {
        self.spent += self.clock.monotonic_micros() - self.begun;
        self.forecasts += epoch.forecasts.len() as u64;
        let Some((writer, out)) = &mut self.emit else { return Ok(()) };
        for row in &epoch.forecasts {
            writer.write(engine, epoch, row, &mut self.record);
            self.record.push(b'\n');
            out.write_all(&self.record)?;
        }
        Ok(())
    }

    fn on_training_progress(&mut self, row: usize, progress: &Progress) {
        let (step, of, loss) = (progress.update, self.updates, progress.loss);
        self.bar.set_message(format!("training before row {row}: update {step} of {of}, loss {loss:.4}"));
        self.bar.tick();
    }

    fn on_training_end(&mut self, round: &TrainingRound) {
        self.bar.set_message("");
        let losses = format!("held-out loss {:.4} to {:.4}", round.champion_loss, round.challenger_loss);
        let (row, updates) = (round.row, round.updates);
        self.say(&match &round.rejection {
            None => format!("trained before row {row}, {updates} updates: promoted, {losses}"),
            Some(why) => format!("trained before row {row}, {updates} updates: refused, {why}"),
        });
    }
}

fn rows(text: &str) -> Result<Range<usize>, String> {
    let parse = |text: &str| text.trim().parse::<usize>().ok();
    let range = text.split_once("..").and_then(|(start, end)| Some(parse(start)?..parse(end)?));
    let expected = || format!("{text:?} is no range of rows; expected A..B with A < B, such as 0..2880");
    range.filter(|range| range.start < range.end).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(rows("0..2880"), Ok(0..2880));
        for wrong in ["", "5", "5..5", "a..b", "-1..3", "3..1"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
    }
}
