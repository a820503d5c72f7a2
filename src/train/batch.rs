//! Training batches: which part of each sequence is validation, and how the rest is laid out in rows of a batch.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::lead_sample::{LEADS, LeadSample};
use super::spec::{ExperienceReplay, TrainError, TrainSpec};
use super::training_sequence::TrainingSequence;
use crate::nn::NetworkSpec;
use crate::series::QUERY_FEATURES;

/// Spacing of the seeds of successive epochs: an odd number with well mixed bits (2⁶⁴ divided by the golden ratio).
const EPOCH_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The three parts of a sequence: training updates the weights on `[0, train_end)`, `[train_end, selection_end)`
/// selects the best weights, and `[selection_end, steps)` compares challenger and champion. The last two are the
/// validation part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub train_end: usize,
    pub selection_end: usize,
    pub steps: usize,
}

impl Split {
    pub(super) fn new(steps: usize, spec: &TrainSpec) -> Self {
        let share = (steps as f64 * spec.validation_share).ceil() as usize;
        let validation = share.min(steps).min(spec.max_validation_steps);
        Self { train_end: steps - validation, selection_end: steps - validation / 2, steps }
    }
}

/// The steps of each sequence; an error where one does not fit the network.
pub(super) fn step_counts(sequences: &[TrainingSequence], network: &NetworkSpec) -> Result<Vec<usize>, TrainError> {
    let expected = [network.inputs, network.targets()];
    let steps = |(at, sequence): (usize, &TrainingSequence)| {
        let ([inputs, targets], resets) = (sequence.shape(), sequence.resets());
        if [inputs, targets] == expected && resets.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(sequence.len());
        }
        Err(TrainError::Invalid(format!(
            "a step of sequence {at} has {inputs} features and {targets} targets, expected {} and {}, and resets in \
             ascending order",
            expected[0], expected[1]
        )))
    };
    sequences.iter().enumerate().map(steps).collect()
}

/// Of the `targets` of a step those that do not depend on a value at step `end` or later, clamped to plus and minus
/// `clip`; NaN for the others. `leads_skipped` is that of the sequence.
pub(super) fn targets_before(
    targets: &[f32],
    step: usize,
    end: usize,
    leads_skipped: usize,
    clip: f32,
) -> impl Iterator<Item = f32> + '_ {
    let known = end.saturating_sub(step + 1 + leads_skipped);
    let clamp = move |(ahead, target): (usize, &f32)| if ahead < known { target.clamp(-clip, clip) } else { f32::NAN };
    targets.iter().enumerate().map(clamp)
}

/// The steps `from..to` of the training part of a sequence.
#[derive(Debug, Clone, Copy)]
struct Segment {
    sequence: usize,
    from: usize,
    to: usize,
}

/// One row of the batch: segments one after the other.
#[derive(Debug, Clone, Default)]
struct Row {
    segments: Vec<Segment>,
    /// Where each segment ends in the row.
    ends: Vec<usize>,
}

/// The rows of one epoch. All rows are processed side by side, chunk by chunk.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    sequences: &'a [TrainingSequence],
    splits: &'a [Split],
    /// Inputs and targets of one step.
    inputs: usize,
    targets: usize,
    /// Which leads a query decoder is asked for; `None` for a head that outputs all targets.
    leads: Option<LeadSample>,
    burn_in: usize,
    target_clip: f32,
    rows: Vec<Row>,
}

/// Consecutive steps of all rows, `[step][row]`.
pub(super) struct Chunk {
    /// `[step][row][input]`
    pub features: Vec<f32>,
    /// `[step][row][target]`; NaN where a target gives no loss. With queries `[step][row][LEADS]`.
    pub targets: Vec<f32>,
    /// `[step][row][LEADS][QUERY_FEATURES]` for a query decoder; else empty.
    pub queries: Vec<f32>,
    /// `[step][row]`: whether the hidden state is reset before the step.
    pub reset_mask: Vec<bool>,
}

