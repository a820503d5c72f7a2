//! The architecture of a network: its cell, its sizes, its options.

use serde::{Deserialize, Serialize};

use super::quantile_grid::QUANTILE_GRID;
use super::{builtin, cell_registry};
use super::{cell::LayerShape, cell_kind::CellKind, hash::fnv_1a, spec_error::SpecError, strategy::Strategy};
use crate::series::Target;

/// Steps that a causal convolution reads.
const CONVOLUTION_TAPS: usize = 3;

/// The architecture of a network: layers of one cell, and a head that outputs the quantiles of every target at every
/// level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cell of every layer.
    pub cell: CellKind,
    /// Layers, 1 to 8. Each reads the outputs of the layer below.
    pub layers: usize,
    /// Outputs of each layer, 1 to 1024. A multiple of 16 needs no padding; attention needs a multiple of 8.
    pub hidden: usize,
    /// Features of one step, 1 to 64.
    pub inputs: usize,
    /// Steps that are forecast, 1 to 1024.
    pub horizon: usize,
    /// Quantile levels per target, 1 to 64.
    pub levels: usize,
    /// Seed of the initial weights. It is not part of the [`fingerprint`](Self::fingerprint).
    pub seed: u64,
    /// Which steps a forecast reads and which targets it outputs.
    pub strategy: Strategy,
    /// The aggregate that [`Strategy::ManyToOne`] forecasts. Other strategies ignore it.
    #[serde(default)]
    pub target: Target,
    /// Whether a layer's inputs are added to its outputs, from the second layer on (He et al., CVPR 2016).
    pub residual: bool,
    /// Whether a layer's outputs are normalised over its units (Ba, Kiros, Hinton 2016, arXiv:1607.06450).
    pub layer_norm: bool,
    /// One dilation per layer, 1 to 64 steps, the lowest layer first: steps between a recurrent layer's output and the
    /// output that it reads back (Chang et al., NeurIPS 2017, arXiv:1710.02224), or between the taps of a convolution.
    /// Empty: the defaults of [`dilation`](Self::dilation).
    pub dilations: Vec<usize>,
    /// Steps, 1 to 512, that a feed-forward network or attention reads.
    pub context: usize,
    /// Newest steps, 1 to 128, that the lowest layer of a recurrent cell reads together.
    pub window: usize,
    /// Steps of a segment, a divisor of the horizon; 0: no segments. With segments the lowest layer reads at least the
    /// newest `segment` steps, layers read back their output of one segment ago, and the head decodes the horizon
    /// segment by segment (see [`super::head`]).
    pub segment: usize,
    /// Units of the query decoder (see [`super::query_decoder`]), 1 to 256; 0: none. With it the head answers queries
    /// of any leads, `horizon` is only the longest lead in training, and `levels` are the 13 of the quantile grid.
    #[serde(default)]
    pub decoder: usize,
    /// Whether the network begins with the [`builtin`] weights, whose architecture it then has. It is not part of the
    /// fingerprint.
    #[serde(default)]
    pub builtin: bool,
    /// Whether recurrent layers serve with weights and inputs in bfloat16, about 1.5 times as fast. It needs a CPU with
    /// AVX-512 BF16. Training always uses `f32`.
    pub bf16: bool,
    /// Longest time constant, in steps, that the initial biases of the gates spread over (Tallec, Ollivier, ICLR 2018,
    /// arXiv:1804.11188); 0: a forget bias of one. It is not part of the fingerprint.
    pub chrono: usize,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            cell: CellKind::Gru,
            layers: 1,
            hidden: 64,
            inputs: crate::series::FEATURES,
            horizon: 24,
            levels: 3,
            seed: 1,
            strategy: Strategy::Direct,
            target: Target::default(),
            residual: false,
            layer_norm: false,
            dilations: Vec::new(),
            context: 32,
            window: 1,
            segment: 0,
            decoder: 0,
            builtin: false,
            bf16: false,
            chrono: 0,
        }
    }
}

impl NetworkSpec {
    /// The same network with the architecture of the builtin weights, which it begins with.
    #[must_use]
    pub fn with_builtin_weights(&self) -> Self {
        Self {
            builtin: true,
            hidden: builtin::HIDDEN,
            decoder: builtin::DECODER,
            levels: QUANTILE_GRID.len(),
            inputs: self.inputs,
            horizon: self.horizon,
            seed: self.seed,
            bf16: self.bf16,
            ..Self::default()
        }
    }

