//! What was forecast and has not matured yet.

use crate::series::{clone_in_place, is_within_limit};
use serde::{Deserialize, Serialize};

use super::calibration::outward;
use super::experts::all_scaled;
use super::linear::MODELS;
use super::planes;
use super::ring::{after, back};
use super::spec::ForecastSpec;

/// A point forecast at a bucket's middle: distance from the last value then, in the scale then.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Points {
    pub linear: [f32; MODELS],
    pub network: f32,
    pub mixed: f32,
    pub median: f32,
}

/// Points in a snapshot: those of each expert side by side.
pub(super) mod columns {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{MODELS, Points, planes};

    pub fn serialize<S: Serializer>(points: &[Points], serializer: S) -> Result<S::Ok, S::Error> {
        let linear = (0..MODELS).flat_map(|model| points.iter().map(move |point| point.linear[model]));
        let others = [|point: &Points| point.network, |point: &Points| point.mixed, |point: &Points| point.median];
        let others = others.iter().flat_map(|other| points.iter().map(other));
        planes::serialize::<f32, S>(&linear.chain(others).collect::<Vec<_>>(), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Points>, D::Error> {
        let numbers: Vec<f32> = planes::deserialize(deserializer)?;
        let count = numbers.len() / (MODELS + 3);
        if count * (MODELS + 3) != numbers.len() {
            return Err(D::Error::invalid_length(numbers.len(), &"as many points of each expert"));
        }
        let point = |at: usize| {
            let of = |column: usize| numbers[column * count + at];
            let linear = std::array::from_fn(of);
            Points { linear, network: of(MODELS), mixed: of(MODELS + 1), median: of(MODELS + 2) }
        };
        Ok((0..count).map(point).collect())
    }
}

/// Only what cannot be worked out again from the series' context, in rings: for each bucket its middle and its end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// `[horizon + 1]` scales at the newest steps, upper halves of their bits; 0 where no forecast was made.
    #[serde(with = "planes")]
    scales: Vec<u32>,
    /// Where this step lies in `scales`.
    now: u16,
    /// Where this step lies in the rings of each bucket: at its middle, at its end.
    cursors: Vec<(u16, u16)>,
    /// Rings of the middles, one after the other.
    #[serde(with = "columns")]
    points: Vec<Points>,
    /// Rings of the ends, one after the other: the median, as in [`Points`].
    #[serde(with = "planes")]
    centres: Vec<f32>,
    /// Beside `centres`, `[levels]` each: distances of the quantiles from it, upper halves of their bits; at the median,
    /// whose distance is 0, how much wider than usual they are.
    #[serde(with = "planes")]
    quantiles: Vec<u16>,
}

clone_in_place!(Pending { scales, now, cursors, points, centres, quantiles });

impl Pending {
    pub fn new(spec: &ForecastSpec) -> Self {
        let ends: usize = spec.buckets.iter().sum();
        Self {
            scales: vec![0; spec.horizon + 1],
            now: 0,
            cursors: vec![(0, 0); spec.buckets.len()],
            points: vec![Points::default(); spec.middles.iter().sum()],
            centres: vec![0.0; ends],
            quantiles: vec![0; ends * spec.levels.len()],
        }
    }

    /// Moves on to the next step, for which nothing is forecast yet.
    pub fn advance(&mut self, spec: &ForecastSpec) {
        self.now = after(self.now, self.scales.len());
        self.scales[usize::from(self.now)] = 0;
        for ((middle, end), (middle_lead, end_lead)) in
            self.cursors.iter_mut().zip(spec.middles.iter().zip(&spec.buckets))
        {
            (*middle, *end) = (after(*middle, *middle_lead), after(*end, *end_lead));
        }
    }

    /// Forgets all that is pending.
    pub fn clear(&mut self) {
        self.scales.fill(0);
    }

    /// The scale at the step `lead` steps ago, where a forecast was made then.
    #[inline]
    pub fn scale(&self, lead: usize) -> Option<f64> {
        let bits = self.scales[back(usize::from(self.now), lead, self.scales.len())];
        (bits != 0).then(|| f64::from_bits(u64::from(bits) << 32))
    }

