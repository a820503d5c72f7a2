//! The pinball loss of weights on a part of the history, through the network that serves.

use super::batch::{Split, step_counts, targets_before};
use super::champion_challenger::{Verdict, judge};
use super::lead_sample::{LEADS, LeadSample};
use super::pinball_loss::pinball_loss;
use super::spec::{TrainError, TrainSpec};
use super::training_sequence::TrainingSequence;
use crate::nn::{Network, NetworkSpec, QueryBatch, Scratch, Weights};
use crate::series::QUERY_FEATURES;

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
/// no loss. A network that answers queries is asked for some leads of each step, the same for all weights. Fails where
/// the weights do not fit the network.
pub(super) fn evaluate(
    spec: &TrainSpec,
    network: &NetworkSpec,
    weights: &Weights,
    parts: &[Part<'_>],
) -> Result<LossSum, TrainError> {
    let leads = (network.decoder > 0).then_some(LeadSample { seed: 0, longest: network.targets() });
    let judged = if leads.is_some() { LEADS } else { network.targets() };
    let mut evaluation = Evaluation {
        spec,
        network: Network::new(network, weights)?,
        leads,
        judged,
        scratch: Scratch::default(),
        loss: LossSum::default(),
    };
    parts.chunks(ROWS).for_each(|parts| evaluation.run(parts));
    Ok(evaluation.loss)
}

struct Evaluation<'a> {
    spec: &'a TrainSpec,
    network: Network,
    /// Which leads a network that answers queries is asked for.
    leads: Option<LeadSample>,
    /// Targets that are judged at each step.
    judged: usize,
    scratch: Scratch,
    loss: LossSum,
}

/// Steps of several parts side by side; zero and NaN where a part has ended or has not begun.
struct Steps {
    /// `[step][row][input]`
    features: Vec<f32>,
    /// `[step][row][target]`
    targets: Vec<f32>,
    /// `[step][row][target][QUERY_FEATURES]` for a network that answers queries; else empty.
    queries: Vec<f32>,
}

impl Evaluation<'_> {
    /// Evaluates parts side by side.
    fn run(&mut self, parts: &[Part<'_>]) {
        let (rows, width, inputs) = (parts.len(), self.network.state_len(), self.network.inputs());
        let targets_per_step = rows * self.judged;
        let mut y = vec![0.0; targets_per_step * self.spec.levels.len()];
        let mut state = vec![0.0; rows * width];
        let begins: Vec<usize> = parts.iter().map(|part| part.from.saturating_sub(self.spec.k2)).collect();
        let longest = parts.iter().zip(&begins).map(|(part, begin)| part.to - begin).max().unwrap_or(0);
        for from in (0..longest).step_by(STEPS) {
            let count = STEPS.min(longest - from);
            let steps = self.steps(parts, &begins, from, count);
            for step in 0..count {
                for (row, (part, begin)) in parts.iter().zip(&begins).enumerate() {
                    let at = begin + from + step;
                    if at < part.to && part.sequence.resets().binary_search(&at).is_ok() {
                        state[row * width..][..width].fill(0.0);
                    }
                }
                let x = &steps.features[step * rows * inputs..][..rows * inputs];
                if self.leads.is_some() {
                    let asked = targets_per_step * QUERY_FEATURES;
                    let batch = QueryBatch { queries: &steps.queries[step * asked..][..asked], quantiles: &mut y };
                    self.network.step_queries(&mut self.scratch, rows, x, &mut state, batch);
                } else {
                    self.network.step(&mut self.scratch, rows, x, &mut state, &mut y);
                }
                self.judge(&steps.targets[step * targets_per_step..][..targets_per_step], &y);
            }
        }
    }

    /// The `count` steps of each part from the `from`-th after its begin on.
    fn steps(&self, parts: &[Part<'_>], begins: &[usize], from: usize, count: usize) -> Steps {
        let (rows, inputs, judged) = (parts.len(), self.network.inputs(), self.judged);
        let targets = count * rows * judged;
        let mut steps = Steps {
            features: vec![0.0; count * rows * inputs],
            targets: vec![f32::NAN; targets],
            queries: vec![0.0; if self.leads.is_some() { targets * QUERY_FEATURES } else { 0 }],
        };
        for (row, (part, begin)) in parts.iter().zip(begins).enumerate() {
            let (first, last) = (begin + from, (begin + from + count).min(part.to));
            let into = |at: usize| (at - first) * rows + row;
            part.sequence.visit_features(first..last.max(first), |at, values| {
                steps.features[into(at) * inputs..][..inputs].copy_from_slice(values);
            });
            let first_judged = first.max(part.from);
            let range = first_judged..last.max(first_judged);
            part.sequence.visit_targets(range.clone(), |at, values| {
                let skipped = part.sequence.leads_skipped();
                let known = targets_before(values, at, part.to, skipped, self.spec.target_clip);
                let targets = &mut steps.targets[into(at) * judged..][..judged];
                match self.leads {
                    None => targets.iter_mut().zip(known).for_each(|(into, target)| *into = target),
                    Some(leads) => leads.pick(row, at, known, targets),
                }
            });
            if let Some(leads) = self.leads {
                let queries = |at, values: &[f32]| {
                    steps.queries[into(at) * judged * QUERY_FEATURES..][..values.len()].copy_from_slice(values);
                };
                part.sequence.visit_queries(range, |at| leads.at(row, at), queries);
            }
        }
        steps
    }

    /// Adds the losses of quantiles `[target][level]`.
    fn judge(&mut self, targets: &[f32], quantiles: &[f32]) {
        let targets = targets.iter().zip(quantiles.chunks_exact(self.spec.levels.len()));
        for (target, quantiles) in targets.filter(|(target, _)| !target.is_nan()) {
            let losses = self.spec.levels.iter().zip(quantiles);
            let losses = losses.map(|(level, quantile)| f64::from(pinball_loss(*level, target - quantile)));
            self.loss.targets += 1;
            self.loss.sum += losses.sum::<f64>();
        }
    }
}