impl<'a> Batch<'a> {
    /// Distributes the sequences over the rows in an order that the seed and the epoch determine. A sequence longer
    /// than a row's share is cut into segments, each of which starts from a reset state.
    pub(super) fn new(
        sequences: &'a [TrainingSequence],
        splits: &'a [Split],
        network: &NetworkSpec,
        spec: &TrainSpec,
        epoch: usize,
    ) -> Self {
        let mut random = Pcg64::seed_from_u64(spec.seed.wrapping_add((epoch as u64).wrapping_mul(EPOCH_SEED)));
        let mut segments = match spec.replay {
            Some(replay) => replayed_segments(splits, replay, &mut random),
            None => all_segments(splits, spec),
        };
        for last in (1..segments.len()).rev() {
            // Fisher-Yates shuffle. The bias of the remainder is negligible for the order of segments.
            segments.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
        }
        let mut rows = vec![Row::default(); spec.batch_size.min(segments.len())];
        let mut shortest: std::collections::BinaryHeap<_> =
            (0..rows.len()).map(|row| std::cmp::Reverse((0, row))).collect();
        for segment in segments {
            if let Some(std::cmp::Reverse((length, row))) = shortest.pop() {
                let end = length + segment.to - segment.from;
                rows[row].segments.push(segment);
                rows[row].ends.push(end);
                shortest.push(std::cmp::Reverse((end, row)));
            }
        }
        let (inputs, targets) = (network.inputs, network.targets());
        let (burn_in, target_clip) = (spec.burn_in, spec.target_clip);
        let seed = spec.seed.wrapping_add((epoch as u64).wrapping_mul(EPOCH_SEED));
        let leads = (network.decoder > 0).then_some(LeadSample { seed, longest: targets });
        Self { sequences, splits, inputs, targets, leads, burn_in, target_clip, rows }
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }
    pub(super) fn steps(&self) -> usize {
        self.rows.iter().filter_map(|row| row.ends.last()).copied().max().unwrap_or(0)
    }

    /// The steps `from..to` of every row, with targets from step `targets_from` on. Beyond the end of a row the inputs
    /// are zero and there are no targets.
    pub(super) fn chunk(&self, from: usize, targets_from: usize, to: usize) -> Chunk {
        let (rows, inputs) = (self.row_count(), self.inputs);
        let count = if self.leads.is_some() { LEADS } else { self.targets };
        let mut features = vec![0.0; (to - from) * rows * inputs];
        let mut targets = vec![f32::NAN; (to - targets_from) * rows * count];
        let asked = if self.leads.is_some() { targets.len() } else { 0 };
        let mut queries = vec![0.0; asked * QUERY_FEATURES];
        let mut reset_mask = vec![false; (to - from) * rows];
        for (index, row) in self.rows.iter().enumerate() {
            let mut begin = 0;
            for (segment, end) in row.segments.iter().zip(&row.ends) {
                // The segment fills the steps `begin..end` of the row.
                let (first, last) = (begin.max(from), (*end).min(to));
                if first < last {
                    let sequence = &self.sequences[segment.sequence];
                    let at = |step: usize| segment.from + step - begin;
                    let into = |at: usize| (begin + at - segment.from - from) * rows + index;
                    let resets = sequence.resets();
                    let mut resets = resets[resets.partition_point(|reset| *reset < at(first))..].iter().peekable();
                    sequence.visit_features(at(first)..at(last), |at, values| {
                        let reset = resets.next_if(|reset| **reset == at).is_some();
                        reset_mask[into(at)] = reset || at == segment.from;
                        features[into(at) * inputs..][..inputs].copy_from_slice(values);
                    });
                    let settled = at(first.max(targets_from)).max(segment.from + self.burn_in);
                    let train_end = self.splits[segment.sequence].train_end;
                    let steps = settled..at(last).max(settled);
                    let into = |at: usize| (into(at) - (targets_from - from) * rows) * count;
                    sequence.visit_targets(steps.clone(), |at, values| {
                        let known = targets_before(values, at, train_end, sequence.leads_skipped(), self.target_clip);
                        let targets = &mut targets[into(at)..][..count];
                        match self.leads {
                            None => targets.iter_mut().zip(known).for_each(|(into, target)| *into = target),
                            Some(leads) => leads.pick(segment.sequence, at, known, targets),
                        }
                    });
                    if let Some(leads) = self.leads {
                        sequence.visit_queries(
                            steps,
                            |at| leads.at(segment.sequence, at),
                            |at, values| {
                                queries[into(at) * QUERY_FEATURES..][..values.len()].copy_from_slice(values);
                            },
                        );
                    }
                }
                begin = *end;
            }
        }
        Chunk { features, targets, queries, reset_mask }
    }
}

