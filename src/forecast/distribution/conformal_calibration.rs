//! Calibration of quantiles: conformal tracking of their coverage.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::phase_spread::PhaseSpread;
use super::quantile_blocks::{BLOCK, LearnedBlock, distances};
use crate::forecast::bf16::from_bf16;
use crate::forecast::history::phase::Cycle;
use crate::forecast::level_tables::MAX_LEVELS;
use crate::forecast::numeric::{all_within_scaled_range, clamp_network_output};
use crate::forecast::spec::ForecastSpec;
use crate::forecast::stream_prior::StreamPrior;

/// Step of a quantile per forecast, in mean absolute residuals, at long leads ...
const RATE: f32 = 0.05;
/// ... and at short leads this divided by the square root of the lead: their residuals overlap less and say more.
const NEAR_RATE: f32 = 0.1;
/// Step of a level's share of its anchor's deviation per forecast.
const SHARE_RATE: f32 = 0.01;
/// The first share of the network's spread in the shape of the intervals ...
const INITIAL_NETWORK_SHARE: f32 = 0.5;
/// ... and its step per forecast, in pinball losses; divided by the lead, over which errors overlap.
const NETWORK_SHARE_RATE: f32 = 0.05;
/// Memory of the mean absolute residual and of the network's mean spread, in forecasts ...
const MEMORY: f32 = 64.0;
/// ... and at short leads of the residual, at most this times the square root of the lead.
const NEAR_MEMORY: f32 = 16.0;
/// Memory of what residuals are like outside of incidents, in forecasts.
const USUAL_MEMORY: u32 = 512;
/// A mean absolute residual of more than this many usual ones is that of an incident, ...
const INCIDENT_RATIO: f64 = 4.0;
/// ... which is over with residuals of less than this many usual ones ...
const USUAL_RATIO: f64 = 2.0;
/// ... and is then forgotten with this memory.
const MEMORY_AFTER_INCIDENT: f32 = 2.0;
/// Number of forecasts that the initial estimate counts for.
const PRIOR_FORECASTS: u32 = 4;
/// Further forecasts that an estimate from a stream prior counts for.
const STREAM_PRIOR_FORECASTS: u32 = 2;
/// A phase whose spread is below this share of that of all phases counts for less.
const QUIET_SPREAD: f32 = 0.5;
/// A residual counts for at most this many mean absolute residuals ...
const MAX_RESIDUAL: f32 = 8.0;
/// ... of at least this many scales, so that a series that was at rest can adapt.
const MIN_RESIDUAL_UNIT: f32 = 0.01;
/// A residual that is divided by its interval's relative width is at most this many scales while few are known.
const MAX_FIRST_RESIDUAL: f32 = 64.0;
/// The network's spread widens or narrows an interval by at most this factor.
const MAX_SPREAD_RATIO: f32 = 3.0;
/// A spread of the network of at most this, in the series' scale, counts as none.
const MIN_SPREAD: f32 = 1e-4;
/// The initial mean absolute residual is at most this many scales.
const MAX_INITIAL_RESIDUAL: f32 = 1.5;

/// Learns the deviation of each quantile from the median, per bucket of leads: a mean absolute residual, which follows
/// the series' volatility at once, times a deviation in such units, which is learned slowly.
///
/// Quantile tracking, the online form of adaptive conformal inference (Gibbs and Candès, NeurIPS 2021; Angelopoulos,
/// Candès and Tibshirani, Conformal PID Control, NeurIPS 2023): a quantile moves up by its level where the value lies
/// above it, else down by the remainder. In the long run the share of values below it equals its level, whatever the
/// series does. Levels near the median are shares of the deviation of an outer one, their anchor, and the shares are
/// learned more slowly. The network's spread and that of the target's phase widen and narrow the intervals from step to
/// step, each by its share; shares and mean width are learned here.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// `[bucket][level]`: deviations from the median in mean absolute residuals, at most 0 below the median, at least 0
    /// above it; of levels that follow an anchor their share of its deviation, in `0..=1`.
    deviations: Vec<f32>,
    /// `[bucket][level]`: the network's mean distance of this quantile from its median, in the series' scale.
    mean_spreads: Vec<f32>,
    /// `[bucket]`: how far the network's spread, not that of the target's phase, shapes the intervals, 0 to 1.
    network_shares: Vec<f32>,
    buckets: Vec<Bucket>,
    phases: PhaseSpread,
}

