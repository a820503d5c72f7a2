//! What was forecast and has not matured yet.

use serde::{Deserialize, Serialize};

use super::spec::ForecastSpec;

/// A point forecast at a bucket's middle: distance from the last value then, in the scale then.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Points {
    pub network: f32,
    pub mixed: f32,
}

/// Only what cannot be worked out again from the series' context, in rings: for each bucket its middle and its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Steps so far: where the rings stand.
    step: u64,
    /// `[horizon + 1]` scales at the newest steps, upper halves of their bits; 0 where no forecast was made.
    scales: Vec<u32>,
    /// Rings of the middles, one after the other.
    points: Vec<Points>,
    /// Rings of the ends, one after the other: the point forecast, as in [`Points`].
    centres: Vec<f32>,
    /// Beside `centres`, `[levels]` each: distances of the quantiles from it, upper halves of their bits; at the median,
    /// whose distance is 0, how much wider than usual they are.
    quantiles: Vec<u16>,
}

impl Pending {
    pub fn new(spec: &ForecastSpec) -> Self {
        let ends: usize = spec.buckets.iter().sum();
        Self {
            step: spec.horizon as u64 + 1, // so that no step is looked for before the first
            scales: vec![0; spec.horizon + 1],
            points: vec![Points::default(); spec.middles.iter().sum()],
            centres: vec![0.0; ends],
            quantiles: vec![0; ends * spec.levels.len()],
        }
    }

    /// Moves on to the next step, for which nothing is forecast yet.
    pub fn advance(&mut self) {
        self.step += 1;
        let at = self.ring(0, self.scales.len());
        self.scales[at] = 0;
    }

    /// Forgets all that is pending.
    pub fn clear(&mut self) {
        self.scales.fill(0);
    }

    /// The scale at the step `lead` steps ago, where a forecast was made then.
    #[inline]
    pub fn scale(&self, lead: usize) -> Option<f64> {
        let bits = self.scales[self.ring(lead, self.scales.len())];
        (bits != 0).then(|| f64::from_bits(u64::from(bits) << 32))
    }

    /// What was forecast for this step at the middle of the bucket whose ring begins at `start`.
    #[inline]
    pub fn points(&self, start: usize, middle: usize) -> Points {
        self.points[start + self.ring(0, middle)]
    }

    /// What was forecast for this step at the end of the bucket whose ring begins at `start`: point and quantiles
    /// (at the median: how much wider than usual).
    #[inline]
    pub fn quantiles(&self, start: usize, end: usize, levels: usize) -> (f32, &[u16]) {
        let at = start + self.ring(0, end);
        (self.centres[at], &self.quantiles[at * levels..(at + 1) * levels])
    }

    /// A forecast is made at this step, with this scale.
    pub fn open(&mut self, scale: f64) {
        let at = self.ring(0, self.scales.len());
        self.scales[at] = (scale.to_bits() >> 32) as u32;
    }

    /// Remembers the point forecasts for the middle of the bucket whose ring begins at `start`.
    pub fn remember_points(&mut self, start: usize, middle: usize, points: Points) {
        let at = start + self.ring(0, middle);
        self.points[at] = points;
    }

    /// Remembers the point forecast for the end of the bucket whose ring begins at `start`.
    pub fn remember_centre(&mut self, start: usize, end: usize, centre: f32) {
        let at = start + self.ring(0, end);
        self.centres[at] = centre;
    }

    /// Remembers the distances of the quantiles from the point there, and, in the place of the `median`, how much `wider` than
    /// usual they are.
    pub fn remember_quantiles(&mut self, start: usize, end: usize, distances: &[f32], median: usize, wider: f32) {
        let (at, levels) = (start + self.ring(0, end), distances.len());
        let room = &mut self.quantiles[at * levels..(at + 1) * levels];
        room.iter_mut().zip(distances).for_each(|(room, distance)| *room = halve(*distance));
        room[median] = halve(wider);
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let ends: usize = spec.buckets.iter().sum();
        self.scales.len() == spec.horizon + 1
            && self.points.len() == spec.middles.iter().sum::<usize>()
            && self.centres.len() == ends
            && self.quantiles.len() == ends * spec.levels.len()
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.scales.capacity() * size_of::<u32>()
            + self.points.capacity() * size_of::<Points>()
            + self.centres.capacity() * size_of::<f32>()
            + self.quantiles.capacity() * size_of::<u16>()
    }

    /// Where the step `back` steps ago lies in a ring.
    #[inline]
    fn ring(&self, back: usize, length: usize) -> usize {
        ((self.step - back as u64) % length as u64) as usize
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
