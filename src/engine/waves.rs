//! Stepping many series at once. The first closed slot of every series makes up the first wave, the second slots the
//! second wave, and so on; a wave is cut into batches of series that are served by the same weights.

use super::{ForecastRow, Stream, StreamSpec, Task, TaskHandle, Transaction, Version, ahead::Ahead, table::Series};
use crate::{
    forecast::{Anomaly, Forecast},
    nn::{Network, Scratch, Strategy},
    series::{ClosedSlot, SeriesSpec},
};

/// Series stepped at once: the weights' panels stay in the first-level cache while this many states pass through, and
/// the batch's own rows (states, features, outputs: about 300 KiB at hidden 64, H = 24, 5 levels) stay in the second.
const BATCH: usize = 256;

/// A closed slot that waits for its step.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// How many earlier slots of the same series wait before it.
    pub wave: u32,
    pub task: TaskHandle,
    pub series: u32,
    /// The record that closed it.
    pub offset: i64,
    pub slot: ClosedSlot,
}

/// Buffers that live from epoch to epoch.
#[derive(Default)]
pub(super) struct Waves {
    scratch: Scratch,
    features: Vec<f32>,
    hidden: Vec<f32>,
    outputs: Vec<f32>,
    ahead: Ahead,
    anomalies: Vec<Option<Anomaly>>,
    context: Vec<(usize, Vec<f32>)>,
}