clone_in_place!(Calibration { deviations, mean_spreads, network_shares, buckets, phases });

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Bucket {
    /// In the series' scale.
    mean_absolute_residual: f32,
    forecasts: u32,
    /// The same in the unit of the values, over a long memory, in which incidents hardly count. An incident changes the
    /// series' scale.
    usual_residual: f64,
}

impl Bucket {
    /// Number of forecasts that running means span.
    fn memory(&self) -> f32 {
        (self.forecasts.saturating_add(PRIOR_FORECASTS) as f32).min(MEMORY)
    }

    /// Whether residuals are far larger than usual. `scale` is that of the series.
    fn is_in_incident(&self, scale: f64) -> bool {
        f64::from(self.mean_absolute_residual) * scale > INCIDENT_RATIO * self.usual_residual
    }

    /// Learns what is usual from a residual that counts for `weight`.
    fn learn_usual(&mut self, magnitude: f64, scale: f64, weight: f32) {
        let limit = if self.forecasts > PRIOR_FORECASTS {
            INCIDENT_RATIO * self.usual_residual.max(f64::from(MIN_RESIDUAL_UNIT) * scale)
        } else {
            f64::INFINITY
        };
        let memory = f64::from(self.forecasts.clamp(1, USUAL_MEMORY));
        self.usual_residual += f64::from(weight) * (magnitude.min(limit) - self.usual_residual) / memory;
    }
}

/// The quantiles of one output.
pub(crate) struct OutputQuantiles<'a> {
    /// Index of the output.
    pub output: usize,
    /// `[level]`: deviations from the median in the series' scale; see
    /// [`for_each_without_crossing`](super::quantile_blocks::for_each_without_crossing).
    pub deviations: &'a [f32],
    /// Where the output is the end of a bucket.
    pub bucket_end: Option<BucketEnd>,
}

/// Quantiles whose target has come.
pub(crate) struct MaturedQuantiles<'a> {
    /// The target's slot.
    pub slot: i64,
    /// The target minus the median, in the series' scale of when they were issued.
    pub residual: f32,
    /// That scale.
    pub scale: f64,
    /// bfloat16 deviations from the median, and at the median their relative width.
    pub issued: &'a [u16],
    /// See [`BucketEnd`].
    pub lean: f32,
}

/// The end of a bucket, at which quantiles are scored.
#[derive(Clone, Copy)]
pub(crate) struct BucketEnd {
    pub bucket: usize,
    /// Width of the quantiles relative to the bucket's mean width.
    pub relative_width: f32,
    /// How much wider the outermost quantiles would be for the network's share to be larger by 1, relative to them.
    pub lean: f32,
}

impl Calibration {
    pub fn new(spec: &ForecastSpec) -> Self {
        let normal = &spec.level_tables.normal_quantiles;
        let initial = |(level, anchor): (usize, &usize)| {
            if *anchor == level { normal[level] } else { normal[level] / normal[*anchor] }
        };
        let deviations: Vec<f32> = spec.level_tables.anchors.iter().enumerate().map(initial).collect();
        Self {
            deviations: deviations.repeat(spec.buckets.len()),
            mean_spreads: vec![0.0; spec.buckets.len() * spec.levels.len()],
            network_shares: vec![INITIAL_NETWORK_SHARE; spec.buckets.len()],
            buckets: vec![Bucket::default(); spec.buckets.len()],
            phases: PhaseSpread::new(phase_cycle(spec).season),
        }
    }

    /// The calibration of a new series in a stream whose other series are known.
    pub fn cold_start(spec: &ForecastSpec, prior: &StreamPrior) -> Self {
        let bucket = |residual: &f32| Bucket {
            mean_absolute_residual: *residual,
            forecasts: STREAM_PRIOR_FORECASTS,
            usual_residual: 0.0,
        };
        Self { buckets: prior.mean_absolute_deviations.iter().map(bucket).collect(), ..Self::new(spec) }
    }

    /// The mean absolute residual of a bucket in the series' scale; 0 before the first forecast.
    pub fn mean_absolute_residual(&self, bucket: usize) -> f32 {
        self.buckets[bucket].mean_absolute_residual
    }

