//! Forecasting strategies: which steps a forecast reads and which targets it outputs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spec_error::{SpecError, find_by_name};

/// How a network turns the steps of a series into a forecast of the horizon (Ben Taieb, Bontempi, Atiya, Sorjamaa,
/// Expert Systems with Applications 39(8), 2012).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Reads all steps so far and outputs every step of the horizon at once.
    #[default]
    Direct,
    /// Reads all steps so far and outputs the next step. The network's own median is fed back for the steps after it.
    Recursive,
    /// Reads all steps so far and outputs one aggregate of the next `horizon` steps: the network's
    /// [`target`](super::NetworkSpec::target).
    ManyToOne,
    /// Reads the newest step only and outputs every step of the horizon through the segment decoder.
    OneToMany,
    /// Reads the newest step only and outputs every step of the horizon at once.
    OneToOne,
}

impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Recursive, Self::ManyToOne, Self::OneToMany, Self::OneToOne];

    /// The name in settings, fingerprints and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Recursive => "recursive",
            Self::ManyToOne => "many_to_one",
            Self::OneToMany => "one_to_many",
            Self::OneToOne => "one_to_one",
        }
    }

    /// Whether the state is reset before every step, so that a forecast depends on the newest step only.
    pub fn is_stateless(self) -> bool {
        matches!(self, Self::OneToMany | Self::OneToOne)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        find_by_name("strategy", name, Self::ALL, Self::name)
    }
}
