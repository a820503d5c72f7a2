//! The loss of weights on the held-out part, through the network that would serve them.

use super::gate::{Verdict, judge};
use super::head::loss;
use super::lanes::TrainingSequence;
use super::spec::{TrainError, TrainSpec};
use super::tracks::{Cut, steps, targets_before};
use crate::nn::{Network, NetworkSpec, Scratch, Weights};

/// Lanes that are stepped side by side.
const ROWS: usize = 64;

/// Pinball losses summed over matured targets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Score {
    pub sum: f64,
    pub judged: u64,
}

impl Score {
    /// The mean over targets and levels; NaN where nothing matured.
    pub(super) fn mean(&self, levels: usize) -> f64 {
        self.sum / (self.judged as f64 * levels as f64)
    }
}

/// A part of a lane that is scored: its steps, all of whose targets lie within it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub lane: &'a TrainingSequence,
    pub from: usize,
    pub to: usize,
}

/// The part that chooses among weights: of at most `spec.lanes` times four lanes, evenly taken.
pub(super) fn choosing<'a>(lanes: &'a [TrainingSequence], cuts: &[Cut], spec: &TrainSpec) -> Vec<Part<'a>> {
    let every = lanes.len().div_ceil(4 * spec.batch_size.max(1)).max(1);
    let parts = lanes.iter().zip(cuts).filter(|(_, cut)| cut.chosen > cut.trained).step_by(every);
    parts.map(|(lane, cut)| Part { lane, from: cut.trained, to: cut.chosen }).collect()
}

/// A part of what is learnt from, to see how well it is: the newest stretch, as long as what is held out, of as many
/// lanes as choose.
pub(super) fn learnt<'a>(lanes: &'a [TrainingSequence], cuts: &[Cut], spec: &TrainSpec) -> Vec<Part<'a>> {
    let every = lanes.len().div_ceil(4 * spec.batch_size.max(1)).max(1);
    let parts = lanes.iter().zip(cuts).filter(|(_, cut)| cut.trained > 0).step_by(every);
    parts.map(|(lane, cut)| Part { lane, from: (2 * cut.trained).saturating_sub(cut.steps), to: cut.trained }).collect()
}

/// The part that judges: of all lanes.
fn judging<'a>(lanes: &'a [TrainingSequence], cuts: &[Cut]) -> Vec<Part<'a>> {
    let parts = lanes.iter().zip(cuts).filter(|(_, cut)| cut.steps > cut.chosen);
    parts.map(|(lane, cut)| Part { lane, from: cut.chosen, to: cut.steps }).collect()
}

/// Two sets of weights on the same newest steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Mean pinball loss of the champion; NaN where nothing matured.
    pub champion_loss: f64,
    /// Mean pinball loss of the other.
    pub challenger_loss: f64,
    /// Matured targets that both were judged on.
    pub judged: u64,
    /// Whether the other is clearly better.
    pub verdict: Verdict,
}

/// Judges weights against the champion's on the judging part of the lanes: the newest half of what is held out.
///
/// # Errors
/// Where the weights or the lanes do not fit the network.
pub fn compare(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    challenger: &Weights,
    lanes: &[TrainingSequence],
) -> Result<Comparison, TrainError> {
    let cuts: Vec<Cut> = steps(lanes, network)?.into_iter().map(|steps| Cut::new(steps, spec)).collect();
    let judging = judging(lanes, &cuts);
    let champion = score(spec, network, champion, &judging)?;
    let challenger = score(spec, network, challenger, &judging)?;
    let (champion_loss, challenger_loss) = (champion.mean(network.levels), challenger.mean(network.levels));
    let least = spec.min_judged as u64;
    let verdict = judge(champion_loss, challenger_loss, challenger.judged, least, spec.margin);
    Ok(Comparison { champion_loss, challenger_loss, judged: challenger.judged, verdict })
}

/// Scores weights. The states are those after `spec.k2` steps before each part, without loss.
///
/// # Errors
/// Where the weights do not fit the network.
pub(super) fn score(
    spec: &TrainSpec,
    network_spec: &NetworkSpec,
    weights: &Weights,
    parts: &[Part<'_>],
) -> Result<Score, TrainError> {
    let network = Network::new(network_spec, weights)?;
    let (inputs, outputs, width) = (network.inputs(), network.outputs(), network.state_len());
    let (horizon, levels) = (network_spec.targets(), spec.levels.len());
    let mut scratch = Scratch::default();
    let mut score = Score::default();
    for parts in parts.chunks(ROWS) {
        let rows = parts.len();
        let (mut x, mut y) = (vec![0.0; rows * inputs], vec![0.0; rows * outputs]);
        let mut state = vec![0.0; rows * width];
        let begins: Vec<usize> = parts.iter().map(|part| part.from.saturating_sub(spec.k2)).collect();
        let longest = parts.iter().zip(&begins).map(|(part, begin)| part.to - begin).max().unwrap_or(0);
        for step in 0..longest {
            for (row, (part, begin)) in parts.iter().zip(&begins).enumerate() {
                let at = begin + step;
                let x = &mut x[row * inputs..][..inputs];
                if at >= part.to {
                    x.fill(0.0);
                    continue;
                }
                x.copy_from_slice(&part.lane.features[at * inputs..][..inputs]);
                if part.lane.resets.binary_search(&at).is_ok() {
                    state[row * width..][..width].fill(0.0);
                }
            }
            network.step(&mut scratch, rows, &x, &mut state, &mut y);
            for (row, (part, begin)) in parts.iter().zip(&begins).enumerate() {
                let at = begin + step;
                if at < part.from || at >= part.to {
                    continue;
                }
                let quantiles = y[row * outputs..][..outputs].chunks_exact(levels);
                for (target, quantiles) in
                    targets_before(part.lane, at, part.to, horizon, spec.target_clip).zip(quantiles)
                {
                    if !target.is_nan() {
                        score.judged += 1;
                        let losses = spec.levels.iter().zip(quantiles);
                        score.sum +=
                            losses.map(|(level, quantile)| f64::from(loss(*level, target - quantile))).sum::<f64>();
                    }
                }
            }
        }
    }
    Ok(score)
}
