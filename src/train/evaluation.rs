//! The pinball loss of weights on a part of the history, through the network that serves.

use super::batch::{Split, step_counts, targets_before};
use super::champion_challenger::{Verdict, judge};
use super::pinball_loss::pinball_loss;
use super::spec::{TrainError, TrainSpec};
use super::training_sequence::TrainingSequence;
use crate::nn::{Network, NetworkSpec, Scratch, Weights};

/// Sequences that are evaluated side by side: bounds the memory of an evaluation.
const ROWS: usize = 64;
/// Steps of which features and targets are computed at once.
const STEPS: usize = 64;

/// Pinball losses summed over matured targets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct LossSum {
    pub sum: f64,
    pub targets: u64,
}

impl LossSum {
    /// The mean over targets and levels; NaN without targets.
    pub(super) fn mean(&self, levels: usize) -> f64 {
        self.sum / (self.targets as f64 * levels as f64)
    }
}

/// The steps `from..to` of a sequence. Evaluation uses the targets that lie within them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub sequence: &'a TrainingSequence,
    pub from: usize,
    pub to: usize,
}

/// The part of every sequence that `range` takes from its split; those that are empty are left out.
fn parts<'a>(
    sequences: &'a [TrainingSequence],
    splits: &[Split],
    range: impl Fn(&Split) -> (usize, usize),
) -> impl Iterator<Item = Part<'a>> {
    let part = move |(sequence, split)| {
        let (from, to) = range(split);
        (from < to).then_some(Part { sequence, from, to })
    };
    sequences.iter().zip(splits).filter_map(part)
}

/// Samples the parts of at most four batches of sequences, evenly.
fn sample<'a>(parts: impl Iterator<Item = Part<'a>>, sequences: usize, spec: &TrainSpec) -> Vec<Part<'a>> {
    parts.step_by(sequences.div_ceil(4 * spec.batch_size.max(1)).max(1)).collect()
}

/// The selection half of the validation part, of a sample of the sequences.
pub(super) fn selection_parts<'a>(
    sequences: &'a [TrainingSequence],
    splits: &[Split],
    spec: &TrainSpec,
) -> Vec<Part<'a>> {
    let parts = parts(sequences, splits, |split| (split.train_end, split.selection_end));
    sample(parts, sequences.len(), spec)
}

/// The newest steps of the training part, as many as there are for validation, of a sample of the sequences: measures
/// the fit.
pub(super) fn training_parts<'a>(
    sequences: &'a [TrainingSequence],
    splits: &[Split],
    spec: &TrainSpec,
) -> Vec<Part<'a>> {
    let newest = |split: &Split| ((2 * split.train_end).saturating_sub(split.steps), split.train_end);
    sample(parts(sequences, splits, newest), sequences.len(), spec)
}

/// Champion and challenger on the same newest steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Mean pinball loss of the champion; NaN where no target matured.
    pub champion_loss: f64,
    /// Mean pinball loss of the challenger.
    pub challenger_loss: f64,
    /// Matured targets that both were evaluated on.
    pub judged: u64,
    /// Whether the challenger is clearly better.
    pub verdict: Verdict,
}

/// Compares weights with the champion's on the newer half of the validation part of every sequence.
///
/// # Errors
/// Where the weights or the sequences do not fit the network.
pub fn compare(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    challenger: &Weights,
    sequences: &[TrainingSequence],
) -> Result<Comparison, TrainError> {
    let splits: Vec<Split> =
        step_counts(sequences, network)?.into_iter().map(|steps| Split::new(steps, spec)).collect();
    let parts: Vec<Part<'_>> = parts(sequences, &splits, |split| (split.selection_end, split.steps)).collect();
    let champion = evaluate(spec, network, champion, &parts)?;
    let challenger = evaluate(spec, network, challenger, &parts)?;
    let (champion_loss, challenger_loss) = (champion.mean(network.levels), challenger.mean(network.levels));
    let min_judged = spec.min_judged as u64;
    let verdict = judge(champion_loss, challenger_loss, challenger.targets, min_judged, spec.margin);
    Ok(Comparison { champion_loss, challenger_loss, judged: challenger.targets, verdict })
}

/// Evaluates weights. The hidden states at the start of each part follow from the `spec.k2` steps before it, which give
/// no loss. Fails where the weights do not fit the network.
pub(super) fn evaluate(
    spec: &TrainSpec,
    network_spec: &NetworkSpec,
    weights: &Weights,
    parts: &[Part<'_>],
) -> Result<LossSum, TrainError> {
    let network = Network::new(network_spec, weights)?;
    let (inputs, outputs, width) = (network.inputs(), network.outputs(), network.state_len());
    let (horizon, levels) = (network_spec.targets(), spec.levels.len());
    let mut scratch = Scratch::default();
    let mut loss = LossSum::default();
    for parts in parts.chunks(ROWS) {
        let rows = parts.len();
        let mut y = vec![0.0; rows * outputs];
        let mut state = vec![0.0; rows * width];
        let begins: Vec<usize> = parts.iter().map(|part| part.from.saturating_sub(spec.k2)).collect();
        let longest = parts.iter().zip(&begins).map(|(part, begin)| part.to - begin).max().unwrap_or(0);
        for from in (0..longest).step_by(STEPS) {
            let steps = STEPS.min(longest - from);
            // `[step][row][input]` and `[step][row][target]`; zero and NaN where a part has ended or has not begun.
            let mut x = vec![0.0; steps * rows * inputs];
            let mut targets = vec![f32::NAN; steps * rows * horizon];
            for (row, (part, begin)) in parts.iter().zip(&begins).enumerate() {
                let (first, last) = (begin + from, (begin + from + steps).min(part.to));
                let into = |at: usize| (at - first) * rows + row;
                part.sequence.visit_features(first..last.max(first), |at, values| {
                    x[into(at) * inputs..][..inputs].copy_from_slice(values);
                });
                let (first_judged, skipped) = (first.max(part.from), part.sequence.leads_skipped());
                part.sequence.visit_targets(first_judged..last.max(first_judged), |at, values| {
                    let known = targets_before(values, at, part.to, skipped, spec.target_clip);
                    targets[into(at) * horizon..].iter_mut().zip(known).for_each(|(into, target)| *into = target);
                });
            }
            for step in 0..steps {
                for (row, (part, begin)) in parts.iter().zip(&begins).enumerate() {
                    let at = begin + from + step;
                    if at < part.to && part.sequence.resets().binary_search(&at).is_ok() {
                        state[row * width..][..width].fill(0.0);
                    }
                }
                let x = &x[step * rows * inputs..][..rows * inputs];
                network.step(&mut scratch, rows, x, &mut state, &mut y);
                let targets = targets[step * rows * horizon..][..rows * horizon].chunks_exact(horizon);
                for (targets, y) in targets.zip(y.chunks_exact(outputs)) {
                    let targets = targets.iter().zip(y.chunks_exact(levels));
                    for (target, quantiles) in targets.filter(|(target, _)| !target.is_nan()) {
                        let losses = spec.levels.iter().zip(quantiles);
                        let losses = losses.map(|(level, quantile)| f64::from(pinball_loss(*level, target - quantile)));
                        loss.targets += 1;
                        loss.sum += losses.sum::<f64>();
                    }
                }
            }
        }
    }
    Ok(loss)
}
