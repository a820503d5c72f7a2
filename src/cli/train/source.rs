//! What is trained on: the lanes of a file, or of a stream's topics, with the network and settings that belong to them.

use std::path::Path;

use super::Arguments;
use crate::{
    backtest,
    broker::kafka::KafkaBroker,
    cli::{
        data::what_it_is,
        failure::{BAD_DATA, Failure, UNAVAILABLE, USAGE, WRONG_CONFIGURATION},
        interrupt::Interrupt,
    },
    daemon::{history, specs},
    env::{self, Clock, SystemClock},
    nn::NetworkSpec,
    settings::{self, Stream, Training},
    train::{TrainSpec, TrainingSequence},
};

/// The stream's name where there is none.
const FILE: &str = "file";
/// Updates where no other number is asked for: minutes, not hours, and enough for the loss to settle.
const UPDATES: usize = 1000;

/// All that training needs, but for the weights to begin with.
pub(super) struct Material {
    pub network: NetworkSpec,
    pub spec: TrainSpec,
    pub lanes: Vec<TrainingSequence>,
    /// What it is, in a line for people.
    pub about: String,
}

/// Reads what the arguments name.
pub(super) fn read(arguments: &Arguments, interrupt: &Interrupt) -> Result<Material, Failure> {
    let mut material = match (&arguments.file, &arguments.config) {
        (Some(file), _) => from_file(arguments, file)?,
        (None, Some(config)) => from_topics(arguments, config, interrupt)?,
        (None, None) => return Err(Failure(USAGE, "expected a FILE, or --config FILE and --stream NAME".to_owned())),
    };
    arguments.apply(&mut material.spec);
    if arguments.seed.is_some() {
        material.network.seed = material.spec.seed;
    }
    Ok(material)
}

fn from_file(arguments: &Arguments, file: &Path) -> Result<Material, Failure> {
    let table = backtest::read_file(file, &arguments.reading.read_spec(arguments.forecast.interval))?;
    let seed = arguments.seed.unwrap_or(Stream::default().model.seed);
    let stream = arguments.forecast.stream_spec(FILE, seed, &arguments.reading, &table)?;
    let defaults = specs::train_spec(&Training::default(), seed, arguments.forecast.levels());
    let spec = TrainSpec { max_updates: UPDATES, epochs: usize::MAX, ..defaults };
    let lanes = backtest::training_sequences(&stream, &table, table.readings.len(), usize::MAX);
    Ok(Material { about: what_it_is(&stream, &table), network: stream.network, spec, lanes })
}

/// Reads history back as the daemon's trainer does. Nothing is written to the cluster.
fn from_topics(arguments: &Arguments, config: &Path, interrupt: &Interrupt) -> Result<Material, Failure> {
    let mut settings = settings::load(Some(config), env::variables())
        .map_err(|problems| Failure(WRONG_CONFIGURATION, problems.to_string()))?;
    // A stream that does not learn in the daemon may well learn here.
    settings.stream.iter_mut().for_each(|stream| stream.training.enabled = true);
    let plan = specs::plan(&settings).map_err(|error| Failure(WRONG_CONFIGURATION, error.to_string()))?;
    let names: Vec<&str> = plan.streams.iter().map(|stream| &*stream.engine.name).collect();
    let known = format!("expected --stream and one of {}", names.join(", "));
    let index = match &arguments.stream {
        Some(name) => names.iter().position(|known| known == name),
        None => (names.len() == 1).then_some(0),
    };
    let (stream, training) = index
        .and_then(|index| Some((&plan.streams[index], plan.streams[index].training.as_ref()?)))
        .ok_or_else(|| Failure(USAGE, format!("{}: no such stream; {known}", config.display())))?;
    let unavailable = |error: &dyn std::fmt::Display| Failure(UNAVAILABLE, error.to_string());
    let broker =
        KafkaBroker::new(specs::kafka_options(&settings, "train-off-line")).map_err(|error| unavailable(&error))?;
    let now = SystemClock::new().wall_millis();
    let history =
        history::read(&broker, stream, training, now, &|| interrupt.asked()).map_err(|error| unavailable(&error))?;
    if history.lanes.is_empty() {
        return Err(Failure(
            BAD_DATA,
            format!(
                "the longest series of {} has {} steps of history; training begins at {} (stream.training.min_steps)",
                stream.topics.join(", "),
                history.longest,
                training.min_steps
            ),
        ));
    }
    let about = format!("{} series, {} steps of stream {}", history.lanes.len(), history.steps, stream.engine.name);
    Ok(Material { network: stream.engine.network.clone(), spec: training.spec.clone(), lanes: history.lanes, about })
}
