//! Stepping many series at once, in micro-batches: the first closed slot of every series makes up the first
//! micro-batch, the second slots make up the second one, and so on. A micro-batch is cut into batches of series that
//! the same weights serve.

use super::recursive::RecursiveForecaster;
use super::series::Series;
use super::stream::{ServedWeights, Stream};
use super::stream_spec::StreamSpec;
use super::task::{Task, TaskHandle, Tasks};
use super::transaction::{ForecastRow, Transaction};
use crate::forecast::{AnomalyScore, Forecast, SeriesStep};
use crate::nn::{GridInterpolation, Network, QUANTILE_GRID, QueryBatch, Scratch, Strategy};
use crate::series::{CloseBy, ClosedSlot, QUERY_FEATURES};

/// The most series that are stepped at once. The weights' panels stay in the first-level cache while this many states
/// pass through; the batch's own rows (states, features, outputs: about 300 KiB with 64 hidden units, 24 steps and 5
/// levels) stay in the second.
const MAX_BATCH: usize = 256;

/// A closed slot that waits for its step.
#[derive(Debug, Clone)]
pub(super) struct PendingStep {
    /// The index of its micro-batch: how many earlier slots of the same series wait.
    pub micro_batch: u32,
    pub task: TaskHandle,
    /// The index of the series in the task.
    pub series: u32,
    /// The offset of the record that closed the slot.
    pub offset: i64,
    /// Whether the slot is forecast from.
    pub forecasts: bool,
    pub slot: ClosedSlot,
}

/// Steps series. Between calls it keeps buffers only.
#[derive(Default)]
pub(super) struct Stepper {
    scratch: Scratch,
    /// `[batch, features]`
    features: Vec<f32>,
    /// `[batch, state_len]`
    hidden: Vec<f32>,
    /// `[batch, outputs]`
    outputs: Vec<f32>,
    /// `[batch, horizon, QUERY_FEATURES]` for a network that answers queries.
    queries: Vec<f32>,
    /// Its quantiles `[batch, horizon, 13]`.
    grids: Vec<f32>,
    recursive: RecursiveForecaster,
    /// `[batch]`
    anomalies: Vec<Option<AnomalyScore>>,
    burn_ins: Vec<BurnIn>,
}

/// A series whose recent steps run through new weights.
struct BurnIn {
    /// The row of the series in the batch.
    row: usize,
    /// `[steps, features]`, the oldest step first.
    features: Vec<f32>,
}

/// Series that are stepped at once.
#[derive(Clone, Copy)]
struct Batch<'a> {
    steps: &'a [PendingStep],
    /// The index of the stream.
    stream: usize,
    spec: &'a StreamSpec,
    /// The version of the weights, and the network that has them.
    version: u64,
    network: &'a Network,
    /// Where the network answers queries.
    interpolation: Option<&'a GridInterpolation>,
}

impl Stepper {
    /// Steps all of `pending` and empties it. The forecasts go to `transaction` where `emit` is set.
    pub fn run(
        &mut self,
        pending: &mut Vec<PendingStep>,
        streams: &[Stream],
        tasks: &mut Tasks,
        emit: bool,
        transaction: &mut Transaction,
    ) {
        let group = |tasks: &Tasks, step: &PendingStep| {
            let task = tasks.get(step.task);
            (task.stream, task.version)
        };
        // The sort is stable: within a micro-batch the order of the records stays.
        pending.sort_by_key(|step| (step.micro_batch, group(tasks, step)));
        let same = |one: &PendingStep, other: &PendingStep| {
            one.micro_batch == other.micro_batch && group(tasks, one) == group(tasks, other)
        };
        let sizes: Vec<usize> =
            pending.chunk_by(same).flat_map(|chunk| chunk.chunks(MAX_BATCH).map(<[PendingStep]>::len)).collect();
        let mut start = 0;
        for size in sizes {
            let steps = &pending[start..start + size];
            start += size;
            let (stream, version) = group(tasks, &steps[0]);
            let Some(ServedWeights { network, .. }) = streams[stream].weights(version) else { continue };
            let Stream { spec, interpolation, .. } = &streams[stream];
            let batch = Batch { steps, stream, spec, version, network, interpolation: interpolation.as_ref() };
            self.step(batch, tasks, emit, transaction);
            transaction.streams[stream].batches.push(size);
            transaction.streams[stream].steps += size as u64;
        }
        pending.clear();
    }

