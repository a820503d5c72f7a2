//! One shard's forecasting: a table of series states for each task, stepped in batches over many series.
//!
//! The engine is a deterministic function of what it is told: it reads no clock, no network and no randomness. The
//! shell gives it observations with their positions; [`Engine::finish`] closes an [`Transaction`], a value that holds
//! everything to be written. The shell then calls [`Engine::committed`] or [`Engine::roll_back`].

mod ahead;
mod epoch;
mod fingerprint;
mod outlooks;
mod snapshot;
mod table;
mod waves;

#[cfg(test)]
mod outlook_tests;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use rayon::prelude::*;

pub use epoch::{ForecastRow, Snapshot, TaskAdvance, Transaction};
pub use snapshot::SnapshotError;

use crate::{
    forecast::{ForecastSpec, StreamPrior},
    nn::{Network, NetworkError, NetworkSpec, Weights},
    series::{ClosedSlot, Placement, SeriesSpec},
    snapshot::{CovariateWatermark, DiscardedPart, PartShapes, TaskProgress, WeightsActivation},
    time::EventTime,
};
use outlooks::Outlooks;
use table::{Series, Table};
use waves::{Pending, Waves};

/// What the engine needs to know of a stream.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: Arc<str>,
    /// The grid, the scale and the features.
    pub series: SeriesSpec,
    /// Horizon, quantile levels, experts.
    pub forecast: ForecastSpec,
    /// The network that all series of the stream share.
    pub network: NetworkSpec,
    /// How many series a task of this stream may hold; an observation of one more is refused.
    pub max_series: usize,
}

impl StreamSpec {
    /// About what a forecast takes: its row and numbers in an epoch, and as a record, in which numbers have some 9 bytes and
    /// times 14.
    fn forecast_bytes(&self) -> usize {
        let (outputs, levels) = (self.forecast.outputs(), self.forecast.levels.len());
        size_of::<ForecastRow>() + 512 + outputs * (levels + 1) * (size_of::<f64>() + 9) + outputs * 14
    }
}

/// The unit of assignment and of state: the series of one stream in one partition of one input topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The input topic.
    pub topic: Arc<str>,
    /// The partition of the input topic.
    pub partition: i32,
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}[{}]", self.stream, self.topic, self.partition)
    }
}

/// A task that is open in an [`Engine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskHandle(usize);

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is on the grid.
    Accepted,
    /// The series' state holds it already (replay from before the series' snapshot).
    AlreadyApplied,
    /// It came after its slot had closed.
    Late {
        /// How far behind the series' watermark, in milliseconds.
        by: i64,
    },
    /// A reading for this very slot is there already, and the slot has closed.
    Duplicate,
    /// It belongs to a new series, and the task holds `max_series` already.
    SeriesLimit,
}

/// A snapshot as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSnapshot<'a> {
    /// The series' key.
    pub series: Cow<'a, str>,
    /// Input before this offset is in it.
    pub position: i64,
    /// What [`Snapshot::body`] was.
    pub body: &'a [u8],
}

/// Fewer snapshots than this are decoded on one thread.
const RESTORED_AT_ONCE: usize = 256;
/// The most images kept for reuse: about 25 MB at the defaults.
const SPARE_IMAGES: usize = 8_192;

struct Stream {
    spec: StreamSpec,
    /// Decides which parts of a snapshot can be read.
    shapes: PartShapes,
    /// By version; version 0 (the initial weights) is always there.
    networks: BTreeMap<u64, Version>,
}

/// What serves under a version.
#[derive(Clone)]
pub struct Version {
    /// The network with its weights.
    pub network: Arc<Network>,
    /// Where a new series begins, if that is known.
    pub prior: Option<Arc<StreamPrior>>,
}

struct Task {
    id: TaskId,
    stream: usize,
    /// The weights that serve.
    version: u64,
    /// The next offset to be read, as of the last committed epoch and within the open one.
    position: i64,
    activations: Vec<WeightsActivation>,
    watermarks: Vec<CovariateWatermark>,
    /// Whether one of them is not written down yet.
    sighted: bool,
    outlooks: Outlooks,
    table: Table,
    /// What to go back to when the open epoch is rolled back.
    before: Option<Before>,
}

