//! How rare a size is among all that came before.

use serde::{Deserialize, Serialize};

use super::experts::all_finite;
use crate::series::{exponential, logarithm};

/// Share of sizes that are beyond the tracked quantile.
const BEYOND: f32 = 0.02;
/// Memory of the quantile and of the mean, in sizes: long, so that a series is judged by more than its last days.
const MEMORY: u32 = 2000;
/// Memory of the excesses.
const EXCESSES: u32 = 100;
/// Sizes before which nothing is called rare.
const KNOWN_FROM: u32 = 40;
/// Of so many the quantile begins as the largest.
const FIRST: u32 = 5;
/// How many of the largest sizes are remembered.
const LARGEST: usize = 8;
/// A size that is larger by this share than one that was seen is news beside it; one that is hardly larger is not.
const LARGER: f32 = 0.2;
/// The heaviest tail that is assumed: beyond it the second moment means nothing.
const HEAVIEST: f32 = 0.5;
/// An excess counts for at most this many usual ones when the tail is learnt.
const CLIP: f32 = 30.0;
/// How far the quantile moves with one size, in mean sizes, and at least in what share of that.
const PACE: f32 = 3.0;
const SLOWEST: f32 = 0.005;

/// Tells of sizes, none negative, how rare they are: peaks over a threshold (a generalised Pareto distribution of what lies
/// beyond a quantile, by the method of moments; Siffer and others, KDD 2017), but nothing is rarer than the times that as much
/// was seen. A daily spike is no news, however few of all values it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Rarity {
    seen: u32,
    mean: f32,
    quantile: f32,
    beyond: u32,
    /// Mean excess over the quantile, and mean square of it.
    excess: f32,
    square: f64,
    /// Descending.
    largest: [f32; LARGEST],
}

impl Rarity {
    /// The probability that a size is as large as this one, by what came before; then learns from it.
    pub fn take(&mut self, size: f32) -> f32 {
        let probability = if self.seen < KNOWN_FROM { 1.0 } else { self.probability(size) };
        self.learn(size);
        probability
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        self.beyond <= EXCESSES
            && all_finite(&[self.mean, self.quantile, self.excess])
            && self.square.is_finite()
            && all_finite(&self.largest)
    }

    fn probability(&self, size: f32) -> f32 {
        if size <= self.quantile {
            return 1.0;
        }
        let mean = self.excess.max(1e-3 * self.mean).max(f32::MIN_POSITIVE);
        // In usual excesses.
        let variance = (self.square / (f64::from(mean) * f64::from(mean)) - 1.0).max(1e-6) as f32;
        let excess = (size - self.quantile) / mean;
        let shape = (0.5 * (1.0 - 1.0 / variance)).clamp(0.0, HEAVIEST);
        let rarer =
            if shape < 0.01 { excess } else { logarithm((1.0 + shape * excess / (1.0 - shape)).min(f32::MAX)) / shape };
        let seen: f32 = self.largest.iter().map(|seen| alike(size, *seen)).sum();
        (BEYOND * exponential(-rarer)).max((seen / self.seen as f32).min(1.0))
    }

    fn learn(&mut self, size: f32) {
        self.seen = self.seen.saturating_add(1);
        let memory = self.seen.min(MEMORY) as f32;
        self.mean += (size - self.mean) / memory;
        let last = LARGEST - 1;
        if size > self.largest[last] {
            self.largest[last] = size;
            self.largest.sort_unstable_by(|one, other| other.total_cmp(one));
        }
        if self.seen < FIRST {
            self.quantile = self.quantile.max(size);
        }
        let step = PACE * self.mean * (0.5 / memory.sqrt()).max(SLOWEST);
        if size > self.quantile {
            let bound = if self.seen > KNOWN_FROM { CLIP * self.excess.max(self.mean) } else { f32::INFINITY };
            let excess = (size - self.quantile).min(bound);
            self.beyond = (self.beyond + 1).min(EXCESSES);
            let weight = 1.0 / self.beyond as f32;
            self.excess += weight * (excess - self.excess);
            self.square += f64::from(weight) * (f64::from(excess) * f64::from(excess) - self.square);
            self.quantile += step * (1.0 - BEYOND);
        } else {
            self.quantile = (self.quantile - step * BEYOND).max(0.0);
        }
    }
}

/// How far a size is as one that was seen: 1 where it is no larger, 0 where it is clearly larger.
fn alike(size: f32, seen: f32) -> f32 {
    if seen > 0.0 { (1.0 - (size / seen - 1.0) / LARGER).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between 0 and 1, the same every time.
    fn share(step: u32) -> f32 {
        let bits = (u64::from(step) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }

    #[test]
    fn probabilities_come_as_often_as_they_say() {
        for heavy in [false, true] {
            let mut rarity = Rarity::default();
            let size = |step: u32| {
                let uniform = share(step).max(1e-7);
                if heavy { uniform.powf(-0.3) } else { -uniform.ln() }
            };
            let told: Vec<f32> = (0..200_000).map(|step| rarity.take(size(step))).collect();
            for limit in [0.01, 0.003, 0.001] {
                let came = told.iter().filter(|told| **told <= limit).count() as f32 / told.len() as f32;
                assert!((0.3..2.0).contains(&(came / limit)), "heavy {heavy}, {limit}: {came}");
            }
        }
    }

    #[test]
    fn what_comes_every_day_is_no_news_and_what_never_came_is() {
        let mut rarity = Rarity::default();
        let size = |step: u32| if step % 288 == 200 { 50.0 + share(step) } else { share(step) };
        let told: Vec<f32> = (0..4000).map(|step| rarity.take(size(step))).collect();
        assert!(
            told[2000..].iter().all(|told| *told > 1.0 / 1000.0),
            "{:?}",
            told[2000..].iter().copied().reduce(f32::min)
        );
        assert!(rarity.take(100.0) < 1e-4);
        assert!(rarity.take(100.0) > 1e-4, "not the second time");
    }

    #[test]
    fn nothing_is_rare_in_the_beginning_or_without_sizes() {
        let mut rarity = Rarity::default();
        assert!((0..KNOWN_FROM).all(|step| rarity.take(share(step)) == 1.0));
        let mut still = Rarity::default();
        assert!((0..1000).all(|_| still.take(0.0) == 1.0));
        assert!(still.take(1e-30) < 0.01 && still.take(1e30).is_finite() && still.take(1e30).is_finite());
    }
}
