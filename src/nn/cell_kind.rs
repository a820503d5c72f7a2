//! The kinds of cells that a network can be made of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spec_error::{SpecError, find_by_name};

/// The cell of a network: what its layers are made of. [`super::registry::cell`] gives the implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// Simple recurrent network with tanh (see [`super::cells::elman`]).
    Elman,
    /// Simple recurrent network with a rectified linear unit.
    ElmanRelu,
    /// Long short-term memory (see [`super::cells::lstm`]).
    Lstm,
    /// Gated recurrent unit with the reset gate after the recurrent product, as in PyTorch and cuDNN (see
    /// [`super::cells::gru`]).
    Gru,
    /// Gated recurrent unit with the reset gate before the recurrent product, as Cho et al. published it.
    GruResetBefore,
    /// Minimal gated recurrent unit, whose gates depend on the inputs only (see [`super::cells::minimal`]).
    #[serde(rename = "mingru")]
    MinGru,
    /// Minimal long short-term memory, whose gates depend on the inputs only.
    #[serde(rename = "minlstm")]
    MinLstm,
    /// Long short-term memory with exponential gates (see [`super::cells::slstm`]).
    Slstm,
    /// A window of steps through dense layers (see [`super::cells::convolution`]).
    Feedforward,
    /// Causal dilated convolutions (see [`super::cells::convolution`]).
    Tcn,
    /// Causal self-attention over a bounded context (see [`super::cells::attention`]).
    Attention,
}

impl CellKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Elman,
        Self::ElmanRelu,
        Self::Lstm,
        Self::Gru,
        Self::GruResetBefore,
        Self::MinGru,
        Self::MinLstm,
        Self::Slstm,
        Self::Feedforward,
        Self::Tcn,
        Self::Attention,
    ];

    /// The name in settings, fingerprints and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elman => "elman",
            Self::ElmanRelu => "elman_relu",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
            Self::GruResetBefore => "gru_reset_before",
            Self::MinGru => "mingru",
            Self::MinLstm => "minlstm",
            Self::Slstm => "slstm",
            Self::Feedforward => "feedforward",
            Self::Tcn => "tcn",
            Self::Attention => "attention",
        }
    }

    /// Whether a step computes the state from the previous state. The state of the other cells is a window of past
    /// inputs.
    pub fn is_recurrent(self) -> bool {
        !matches!(self, Self::Feedforward | Self::Tcn | Self::Attention)
    }
}

impl fmt::Display for CellKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CellKind {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        find_by_name("cell", name, Self::ALL, Self::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_parsed_from_its_name() {
        assert_eq!("gru".parse(), Ok(CellKind::Gru));
        let error = "GRUU".parse::<CellKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown cell \"GRUU\": expected one of elman, elman_relu, lstm, gru, gru_reset_before, mingru, \
             minlstm, slstm, feedforward, tcn, attention"
        );
    }
}
