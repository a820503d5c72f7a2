//! `foretide train --diagnose`: how far back each recurrent cell's gradients reach.

use serde_json::{Value, json};

use super::{Arguments, screen::Screen, tell};
use crate::{
    backtest::{
        self,
        plot::lags::{self, LagChart, LinePair},
    },
    cli::{
        data::what_it_is,
        failure::{CANNOT_WRITE, Failure, USAGE},
        files,
    },
    daemon::specs,
    env::{Clock, SystemClock},
    nn::{CellKind, NetworkSpec, Weights},
    settings::{Season, Stream, Training},
    train::{
        self, EXPLODING_RATIO, GradientFlow, TrainSpec, TrainingSequence, VANISHING_RATIO, gradient_flow, long_lag_task,
    },
};

/// Updates of the weights between the two looks.
const UPDATES: usize = 200;
/// The built-in task: what was the value so many steps ago? Over so many series of so many steps.
const LAG: usize = 48;
const SERIES: usize = 16;
const STEPS: usize = 2000;

/// What gradients are followed through.
struct Task {
    about: String,
    network: NetworkSpec,
    lanes: Vec<TrainingSequence>,
    levels: Vec<f32>,
}

/// One cell, before and after training.
struct Found {
    cell: CellKind,
    initial: GradientFlow,
    trained: GradientFlow,
    loss: (f64, f64),
}

/// Prints and draws how far gradients reach.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    files::check_writable(arguments.plot.path())?;
    let clock = SystemClock::new();
    let task = task(arguments)?;
    let mut spec = TrainSpec {
        k1: arguments.steps,
        k2: arguments.steps,
        learning_rate: Training::default().learning_rate,
        batch_size: SERIES,
        max_updates: UPDATES,
        epochs: usize::MAX,
        seed: task.network.seed,
        levels: task.levels.clone(),
        ..TrainSpec::default()
    };
    arguments.apply(&mut spec);
    let mut found = Vec::new();
    for cell in CellKind::ALL.into_iter().filter(|cell| cell.is_recurrent()) {
        let network = NetworkSpec { cell, ..task.network.clone() };
        let mut screen = Screen::open(&clock);
        screen.say(&format!("{cell}: {}", task.about));
        let weights = Weights::initial(&network);
        let initial = gradient_flow(&network, &weights, &task.lanes, arguments.steps)?;
        let outcome = train::train(&spec, &network, &weights, &task.lanes, &mut |progress| {
            screen.show(progress);
            std::ops::ControlFlow::Continue(())
        })?;
        screen.close();
        let trained = gradient_flow(&network, &outcome.checkpoint.weights, &task.lanes, arguments.steps)?;
        found.push(Found { cell, initial, trained, loss: (outcome.fit.champion, outcome.fit.newest) });
    }
    let chart = chart(&task, &found, spec.max_updates);
    lags::draw(&arguments.plot, &chart).map_err(|error| Failure(CANNOT_WRITE, error.to_string()))?;
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    let plot = arguments.plot.path().display().to_string();
    tell(&if arguments.json {
        json(&task, &found, &spec, arguments.steps, &plot, seconds)
    } else {
        format!("{}drawn in {plot}\n", table(&found, arguments.steps, spec.max_updates))
    })
}

fn task(arguments: &Arguments) -> Result<Task, Failure> {
    let seed = arguments.seed.unwrap_or(Stream::default().model.seed);
    if let Some(file) = &arguments.file {
        let table = backtest::read_file(file, &arguments.reading.read_spec(arguments.forecast.interval))?;
        let stream = arguments.forecast.stream_spec("file", seed, &arguments.reading, &table)?;
        let lanes = backtest::training_sequences(&stream, &table, table.readings.len(), usize::MAX);
        let about = what_it_is(&stream, &table);
        return Ok(Task { about, network: stream.network, lanes, levels: arguments.forecast.levels() });
    }
    let usage = |error: specs::StreamError| Failure(USAGE, error.to_string());
    let model = arguments.forecast.network.model(seed)?;
    let stream = Stream { horizon: 1, quantiles: vec![0.5], season: Season::None, model, ..Stream::default() };
    let forecast = specs::forecast_spec(&stream).map_err(|error| usage(error.into()))?;
    let asked = specs::network_spec(&stream, &forecast, 1).map_err(|error| usage(error.into()))?;
    // Where nothing else is asked for, memories begin spread over all the steps: the task is known to be long.
    let chrono = if asked.chrono > 0 { asked.chrono } else { arguments.steps };
    let network = NetworkSpec { chrono, ..asked };
    Ok(Task {
        about: format!("the value {LAG} steps ago, of noise"),
        network,
        lanes: long_lag_task(LAG, SERIES, STEPS.max(4 * arguments.steps), seed),
        levels: forecast.levels,
    })
}

