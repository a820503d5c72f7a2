//! Lanes laid out for training: what is held out, and rows of equal length that run side by side.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::lanes::TrainingSequence;
use super::spec::{Replay, TrainError, TrainSpec};
use crate::nn::NetworkSpec;

/// What sets the seeds of successive passes apart: an odd number with bits all over (the golden ratio's).
const PASS: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sizes that lanes have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub inputs: usize,
    pub targets: usize,
}

/// A lane cut in three: `[0, trained)` is learnt from, `[trained, chosen)` chooses among the weights on the way and
/// `[chosen, steps)` judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub trained: usize,
    pub chosen: usize,
    pub steps: usize,
}

impl Cut {
    pub(super) fn new(steps: usize, spec: &TrainSpec) -> Self {
        let held = ((steps as f64 * spec.validation_share).ceil() as usize).min(steps).min(spec.max_validation_steps);
        Self { trained: steps - held, chosen: steps - held / 2, steps }
    }
}

/// Steps of a lane, once its sizes fit the network.
///
/// # Errors
/// Which lane does not fit, and how.
pub(super) fn steps(lanes: &[TrainingSequence], network: &NetworkSpec) -> Result<Vec<usize>, TrainError> {
    let fit = |(at, lane): (usize, &TrainingSequence)| {
        let steps = lane.features.len() / network.inputs;
        let whole = steps * network.inputs == lane.features.len() && steps * network.targets() == lane.targets.len();
        let ordered = lane.resets.windows(2).all(|pair| pair[0] < pair[1]);
        if whole && ordered {
            return Ok(steps);
        }
        Err(TrainError::Invalid(format!(
            "lane {at} has {} features and {} targets, expected the same number of steps of {} and {}, and starts in \
             order",
            lane.features.len(),
            lane.targets.len(),
            network.inputs,
            network.targets()
        )))
    };
    lanes.iter().enumerate().map(fit).collect()
}

/// The `count` targets of step `step` as they may be used by whoever sees the values of the steps before `end` only, cut
/// to plus and minus `clip`.
pub(super) fn targets_before<'a>(
    lane: &'a TrainingSequence,
    step: usize,
    end: usize,
    count: usize,
    clip: f32,
) -> impl Iterator<Item = f32> + 'a {
    let known = end.saturating_sub(step + 1 + lane.leads_skipped);
    lane.targets[step * count..(step + 1) * count]
        .iter()
        .enumerate()
        .map(move |(ahead, target)| if ahead < known { target.clamp(-clip, clip) } else { f32::NAN })
}

/// A stretch of the trained part of a lane.
#[derive(Debug, Clone, Copy)]
struct Piece {
    lane: usize,
    from: usize,
    to: usize,
}

/// One row of the batch: pieces one after the other.
#[derive(Debug, Clone, Default)]
struct Track {
    pieces: Vec<Piece>,
    /// Where each piece ends on the track.
    ends: Vec<usize>,
}

/// All rows of the batch, for one pass over the lanes.
#[derive(Debug)]
pub(super) struct Tracks<'a> {
    lanes: &'a [TrainingSequence],
    cuts: &'a [Cut],
    sizes: Sizes,
    burn_in: usize,
    target_clip: f32,
    tracks: Vec<Track>,
}

/// A window of the tracks: inputs, targets and starts, `[step][row]`.
pub(super) struct Window {
    pub features: Vec<f32>,
    pub targets: Vec<f32>,
    pub starts: Vec<bool>,
}

impl<'a> Tracks<'a> {
    /// Spreads the lanes over the rows in an order that follows from the seed and the pass. A lane that is longer than a
    /// row's share is cut into pieces, each of which begins anew.
    pub(super) fn new(
        lanes: &'a [TrainingSequence],
        cuts: &'a [Cut],
        sizes: Sizes,
        spec: &TrainSpec,
        epoch: usize,
    ) -> Self {
        let mut random = Pcg64::seed_from_u64(spec.seed.wrapping_add((epoch as u64).wrapping_mul(PASS)));
        let mut pieces = match spec.replay {
            Some(replay) => replayed(cuts, replay, &mut random),
            None => all(cuts, spec),
        };
        for last in (1..pieces.len()).rev() {
            // The bias of the remainder is far below anything that an order of lanes could show.
            pieces.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
        }
        let mut tracks = vec![Track::default(); spec.batch_size.min(pieces.len())];
        let mut shortest: std::collections::BinaryHeap<_> =
            (0..tracks.len()).map(|track| std::cmp::Reverse((0, track))).collect();
        for piece in pieces {
            if let Some(std::cmp::Reverse((length, track))) = shortest.pop() {
                let end = length + piece.to - piece.from;
                tracks[track].pieces.push(piece);
                tracks[track].ends.push(end);
                shortest.push(std::cmp::Reverse((end, track)));
            }
        }
        Self { lanes, cuts, sizes, burn_in: spec.burn_in, target_clip: spec.target_clip, tracks }
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.tracks.len()
    }

