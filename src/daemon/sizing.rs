//! How much memory a series takes, found by making some and counting.

use super::specs::{self, SpecError};
use crate::{
    engine::{Engine, TaskId},
    settings::{Settings, Stream},
    time::{EventTime, Grid},
};

/// Series that are made.
const SERIES: usize = 64;
/// Characters of their keys.
const KEY_LENGTH: usize = 20;

/// Bytes that one series of `stream` takes once its context is full, its share of the tables included, with a key of 20 characters.
///
/// # Errors
/// What of the settings cannot be had.
pub fn bytes_per_series(settings: &Settings, stream: &Stream) -> Result<u64, SpecError> {
    let alone = Settings { stream: vec![stream.clone()], ..settings.clone() };
    let mut plan = specs::plan(&alone)?;
    // What is counted does not depend on the network's width but for its state; its steps here are only paid for.
    let spec = plan.streams.remove(0).engine;
    let (interval, steps) = match spec.series.grid {
        Grid::Regular { interval } => (interval, spec.series.context_len()),
        Grid::Irregular => (1_000, spec.series.context_len()),
    };
    let id = TaskId { stream: spec.name.clone(), topic: "sizing".into(), partition: 0 };
    let Ok(mut engine) = Engine::new(vec![spec]) else { return Ok(0) };
    let Some(task) = engine.open(id, 0) else { return Ok(0) };
    let keys: Vec<String> = (0..SERIES).map(|number| format!("{number:0KEY_LENGTH$}")).collect();
    for step in 0..=steps {
        engine.begin(true);
        let time = EventTime(i64::try_from(step).unwrap_or(0) * interval);
        for key in &keys {
            engine.accept(task, 0, key, time, step as f64);
        }
        engine.advance(task, i64::try_from(step).unwrap_or(0));
        let epoch = engine.finish(1.0);
        engine.committed(&epoch);
    }
    Ok((engine.state_bytes(task) / SERIES) as u64)
}