struct Before {
    version: u64,
    position: i64,
    activations: usize,
    series: usize,
    dirty: usize,
}

/// One shard's engine.
pub struct Engine {
    streams: Vec<Stream>,
    tasks: Vec<Option<Task>>,
    pending: Vec<Pending>,
    /// Bytes of the forecasts that they will make.
    promised: usize,
    closed: Vec<ClosedSlot>,
    images: Vec<(TaskHandle, u32, Series)>,
    /// Images that are done with, whose memory the next ones use.
    spare_images: Vec<Series>,
    waves: Waves,
    /// Observations taken in the open epoch, by the stream's index.
    observations: Vec<u64>,
    emit: bool,
    spare: Option<Transaction>,
}

impl Engine {
    /// An engine without tasks; every stream serves its initial weights until others are installed.
    ///
    /// # Errors
    /// When a network specification is impossible (zero layers, say).
    pub fn new(streams: Vec<StreamSpec>) -> Result<Self, NetworkError> {
        let streams = streams
            .into_iter()
            .map(|spec| {
                let initial = Network::new(&spec.network, &Weights::initial(&spec.network))?;
                Ok(Stream {
                    shapes: fingerprint::part_shapes(&spec),
                    spec,
                    networks: BTreeMap::from([(0, Version { network: Arc::new(initial), prior: None })]),
                })
            })
            .collect::<Result<Vec<_>, NetworkError>>()?;
        let observations = vec![0; streams.len()];
        Ok(Self {
            streams,
            tasks: Vec::new(),
            pending: Vec::new(),
            promised: 0,
            closed: Vec::new(),
            images: Vec::new(),
            spare_images: Vec::new(),
            waves: Waves::default(),
            observations,
            emit: true,
            spare: None,
        })
    }

    /// Makes weights ready to serve `stream`; tasks take them up through [`Engine::activate`].
    /// A prior of another shape than the stream's forecasts is left out.
    pub fn install(&mut self, stream: &str, version: u64, served: Version) {
        if let Some(stream) = self.streams.iter_mut().find(|known| &*known.spec.name == stream) {
            let prior = served.prior.filter(|prior| prior.fits(&stream.spec.forecast));
            stream.networks.insert(version, Version { prior, ..served });
        }
    }

    /// Forgets weights that no task serves and none will be asked to replay: versions below `oldest`, but for the initial ones.
    pub fn drop_weights_below(&mut self, stream: &str, oldest: u64) {
        let Some(index) = self.streams.iter().position(|known| &*known.spec.name == stream) else { return };
        let serving: Vec<u64> =
            self.tasks.iter().flatten().filter(|task| task.stream == index).map(|task| task.version).collect();
        self.streams[index]
            .networks
            .retain(|&version, _| version == 0 || version >= oldest || serving.contains(&version));
    }

    /// The newest weights version installed for `stream`, or 0.
    pub fn newest_version(&self, stream: &str) -> u64 {
        self.streams
            .iter()
            .find(|known| &*known.spec.name == stream)
            .and_then(|known| known.networks.last_key_value())
            .map_or(0, |(&version, _)| version)
    }

    /// Opens a task with no series yet, standing at `position`. `None` when the stream is unknown.
    pub fn open(&mut self, id: TaskId, position: i64) -> Option<TaskHandle> {
        let stream = self.streams.iter().position(|stream| stream.spec.name == id.stream)?;
        let task = Task {
            id,
            stream,
            version: 0,
            position,
            activations: Vec::new(),
            watermarks: Vec::new(),
            sighted: false,
            outlooks: Outlooks::default(),
            table: Table::default(),
            before: None,
        };
        let free = self.tasks.iter().position(Option::is_none).unwrap_or(self.tasks.len());
        if free == self.tasks.len() {
            self.tasks.push(None);
        }
        self.tasks[free] = Some(task);
        Some(TaskHandle(free))
    }

