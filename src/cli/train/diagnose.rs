//! `foretide train --diagnose`: how far back each recurrent cell's gradients reach.

use serde_json::{Value, json};

use super::arguments::Arguments;
use crate::cli::training_progress::TrainingProgress;
use crate::{
    backtest::{
        self,
        plot::{LagChart, LinePair, draw_lag_chart},
    },
    cli::{
        data::describe,
        failure::{CANNOT_WRITE, Failure, USAGE},
        files,
        output::print,
    },
    daemon::specs,
    env::{Clock, SystemClock},
    nn::{CellKind, NetworkSpec, Weights},
    settings::{Season, Stream, Training},
    train::{
        self, EXPLODING_RATIO, GradientFlow, TrainSpec, TrainingSequence, VANISHING_RATIO, gradient_flow, long_lag_task,
    },
};

/// Updates of the weights by default, between the two measurements.
const UPDATES: usize = 200;
/// The built-in task asks for the value this many steps ago.
const LAG: usize = 48;
/// Series of the built-in task.
const SERIES: usize = 16;
/// Fewest steps per series of the built-in task.
const STEPS: usize = 2000;

/// The data and the network through which gradients are followed.
struct Task {
    about: String,
    network: NetworkSpec,
    sequences: Vec<TrainingSequence>,
    levels: Vec<f32>,
}

/// Gradient flow of one cell, before and after training.
struct CellResult {
    cell: CellKind,
    initial: GradientFlow,
    trained: GradientFlow,
    /// Loss before and after training.
    loss: (f64, f64),
}

/// Measures, prints and draws how far back the gradients of each recurrent cell reach.
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
    let mut results = Vec::new();
    for cell in CellKind::ALL.into_iter().filter(|cell| cell.is_recurrent()) {
        let network = NetworkSpec { cell, ..task.network.clone() };
        let mut progress = TrainingProgress::open(&clock);
        progress.say(&format!("{cell}: {}", task.about));
        let weights = Weights::initial(&network);
        let initial = gradient_flow(&network, &weights, &task.sequences, arguments.steps)?;
        let outcome = train::train(&spec, &network, &weights, &task.sequences, &mut |now| {
            progress.show(now);
            std::ops::ControlFlow::Continue(())
        })?;
        progress.close();
        let trained = gradient_flow(&network, &outcome.checkpoint.weights, &task.sequences, arguments.steps)?;
        results.push(CellResult { cell, initial, trained, loss: (outcome.fit.champion, outcome.fit.newest) });
    }
    let chart = chart(&task, &results, spec.max_updates);
    draw_lag_chart(&arguments.plot, &chart).map_err(|error| Failure(CANNOT_WRITE, error.to_string()))?;
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    let plot = arguments.plot.path().display().to_string();
    print(&if arguments.json {
        json(&task, &results, &spec, arguments.steps, &plot, seconds)
    } else {
        format!("{}drawn in {plot}\n", table(&results, arguments.steps, spec.max_updates))
    })
}

fn task(arguments: &Arguments) -> Result<Task, Failure> {
    let seed = arguments.seed.unwrap_or(Stream::default().model.seed);
    if let Some(file) = &arguments.file {
        let table = backtest::read_file(file, &arguments.reading.read_spec(&arguments.forecast.grid))?;
        let stream = arguments.forecast.without_weights().stream_spec("file", seed, &table)?;
        let sequences = backtest::training_sequences(&stream, &table, table.readings.len(), usize::MAX);
        let about = describe(&stream, &table);
        return Ok(Task { about, network: stream.network, sequences, levels: arguments.forecast.levels() });
    }
    let usage = |error: specs::StreamError| Failure(USAGE, error.to_string());
    let model = arguments.forecast.network.model(seed)?;
    let stream = Stream { horizon: 1, quantiles: vec![0.5], season: Season::None, model, ..Stream::default() };
    let forecast = specs::forecast_spec(&stream).map_err(|error| usage(error.into()))?;
    let network = specs::network_spec(&stream, &forecast, 1).map_err(|error| usage(error.into()))?;
    // The task needs a long memory: by default the initial memories are spread over all the steps.
    let chrono = if network.chrono > 0 { network.chrono } else { arguments.steps };
    let network = NetworkSpec { chrono, ..network };
    Ok(Task {
        about: format!("the value {LAG} steps ago, in noise"),
        network,
        sequences: long_lag_task(LAG, SERIES, STEPS.max(4 * arguments.steps), seed),
        levels: forecast.levels,
    })
}

/// The lags of the table: powers of two, and the last lag.
fn table_lags(steps: usize) -> Vec<usize> {
    let mut lags: Vec<usize> =
        std::iter::successors(Some(1), |lag| Some(lag * 2)).take_while(|lag| *lag < steps).collect();
    if lags.last() != Some(&(steps - 1)) {
        lags.push(steps - 1);
    }
    lags
}

fn table(results: &[CellResult], steps: usize, updates: usize) -> String {
    let lags = table_lags(steps);
    let mut text = format!(
        "gradient of the last output by the input LAG steps before, relative to the gradient by its own input\n{:<31}",
        "lag"
    );
    text += &lags.iter().map(|lag| format!("{lag:>9}")).collect::<String>();
    text += "   reach\n";
    for CellResult { cell, initial, trained, .. } in results {
        let after = format!("{updates} updates");
        for (name, when, flow) in [(cell.name(), "initial", initial), ("", after.as_str(), trained)] {
            text += &format!("{name:<17}{when:<14}");
            text += &lags.iter().map(|lag| format!("{:>9.1e}", flow.relative(*lag))).collect::<String>();
            text += &format!("{:>8}  {}\n", flow.reach(), flow.fate().name());
        }
    }
    text + &format!(
        "vanishes: below {VANISHING_RATIO:.0e} at the last lag; explodes: above {EXPLODING_RATIO:.0e} at any lag; \
         reach: the longest lag above {VANISHING_RATIO:.0e}\n"
    )
}

fn chart(task: &Task, results: &[CellResult], updates: usize) -> LagChart {
    let relative = |flow: &GradientFlow| (0..flow.norms.len()).map(|lag| flow.relative(lag)).collect();
    LagChart {
        title: "How far gradients reach".to_owned(),
        below: format!(
            "decimal logarithm, relative to lag 0; thin: initial, bold: after {updates} updates; {}",
            task.about
        ),
        pairs: results
            .iter()
            .map(|result| LinePair {
                name: result.cell.name().to_owned(),
                thin: relative(&result.initial),
                bold: relative(&result.trained),
            })
            .collect(),
        bounds: [VANISHING_RATIO, EXPLODING_RATIO],
    }
}

fn json(task: &Task, results: &[CellResult], spec: &TrainSpec, steps: usize, plot: &str, seconds: f64) -> String {
    let of = |flow: &GradientFlow| json!({"norms": flow.norms, "reach": flow.reach(), "verdict": flow.fate().name()});
    let cells: Vec<Value> = results
        .iter()
        .map(|CellResult { cell, initial, trained, loss }| {
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
        assert_eq!(table_lags(2), [1]);
        assert_eq!(table_lags(9), [1, 2, 4, 8]);
        assert_eq!(table_lags(128), [1, 2, 4, 8, 16, 32, 64, 127]);
    }
}
