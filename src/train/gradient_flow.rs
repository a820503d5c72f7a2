//! Gradient flow: how far back the gradients of a recurrent network reach before they vanish or explode (Hochreiter,
//! Schmidhuber, Neural Computation 9(8), 1997; Pascanu, Mikolov, Bengio, ICML 2013, arXiv:1211.5063). Measured as the
//! norm of the gradient of the last step with respect to the inputs of earlier steps, through the backward pass of
//! training.

use candle_core::{Device, Tensor, Var};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::batch::step_counts;
use super::spec::TrainError;
use super::trainer::MAX_CHUNK_STEPS;
use super::training_sequence::TrainingSequence;
use super::training_thread::STACK;
use super::truncated_bptt::Model;
use crate::nn::{NetworkError, NetworkSpec, ResetMask, Weights};

/// The most segments that are measured: bounds time and memory.
const MAX_SEGMENTS: usize = 32;
/// A gradient below this multiple of that at lag 0 has vanished.
pub const VANISHING_RATIO: f64 = 1e-4;
/// A gradient above this multiple of that at lag 0 has exploded.
pub const EXPLODING_RATIO: f64 = 1e4;

/// The norm of the gradient by lag.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientFlow {
    /// For each lag, from 0 on, the median over segments of the norm of the gradient with respect to the inputs of that
    /// step. The loss is a fixed unit-length projection of the last output of the top layer, so that cells and weights
    /// are comparable.
    pub norms: Vec<f64>,
}

/// What happens to a gradient on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradientFate {
    /// At the longest lag it is below [`VANISHING_RATIO`] times the gradient at lag 0.
    Vanishes,
    /// It neither vanishes nor explodes.
    Survives,
    /// At some lag it is above [`EXPLODING_RATIO`] times the gradient at lag 0, or not finite.
    Explodes,
}

impl GradientFate {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vanishes => "vanishes",
            Self::Survives => "survives",
            Self::Explodes => "explodes",
        }
    }
}

impl GradientFlow {
    /// The norm at a lag relative to that at lag 0; NaN beyond the longest lag.
    pub fn relative(&self, lag: usize) -> f64 {
        match (self.norms.first(), self.norms.get(lag)) {
            (Some(first), Some(norm)) => norm / first,
            _ => f64::NAN,
        }
    }

    /// The longest lag at which the gradient is at least [`VANISHING_RATIO`] times that at lag 0.
    pub fn reach(&self) -> usize {
        (0..self.norms.len()).rev().find(|lag| self.relative(*lag) >= VANISHING_RATIO).unwrap_or(0)
    }

    /// Whether the gradient vanishes, survives or explodes.
    pub fn fate(&self) -> GradientFate {
        let grown = |lag| {
            let relative = self.relative(lag);
            !relative.is_finite() || relative > EXPLODING_RATIO
        };
        if (0..self.norms.len()).any(grown) {
            GradientFate::Explodes
        } else if self.reach() + 1 < self.norms.len() {
            GradientFate::Vanishes
        } else {
            GradientFate::Survives
        }
    }
}