    /// Learns from the quantiles that were issued for a target at a bucket's end.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, matured: &MaturedQuantiles<'_>) {
        let &MaturedQuantiles { slot, residual, scale, issued, lean } = matured;
        let levels = spec.levels.len();
        let root = (spec.buckets[bucket] as f32).sqrt();
        let deviations = &mut self.deviations[bucket * levels..(bucket + 1) * levels];
        let network_share = &mut self.network_shares[bucket];
        let bucket = &mut self.buckets[bucket];
        bucket.forecasts = bucket.forecasts.saturating_add(1);
        let limit = if bucket.forecasts > PRIOR_FORECASTS {
            MAX_RESIDUAL * bucket.mean_absolute_residual.max(MIN_RESIDUAL_UNIT)
        } else {
            MAX_FIRST_RESIDUAL
        };
        // Volatility that the network or the phase foretold is not the series' own.
        let magnitude = residual.abs() / from_bf16(issued[spec.median()]);
        // A phase at which little happens, as when a shop is closed, says little of the others.
        let weight = (self.phases.at(phase_cycle(spec), slot) / QUIET_SPREAD).min(1.0);
        if bucket.forecasts > PRIOR_FORECASTS {
            self.phases.learn(phase_cycle(spec), slot, magnitude / bucket.mean_absolute_residual);
        }
        let memory = bucket.memory().min(NEAR_MEMORY * root);
        let in_values = f64::from(magnitude) * scale;
        let is_over = bucket.is_in_incident(scale) && in_values < USUAL_RATIO * bucket.usual_residual;
        let memory = if is_over { memory.min(MEMORY_AFTER_INCIDENT) } else { memory };
        bucket.mean_absolute_residual += weight * (magnitude.min(limit) - bucket.mean_absolute_residual) / memory;
        bucket.learn_usual(in_values, scale, weight);
        // The derivative of the mean pinball loss by the share of the network.
        let moves = spec.levels.iter().zip(issued).enumerate().filter(|(level, _)| *level != spec.median());
        let slope: f32 = moves
            .map(|(_, (level, issued))| {
                let deviation = from_bf16(*issued);
                (f32::from(u8::from(residual < deviation)) - level) * deviation * lean
            })
            .sum();
        let unit = bucket.mean_absolute_residual.max(MIN_SPREAD) * levels as f32;
        let step = NETWORK_SHARE_RATE / (root * root) * (slope / unit).clamp(-1.0, 1.0);
        *network_share = (*network_share - step).clamp(0.0, 1.0);
        if bucket.is_in_incident(scale) {
            return; // The shape of the distribution is that of other times.
        }
        let rate = RATE.max(NEAR_RATE / root).max(1.0 / bucket.memory());
        for (level, deviation) in deviations.iter_mut().enumerate() {
            let below = if residual < from_bf16(issued[level]) { 1.0 } else { 0.0 };
            let upwards = spec.levels[level] - below;
            *deviation = if spec.level_tables.anchors[level] == level {
                clamp_to_side(spec, level, *deviation + rate * upwards)
            } else {
                let outwards = if level < spec.median() { -upwards } else { upwards };
                (*deviation + SHARE_RATE * outwards).clamp(0.0, 1.0)
            };
        }
    }

    /// Before a bucket's first forecast is scored: the quantiles of a pre-trained network, or the spread of a random
    /// walk with the series' own steps, at most that of its values. `step_size` is the mean absolute one-step
    /// difference in the series' scale, `network` the network's output.
    pub fn initialise(&mut self, spec: &ForecastSpec, step_size: f32, network: &[f32]) {
        let levels = spec.levels.len();
        let buckets = self.buckets.iter_mut().zip(self.deviations.chunks_exact_mut(levels)).zip(&spec.buckets);
        for ((bucket, deviations), end) in buckets.filter(|((bucket, _), _)| bucket.forecasts == 0) {
            let quantiles = &network[spec.output_index(*end) * levels..][..levels];
            let spread = if spec.pretrained { spread_of(spec, quantiles) } else { 0.0 };
            if spread > MIN_SPREAD {
                bucket.mean_absolute_residual = spread;
                take_quantiles(spec, quantiles, spread, deviations);
            } else {
                let random_walk = step_size * (*end as f32).sqrt();
                bucket.mean_absolute_residual = random_walk.min(MAX_INITIAL_RESIDUAL);
            }
        }
    }

    /// Visits the quantiles of each output in order. `network` is `[output][level]` in the series' scale; its mean
    /// spread is updated first. `first_slot` is that of the first output; `factors` `[output]` widen the quantiles
    /// further, where there are any.
    pub fn for_each_output(
        &mut self,
        spec: &ForecastSpec,
        network: &[f32],
        first_slot: i64,
        factors: &[f32],
        mut visit: impl FnMut(OutputQuantiles<'_>),
    ) {
        let levels = spec.levels.len();
        self.update_mean_spreads(spec, network);
        // The quantiles, and the network's relative spreads.
        let (mut row, mut ratios) = ([0.0; MAX_LEVELS], [0.0; MAX_LEVELS]);
        let count = levels.div_ceil(BLOCK);
        // Blocks at the ends of the previous bucket and of this one, in turn.
        let mut ends = [[LearnedBlock::default(); MAX_LEVELS / BLOCK]; 2];
        self.load_blocks(spec, 0, &mut ends[1]);
        let mut phases = self.phases.from(phase_cycle(spec), first_slot);
        let mut from = 0;
        for (bucket, end) in spec.buckets.iter().enumerate() {
            let end = spec.output_index(*end) + 1;
            let [even, odd] = &mut ends;
            let (low, high) = if bucket % 2 == 0 { (odd, even) } else { (even, odd) };
            self.load_blocks(spec, bucket, high);
            for output in from..end {
                let (network, share) = (&network[output * levels..], spec.lead_tables.ends[output].share);
                let phase = phases.next().unwrap_or(1.0);
                let network_share = self.network_shares[bucket];
                let blocks = row.chunks_exact_mut(BLOCK).zip(ratios.chunks_exact_mut(BLOCK));
                for (block, (row, ratios)) in blocks.enumerate().take(count) {
                    let spread = distances(&network[block * BLOCK..], network[spec.median()]);
                    let learned = low[block].interpolate(&high[block], share);
                    let ratio = learned.relative_spread(&spread, MAX_SPREAD_RATIO, phase);
                    for (level, row) in row.iter_mut().enumerate() {
                        *row = learned.deviation[level] * (phase + network_share * (ratio[level] - phase));
                    }
                    ratios.copy_from_slice(&ratio);
                }
                let row = &mut row[..levels];
                let mut relative_width = (output + 1 == end).then(|| self.relative_width(bucket, row));
                if let Some(factor) = factors.get(output) {
                    row.iter_mut().chain(&mut relative_width).for_each(|width| *width *= factor);
                }
                let deviations = &*row;
                let bucket_end = relative_width.map(|relative_width| {
                    let lean = |ratio: f32| (ratio - phase) / (phase + network_share * (ratio - phase));
                    BucketEnd { bucket, relative_width, lean: (lean(ratios[0]) + lean(ratios[levels - 1])) / 2.0 }
                });
                visit(OutputQuantiles { output, deviations, bucket_end });
            }
            from = end;
        }
    }

    /// The width of quantiles relative to the bucket's mean width.
    fn relative_width(&self, bucket: usize, row: &[f32]) -> f32 {
        let deviations = &self.deviations[bucket * row.len()..(bucket + 1) * row.len()];
        let width = |row: &[f32]| row[row.len() - 1] - row[0];
        let mean_width = self.buckets[bucket].mean_absolute_residual * width(deviations);
        if mean_width > 0.0 { (width(row) / mean_width).clamp(1.0 / MAX_SPREAD_RATIO, MAX_SPREAD_RATIO) } else { 1.0 }
    }

    /// Loads what is learned at the end of a bucket.
    fn load_blocks(&self, spec: &ForecastSpec, bucket: usize, blocks: &mut [LearnedBlock]) {
        let levels = spec.levels.len();
        let cells = bucket * levels..(bucket + 1) * levels;
        let (deviations, spreads) = (&self.deviations[cells.clone()], &self.mean_spreads[cells]);
        let learned = deviations.iter().zip(spreads).zip(&spec.level_tables.anchors);
        for (level, ((deviation, spread), anchor)) in learned.enumerate() {
            let deviation = if *anchor == level { *deviation } else { deviation * deviations[*anchor] };
            let block = &mut blocks[level / BLOCK];
            block.deviation[level % BLOCK] = deviation * self.buckets[bucket].mean_absolute_residual;
            block.inverse_spread[level % BLOCK] = if *spread > MIN_SPREAD { 1.0 / spread } else { 0.0 };
        }
    }

    /// Whether it has the shape that `spec` needs, and valid values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let cells = spec.buckets.len() * spec.levels.len();
        let bucket = |bucket: &Bucket| {
            bucket.mean_absolute_residual >= 0.0 && all_within_scaled_range(&[bucket.mean_absolute_residual])
        };
        self.buckets.len() == spec.buckets.len()
            && self.deviations.len() == cells
            && self.mean_spreads.len() == cells
            && self.network_shares.len() == spec.buckets.len()
            && self.network_shares.iter().all(|share| (0.0..=1.0).contains(share))
            && all_within_scaled_range(&self.deviations)
            && all_within_scaled_range(&self.mean_spreads)
            && self.buckets.iter().all(bucket)
            && self.phases.is_sound(phase_cycle(spec).season)
    }

    pub fn heap_bytes(&self) -> usize {
        (self.deviations.capacity() + self.mean_spreads.capacity() + self.network_shares.capacity()) * size_of::<f32>()
            + self.phases.heap_bytes()
            + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Updates the network's mean spread at the ends of the buckets; the first spread is taken as it is.
    fn update_mean_spreads(&mut self, spec: &ForecastSpec, network: &[f32]) {
        let levels = spec.levels.len();
        let buckets = self.buckets.iter().zip(&spec.buckets);
        for (means, (bucket, end)) in self.mean_spreads.chunks_exact_mut(levels).zip(buckets) {
            let memory = bucket.memory();
            let network = &network[spec.output_index(*end) * levels..][..levels];
            let median = clamp_network_output(network[spec.median()]);
            for (mean, quantile) in means.iter_mut().zip(network) {
                let spread = (clamp_network_output(*quantile) - median).abs();
                *mean = if *mean > MIN_SPREAD { *mean + (spread - *mean) / memory } else { spread };
            }
        }
    }
}

