//! Quantiles that cover what they say.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::{all_scaled, held};
use super::pending::unhalve;
use super::prior::StreamPrior;
use super::spec::{ForecastSpec, MAX_LEVELS};

/// How far a quantile moves with one forecast, in usual residuals; more in the beginning, and at short leads, whose
/// residuals tell more since they do not overlap: by this over the root of the lead.
const RATE: f32 = 0.05;
const NEAR_RATE: f32 = 0.1;
/// Memory of the usual residual and of the network's usual spread, in forecasts; of the residual at short leads, whose
/// errors follow each other less, no more than this times the root of the lead.
const MEMORY: f32 = 64.0;
const NEAR_MEMORY: f32 = 16.0;
/// What is assumed before anything has matured counts for this many forecasts.
const PRIOR: u32 = 4;
/// What the series of the stream have in common counts for so many more.
const HEAD_START: u32 = 2;
/// A residual counts for at most this many usual ones ...
const CLIP: f32 = 8.0;
/// ... of which one below this, in scales, does not hold back a larger one: the series has been at rest.
const LEAST: f32 = 0.01;
/// No residual is larger than [`FARTHEST`](super::experts::FARTHEST), nor is one where an interval was narrowed that much.
const MOST: f32 = 64.0;
/// A network's spread may widen or narrow an interval by this factor.
const SWING: f32 = 3.0;
/// A spread of the network, in the series' scale, that is none.
const NO_SPREAD: f32 = 1e-4;
/// Before anything has matured, an interval is no wider than that of values this many scales around.
const WIDEST: f32 = 1.5;

/// The distance of each quantile from the point forecast, tracked online per bucket of leads: a usual residual that follows the
/// series' unrest at once, times a distance that is learnt slowly.
///
/// Quantile tracking, the online form of adaptive conformal inference (Gibbs and Candes, NeurIPS 2021; Angelopoulos, Candes and Tibshirani, Conformal PID
/// Control, NeurIPS 2023): the quantile that was issued moves up by its level when the value came out above it, else down by the rest,
/// so that in the long run the share of values below it is its level, whatever the series does. The network says
/// when to be wider or narrower than usual; how wide is learnt here.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration {
    /// `[bucket][level]` distances, in usual residuals; 0 at the median, not below 0 above it, not above 0 below it.
    distances: Vec<f32>,
    /// `[bucket][level]` the network's usual distance of this quantile from its median.
    usual_spread: Vec<f32>,
    buckets: Vec<Bucket>,
}

clone_in_place!(Calibration { distances, usual_spread, buckets });

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Bucket {
    /// Mean absolute residual, in the series' scale.
    usual: f32,
    count: u32,
}

impl Bucket {
    /// Over how many forecasts usual sizes are taken.
    fn memory(&self) -> f32 {
        (self.count.saturating_add(PRIOR) as f32).min(MEMORY)
    }
}

impl Calibration {
    pub fn new(spec: &ForecastSpec) -> Self {
        let cells = spec.buckets.len() * spec.levels.len();
        Self {
            distances: spec.normal.repeat(spec.buckets.len()),
            usual_spread: vec![0.0; cells],
            buckets: vec![Bucket::default(); spec.buckets.len()],
        }
    }

    /// The same where what the series of the stream have in common is known.
    pub fn starting(spec: &ForecastSpec, prior: &StreamPrior) -> Self {
        let bucket = |usual: &f32| Bucket { usual: *usual, count: HEAD_START };
        Self { buckets: prior.usual.iter().map(bucket).collect(), ..Self::new(spec) }
    }

    /// The mean absolute residual in a bucket, in the series' scale; 0 before anything has matured.
    pub fn usual(&self, bucket: usize) -> f32 {
        self.buckets[bucket].usual
    }