    fn step(&mut self, batch: Batch<'_>, tasks: &mut Tasks, emit: bool, transaction: &mut Transaction) {
        let Batch { steps, stream, spec, version, network, interpolation } = batch;
        let mut forecast = Forecast::new(&spec.forecast);
        let (width, inputs) = (network.state_len(), spec.series.features());
        self.anomalies.clear();
        self.features.resize(steps.len() * inputs, 0.0);
        self.hidden.resize(steps.len() * width, 0.0);
        self.outputs.resize(steps.len() * network.outputs(), 0.0);
        let (horizon, asks) = (spec.forecast.horizon, interpolation.is_some());
        self.queries.resize(if asks { steps.len() * horizon * QUERY_FEATURES } else { 0 }, 0.0);
        transaction.streams[stream].burn_ins += self.burn_in(batch, tasks);
        for (row, step) in steps.iter().enumerate() {
            let Task { series, covariates, .. } = tasks.get_mut(step.task);
            let series = series.get_mut(step.series);
            series.queued -= 1;
            if step.slot.reset {
                series.hidden.fill(0.0);
            }
            let future = covariates.of_series(&spec.series.extra.future_covariates, &series.key);
            let series_step = SeriesStep { spec: &spec.series, slot: &step.slot, future };
            let mut learner = series.forecast.learner(&spec.forecast, &mut transaction.streams[stream].accuracy);
            series_step.apply(&mut series.input, &mut learner, &mut self.features[row * inputs..(row + 1) * inputs]);
            self.anomalies.push(learner.score());
            if asks {
                let queries = &mut self.queries[row * horizon * QUERY_FEATURES..][..horizon * QUERY_FEATURES];
                series.input.queries(&spec.series, 1..=horizon, queries);
            }
            self.hidden[row * width..(row + 1) * width].copy_from_slice(&series.hidden);
        }
        if let Some(interpolation) = interpolation {
            self.answer_queries(batch, interpolation);
        } else {
            network.step(&mut self.scratch, steps.len(), &self.features, &mut self.hidden, &mut self.outputs);
        }
        if spec.network.strategy == Strategy::Recursive {
            self.forecast_recursively(batch, tasks);
        }
        let outputs = spec.forecast.outputs() * spec.forecast.levels.len();
        for (row, step) in steps.iter().enumerate() {
            let emit = emit && step.forecasts;
            let series = series_of(tasks, step);
            series.hidden.copy_from_slice(&self.hidden[row * width..(row + 1) * width]);
            if !is_forecast_from(spec, &step.slot) {
                continue;
            }
            let output = &self.outputs[row * outputs..(row + 1) * outputs];
            let bounds = spec.bounds.of_series(&series.key);
            series.forecast.forecast(&spec.forecast, &series.input, bounds, output, &mut forecast);
            if emit {
                let beyond = step.slot.value.is_some_and(|value| bounds.excludes(value));
                transaction.streams[stream].beyond_bounds += u64::from(beyond);
                transaction.streams[stream].forecasts += 1;
                transaction.forecasts.push(ForecastRow {
                    task: step.task,
                    series: step.series,
                    slot: step.slot.slot,
                    origin: spec.series.grid.label(step.slot.slot),
                    value: step.slot.value.unwrap_or_else(|| series.input.last_value()),
                    absent: step.slot.value.is_none(),
                    scale: series.input.scale(),
                    bounds,
                    anomaly: self.anomalies[row],
                    crossing: forecast.crossing,
                    weights_version: version,
                    offset: step.offset,
                    point: transaction.points.len(),
                    quantile: transaction.quantiles.len(),
                });
                transaction.points.extend_from_slice(&forecast.point);
                transaction.quantiles.extend_from_slice(&forecast.quantiles);
            }
        }
    }

