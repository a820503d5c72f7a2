//! Quantiles that cover what they say.

use serde::{Deserialize, Serialize};

use super::experts::held;
use super::pending::unhalve;
use super::spec::{Between, ForecastSpec, MAX_BUCKETS, MAX_LEVELS};

/// How far a quantile moves with one forecast, in usual residuals; more in the beginning.
const RATE: f32 = 0.05;
/// Memory of the usual residual and of the network's usual spread, in forecasts.
const MEMORY: f32 = 64.0;
/// What is assumed before anything has matured counts for this many forecasts.
const PRIOR: u32 = 4;
/// A residual counts for at most this many usual ones ...
const CLIP: f32 = 8.0;
/// ... of which one below this, in scales, does not hold back a larger one: the series has been at rest.
const LEAST: f32 = 0.01;
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration {
    /// `[bucket][level]` distances, in usual residuals; 0 at the median, not below 0 above it, not above 0 below it.
    distances: Vec<f32>,
    /// `[bucket][level]` the network's usual distance of this quantile from its median.
    usual_spread: Vec<f32>,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Bucket {
    /// Mean absolute residual, in the series' scale.
    usual: f32,
    count: u32,
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

    /// The mean absolute residual in a bucket, in the series' scale; 0 before anything has matured.
    pub fn usual(&self, bucket: usize) -> f32 {
        self.buckets[bucket].usual
    }

    /// Learns from the residual at a bucket's end and the quantiles that were issued for it.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, residual: f32, issued: &[u16]) {
        let levels = spec.levels.len();
        let distances = &mut self.distances[bucket * levels..(bucket + 1) * levels];
        let bucket = &mut self.buckets[bucket];
        bucket.count = bucket.count.saturating_add(1);
        let count = bucket.count as f32;
        let limit = if bucket.count > PRIOR { CLIP * bucket.usual.max(LEAST) } else { f32::INFINITY };
        // What the network knew beforehand is not unrest of the series.
        let usual = residual.abs() / unhalve(issued[spec.median]);
        bucket.usual += (usual.min(limit) - bucket.usual) / (count + PRIOR as f32).min(MEMORY);
        let rate = RATE.max(1.0 / (PRIOR as f32 + count));
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

    /// Visits the leads in order with the distances of their quantiles from the point, ascending by level, and how much wider than
    /// usual they are. `network` is `[horizon][level]`.
    pub fn spread(&mut self, spec: &ForecastSpec, network: &[f32], mut visit: impl FnMut(usize, &[f32], f32)) {
        let levels = spec.levels.len();
        self.follow(spec, network);
        let mut ends = [0.0; MAX_BUCKETS * MAX_LEVELS];
        let rows = ends.chunks_exact_mut(levels).zip(self.distances.chunks_exact(levels));
        for ((ends, distances), bucket) in rows.zip(&self.buckets) {
            ends.iter_mut().zip(distances).for_each(|(end, distance)| *end = distance * bucket.usual);
        }
        let mut inverse = [0.0; MAX_BUCKETS * MAX_LEVELS];
        for (inverse, usual) in inverse.iter_mut().zip(&self.usual_spread) {
            *inverse = if *usual > NO_SPREAD { 1.0 / usual } else { 0.0 };
        }
        let mut row = [0.0; MAX_LEVELS];
        let row = &mut row[..levels];
        for (lead, between) in spec.of_ends.iter().enumerate() {
            let Between { below, above, share } = *between;
            let network = &network[lead * levels..(lead + 1) * levels];
            let middle = held(network[spec.median]);
            let near = |cells: &[f32], level: usize| {
                let (low, high) = (cells[below * levels + level], cells[above * levels + level]);
                low + share * (high - low)
            };
            for (level, out) in row.iter_mut().enumerate() {
                let inverse = near(&inverse, level);
                let ratio = ((held(network[level]) - middle).abs() * inverse).clamp(1.0 / SWING, SWING);
                *out = near(&ends, level) * if inverse > 0.0 { ratio } else { 1.0 };
            }
            // Never crossing: outward from the median, which is the point itself.
            row[spec.median] = 0.0;
            for level in (0..spec.median).rev() {
                row[level] = row[level].min(row[level + 1]);
            }
            for level in spec.median + 1..levels {
                row[level] = row[level].max(row[level - 1]);
            }
            let usual = near(&ends, levels - 1) - near(&ends, 0);
            let wider = if usual > 0.0 { (row[levels - 1] - row[0]) / usual } else { 1.0 };
            visit(lead, row, wider.clamp(1.0 / SWING, SWING));
        }
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let cells = spec.buckets.len() * spec.levels.len();
        self.buckets.len() == spec.buckets.len() && self.distances.len() == cells && self.usual_spread.len() == cells
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.distances.capacity() + self.usual_spread.capacity()) * size_of::<f32>()
            + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Follows the network's usual spread at the ends of the buckets; at once where there was none.
    fn follow(&mut self, spec: &ForecastSpec, network: &[f32]) {
        let levels = spec.levels.len();
        for (usual, end) in self.usual_spread.chunks_exact_mut(levels).zip(&spec.buckets) {
            let network = &network[(end - 1) * levels..end * levels];
            let middle = held(network[spec.median]);
            for (usual, network) in usual.iter_mut().zip(network) {
                let spread = (held(*network) - middle).abs();
                *usual = if *usual > NO_SPREAD { *usual + (spread - *usual) / MEMORY } else { spread };
            }
        }
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
