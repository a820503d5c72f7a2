//! Forecasting strategies: which steps a forecast reads and which targets it outputs.

use serde::{Deserialize, Serialize};

use super::spec_error::{SpecError, named_enum};

named_enum! {
    /// How a network turns the steps of a series into a forecast of the horizon (Ben Taieb, Bontempi, Atiya, Sorjamaa,
    /// Expert Systems with Applications 39(8), 2012).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
    pub enum Strategy("strategy") {
        /// Reads all steps so far and outputs every step of the horizon at once.
        #[default]
        Direct = "direct",
        /// Reads all steps so far and outputs the next step. The network's own median is fed back for the steps after
        /// it.
        Recursive = "recursive",
        /// Reads all steps so far and outputs one aggregate of the next `horizon` steps: the network's
        /// [`target`](super::NetworkSpec::target).
        ManyToOne = "many_to_one",
        /// Reads the newest step only and outputs every step of the horizon through the segment decoder.
        OneToMany = "one_to_many",
        /// Reads the newest step only and outputs every step of the horizon at once.
        OneToOne = "one_to_one",
    }
}

impl Strategy {
    /// Whether the state is reset before every step, so that a forecast depends on the newest step only.
    pub fn is_stateless(self) -> bool {
        matches!(self, Self::OneToMany | Self::OneToOne)
    }
}
