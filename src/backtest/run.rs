//! A table through the engine.

use std::{io, ops::Range, sync::Arc};

use super::{
    error::BacktestError,
    gallery::Gallery,
    report::{Method, Report},
    score::{Made, Scorer},
    table::Table,
    training::{self, TrainingPlan, TrainingRound},
    units::units,
};
use crate::{
    engine::{Acceptance, Engine, Observation, ServedWeights, StreamSpec, TaskHandle, TaskId, Transaction},
    nn::{Network, Weights},
    series::FutureValues,
    train::{Progress, TrainSpec},
};

/// What is run. Its parts have been held against the table: [`run`] says what does not fit.
#[derive(Debug, Clone)]
pub struct BacktestSpec {
    /// The stream, as the daemon would have it. A slot must close by its first reading (`readings_per_slot` 1), and the grid
    /// must be regular with the table's interval.
    pub stream: StreamSpec,
    /// The input topic that the readings are said to come from.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Horizons to report; each at most the stream's, or where one number is forecast that alone.
    pub report_horizons: Vec<usize>,
    /// Rows whose mean and deviation are the unit of the errors; `None`: the series' own unit.
    pub scale_rows: Option<Range<usize>>,
    /// What is scored: for each reported horizon, the forecasts all of whose targets up to it lie in these rows.
    pub score_rows: Range<usize>,
    /// When and how the network learns; `None`: it stays at its initial weights, which add nothing to the last value.
    pub training: Option<TrainingPlan>,
    /// Rows that make up one epoch of the engine, at least 1. A matter of speed: it changes no bit of the outcome.
    pub rows_per_transaction: usize,
    /// The series whose last part is kept for a plot.
    pub plot_series: Option<String>,
}

/// Watches a backtest.
pub trait Observer {
    /// So many of all readings have been fed.
    fn on_progress(&mut self, _readings: usize, _of: usize) {}

    /// An epoch of the engine begins; it ends with [`Watch::epoch`].
    fn on_transaction_start(&mut self) {}

    /// The forecasts of an epoch, ordered by position and series.
    ///
    /// # Errors
    /// Those of writing them; they end the backtest.
    fn on_transaction(&mut self, _engine: &Engine, _epoch: &Transaction) -> io::Result<()> {
        Ok(())
    }

    /// Training goes on before `row`.
    fn on_training_progress(&mut self, _row: usize, _progress: &Progress) {}

    /// A training has ended.
    fn on_training_end(&mut self, _round: &TrainingRound) {}
}

/// Does not watch.
pub struct NoObserver;

impl Observer for NoObserver {}

/// What became of the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// On the grid.
    pub accepted: u64,
    /// Refused: their slot had passed.
    pub late: u64,
    /// Refused: their slot held a reading.
    pub duplicate: u64,
}

/// Feeds the table row by row, scores, and trains where the plan says so.
///
/// # Errors
/// When what was asked for does not fit the table, training fails, or the forecasts cannot be written.
pub fn run(spec: &BacktestSpec, table: &Table, watch: &mut dyn Observer) -> Result<Report, BacktestError> {
    check(spec, table)?;
    let mut run = Run::new(spec, table)?;
    if let Some(plan) = &spec.training {
        for (row, how) in plan.trainings() {
            let until = table.before_row(row);
            if until > 0 && until < table.readings.len() {
                run.feed_until(until, watch)?;
                let round = run.train(plan.max_history, &how, row, watch)?;
                run.take_up(round)?;
            }
        }
    }
    run.feed_until(table.readings.len(), watch)?;
    Ok(run.report())
}

/// The same without training: what comes of the `rounds` of another run over the same table serves from the same rows on.
///
/// # Errors
/// As [`run`].
pub(super) fn run_as_trained(
    spec: &BacktestSpec,
    table: &Table,
    rounds: &[TrainingRound],
    watch: &mut dyn Observer,
) -> Result<Report, BacktestError> {
    check(spec, table)?;
    let mut run = Run::new(spec, table)?;
    for round in rounds {
        run.feed_until(table.before_row(round.row), watch)?;
        run.take_up(round.clone())?;
    }
    run.feed_until(table.readings.len(), watch)?;
    Ok(run.report())
}