    /// Closes a task and forgets its series. Must not be called while an epoch is open.
    pub fn close(&mut self, task: TaskHandle) {
        debug_assert!(self.pending.is_empty() && self.images.is_empty(), "an epoch is open");
        self.tasks[task.0] = None;
    }

    /// Puts series back from snapshots, of which later ones replace earlier ones of the same series. What became of each, in
    /// order: the parts of it that could not be used, or an error where its series is rebuilt from the input alone.
    pub fn restore(
        &mut self,
        task: TaskHandle,
        snapshots: &[EncodedSnapshot<'_>],
    ) -> Vec<Result<Vec<DiscardedPart>, SnapshotError>> {
        let Stream { spec, shapes, .. } = &self.streams[self.task(task).stream];
        let restored: Vec<_> = snapshots
            .par_iter()
            .with_min_len(RESTORED_AT_ONCE)
            .map(|snapshot| snapshot::decode(spec, shapes, snapshot))
            .collect();
        let table = &mut self.task_mut(task).table;
        let mut put = |(series, discarded)| {
            table.put(series);
            discarded
        };
        restored.into_iter().map(|series| series.map(&mut put)).collect()
    }

    /// Takes a task back to where its record says that replay has to begin, with the weights that served there; where
    /// those are not installed, with the next older ones that are.
    pub fn resume(&mut self, task: TaskHandle, progress: &TaskProgress) {
        let stream = self.task(task).stream;
        let open = self.task_mut(task);
        open.position = progress.replay_from;
        open.activations.clone_from(&progress.activations);
        open.watermarks.clone_from(&progress.watermarks);
        let recorded = open.recorded_version(progress.replay_from);
        let version = self.streams[stream].networks.range(..=recorded).next_back().map_or(0, |(&version, _)| version);
        self.task_mut(task).version = version;
    }

    /// The weights version that the task's record names for input at `position`.
    pub fn recorded_version(&self, task: TaskHandle, position: i64) -> u64 {
        self.task(task).recorded_version(position)
    }

    /// The first recorded change of weights after `position`: replay must not run past it in one epoch.
    pub fn next_activation(&self, task: TaskHandle, position: i64) -> Option<i64> {
        self.task(task).activations.iter().map(|activation| activation.position).find(|&at| at > position)
    }

    /// Serves the task with `version` from its present position on. Recorded in the task's progress when it changes
    /// anything. Returns whether it did; `false` also where the version is not installed.
    pub fn activate(&mut self, task: TaskHandle, version: u64) -> bool {
        let stream = self.task(task).stream;
        if self.task(task).version == version || !self.streams[stream].networks.contains_key(&version) {
            return false;
        }
        let open = self.task_mut(task);
        open.remember();
        open.version = version;
        if open.recorded_version(open.position) != version {
            open.activations.push(WeightsActivation { position: open.position, version });
        }
        true
    }

    /// Opens an epoch. With `emit` false (replay) state changes but nothing is to be written, and
    /// [`Engine::roll_back`] is not possible.
    pub fn begin(&mut self, emit: bool) {
        self.emit = emit;
    }

    /// Takes an observation of the record at `offset`, with the covariates that came with it (see [`SeriesState::observe`]).
    ///
    /// [`SeriesState::observe`]: crate::series::SeriesState::observe
    pub fn accept(
        &mut self,
        task: TaskHandle,
        offset: i64,
        series: &str,
        time: EventTime,
        value: f64,
        covariates: &[f64],
    ) -> Acceptance {
        let Some(open) = self.tasks[task.0].as_mut() else { return Acceptance::AlreadyApplied };
        let Stream { spec, networks, .. } = &self.streams[open.stream];
        let index = match open.table.find(series) {
            Some(index) => index,
            None if open.table.len() >= spec.max_series => return Acceptance::SeriesLimit,
            None => {
                open.remember();
                let prior = networks.get(&open.version).and_then(|served| served.prior.as_deref());
                open.table.put(Series::starting(series, spec, prior, value))
            }
        };
        let state = open.table.get_mut(index);
        if offset < state.position {
            return Acceptance::AlreadyApplied;
        }
        let spares = &mut self.spare_images;
        open.touch(task, index, offset, self.emit, &mut self.images, spares);
        let state = open.table.get_mut(index);
        let placed = state.input.observe(&spec.series, time, value, covariates, &mut self.closed);
        for slot in self.closed.drain(..) {
            self.promised += slot.value.map_or(0, |_| spec.forecast_bytes());
            self.pending.push(Pending { wave: state.queued, task, series: index, offset, slot });
            state.queued += 1;
        }
        match placed {
            Placement::Accepted => {
                self.observations[open.stream] += 1;
                Acceptance::Accepted
            }
            Placement::Late { by } => Acceptance::Late { by },
            Placement::Duplicate => Acceptance::Duplicate,
        }
    }

    /// About the bytes that the open epoch takes: slots that have closed, and their forecasts as numbers and as records.
    pub fn open_bytes(&self) -> usize {
        self.pending.len() * size_of::<Pending>() + self.promised
    }

    /// Says that the task's input has been taken up to (not including) `position`.
    pub fn advance(&mut self, task: TaskHandle, position: i64) {
        let open = self.task_mut(task);
        open.remember();
        open.position = position;
    }

    /// Steps every closed slot through the network and closes the epoch. `snapshot_share` (0 to 1) is the share of the changed series to
    /// snapshot now, oldest change first.
    pub fn finish(&mut self, snapshot_share: f64) -> Transaction {
        let mut epoch = self.spare.take().unwrap_or_else(|| Transaction::new(&self.streams));
        epoch.observations.copy_from_slice(&self.observations);
        self.observations.fill(0);
        self.promised = 0;
        self.waves.run(&mut self.pending, &self.streams, &mut self.tasks, self.emit, &mut epoch);
        for (index, task) in self.tasks.iter_mut().enumerate() {
            let Some(task) = task else { continue };
            let Some(before) = &task.before else { continue };
            let from = before.position;
            let activated = before.activations != task.activations.len() || task.sighted;
            let due = if self.emit { task.table.due(snapshot_share) } else { 0 };
            let shapes = &self.streams[task.stream].shapes;
            task.table.oldest_dirty(due).for_each(|series| {
                epoch.snapshots.push(Snapshot {
                    task: TaskHandle(index),
                    series: Arc::clone(&series.key),
                    position: task.position,
                    body: snapshot::encode(shapes, series),
                });
            });
            let progress = task.progress(due);
            epoch.tasks.push(TaskAdvance {
                task: TaskHandle(index),
                from,
                to: task.position,
                snapshots: due,
                checkpoint_due: activated,
                progress,
            });
            if !self.emit {
                task.before = None;
            }
        }
        epoch
    }

    /// The epoch is in Kafka: memory becomes the truth.
    pub fn commit(&mut self, epoch: &Transaction) {
        let mut images = std::mem::take(&mut self.images);
        for (task, series, image) in images.drain(..) {
            self.task_mut(task).table.get_mut(series).imaged = false;
            if self.spare_images.len() < SPARE_IMAGES {
                self.spare_images.push(image);
            }
        }
        self.images = images;
        for done in &epoch.tasks {
            let task = self.task_mut(done.task);
            task.before = None;
            task.table.cleaned(done.snapshots);
            let keep_from = done.progress.activations.first().map_or(0, |activation| activation.position);
            task.activations.retain(|activation| activation.position >= keep_from);
            task.watermarks = task.sightings_from(done.progress.replay_from).to_vec();
            task.sighted = false;
        }
    }

    /// Takes an epoch that is done with, so that the next one can use its memory (a megabyte for each 1,000 forecasts).
    pub fn recycle(&mut self, mut epoch: Transaction) {
        epoch.clear();
        self.spare = Some(epoch);
    }

    /// The epoch did not happen: every touched series goes back to its image from before it, and every touched task to the
    /// position from which it has to be read again.
    pub fn roll_back(&mut self) {
        self.pending.clear();
        self.promised = 0;
        self.observations.fill(0);
        while let Some((task, series, image)) = self.images.pop() {
            *self.task_mut(task).table.get_mut(series) = image;
        }
        for task in self.tasks.iter_mut().flatten() {
            let Some(before) = task.before.take() else { continue };
            task.version = before.version;
            task.position = before.position;
            task.activations.truncate(before.activations);
            task.table.truncate(before.series, before.dirty);
        }
    }

    /// The task's identity.
    pub fn id(&self, task: TaskHandle) -> &TaskId {
        &self.task(task).id
    }

    /// The next offset the task wants to read.
    pub fn position(&self, task: TaskHandle) -> i64 {
        self.task(task).position
    }

    /// The weights version that serves the task.
    pub fn version(&self, task: TaskHandle) -> u64 {
        self.task(task).version
    }

    /// How many series the task holds.
    pub fn series_count(&self, task: TaskHandle) -> usize {
        self.task(task).table.len()
    }

    /// Where the task stands, if nothing is open.
    pub fn progress(&self, task: TaskHandle) -> TaskProgress {
        self.task(task).progress(0)
    }

    /// The key of a series of a task.
    pub fn key(&self, task: TaskHandle, series: u32) -> &str {
        &self.task(task).table.get(series).key
    }

    /// The keys of all series of a task.
    pub fn keys(&self, task: TaskHandle) -> Vec<String> {
        (0..self.series_count(task)).map(|series| self.key(task, series as u32).to_owned()).collect()
    }

    /// Bytes of the states of a task's series (inline and heap), added up over every series, and of what it knows in advance.
    pub fn state_bytes(&self, task: TaskHandle) -> usize {
        self.task(task).table.bytes() + self.task(task).outlooks.bytes()
    }

    /// The specification of the stream that `task` belongs to.
    pub fn stream(&self, task: TaskHandle) -> &StreamSpec {
        &self.streams[self.task(task).stream].spec
    }

    /// The open tasks.
    pub fn tasks(&self) -> impl Iterator<Item = TaskHandle> {
        self.tasks.iter().enumerate().filter(|(_, task)| task.is_some()).map(|(index, _)| TaskHandle(index))
    }

    fn task(&self, task: TaskHandle) -> &Task {
        self.tasks[task.0].as_ref().unwrap_or_else(|| unreachable!("a handle outlived its task"))
    }

    fn task_mut(&mut self, task: TaskHandle) -> &mut Task {
        self.tasks[task.0].as_mut().unwrap_or_else(|| unreachable!("a handle outlived its task"))
    }
}

impl Task {
    fn recorded_version(&self, position: i64) -> u64 {
        self.activations.iter().rev().find(|made| made.position <= position).map_or(0, |made| made.version)
    }

