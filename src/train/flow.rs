//! How far back a recurrent network's gradients reach (Hochreiter, Schmidhuber, Neural Computation 9(8), 1997; Pascanu,
//! Mikolov, Bengio, ICML 2013, arXiv:1211.5063): the norm of the gradient of the last step by the inputs of earlier ones,
//! through the same backward pass as training.

use candle_core::{Device, Tensor, Var};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::bptt::Model;
use super::lanes::TrainingSequence;
use super::run::{MOST_STEPS, STACK};
use super::spec::TrainError;
use super::tracks::steps as steps_of;
use crate::nn::sequence::Starts;
use crate::nn::{NetworkSpec, Weights};

/// The most stretches that are looked at.
const ROWS: usize = 32;
/// A gradient that shrinks below this part of what it is at lag 0 teaches nothing any more.
pub const VANISHING_RATIO: f64 = 1e-4;
/// One that grows beyond so many times that drowns everything else.
pub const EXPLODING_RATIO: f64 = 1e4;

/// The gradient's norm by lag.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientFlow {
    /// For each lag, from 0 on, the median over stretches of the norm of the gradient by that step's inputs. The loss is
    /// a fixed projection of unit length of the top layer's outputs at the last step, so that cells and weights compare.
    pub norms: Vec<f64>,
}

/// What becomes of a gradient on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// At the farthest lag less than [`VANISHING_RATIO`] times the gradient of lag 0 arrives.
    Vanishes,
    /// Something in between arrives there.
    Survives,
    /// Somewhere on the way it is more than [`EXPLODING_RATIO`] times as large, or not finite.
    Explodes,
}

impl Fate {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vanishes => "vanishes",
            Self::Survives => "survives",
            Self::Explodes => "explodes",
        }
    }
}

impl GradientFlow {
    /// The norm at a lag in parts of that at lag 0; NaN beyond the last.
    pub fn relative(&self, lag: usize) -> f64 {
        match (self.norms.first(), self.norms.get(lag)) {
            (Some(first), Some(norm)) => norm / first,
            _ => f64::NAN,
        }
    }

    /// The longest lag from which at least [`VANISHING_RATIO`] times the gradient of lag 0 arrives.
    pub fn reach(&self) -> usize {
        (0..self.norms.len()).rev().find(|lag| self.relative(*lag) >= VANISHING_RATIO).unwrap_or(0)
    }

    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        let grown = |lag| {
            let relative = self.relative(lag);
            !relative.is_finite() || relative > EXPLODING_RATIO
        };
        if (0..self.norms.len()).any(grown) {
            Fate::Explodes
        } else if self.reach() + 1 < self.norms.len() {
            Fate::Vanishes
        } else {
            Fate::Survives
        }
    }
}

