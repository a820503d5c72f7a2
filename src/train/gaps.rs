//! Windows with gaps: masked values, linear interpolation across them, and the inputs of the imputer.

use std::ops::Range;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::RngCore;

use crate::series::sine;

/// Inputs of the imputer for one step: the value (0 where it is missing), whether it is present, the interpolated
/// value; the steps since the last and until the next value; sine and cosine of the phase of the season (0 without
/// one). Values are in the window's scale, steps in units of the longest gap.
pub(super) const INPUTS: usize = 7;
/// The least steps of a window: enough to estimate a scale where gaps are short.
const MIN_WINDOW: usize = 48;

/// The lengths of gaps in steps, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gaps {
    /// The shortest gap; at least 1.
    pub shortest: usize,
    /// The longest gap; at least as long.
    pub longest: usize,
}

/// Values of a series in successive slots.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GapSegment {
    /// The slot of the first value.
    pub first: i64,
    /// NaN where a value is missing.
    pub values: Vec<f64>,
}

impl Gaps {
    /// The longest gap allowed: its window has the most steps that a training chunk may have.
    pub const LONGEST: usize = 1024;

    /// Steps of a window: four times the longest gap, so that the values around a gap fit in.
    pub fn window(self) -> usize {
        (4 * self.longest).max(MIN_WINDOW)
    }

    /// Draws gaps within `steps`, in order. Their lengths are uniform, and so are the distances between them, from one
    /// to three times the longest gap. The last step is never masked.
    pub fn draw(self, random: &mut Pcg64, steps: Range<usize>) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut at = steps.start + uniform(random, 1, 3 * self.longest);
        loop {
            let end = at + uniform(random, self.shortest, self.longest);
            if end >= steps.end {
                return gaps;
            }
            gaps.push(at..end);
            at = end + uniform(random, self.longest, 3 * self.longest);
        }
    }
}

/// A random number from `min` to `max`, inclusive.
pub(super) fn uniform(random: &mut Pcg64, min: usize, max: usize) -> usize {
    let choices = (max - min + 1) as u64;
    min + (random.next_u64() % choices) as usize
}

/// The values, with NaN in the gaps.
pub fn mask_gaps(values: &[f64], gaps: &[Range<usize>]) -> Vec<f64> {
    let mut seen = values.to_vec();
    gaps.iter().for_each(|gap| seen[gap.clone()].fill(f64::NAN));
    seen
}

/// Linear interpolation between the values that are present (not NaN). Constant before the first and after the last;
/// all NaN where there is none.
pub fn interpolate(seen: &[f64]) -> Vec<f64> {
    let mut line = seen.to_vec();
    let mut before: Option<usize> = None;
    for at in (0..seen.len()).filter(|at| !seen[*at].is_nan()) {
        match before {
            None => line[..at].fill(seen[at]),
            Some(before) => {
                let (from, rise, steps) = (seen[before], seen[at] - seen[before], (at - before) as f64);
                for (step, value) in (1..).zip(&mut line[before + 1..at]) {
                    *value = from + rise * (f64::from(step) / steps);
                }
            }
        }
        before = Some(at);
    }
    if let Some(last) = before {
        line[last..].fill(seen[last]);
    }
    line
}

/// A window as the imputer sees it: computed from present values only.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// `[steps, INPUTS]`
    pub(super) inputs: Vec<f32>,
    /// `[steps]`: the interpolated values.
    pub(super) line: Vec<f64>,
    /// The standard deviation of the present values: positive.
    pub(super) scale: f64,
}

