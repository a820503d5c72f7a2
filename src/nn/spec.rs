//! What a network looks like: its cell, its sizes, its seed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cell::Shape;
use crate::series::Target;

/// The cell of a network: what its layers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// Simple recurrence squashed by tanh (see [`super::elman`]).
    Elman,
    /// The same cut at zero.
    ElmanRelu,
    /// Long short-term memory (see [`super::lstm`]).
    Lstm,
    /// Gated recurrent unit, the reset gate after the recurrent matrix (see [`super::gru`]).
    Gru,
    /// The same with the reset gate before it, as first published.
    GruResetBefore,
    /// Minimal gated recurrent unit: its gates look at the inputs only (see [`super::minimal`]).
    #[serde(rename = "mingru")]
    MinGru,
    /// Minimal long short-term memory, likewise.
    #[serde(rename = "minlstm")]
    MinLstm,
    /// Long short-term memory with exponential gates (see [`super::slstm`]).
    Slstm,
    /// A window of steps through dense layers (see [`super::convolution`]).
    Feedforward,
    /// Causal dilated convolutions (see [`super::convolution`]).
    Tcn,
    /// Causal self-attention over a bounded context (see [`super::attention`]).
    Attention,
}

impl CellKind {
    /// Every cell, in the order of the documentation.
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

    /// The name in settings, in fingerprints and in messages.
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

    /// Whether its state is made anew from the one before at every step; that of the others is a window of the past.
    pub fn is_recurrent(self) -> bool {
        !matches!(self, Self::Feedforward | Self::Tcn | Self::Attention)
    }
}

/// Which observations go into a forecast and which targets come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All steps so far, to every step of the horizon at once.
    #[default]
    Direct,
    /// All steps so far, to the next step; the steps after it by feeding the network its own median.
    Recursive,
    /// All steps so far, to one number made of the next `horizon` steps: the network's [`target`](NetworkSpec::target).
    ManyToOne,
    /// The newest step alone, to every step of the horizon by a decoder.
    OneToMany,
    /// The newest step alone, to every step of the horizon at once.
    OneToOne,
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Recursive, Self::ManyToOne, Self::OneToMany, Self::OneToOne];

    /// The name in settings, in fingerprints and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Recursive => "recursive",
            Self::ManyToOne => "many_to_one",
            Self::OneToMany => "one_to_many",
            Self::OneToOne => "one_to_one",
        }
    }

    /// Whether nothing is carried from one step to the next.
    pub fn forgets(self) -> bool {
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
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| SpecError::Unknown {
            what: "strategy",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
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
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| SpecError::Unknown {
            what: "cell",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A network that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A name is not known.
    #[error("unknown {what} \"{name}\": expected one of {known}")]
    Unknown {
        /// What it should name.
        what: &'static str,
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
    /// Two sizes do not go together.
    #[error("network: {0}")]
    Apart(String),
}

/// The architecture of a network: layers of one cell, and a head that gives, for every target, the quantiles at every
/// level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The cell of every layer.
    pub cell: CellKind,
    /// Layers, 1 to 8; each reads the outputs of the one below.
    pub layers: usize,
    /// Outputs of each layer, 1 to 1024. A multiple of 16 wastes nothing; attention needs a multiple of 8.
    pub hidden: usize,
    /// Features of one step, 1 to 64.
    pub inputs: usize,
    /// Steps ahead that are forecast, 1 to 1024.
    pub horizon: usize,
    /// Quantile levels per step ahead, 1 to 64.
    pub levels: usize,
    /// Seed of the initial weights; no part of the [`fingerprint`](Self::fingerprint).
    pub seed: u64,
    /// What goes in and what comes out.
    pub strategy: Strategy,
    /// What the one number of [`Strategy::ManyToOne`] is made of; of no meaning to the others.
    #[serde(default)]
    pub target: Target,
    /// Whether a layer's outputs are added to those of the one below it, from the second layer on (He et al., CVPR 2016).
    pub residual: bool,
    /// Whether a layer's outputs are normalised over its units (Ba, Kiros, Hinton 2016, arXiv:1607.06450).
    pub layer_norm: bool,
    /// Steps, 1 to 64, between a layer's output and the one that it remembers (Chang et al., NeurIPS 2017,
    /// arXiv:1710.02224), or between the steps that a convolution looks at: one per layer, the lowest first. Empty: what
    /// [`dilation`](Self::dilation) says.
    pub dilations: Vec<usize>,
    /// Steps, 1 to 512, that a feed-forward network or attention look at.
    pub context: usize,
    /// Newest steps, 1 to 128, that the lowest layer of a recurrent cell reads side by side: what it need not remember.
    pub window: usize,
    /// Steps of a segment; 0: none. With segments the lowest layer reads at least the newest `segment` steps, layers
    /// remember their output of a segment ago, and the head decodes the horizon segment by segment (see
    /// [`super::head`]). Divides the horizon.
    pub segment: usize,
    /// Whether recurrent layers serve with weights and inputs rounded to bfloat16: about 1.5 times as fast, on processors
    /// that have the instructions only. Training is not rounded.
    pub bf16: bool,
    /// The longest memory, in steps, that the gates' first biases spread over (Tallec, Ollivier, ICLR 2018,
    /// arXiv:1804.11188); 0: a forget bias of one. Like the seed no part of the fingerprint.
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
            bf16: false,
            chrono: 0,
        }
    }
}

