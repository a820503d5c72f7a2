//! The step of a file, and jitter around it.

use crate::backtest::findings::Findings;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Steps that people choose, in milliseconds, up to a week.
#[rustfmt::skip]
const ROUND_STEPS: [i64; 45] = [
    1, 2, 4, 5, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 10_000, 12_000,
    15_000, 20_000, 30_000, MINUTE, 2 * MINUTE, 3 * MINUTE, 4 * MINUTE, 5 * MINUTE, 6 * MINUTE, 10 * MINUTE,
    12 * MINUTE, 15 * MINUTE, 20 * MINUTE, 30 * MINUTE, DAY / 24, DAY / 12, DAY / 8, DAY / 6, DAY / 4, DAY / 3, DAY / 2,
    DAY, 7 * DAY,
];
/// A round step explains a median within this share of it.
const ROUND_WITHIN: f64 = 0.1;
/// Stamps scatter around the grid by at most this share of the step.
const MAX_SCATTER: f64 = 0.25;

/// The steps between successive times of each track that are not equal.
fn steps(tracks: &[Vec<i64>]) -> impl Iterator<Item = i64> + '_ {
    tracks.iter().flat_map(|track| track.windows(2).map(|pair| pair[1] - pair[0])).filter(|step| *step > 0)
}

/// The median of these steps; `None` where time never advances.
pub(super) fn median_step(tracks: &[Vec<i64>]) -> Option<i64> {
    let mut steps: Vec<i64> = steps(tracks).collect();
    let middle = steps.len().checked_sub(1)? / 2;
    Some(*steps.select_nth_unstable(middle).1)
}

/// The step that is nearest to `median` and round, where the steps between times are near its multiples; `median`
/// where they are exact, or where no round step explains them.
pub(super) fn round_step(median: i64, tracks: &[Vec<i64>]) -> i64 {
    let (all, exact) = (steps(tracks).count(), steps(tracks).filter(|step| step % median == 0).count());
    let off = |round: i64| (median - round).abs() as f64 / round as f64;
    let nearest = ROUND_STEPS.into_iter().min_by(|one, other| off(*one).total_cmp(&off(*other))).unwrap_or(median);
    if 10 * exact >= 9 * all || off(nearest) > ROUND_WITHIN {
        return median;
    }
    let near = |step: &i64| {
        let multiple = ((step + nearest / 2) / nearest).max(1) * nearest;
        (step - multiple).abs() as f64 <= MAX_SCATTER * nearest as f64
    };
    if steps(tracks).filter(near).count() * 10 >= 9 * all { nearest } else { median }
}

/// How the stamps of a track lie on a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phase {
    /// The middle of the stamps within a step.
    pub center: i64,
    /// How far 19 in 20 stamps lie from it at most.
    pub scatter: i64,
}

impl Phase {
    /// The phase of ascending times; `None` where they scatter over the whole step.
    pub fn of(times: &[i64], interval: i64) -> Option<Self> {
        let wrap = |distance: i64| (distance + interval / 2).rem_euclid(interval) - interval / 2;
        let mut center = times.first()?.rem_euclid(interval);
        let mut distances: Vec<i64> = Vec::with_capacity(times.len());
        // The second pass no longer depends on the first time.
        for _ in 0..2 {
            distances.clear();
            distances.extend(times.iter().map(|time| wrap(time.rem_euclid(interval) - center)));
            let middle = distances.len() / 2;
            center = (center + *distances.select_nth_unstable(middle).1).rem_euclid(interval);
        }
        distances.clear();
        distances.extend(times.iter().map(|time| wrap(time.rem_euclid(interval) - center).abs()));
        let most = (distances.len() - 1) * 19 / 20;
        let scatter = *distances.select_nth_unstable(most).1;
        // A grid from the start of a minute or an hour is likelier than one a little off.
        let from_edge = center.min(interval - center);
        let center = if from_edge <= scatter { 0 } else { center };
        ((scatter as f64) <= MAX_SCATTER * interval as f64).then_some(Self { center, scatter })
    }

    /// The point of the grid nearest to a time.
    pub fn nearest(self, time: i64, interval: i64) -> i64 {
        (time - self.center + interval / 2).div_euclid(interval) * interval + self.center
    }
}

/// Number of times in the slot of the time before.
pub(super) fn doubled(times: impl Iterator<Item = i64>, interval: i64) -> usize {
    let mut before = None;
    times.filter(|time| before.replace(time.div_euclid(interval)) == Some(time.div_euclid(interval))).count()
}

/// Moves the ascending times of each track to the nearest points of a grid of `interval`, where jitter around the edge
/// of a slot would double some slots and leave others empty.
pub(super) fn move_to_grid(tracks: &mut [Vec<i64>], interval: i64, findings: &mut Findings) -> bool {
    let (mut moved, mut widest) = (false, 0);
    for track in tracks {
        let Some(phase) = Phase::of(track, interval).filter(|phase| phase.scatter > 0) else { continue };
        let nearest = |time: &i64| phase.nearest(*time, interval);
        let now = doubled(track.iter().copied(), interval);
        if now > 0 && doubled(track.iter().map(nearest), interval) < now {
            track.iter_mut().for_each(|time| *time = phase.nearest(*time, interval));
            widest = widest.max(phase.scatter);
            moved = true;
        }
    }
    if moved {
        findings.say(
            format!("jitter: each time taken as the nearest of the grid; most lie within {widest} ms of it"),
            "otherwise two readings would lie in one step, and none in the next".into(),
        );
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes with a jitter of up to 400 ms around a phase.
    fn jittered(phase: i64) -> Vec<i64> {
        (0..1500).map(|row| MINUTE * row + phase + (row * 7919 + row * row * 31) % 801 - 400).collect()
    }

    #[test]
    fn a_round_step_explains_jitter() {
        for phase in [0, 30_000, 59_900] {
            let tracks = [jittered(phase)];
            let median = median_step(&tracks).unwrap();
            assert_eq!(round_step(median, &tracks), MINUTE);
        }
        let exact = [(0..100).map(|row| 60_008 * row).collect::<Vec<i64>>()];
        assert_eq!(round_step(60_008, &exact), 60_008);
        let irregular = [(0..300).map(|row: i64| 1000 * row * row / 7).collect::<Vec<i64>>()];
        let median = median_step(&irregular).unwrap();
        assert_eq!(round_step(median, &irregular), median);
        assert_eq!(median_step(&[vec![5, 5]]), None);
    }

    #[test]
    fn jitter_neither_doubles_nor_drops_readings() {
        for phase in [0, 30_000, 59_700] {
            let mut tracks = [jittered(phase)];
            let moved = move_to_grid(&mut tracks, MINUTE, &mut Findings::default());
            assert_eq!(moved, phase != 30_000);
            let slots: Vec<i64> = tracks[0].iter().map(|time| time.div_euclid(MINUTE)).collect();
            assert!(slots.windows(2).all(|pair| pair[1] == pair[0] + 1), "{phase}");
        }
        let mut doubled = [vec![0, 10, MINUTE, MINUTE + 10]];
        assert!(!move_to_grid(&mut doubled, MINUTE, &mut Findings::default()), "these are two readings of a minute");
    }
}
