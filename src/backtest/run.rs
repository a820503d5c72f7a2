//! Feeds a table through the engine and scores its forecasts.

use std::{ops::Range, sync::Arc};

use super::error::BacktestError;
use super::error_scale::error_scales;
use super::method::Method;
use super::observer::Observer;
use super::plot_series::{PlotForecast, PlotSeries};
use super::report::{HorizonTarget, ReadingCounts, Report};
use super::scorer::{ScoredForecast, Scorer};
use super::table::{FutureCovariateRow, Table};
use super::training::{self, PlannedTraining, TrainingPlan, TrainingRound};
use crate::engine::{
    Acceptance, Engine, ForecastRow, Observation, ServedWeights, StreamSpec, TaskHandle, TaskId, Transaction, WhenFull,
};
use crate::nn::{Network, Weights};
use crate::series::FutureValues;
use crate::train::Progress;

/// The specification of a backtest. [`run`] checks it against the table.
#[derive(Debug, Clone)]
pub struct BacktestSpec {
    /// The stream as in the daemon. The first reading must close a slot (`readings_per_slot` is 1), and the grid must
    /// be the table's.
    pub stream: StreamSpec,
    /// Input topic of the readings in forecast records.
    pub topic: Arc<str>,
    /// Input partition in forecast records.
    pub partition: i32,
    /// Horizons to report, each up to the stream's; if an aggregate is forecast, only the stream's.
    pub report_horizons: Vec<usize>,
    /// Rows whose mean and standard deviation scale the errors; `None` for errors in the series' own unit.
    pub scale_rows: Option<Range<usize>>,
    /// Rows to score. A forecast counts for a reported horizon if all its targets up to it lie in these rows.
    pub score_rows: Range<usize>,
    /// The weights that serve from the first row on; `None` for the initial ones, which predict the last value.
    pub weights: Option<Weights>,
    /// When and how the network is trained; `None` keeps the weights.
    pub training: Option<TrainingPlan>,
    /// Rows in one transaction of the engine, at least 1. It affects the speed but no bit of the result.
    pub rows_per_transaction: usize,
    /// Name of the series to plot.
    pub plot_series: Option<String>,
}

/// Feeds the table row by row, scores the forecasts, and trains as planned.
///
/// # Errors
/// If the specification does not fit the table, training fails, or the observer cannot write the forecasts.
pub fn run(spec: &BacktestSpec, table: &Table, observer: &mut dyn Observer) -> Result<Report, BacktestError> {
    check(spec, table)?;
    let mut run = Run::new(spec, table)?;
    if let Some(plan) = &spec.training {
        for planned in plan.trainings() {
            let until = table.first_reading_of_row(planned.row);
            if until > 0 && until < table.readings.len() {
                run.feed_until(until, observer)?;
                let round = run.train(&planned, observer)?;
                run.promote(round)?;
            }
        }
    }
    run.feed_until(table.readings.len(), observer)?;
    Ok(run.report())
}

/// Runs without training: the weights of `rounds`, from another run over the same table, serve from their rows on.
///
/// # Errors
/// As [`run`].
pub(super) fn run_as_trained(
    spec: &BacktestSpec,
    table: &Table,
    rounds: &[TrainingRound],
    observer: &mut dyn Observer,
) -> Result<Report, BacktestError> {
    check(spec, table)?;
    let mut run = Run::new(spec, table)?;
    for round in rounds {
        run.feed_until(table.first_reading_of_row(round.row), observer)?;
        run.promote(round.clone())?;
    }
    run.feed_until(table.readings.len(), observer)?;
    Ok(run.report())
}

fn check(spec: &BacktestSpec, table: &Table) -> Result<(), BacktestError> {
    let invalid = |what: String| Err(BacktestError::InvalidSpec(what));
    let (horizon, score) = (spec.stream.forecast.horizon, &spec.score_rows);
    let horizons = &spec.report_horizons;
    if spec.stream.forecast.target.is_some() && horizons.iter().any(|reported| *reported != horizon) {
        return invalid(format!(
            "the forecast is one aggregate of {horizon} steps; expected only the horizon {horizon} to report"
        ));
    }
    if let Some(beyond) = horizons.iter().find(|reported| **reported == 0 || **reported > horizon) {
        return invalid(format!("horizon {beyond} cannot be reported; expected 1 to {horizon}, the forecast horizon"));
    }
    if let Some(scale) = spec.scale_rows.as_ref().filter(|scale| scale.start >= scale.end || scale.end > table.rows) {
        let (start, end, rows) = (scale.start, scale.end, table.rows);
        return invalid(format!("the errors cannot be scaled by rows {start}..{end}; expected rows within 0..{rows}"));
    }
    if score.end > table.rows || score.end.saturating_sub(score.start) < horizon {
        let (start, end, rows) = (score.start, score.end, table.rows);
        return invalid(format!(
            "rows {start}..{end} cannot be scored; expected at least {horizon} rows (the horizon) within 0..{rows}"
        ));
    }
    Ok(())
}

