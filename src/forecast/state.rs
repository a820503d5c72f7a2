//! What one series keeps to forecast itself.

use crate::series::clone_in_place;

use super::anomaly::{Anomaly, Detector, far_bucket};
use super::bounds::Bounds;
use super::calibration::{Calibration, outward};
use super::experts::{EXPERTS, Expert, FARTHEST, error, held, scaled, seasonal_before, seasonal_path};
use super::facts::{AccuracySums, BucketSums};
use super::foresight::Foresight;
use super::linear::{Linear, MODELS};
use super::mixture::{Aim, Mixture};
use super::pending::{Pending, Points, unhalve};
use super::prior::StreamPrior;
use super::spec::{Between, ForecastSpec};
use crate::series::{ClosedSlot, SeriesState, Target};
use crate::snapshot::{Part, PartReader, PartWriter};

/// One forecast: a path, or one number, and its quantiles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// `[output]`: the mean of what may come, which has the least squared error.
    pub point: Vec<f64>,
    /// `[output][level]`: the quantiles, ascending in each. That of 0.5, the median, has the least absolute error.
    pub quantiles: Vec<f64>,
    /// How probably the one number crosses the threshold, where there is one.
    pub crossing: Option<f32>,
    /// `[output]`: how far the linear experts' forecasts lie from the last value.
    linear: [Vec<f64>; MODELS],
    /// `[bucket]`: the experts' weights, for the mean and for the median.
    weights: Vec<[[f32; EXPERTS]; 2]>,
}

impl Forecast {
    /// Room for a forecast.
    pub fn new(spec: &ForecastSpec) -> Self {
        let outputs = spec.outputs();
        Self {
            point: vec![0.0; outputs],
            quantiles: vec![0.0; outputs * spec.levels.len()],
            crossing: None,
            linear: std::array::from_fn(|_| vec![0.0; outputs]),
            weights: Vec::with_capacity(spec.buckets.len()),
        }
    }
}

/// What one series keeps to forecast itself: weights of its experts, calibration of its quantiles, and what must mature.
#[derive(Debug, PartialEq)]
pub struct ForecastState {
    bounds: Bounds,
    linear: Linear,
    mixture: Mixture,
    calibration: Calibration,
    detector: Detector,
    pending: Pending,
}

clone_in_place!(ForecastState { bounds, linear, mixture, calibration, detector, pending });

impl ForecastState {
    /// A series that nothing is known of.
    pub fn new(spec: &ForecastSpec) -> Self {
        Self {
            bounds: Bounds::default(),
            linear: Linear::new(spec),
            mixture: Mixture::new(spec),
            calibration: Calibration::new(spec),
            detector: Detector::new(spec),
            pending: Pending::new(spec),
        }
    }

    /// The same where what the series of the stream have in common is known; it must [fit](StreamPrior::fits) `spec`.
    pub fn cold_start(spec: &ForecastSpec, prior: &StreamPrior) -> Self {
        Self { calibration: Calibration::starting(spec, prior), ..Self::new(spec) }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.linear.heap_bytes()
            + self.mixture.heap_bytes()
            + self.calibration.heap_bytes()
            + self.detector.heap_bytes()
            + self.pending.heap_bytes()
    }

    /// Writes the parts of a snapshot that hold this state.
    pub fn write_parts(&self, parts: &mut PartWriter<'_>) {
        parts.put(Part::OUTPUT_BOUNDS, &self.bounds);
        parts.put(Part::LINEAR_EXPERTS, &self.linear);
        self.linear.foresight().iter().for_each(|foresight| parts.put(Part::FUTURE_COVARIATE_EXPERTS, foresight));
        parts.put(Part::MIXTURE, &self.mixture);
        parts.put(Part::CALIBRATION, &self.calibration);
        parts.put(Part::ANOMALY_DETECTOR, &self.detector);
        parts.put(Part::PENDING_FORECASTS, &self.pending);
    }

    /// Reads the state back from the parts of a snapshot. A part that cannot be used begins afresh.
    pub fn read_parts(spec: &ForecastSpec, parts: &mut PartReader<'_>) -> Self {
        let mut linear = parts
            .take(Part::LINEAR_EXPERTS, |linear: &Linear| linear.fits(spec) && linear.is_sound())
            .unwrap_or_else(|| Linear::new(spec));
        let is_usable = |foresight: &Box<Foresight>| foresight.fits(spec) && foresight.is_sound();
        let foresight = if spec.known > 0 { parts.take(Part::FUTURE_COVARIATE_EXPERTS, is_usable) } else { None };
        linear.put_foresight(foresight.or_else(|| Foresight::new(spec)));
        Self {
            bounds: parts.take(Part::OUTPUT_BOUNDS, Bounds::is_sound).unwrap_or_default(),
            linear,
            mixture: parts
                .take(Part::MIXTURE, |mixture: &Mixture| mixture.fits(spec) && mixture.is_sound())
                .unwrap_or_else(|| Mixture::new(spec)),
            calibration: parts
                .take(Part::CALIBRATION, |calibration: &Calibration| calibration.fits(spec) && calibration.is_sound())
                .unwrap_or_else(|| Calibration::new(spec)),
            detector: parts
                .take(Part::ANOMALY_DETECTOR, |detector: &Detector| detector.fits(spec) && detector.is_sound())
                .unwrap_or_else(|| Detector::new(spec)),
            pending: parts
                .take(Part::PENDING_FORECASTS, |pending: &Pending| pending.fits(spec) && pending.is_sound(spec))
                .unwrap_or_else(|| Pending::new(spec)),
        }
    }

