//! The engine of one shard: streams, tasks, and the transaction that is open.

use std::sync::Arc;

use rayon::prelude::*;

use super::acceptance::{Acceptance, Deletion, Observation, OpenTransaction};
use super::micro_batch::Stepper;
use super::record_clock::RecordClock;
use super::snapshot::{self, EncodedSnapshot, SnapshotError};
use super::stream::{ServedWeights, Stream};
use super::stream_spec::StreamSpec;
use super::task::{Task, TaskHandle, TaskId, Tasks};
use super::transaction::{Snapshot, TaskAdvance, Transaction};
use crate::nn::NetworkError;
use crate::series::FutureValues;
use crate::snapshot::{CovariateWatermark, DiscardedPart, TaskProgress};
use crate::time::Grid;

/// Fewer snapshots than this are decoded on one thread.
const MIN_SNAPSHOTS_PER_THREAD: usize = 256;

/// The engine of one shard.
pub struct Engine {
    streams: Vec<Stream>,
    tasks: Tasks,
    open: OpenTransaction,
    stepper: Stepper,
    /// A transaction that is done with, whose memory the next one uses.
    spare: Option<Transaction>,
}

impl Engine {
    /// An engine without tasks. Every stream serves its initial weights until others are installed.
    ///
    /// # Errors
    /// Where a network specification is impossible (no layers, for example).
    pub fn new(streams: Vec<StreamSpec>) -> Result<Self, NetworkError> {
        let streams = streams.into_iter().map(Stream::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            open: OpenTransaction::new(streams.len()),
            streams,
            tasks: Tasks::default(),
            stepper: Stepper::default(),
            spare: None,
        })
    }

    /// Makes weights ready to serve `stream`. Tasks change to them in [`Engine::activate`]. A prior that does not fit
    /// the stream's forecasts is left out.
    pub fn install(&mut self, stream: &str, version: u64, weights: ServedWeights) {
        if let Some(stream) = self.streams.iter_mut().find(|known| &*known.spec.name == stream) {
            stream.install(version, weights);
        }
    }

    /// Drops weights that no task serves and no replay under way needs: versions below `oldest`, except the initial
    /// one.
    pub fn drop_weights_below(&mut self, stream: &str, oldest: u64) {
        let Some(index) = self.stream_index(stream) else { return };
        let of_stream = self.tasks.iter().filter(|(_, task)| task.stream == index);
        let versions = |task: &Task| task.activations.iter().map(|made| made.version).chain([task.version]).collect();
        let needed: Vec<u64> = of_stream.flat_map(|(_, task)| -> Vec<u64> { versions(task) }).collect();
        self.streams[index].drop_weights_below(oldest, &needed);
    }

    /// Whether these weights are installed.
    pub fn has_weights(&self, stream: &str, version: u64) -> bool {
        self.stream_index(stream).is_some_and(|index| self.streams[index].weights(version).is_some())
    }

    /// The newest version installed for `stream`, or 0.
    pub fn newest_version(&self, stream: &str) -> u64 {
        self.stream_index(stream).map_or(0, |index| self.streams[index].installed_at_most(u64::MAX))
    }

    /// The weights version that the task's progress names for input at `position`.
    pub fn recorded_version(&self, task: TaskHandle, position: i64) -> u64 {
        self.tasks.get(task).recorded_version(position)
    }

    /// The first recorded change of weights after `position`. A replay must not run past it in one transaction.
    pub fn next_activation(&self, task: TaskHandle, position: i64) -> Option<i64> {
        self.tasks.get(task).activations.iter().map(|made| made.position).find(|&at| at > position)
    }

    /// Serves the task with `version` from its present position on, and records that in its progress. Returns whether
    /// this changed anything; `false` also where the version is not installed.
    pub fn activate(&mut self, task: TaskHandle, version: u64) -> bool {
        let task = self.tasks.get_mut(task);
        let changes = task.version != version && self.streams[task.stream].weights(version).is_some();
        if changes {
            task.activate(version);
        }
        changes
    }

    /// Opens a task without series at `position`. `None` where the stream is unknown.
    pub fn open(&mut self, id: TaskId, position: i64) -> Option<TaskHandle> {
        let stream = self.stream_index(&id.stream)?;
        Some(self.tasks.open(Task::new(id, stream, position)))
    }

    /// Snapshots every series of a task in each transaction that changes it, whatever share [`Engine::finish`] is
    /// given: for input that cannot be read again.
    pub fn snapshot_each_transaction(&mut self, task: TaskHandle) {
        self.tasks.get_mut(task).snapshots_each_transaction = true;
    }

    /// Closes a task and forgets its series. Must not be called while a transaction is open.
    pub fn close(&mut self, task: TaskHandle) {
        debug_assert!(self.open.pending.is_empty() && self.open.undo.is_empty(), "a transaction is open");
        self.tasks.close(task);
    }

    /// Restores series from snapshots, of which later ones replace or delete earlier ones of the same series. Returns
    /// for each, in order, the parts that could not be used and begin empty, or an error where the series is rebuilt
    /// from the input. Nothing else may have happened to the task yet.
    pub fn restore(
        &mut self,
        task: TaskHandle,
        snapshots: &[EncodedSnapshot<'_>],
    ) -> Vec<Result<Vec<DiscardedPart>, SnapshotError>> {
        let task = self.tasks.get_mut(task);
        let Stream { spec, shapes, .. } = &self.streams[task.stream];
        let restored: Vec<_> = snapshots
            .par_iter()
            .with_min_len(MIN_SNAPSHOTS_PER_THREAD)
            .map(|snapshot| snapshot.body.map(|body| snapshot::decode(spec, shapes, snapshot, body)).transpose())
            .collect();
        let mut outcomes = Vec::with_capacity(snapshots.len());
        for (snapshot, restored) in snapshots.iter().zip(restored) {
            outcomes.push(restored.map(|restored| match restored {
                Some((series, discarded)) => {
                    task.series.put(series);
                    discarded
                }
                None => {
                    task.series.remove(&snapshot.series);
                    Vec::new()
                }
            }));
        }
        outcomes
    }

    /// How many restored series are partial: they lack parts that could not be used, and go on with these empty.
    pub fn partial_series(&self, task: TaskHandle) -> usize {
        self.tasks.get(task).series.iter().filter(|series| series.is_partial).count()
    }

    /// Until [`Self::keep_partial_series`], a replay starts each partial series anew at its first observation.
    pub fn restart_partial_series(&mut self, task: TaskHandle) {
        self.tasks.get_mut(task).restarts_partial = true;
    }

    /// The series that are still partial stay as they are. Their snapshots say so once they are due.
    pub fn keep_partial_series(&mut self, task: TaskHandle) {
        let task = self.tasks.get_mut(task);
        task.restarts_partial = false;
        task.series.keep_partial(task.input_point());
    }

    /// From the task's position up to `end`, a replay begins and ends series.
    pub fn begin_and_end_series_to(&mut self, task: TaskHandle, end: i64) {
        self.tasks.get_mut(task).rebuilt_to = end;
    }

    /// The highest input position of a restored series.
    pub fn restored_position(&self, task: TaskHandle) -> Option<i64> {
        self.tasks.get(task).series.iter().map(|series| series.position).max()
    }

    /// Takes a task back to where its progress says that the replay begins, with the weights that served there. Where
    /// these are not installed, the next newer ones serve, which were trained from them.
    pub fn resume(&mut self, task: TaskHandle, progress: &TaskProgress) {
        let task = self.tasks.get_mut(task);
        task.position = progress.replay_from;
        task.event_time = progress.event_time;
        task.clock = RecordClock::resume(progress.clock);
        task.rebuilt_to = progress.rebuilt_to;
        task.emit_from = progress.emit_from;
        task.activations.clone_from(&progress.activations);
        task.covariates.resume(&progress.watermarks);
        let recorded = task.recorded_version(progress.replay_from);
        task.version = self.streams[task.stream].installed_for(recorded);
    }

    /// Stores the values that a record of the second topic has for one slot. Every later step sees them: so it is
    /// called between two transactions, or before the first observation of one. A rollback does not undo it. Returns
    /// `false` where the task holds covariates of as many keys as it may hold series.
    pub fn insert_future_values(&mut self, task: TaskHandle, key: &str, values: FutureValues) -> bool {
        debug_assert!(self.open.pending.is_empty(), "steps wait that must not see these values");
        let task = self.tasks.get_mut(task);
        let spec = &self.streams[task.stream].spec;
        if spec.series.grid == Grid::Irregular {
            return true;
        }
        task.covariates.insert(&spec.series.extra.future_covariates, spec.max_series, key, values)
    }

    /// Records that the second topic was read up to (not including) `next`, and that the input from the task's position
    /// on sees it. The progress of the open transaction contains that.
    pub fn advance_watermark(&mut self, task: TaskHandle, next: i64) {
        let task = self.tasks.get_mut(task);
        if next > task.covariates.next() {
            task.set_rollback_point();
            task.covariates.advance(task.position, next);
        }
    }

    /// The next record of the second topic.
    pub fn covariate_offset(&self, task: TaskHandle) -> i64 {
        self.tasks.get(task).covariates.next()
    }

    /// The recorded watermarks after `position`, the next one first.
    pub fn watermarks_after(&self, task: TaskHandle, position: i64) -> &[CovariateWatermark] {
        self.tasks.get(task).covariates.watermarks_after(position)
    }

    /// The watermark of a replay that stands at `position`; none where no covariates were visible yet.
    pub fn watermark_at(&self, task: TaskHandle, position: i64) -> Option<CovariateWatermark> {
        self.tasks.get(task).covariates.watermark_at(position)
    }

    /// Records that a replay has stored the covariates up to `watermark`. Returns `false` where they are not those of
    /// the first time: the second topic has lost records since.
    pub fn confirm_watermark(&mut self, task: TaskHandle, watermark: CovariateWatermark) -> bool {
        self.tasks.get_mut(task).covariates.confirm(watermark)
    }

    /// Opens a transaction. With `emit` false (a replay) states change and nothing is to be written, and
    /// [`Engine::roll_back`] is not possible.
    pub fn begin(&mut self, emit: bool) {
        self.open.emit = emit;
        self.tasks.iter_mut().for_each(|(_, task)| task.series.free_ended());
    }

    /// Ends the series of a key, if there is one. Its open slots close.
    pub fn delete(&mut self, task: TaskHandle, deletion: &Deletion<'_>) {
        let open = self.tasks.get_mut(task);
        self.open.delete(&self.streams[open.stream].spec, task, open, deletion);
    }

    /// Puts an observation on the grid of its series.
    pub fn accept(&mut self, task: TaskHandle, observation: &Observation<'_>) -> Acceptance {
        let open = self.tasks.get_mut(task);
        self.open.accept(&self.streams[open.stream], task, open, observation)
    }

    /// An estimate of the bytes that the open transaction takes: closed slots, and their forecasts as values and as
    /// records.
    pub fn open_bytes(&self) -> usize {
        self.open.bytes()
    }

    /// Records that the task's input was read up to (not including) `position`.
    pub fn advance(&mut self, task: TaskHandle, position: i64) {
        let task = self.tasks.get_mut(task);
        task.set_rollback_point();
        task.position = position;
    }

    /// Steps every closed slot through the network and closes the transaction. `snapshot_share` (0 to 1) is the share
    /// of the changed series to snapshot now, the oldest change first.
    pub fn finish(&mut self, snapshot_share: f64) -> Transaction {
        let mut transaction = self.spare.take().unwrap_or_else(|| Transaction::new(&self.streams));
        let sums = transaction.streams.iter_mut().zip(&self.open.observations);
        sums.for_each(|(sums, observations)| sums.observations = *observations);
        self.open.clear_counts();
        let emit = self.open.emit;
        self.stepper.run(&mut self.open.pending, &self.streams, &mut self.tasks, emit, &mut transaction);
        transaction.ended.append(&mut self.open.ended);
        for (handle, task) in self.tasks.iter_mut() {
            let Some(before) = &task.rollback_point else { continue };
            let from = before.input.position;
            let each = task.snapshots_each_transaction;
            // The checkpoint counts the series.
            let checkpoint_due = each
                || task.series.has_ended()
                || before.activations != task.activations.len()
                || task.covariates.is_dirty();
            let share = if each { 1.0 } else { snapshot_share };
            let due = if emit { task.due_snapshots(share) } else { 0 };
            let shapes = &self.streams[task.stream].shapes;
            // Snapshots of one stream are about as long as each other.
            let mut capacity = 0;
            task.series.stepped();
            transaction.snapshots.extend(task.series.to_snapshot(due).map(|series| {
                let body = snapshot::encode(shapes, series, capacity);
                capacity = body.len() + body.len() / 32;
                Snapshot { task: handle, series: Arc::clone(&series.key), position: task.position, body }
            }));
            let (to, progress) = (task.position, task.progress(due));
            transaction.begun.extend(task.series.begun().map(|key| (handle, Arc::clone(key))));
            transaction.tasks.push(TaskAdvance { task: handle, from, to, snapshots: due, checkpoint_due, progress });
            if !emit {
                task.rollback_point = None;
                task.series.free_ended();
            }
        }
        transaction
    }

    /// The transaction is in Kafka: its states are final.
    pub fn commit(&mut self, transaction: &Transaction) {
        self.open.undo.commit(&mut self.tasks);
        for advance in &transaction.tasks {
            self.tasks.get_mut(advance.task).commit(advance.snapshots, &advance.progress);
        }
    }

    /// Takes a transaction that is done with, whose memory the next one uses (a megabyte for each 1,000 forecasts).
    pub fn recycle(&mut self, mut transaction: Transaction) {
        transaction.clear();
        self.spare = Some(transaction);
    }

    /// The transaction has failed: every touched series returns to its undo copy, and every touched task to the
    /// position from which its input must be read again.
    pub fn roll_back(&mut self) {
        self.open.pending.clear();
        self.open.clear_counts();
        self.open.ended.clear();
        self.tasks.iter_mut().for_each(|(_, task)| task.series.roll_back());
        self.open.undo.roll_back(&mut self.tasks);
        self.tasks.iter_mut().for_each(|(_, task)| task.roll_back());
    }

    /// The task's identity.
    pub fn id(&self, task: TaskHandle) -> &TaskId {
        &self.tasks.get(task).id
    }

    /// The next offset to be read for the task.
    pub fn position(&self, task: TaskHandle) -> i64 {
        self.tasks.get(task).position
    }

    /// Where the forecasts of the task begin. Input before this offset changes states, and has no other effect.
    pub fn emit_from(&self, task: TaskHandle) -> i64 {
        self.tasks.get(task).emit_from
    }

    /// The version of the weights that serve the task.
    pub fn version(&self, task: TaskHandle) -> u64 {
        self.tasks.get(task).version
    }

    /// How many series the task holds.
    pub fn series_count(&self, task: TaskHandle) -> usize {
        self.tasks.get(task).series.len()
    }

    /// The task's progress, if no transaction is open.
    pub fn progress(&self, task: TaskHandle) -> TaskProgress {
        self.tasks.get(task).progress(0)
    }

    /// The key of a series of a task.
    pub fn key(&self, task: TaskHandle, series: u32) -> &str {
        &self.tasks.get(task).series.get(series).key
    }

    /// The keys of all series of a task.
    pub fn keys(&self, task: TaskHandle) -> impl Iterator<Item = &str> {
        self.tasks.get(task).series.iter().map(|series| &*series.key)
    }

    /// Bytes of a task's state, inline and on the heap: its series and its future covariates.
    pub fn state_bytes(&self, task: TaskHandle) -> usize {
        let task = self.tasks.get(task);
        task.series.bytes() + task.covariates.bytes()
    }

    /// The specification of the stream that `task` belongs to.
    pub fn stream(&self, task: TaskHandle) -> &StreamSpec {
        &self.streams[self.tasks.get(task).stream].spec
    }

    /// The open tasks.
    pub fn tasks(&self) -> impl Iterator<Item = TaskHandle> {
        self.tasks.iter().map(|(handle, _)| handle)
    }

    fn stream_index(&self, stream: &str) -> Option<usize> {
        self.streams.iter().position(|known| &*known.spec.name == stream)
    }
}