impl Waves {
    /// Steps all of `pending`, leaving it empty; the forecasts go to `epoch` when `emit` is set.
    pub fn run(
        &mut self,
        pending: &mut Vec<Pending>,
        streams: &[Stream],
        tasks: &mut [Option<Task>],
        emit: bool,
        epoch: &mut Transaction,
    ) {
        let group = |tasks: &[Option<Task>], item: &Pending| {
            let task = tasks[item.task.0].as_ref();
            task.map_or((0, 0), |task| (task.stream, task.version))
        };
        // Stable: within a wave the records' order stays.
        pending.sort_by_key(|item| (item.wave, group(tasks, item)));
        let same = |a: &Pending, b: &Pending| a.wave == b.wave && group(tasks, a) == group(tasks, b);
        let sizes: Vec<usize> =
            pending.chunk_by(same).flat_map(|chunk| chunk.chunks(BATCH).map(<[Pending]>::len)).collect();
        let mut start = 0;
        for size in sizes {
            let batch = &pending[start..start + size];
            start += size;
            let (stream, version) = group(tasks, &batch[0]);
            let Some(Version { network, .. }) = streams[stream].networks.get(&version) else { continue };
            self.step(batch, (stream, version), network, &streams[stream].spec, tasks, emit, epoch);
            epoch.batches.push((stream, size));
            epoch.steps[stream] += size as u64;
        }
        pending.clear();
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; a struct of borrows would only rename them")]
    fn step(
        &mut self,
        batch: &[Pending],
        (stream, version): (usize, u64),
        network: &Network,
        spec: &StreamSpec,
        tasks: &mut [Option<Task>],
        emit: bool,
        epoch: &mut Transaction,
    ) {
        let mut forecast = Forecast::new(&spec.forecast);
        let width = network.state_len();
        self.anomalies.clear();
        let inputs = spec.series.features();
        self.features.resize(batch.len() * inputs, 0.0);
        self.hidden.resize(batch.len() * width, 0.0);
        self.outputs.resize(batch.len() * network.outputs(), 0.0);
        epoch.burn_ins[stream] += self.burn_in(batch, version, network, &spec.series, tasks);
        for (row, item) in batch.iter().enumerate() {
            let task = task_of(tasks, item);
            let series = task.table.get_mut(item.series);
            series.queued -= 1;
            if item.slot.reset {
                series.forecast.reset();
                series.hidden.fill(0.0);
            }
            let facts = &mut epoch.accuracy[stream];
            let anomaly = series.forecast.mature(&spec.forecast, &mut series.input, &item.slot, facts);
            self.anomalies.push(anomaly);
            let outlook = task.outlooks.of(&spec.series.extra.future_covariates, &series.key);
            series.input.look_up_future_covariates(&spec.series, item.slot.slot, outlook);
            series.input.update(&spec.series, &item.slot);
            series.input.features(&spec.series, &mut self.features[row * inputs..(row + 1) * inputs]);
            self.hidden[row * width..(row + 1) * width].copy_from_slice(&series.hidden);
        }
        network.step(&mut self.scratch, batch.len(), &self.features, &mut self.hidden, &mut self.outputs);
        if spec.network.strategy == Strategy::Recursive {
            self.go_ahead(batch, network, spec, tasks);
        }
        let outputs = spec.forecast.outputs() * spec.forecast.levels.len();
        for (row, item) in batch.iter().enumerate() {
            let series = series_of(tasks, item);
            series.hidden.copy_from_slice(&self.hidden[row * width..(row + 1) * width]);
            let Some(value) = item.slot.value else { continue };
            let output = &self.outputs[row * outputs..(row + 1) * outputs];
            series.forecast.forecast(&spec.forecast, &series.input, output, &mut forecast);
            if emit {
                epoch.forecast_counts[stream] += 1;
                epoch.forecasts.push(ForecastRow {
                    task: item.task,
                    series: item.series,
                    slot: item.slot.slot,
                    origin: spec.series.grid.start(item.slot.slot),
                    value,
                    scale: series.input.scale(),
                    anomaly: self.anomalies[row],
                    crossing: forecast.crossing,
                    weights_version: version,
                    offset: item.offset,
                    point: epoch.points.len(),
                    quantile: epoch.quantiles.len(),
                });
                epoch.points.extend_from_slice(&forecast.point);
                epoch.quantiles.extend_from_slice(&forecast.quantiles);
            }
        }
    }

    /// Replaces the outputs `[rows, levels]` of the next step by those of all steps ahead, `[rows, horizon, levels]`. Rows
    /// whose slot is empty are not forecast and stay zero.
    fn go_ahead(&mut self, batch: &[Pending], network: &Network, spec: &StreamSpec, tasks: &mut [Option<Task>]) {
        let (width, levels) = (network.state_len(), network.outputs());
        self.ahead.clear();
        for (row, item) in batch.iter().enumerate().filter(|(_, item)| item.slot.value.is_some()) {
            let (hidden, next) = (&self.hidden[row * width..][..width], &self.outputs[row * levels..][..levels]);
            self.ahead.add(row, &series_of(tasks, item).input, hidden, next);
        }
        self.outputs.clear();
        self.outputs.resize(batch.len() * spec.forecast.horizon * levels, 0.0);
        self.ahead.go(&mut self.scratch, network, spec, &mut self.outputs);
    }

    /// Series whose hidden state was made by other weights re-run their context through the serving ones, many at
    /// once: the longest contexts first, so that the rows still running are always the first ones.
    fn burn_in(
        &mut self,
        batch: &[Pending],
        version: u64,
        network: &Network,
        spec: &SeriesSpec,
        tasks: &mut [Option<Task>],
    ) -> u64 {
        let (width, inputs) = (network.state_len(), spec.features());
        for (row, item) in batch.iter().enumerate() {
            let series = series_of(tasks, item);
            if series.version != version {
                let mut context = Vec::new();
                series.input.recent_features(spec, |features| context.extend_from_slice(features));
                self.context.push((row, context));
                series.version = version;
                series.hidden = vec![0.0; width].into();
            }
        }
        let burn_ins = self.context.iter().filter(|(_, context)| !context.is_empty()).count();
        self.context.sort_by_key(|(_, context)| std::cmp::Reverse(context.len()));
        let rows = self.context.len();
        self.hidden[..rows * width].fill(0.0);
        let longest = self.context.first().map_or(0, |(_, context)| context.len());
        for at in (0..longest).step_by(inputs) {
            let running = self.context.partition_point(|(_, context)| context.len() > at);
            for (row, (_, context)) in self.context[..running].iter().enumerate() {
                self.features[row * inputs..(row + 1) * inputs].copy_from_slice(&context[at..at + inputs]);
            }
            let (features, hidden) = (&self.features[..running * inputs], &mut self.hidden[..running * width]);
            network.advance(&mut self.scratch, running, features, hidden);
        }
        for (row, (place, _)) in self.context.drain(..).enumerate() {
            series_of(tasks, &batch[place]).hidden.copy_from_slice(&self.hidden[row * width..(row + 1) * width]);
        }
        burn_ins as u64
    }
}

fn series_of<'a>(tasks: &'a mut [Option<Task>], item: &Pending) -> &'a mut Series {
    task_of(tasks, item).table.get_mut(item.series)
}

fn task_of<'a>(tasks: &'a mut [Option<Task>], item: &Pending) -> &'a mut Task {
    tasks[item.task.0].as_mut().unwrap_or_else(|| unreachable!("pending slots belong to open tasks"))
}