/// The end of the transaction that begins at reading `start` and holds `rows` positions.
fn transaction_end(table: &Table, start: usize, rows: usize) -> usize {
    let first = table.readings[start].position as usize;
    let rest = &table.readings[start..];
    start + rest.partition_point(|reading| (reading.position as usize) < first + rows.max(1))
}

struct Run<'a> {
    spec: &'a BacktestSpec,
    table: &'a Table,
    engine: Engine,
    task: TaskHandle,
    /// Index in the table of each series of the engine.
    table_series: Vec<usize>,
    scorer: Scorer,
    counts: ReadingCounts,
    weights: Weights,
    rounds: Vec<TrainingRound>,
    plot_series: Option<PlotSeries>,
    /// Number of readings that the engine has received.
    fed: usize,
    /// Indices of the accepted readings of the current transaction.
    accepted: Vec<usize>,
}

impl<'a> Run<'a> {
    fn new(spec: &'a BacktestSpec, table: &'a Table) -> Result<Self, BacktestError> {
        let stream = &spec.stream;
        // A file has an end: its series do not.
        let spec_of_file = StreamSpec { series_ttl: None, when_full: WhenFull::Refuse, ..stream.clone() };
        let mut engine = Engine::new(vec![spec_of_file])?;
        let id = TaskId { stream: Arc::clone(&stream.name), topic: Arc::clone(&spec.topic), partition: spec.partition };
        let unknown = || BacktestError::InvalidSpec(format!("there is no stream {}", stream.name));
        let task = engine.open(id, 0).ok_or_else(unknown)?;
        for FutureCovariateRow { row, time, values } in table.future_covariate_rows() {
            let slot = stream.series.grid.slot(time);
            engine.insert_future_values(task, "", FutureValues { slot, offset: row, values: values.into() });
        }
        let scales = error_scales(table, spec.scale_rows.as_ref(), 0..spec.score_rows.start, stream.forecast.season);
        let weights = spec.weights.clone().unwrap_or_else(|| Weights::initial(&stream.network));
        if spec.weights.is_some() {
            let network = Arc::new(Network::new(&stream.network, &weights)?);
            engine.install(&stream.name, 1, ServedWeights { network, prior: None });
            engine.activate(task, 1);
        }
        let plot_series = match &spec.plot_series {
            Some(name) => {
                let missing = || BacktestError::InvalidSpec(format!("there is no series \"{name}\" to plot"));
                let series = table.series_index(name).ok_or_else(missing)?;
                Some(PlotSeries::new(name, series, stream.series.grid.clone(), &stream.forecast))
            }
            None => None,
        };
        Ok(Self {
            spec,
            table,
            engine,
            task,
            table_series: Vec::new(),
            scorer: Scorer::new(&stream.forecast, &spec.report_horizons, spec.score_rows.clone(), scales),
            counts: ReadingCounts::default(),
            weights,
            rounds: Vec::new(),
            plot_series,
            fed: 0,
            accepted: Vec::new(),
        })
    }

    /// Feeds the readings before `until`, transaction by transaction.
    fn feed_until(&mut self, until: usize, observer: &mut dyn Observer) -> Result<(), BacktestError> {
        while self.fed < until {
            let end = transaction_end(self.table, self.fed, self.spec.rows_per_transaction).min(until);
            self.feed(self.fed..end, observer)?;
            self.fed = end;
            observer.on_progress(end, self.table.readings.len());
        }
        Ok(())
    }