    /// Learns from the residual at a bucket's end and the quantiles that were issued for it.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, residual: f32, issued: &[u16]) {
        let levels = spec.levels.len();
        let root = (spec.buckets[bucket] as f32).sqrt();
        let distances = &mut self.distances[bucket * levels..(bucket + 1) * levels];
        let bucket = &mut self.buckets[bucket];
        bucket.count = bucket.count.saturating_add(1);
        let limit = if bucket.count > PRIOR { CLIP * bucket.usual.max(LEAST) } else { MOST };
        // What the network knew beforehand is not unrest of the series.
        let usual = residual.abs() / unhalve(issued[spec.median]);
        bucket.usual += (usual.min(limit) - bucket.usual) / bucket.memory().min(NEAR_MEMORY * root);
        let rate = RATE.max(NEAR_RATE / root).max(1.0 / bucket.memory());
        for (level, distance) in distances.iter_mut().enumerate() {
            let below = if residual < unhalve(issued[level]) { 1.0 } else { 0.0 };
            *distance = sided(spec, level, *distance + rate * (spec.levels[level] - below));
        }
    }

    /// Before anything has matured: the spread of a random walk with the series' own steps, within that of its values.
    /// `roughness` is the series' usual step in its scale.
    pub fn prepare(&mut self, spec: &ForecastSpec, roughness: f32) {
        for (bucket, end) in self.buckets.iter_mut().zip(&spec.buckets) {
            if bucket.count == 0 {
                bucket.usual = (roughness * (*end as f32).sqrt()).min(WIDEST);
            }
        }
    }

    /// Visits the numbers that are told in order with the distances of their quantiles from the point, to be read by
    /// [`outward`]; at the end of a bucket also with its number and how much wider than usual they are there. `network` is
    /// `[output][level]`.
    pub fn spread(
        &mut self,
        spec: &ForecastSpec,
        network: &[f32],
        mut visit: impl FnMut(usize, &[f32], Option<(usize, f32)>),
    ) {
        let levels = spec.levels.len();
        self.follow(spec, network);
        let mut row = [0.0; MAX_LEVELS];
        let count = levels.div_ceil(LANES);
        let mut ends = [[Block::default(); MAX_LEVELS / LANES]; 2]; // of the bucket before, and of this one, in turn
        self.blocks(levels, 0, &mut ends[1]);
        let mut from = 0;
        for (bucket, end) in spec.buckets.iter().enumerate() {
            let end = spec.output_index(*end) + 1;
            let [even, odd] = &mut ends;
            let (low, high) = if bucket % 2 == 0 { (odd, even) } else { (even, odd) };
            self.blocks(levels, bucket, high);
            for place in from..end {
                let (network, share) = (&network[place * levels..], spec.of_ends[place].share);
                for (block, row) in row.chunks_exact_mut(LANES).enumerate().take(count) {
                    let spread = Lanes::load(&network[block * LANES..]).apart(network[spec.median]);
                    row.copy_from_slice(&low[block].towards(&high[block], share).distances(&spread).0);
                }
                let at_end = (place + 1 == end).then(|| (bucket, self.wider(bucket, &row[..levels])));
                visit(place, &row[..levels], at_end);
            }
            from = end;
        }
    }

    /// How much wider than usual the quantiles at these distances are.
    fn wider(&self, bucket: usize, row: &[f32]) -> f32 {
        let distances = &self.distances[bucket * row.len()..(bucket + 1) * row.len()];
        let width = |row: &[f32]| row[row.len() - 1] - row[0];
        let usual = self.buckets[bucket].usual * width(distances);
        if usual > 0.0 { (width(row) / usual).clamp(1.0 / SWING, SWING) } else { 1.0 }
    }

    /// What is learnt at the end of a bucket, in blocks of levels.
    fn blocks(&self, levels: usize, bucket: usize, blocks: &mut [Block]) {
        let cells = bucket * levels..(bucket + 1) * levels;
        let learnt = self.distances[cells.clone()].chunks(LANES).zip(self.usual_spread[cells].chunks(LANES));
        for (block, (distances, spreads)) in blocks.iter_mut().zip(learnt) {
            for (lane, (distance, spread)) in distances.iter().zip(spreads).enumerate() {
                block.distance.0[lane] = distance * self.buckets[bucket].usual;
                block.inverse.0[lane] = if *spread > NO_SPREAD { 1.0 / spread } else { 0.0 };
            }
        }
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let cells = spec.buckets.len() * spec.levels.len();
        self.buckets.len() == spec.buckets.len() && self.distances.len() == cells && self.usual_spread.len() == cells
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        all_scaled(&self.distances)
            && all_scaled(&self.usual_spread)
            && self.buckets.iter().all(|bucket| bucket.usual >= 0.0 && all_scaled(&[bucket.usual]))
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.distances.capacity() + self.usual_spread.capacity()) * size_of::<f32>()
            + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Follows the network's usual spread at the ends of the buckets; at once where there was none.
    fn follow(&mut self, spec: &ForecastSpec, network: &[f32]) {
        let levels = spec.levels.len();
        let buckets = self.buckets.iter().zip(&spec.buckets);
        for (usual, (bucket, end)) in self.usual_spread.chunks_exact_mut(levels).zip(buckets) {
            let memory = bucket.memory();
            let network = &network[spec.output_index(*end) * levels..][..levels];
            let middle = held(network[spec.median]);
            for (usual, network) in usual.iter_mut().zip(network) {
                let spread = (held(*network) - middle).abs();
                *usual = if *usual > NO_SPREAD { *usual + (spread - *usual) / memory } else { spread };
            }
        }
    }
}

