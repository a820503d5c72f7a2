//! Streams with the weights that serve them.

use std::{collections::BTreeMap, sync::Arc};

use super::{fingerprint::part_shapes, stream_spec::StreamSpec};
use crate::forecast::StreamPrior;
use crate::nn::{GridInterpolation, Network, NetworkError, Weights};
use crate::snapshot::PartShapes;

/// What serves a stream under one version of its weights.
#[derive(Clone)]
pub struct ServedWeights {
    /// The network with its weights.
    pub network: Arc<Network>,
    /// Where a new series begins, if that was learnt.
    pub prior: Option<Arc<StreamPrior>>,
}

/// A stream with its installed weights.
pub(super) struct Stream {
    pub spec: StreamSpec,
    /// Decides which parts of a snapshot can be read.
    pub shapes: PartShapes,
    /// From the levels of a network that answers queries to those of the stream; none for other networks.
    pub interpolation: Option<GridInterpolation>,
    /// By version. Version 0, the initial weights, is always installed.
    weights: BTreeMap<u64, ServedWeights>,
}

impl Stream {
    /// A stream that serves its initial weights.
    pub fn new(spec: StreamSpec) -> Result<Self, NetworkError> {
        let network = Arc::new(Network::new(&spec.network, &Weights::initial(&spec.network))?);
        let weights = BTreeMap::from([(0, ServedWeights { network, prior: None })]);
        let interpolation = (spec.network.decoder > 0).then(|| GridInterpolation::new(&spec.forecast.levels));
        Ok(Self { shapes: part_shapes(&spec), interpolation, spec, weights })
    }

    /// Adds a version. A prior that does not fit the stream's forecasts is left out.
    pub fn install(&mut self, version: u64, weights: ServedWeights) {
        let prior = weights.prior.filter(|prior| prior.fits(&self.spec.forecast));
        self.weights.insert(version, ServedWeights { prior, ..weights });
    }

    /// Drops the versions below `oldest`, except the initial one and those that are `needed`.
    pub fn drop_weights_below(&mut self, oldest: u64, needed: &[u64]) {
        self.weights.retain(|&version, _| version == 0 || version >= oldest || needed.contains(&version));
    }

    /// What serves under `version`, if it is installed.
    pub fn weights(&self, version: u64) -> Option<&ServedWeights> {
        self.weights.get(&version)
    }

    /// `version` where it is installed; else the next newer version, or the newest one.
    pub fn installed_for(&self, version: u64) -> u64 {
        self.weights.range(version..).next().map_or_else(|| self.installed_at_most(u64::MAX), |(&version, _)| version)
    }

    /// The newest installed version that is not newer than `version`.
    pub fn installed_at_most(&self, version: u64) -> u64 {
        self.weights.range(..=version).next_back().map_or(0, |(&version, _)| version)
    }
}