    /// Feeds one transaction.
    fn feed(&mut self, readings: Range<usize>, observer: &mut dyn Observer) -> Result<(), BacktestError> {
        observer.on_transaction_start();
        self.engine.begin(true);
        self.accepted.clear();
        for index in readings.clone() {
            let reading = &self.table.readings[index];
            let (offset, series) = (i64::from(reading.position), &*self.table.series[reading.series as usize]);
            let observation = Observation {
                covariates: self.table.past_covariates_of(reading),
                ..Observation::new(offset, series, reading.time, reading.value)
            };
            match self.engine.accept(self.task, &observation) {
                Acceptance::Accepted => {
                    self.accepted.push(index);
                    self.counts.accepted += 1;
                }
                Acceptance::Late { .. } | Acceptance::Corrected { .. } | Acceptance::ImplausibleTime(_) => {
                    self.counts.late += 1
                }
                Acceptance::Duplicate { .. } => self.counts.duplicate += 1,
                Acceptance::AlreadyApplied => {}
                Acceptance::SeriesLimit => {
                    let limit = self.spec.stream.max_series;
                    return Err(BacktestError::InvalidSpec(format!("the file holds more than {limit} series")));
                }
            }
            if self.engine.series_count(self.task) > self.table_series.len() {
                self.table_series.push(reading.series as usize);
            }
        }
        let last = self.table.readings[readings.end - 1].position;
        self.engine.advance(self.task, i64::from(last) + 1);
        let mut transaction = self.engine.finish(0.0);
        // The engine orders forecasts by micro-batch, and those depend on the size of the transaction.
        transaction.forecasts.sort_by_key(|row| (row.offset, self.table_series[row.series as usize]));
        self.engine.commit(&transaction);
        observer.on_transaction(&self.engine, &transaction)?;
        self.score(&transaction);
        Ok(())
    }

    /// Scores reading by reading: first the forecasts that target the reading, then it opens the forecasts made from
    /// it. A reading that was not accepted may have closed slots of other series, by the time of their partition.
    fn score(&mut self, transaction: &Transaction) {
        let grid = &self.spec.stream.series.grid;
        let mut rows = transaction.forecasts.iter().filter(|row| !row.absent).peekable();
        let table = self.table;
        let accepted = std::mem::take(&mut self.accepted);
        for reading in accepted.iter().map(|&index| &table.readings[index]) {
            let position = i64::from(reading.position);
            while let Some(row) = rows.next_if(|row| row.offset < position) {
                self.open(transaction, row, reading.row);
            }
            self.scorer.observe(reading.series as usize, grid.slot(reading.time), reading.value);
            while let Some(row) = rows.next_if(|row| row.offset == position) {
                self.open(transaction, row, reading.row);
            }
        }
        let last = accepted.last().map_or(0, |&index| table.readings[index].row);
        rows.for_each(|row| self.open(transaction, row, last));
        self.accepted = accepted;
    }

    /// Opens a forecast that was made when the input stood at a row of the file.
    fn open(&mut self, transaction: &Transaction, row: &ForecastRow, at: u32) {
        let forecast = &self.spec.stream.forecast;
        let outputs = forecast.outputs();
        let series = self.table_series[row.series as usize];
        let point = &transaction.points[row.point..row.point + outputs];
        let quantiles = &transaction.quantiles[row.quantile..row.quantile + outputs * forecast.levels.len()];
        let (slot, value) = (row.slot, row.value);
        let scored = ScoredForecast { slot, value, point, quantiles, crossing: row.crossing };
        self.scorer.open(series, at as usize, &scored);
        if let Some(plot) = self.plot_series.as_mut().filter(|plot| plot.series == series) {
            let (point, quantiles) = (point.to_vec(), quantiles.to_vec());
            plot.push(PlotForecast { slot, value, point, quantiles });
        }
    }

    /// Trains on the readings so far.
    fn train(&self, planned: &PlannedTraining, observer: &mut dyn Observer) -> Result<TrainingRound, BacktestError> {
        let mut on_progress = |progress: &Progress| observer.on_training_progress(planned.row, progress);
        let round = training::train(planned, &self.spec.stream, &self.weights, self.table, &mut on_progress)?;
        observer.on_training_end(&round);
        Ok(round)
    }

    /// Promoted weights serve from the next row on.
    fn promote(&mut self, round: TrainingRound) -> Result<(), BacktestError> {
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
        let forecast = &self.spec.stream.forecast;
        Report {
            series: self.table.series.len(),
            origins: self.scorer.origins(),
            results: self.scorer.errors_by_horizon(),
            target: forecast.target.map(|aggregate| HorizonTarget { aggregate, steps: forecast.horizon }),
            crossing: self.scorer.brier_scores(),
            by_lead: Method::ALL.map(|method| self.scorer.errors_by_lead(method)),
            scale_rows: self.spec.scale_rows.clone(),
            counts: self.counts,
            rounds: self.rounds,
            plot_series: self.plot_series,
        }
    }
}
