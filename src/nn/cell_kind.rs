//! The kinds of cells that a network can be made of.

use serde::{Deserialize, Serialize};

use super::spec_error::{SpecError, named_enum};

named_enum! {
    /// The cell of a network: what its layers are made of. [`super::cell_registry::cell`] gives the implementation.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub enum CellKind("cell") {
        /// Simple recurrent network with tanh (see [`super::cells::elman`]).
        Elman = "elman",
        /// Simple recurrent network with a rectified linear unit.
        ElmanRelu = "elman_relu",
        /// Long short-term memory (see [`super::cells::lstm`]).
        Lstm = "lstm",
        /// Gated recurrent unit with the reset gate after the recurrent product, as in PyTorch and cuDNN (see
        /// [`super::cells::gru`]).
        Gru = "gru",
        /// Gated recurrent unit with the reset gate before the recurrent product, as Cho et al. published it.
        GruResetBefore = "gru_reset_before",
        /// Minimal gated recurrent unit, whose gates depend on the inputs only (see [`super::cells::minimal`]).
        MinGru = "mingru",
        /// Minimal long short-term memory, whose gates depend on the inputs only.
        MinLstm = "minlstm",
        /// Long short-term memory with exponential gates (see [`super::cells::slstm`]).
        Slstm = "slstm",
        /// A window of steps through dense layers (see [`super::cells::convolution`]).
        Feedforward = "feedforward",
        /// Causal dilated convolutions (see [`super::cells::convolution`]).
        Tcn = "tcn",
        /// Causal self-attention over a bounded context (see [`super::cells::attention`]).
        Attention = "attention",
    }
}

impl CellKind {
    /// Whether a step computes the state from the previous state. The state of the other cells is a window of past
    /// inputs.
    pub fn is_recurrent(self) -> bool {
        !matches!(self, Self::Feedforward | Self::Tcn | Self::Attention)
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
