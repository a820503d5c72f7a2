//! Running means at the phases of a season.

use serde::{Deserialize, Serialize};

use crate::forecast::numeric::all_finite;
use crate::series::clone_in_place;

/// A bin that is far from the mean of all values varies more: by this share of its distance, at least.
const RELATIVE_BOUND: f32 = 0.5;
/// Visits that the mean of other days counts for.
const PRIOR_VISITS: f32 = 1.0;

/// A running mean for each bin of a season. The first values of a bin have equal weights.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bins {
    means: Vec<f32>,
    ages: Vec<Age>,
}

clone_in_place!(Bins { means, ages });

/// How many values a bin has, up to [`Age::MOST`], and on which side of its mean the newest one was, if far from it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Age(u8);

impl Age {
    const MOST: u8 = 63;

    fn new(values: u8, side: Option<Side>) -> Self {
        Self(values.min(Self::MOST) | side.map_or(0, |side| side as u8))
    }

    fn values(self) -> u8 {
        self.0 & Self::MOST
    }

    fn is_on(self, side: Side) -> bool {
        self.0 & !Self::MOST == side as u8
    }
}

/// A side of a bin's mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    Above = 0x40,
    Below = 0x80,
}

/// A value as a bin takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BinValue {
    pub value: f32,
    /// The mean of all values, with which a bin begins.
    pub overall_mean: f32,
    /// A value further from its bin is far out: it counts as if it were this far.
    pub bound: f32,
    /// Whether it looks like a spike.
    pub is_spike: bool,
}

impl Bins {
    pub fn new(count: usize) -> Self {
        Self { means: vec![0.0; count], ages: vec![Age::default(); count] }
    }

    /// Adds `by` to the mean of each bin.
    pub fn shift(&mut self, by: f32) {
        self.means.iter_mut().for_each(|mean| *mean += by);
    }

    /// The mean of a bin; 0 before its first value, and where there is no bin.
    #[inline]
    pub fn mean(&self, bin: usize) -> f32 {
        self.means.get(bin).copied().unwrap_or(0.0)
    }

    /// The mean of a bin, drawn towards `mean` while it has few values; `per_visit` come together.
    #[inline]
    pub fn pooled(&self, bin: usize, mean: f32, per_visit: usize) -> f32 {
        let (own, values) = (self.mean(bin), self.ages.get(bin).map_or(0, |age| age.values()));
        if values == Age::MOST {
            return own;
        }
        let values = f32::from(values);
        mean + values / (values + PRIOR_VISITS * per_visit as f32) * (own - mean)
    }

    /// Whether a bin has a value.
    pub fn is_known(&self, bin: usize) -> bool {
        self.ages.get(bin).is_some_and(|age| age.values() > 0)
    }

    /// Moves a mean by a share of `deviation`: by an equal share for each of the first values, later by `rate`.
    pub fn learn(&mut self, bin: usize, deviation: f32, rate: f32) {
        let values = self.ages[bin].values();
        let equal = if values < Age::MOST { 1.0 / (f32::from(values) + 1.0) } else { 0.0 };
        self.means[bin] += rate.max(equal) * deviation;
        self.ages[bin] = Age::new(values + 1, None);
    }

    /// On which side of its bin's mean a value is far out, if it is.
    pub fn far_side(&self, bin: usize, new: &BinValue) -> Option<Side> {
        let deviation = new.value - self.start(bin, new);
        let is_far = deviation.abs() > self.bound(bin, new) || new.is_spike;
        is_far.then_some(if deviation > 0.0 { Side::Above } else { Side::Below })
    }

    /// How far a value is from its bin's mean, at most the bound.
    pub fn deviation(&self, bin: usize, new: &BinValue) -> f32 {
        let bound = self.bound(bin, new);
        (new.value - self.start(bin, new)).clamp(-bound, bound)
    }

    /// Learns a value at `rate`. Returns whether its bin begins anew with it.
    ///
    /// What is far out once may be chance. What is far out on the same side the next time, too, comes every season: the
    /// bin begins anew. With `far_side` it is remembered for the next time.
    pub fn learn_value(&mut self, bin: usize, new: &BinValue, rate: f32, far_side: Option<Side>) -> bool {
        if far_side.is_some_and(|side| self.ages[bin].is_on(side)) {
            (self.means[bin], self.ages[bin]) = (new.value, Age::new(1, None));
            return true;
        }
        if !new.is_spike {
            let deviation = self.deviation(bin, new);
            self.means[bin] = self.start(bin, new);
            self.learn(bin, deviation, rate);
        }
        self.ages[bin] = Age::new(self.ages[bin].values(), far_side);
        false
    }

    /// Forgets that the newest value of a bin was far out.
    pub fn forget_side(&mut self, bin: usize) {
        self.ages[bin] = Age::new(self.ages[bin].values(), None);
    }

    /// The mean of a bin, or what it begins with.
    fn start(&self, bin: usize, new: &BinValue) -> f32 {
        if self.ages[bin].values() == 0 { new.overall_mean } else { self.means[bin] }
    }

    fn bound(&self, bin: usize, new: &BinValue) -> f32 {
        new.bound.max(RELATIVE_BOUND * (self.start(bin, new) - new.overall_mean).abs())
    }

    /// Whether there are `count` finite means; a snapshot comes from outside.
    pub fn is_sound(&self, count: usize) -> bool {
        self.means.len() == count && self.ages.len() == count && all_finite(&self.means)
    }

    pub fn heap_bytes(&self) -> usize {
        self.means.capacity() * size_of::<f32>() + self.ages.capacity() * size_of::<Age>()
    }
}