/// Levels that are reckoned with at once: arrays of this length become vector instructions.
const LANES: usize = 8;

#[derive(Clone, Copy, Default)]
struct Lanes([f32; LANES]);

/// What is learnt of some levels: their usual distances, and one over the network's usual spread (0: it has none).
#[derive(Clone, Copy, Default)]
struct Block {
    distance: Lanes,
    inverse: Lanes,
}

impl Lanes {
    /// The first of `values`. Lanes behind the last level hold what follows, and are not looked at.
    #[inline]
    fn load(values: &[f32]) -> Self {
        values.first_chunk().map_or_else(
            || {
                let mut lanes = Self::default();
                lanes.0.iter_mut().zip(values).for_each(|(lane, value)| *lane = *value);
                lanes
            },
            |chunk| Self(*chunk),
        )
    }

    /// How far each lies from `middle`.
    #[inline]
    fn apart(&self, middle: f32) -> Self {
        Self(std::array::from_fn(|lane| (self.0[lane] - middle).abs()))
    }

    #[inline]
    fn towards(&self, other: &Self, share: f32) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + share * (other.0[lane] - self.0[lane])))
    }
}

impl Block {
    #[inline]
    fn towards(&self, other: &Self, share: f32) -> Self {
        Self {
            distance: self.distance.towards(&other.distance, share),
            inverse: self.inverse.towards(&other.inverse, share),
        }
    }

    /// The distances, wider or narrower as the network's spread is wider or narrower than usual.
    #[inline]
    fn distances(&self, spread: &Lanes) -> Lanes {
        Lanes(std::array::from_fn(|lane| {
            // In this order a spread that is no number narrows, and does not spread.
            let ratio = least(most(spread.0[lane] * self.inverse.0[lane], 1.0 / SWING), SWING);
            self.distance.0[lane] * if self.inverse.0[lane] > 0.0 { ratio } else { 1.0 }
        }))
    }
}

/// The larger of two numbers, the second where the first is none: one instruction, unlike `f32::max`.
#[inline]
fn most(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// The smaller of two numbers, the second where the first is none.
#[inline]
fn least(one: f32, other: f32) -> f32 {
    if one < other { one } else { other }
}

/// Reads distances so that no quantiles cross: outward from the median, whose distance is 0, none nearer than the one before.
#[inline]
pub(super) fn outward(median: usize, distances: &[f32], mut put: impl FnMut(usize, f32)) {
    put(median, 0.0);
    let mut reached = 0.0;
    for level in (0..median).rev() {
        reached = least(distances[level], reached);
        put(level, reached);
    }
    reached = 0.0;
    for (level, distance) in distances.iter().enumerate().skip(median + 1) {
        reached = most(*distance, reached);
        put(level, reached);
    }
}

/// A distance on its side of the median.
fn sided(spec: &ForecastSpec, level: usize, distance: f32) -> f32 {
    match level.cmp(&spec.median) {
        std::cmp::Ordering::Less => distance.min(0.0),
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Greater => distance.max(0.0),
    }
}