impl Window {
    /// A window of `seen` values (NaN where missing) in successive slots from `first` on, with their interpolation
    /// `line` and a `season` in steps (0 for none). `None` where no value is present.
    pub fn new(gaps: Gaps, season: usize, first: i64, seen: &[f64], line: &[f64]) -> Option<Self> {
        let known = || seen.iter().filter(|value| !value.is_nan());
        let count = known().count() as f64;
        if count == 0.0 {
            return None;
        }
        let centre = known().map(|value| value / count).sum::<f64>();
        let deviation = known().map(|value| (value - centre).powi(2) / count).sum::<f64>().sqrt();
        // For a constant series the interpolation is exact but for rounding; the floor keeps the division finite.
        let scale = deviation.max(1e-9 * centre.abs()).max(1e-100);
        let scaled = |value: f64| ((value - centre) / scale) as f32;
        let steps_without_value = |values: &mut dyn Iterator<Item = &f64>| {
            let mut steps = seen.len();
            let count = values.map(|value| {
                steps = if value.is_nan() { (steps + 1).min(seen.len()) } else { 0 };
                steps as f32 / gaps.longest as f32
            });
            count.collect::<Vec<f32>>()
        };
        let (since, until) = (steps_without_value(&mut seen.iter()), steps_without_value(&mut seen.iter().rev()));
        let mut inputs = Vec::with_capacity(seen.len() * INPUTS);
        for (step, (value, since)) in seen.iter().zip(since).enumerate() {
            let present = !value.is_nan();
            let phase = match i64::try_from(season) {
                Ok(season) if season > 1 => {
                    let turn = (first + step as i64).rem_euclid(season) as f32 / season as f32;
                    [sine(turn), sine(turn + 0.25)]
                }
                _ => [0.0; 2],
            };
            let value = if present { scaled(*value) } else { 0.0 };
            inputs.extend([
                value,
                f32::from(u8::from(present)),
                scaled(line[step]),
                since,
                until[seen.len() - 1 - step],
            ]);
            inputs.extend(phase);
        }
        Some(Self { inputs, line: line.to_vec(), scale })
    }
}

#[cfg(test)]
mod tests {
    use rand_pcg::rand_core::SeedableRng;

    use super::*;

    const NONE: f64 = f64::NAN;

    #[test]
    fn interpolation_matches_values_computed_by_hand() {
        let line = interpolate(&[NONE, 2.0, NONE, NONE, 8.0, 7.0, NONE]);
        assert_eq!(line, [2.0, 2.0, 4.0, 6.0, 8.0, 7.0, 7.0]);
        assert!(interpolate(&[NONE, NONE]).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn gaps_have_the_given_lengths_and_distances_and_depend_on_the_seed() {
        let gaps = Gaps { shortest: 2, longest: 5 };
        let draw = |seed| gaps.draw(&mut Pcg64::seed_from_u64(seed), 100..1100);
        let drawn = draw(1);
        assert!(drawn[0].start > 100 && drawn.last().unwrap().end < 1100, "{drawn:?}");
        assert!(drawn.windows(2).all(|pair| (5..=15).contains(&(pair[1].start - pair[0].end))));
        let lengths: std::collections::BTreeSet<usize> = drawn.iter().map(Range::len).collect();
        assert_eq!(lengths, [2, 3, 4, 5].into());
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        assert!(gaps.draw(&mut Pcg64::seed_from_u64(1), 7..9).is_empty());
    }

    #[test]
    fn a_window_matches_values_computed_by_hand() {
        let gaps = Gaps { shortest: 1, longest: 2 };
        let seen = [3.0, NONE, NONE, 5.0];
        let window = Window::new(gaps, 4, 8, &seen, &interpolate(&seen)).unwrap();
        assert_eq!(window.scale, 1.0, "mean 4, both values at distance 1");
        let step = |at: usize| &window.inputs[at * INPUTS..][..INPUTS - 2];
        assert_eq!(step(0), [-1.0, 1.0, -1.0, 0.0, 0.0]);
        assert_eq!(step(2)[..2], [0.0, 0.0]);
        assert!((step(2)[2] - 1.0 / 3.0).abs() < 1e-6 && step(2)[3..] == [1.0, 0.5], "{:?}", step(2));
        let phase: Vec<&[f32]> = window.inputs.chunks(INPUTS).map(|step| &step[INPUTS - 2..]).collect();
        let quarters = [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]];
        for (ours, expected) in phase.into_iter().zip(quarters) {
            assert!((0..2).all(|at| (ours[at] - expected[at]).abs() < 1e-5), "{ours:?} {expected:?}");
        }
        assert_eq!(Window::new(gaps, 0, 0, &[NONE; 3], &[NONE; 3]), None);
    }
}