    /// Runs a network that answers queries, and brings its quantiles to the levels of the stream.
    fn answer_queries(&mut self, Batch { steps, spec, network, .. }: Batch<'_>, interpolation: &GridInterpolation) {
        let (leads, levels) = (steps.len() * spec.forecast.horizon, &spec.forecast.levels);
        self.grids.resize(leads * QUANTILE_GRID.len(), 0.0);
        self.outputs.resize(leads * levels.len(), 0.0);
        let Self { scratch, features, hidden, queries, grids, outputs, .. } = self;
        let answers = QueryBatch { queries, quantiles: grids };
        network.step_queries(scratch, steps.len(), features, hidden, answers);
        interpolation.apply(grids, outputs);
    }

    /// Replaces the outputs for the next step, `[batch, levels]`, by outputs for the whole horizon,
    /// `[batch, horizon, levels]`. Rows that make no forecast stay zero.
    fn forecast_recursively(&mut self, batch: Batch<'_>, tasks: &mut Tasks) {
        let Batch { steps, spec, network, .. } = batch;
        let (width, levels) = (network.state_len(), network.outputs());
        self.recursive.clear();
        for (row, step) in steps.iter().enumerate().filter(|(_, step)| is_forecast_from(spec, &step.slot)) {
            let (hidden, next) = (&self.hidden[row * width..][..width], &self.outputs[row * levels..][..levels]);
            self.recursive.add(row, &series_of(tasks, step).input, hidden, next);
        }
        self.outputs.clear();
        self.outputs.resize(steps.len() * spec.forecast.horizon * levels, 0.0);
        self.recursive.run(&mut self.scratch, network, spec, &mut self.outputs);
    }

    /// Runs the recent steps of each series whose hidden state other weights have made, or of which late readings have
    /// corrected steps, through the serving weights, many series at once: those with the most steps come first, so that
    /// the series still running are always the first rows. Returns how many series had recent steps.
    fn burn_in(&mut self, batch: Batch<'_>, tasks: &mut Tasks) -> u64 {
        let Batch { steps, spec, version, network, .. } = batch;
        let (width, inputs) = (network.state_len(), spec.series.features());
        for (row, step) in steps.iter().enumerate() {
            let series = series_of(tasks, step);
            let Series { input, forecast, .. } = series;
            let is_corrected = input.apply_corrections(step.slot.slot, |correction| forecast.correct(&correction));
            if is_corrected || series.version != version {
                let mut features = Vec::new();
                series.input.recent_features(&spec.series, |step| features.extend_from_slice(step));
                self.burn_ins.push(BurnIn { row, features });
                series.version = version;
                series.hidden = vec![0.0; width].into();
            }
        }
        let count = self.burn_ins.iter().filter(|burn_in| !burn_in.features.is_empty()).count();
        self.burn_ins.sort_by_key(|burn_in| std::cmp::Reverse(burn_in.features.len()));
        let rows = self.burn_ins.len();
        self.hidden[..rows * width].fill(0.0);
        let longest = self.burn_ins.first().map_or(0, |burn_in| burn_in.features.len());
        for at in (0..longest).step_by(inputs) {
            let running = self.burn_ins.partition_point(|burn_in| burn_in.features.len() > at);
            for (row, burn_in) in self.burn_ins[..running].iter().enumerate() {
                let step = &burn_in.features[at..at + inputs];
                self.features[row * inputs..(row + 1) * inputs].copy_from_slice(step);
            }
            let (features, hidden) = (&self.features[..running * inputs], &mut self.hidden[..running * width]);
            network.advance(&mut self.scratch, running, features, hidden);
        }
        for (at, burn_in) in self.burn_ins.drain(..).enumerate() {
            let series = series_of(tasks, &steps[burn_in.row]);
            series.hidden.copy_from_slice(&self.hidden[at * width..(at + 1) * width]);
        }
        count as u64
    }
}

/// Whether a forecast is made from a slot: from an empty one only where it closes at its time.
pub(super) fn is_forecast_from(spec: &StreamSpec, slot: &ClosedSlot) -> bool {
    slot.value.is_some() || spec.series.close_by == CloseBy::Partition
}

fn series_of<'a>(tasks: &'a mut Tasks, step: &PendingStep) -> &'a mut Series {
    tasks.get_mut(step.task).series.get_mut(step.series)
}