    /// Steps of the longest row.
    pub(super) fn steps(&self) -> usize {
        self.tracks.iter().filter_map(|track| track.ends.last()).copied().max().unwrap_or(0)
    }

    /// The steps `from..to` of every row, with targets from `learn` on. Beyond the end of a row its inputs are zero and
    /// there are no targets.
    pub(super) fn window(&self, from: usize, learn: usize, to: usize) -> Window {
        let (rows, Sizes { inputs, targets: horizon }) = (self.rows(), self.sizes);
        let mut features = vec![0.0; (to - from) * rows * inputs];
        let mut targets = vec![f32::NAN; (to - learn) * rows * horizon];
        let mut starts = vec![false; (to - from) * rows];
        for (row, track) in self.tracks.iter().enumerate() {
            for step in from..to.min(track.ends.last().copied().unwrap_or(0)) {
                let index = track.ends.partition_point(|end| *end <= step);
                let piece = track.pieces[index];
                let at = piece.to - (track.ends[index] - step);
                let lane = &self.lanes[piece.lane];
                let into = (step - from) * rows + row;
                starts[into] = at == piece.from || lane.resets.binary_search(&at).is_ok();
                features[into * inputs..][..inputs].copy_from_slice(&lane.features[at * inputs..][..inputs]);
                if step >= learn && at >= piece.from + self.burn_in {
                    let into = ((step - learn) * rows + row) * horizon;
                    let known = targets_before(lane, at, self.cuts[piece.lane].trained, horizon, self.target_clip);
                    targets[into..].iter_mut().zip(known).for_each(|(into, target)| *into = target);
                }
            }
        }
        Window { features, targets, starts }
    }
}

/// All that is learnt from, in pieces no longer than a row's share.
fn all(cuts: &[Cut], spec: &TrainSpec) -> Vec<Piece> {
    let total: usize = cuts.iter().map(|cut| cut.trained).sum();
    let longest = total.div_ceil(spec.batch_size).max(4 * spec.k2);
    let mut pieces = Vec::new();
    for (lane, cut) in cuts.iter().enumerate() {
        let count = cut.trained.div_ceil(longest);
        for piece in 0..count {
            let at = |piece: usize| cut.trained * piece / count;
            pieces.push(Piece { lane, from: at(piece), to: at(piece + 1) });
        }
    }
    pieces
}