impl NetworkSpec {
    /// Holds every size against its limits.
    ///
    /// # Errors
    /// The first size that is outside its limits, or does not go with another.
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
            ("chrono", self.chrono, 0, 100_000),
        ];
        limits.extend(self.dilations.iter().map(|dilation| ("dilation", *dilation, 1, 64)));
        if let Some((what, value, least, most)) =
            limits.into_iter().find(|&(_, value, least, most)| value < least || value > most)
        {
            return Err(SpecError::Limit { what, value, least, most });
        }
        let apart = |what: String| Err(SpecError::Apart(what));
        if !self.dilations.is_empty() && self.dilations.len() != self.layers {
            return apart(format!("{} dilations for {} layers, expected one each", self.dilations.len(), self.layers));
        }
        if self.cell == CellKind::Attention && !self.hidden.is_multiple_of(8) {
            return apart(format!("hidden is {}, expected a multiple of 8 for attention", self.hidden));
        }
        if self.segment == 0 && self.strategy == Strategy::OneToMany {
            return apart("one_to_many decodes segments: expected segment of at least 1".to_owned());
        }
        if self.segment > 0 && !self.targets().is_multiple_of(self.segment) {
            let (targets, segment) = (self.targets(), self.segment);
            return apart(format!(
                "segment is {segment}, expected a divisor of the {targets} steps that the head gives"
            ));
        }
        if self.segment > 0 && !self.cell.is_recurrent() {
            return apart(format!(
                "segment is {}, expected 0 for {}: segments need a recurrent cell",
                self.segment, self.cell
            ));
        }
        Ok(())
    }

    /// Targets that the head gives quantiles for.
    pub fn targets(&self) -> usize {
        match self.strategy {
            Strategy::ManyToOne | Strategy::Recursive => 1,
            Strategy::Direct | Strategy::OneToMany | Strategy::OneToOne => self.horizon,
        }
    }

    /// Leads before that of the first target: none for a path; all but the last where the one target is known only with
    /// the whole horizon.
    pub fn leads_skipped(&self) -> usize {
        if self.strategy == Strategy::ManyToOne { self.horizon - 1 } else { 0 }
    }

    /// Outputs of the head per step: `targets * levels`, laid out `[target][level]`.
    pub fn outputs(&self) -> usize {
        self.targets() * self.levels
    }

    /// `f32` numbers of state per series, layer upon layer; each a multiple of 16.
    pub fn state_len(&self) -> usize {
        (0..self.layers).map(|layer| super::cell::cell(self.cell).state_len(&self.shape(layer))).sum()
    }

    /// A layer's dilation: where none is named, a segment for recurrent cells that read segments, doubling from layer to
    /// layer for a causal convolution (van den Oord et al. 2016, arXiv:1609.03499), otherwise 1.
    pub fn dilation(&self, layer: usize) -> usize {
        match self.dilations.get(layer) {
            Some(dilation) => *dilation,
            None if self.cell == CellKind::Tcn => 1 << layer.min(6),
            None => self.segment.max(1),
        }
    }

    /// The sizes of a layer.
    pub fn shape(&self, layer: usize) -> Shape {
        let window = match self.cell {
            CellKind::Tcn => TAPS,
            CellKind::Feedforward if layer == 0 => self.context,
            CellKind::Attention => 1,
            _ if layer == 0 => self.window.max(self.segment),
            _ => 1,
        };
        Shape {
            // The features for the lowest, the outputs of the one below for the others.
            inputs: if layer == 0 { self.inputs } else { self.hidden },
            hidden: self.hidden,
            window,
            dilation: if self.cell == CellKind::Feedforward { 1 } else { self.dilation(layer) },
            context: self.context,
            chrono: self.chrono,
        }
    }

    /// A hash of the architecture that stays the same across builds, machines and seeds: weights fit where
    /// fingerprints are equal. Over a written-out form, in which what came with later
    /// releases stands only where it differs from what was before.
    pub fn fingerprint(&self) -> u64 {
        let mut text = format!(
            "foretide network 1; cell={}; layers={}; hidden={}; inputs={}; horizon={}; levels={}",
            self.cell, self.layers, self.hidden, self.inputs, self.horizon, self.levels
        );
        let window = matches!(self.cell, CellKind::Feedforward | CellKind::Attention);
        let later = [
            ("strategy", self.strategy.to_string(), self.strategy != Strategy::default()),
            ("target", self.target.to_string(), self.strategy == Strategy::ManyToOne),
            ("residual", self.residual.to_string(), self.residual),
            ("layer_norm", self.layer_norm.to_string(), self.layer_norm),
            ("dilations", format!("{:?}", self.dilations), !self.dilations.is_empty()),
            ("context", self.context.to_string(), window),
            ("window", self.window.to_string(), self.window > 1 && self.cell.is_recurrent()),
            ("segment", self.segment.to_string(), self.segment > 0),
            ("rounded", self.bf16.to_string(), self.bf16),
        ];
        for (name, value, _) in later.iter().filter(|(_, _, told)| *told) {
            text += &format!("; {name}={value}");
        }
        fnv_1a(text.bytes())
    }
}