/// The whole training part, in segments no longer than a row's share.
fn all_segments(splits: &[Split], spec: &TrainSpec) -> Vec<Segment> {
    let total: usize = splits.iter().map(|split| split.train_end).sum();
    let longest = total.div_ceil(spec.batch_size).max(4 * spec.k2);
    let mut segments = Vec::new();
    for (sequence, split) in splits.iter().enumerate() {
        let count = split.train_end.div_ceil(longest);
        for index in 0..count {
            let at = |index: usize| split.train_end * index / count;
            segments.push(Segment { sequence, from: at(index), to: at(index + 1) });
        }
    }
    segments
}

/// The newest window of each sequence, and random older windows.
fn replayed_segments(splits: &[Split], replay: ExperienceReplay, random: &mut Pcg64) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (sequence, split) in splits.iter().enumerate().filter(|(_, split)| split.train_end > 0) {
        let newest = split.train_end.saturating_sub(replay.window);
        segments.push(Segment { sequence, from: newest, to: split.train_end });
        if let Some(starts) = (newest + 1).checked_sub(replay.window) {
            segments.extend((0..replay.old_windows).filter(|_| starts > 0).map(|_| {
                let from = (random.next_u64() % starts as u64) as usize;
                Segment { sequence, from, to: from + replay.window }
            }));
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NetworkSpec {
        NetworkSpec { hidden: 4, inputs: 1, horizon: 2, levels: 1, ..NetworkSpec::default() }
    }

    /// Each feature identifies its sequence and step; each target is the step that it predicts.
    fn sequence(index: usize, steps: usize) -> TrainingSequence {
        let features = (0..steps).map(|step| (index * 1000 + step + 1) as f32).collect();
        let known = |step: usize| if step < steps { step as f32 } else { f32::NAN };
        let targets = (0..steps).flat_map(|step| [known(step + 1), known(step + 2)]).collect();
        TrainingSequence::given([1, 2], features, targets, vec![0, 3])
    }

    /// Sequence and step of a feature.
    fn place(feature: f32) -> (usize, usize) {
        ((feature as usize - 1) / 1000, (feature as usize - 1) % 1000)
    }

    fn splits(sequences: &[TrainingSequence], spec: &TrainSpec) -> Vec<Split> {
        sequences.iter().map(|sequence| Split::new(sequence.len(), spec)).collect()
    }

    #[test]
    fn an_epoch_holds_every_training_step_once_and_no_validation_step() {
        let sequences = [sequence(0, 50), sequence(1, 7), sequence(2, 200), sequence(3, 1)];
        let splits = splits(&sequences, &TrainSpec::default());
        assert_eq!((splits[0].train_end, splits[0].selection_end, splits[0].steps), (40, 45, 50));
        let spec = TrainSpec { batch_size: 3, k1: 4, k2: 4, target_clip: f32::INFINITY, ..TrainSpec::default() };
        let batch = Batch::new(&sequences, &splits, &network(), &spec, 3);
        assert_eq!(batch.row_count(), 3);
        let chunk = batch.chunk(0, 0, batch.steps() + 2);
        let mut seen: Vec<usize> = chunk.features.iter().filter(|value| **value > 0.0).map(|v| *v as usize).collect();
        seen.sort_unstable();
        let expected: Vec<usize> = splits
            .iter()
            .enumerate()
            .flat_map(|(index, split)| (1..=split.train_end).map(move |step| index * 1000 + step))
            .collect();
        assert_eq!(seen, expected);
        for (at, feature) in chunk.features.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (index, step) = place(*feature);
            for ahead in 0..2 {
                let target = chunk.targets[at * 2 + ahead];
                let known = step + 1 + ahead < splits[index].train_end;
                assert_eq!(target.is_nan(), !known, "sequence {index} step {step} ahead {ahead}: {target}");
                assert!(!known || target == (step + 1 + ahead) as f32);
            }
            // The previous step of the row is the previous step of the sequence, or the state is reset.
            let before = at.checked_sub(batch.row_count()).map(|before| chunk.features[before]);
            assert!(chunk.reset_mask[at] || before == Some(feature - 1.0), "{feature}");
        }
        assert!(chunk.reset_mask.iter().filter(|reset| **reset).count() > 4);
        let other = Batch::new(&sequences, &splits, &network(), &spec, 4).chunk(0, 0, batch.steps() + 2);
        assert_ne!(other.features, chunk.features, "another epoch, another order");
        let part = batch.chunk(5, 7, 9);
        assert_eq!(part.features, chunk.features[5 * 3..9 * 3]);
        assert_eq!(part.reset_mask, chunk.reset_mask[5 * 3..9 * 3]);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&part.targets), bits(&chunk.targets[7 * 6..9 * 6]));
    }

    #[test]
    fn the_burn_in_of_a_segment_gives_no_loss_and_targets_are_clamped() {
        let sequences = [sequence(0, 50), sequence(1, 30)];
        let splits = splits(&sequences, &TrainSpec::default());
        let spec = TrainSpec { batch_size: 2, k1: 4, k2: 64, burn_in: 6, target_clip: 20.0, ..TrainSpec::default() };
        let batch = Batch::new(&sequences, &splits, &network(), &spec, 0);
        let chunk = batch.chunk(0, 0, batch.steps());
        for (at, feature) in chunk.features.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (index, step) = place(*feature);
            let target = chunk.targets[at * 2];
            let expected =
                if step < 6 || step + 1 >= splits[index].train_end { f32::NAN } else { (step as f32 + 1.0).min(20.0) };
            assert_eq!(target.to_bits(), expected.to_bits(), "step {step}: {target}");
        }
    }

    #[test]
    fn replay_trains_on_the_newest_windows_and_three_times_as_many_old_ones() {
        let sequences = [sequence(0, 500), sequence(1, 30)];
        let spec = TrainSpec { k1: 4, k2: 4, ..TrainSpec::default() }.incremental(10);
        let splits = splits(&sequences, &spec);
        let ends = (splits[0].train_end, splits[0].selection_end, splits[1].train_end);
        assert_eq!(ends, (492, 496, 24), "at most 8 steps are for validation");
        let batch = Batch::new(&sequences, &splits, &network(), &spec, 0);
        let segments: Vec<Segment> = batch.rows.iter().flat_map(|row| row.segments.clone()).collect();
        let of = |index: usize| segments.iter().filter(move |segment| segment.sequence == index);
        assert_eq!((of(0).count(), of(1).count()), (4, 1), "the short sequence has no room for old windows");
        assert!(segments.iter().all(|s| s.to - s.from == 16 && s.to <= splits[s.sequence].train_end));
        assert_eq!((of(0).filter(|segment| segment.to == 492).count(), of(1).next().unwrap().to), (1, 24));
        assert!(of(0).filter(|s| s.to < 492).all(|s| s.to <= 476), "old windows lie before the newest");
    }

    #[test]
    fn sequences_that_do_not_fit_the_network_are_rejected() {
        let network = network();
        assert_eq!(step_counts(&[sequence(0, 5), sequence(1, 0)], &network).unwrap(), [5, 0]);
        let other = TrainingSequence::given([1, 1], vec![0.0; 5], vec![0.0; 5], vec![0]);
        let error = step_counts(&[sequence(0, 5), other], &network).unwrap_err().to_string();
        assert!(error.starts_with("training: a step of sequence 1 has 1 features and 1 targets"), "{error}");
        let unordered = TrainingSequence::given([1, 2], vec![0.0; 5], vec![0.0; 10], vec![3, 3]);
        assert!(step_counts(&[unordered], &network).is_err());
    }
}
