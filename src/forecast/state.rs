//! What one series keeps to forecast itself.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::anomaly::Tail;
use super::calibration::{Calibration, outward};
use super::experts::{Expert, error, held, scaled, seasonal_before, seasonal_path};
use super::facts::{BucketFacts, Facts};
use super::mixture::Mixture;
use super::pending::{Pending, Points, unhalve};
use super::spec::{Between, ForecastSpec};
use crate::series::{ClosedSlot, SeriesState};

/// One forecast: a path and its quantiles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// `[horizon]`: the point forecast, which is the median.
    pub point: Vec<f64>,
    /// `[horizon][level]`: the quantiles, ascending in each lead.
    pub quantiles: Vec<f64>,
}

impl Forecast {
    /// Room for a forecast.
    pub fn new(spec: &ForecastSpec) -> Self {
        Self { point: vec![0.0; spec.horizon], quantiles: vec![0.0; spec.horizon * spec.levels.len()] }
    }
}

/// What one series keeps to forecast itself: weights of its experts, calibration of its quantiles, and what must mature.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastState {
    mixture: Mixture,
    calibration: Calibration,
    tail: Tail,
    pending: Pending,
}

clone_in_place!(ForecastState { mixture, calibration, tail, pending });

impl ForecastState {
    /// A series that nothing is known of.
    pub fn new(spec: &ForecastSpec) -> Self {
        Self {
            mixture: Mixture::new(spec),
            calibration: Calibration::new(spec),
            tail: Tail::new(),
            pending: Pending::new(spec),
        }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.mixture.heap_bytes() + self.calibration.heap_bytes() + self.pending.heap_bytes()
    }

