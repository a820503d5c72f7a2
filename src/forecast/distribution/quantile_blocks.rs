//! Arithmetic on quantile deviations: blocks of levels for vector instructions, and order without crossing.

/// Levels per block: arrays of this length compile to vector instructions.
pub(super) const BLOCK: usize = 8;

/// One value for each level of a block.
pub(super) type Levels = [f32; BLOCK];

/// What is learned of a block of levels at one lead.
#[derive(Clone, Copy, Default)]
pub(super) struct LearnedBlock {
    /// Deviations of the quantiles from the median.
    pub deviation: Levels,
    /// 1 divided by the network's mean spread; 0 where it has none.
    pub inverse_spread: Levels,
}

/// The distances of the first values from `centre`. Entries after the last level are not used.
#[inline]
pub(super) fn distances(values: &[f32], centre: f32) -> Levels {
    let padded = || {
        let mut levels = Levels::default();
        levels.iter_mut().zip(values).for_each(|(level, value)| *level = *value);
        levels
    };
    values.first_chunk().copied().unwrap_or_else(padded).map(|value| (value - centre).abs())
}

impl LearnedBlock {
    /// What lies between two leads; `share` is the weight of `other`.
    #[inline]
    pub fn interpolate(&self, other: &Self, share: f32) -> Self {
        let between =
            |low: &Levels, high: &Levels| std::array::from_fn(|level| low[level] + share * (high[level] - low[level]));
        Self {
            deviation: between(&self.deviation, &other.deviation),
            inverse_spread: between(&self.inverse_spread, &other.inverse_spread),
        }
    }

    /// The network's `spread` relative to its mean, at most `max_ratio` from 1 either way; `otherwise` where it has
    /// none.
    #[inline]
    pub fn relative_spread(&self, spread: &Levels, max_ratio: f32, otherwise: f32) -> Levels {
        std::array::from_fn(|level| {
            // In this order of arguments a spread of NaN becomes the smallest ratio.
            let ratio = smaller(larger(spread[level] * self.inverse_spread[level], 1.0 / max_ratio), max_ratio);
            if self.inverse_spread[level] > 0.0 { ratio } else { otherwise }
        })
    }
}

/// The larger value, or the second where the first is NaN; one instruction, unlike `f32::max`.
#[inline]
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// The smaller value, or the second where the first is NaN.
#[inline]
fn smaller(one: f32, other: f32) -> f32 {
    if one < other { one } else { other }
}

/// Visits each level with its deviation from the median such that no quantiles cross: outward from the median, which
/// has deviation 0, each at least as far out as the one before.
#[inline]
pub(in crate::forecast) fn for_each_without_crossing(
    median: usize,
    deviations: &[f32],
    mut visit: impl FnMut(usize, f32),
) {
    visit(median, 0.0);
    let mut outermost = 0.0;
    for level in (0..median).rev() {
        outermost = smaller(deviations[level], outermost);
        visit(level, outermost);
    }
    outermost = 0.0;
    for (level, deviation) in deviations.iter().enumerate().skip(median + 1) {
        outermost = larger(*deviation, outermost);
        visit(level, outermost);
    }
}
