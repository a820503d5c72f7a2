//! What the network looks like, on the command line.

use crate::{
    forecast::ForecastSpec,
    nn::{Arrangement, CellKind, NetworkSpec, SpecError},
    series::FEATURES,
    settings::{self, Stream},
};

/// The network; what is not asked for has the daemon's own default.
#[derive(Debug, clap::Args)]
pub(super) struct NetworkArguments {
    /// What its layers are made of: elman, elman_relu, lstm, gru, gru_reset_before, mingru, minlstm, slstm, feedforward, tcn or attention
    #[arg(long, value_name = "CELL", default_value = Stream::default().model.cell.word(), help_heading = "Network")]
    cell: CellKind,
    /// Units in a layer
    #[arg(long, value_name = "UNITS", default_value_t = Stream::default().model.hidden, help_heading = "Network")]
    hidden: u32,
    /// Layers
    #[arg(long, value_name = "LAYERS", default_value_t = Stream::default().model.layers, help_heading = "Network")]
    layers: u32,
    /// What goes in and what comes out: many_to_many, iterated, one_to_many or one_to_one
    #[arg(long, value_name = "WORD", default_value = Stream::default().model.arrangement.word(), value_parser = arrangement, help_heading = "Network")]
    arrangement: Arrangement,
    /// Add a layer's outputs to those of the layer below
    #[arg(long, help_heading = "Network")]
    residual: bool,
    /// Normalise a layer's outputs over its units
    #[arg(long, help_heading = "Network")]
    layer_norm: bool,
    /// Steps between a layer's output and the one it remembers, for each layer [default: 1; tcn: 1,2,4…]
    #[arg(long, value_name = "STEPS,…", value_delimiter = ',', help_heading = "Network")]
    dilations: Vec<usize>,
    /// Steps that feedforward and attention look at
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.context, help_heading = "Network")]
    context: u32,
    /// Newest steps that the lowest layer of a recurrent cell reads side by side
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.window, help_heading = "Network")]
    window: u32,
    /// Steps read, remembered and decoded as one, a divisor of the horizon; 0: none
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.segment, help_heading = "Network")]
    segment: u32,
    /// Serve recurrent layers with weights rounded to bfloat16, where the processor can
    #[arg(long, help_heading = "Network")]
    rounded: bool,
    /// The longest memory that the gates' first biases spread over, in steps; 0: a forget bias of one
    #[arg(long, value_name = "STEPS", default_value_t = Stream::default().model.chrono, help_heading = "Network")]
    chrono: u32,
}

impl NetworkArguments {
    /// The network for such forecasts.
    ///
    /// # Errors
    /// What of it cannot be.
    pub(super) fn spec(&self, forecast: &ForecastSpec, seed: u64) -> Result<NetworkSpec, SpecError> {
        let network = NetworkSpec {
            cell: self.cell,
            layers: self.layers as usize,
            hidden: self.hidden as usize,
            inputs: FEATURES,
            horizon: forecast.horizon,
            levels: forecast.levels.len(),
            seed,
            arrangement: self.arrangement,
            residual: self.residual,
            layer_norm: self.layer_norm,
            dilations: self.dilations.clone(),
            context: self.context as usize,
            window: self.window as usize,
            segment: self.segment as usize,
            rounded: self.rounded,
            chrono: self.chrono as usize,
        };
        network.check()?;
        Ok(network)
    }
}

/// The words of the configuration: those of the networks that this build serves from end to end.
fn arrangement(word: &str) -> Result<Arrangement, String> {
    let known = settings::Arrangement::from_word(word);
    let known = known.ok_or_else(|| format!("expected one of {}", settings::Arrangement::WORDS.join(", ")))?;
    known.word().parse().map_err(|error: SpecError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrangements_are_those_of_the_configuration() {
        for word in settings::Arrangement::WORDS {
            assert_eq!(arrangement(word).unwrap().name(), *word);
        }
        let error = arrangement("many_to_one").unwrap_err();
        assert_eq!(error, "expected one of many_to_many, iterated, one_to_many, one_to_one");
    }
}