/// Measures the gradient of the last of `steps` steps (2 to 4096) at all lags, over segments of the sequences in which
/// the state is not reset.
///
/// # Errors
/// Where the weights or the sequences do not fit the network, or no sequence has such a segment.
pub fn gradient_flow(
    network: &NetworkSpec,
    weights: &Weights,
    sequences: &[TrainingSequence],
    steps: usize,
) -> Result<GradientFlow, TrainError> {
    if !(2..=MAX_CHUNK_STEPS).contains(&steps) {
        return Err(TrainError::Invalid(format!(
            "{steps} steps to follow gradients through, expected 2 to {MAX_CHUNK_STEPS}"
        )));
    }
    std::thread::scope(|scope| {
        // For cells without a backward pass of their own, candle's recurses once per step.
        let thread = std::thread::Builder::new().name("gradient-flow".to_owned()).stack_size(STACK);
        thread
            .spawn_scoped(scope, || measure(network, weights, sequences, steps))
            .map_err(|error| TrainError::Thread(error.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(TrainError::Thread("it panicked".to_owned())))
    })
}

fn measure(
    network: &NetworkSpec,
    weights: &Weights,
    sequences: &[TrainingSequence],
    steps: usize,
) -> Result<GradientFlow, TrainError> {
    network.check().map_err(NetworkError::from)?;
    weights.check(network).map_err(NetworkError::from)?;
    let segments = segments(sequences, &step_counts(sequences, network)?, steps);
    let rows = segments.len();
    if rows == 0 {
        return Err(TrainError::TooLittle(format!("no series has {steps} steps in a row to follow gradients through")));
    }
    let inputs = network.inputs;
    let mut features = vec![0.0; steps * rows * inputs];
    for (row, (sequence, from)) in segments.into_iter().enumerate() {
        sequences[sequence].visit_features(from..from + steps, |at, values| {
            features[((at - from) * rows + row) * inputs..][..inputs].copy_from_slice(values);
        });
    }
    let model = Model::new(network, weights, &Device::Cpu)?;
    let x = Var::from_vec(features, (steps, rows, inputs), &Device::Cpu)?;
    let resets = ResetMask::new(rows, vec![false; steps * rows]);
    let stack = model.run(&x, &resets, &model.fresh(rows)?)?;
    let projection = Tensor::from_vec(random_signs(network), (network.hidden, 1), &Device::Cpu)?;
    let gradients = stack.outputs.get(steps - 1)?.matmul(&projection)?.sum_all()?.backward()?;
    let Some(by_inputs) = gradients.get(&x) else {
        return Err(TrainError::Invalid("the network has no gradient with respect to its inputs".to_owned()));
    };
    let norms: Vec<f32> = by_inputs.sqr()?.sum(2)?.sqrt()?.flatten_all()?.to_vec1()?;
    let median = |step: &[f32]| {
        let mut sorted: Vec<f64> = step.iter().map(|norm| f64::from(*norm)).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    Ok(GradientFlow { norms: norms.chunks_exact(rows).rev().map(median).collect() })
}

/// At most [`MAX_SEGMENTS`] evenly sampled segments of `length` steps without a reset inside: sequence and first step.
fn segments(sequences: &[TrainingSequence], steps: &[usize], length: usize) -> Vec<(usize, usize)> {
    let unbroken = |sequence: usize, from: usize| {
        !sequences[sequence].resets().iter().any(|start| (from + 1..from + length).contains(start))
    };
    let all: Vec<(usize, usize)> = (0..sequences.len())
        .flat_map(|sequence| (0..steps[sequence] / length.max(1)).map(move |segment| (sequence, segment * length)))
        .filter(|(sequence, from)| unbroken(*sequence, *from))
        .collect();
    let count = all.len().min(MAX_SEGMENTS);
    (0..count).map(|at| all[at * all.len() / count]).collect()
}

/// A unit vector of random signs, one per output, drawn from the network's seed.
fn random_signs(network: &NetworkSpec) -> Vec<f32> {
    let mut random = Pcg64::seed_from_u64(network.seed);
    let size = 1.0 / (network.hidden as f32).sqrt();
    (0..network.hidden).map(|_| if random.next_u64() >> 63 == 0 { size } else { -size }).collect()
}

/// A task that requires long memory: `count` sequences of one random feature within -1..1, whose only target is the
/// feature `lag` steps before.
pub fn long_lag_task(lag: usize, count: usize, steps: usize, seed: u64) -> Vec<TrainingSequence> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut sequence = || {
        let features: Vec<f32> = (0..steps).map(|_| (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
        let targets = (0..steps).map(|step| step.checked_sub(lag).map_or(f32::NAN, |then| features[then])).collect();
        TrainingSequence::given([1, 1], features, targets, vec![0])
    };
    (0..count).map(|_| sequence()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::CellKind;

    fn network(cell: CellKind, layers: usize) -> NetworkSpec {
        let sizes = NetworkSpec { hidden: 16, inputs: 1, horizon: 1, levels: 1, seed: 3, ..NetworkSpec::default() };
        NetworkSpec { cell, layers, ..sizes }
    }

    #[test]
    fn the_long_lag_task_asks_for_an_old_feature() {
        let sequences = long_lag_task(7, 3, 40, 1);
        assert_eq!(sequences.len(), 3);
        assert_ne!(sequences[0].features(), sequences[1].features());
        for sequence in &sequences {
            let (features, targets) = (sequence.features(), sequence.targets());
            assert!(features.iter().all(|value| (-1.0..1.0).contains(value)));
            assert!(targets[..7].iter().all(|target| target.is_nan()));
            assert_eq!(targets[7..], features[..33]);
        }
        assert_eq!(long_lag_task(7, 3, 40, 1)[2].features(), sequences[2].features());
    }

    #[test]
    fn norms_match_finite_differences() {
        // With a single segment the median is its own norm. The derivative is estimated by changing one input.
        let sequences = long_lag_task(5, 1, 20, 9);
        for cell in CellKind::ALL {
            let network = network(cell, 2);
            let weights = Weights::initial(&network);
            let found = gradient_flow(&network, &weights, &sequences, 20).unwrap();
            assert_eq!(found.norms.len(), 20);
            let model = Model::new(&network, &weights, &Device::Cpu).unwrap();
            let loss = |lag: usize, by: f32| {
                let mut features = sequences[0].features();
                features[19 - lag] += by;
                let x = Tensor::from_vec(features, (20, 1, 1), &Device::Cpu).unwrap();
                let states = model.fresh(1).unwrap();
                let stack = model.run(&x, &ResetMask::new(1, vec![false; 20]), &states).unwrap();
                let last: Vec<f32> = stack.outputs.get(19).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                last.iter().zip(random_signs(&network)).map(|(output, sign)| f64::from(output * sign)).sum::<f64>()
            };
            for lag in [0, 1, 6] {
                let difference = (loss(lag, 0.002) - loss(lag, -0.002)) / 0.004;
                let norm = found.norms[lag];
                assert!((norm - difference.abs()).abs() < 5e-4 + 0.02 * norm, "{cell} {lag}: {norm} {difference}");
            }
        }
    }

    #[test]
    fn gradients_vanish_in_elman_networks_and_survive_in_gated_cells_with_chrono_initialisation() {
        let sequences = long_lag_task(48, 8, 512, 5);
        let fate = |cell, chrono| {
            let network = NetworkSpec { hidden: 32, chrono, ..network(cell, 1) };
            let found = gradient_flow(&network, &Weights::initial(&network), &sequences, 128).unwrap();
            found.fate()
        };
        assert_eq!(fate(CellKind::Elman, 0), GradientFate::Vanishes);
        assert_eq!(fate(CellKind::Gru, 0), GradientFate::Vanishes);
        for cell in [CellKind::Lstm, CellKind::Gru, CellKind::GruResetBefore] {
            assert_eq!(fate(cell, 128), GradientFate::Survives, "{cell}");
        }
    }

    #[test]
    fn the_thresholds_separate_vanishing_from_exploding_gradients() {
        let flow = |last: f64| GradientFlow { norms: vec![2.0, 1.0, last] };
        assert_eq!((flow(0.1).fate(), flow(0.1).reach()), (GradientFate::Survives, 2));
        assert_eq!((flow(1e-9).fate(), flow(1e-9).reach()), (GradientFate::Vanishes, 1));
        assert_eq!((flow(1e5).fate(), flow(f64::INFINITY).fate()), (GradientFate::Explodes, GradientFate::Explodes));
        assert!(flow(1.0).relative(3).is_nan());
    }

    #[test]
    fn segments_avoid_resets_and_must_exist() {
        let mut sequences = long_lag_task(2, 2, 100, 1);
        sequences[1] = TrainingSequence::given([1, 1], vec![0.0; 100], vec![0.0; 100], vec![0, 30, 60]);
        let chosen = segments(&sequences, &[100, 100], 20);
        assert_eq!(chosen, [(0, 0), (0, 20), (0, 40), (0, 60), (0, 80), (1, 0), (1, 40), (1, 60), (1, 80)]);
        assert_eq!(segments(&sequences, &[100, 100], 1).len(), MAX_SEGMENTS);
        let network = network(CellKind::Gru, 1);
        let error = gradient_flow(&network, &Weights::initial(&network), &sequences, 101).unwrap_err().to_string();
        assert_eq!(error, "training: no series has 101 steps in a row to follow gradients through");
        let error = gradient_flow(&network, &Weights::initial(&network), &sequences, 1).unwrap_err().to_string();
        assert_eq!(error, "training: 1 steps to follow gradients through, expected 2 to 4096");
    }
}
