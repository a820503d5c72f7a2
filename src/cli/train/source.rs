//! The training data: sequences from a file or from a stream's topics, with the network and the settings for them.

use std::path::Path;

use super::arguments::Arguments;
use crate::{
    backtest,
    broker::kafka::KafkaBroker,
    cli::{
        data::describe,
        failure::{BAD_DATA, Failure, UNAVAILABLE, USAGE, WRONG_CONFIGURATION},
        interrupt::Interrupt,
        network::WeightsChoice,
    },
    daemon::{RoundError, StreamHistory, specs},
    env::{self, Clock, SystemClock},
    nn::{NetworkSpec, Weights},
    settings::{self, Stream, Training},
    train::{TrainSpec, TrainingSequence},
};

/// Name of the stream of a file.
const FILE: &str = "file";
/// Updates of the weights by default: enough for the loss to settle, within minutes.
const UPDATES: usize = 1000;

/// Everything that training needs except the initial weights.
pub(super) struct Material {
    pub network: NetworkSpec,
    pub spec: TrainSpec,
    pub sequences: Vec<TrainingSequence>,
    /// The weights of a file that training starts from.
    pub weights: Option<Weights>,
    /// Description of the data in one line.
    pub about: String,
}

/// Reads the file or the topics that the arguments name.
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
    let table = backtest::read_file(file, &arguments.reading.read_spec(&arguments.forecast.grid))?;
    let seed = arguments.seed.unwrap_or(Stream::default().model.seed);
    let mut stream = arguments.forecast.stream_spec(FILE, seed, &table)?;
    let weights = arguments.forecast.read_weights(&mut stream)?;
    let defaults = specs::train_spec(&Training::default(), seed, stream.network_levels().to_vec());
    let spec = TrainSpec { max_updates: UPDATES, epochs: usize::MAX, ..defaults };
    let sequences = backtest::training_sequences(&stream, &table, table.readings.len(), usize::MAX);
    Ok(Material { about: describe(&stream, &table), weights, network: stream.network, spec, sequences })
}

/// Reads the history as the daemon's trainer does. Writes nothing to the cluster.
fn from_topics(arguments: &Arguments, config: &Path, interrupt: &Interrupt) -> Result<Material, Failure> {
    let mut settings = settings::load(Some(config), env::variables())
        .map_err(|problems| Failure(WRONG_CONFIGURATION, problems.to_string()))?;
    // Training may be disabled in the daemon and still be wanted here.
    settings.stream.iter_mut().for_each(|stream| stream.training.enabled = true);
    if let Some(weights) = &arguments.forecast.weights {
        settings.stream.iter_mut().for_each(|stream| stream.model.weights = WeightsChoice::setting(Some(weights)));
    }
    let mut plan = specs::plan(&settings).map_err(|error| Failure(WRONG_CONFIGURATION, error.to_string()))?;
    let names: Vec<&str> = plan.streams.iter().map(|stream| &*stream.engine.name).collect();
    let expected = format!("expected --stream and one of {}", names.join(", "));
    let index = match &arguments.stream {
        Some(name) => names.iter().position(|candidate| candidate == name),
        None => (names.len() == 1).then_some(0),
    };
    let unknown = || {
        let problem = arguments
            .stream
            .as_ref()
            .map_or("it has several streams".to_owned(), |name| format!("it has no stream {name:?}"));
        Failure(USAGE, format!("{}: {problem}; {expected}", config.display()))
    };
    let mut stream = plan.streams.swap_remove(index.ok_or_else(unknown)?);
    let mut training = stream.training.take().ok_or_else(unknown)?;
    let weights = arguments.forecast.read_weights(&mut stream.engine)?;
    training.spec.levels = stream.engine.network_levels().to_vec();
    let (stream, training) = (&stream, &training);
    let unavailable = |error: &dyn std::fmt::Display| Failure(UNAVAILABLE, error.to_string());
    let broker =
        KafkaBroker::new(specs::kafka_options(&settings, "train-off-line")).map_err(|error| unavailable(&error))?;
    let now = SystemClock::new().wall_millis();
    let keep_on = || if interrupt.requested() { Err(RoundError::Stopped) } else { Ok(()) };
    let mut history = StreamHistory::new(stream, training);
    match history.update(&broker, stream, training, now, &keep_on) {
        // What was read before the interrupt is trained on, for as long as nothing else interrupts it.
        Ok(()) | Err(RoundError::Stopped) => {}
        Err(error) => return Err(unavailable(&error)),
    }
    let set = history.training_set();
    if set.sequences.is_empty() {
        return Err(Failure(
            BAD_DATA,
            format!(
                "the longest series of {} has {} steps of history; training begins at {} (stream.training.min_steps)",
                stream.topics.join(", "),
                set.longest,
                training.min_steps
            ),
        ));
    }
    let about = format!("{} series, {} steps of stream {}", set.sequences.len(), set.steps, stream.engine.name);
    Ok(Material {
        network: stream.engine.network.clone(),
        spec: training.spec.clone(),
        weights,
        sequences: set.sequences,
        about,
    })
}