    /// Checks every size against its limits and against the other sizes.
    ///
    /// # Errors
    /// The first size that is outside its limits or excludes another setting.
    pub fn check(&self) -> Result<(), SpecError> {
        let mut limits = vec![
            ("layers", self.layers, 1, 8),
            ("hidden", self.hidden, 1, 1024),
            ("inputs", self.inputs, 1, 64),
            ("horizon", self.horizon, 1, 1024),
            ("levels", self.levels, 1, 64),
            ("context", self.context, 1, 512),
            ("window", self.window, 1, 128),
            ("segment", self.segment, 0, 64),
            ("decoder", self.decoder, 0, 256),
            ("chrono", self.chrono, 0, 100_000),
        ];
        limits.extend(self.dilations.iter().map(|dilation| ("dilation", *dilation, 1, 64)));
        if let Some((what, value, min, max)) =
            limits.into_iter().find(|&(_, value, min, max)| value < min || value > max)
        {
            return Err(SpecError::Limit { what, value, min, max });
        }
        let inconsistent = |message: String| Err(SpecError::Inconsistent(message));
        let Self { cell, layers, hidden, segment, dilations, .. } = self;
        if !dilations.is_empty() && dilations.len() != *layers {
            return inconsistent(format!("{} dilations for {layers} layers, expected one each", dilations.len()));
        }
        if *cell == CellKind::Attention && !hidden.is_multiple_of(8) {
            return inconsistent(format!("hidden is {hidden}, expected a multiple of 8 for attention"));
        }
        if *segment == 0 && self.strategy == Strategy::OneToMany {
            return inconsistent("one_to_many decodes segments: expected segment of at least 1".to_owned());
        }
        if self.decoder > 0 && (*segment > 0 || self.strategy != Strategy::Direct || self.levels != QUANTILE_GRID.len())
        {
            return inconsistent(format!(
                "decoder is {}: expected the direct strategy, no segments, and {} levels",
                self.decoder,
                QUANTILE_GRID.len()
            ));
        }
        if self.builtin && *self != self.with_builtin_weights() {
            return inconsistent("the builtin weights are those of another architecture".to_owned());
        }
        let targets = self.targets();
        if *segment > 0 && !targets.is_multiple_of(*segment) {
            return inconsistent(format!(
                "segment is {segment}, expected a divisor of the {targets} steps of the head"
            ));
        }
        if *segment > 0 && !cell.is_recurrent() {
            return inconsistent(format!(
                "segment is {segment}, expected 0 for {cell}: segments need a recurrent cell"
            ));
        }
        Ok(())
    }

    /// Number of targets that the head outputs quantiles for.
    pub fn targets(&self) -> usize {
        match self.strategy {
            Strategy::ManyToOne | Strategy::Recursive => 1,
            Strategy::Direct | Strategy::OneToMany | Strategy::OneToOne => self.horizon,
        }
    }

    /// Leads before that of the first target: 0, or `horizon - 1` where the one target is an aggregate of the horizon.
    pub fn leads_skipped(&self) -> usize {
        if self.strategy == Strategy::ManyToOne { self.horizon - 1 } else { 0 }
    }

    /// Outputs of the head per step: `targets * levels`, laid out `[target][level]`.
    pub fn outputs(&self) -> usize {
        self.targets() * self.levels
    }

    /// Number of `f32` values of state per series: all layers one after the other, each padded to a multiple of 16.
    pub fn state_len(&self) -> usize {
        (0..self.layers).map(|layer| cell_registry::cell(self.cell).state_len(&self.shape(layer))).sum()
    }

    /// The dilation of a layer. The defaults are the segment for a recurrent cell with segments, `2^layer` for a causal
    /// convolution (van den Oord et al. 2016, arXiv:1609.03499), and 1 otherwise.
    pub fn dilation(&self, layer: usize) -> usize {
        match self.dilations.get(layer) {
            Some(dilation) => *dilation,
            None if self.cell == CellKind::Tcn => 1 << layer.min(6),
            None => self.segment.max(1),
        }
    }

    /// The sizes of a layer.
    pub fn shape(&self, layer: usize) -> LayerShape {
        let window = match self.cell {
            CellKind::Tcn => CONVOLUTION_TAPS,
            CellKind::Feedforward if layer == 0 => self.context,
            CellKind::Attention => 1,
            _ if layer == 0 => self.window.max(self.segment),
            _ => 1,
        };
        LayerShape {
            inputs: if layer == 0 { self.inputs } else { self.hidden },
            hidden: self.hidden,
            window,
            dilation: if self.cell == CellKind::Feedforward { 1 } else { self.dilation(layer) },
            context: self.context,
            chrono: self.chrono,
        }
    }

