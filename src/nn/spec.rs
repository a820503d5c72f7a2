//! What a network looks like: its cell, its sizes, its seed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kernel::padded;

/// The recurrent cell of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// Long short-term memory (see [`super::lstm`]).
    Lstm,
    /// Gated recurrent unit (see [`super::gru`]).
    Gru,
}

impl CellKind {
    /// Every cell, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Lstm, Self::Gru];

    /// The name in settings, in fingerprints and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        }
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
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| SpecError::UnknownCell {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A network that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name of a cell is not known.
    #[error("unknown cell \"{name}\": expected one of {known}")]
    UnknownCell {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A size is outside its limits.
    #[error("network: {what} is {value}, expected {least} to {most}")]
    Limit {
        /// Which size.
        what: &'static str,
        /// What it is.
        value: usize,
        /// The least that is allowed.
        least: usize,
        /// The most that is allowed.
        most: usize,
    },
}

/// The architecture of a network: layers of one recurrent cell, and a linear head that gives, for every step of the
/// horizon, the quantiles at every level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cell of every layer.
    pub cell: CellKind,
    /// Layers, 1 to 8; each reads the outputs of the one below.
    pub layers: usize,
    /// Outputs of each layer, 1 to 1024. A multiple of 16 wastes nothing.
    pub hidden: usize,
    /// Features of one step, 1 to 64.
    pub inputs: usize,
    /// Steps ahead that are forecast, 1 to 1024.
    pub horizon: usize,
    /// Quantile levels per step ahead, 1 to 64.
    pub levels: usize,
    /// Seed of the initial weights; no part of the [`fingerprint`](Self::fingerprint).
    pub seed: u64,
}

impl NetworkSpec {
    /// Holds every size against its limits.
    ///
    /// # Errors
    /// [`SpecError::Limit`] names the first size that is outside.
    pub fn check(&self) -> Result<(), SpecError> {
        let limits = [
            ("layers", self.layers, 8),
            ("hidden", self.hidden, 1024),
            ("inputs", self.inputs, 64),
            ("horizon", self.horizon, 1024),
            ("levels", self.levels, 64),
        ];
        match limits.into_iter().find(|&(_, value, most)| value < 1 || value > most) {
            Some((what, value, most)) => Err(SpecError::Limit { what, value, least: 1, most }),
            None => Ok(()),
        }
    }

    /// Outputs of the head per step: `horizon * levels`, laid out `[horizon][level]`.
    pub fn outputs(&self) -> usize {
        self.horizon * self.levels
    }

    /// `f32` numbers of state per series: for every layer, the cell's vectors, each padded to a multiple of 16.
    pub fn state_len(&self) -> usize {
        self.layers * super::cell::cell(self.cell).states() * padded(self.hidden)
    }

    /// Inputs of a layer: the features for the lowest, the hidden outputs of the one below for the others.
    pub(crate) fn layer_inputs(&self, layer: usize) -> usize {
        if layer == 0 { self.inputs } else { self.hidden }
    }

    /// A hash of the architecture that stays the same across builds, machines and seeds: weights fit where
    /// fingerprints are equal. FNV-1a over a written-out form (Fowler, Noll, Vo; RFC 9923).
    pub fn fingerprint(&self) -> u64 {
        let text = format!(
            "foretide network 1; cell={}; layers={}; hidden={}; inputs={}; horizon={}; levels={}",
            self.cell, self.layers, self.hidden, self.inputs, self.horizon, self.levels
        );
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec { cell: CellKind::Gru, layers: 2, hidden: 20, inputs: 8, horizon: 3, levels: 5, seed: 1 }
    }

    #[test]
    fn the_fingerprint_is_stable_and_sees_the_architecture_only() {
        assert_eq!(spec().fingerprint(), 0xdb0f_526c_dde3_7ac7, "changing this breaks every stored state and model");
        assert_eq!(NetworkSpec { seed: 2, ..spec() }.fingerprint(), spec().fingerprint());
        for other in [
            NetworkSpec { cell: CellKind::Lstm, ..spec() },
            NetworkSpec { layers: 1, ..spec() },
            NetworkSpec { hidden: 21, ..spec() },
            NetworkSpec { inputs: 9, ..spec() },
            NetworkSpec { horizon: 4, ..spec() },
            NetworkSpec { levels: 6, ..spec() },
        ] {
            assert_ne!(other.fingerprint(), spec().fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn sizes_outside_their_limits_are_named() {
        assert_eq!(spec().check(), Ok(()));
        let error = NetworkSpec { hidden: 0, ..spec() }.check().unwrap_err();
        assert_eq!(error.to_string(), "network: hidden is 0, expected 1 to 1024");
    }

    #[test]
    fn the_state_is_padded_per_vector() {
        assert_eq!(spec().state_len(), 2 * 32);
        assert_eq!(NetworkSpec { cell: CellKind::Lstm, ..spec() }.state_len(), 2 * 2 * 32);
    }

    #[test]
    fn cells_are_read_by_name() {
        assert_eq!("gru".parse(), Ok(CellKind::Gru));
        let error = "GRUU".parse::<CellKind>().unwrap_err();
        assert_eq!(error.to_string(), "unknown cell \"GRUU\": expected one of lstm, gru");
    }
}