/// The lags of the table: powers of two, and the last.
fn shown(steps: usize) -> Vec<usize> {
    let mut lags: Vec<usize> =
        std::iter::successors(Some(1), |lag| Some(lag * 2)).take_while(|lag| *lag < steps).collect();
    if lags.last() != Some(&(steps - 1)) {
        lags.push(steps - 1);
    }
    lags
}

fn table(found: &[Found], steps: usize, updates: usize) -> String {
    let lags = shown(steps);
    let mut text = format!(
        "gradient of the last step by the inputs so many steps before, in parts of that by its own\n{:<31}",
        "lag"
    );
    text += &lags.iter().map(|lag| format!("{lag:>9}")).collect::<String>();
    text += "   reach\n";
    for Found { cell, initial, trained, .. } in found {
        let after = format!("{updates} updates");
        for (name, when, flow) in [(cell.name(), "initial", initial), ("", after.as_str(), trained)] {
            text += &format!("{name:<17}{when:<14}");
            text += &lags.iter().map(|lag| format!("{:>9.1e}", flow.relative(*lag))).collect::<String>();
            text += &format!("{:>8}  {}\n", flow.reach(), flow.fate().name());
        }
    }
    text + &format!(
        "vanishes: below {VANISHING_RATIO:.0e} at the last lag, explodes: above {EXPLODING_RATIO:.0e} at any; reach: the longest lag above {VANISHING_RATIO:.0e}\n"
    )
}

fn chart(task: &Task, found: &[Found], updates: usize) -> LagChart {
    let relative = |flow: &GradientFlow| (0..flow.norms.len()).map(|lag| flow.relative(lag)).collect();
    LagChart {
        title: "How far gradients reach".to_owned(),
        below: format!(
            "decimal logarithm, in parts of lag 0; thin: initial, bold: after {updates} updates; {}",
            task.about
        ),
        pairs: found
            .iter()
            .map(|found| LinePair {
                name: found.cell.name().to_owned(),
                thin: relative(&found.initial),
                bold: relative(&found.trained),
            })
            .collect(),
        bounds: [VANISHING_RATIO, EXPLODING_RATIO],
    }
}

fn json(task: &Task, found: &[Found], spec: &TrainSpec, steps: usize, plot: &str, seconds: f64) -> String {
    let of = |flow: &GradientFlow| json!({"norms": flow.norms, "reach": flow.reach(), "verdict": flow.fate().name()});
    let cells: Vec<Value> = found
        .iter()
        .map(|Found { cell, initial, trained, loss }| {
            let (before, after) = loss;
            json!({
                "cell": cell.name(),
                "initial": of(initial),
                "trained": of(trained),
                "loss": {"initial": before, "trained": after},
            })
        })
        .collect();
    let object = json!({
        "task": task.about,
        "steps": steps,
        "updates": spec.max_updates,
        "thresholds": {"vanishes": VANISHING_RATIO, "explodes": EXPLODING_RATIO},
        "cells": cells,
        "plot": plot,
        "seconds": seconds,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_powers_of_two_and_the_last_lag() {
        assert_eq!(shown(2), [1]);
        assert_eq!(shown(9), [1, 2, 4, 8]);
        assert_eq!(shown(128), [1, 2, 4, 8, 16, 32, 64, 127]);
    }
}