fn check(spec: &BacktestSpec, table: &Table) -> Result<(), BacktestError> {
    let asked = |what: String| Err(BacktestError::InvalidSpec(what));
    let (horizon, score) = (spec.stream.forecast.horizon, &spec.score_rows);
    if spec.stream.forecast.target.is_some() && spec.report_horizons.iter().any(|report| *report != horizon) {
        return asked(format!(
            "one number of {horizon} steps has the horizon {horizon} only; expected no other to report"
        ));
    }
    if let Some(beyond) = spec.report_horizons.iter().find(|report| **report == 0 || **report > horizon) {
        return asked(format!(
            "horizon {beyond} cannot be reported; expected 1 to {horizon}, the horizon that is forecast"
        ));
    }
    if let Some(scale) = spec.scale_rows.as_ref().filter(|scale| scale.start >= scale.end || scale.end > table.rows) {
        let (start, end, rows) = (scale.start, scale.end, table.rows);
        return asked(format!("the errors cannot be scaled by rows {start}..{end}; expected rows within 0..{rows}"));
    }
    if score.end > table.rows || score.end.saturating_sub(score.start) < horizon {
        let (start, end, rows) = (score.start, score.end, table.rows);
        return asked(format!(
            "rows {start}..{end} cannot be scored; expected at least {horizon} rows (the horizon) within 0..{rows}"
        ));
    }
    Ok(())
}

/// Where the block of `rows` positions that begins at reading `start` ends.
fn block_end(table: &Table, start: usize, rows: usize) -> usize {
    let first = table.readings[start].position as usize;
    let rest = &table.readings[start..];
    start + rest.partition_point(|reading| (reading.position as usize) < first + rows.max(1))
}

struct Run<'a> {
    spec: &'a BacktestSpec,
    table: &'a Table,
    engine: Engine,
    task: TaskHandle,
    /// The table's index of each of the engine's series.
    order: Vec<usize>,
    scorer: Scorer,
    counts: Counts,
    weights: Weights,
    rounds: Vec<TrainingRound>,
    gallery: Option<Gallery>,
    /// Readings so far.
    fed: usize,
    taken: Vec<usize>,
}

impl<'a> Run<'a> {
    fn new(spec: &'a BacktestSpec, table: &'a Table) -> Result<Self, BacktestError> {
        let stream = &spec.stream;
        let mut engine = Engine::new(vec![stream.clone()])?;
        let id = TaskId { stream: Arc::clone(&stream.name), topic: Arc::clone(&spec.topic), partition: spec.partition };
        let unknown = || BacktestError::InvalidSpec(format!("there is no stream {}", stream.name));
        let task = engine.open(id, 0).ok_or_else(unknown)?;
        for (row, time, numbers) in table.ahead() {
            let slot = stream.series.grid.slot(time);
            engine.insert_future_values(task, "", FutureValues { slot, offset: row, values: numbers.into() });
        }
        let units = units(table, spec.scale_rows.as_ref(), 0..spec.score_rows.start, stream.forecast.season);
        let gallery = match &spec.plot_series {
            Some(name) => {
                let missing = || BacktestError::InvalidSpec(format!("there is no series \"{name}\" to plot"));
                let series = table.find(name).ok_or_else(missing)?;
                Some(Gallery::new(name, series, stream.series.grid, &stream.forecast))
            }
            None => None,
        };
        Ok(Self {
            spec,
            table,
            engine,
            task,
            order: Vec::new(),
            scorer: Scorer::new(&stream.forecast, &spec.report_horizons, spec.score_rows.clone(), units),
            counts: Counts::default(),
            weights: Weights::initial(&stream.network),
            rounds: Vec::new(),
            gallery,
            fed: 0,
            taken: Vec::new(),
        })
    }

    /// Feeds the readings before `until`, block by block.
    fn feed_until(&mut self, until: usize, watch: &mut dyn Observer) -> Result<(), BacktestError> {
        while self.fed < until {
            let end = block_end(self.table, self.fed, self.spec.rows_per_transaction).min(until);
            self.feed(self.fed..end, watch)?;
            self.fed = end;
            watch.on_progress(end, self.table.readings.len());
        }
        Ok(())
    }