    /// Scores what has matured at `slot`, before [`SeriesState::take`] takes it in, and learns from it. Returns how unusual its
    /// value is, where the step before made a forecast. The score is 1 minus the share of values that are as unusual: 0.99 says
    /// one in a hundred. Within the outermost quantiles of that forecast they say it (1 minus the two-sided tail probability);
    /// beyond, all that came before: how rare such an error is, or such a mean of the newest errors. Where one number
    /// is forecast of a horizon, it is that of the number which this slot completes.
    ///
    /// The value before may turn out to have been a spike, which teaches nothing: `series` then forgets it.
    pub fn mature(
        &mut self,
        spec: &ForecastSpec,
        series: &mut SeriesState,
        slot: &ClosedSlot,
        facts: &mut AccuracySums,
    ) -> Option<Anomaly> {
        if self.detector.spike_is_over(series.value_back(1), series.value_back(0), slot.value) {
            series.mark_newest_missing();
            self.linear.mark_newest_missing();
        }
        self.pending.advance(spec);
        let value = completed(spec, series, slot.value);
        let anomaly = value.and_then(|value| self.judge(spec, series, value, facts));
        let spike = anomaly.is_some() && self.detector.is_spike();
        slot.value.filter(|_| !spike).inspect(|value| self.bounds.take(*value));
        self.linear.learn(spec, series, slot, spike, value);
        let value = value?;
        if self.linear.begins(spec) {
            self.mixture.forget(spec, Expert::Linear);
        }
        for bucket in 0..spec.buckets.len() {
            self.mature_points(spec, series, value, bucket, &mut facts.buckets[bucket]);
            self.mature_quantiles(spec, series, value, bucket, &mut facts.buckets[bucket]);
        }
        anomaly
    }

    /// Makes the forecast of the newest step, after [`SeriesState::take`] and the network's step, and remembers what must
    /// mature. `network` is `[output][level]` in the series' scale; `out` is of [`Forecast::new`].
    pub fn forecast(&mut self, spec: &ForecastSpec, series: &SeriesState, network: &[f32], out: &mut Forecast) {
        let (anchor, scale, levels) = (series.last_value(), series.scale(), spec.levels.len());
        let network_point = |place: usize| {
            let quantiles = &network[place * levels..(place + 1) * levels];
            held(if spec.network_alone { quantiles[spec.median] } else { spec.mean(quantiles) })
        };
        let bounds = self.bounds.known();
        seasonal_path(spec, series, anchor, &mut out.point);
        for (model, path) in out.linear.iter_mut().enumerate() {
            self.linear.path(spec, series, model, path);
        }
        self.linear.remember(spec, series);
        out.weights.clear();
        let of_bucket = |bucket| Aim::ALL.map(|aim| self.mixture.weights(bucket, aim));
        out.weights.extend((0..spec.buckets.len()).map(of_bucket));
        for (place, point) in out.point.iter_mut().enumerate() {
            let Between { below, above, share } = spec.of_middles[place];
            let (low, high) = (&out.weights[below], &out.weights[above]);
            let seasonal = *point;
            let [mean, median] = Aim::ALL.map(|aim| {
                if spec.network_alone {
                    return anchor + scale * f64::from(network_point(place));
                }
                let (low, high) = (&low[aim as usize], &high[aim as usize]);
                let weight = |expert: Expert| {
                    let expert = expert as usize;
                    f64::from(low[expert] + share * (high[expert] - low[expert]))
                };
                let linear =
                    [Expert::Linear, Expert::LinearSeasonal, Expert::LinearWeekly].into_iter().zip(&out.linear);
                let mixed = anchor
                    + weight(Expert::SeasonalNaive) * seasonal
                    + linear.map(|(expert, path)| weight(expert) * path[place]).sum::<f64>()
                    + weight(Expert::Network) * scale * f64::from(network_point(place));
                bounds.hold_point(mixed, anchor)
            });
            *point = mean;
            out.quantiles[place * levels + spec.median] = median;
        }
        self.pending.open(scale);
        let median_at = |quantiles: &[f64], place: usize| quantiles[place * levels + spec.median];
        for (bucket, (middle, end)) in spec.middles.iter().zip(&spec.buckets).enumerate() {
            let (at, end) = (spec.output_index(*middle), spec.output_index(*end));
            let linear = std::array::from_fn(|model| scaled(out.linear[model][at], scale));
            let apart = |value: f64| scaled(value - anchor, scale);
            let (mixed, median) = (apart(out.point[at]), apart(median_at(&out.quantiles, at)));
            let points = Points { linear, network: network_point(at), mixed, median };
            self.pending.remember_points(spec, bucket, points, apart(median_at(&out.quantiles, end)));
        }
        self.calibration.prepare(spec, (series.mean_absolute_difference() / scale) as f32);
        let pending = &mut self.pending;
        self.calibration.spread(spec, network, |place, distances, at_end| {
            let quantiles = &mut out.quantiles[place * levels..(place + 1) * levels];
            let median = quantiles[spec.median];
            outward(spec.median, distances, |level, distance| {
                let quantile = median + scale * f64::from(distance);
                quantiles[level] = bounds.hold_quantile(quantile, level > spec.median);
            });
            if let Some((bucket, wider)) = at_end {
                pending.remember_quantiles(spec, bucket, distances, wider);
            }
        });
        out.crossing = spec.threshold.map(|threshold| self.crossing(spec, threshold, scale, out));
    }

