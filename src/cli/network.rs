//! Arguments of the network that several commands share.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use super::failure::{BAD_DATA, Failure, USAGE};
use super::files;
use crate::{
    engine::StreamSpec,
    nn::{Weights, WeightsError},
    settings::{Auto, Cell, InitialWeights, Model, Strategy, Stream, Target},
};

/// The network. Options that are not given have the daemon's defaults.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArguments {
    /// Cell of the layers: elman, elman_relu, lstm, gru, gru_reset_before, mingru, minlstm, slstm, feedforward, tcn or
    /// attention
    #[arg(long, value_name = "CELL", default_value = Stream::default().model.cell.word(), value_parser = cell)]
    cell: Cell,
    /// Units per layer
    #[arg(long, value_name = "UNITS", default_value_t = Stream::default().model.hidden)]
    hidden: u32,
    /// Layers
    #[arg(long, value_name = "LAYERS", default_value_t = Stream::default().model.layers)]
    layers: u32,
    /// Forecasting strategy: direct, recursive, many_to_one, one_to_many or one_to_one
    #[arg(
        long,
        value_name = "STRATEGY",
        default_value = Stream::default().model.strategy.word(),
        value_parser = strategy
    )]
    strategy: Strategy,
    /// What many_to_one forecasts of the horizon: maximum, minimum, mean or last value
    #[arg(long, value_name = "TARGET", default_value = Stream::default().model.target.word(), value_parser = target)]
    target: Target,
    /// Report the probability that the value of many_to_one exceeds this threshold (of a minimum: falls below it)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Add the outputs of the layer below to a layer's outputs (residual connections)
    #[arg(long)]
    residual: bool,
    /// Normalise a layer's outputs over its units
    #[arg(long)]
    layer_norm: bool,
    /// Distance in steps between a layer's output and the state it continues, for each layer [default: 1; tcn: 1,2,4…]
    #[arg(long, value_name = "STEPS,…", value_delimiter = ',')]
    dilations: Vec<u32>,
    /// Steps of input of feedforward and attention
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.context)]
    context: u32,
    /// Newest steps that the lowest layer of a recurrent cell reads at once
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.window)]
    window: u32,
    /// Steps per segment: read, remembered and decoded as one; divides the horizon; 0 for none
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.segment)]
    segment: u32,
    /// Serve recurrent layers with bfloat16 weights, where the CPU supports it
    #[arg(long)]
    bf16: bool,
    /// Chrono initialisation: the longest memory, in steps, that the gates' initial biases give; 0 for a forget bias of
    /// one
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.chrono)]
    chrono: u32,
}

impl NetworkArguments {
    /// The network as the configuration describes it.
    ///
    /// # Errors
    /// When there is a threshold but no single value that could cross it.
    pub(super) fn model(&self, seed: u64) -> Result<Model, Failure> {
        if self.threshold.is_some() && self.strategy != Strategy::ManyToOne {
            let needs = format!("--threshold needs --strategy {}", Strategy::ManyToOne);
            return Err(Failure(USAGE, needs));
        }
        Ok(Model {
            cell: self.cell,
            layers: self.layers,
            hidden: self.hidden,
            seed,
            strategy: self.strategy,
            target: self.target,
            threshold: self.threshold,
            residual: self.residual,
            layer_norm: self.layer_norm,
            dilations: self.dilations.clone(),
            context: self.context,
            window: self.window,
            segment: self.segment,
            bf16: self.bf16,
            chrono: self.chrono,
            ..Model::default()
        })
    }
}

/// The weights that a network begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WeightsChoice {
    /// Those of the binary, or random ones.
    Initial(InitialWeights),
    /// Those of a file.
    File(PathBuf),
}

impl FromStr for WeightsChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(InitialWeights::from_word(text).map_or_else(|| Self::File(PathBuf::from(text)), Self::Initial))
    }
}

impl WeightsChoice {
    /// The setting, for a network whose weights may come from a file.
    pub(super) fn setting(choice: Option<&Self>) -> Auto<InitialWeights> {
        match choice {
            None => Auto::Auto,
            Some(Self::Initial(weights)) => Auto::Set(*weights),
            Some(Self::File(_)) => Auto::Set(InitialWeights::None),
        }
    }

    /// Reads the file, where it is one, and lets the stream's network answer queries where the weights do.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds no weights for the stream's network.
    pub(super) fn read(&self, stream: &mut StreamSpec) -> Result<Option<Weights>, Failure> {
        let Self::File(path) = self else { return Ok(None) };
        let unfit = |error: WeightsError| Failure(BAD_DATA, format!("{}: {error}", path.display()));
        let bytes = files::read(path, "builtin, none, or weights of foretide pretrain --out or foretide train --out")?;
        if let Some([units, hidden]) = Weights::decoder_shape(&bytes).map_err(unfit)? {
            *stream = stream.clone().with_decoder(units);
            stream.network.hidden = hidden;
        }
        Weights::from_bytes(&stream.network, &bytes).map(Some).map_err(unfit)
    }
}

/// A parser of the words of the configuration.
fn word<T>(
    from_word: fn(&str) -> Option<T>,
    words: &'static [&'static str],
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |word| from_word(word).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

fn cell(text: &str) -> Result<Cell, String> {
    word(Cell::from_word, Cell::WORDS)(text)
}

fn strategy(text: &str) -> Result<Strategy, String> {
    word(Strategy::from_word, Strategy::WORDS)(text)
}

fn target(text: &str) -> Result<Target, String> {
    word(Target::from_word, Target::WORDS)(text)
}