/// Follows the gradient of the last of `steps` steps (2 to 4096) back, over stretches of the lanes in which no state is
/// reset.
///
/// # Errors
/// Where the weights or the lanes do not fit the network, or no lane has such a stretch.
pub fn flow(
    network: &NetworkSpec,
    weights: &Weights,
    lanes: &[TrainingSequence],
    steps: usize,
) -> Result<GradientFlow, TrainError> {
    if !(2..=MOST_STEPS).contains(&steps) {
        return Err(TrainError::Invalid(format!(
            "{steps} steps to follow gradients through, expected 2 to {MOST_STEPS}"
        )));
    }
    std::thread::scope(|scope| {
        // Where a cell has no backward pass of its own, candle's recurses once per step.
        let thread = std::thread::Builder::new().name("flow".to_owned()).stack_size(STACK);
        thread
            .spawn_scoped(scope, || follow(network, weights, lanes, steps))
            .map_err(|error| TrainError::Thread(error.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(TrainError::Thread("it panicked".to_owned())))
    })
}

fn follow(
    network: &NetworkSpec,
    weights: &Weights,
    lanes: &[TrainingSequence],
    steps: usize,
) -> Result<GradientFlow, TrainError> {
    network.check().map_err(crate::nn::NetworkError::from)?;
    weights.check(network).map_err(crate::nn::NetworkError::from)?;
    let stretches = stretches(lanes, &steps_of(lanes, network)?, steps);
    let rows = stretches.len();
    if rows == 0 {
        return Err(TrainError::TooLittle(format!("no series has {steps} steps in a row to follow gradients through")));
    }
    let inputs = network.inputs;
    let mut features = vec![0.0; steps * rows * inputs];
    for (row, (lane, from)) in stretches.into_iter().enumerate() {
        for step in 0..steps {
            let into = &mut features[(step * rows + row) * inputs..][..inputs];
            into.copy_from_slice(&lanes[lane].features[(from + step) * inputs..][..inputs]);
        }
    }
    let model = Model::new(network, weights, &Device::Cpu)?;
    let x = Var::from_vec(features, (steps, rows, inputs), &Device::Cpu)?;
    let starts = Starts::new(rows, vec![false; steps * rows]);
    let stack = model.run(&x, &starts, &model.fresh(rows)?)?;
    let projection = Tensor::from_vec(signs(network), (network.hidden, 1), &Device::Cpu)?;
    let gradients = stack.outputs.get(steps - 1)?.matmul(&projection)?.sum_all()?.backward()?;
    let Some(by_inputs) = gradients.get(&x) else {
        return Err(TrainError::Invalid("no gradient by inputs".to_owned()));
    };
    let norms: Vec<f32> = by_inputs.sqr()?.sum(2)?.sqrt()?.flatten_all()?.to_vec1()?;
    let median = |step: &[f32]| {
        let mut sorted: Vec<f64> = step.iter().map(|norm| f64::from(*norm)).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    Ok(GradientFlow { norms: norms.chunks_exact(rows).rev().map(median).collect() })
}

/// At most [`ROWS`] stretches of `length` steps without a start inside, evenly taken: the lane and its first step.
fn stretches(lanes: &[TrainingSequence], steps: &[usize], length: usize) -> Vec<(usize, usize)> {
    let whole =
        |lane: usize, from: usize| !lanes[lane].resets.iter().any(|start| (from + 1..from + length).contains(start));
    let all: Vec<(usize, usize)> = (0..lanes.len())
        .flat_map(|lane| (0..steps[lane] / length.max(1)).map(move |stretch| (lane, stretch * length)))
        .filter(|(lane, from)| whole(*lane, *from))
        .collect();
    let count = all.len().min(ROWS);
    (0..count).map(|at| all[at * all.len() / count]).collect()
}

/// Plus or minus one for each output, of unit length together, drawn from the network's seed.
fn signs(network: &NetworkSpec) -> Vec<f32> {
    let mut random = Pcg64::seed_from_u64(network.seed);
    let size = 1.0 / (network.hidden as f32).sqrt();
    (0..network.hidden).map(|_| if random.next_u64() >> 63 == 0 { size } else { -size }).collect()
}

/// A task that needs a long memory: lanes of one noisy feature each, between -1 and 1, whose one target is what the
/// feature was `lag` steps before.
pub fn long_lag_task(lag: usize, count: usize, steps: usize, seed: u64) -> Vec<TrainingSequence> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut lane = || {
        let features: Vec<f32> = (0..steps).map(|_| (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
        let targets = (0..steps).map(|step| step.checked_sub(lag).map_or(f32::NAN, |then| features[then])).collect();
        TrainingSequence { features, targets, leads_skipped: 0, resets: vec![0] }
    };
    (0..count).map(|_| lane()).collect()
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
    fn the_task_asks_for_what_was_long_ago() {
        let lanes = long_lag_task(7, 3, 40, 1);
        assert_eq!(lanes.len(), 3);
        assert_ne!(lanes[0].features, lanes[1].features);
        for lane in &lanes {
            assert!(lane.features.iter().all(|value| (-1.0..1.0).contains(value)));
            assert!(lane.targets[..7].iter().all(|target| target.is_nan()));
            assert_eq!(lane.targets[7..], lane.features[..33]);
        }
        assert_eq!(long_lag_task(7, 3, 40, 1)[2].features, lanes[2].features);
    }

    #[test]
    fn norms_are_those_of_differences() {
        // One stretch, so that the median is its own; the derivative by one input, by changing it.
        let lanes = long_lag_task(5, 1, 20, 9);
        for cell in CellKind::ALL {
            let network = network(cell, 2);
            let weights = Weights::initial(&network);
            let found = flow(&network, &weights, &lanes, 20).unwrap();
            assert_eq!(found.norms.len(), 20);
            let model = Model::new(&network, &weights, &Device::Cpu).unwrap();
            let loss = |lag: usize, by: f32| {
                let mut features = lanes[0].features.clone();
                features[19 - lag] += by;
                let x = Tensor::from_vec(features, (20, 1, 1), &Device::Cpu).unwrap();
                let states = model.fresh(1).unwrap();
                let stack = model.run(&x, &Starts::new(1, vec![false; 20]), &states).unwrap();
                let last: Vec<f32> = stack.outputs.get(19).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                last.iter().zip(signs(&network)).map(|(output, sign)| f64::from(output * sign)).sum::<f64>()
            };
            for lag in [0, 1, 6] {
                let difference = (loss(lag, 0.002) - loss(lag, -0.002)) / 0.004;
                let norm = found.norms[lag];
                assert!((norm - difference.abs()).abs() < 5e-4 + 0.02 * norm, "{cell} {lag}: {norm} {difference}");
            }
        }
    }

    #[test]
    fn the_simple_recurrence_forgets_and_gated_memories_that_begin_long_do_not() {
        let lanes = long_lag_task(48, 8, 512, 5);
        let fate = |cell, chrono| {
            let network = NetworkSpec { hidden: 32, chrono, ..network(cell, 1) };
            let found = flow(&network, &Weights::initial(&network), &lanes, 128).unwrap();
            found.fate()
        };
        assert_eq!(fate(CellKind::Elman, 0), Fate::Vanishes);
        assert_eq!(fate(CellKind::Gru, 0), Fate::Vanishes);
        for cell in [CellKind::Lstm, CellKind::Gru, CellKind::GruResetBefore] {
            assert_eq!(fate(cell, 128), Fate::Survives, "{cell}");
        }
    }

    #[test]
    fn fates_are_told_by_their_thresholds() {
        let flow = |last: f64| GradientFlow { norms: vec![2.0, 1.0, last] };
        assert_eq!((flow(0.1).fate(), flow(0.1).reach()), (Fate::Survives, 2));
        assert_eq!((flow(1e-9).fate(), flow(1e-9).reach()), (Fate::Vanishes, 1));
        assert_eq!((flow(1e5).fate(), flow(f64::INFINITY).fate()), (Fate::Explodes, Fate::Explodes));
        assert!(flow(1.0).relative(3).is_nan());
    }

    #[test]
    fn stretches_avoid_resets_and_must_exist() {
        let mut lanes = long_lag_task(2, 2, 100, 1);
        lanes[1].resets = vec![0, 30, 60];
        let chosen = stretches(&lanes, &[100, 100], 20);
        assert_eq!(chosen, [(0, 0), (0, 20), (0, 40), (0, 60), (0, 80), (1, 0), (1, 40), (1, 60), (1, 80)]);
        assert_eq!(stretches(&lanes, &[100, 100], 1).len(), ROWS);
        let network = network(CellKind::Gru, 1);
        let error = flow(&network, &Weights::initial(&network), &lanes, 101).unwrap_err().to_string();
        assert_eq!(error, "training: no series has 101 steps in a row to follow gradients through");
        let error = flow(&network, &Weights::initial(&network), &lanes, 1).unwrap_err().to_string();
        assert_eq!(error, "training: 1 steps to follow gradients through, expected 2 to 4096");
    }
}