    /// Notes, once an epoch, what a rollback must go back to.
    fn remember(&mut self) {
        if self.before.is_none() {
            self.before = Some(Before {
                version: self.version,
                position: self.position,
                activations: self.activations.len(),
                series: self.table.len(),
                dirty: self.table.dirty_len(),
            });
        }
    }

    /// Prepares a series for a change: image for rollback, place in the queue of changed series.
    fn touch(
        &mut self,
        task: TaskHandle,
        series: u32,
        offset: i64,
        keep_image: bool,
        images: &mut Vec<(TaskHandle, u32, Series)>,
        spares: &mut Vec<Series>,
    ) {
        self.remember();
        let known_before = self.before.as_ref().is_some_and(|before| (series as usize) < before.series);
        let state = self.table.get_mut(series);
        if keep_image && known_before && !state.imaged {
            let image = match spares.pop() {
                Some(mut spare) => {
                    spare.clone_from(state);
                    spare
                }
                None => state.clone(),
            };
            images.push((task, series, image));
            state.imaged = true;
        }
        self.table.mark_dirty(series, offset);
    }

    /// `skip`: how many of the oldest changed series are about to be snapshotted.
    fn progress(&self, skip: usize) -> TaskProgress {
        let replay_from = self.table.dirty_from(skip).unwrap_or(self.position);
        let first = self.activations.iter().rposition(|made| made.position <= replay_from).unwrap_or(0);
        let watermarks = self.sightings_from(replay_from).to_vec();
        TaskProgress { replay_from, activations: self.activations[first..].to_vec(), watermarks }
    }
}