/// The newest window of each lane, and older ones from anywhere before it.
fn replayed(cuts: &[Cut], replay: Replay, random: &mut Pcg64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (lane, cut) in cuts.iter().enumerate().filter(|(_, cut)| cut.trained > 0) {
        let newest = cut.trained.saturating_sub(replay.window);
        pieces.push(Piece { lane, from: newest, to: cut.trained });
        if let Some(starts) = (newest + 1).checked_sub(replay.window) {
            pieces.extend((0..replay.old).filter(|_| starts > 0).map(|_| {
                let from = (random.next_u64() % starts as u64) as usize;
                Piece { lane, from, to: from + replay.window }
            }));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { inputs: 1, targets: 2 };

    /// Features that tell lane and step; targets that tell the step they lie in.
    fn lane(lane: usize, steps: usize) -> TrainingSequence {
        let features = (0..steps).map(|step| (lane * 1000 + step + 1) as f32).collect();
        let known = |step: usize| if step < steps { step as f32 } else { f32::NAN };
        let targets = (0..steps).flat_map(|step| [known(step + 1), known(step + 2)]).collect();
        TrainingSequence { features, targets, leads_skipped: 0, resets: vec![0, 3] }
    }

    #[test]
    fn every_trained_step_is_seen_once_and_nothing_of_what_is_held_out() {
        let lanes = [lane(0, 50), lane(1, 7), lane(2, 200), lane(3, 1)];
        let cuts: Vec<Cut> = lanes.iter().map(|lane| Cut::new(lane.features.len(), &TrainSpec::default())).collect();
        assert_eq!((cuts[0].trained, cuts[0].chosen, cuts[0].steps), (40, 45, 50));
        let spec = TrainSpec { batch_size: 3, k1: 4, k2: 4, target_clip: f32::INFINITY, ..TrainSpec::default() };
        let tracks = Tracks::new(&lanes, &cuts, SIZES, &spec, 3);
        assert_eq!(tracks.rows(), 3);
        let window = tracks.window(0, 0, tracks.steps() + 2);
        let mut seen: Vec<usize> = window.features.iter().filter(|value| **value > 0.0).map(|v| *v as usize).collect();
        seen.sort_unstable();
        let expected: Vec<usize> = cuts
            .iter()
            .enumerate()
            .flat_map(|(lane, cut)| (1..=cut.trained).map(move |step| lane * 1000 + step))
            .collect();
        assert_eq!(seen, expected);
        for (at, feature) in window.features.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (lane, step) = ((*feature as usize - 1) / 1000, (*feature as usize - 1) % 1000);
            for ahead in 0..2 {
                let target = window.targets[at * 2 + ahead];
                let learnt = step + 1 + ahead < cuts[lane].trained;
                assert_eq!(target.is_nan(), !learnt, "lane {lane} step {step} ahead {ahead}: {target}");
                assert!(!learnt || target == (step + 1 + ahead) as f32);
            }
            // A row's step before this one is the lane's step before it, or this is a start.
            let before = at.checked_sub(tracks.rows()).map(|before| window.features[before]);
            assert!(window.starts[at] || before == Some(feature - 1.0), "{feature}");
        }
        assert!(window.starts.iter().filter(|start| **start).count() > 4);
        let other = Tracks::new(&lanes, &cuts, SIZES, &spec, 4).window(0, 0, tracks.steps() + 2);
        assert_ne!(other.features, window.features, "another pass, another order");
        let part = tracks.window(5, 7, 9);
        assert_eq!(part.features, window.features[5 * 3..9 * 3]);
        assert_eq!(part.starts, window.starts[5 * 3..9 * 3]);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&part.targets), bits(&window.targets[7 * 6..9 * 6]));
    }

    #[test]
    fn the_first_steps_of_a_piece_give_no_loss_and_targets_are_cut() {
        let lanes = [lane(0, 50), lane(1, 30)];
        let cuts: Vec<Cut> = lanes.iter().map(|lane| Cut::new(lane.features.len(), &TrainSpec::default())).collect();
        let spec = TrainSpec { batch_size: 2, k1: 4, k2: 64, burn_in: 6, target_clip: 20.0, ..TrainSpec::default() };
        let tracks = Tracks::new(&lanes, &cuts, SIZES, &spec, 0);
        let window = tracks.window(0, 0, tracks.steps());
        for (at, feature) in window.features.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let step = (*feature as usize - 1) % 1000;
            let target = window.targets[at * 2];
            let expected = if step < 6 || step + 1 >= cuts[(*feature as usize - 1) / 1000].trained {
                f32::NAN
            } else {
                (step as f32 + 1.0).min(20.0)
            };
            assert_eq!(target.to_bits(), expected.to_bits(), "step {step}: {target}");
        }
    }

    #[test]
    fn replay_learns_from_the_newest_windows_and_three_times_as_many_old_ones() {
        let lanes = [lane(0, 500), lane(1, 30)];
        let spec = TrainSpec { k1: 4, k2: 4, ..TrainSpec::default() }.incremental(10);
        let cuts: Vec<Cut> = lanes.iter().map(|lane| Cut::new(lane.features.len(), &spec)).collect();
        assert_eq!((cuts[0].trained, cuts[0].chosen, cuts[1].trained), (492, 496, 24), "8 steps at most are held out");
        let tracks = Tracks::new(&lanes, &cuts, SIZES, &spec, 0);
        let pieces: Vec<Piece> = tracks.tracks.iter().flat_map(|track| track.pieces.clone()).collect();
        let of = |lane: usize| pieces.iter().filter(move |piece| piece.lane == lane);
        assert_eq!((of(0).count(), of(1).count()), (4, 1), "the short lane has no room for old ones");
        assert!(pieces.iter().all(|piece| piece.to - piece.from == 16 && piece.to <= cuts[piece.lane].trained));
        assert_eq!((of(0).filter(|piece| piece.to == 492).count(), of(1).next().unwrap().to), (1, 24));
        assert!(of(0).filter(|piece| piece.to < 492).all(|piece| piece.to <= 476), "old ones lie before the newest");
    }

    #[test]
    fn lanes_that_do_not_fit_are_named() {
        let network = NetworkSpec { hidden: 4, inputs: 1, horizon: 2, levels: 1, ..NetworkSpec::default() };
        assert_eq!(steps(&[lane(0, 5), lane(1, 0)], &network).unwrap(), [5, 0]);
        let short = TrainingSequence { targets: vec![0.0; 9], ..lane(0, 5) };
        let error = steps(&[lane(0, 5), short], &network).unwrap_err().to_string();
        assert!(error.starts_with("training: lane 1 has 5 features and 9 targets"), "{error}");
        assert!(steps(&[TrainingSequence { resets: vec![3, 3], ..lane(0, 5) }], &network).is_err());
    }
}
