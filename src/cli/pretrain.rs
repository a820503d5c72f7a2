//! `foretide pretrain`: trains a network on generated series, before there is any stream.

mod arguments;
mod real;

use std::{ops::ControlFlow, path::Path, process::ExitCode};

use super::{
    failure::{BAD_DATA, Failure, SOFTWARE, USAGE},
    files,
    interrupt::Interrupt,
    output::print,
    training_progress::TrainingProgress,
};
use crate::{
    daemon::specs,
    env::{Clock, SystemClock},
    nn::{NetworkSpec, Weights, WeightsError},
    pretrain::{Corpus, CorpusSource},
    series::Calendar,
    settings::{Auto, InitialWeights, Interval, Millis, Model, Stream, Training},
    time::Grid,
    train::{self, Checkpoint, TrainSpec},
};

pub use arguments::Arguments;

/// Name of the stream from which the settings come.
const STREAM: &str = "pretrain";
/// The interval of that stream in milliseconds; each series has its own.
const INTERVAL: i64 = 3_600_000;
/// Microseconds in a minute.
const MINUTE: f64 = 6e7;

/// Runs the command.
pub fn run(arguments: &Arguments) -> ExitCode {
    match pretrain(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide pretrain: {what}");
            ExitCode::from(code)
        }
    }
}

fn pretrain(arguments: &Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen().map_err(|error| Failure(SOFTWARE, error.to_string()))?;
    let clock = SystemClock::new();
    let mut progress = TrainingProgress::open(&clock);
    files::check_writable(&arguments.out)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), files::check_writable)?;
    let (spec, source) = corpus(arguments)?;
    let start = starting_point(arguments, &source.network)?;
    progress.say(&format!(
        "{} weights, rounds of {} series of {} steps, {} real series",
        start.weights.parameters(),
        source.count,
        source.corpus.length,
        source.real.len()
    ));
    let deadline = arguments.minutes.map(|minutes| minutes * MINUTE);
    // A checkpoint that cannot be written ends the training: the user relies on it.
    let mut broken = None;
    let outcome = train::pretrain(&spec, &source.network, &start, &source, &mut |now| {
        progress.show(now);
        if let (Some(path), Some(checkpoint)) = (&arguments.checkpoint, &now.checkpoint) {
            broken = write_checkpoint(path, checkpoint).err();
        }
        let is_over = deadline.is_some_and(|deadline| clock.monotonic_micros() as f64 >= deadline);
        let stops = is_over || interrupt.requested() || broken.is_some();
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.close();
    let outcome = outcome?;
    broken.map_or(Ok(()), Err)?;
    files::write(&arguments.out, &to_bytes(outcome.weights.to_bytes())?)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), |path| write_checkpoint(path, &outcome.checkpoint))?;
    let (updates, seconds) = (outcome.checkpoint.updates(), clock.monotonic_micros() as f64 / 1e6);
    let whole = if updates < spec.max_updates { ", not finished: go on with --resume" } else { "" };
    print(&format!("{updates} of {} updates{whole}, {seconds:.0} s\n", spec.max_updates))
}

/// The settings of the training and the source of its series.
fn corpus(arguments: &Arguments) -> Result<(TrainSpec, CorpusSource), Failure> {
    let seed = arguments.seed;
    let stream = Stream {
        name: STREAM.to_owned(),
        interval: Interval::Every(Millis(INTERVAL)),
        aggregation: crate::settings::Aggregation::Last,
        readings_per_slot: Some(1),
        horizon: arguments.horizon,
        quantiles: arguments.quantiles(),
        model: Model { weights: Auto::Set(InitialWeights::None), ..arguments.network.model(seed)? },
        ..Stream::default()
    };
    let mut engine = specs::engine_spec(&stream, Calendar::utc(), Grid::Regular { interval: INTERVAL })
        .map_err(|error| Failure(USAGE, error.to_string()))?;
    if arguments.decoder > 0 {
        engine = engine.with_decoder(arguments.decoder);
    }
    let defaults = specs::train_spec(&Training::default(), seed, engine.network_levels().to_vec());
    let mut spec = TrainSpec { max_updates: arguments.updates, device: arguments.device, ..defaults };
    (spec.warm_up, spec.evaluate_every) = (arguments.updates / 100, (arguments.updates / 200).max(1));
    arguments.training.apply(&mut spec);
    let real = arguments.real.as_deref().map_or(Ok(Vec::new()), real::read_folder)?;
    let source = CorpusSource {
        corpus: Corpus { seed, length: arguments.steps.max(64) },
        real,
        real_share: arguments.real_share,
        template: engine.series,
        network: engine.network,
        count: spec.batch_size,
    };
    Ok((spec, source))
}

/// The checkpoint from which training starts.
fn starting_point(arguments: &Arguments, network: &NetworkSpec) -> Result<Checkpoint, Failure> {
    match &arguments.checkpoint {
        Some(path) if arguments.resume => {
            let unfit = |error: WeightsError| Failure(BAD_DATA, format!("{}: {error}", path.display()));
            let bytes = files::read(path, "a checkpoint of foretide pretrain --checkpoint")?;
            let checkpoint = Checkpoint::from_bytes(&bytes).map_err(unfit)?;
            checkpoint.weights.check(network).map_err(unfit)?;
            Ok(checkpoint)
        }
        _ => Ok(Checkpoint::new(&Weights::initial(network))),
    }
}

fn write_checkpoint(path: &Path, checkpoint: &Checkpoint) -> Result<(), Failure> {
    files::write(path, &to_bytes(checkpoint.to_bytes())?)
}

fn to_bytes(bytes: Result<Vec<u8>, WeightsError>) -> Result<Vec<u8>, Failure> {
    bytes.map_err(|error| Failure(SOFTWARE, error.to_string()))
}