    /// The series starts anew after a gap that is not bridged: what is pending goes, what was learnt stays.
    pub fn reset(&mut self) {
        self.pending.clear();
    }

    /// How probably the number that `forecast` tells lies beyond the threshold: above it, or below it where the number is
    /// a minimum.
    fn crossing(&self, spec: &ForecastSpec, threshold: f64, scale: f64, forecast: &Forecast) -> f32 {
        let distance = |value: f64| scaled(value - forecast.quantiles[spec.median], scale);
        let (residual, usual) = (distance(threshold), self.calibration.usual(0));
        let tail = self.detector.tail().probability(spec, residual, usual, |level| distance(forecast.quantiles[level]));
        let above = if residual >= 0.0 { tail } else { 1.0 - tail };
        if spec.target == Some(Target::Minimum) { 1.0 - above } else { above }
    }

    /// How unusual `value` is after the newest forecast for it, if there was one.
    fn judge(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        value: f64,
        facts: &mut AccuracySums,
    ) -> Option<Anomaly> {
        let apart = |bucket: usize| {
            let (anchor, scale) = self.origin(series, spec.buckets[bucket])?;
            Some((scaled(value - anchor, scale), scale))
        };
        let (distance, scale) = apart(0)?;
        let residual = distance - self.pending.quantiles(spec, 0).0;
        // Of the mean: a median that stays at the last value hides half of what a series does.
        let newest = f64::from(distance - self.pending.points(spec, 0).mixed) * scale;
        let far = far_bucket(spec).and_then(|bucket| {
            let (distance, scale) = apart(bucket)?;
            Some(f64::from(distance - self.pending.quantiles(spec, bucket).0) * scale)
        });
        let issued = self.pending.quantiles(spec, 0).1;
        let usual = self.calibration.usual(0);
        let anomaly = self
            .detector
            .judge(spec, newest, far, |tail| tail.score(spec, residual, usual, |level| unhalve(issued[level])));
        facts.scored += 1;
        facts.anomalous += u64::from(anomaly.anomalous);
        Some(anomaly)
    }

    /// The experts' forecasts for this value at the bucket's middle.
    fn mature_points(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        value: f64,
        bucket: usize,
        facts: &mut BucketSums,
    ) {
        let lead = spec.middles[bucket];
        let Some((anchor, scale)) = self.origin(series, lead) else { return };
        let points = self.pending.points(spec, bucket);
        let target = scaled(value - anchor, scale);
        let seasonal = scaled(seasonal_before(spec, series, anchor, lead), scale);
        let [linear, without_season, without_week] = points.linear;
        let experts: [f32; EXPERTS] = [0.0, seasonal, linear, without_season, without_week, points.network];
        let mixed = error(target, points.mixed);
        facts.points += 1;
        facts.absolute_error += f64::from(error(target, points.median).abs());
        facts.squared_error += f64::from(mixed) * f64::from(mixed);
        for (expert, weight) in self.mixture.weights(bucket, Aim::Mean).into_iter().enumerate() {
            facts.expert_errors[expert] += f64::from(error(target, experts[expert]).abs());
            facts.expert_weights[expert] += f64::from(weight);
        }
        let units = self.linear.units(scale);
        let far = |distance: f32| (distance * units).clamp(-FARTHEST, FARTHEST);
        self.mixture.learn(spec, bucket, far(target), far(points.mixed), experts.map(far));
    }

    /// The quantiles issued for this value at the bucket's end.
    fn mature_quantiles(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        value: f64,
        bucket: usize,
        facts: &mut BucketSums,
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

/// What the coming slot, with this value, makes known: the value itself, or the one number of the horizon that it ends.
fn completed(spec: &ForecastSpec, series: &SeriesState, value: Option<f64>) -> Option<f64> {
    let Some(target) = spec.target else { return value };
    let before = (0..spec.horizon - 1).rev().map(|back| series.value_back(back));
    target.of(before.chain([value]).map(|value| value.unwrap_or(f64::NAN)))
}

#[cfg(test)]
mod tests;
