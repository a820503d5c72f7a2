//! How much memory a series takes, found by making some and counting.

use super::{
    specs::{self, SpecError},
    standby,
};
use crate::{
    engine::{Engine, Observation, TaskId},
    series::FutureValues,
    settings::{Footprint, Settings, Stream},
    time::{EventTime, Grid},
};

/// Series that are made.
const SERIES: usize = 64;
/// What the allocator's size classes add, in percent (a million series: 3,008 bytes each resident, 2,752 counted).
const ROUNDING: usize = 8;
/// Characters of their keys.
const KEY_LENGTH: usize = 20;

/// What one series of `stream` takes once its context is full, its share of the tables included, with a key of 20 characters.
///
/// # Errors
/// What of the settings cannot be had.
pub fn footprint(settings: &Settings, stream: &Stream) -> Result<Footprint, SpecError> {
    let nothing = Footprint { state: 0, copy: 0 };
    let alone = Settings { stream: vec![stream.clone()], ..settings.clone() };
    let mut plan = specs::plan(&alone)?;
    // What is counted does not depend on the network's width but for its state; its steps here are only paid for.
    let spec = plan.streams.remove(0).engine;
    let (interval, steps) = match spec.series.grid {
        Grid::Regular { interval } => (interval, spec.series.context_len()),
        Grid::Irregular => (1_000, spec.series.context_len()),
    };
    let covariates = vec![0.0; spec.series.extra.past_covariates.len()];
    let known = spec.series.extra.future_covariates.clone();
    let id = TaskId { stream: spec.name.clone(), topic: "sizing".into(), partition: 0 };
    let Ok(mut engine) = Engine::new(vec![spec]) else { return Ok(nothing) };
    let Some(task) = engine.open(id, 0) else { return Ok(nothing) };
    let keys: Vec<String> = (0..SERIES).map(|number| format!("{number:0KEY_LENGTH$}")).collect();
    let mut copied = 0;
    if known.keyed {
        // Each key may hold as much as it may.
        let told = keys.iter().flat_map(|key| (0..known.max_slots).map(move |slot| (key, slot)));
        for (offset, (key, slot)) in (0..).zip(told) {
            let slot = i64::try_from(slot).unwrap_or(0);
            let values = FutureValues { slot, offset, values: vec![0.0; known.names.len()].into() };
            engine.insert_future_values(task, key, values);
        }
    }
    for step in 0..=steps {
        engine.begin(true);
        let time = EventTime(i64::try_from(step).unwrap_or(0) * interval);
        for key in &keys {
            let value = step as f64;
            engine.accept(task, &Observation { offset: 0, series: key, time, value, covariates: &covariates });
        }
        engine.advance(task, i64::try_from(step).unwrap_or(0));
        let epoch = engine.finish(1.0);
        engine.commit(&epoch);
        copied = epoch.snapshots.iter().map(|snapshot| standby::standby_copy_bytes(&snapshot.body, KEY_LENGTH)).sum();
    }
    let each = |bytes: usize| (bytes / SERIES * (100 + ROUNDING) / 100) as u64;
    Ok(Footprint { state: each(engine.state_bytes(task)), copy: each(copied) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    /// More series, longer run, other keys: what is predicted is what is counted, within a tenth.
    #[test]
    fn a_run_takes_what_is_predicted() {
        let text = "[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\ninterval = \"1m\"\nreadings_per_slot = 1\nseason = \"none\"\nhorizon = 6\nmodel = { hidden = 8, burn_in = 8 }\n";
        let settings = settings::parse("test.toml", text, Vec::new()).unwrap();
        let Footprint { state: predicted, copy } = footprint(&settings, &settings.stream[0]).unwrap();
        let spec = specs::plan(&settings).unwrap().streams.remove(0).engine;
        let id = TaskId { stream: spec.name.clone(), topic: "t".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).unwrap();
        let task = engine.open(id, 0).unwrap();
        for step in 0..30 {
            engine.begin(false);
            for series in 0..1_000 {
                let (series, time) = (&format!("plant-{series:08}"), EventTime(step * 60_000));
                engine.accept(task, &Observation { offset: 0, series, time, value: 1.0, covariates: &[] });
            }
            engine.advance(task, step);
            engine.finish(0.0);
        }
        let counted = (engine.state_bytes(task) / 1_000) as u64;
        assert!(predicted.abs_diff(counted) * 10 <= counted, "predicted {predicted}, counted {counted}");
        assert!((counted / 2..counted).contains(&copy), "a copy holds the same numbers, packed: {copy}");
    }
}