/// A hash that stays the same across builds and machines, which Rust's own does not (FNV-1a: Fowler, Noll, Vo; RFC 9923).
pub(crate) fn fnv_1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Steps that a causal convolution looks at.
const TAPS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec { layers: 2, hidden: 20, inputs: 8, horizon: 3, levels: 5, ..NetworkSpec::default() }
    }

    #[test]
    fn the_fingerprint_is_stable_and_sees_the_architecture_only() {
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
        ] {
            assert_ne!(other.fingerprint(), spec().fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn sizes_outside_their_limits_are_named() {
        assert_eq!(spec().check(), Ok(()));
        let error = NetworkSpec { hidden: 0, ..spec() }.check().unwrap_err();
        assert_eq!(error.to_string(), "network: hidden is 0, expected 1 to 1024");
        let refuse = |spec: NetworkSpec| spec.check().unwrap_err().to_string();
        assert_eq!(
            refuse(NetworkSpec { segment: 2, ..spec() }),
            "network: segment is 2, expected a divisor of the 3 steps that the head gives"
        );
        assert!(refuse(NetworkSpec { dilations: vec![1], ..spec() }).contains("1 dilations for 2 layers"));
        assert!(refuse(NetworkSpec { dilations: vec![1, 65], ..spec() }).contains("dilation is 65, expected 1 to 64"));
        assert!(refuse(NetworkSpec { cell: CellKind::Attention, ..spec() }).contains("a multiple of 8"));
        assert!(refuse(NetworkSpec { strategy: Strategy::OneToMany, ..spec() }).contains("at least 1"));
        let tcn = NetworkSpec { cell: CellKind::Tcn, segment: 3, ..spec() };
        assert!(refuse(tcn).contains("segments need a recurrent cell"));
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
        assert_eq!(
            error.to_string(),
            "unknown cell \"GRUU\": expected one of elman, elman_relu, lstm, gru, gru_reset_before, mingru, \
             minlstm, slstm, feedforward, tcn, attention"
        );
    }
}
