//! From where the input of a restored partition is read again: its snapshots are loaded, and its checkpoints say how
//! far they reach.

use super::absence;
use super::group_position::GroupPosition;
use super::inputs::RestoreInputs;
use super::partition::AssignedPartition;
use super::rebuild::{CHANGED_SETTINGS, MISSING_STATE, PartialSeries, Rebuild};
use super::replay::activate_recorded_weights;
use crate::broker::BrokerError;
use crate::daemon::future_covariates::FutureCovariateFeed;
use crate::daemon::model_subscription::{PublishedVersion, install_recorded};
use crate::daemon::partition_task::PartitionTask;
use crate::daemon::plan::Plan;
use crate::engine::Engine;
use crate::snapshot::TaskProgress;

impl AssignedPartition {
    /// Sets every task to where its checkpoint says. Returns the offset from which the input must be replayed.
    pub(super) fn resume_tasks(&mut self, inputs: &mut RestoreInputs<'_>) -> Result<i64, BrokerError> {
        let engine = &mut *inputs.engine;
        absence::report(engine, &self.tasks, self.serve_from);
        install_recorded(inputs.broker, inputs.plan, engine, recorded_versions(inputs.plan, &self.tasks))?;
        let mut replay_from = self.serve_from;
        // Without a committed position, or where state was discarded, there is no state to miss.
        let discarded = self.tasks.iter().any(|task| task.stale_series.is_some());
        let missing = self.group.committed == Some(self.serve_from)
            && self.tasks.iter().all(|task| task.checkpoint.is_none())
            && !discarded;
        for index in 0..self.tasks.len() {
            let task = &mut self.tasks[index];
            let recorded = task.checkpoint.as_ref().map(|checkpoint| &checkpoint.progress);
            let mut progress = recorded.cloned().unwrap_or_default();
            let stream = &inputs.plan.streams[task.stream];
            if let Some(plan) = &stream.future_covariates {
                let watermarks = &mut progress.watermarks;
                task.feed = Some(FutureCovariateFeed::open(inputs.broker, stream, plan, &self.partition, watermarks)?);
            }
            let handle = task.handle;
            if let Some(start) = task.first_start {
                (progress.replay_from, progress.emit_from) = (self.serve_from, start.emit_from);
                inputs.engine.resume(handle, &progress);
            } else if task.checkpoint.is_some() {
                self.rebuild_restored(inputs, index, &mut progress)?;
                inputs.engine.resume(handle, &progress);
                activate_recorded_weights(inputs.engine, handle, progress.replay_from);
                replay_from = replay_from.min(progress.replay_from);
            } else {
                let (engine, spec) = (&mut *inputs.engine, &stream.engine.series);
                let rebuild = Rebuild::find(inputs.broker, &self.partition, spec, self.serve_from, MISSING_STATE)?;
                rebuild.begin(engine, handle, self.serve_from);
                if !discarded && rebuild.report(inputs.plan, engine.id(handle), self.serve_from, missing) {
                    self.stats.rebuilt += 1;
                    // Streams of the same partition lack the same records.
                    self.stats.lost = self.stats.lost.max(rebuild.lost);
                }
                replay_from = replay_from.min(rebuild.from);
            }
        }
        Ok(replay_from)
    }

    /// Extends the replay of a task that has a checkpoint, where series are missing or partial and the input brings
    /// them back.
    fn rebuild_restored(
        &mut self,
        inputs: &mut RestoreInputs<'_>,
        index: usize,
        progress: &mut TaskProgress,
    ) -> Result<(), BrokerError> {
        let RestoreInputs { broker, plan, engine, .. } = inputs;
        let (task, serve_from) = (&mut self.tasks[index], self.serve_from);
        let count = engine.partial_series(task.handle);
        if count == 0 && !self.incomplete {
            return Ok(());
        }
        let reach = if self.incomplete { MISSING_STATE } else { CHANGED_SETTINGS };
        let spec = &plan.streams[task.stream].engine.series;
        let rebuild = Rebuild::find(*broker, &self.partition, spec, serve_from, reach)?;
        let partial = if count == 0 || !rebuild.is_enough(*broker, &self.partition, spec)? {
            PartialSeries::Keep
        } else if self.serves_partial
            && !self.incomplete
            && progress.replay_from.min(serve_from) - rebuild.from > plan.rebuild_first
        {
            PartialSeries::RebuildMeanwhile
        } else {
            PartialSeries::RebuildFirst
        };
        if count > 0 {
            rebuild.report_partial(engine.id(task.handle), count, serve_from, partial);
        }
        task.rebuild_due = partial == PartialSeries::RebuildMeanwhile;
        if partial == PartialSeries::RebuildFirst {
            engine.restart_partial_series(task.handle);
        }
        if self.incomplete || partial == PartialSeries::RebuildFirst {
            // Series that were restored skip what they contain.
            progress.extend_back(rebuild.from);
            if self.incomplete {
                progress.rebuilt_to = serve_from;
            }
            self.stats.rebuilt += 1;
        }
        Ok(())
    }

    /// Whether it is served with partial series, which are to be rebuilt meanwhile.
    pub(super) fn rebuild_due(&self) -> bool {
        self.running() && self.tasks.iter().any(|task| task.rebuild_due)
    }

    /// The tasks of the same partition again, to be restored with all series rebuilt.
    pub(super) fn open_rebuild(&self, plan: &Plan, engine: &mut Engine, now: u64) -> Self {
        let group = GroupPosition { committed: Some(self.position(engine)), set_by_hand: false, ..self.group };
        let mut rebuild = Self::open(plan, engine, &self.partition, group, None, now);
        rebuild.serves_partial = false;
        rebuild
    }

    /// Before its replay has begun, a rebuild is to reach `position`: the snapshots that it loads are as new.
    pub(super) fn follow(&mut self, position: i64) {
        if !self.is_resumed() {
            self.group.committed = Some(position);
        }
    }

    /// Goes on from where a rebuild has ended, to `position`. Series begin and end as they did while they were served.
    pub(super) fn replay_on(&mut self, engine: &mut Engine, position: i64) {
        for task in &mut self.tasks {
            engine.begin_and_end_series_to(task.handle, position);
            // It counts the series at an earlier position.
            task.checkpoint.iter_mut().for_each(|checkpoint| checkpoint.series = None);
        }
        self.group.committed = Some(position);
        self.replay_to(position);
    }
}

/// The weights that the checkpoints of tasks name.
fn recorded_versions<'a>(plan: &'a Plan, tasks: &'a [PartitionTask]) -> impl Iterator<Item = PublishedVersion> + 'a {
    tasks.iter().flat_map(|task| {
        let name = &plan.streams[task.stream].engine.name;
        let activations = task.checkpoint.iter().flat_map(|checkpoint| &checkpoint.progress.activations);
        activations.map(|made| PublishedVersion { stream: name.to_string(), version: made.version })
    })
}