    /// A hash of the architecture that is the same across builds, machines and seeds. Weights fit where fingerprints
    /// are equal. It covers a text in which an option appears only where it differs from its default, so that a new
    /// option leaves the fingerprints of older architectures as they are.
    pub fn fingerprint(&self) -> u64 {
        // A query decoder serves any horizon.
        let horizon = if self.decoder > 0 { 0 } else { self.horizon };
        let mut text = format!(
            "foretide network 1; cell={}; layers={}; hidden={}; inputs={}; horizon={}; levels={}",
            self.cell, self.layers, self.hidden, self.inputs, horizon, self.levels
        );
        let reads_context = matches!(self.cell, CellKind::Feedforward | CellKind::Attention);
        let options = [
            ("strategy", self.strategy.to_string(), self.strategy != Strategy::default()),
            ("target", self.target.to_string(), self.strategy == Strategy::ManyToOne),
            ("residual", self.residual.to_string(), self.residual),
            ("layer_norm", self.layer_norm.to_string(), self.layer_norm),
            ("dilations", format!("{:?}", self.dilations), !self.dilations.is_empty()),
            ("context", self.context.to_string(), reads_context),
            ("window", self.window.to_string(), self.window > 1 && self.cell.is_recurrent()),
            ("segment", self.segment.to_string(), self.segment > 0),
            ("decoder", self.decoder.to_string(), self.decoder > 0),
            ("bf16", self.bf16.to_string(), self.bf16),
        ];
        for (name, value, _) in options.iter().filter(|(_, _, included)| *included) {
            text += &format!("; {name}={value}");
        }
        fnv_1a(text.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec { layers: 2, hidden: 20, inputs: 8, horizon: 3, levels: 5, ..NetworkSpec::default() }
    }

    #[test]
    fn the_fingerprint_is_stable_and_covers_the_architecture_only() {
        assert_eq!(spec().fingerprint(), 0xdb0f_526c_dde3_7ac7, "changing this breaks every stored state and model");
        assert_eq!(NetworkSpec { seed: 2, chrono: 9, context: 3, ..spec() }.fingerprint(), spec().fingerprint());
        let window = NetworkSpec { cell: CellKind::Feedforward, ..spec() };
        assert_ne!(NetworkSpec { context: 3, ..window.clone() }.fingerprint(), window.fingerprint());
        for other in [
            NetworkSpec { cell: CellKind::Lstm, ..spec() },
            NetworkSpec { layers: 1, ..spec() },
            NetworkSpec { hidden: 21, ..spec() },
            NetworkSpec { inputs: 9, ..spec() },
            NetworkSpec { horizon: 4, ..spec() },
            NetworkSpec { levels: 6, ..spec() },
            NetworkSpec { strategy: Strategy::Recursive, ..spec() },
            NetworkSpec { residual: true, ..spec() },
            NetworkSpec { layer_norm: true, ..spec() },
            NetworkSpec { dilations: vec![1, 2], ..spec() },
            NetworkSpec { segment: 3, ..spec() },
            NetworkSpec { window: 2, ..spec() },
            NetworkSpec { bf16: true, ..spec() },
            NetworkSpec { decoder: 8, ..spec() },
        ] {
            assert_ne!(other.fingerprint(), spec().fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn a_size_outside_its_limits_is_named_in_the_error() {
        assert_eq!(spec().check(), Ok(()));
        let error = NetworkSpec { hidden: 0, ..spec() }.check().unwrap_err();
        assert_eq!(error.to_string(), "network: hidden is 0, expected 1 to 1024");
        let rejection = |spec: NetworkSpec| spec.check().unwrap_err().to_string();
        assert_eq!(
            rejection(NetworkSpec { segment: 2, ..spec() }),
            "network: segment is 2, expected a divisor of the 3 steps of the head"
        );
        assert!(rejection(NetworkSpec { dilations: vec![1], ..spec() }).contains("1 dilations for 2 layers"));
        assert!(
            rejection(NetworkSpec { dilations: vec![1, 65], ..spec() }).contains("dilation is 65, expected 1 to 64")
        );
        assert!(rejection(NetworkSpec { cell: CellKind::Attention, ..spec() }).contains("a multiple of 8"));
        assert!(rejection(NetworkSpec { strategy: Strategy::OneToMany, ..spec() }).contains("at least 1"));
        assert!(rejection(NetworkSpec { decoder: 8, ..spec() }).contains("and 13 levels"));
        let queries = NetworkSpec { decoder: 8, levels: 13, ..spec() };
        assert_eq!(queries.check(), Ok(()));
        assert_eq!(NetworkSpec { horizon: 99, ..queries.clone() }.fingerprint(), queries.fingerprint());
        let tcn = NetworkSpec { cell: CellKind::Tcn, segment: 3, ..spec() };
        assert!(rejection(tcn).contains("segments need a recurrent cell"));
    }

    #[test]
    fn every_vector_of_the_state_is_padded() {
        assert_eq!(spec().state_len(), 2 * 32);
        assert_eq!(NetworkSpec { cell: CellKind::Lstm, ..spec() }.state_len(), 2 * 2 * 32);
    }
}