    /// Whether this state was made for forecasts of the shape of `spec`; one of another shape must be made anew.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.mixture.fits(spec) && self.calibration.fits(spec) && self.pending.fits(spec)
    }

    /// Scores what has matured at `slot`, before [`SeriesState::take`] takes it in, and learns from it. Returns the anomaly
    /// score of its value, in `0..=1`, where the step before made a forecast: 1 minus the two-sided tail probability of the
    /// value under that forecast. 0.99 says that one value in a hundred is as far out.
    pub fn mature(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        slot: &ClosedSlot,
        facts: &mut Facts,
    ) -> Option<f32> {
        self.pending.advance(spec);
        let value = slot.value?;
        let score = self.score(spec, series, value, facts);
        for bucket in 0..spec.buckets.len() {
            self.mature_points(spec, series, value, bucket, &mut facts.buckets[bucket]);
            self.mature_quantiles(spec, series, value, bucket, &mut facts.buckets[bucket]);
        }
        score
    }

    /// Makes the forecast of the newest step, after [`SeriesState::take`] and the network's step, and remembers what must
    /// mature. `network` is `[horizon][level]` in the series' scale; `out` is of [`Forecast::new`].
    pub fn forecast(&mut self, spec: &ForecastSpec, series: &SeriesState, network: &[f32], out: &mut Forecast) {
        let (anchor, scale, levels) = (series.anchor(), series.scale(), spec.levels.len());
        let median = |lead: usize| held(network[lead * levels + spec.median]);
        seasonal_path(spec, series, anchor, &mut out.point);
        for (lead, point) in out.point.iter_mut().enumerate() {
            let Between { below, above, share } = spec.of_middles[lead];
            let (low, high) = (self.mixture.weights(below), self.mixture.weights(above));
            let weight = |expert: Expert| {
                if spec.network_alone {
                    return f64::from(u8::from(expert == Expert::Network));
                }
                let expert = expert as usize;
                f64::from(low[expert] + share * (high[expert] - low[expert]))
            };
            let network = scale * f64::from(median(lead));
            *point = anchor + weight(Expert::Seasonal) * *point + weight(Expert::Network) * network;
        }
        self.pending.open(scale);
        for (bucket, (middle, end)) in spec.middles.iter().zip(&spec.buckets).enumerate() {
            let mixed = |lead: &usize| scaled(out.point[lead - 1] - anchor, scale);
            let points = Points { network: median(middle - 1), mixed: mixed(middle) };
            self.pending.remember_points(spec, bucket, points, mixed(end));
        }
        self.calibration.prepare(spec, (series.difference_scale() / scale) as f32);
        let pending = &mut self.pending;
        self.calibration.spread(spec, network, |lead, distances, at_end| {
            let quantiles = &mut out.quantiles[lead * levels..(lead + 1) * levels];
            let point = out.point[lead];
            outward(spec.median, distances, |level, distance| quantiles[level] = point + scale * f64::from(distance));
            if let Some((bucket, wider)) = at_end {
                pending.remember_quantiles(spec, bucket, distances, wider);
            }
        });
    }

    /// The series starts anew after a gap that is not bridged: what is pending goes, what was learnt stays.
    pub fn reset(&mut self) {
        self.pending.clear();
    }

    /// The anomaly score of `value` under the forecast of the step before, if there was one.
    fn score(&mut self, spec: &ForecastSpec, series: &SeriesState, value: f64, facts: &mut Facts) -> Option<f32> {
        let (anchor, scale) = self.origin(series, 1)?;
        let (centre, issued) = self.pending.quantiles(spec, 0);
        let residual = scaled(value - anchor, scale) - centre;
        let usual = self.calibration.usual(0);
        let score = self.tail.score(spec, residual, usual, |level| unhalve(issued[level]));
        facts.scored += 1;
        facts.unusual += u64::from(score >= 0.99);
        Some(score)
    }

    /// The experts' forecasts for this value at the bucket's middle.
    fn mature_points(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        value: f64,
        bucket: usize,
        facts: &mut BucketFacts,
    ) {
        let lead = spec.middles[bucket];
        let Some((anchor, scale)) = self.origin(series, lead) else { return };
        let points = self.pending.points(spec, bucket);
        let target = scaled(value - anchor, scale);
        let seasonal = scaled(seasonal_before(spec, series, anchor, lead), scale);
        let errors = [0.0, seasonal, points.network].map(|forecast| error(target, forecast));
        let mixed = error(target, points.mixed);
        facts.points += 1;
        facts.absolute += f64::from(mixed.abs());
        facts.squared += f64::from(mixed) * f64::from(mixed);
        for (expert, weight) in self.mixture.weights(bucket).into_iter().enumerate() {
            facts.experts[expert] += f64::from(errors[expert].abs());
            facts.weights[expert] += f64::from(weight);
        }
        self.mixture.learn(spec, bucket, mixed, errors);
    }

    /// The quantiles issued for this value at the bucket's end.
    fn mature_quantiles(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        value: f64,
        bucket: usize,
        facts: &mut BucketFacts,
    ) {
        let lead = spec.buckets[bucket];
        let Some((anchor, scale)) = self.origin(series, lead) else { return };
        let (centre, issued) = self.pending.quantiles(spec, bucket);
        let residual = error(scaled(value - anchor, scale), centre);
        let pinball = |(index, level): (usize, &f32)| {
            let apart = residual - if index == spec.median { 0.0 } else { unhalve(issued[index]) };
            if apart > 0.0 { level * apart } else { (level - 1.0) * apart }
        };
        facts.intervals += 1;
        let losses: f32 = spec.levels.iter().enumerate().map(pinball).sum();
        facts.pinball += f64::from(losses) / spec.levels.len() as f64;
        for (covered, (low, high)) in facts.covered.iter_mut().zip(spec.intervals()) {
            *covered += u64::from(unhalve(issued[low]) <= residual && residual <= unhalve(issued[high]));
        }
        self.calibration.learn(spec, bucket, residual, issued);
    }

    /// The last value and the scale `lead` steps before the coming step, where a forecast was made then.
    fn origin(&self, series: &SeriesState, lead: usize) -> Option<(f64, f64)> {
        Some((series.value_back(lead - 1)?, self.pending.scale(lead)?))
    }
}

#[cfg(test)]
mod tests;