    /// One epoch.
    fn feed(&mut self, readings: Range<usize>, watch: &mut dyn Observer) -> Result<(), BacktestError> {
        watch.on_transaction_start();
        self.engine.begin(true);
        self.taken.clear();
        for at in readings.clone() {
            let reading = &self.table.readings[at];
            let name = &self.table.series[reading.series as usize];
            let (position, beside) = (i64::from(reading.position), self.table.beside(reading));
            let observation = Observation {
                offset: position,
                series: name,
                time: reading.time,
                value: reading.value,
                covariates: beside,
            };
            match self.engine.accept(self.task, &observation) {
                Acceptance::Accepted => {
                    self.taken.push(at);
                    self.counts.accepted += 1;
                }
                Acceptance::Late { .. } => self.counts.late += 1,
                Acceptance::Duplicate => self.counts.duplicate += 1,
                Acceptance::AlreadyApplied => {}
                Acceptance::SeriesLimit => {
                    let most = self.spec.stream.max_series;
                    return Err(BacktestError::InvalidSpec(format!("the file holds more than {most} series")));
                }
            }
            if self.engine.series_count(self.task) > self.order.len() {
                self.order.push(reading.series as usize);
            }
        }
        let last = self.table.readings[readings.end - 1].position;
        self.engine.advance(self.task, i64::from(last) + 1);
        let mut epoch = self.engine.finish(0.0);
        // The engine's own order follows its waves, which depend on the size of the block.
        epoch.forecasts.sort_by_key(|row| (row.offset, self.order[row.series as usize]));
        self.engine.commit(&epoch);
        watch.on_transaction(&self.engine, &epoch)?;
        self.score(&epoch);
        Ok(())
    }

    /// Row by row: first what targets the row, then the forecasts made from it.
    fn score(&mut self, epoch: &Transaction) {
        let forecast = &self.spec.stream.forecast;
        let (grid, outputs) = (self.spec.stream.series.grid, forecast.outputs());
        let mut made = epoch.forecasts.iter().peekable();
        for reading in self.taken.iter().map(|&at| &self.table.readings[at]) {
            let series = reading.series as usize;
            self.scorer.take(series, grid.slot(reading.time), reading.value);
            let of_reading =
                |offset: i64, index: u32| offset == i64::from(reading.position) && self.order[index as usize] == series;
            while let Some(row) = made.next_if(|row| of_reading(row.offset, row.series)) {
                let point = &epoch.points[row.point..row.point + outputs];
                let quantiles = &epoch.quantiles[row.quantile..row.quantile + outputs * forecast.levels.len()];
                let made = Made { slot: row.slot, value: row.value, point, quantiles, crossing: row.crossing };
                self.scorer.open(series, reading.row as usize, &made);
                if let Some(gallery) = self.gallery.as_mut().filter(|gallery| gallery.series == series) {
                    gallery.take(row.slot, row.value, point, quantiles);
                }
            }
        }
        debug_assert!(made.peek().is_none(), "every forecast belongs to a reading");
    }

    /// Trains from what has been fed.
    fn train(
        &self,
        most_steps: usize,
        how: &TrainSpec,
        row: usize,
        watch: &mut dyn Observer,
    ) -> Result<TrainingRound, BacktestError> {
        let mut tell = |progress: &Progress| watch.on_training_progress(row, progress);
        let (stream, weights) = (&self.spec.stream, &self.weights);
        let round = training::round(most_steps, how, stream, weights, self.table, row, &mut tell)?;
        watch.on_training_end(&round);
        Ok(round)
    }

    /// Promoted weights serve from the next row on.
    fn take_up(&mut self, round: TrainingRound) -> Result<(), BacktestError> {
        if let Some(weights) = &round.weights {
            let stream = &self.spec.stream;
            let network = Network::new(&stream.network, weights)?;
            let version = self.engine.version(self.task) + 1;
            let prior = round.prior.clone();
            self.engine.install(&stream.name, version, ServedWeights { network: Arc::new(network), prior });
            self.engine.activate(self.task, version);
            self.engine.drop_weights_below(&stream.name, version);
            self.weights = weights.clone();
        }
        self.rounds.push(round);
        Ok(())
    }

    fn report(self) -> Report {
        Report {
            series: self.table.series.len(),
            origins: self.scorer.origins(),
            results: self.scorer.measured(),
            target: self.spec.stream.forecast.target.map(|target| (target, self.spec.stream.forecast.horizon)),
            crossing: self.scorer.crossing(),
            by_lead: Method::ALL.map(|method| self.scorer.by_lead(method)),
            scaled: self.spec.scale_rows.clone(),
            counts: self.counts,
            rounds: self.rounds,
            gallery: self.gallery,
        }
    }
}