/// The cycle whose phases have a spread of their own: that of the targets, where each has a phase.
fn phase_cycle(spec: &ForecastSpec) -> Cycle<'_> {
    let season = if spec.target.is_some() { 0 } else { spec.season };
    Cycle { season, holidays: None, local_slots: Some(&spec.local_slots) }
}

/// The mean absolute deviation from the median of a distribution with these quantiles: between two levels their mean,
/// beyond the outermost ones as at these.
fn spread_of(spec: &ForecastSpec, quantiles: &[f32]) -> f32 {
    let median = clamp_network_output(quantiles[spec.median()]);
    let distance = |level: usize| (clamp_network_output(quantiles[level]) - median).abs();
    let last = spec.levels.len() - 1;
    let inner = (0..last).map(|at| (spec.levels[at + 1] - spec.levels[at]) * (distance(at) + distance(at + 1)) / 2.0);
    inner.sum::<f32>() + spec.levels[0] * distance(0) + (1.0 - spec.levels[last]) * distance(last)
}

/// Makes a distribution's quantiles, whose mean absolute deviation is `spread`, the learnt deviations of a bucket.
fn take_quantiles(spec: &ForecastSpec, quantiles: &[f32], spread: f32, deviations: &mut [f32]) {
    let median = clamp_network_output(quantiles[spec.median()]);
    let deviation =
        |level: usize| clamp_to_side(spec, level, (clamp_network_output(quantiles[level]) - median) / spread);
    for (level, learnt) in deviations.iter_mut().enumerate() {
        let anchor = spec.level_tables.anchors[level];
        let outer = deviation(anchor);
        *learnt = if anchor == level || outer == 0.0 { outer } else { (deviation(level) / outer).clamp(0.0, 1.0) };
    }
}

/// A deviation, clamped to its level's side of the median.
fn clamp_to_side(spec: &ForecastSpec, level: usize, deviation: f32) -> f32 {
    match level.cmp(&spec.median()) {
        std::cmp::Ordering::Less => deviation.min(0.0),
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Greater => deviation.max(0.0),
    }
}
