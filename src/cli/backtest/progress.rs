//! Progress on standard error, and the file of emitted forecasts.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    backtest::{Observer, ReadingCounts, TimedObserver, TrainingRound},
    cli::failure::{CANNOT_WRITE, Failure},
    daemon::forecasts::ForecastWriter,
    engine::{Engine, Transaction},
    env::{Clock, SystemClock},
    train::Progress,
};

/// Shows progress, times the engine, and writes forecasts to a file where one is named.
pub(super) struct BacktestProgress {
    bar: ProgressBar,
    emit: Option<(ForecastWriter, BufWriter<File>)>,
    record: Vec<u8>,
    /// Updates of the weights in one training.
    updates: usize,
    clock: SystemClock,
    /// Start of the current transaction, in microseconds of the clock.
    started: u64,
    /// Microseconds that the finished transactions took.
    spent: u64,
    /// Forecasts of the finished transactions.
    forecasts: u64,
}

impl BacktestProgress {
    /// Shows the bar and creates the file.
    pub(super) fn open(emit: Option<&PathBuf>, updates: usize) -> Result<Self, Failure> {
        let create = |path: &PathBuf| {
            let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
            Ok::<_, Failure>((ForecastWriter::default(), BufWriter::new(file)))
        };
        let emit = emit.map(create).transpose()?;
        // indicatif draws on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/blue} {percent:>3} %  {eta:>4} left  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        let (clock, record) = (SystemClock::new(), Vec::new());
        Ok(Self { bar, emit, record, updates, clock, started: 0, spent: 0, forecasts: 0 })
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Shows the training of an imputer.
    pub(super) fn on_imputer_update(&self, update: usize, loss: f64) {
        self.bar.set_length(self.updates as u64);
        self.bar.set_position(update as u64);
        self.bar.set_message(format!("training the imputer: loss {loss:.4}"));
    }

    /// Removes the bar and completes the file.
    pub(super) fn close(mut self, emit: Option<&PathBuf>) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let (Some((_, out)), Some(path)) = (&mut self.emit, emit) {
            out.flush().map_err(|error| cannot_write(path, &error))?;
        }
        Ok(())
    }
}

/// The failure to write a file.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()))
}

impl TimedObserver for BacktestProgress {
    fn microseconds_per_forecast(&mut self) -> Option<f64> {
        let (spent, forecasts) = (std::mem::take(&mut self.spent), std::mem::take(&mut self.forecasts));
        (forecasts > 0).then(|| spent as f64 / forecasts as f64)
    }
}

impl Observer for BacktestProgress {
    fn on_progress(&mut self, readings: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(readings as u64);
    }

    fn on_transaction_start(&mut self) {
        self.started = self.clock.monotonic_micros();
    }

    fn on_transaction(&mut self, engine: &Engine, transaction: &Transaction) -> io::Result<()> {
        self.spent += self.clock.monotonic_micros() - self.started;
        self.forecasts += transaction.forecasts.len() as u64;
        let Some((writer, out)) = &mut self.emit else { return Ok(()) };
        for row in &transaction.forecasts {
            writer.write(engine, transaction, row, None, &mut self.record);
            self.record.push(b'\n');
            out.write_all(&self.record)?;
        }
        Ok(())
    }

    fn on_training_progress(&mut self, row: usize, progress: &Progress) {
        let (update, of, loss) = (progress.update, self.updates, progress.loss);
        self.bar.set_message(format!("training before row {row}: update {update} of {of}, loss {loss:.4}"));
        self.bar.tick();
    }

    fn on_training_end(&mut self, round: &TrainingRound) {
        self.bar.set_message("");
        let losses = format!("validation loss {:.4} to {:.4}", round.champion_loss, round.challenger_loss);
        let (row, updates) = (round.row, round.updates);
        self.say(&match &round.rejection {
            None => format!("trained before row {row}, {updates} updates: promoted, {losses}"),
            Some(why) => format!("trained before row {row}, {updates} updates: refused, {why}"),
        });
    }
}

/// Prints to standard error how many values were missing or refused.
pub(super) fn report_counts(counts: ReadingCounts) {
    let all = [
        (counts.missing, "missing"),
        (counts.refused, "refused in the file"),
        (counts.duplicate, "refused as duplicate"),
        (counts.late, "refused as late"),
    ];
    let parts: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let parts = if parts.is_empty() { "none refused".to_owned() } else { parts.join(", ") };
    eprintln!("{} values accepted; {parts}", counts.accepted);
}