    /// What was forecast for this step at the middle of a bucket.
    #[inline]
    pub fn points(&self, spec: &ForecastSpec, bucket: usize) -> Points {
        self.points[self.middle(spec, bucket)]
    }

    /// What was forecast for this step at the end of a bucket: median and quantiles (at the median: how much wider than
    /// usual).
    #[inline]
    pub fn quantiles(&self, spec: &ForecastSpec, bucket: usize) -> (f32, &[u16]) {
        let (at, levels) = (self.end(spec, bucket), spec.levels.len());
        (self.centres[at], &self.quantiles[at * levels..(at + 1) * levels])
    }

    /// A forecast is made at this step, with this scale.
    pub fn open(&mut self, scale: f64) {
        self.scales[usize::from(self.now)] = (scale.to_bits() >> 32) as u32;
    }

    /// Remembers the point forecasts for the middle of a bucket, and the median for its end.
    pub fn remember_points(&mut self, spec: &ForecastSpec, bucket: usize, middle: Points, end: f32) {
        let (at_middle, at_end) = (self.middle(spec, bucket), self.end(spec, bucket));
        self.points[at_middle] = middle;
        self.centres[at_end] = end;
    }

    /// Remembers the distances of the quantiles from the median at the end of a bucket, and how much `wider` than usual they
    /// are.
    pub fn remember_quantiles(&mut self, spec: &ForecastSpec, bucket: usize, distances: &[f32], wider: f32) {
        let (at, levels) = (self.end(spec, bucket), spec.levels.len());
        let room = &mut self.quantiles[at * levels..(at + 1) * levels];
        outward(spec.median, distances, |level, distance| room[level] = halve(distance));
        room[spec.median] = halve(wider);
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let ends: usize = spec.buckets.iter().sum();
        self.scales.len() == spec.horizon + 1
            && self.cursors.len() == spec.buckets.len()
            && self.points.len() == spec.middles.iter().sum::<usize>()
            && self.centres.len() == ends
            && self.quantiles.len() == ends * spec.levels.len()
    }

    /// Whether its places lie within its rings and its numbers can be reckoned with: it may come from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let within = |((middle, end), (middles, ends)): (&(u16, u16), (&usize, &usize))| {
            usize::from(*middle) < *middles && usize::from(*end) < *ends
        };
        let scale = |bits: &u32| {
            let scale = f64::from_bits(u64::from(*bits) << 32);
            *bits == 0 || scale > 0.0 && is_within_limit(scale)
        };
        let points =
            |points: &Points| all_scaled(&points.linear) && all_scaled(&[points.network, points.mixed, points.median]);
        usize::from(self.now) < self.scales.len()
            && self.cursors.iter().zip(spec.middles.iter().zip(&spec.buckets)).all(within)
            && self.scales.iter().all(scale)
            && self.points.iter().all(points)
            && all_scaled(&self.centres)
            && self.quantiles.iter().all(|half| unhalve(*half).is_finite())
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.scales.capacity() * size_of::<u32>()
            + self.cursors.capacity() * size_of::<(u16, u16)>()
            + self.points.capacity() * size_of::<Points>()
            + self.centres.capacity() * size_of::<f32>()
            + self.quantiles.capacity() * size_of::<u16>()
    }

    /// Where this step lies among the middles of a bucket. What was put there when the ring was here last has matured.
    #[inline]
    fn middle(&self, spec: &ForecastSpec, bucket: usize) -> usize {
        spec.rings[bucket].0 + usize::from(self.cursors[bucket].0)
    }

    /// Where this step lies among the ends of a bucket.
    #[inline]
    fn end(&self, spec: &ForecastSpec, bucket: usize) -> usize {
        spec.rings[bucket].1 + usize::from(self.cursors[bucket].1)
    }
}

/// The upper half of the bits, rounded: 8 bits of mantissa.
#[inline]
pub(super) fn halve(value: f32) -> u16 {
    (value.to_bits().saturating_add(0x8000) >> 16) as u16
}

/// The value that [`halve`] kept.
#[inline]
pub(super) fn unhalve(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
