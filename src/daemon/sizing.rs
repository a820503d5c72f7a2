//! How much memory a series takes: runs an engine with a few series and counts.

use super::plan::{StreamPlan, TrainingPlan};
use super::restore::standby_copy_bytes;
use super::specs::{self, SpecError};
use crate::engine::{Engine, Observation, StreamSpec, TaskId};
use crate::nn::NetworkSpec;
use crate::series::{FutureValues, Reading, RecordedSteps};
use crate::settings::{Footprint, Settings, Stream};
use crate::time::{EventTime, Grid};
use crate::train::{SequenceBuilder, TrainSpec};

/// Series of the engine that is measured.
const SERIES: usize = 64;
/// What the allocator adds, in percent (a million series: 3,008 bytes each are resident, 2,752 are counted).
const ALLOCATOR_OVERHEAD: usize = 8;
/// Numbers that training keeps for each unit and step of a chunk, and for each output.
const VALUES_PER_UNIT: usize = 10;
const VALUES_PER_OUTPUT: usize = 3;
/// A day in milliseconds.
const DAY: i64 = 86_400_000;
/// Length of their keys, in characters.
const KEY_LENGTH: usize = 20;

/// Bytes of one series of `stream` with a full context and a key of 20 characters, its share of the tables included.
///
/// # Errors
/// What is impossible in the settings.
pub fn footprint(settings: &Settings, stream: &Stream) -> Result<Footprint, SpecError> {
    let nothing = Footprint { state: 0, copy: 0, history: 0, update: 0 };
    let alone = Settings { stream: vec![stream.clone()], ..settings.clone() };
    let mut plan = specs::plan(&alone)?;
    let StreamPlan { engine: spec, training, .. } = plan.streams.remove(0);
    let history = training.as_ref().map_or(0, |training| history_bytes(&spec, training));
    let update = training.as_ref().map_or(0, |training| update_bytes(&spec.network, &training.spec));
    let (grid, steps) = (spec.series.grid.clone(), spec.series.context_len());
    // On an irregular grid, a step a second.
    let step_millis = if grid == Grid::Irregular { 1_000 } else { 1 };
    let covariates = vec![0.0; spec.series.extra.past_covariates.len()];
    let future_covariates = spec.series.extra.future_covariates.clone();
    let id = TaskId { stream: spec.name.clone(), topic: "sizing".into(), partition: 0 };
    let Ok(mut engine) = Engine::new(vec![spec]) else { return Ok(nothing) };
    let Some(task) = engine.open(id, 0) else { return Ok(nothing) };
    let keys: Vec<String> = (0..SERIES).map(|number| format!("{number:0KEY_LENGTH$}")).collect();
    let mut copied = 0;
    if future_covariates.keyed {
        // Every key holds as many slots as it may.
        let slots = keys.iter().flat_map(|key| (0..future_covariates.max_slots).map(move |slot| (key, slot)));
        for (offset, (key, slot)) in (0..).zip(slots) {
            let (slot, values) = (i64::try_from(slot).unwrap_or(0), vec![0.0; future_covariates.names.len()]);
            engine.insert_future_values(task, key, FutureValues { slot, offset, values: values.into() });
        }
    }
    for step in 0..=steps {
        engine.begin(true);
        let time = grid.start(i64::try_from(step).unwrap_or(0) * step_millis);
        for key in &keys {
            let value = step as f64;
            let covariates = &covariates;
            engine.accept(task, &Observation { covariates, ..Observation::new(0, key, time, value) });
        }
        engine.advance(task, i64::try_from(step).unwrap_or(0));
        let output = engine.finish(1.0);
        engine.commit(&output);
        copied = output.snapshots.iter().map(|snapshot| standby_copy_bytes(&snapshot.body, KEY_LENGTH)).sum();
    }
    let each = |bytes: usize| (bytes / SERIES * (100 + ALLOCATOR_OVERHEAD) / 100) as u64;
    Ok(Footprint { state: each(engine.state_bytes(task)), copy: each(copied), history, update })
}

/// Bytes of the history of one series that training keeps, at its most steps.
fn history_bytes(spec: &StreamSpec, training: &TrainingPlan) -> u64 {
    let mut builder = SequenceBuilder::new(spec.series.clone(), &spec.network, 1);
    let covariates = vec![0.0; spec.series.extra.past_covariates.len()];
    (0..2).for_each(|step| {
        _ = builder.observe(&Reading { past_covariates: &covariates, ..Reading::new(EventTime(step * DAY), 1.0) }, None)
    });
    let state = builder.bytes() - RecordedSteps::predicted_bytes(&spec.series, 1).min(builder.bytes());
    let steps = RecordedSteps::predicted_bytes(&spec.series, training.max_steps_per_series);
    ((state + KEY_LENGTH + steps) * (100 + ALLOCATOR_OVERHEAD) / 100) as u64
}

/// About how many bytes an update of the weights takes: the values of all layers over a chunk, their gradients, and
/// the outputs.
fn update_bytes(network: &NetworkSpec, spec: &TrainSpec) -> u64 {
    let values =
        network.inputs + network.layers * network.hidden * VALUES_PER_UNIT + VALUES_PER_OUTPUT * network.outputs();
    ((spec.k1 + spec.k2) * spec.batch_size * values * size_of::<f32>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    /// With more series, a longer run and other keys, the prediction is within a tenth of the count.
    #[test]
    fn a_run_takes_the_predicted_memory() {
        let text = "[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\ninterval = \"1m\"\n\
                    readings_per_slot = 1\nseason = \"none\"\nhorizon = 6\nmodel = { hidden = 8, burn_in = 8 }\n";
        let settings = settings::parse("test.toml", text, Vec::new()).unwrap();
        let Footprint { state: predicted, copy, .. } = footprint(&settings, &settings.stream[0]).unwrap();
        let spec = specs::plan(&settings).unwrap().streams.remove(0).engine;
        let id = TaskId { stream: spec.name.clone(), topic: "t".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).unwrap();
        let task = engine.open(id, 0).unwrap();
        for step in 0..30 {
            engine.begin(false);
            for series in 0..1_000 {
                let (series, time) = (&format!("plant-{series:08}"), EventTime(step * 60_000));
                engine.accept(task, &Observation::new(0, series, time, 1.0));
            }
            engine.advance(task, step);
            engine.finish(0.0);
        }
        let counted = (engine.state_bytes(task) / 1_000) as u64;
        assert!(predicted.abs_diff(counted) * 10 <= counted, "predicted {predicted}, counted {counted}");
        assert!((counted / 2..counted).contains(&copy), "a copy holds the same state, packed: {copy}");
    }
}
