//! The forecasting state of one series.

use super::accuracy::sums::{AccuracySums, BucketSums};
use super::anomaly::absence::AbsenceRates;
use super::anomaly::detector::{AnomalyDetector, ForecastErrors, far_bucket};
use super::anomaly::forecast_tail::TailQuery;
use super::anomaly::spike::SpikeDetector;
use super::anomaly::thresholds::AnomalyScore;
use super::bf16::from_bf16;
use super::distribution::conformal_calibration::{Calibration, MaturedQuantiles};
use super::distribution::quantile_blocks::for_each_without_crossing;
use super::experts::contract::{ForecastInput, PointForecaster};
use super::experts::expert::{EXPERTS, Expert, LINEAR_EXPERTS, Weights};
use super::experts::last_value::LastValue;
use super::experts::network::Network;
use super::experts::recursive_least_squares::{LinearExperts, LinearForecaster, is_first_forecast};
use super::experts::seasonal_naive::SeasonalNaive;
use super::future_covariates::FutureCovariateModel;
use super::history::observation::Observation;
use super::history::series_history::History;
use super::lead_tables::Interpolation;
use super::mixture::{Mixture, Objective, ScoredForecast};
use super::numeric::{MAX_ERROR, clamped_error, scaled_by};
use super::output::Forecast;
use super::output_bounds::OutputBounds;
use super::pending_forecasts::{PendingForecasts, PendingPoints, PendingQuantiles};
use super::spec::ForecastSpec;
use super::step::StepObserver;
use super::stream_prior::StreamPrior;
use super::value_bounds::ValueBounds;
use super::widening::widening_factors;
use crate::series::{ClosedSlot, Correction, SeriesState, Target, clone_in_place};
use crate::snapshot::{Part, PartReader, PartWriter};

/// Everything that forecasts one series: the experts, their mixture, the calibration of the quantiles, the anomaly
/// detector, and the forecasts whose targets have not come.
#[derive(Debug, PartialEq)]
pub struct ForecastState {
    bounds: OutputBounds,
    history: History,
    linear: LinearExperts,
    /// Only where there are future covariates.
    future: Option<Box<FutureCovariateModel>>,
    mixture: Mixture,
    calibration: Calibration,
    detector: AnomalyDetector,
    /// Only where absent values have an anomaly score.
    absence: Option<Box<AbsenceRates>>,
    pending: PendingForecasts,
}

clone_in_place!(ForecastState { bounds, history, linear, future, mixture, calibration, detector, absence, pending });

impl ForecastState {
    /// The state of a new series.
    pub fn new(spec: &ForecastSpec) -> Self {
        Self {
            bounds: OutputBounds::default(),
            history: History::new(spec),
            linear: LinearExperts::new(spec),
            future: FutureCovariateModel::new(spec),
            mixture: Mixture::new(spec),
            calibration: Calibration::new(spec),
            detector: AnomalyDetector::new(spec),
            absence: spec.scores_absence.then(Box::default),
            pending: PendingForecasts::new(spec),
        }
    }

    /// The state of a new series in a stream whose other series are known; `prior` must [fit](StreamPrior::fits)
    /// `spec`.
    pub fn cold_start(spec: &ForecastSpec, prior: &StreamPrior) -> Self {
        Self { calibration: Calibration::cold_start(spec, prior), ..Self::new(spec) }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        let future = |model: &FutureCovariateModel| size_of::<FutureCovariateModel>() + model.heap_bytes();
        size_of::<Self>()
            + self.history.heap_bytes()
            + self.linear.heap_bytes()
            + self.future.as_deref().map_or(0, future)
            + self.mixture.heap_bytes()
            + self.calibration.heap_bytes()
            + self.detector.heap_bytes()
            + self.absence.as_ref().map_or(0, |_| size_of::<AbsenceRates>())
            + self.pending.heap_bytes()
    }

    /// Writes the parts of a snapshot that hold this state.
    pub fn write_parts(&self, parts: &mut PartWriter<'_>) {
        parts.put(Part::OUTPUT_BOUNDS, &self.bounds);
        parts.put(Part::HISTORY, &self.history);
        parts.put(Part::LINEAR_EXPERTS, &self.linear);
        self.future.iter().for_each(|future| parts.put(Part::FUTURE_COVARIATE_EXPERTS, future));
        parts.put(Part::MIXTURE, &self.mixture);
        parts.put(Part::CALIBRATION, &self.calibration);
        parts.put(Part::ANOMALY_DETECTOR, &self.detector);
        self.absence.iter().for_each(|absence| parts.put(Part::ABSENCE, absence));
        parts.put(Part::PENDING_FORECASTS, &self.pending);
    }

    /// Reads the state back from the parts of a snapshot, with a fresh part in place of each one that cannot be used.
    /// Where a fresh part changes the forecasts of the linear experts, the mixture starts to weight them afresh too.
    pub fn read_parts(spec: &ForecastSpec, parts: &mut PartReader<'_>) -> Self {
        let history = parts.take(Part::HISTORY, |history: &History| history.is_sound(spec));
        let linear = parts.take(Part::LINEAR_EXPERTS, |linear: &LinearExperts| linear.is_sound(spec));
        let is_sound = |future: &FutureCovariateModel| future.is_sound(spec);
        let has_future = spec.future_covariates > 0;
        let future = if has_future { parts.take(Part::FUTURE_COVARIATE_EXPERTS, is_sound) } else { None }.map(Box::new);
        let mixture = parts.take(Part::MIXTURE, |mixture: &Mixture| mixture.is_sound(spec));
        let mut mixture = mixture.unwrap_or_else(|| Mixture::new(spec));
        if history.is_none() || linear.is_none() || has_future && future.is_none() {
            Expert::LINEAR.into_iter().for_each(|expert| mixture.reset_expert(spec, expert));
        }
        Self {
            bounds: parts.take(Part::OUTPUT_BOUNDS, OutputBounds::is_sound).unwrap_or_default(),
            history: history.unwrap_or_else(|| History::new(spec)),
            linear: linear.unwrap_or_else(|| LinearExperts::new(spec)),
            future: future.or_else(|| FutureCovariateModel::new(spec)),
            mixture,
            calibration: parts
                .take(Part::CALIBRATION, |calibration: &Calibration| calibration.is_sound(spec))
                .unwrap_or_else(|| Calibration::new(spec)),
            detector: parts
                .take(Part::ANOMALY_DETECTOR, |detector: &AnomalyDetector| detector.is_sound(spec))
                .unwrap_or_else(|| AnomalyDetector::new(spec)),
            absence: spec
                .scores_absence
                .then(|| Box::new(parts.take(Part::ABSENCE, AbsenceRates::is_sound).unwrap_or_default())),
            pending: parts
                .take(Part::PENDING_FORECASTS, |pending: &PendingForecasts| pending.is_sound(spec))
                .unwrap_or_else(|| PendingForecasts::new(spec)),
        }
    }

    /// A late reading has corrected a step. Forecasts from it that are still to be scored were made from another value,
    /// and are not.
    pub fn correct(&mut self, correction: &Correction) {
        self.history.correct(correction);
        self.pending.discard(correction.steps_back);
    }

    /// Learns from the next step of the series; see [`SeriesStep`](super::SeriesStep).
    pub fn learner<'a>(&'a mut self, spec: &'a ForecastSpec, sums: &'a mut AccuracySums) -> ForecastLearner<'a> {
        ForecastLearner { state: self, spec, sums, score: None }
    }

    /// Scores the forecasts whose target is the value of `slot`, which `series` does not hold yet, and learns from
    /// them.
    ///
    /// Returns the anomaly score of the value; `None` where the step before made no forecast. Within the outermost
    /// quantiles of that forecast the score is 1 minus the two-sided tail probability; beyond them all earlier errors
    /// say how rare it is. In a forecast of an aggregate it is the score of the aggregate that the slot completes.
    fn learn_from_matured(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        slot: &ClosedSlot,
        sums: &mut AccuracySums,
    ) -> Option<AnomalyScore> {
        self.pending.advance(spec);
        let target = completed_target(spec, series, slot.value);
        let score = target.and_then(|target| self.score(spec, series, target, sums));
        let is_spike = score.is_some() && self.detector.spikes().newest_is_spike();
        slot.value.filter(|_| !is_spike).inspect(|value| self.bounds.update(*value));
        self.update_experts(spec, series, slot, is_spike, target);
        let target = target?;
        if is_first_forecast(spec, &self.history) {
            self.mixture.reset_expert(spec, Expert::Linear);
        }
        for bucket in 0..spec.buckets.len() {
            let sums = &mut sums.buckets[bucket];
            if let Some(due) = self.due(spec, series, target, bucket, spec.middles[bucket]) {
                self.learn_points(spec, bucket, &due, sums);
            }
            if let Some(due) = self.due(spec, series, target, bucket, spec.buckets[bucket]) {
                self.learn_quantiles(spec, bucket, slot.slot, &due, sums);
            }
        }
        score
    }

    /// Adds the step to the history and to the experts that learn from it.
    fn update_experts(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        slot: &ClosedSlot,
        is_spike: bool,
        target: Option<f64>,
    ) {
        if !self.history.append(spec, slot, is_spike) {
            return;
        }
        let due = self.future.as_mut().map(|future| future.advance(spec, series));
        let observation = Observation {
            spec,
            series,
            slot: slot.slot,
            has_value: slot.value.is_some() && !is_spike,
            completed: target.map(|target| self.history.relative(target)),
        };
        if self.history.has_regressors() {
            let future = due.as_ref().zip(self.future.as_deref_mut());
            self.linear.learn_from_matured(&self.history, &observation, future);
        }
        if observation.has_value {
            self.history.add_value(spec, slot.slot);
            if self.history.has_regressors() {
                self.linear.update_covariances(&self.history, &observation);
            }
            self.history.count_value();
        } else if slot.value.is_some() {
            self.history.add_spike(spec, slot.slot);
        }
    }

    /// Forecasts from the newest step of `series` within `bounds`, and keeps what its targets will score. `network` is
    /// `[output][level]` in the series' scale; `out` comes from [`Forecast::new`].
    pub fn forecast(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        bounds: ValueBounds,
        network: &[f32],
        out: &mut Forecast,
    ) {
        let (last_value, scale, levels) = (series.last_value(), series.scale(), spec.levels.len());
        let limits = self.bounds.limits(last_value, series.value_back(spec.horizon), spec.pretrained);
        let input = ForecastInput { spec, series, history: &self.history, network };
        let linear = self.linear_forecasters();
        for (forecaster, outputs) in forecasters(&linear).iter().zip(&mut out.experts) {
            forecaster.forecast(&input, outputs);
        }
        for (weights, objective) in out.weights.iter_mut().zip(Objective::ALL) {
            weights.clear();
            weights.extend((0..spec.buckets.len()).map(|bucket| self.mixture.weights(spec, bucket, objective)));
        }
        for (output, point) in out.point.iter_mut().enumerate() {
            let between = spec.lead_tables.middles[output];
            let experts = out.experts.each_ref().map(|outputs| outputs[output]);
            let [mean, median] = Objective::ALL.map(|objective| {
                if spec.network_alone {
                    return bounds.clamp(last_value + scale * experts[Expert::Network as usize]);
                }
                let weights = &out.weights[objective as usize];
                bounds.clamp(limits.clamp_point(mix(last_value, scale, &experts, between, weights), last_value))
            });
            *point = mean;
            out.quantiles[output * levels + spec.median()] = median;
        }
        if let Some(future) = &mut self.future {
            future.store(spec, series);
        }
        self.pending.open(scale);
        let relative = |value: f64| scaled_by(value - last_value, scale);
        let median_at = |quantiles: &[f64], output: usize| relative(quantiles[output * levels + spec.median()]);
        for (bucket, (middle, end)) in spec.middles.iter().zip(&spec.buckets).enumerate() {
            let (at, end) = (spec.output_index(*middle), spec.output_index(*end));
            let points = PendingPoints {
                seasonal_naive: scaled_by(out.experts[Expert::SeasonalNaive as usize][at], scale),
                linear: Expert::LINEAR.map(|expert| scaled_by(out.experts[expert as usize][at], scale)),
                network: out.experts[Expert::Network as usize][at] as f32,
                mean: relative(out.point[at]),
                median: median_at(&out.quantiles, at),
            };
            self.pending.put_points(spec, bucket, points, median_at(&out.quantiles, end));
        }
        self.calibration.initialise(spec, (series.mean_absolute_difference() / scale) as f32, network);
        let factors = widening_factors(spec, &self.calibration, self.history.uncertain_steps());
        let pending = &mut self.pending;
        let first_slot = series.newest_slot().map_or(0, |slot| slot.saturating_add(1));
        self.calibration.for_each_output(spec, network, first_slot, &factors, |calibrated| {
            let quantiles = &mut out.quantiles[calibrated.output * levels..(calibrated.output + 1) * levels];
            let median = quantiles[spec.median()];
            for_each_without_crossing(spec.median(), calibrated.deviations, |level, deviation| {
                let quantile = median + scale * f64::from(deviation);
                quantiles[level] = bounds.clamp(limits.clamp_quantile(quantile, median));
            });
            if let Some(end) = calibrated.bucket_end {
                pending.put_quantiles(spec, calibrated.deviations, end);
            }
        });
        out.crossing = spec.threshold.map(|threshold| {
            let certain = bounds.crossing(threshold, spec.target == Some(Target::Minimum));
            certain.unwrap_or_else(|| self.crossing(spec, threshold, scale, out))
        });
        // The mean of whole numbers may have a fraction.
        if spec.target != Some(Target::Mean) {
            bounds.round(&mut out.quantiles);
        }
    }

    fn linear_forecasters(&self) -> [LinearForecaster<'_>; LINEAR_EXPERTS] {
        std::array::from_fn(|index| self.linear.forecaster(index, self.future.as_deref()))
    }

    /// The probability that the aggregate lies beyond the threshold: above it, or below it where the aggregate is a
    /// minimum.
    fn crossing(&self, spec: &ForecastSpec, threshold: f64, scale: f64, forecast: &Forecast) -> f32 {
        let deviation = |value: f64| scaled_by(value - forecast.quantiles[spec.median()], scale);
        let query = TailQuery {
            residual: deviation(threshold),
            mean_absolute_residual: self.calibration.mean_absolute_residual(0),
            quantile: |level: usize| deviation(forecast.quantiles[level]),
        };
        let tail = self.detector.tail().probability(spec, &query);
        let above = if query.residual >= 0.0 { tail } else { 1.0 - tail };
        if spec.target == Some(Target::Minimum) { 1.0 - above } else { above }
    }

    /// Scores a target by the newest forecast for it, and by that of a longer lead.
    fn score(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        target: f64,
        sums: &mut AccuracySums,
    ) -> Option<AnomalyScore> {
        let newest = self.due(spec, series, target, 0, spec.buckets[0])?;
        let far = far_bucket(spec).and_then(|bucket| self.due(spec, series, target, bucket, spec.buckets[bucket]));
        // Not from the clamped target: a series at rest has hardly a scale.
        let error = |due: &Due, forecast: f32| target - due.last_value - f64::from(forecast) * due.scale;
        let issued = self.pending.quantiles(spec, 0);
        let errors = ForecastErrors {
            // Of the mean: a median that stays at the last value hides half of what a series does.
            newest: error(&newest, newest.stored.mean),
            far: far.map(|due| error(&due, due.median_at_end)),
        };
        let query = TailQuery {
            residual: newest.target - issued.median,
            mean_absolute_residual: self.calibration.mean_absolute_residual(0),
            quantile: |level: usize| from_bf16(issued.deviations[level]),
        };
        let score = self.detector.score(spec, errors, |tail| tail.score(spec, &query));
        sums.scored += 1;
        sums.anomalous += u64::from(score.anomalous);
        Some(score)
    }

    /// The forecast for the current observation that was made `lead` steps ago, if one was made then.
    fn due(&self, spec: &ForecastSpec, series: &SeriesState, target: f64, bucket: usize, lead: usize) -> Option<Due> {
        let (last_value, scale) = (series.value_back(lead - 1)?, self.pending.scale(lead)?);
        let stored = self.pending.points(spec, bucket);
        Some(Due {
            last_value,
            scale,
            stored,
            target: scaled_by(target - last_value, scale),
            median_at_end: self.pending.quantiles(spec, bucket).median,
        })
    }

    /// Learns from the experts' forecasts at a bucket's middle.
    fn learn_points(&mut self, spec: &ForecastSpec, bucket: usize, due: &Due, sums: &mut BucketSums) {
        let (target, stored) = (due.target, due.stored);
        let experts = forecasters(&self.linear_forecasters()).map(|forecaster| forecaster.due(&stored));
        let error_of_mean = clamped_error(target, stored.mean);
        sums.points += 1;
        sums.absolute_error += f64::from(clamped_error(target, stored.median).abs());
        sums.squared_error += f64::from(error_of_mean) * f64::from(error_of_mean);
        for (expert, weight) in self.mixture.weights(spec, bucket, Objective::Mean).into_iter().enumerate() {
            sums.expert_errors[expert] += f64::from(clamped_error(target, experts[expert]).abs());
            sums.expert_weights[expert] += f64::from(weight);
        }
        let scale_in_units = self.history.in_units(due.scale);
        let in_units = |deviation: f32| (deviation * scale_in_units).clamp(-MAX_ERROR, MAX_ERROR);
        let scored =
            ScoredForecast { target: in_units(target), mixture: in_units(stored.mean), experts: experts.map(in_units) };
        self.mixture.learn(spec, bucket, &scored);
    }

    /// Learns from the quantiles at a bucket's end, whose target is in `slot`.
    fn learn_quantiles(&mut self, spec: &ForecastSpec, bucket: usize, slot: i64, due: &Due, sums: &mut BucketSums) {
        let PendingQuantiles { deviations: issued, lean, .. } = self.pending.quantiles(spec, bucket);
        let residual = clamped_error(due.target, due.median_at_end);
        let pinball = |(index, level): (usize, &f32)| {
            let error = residual - if index == spec.median() { 0.0 } else { from_bf16(issued[index]) };
            if error > 0.0 { level * error } else { (level - 1.0) * error }
        };
        sums.intervals += 1;
        let losses: f32 = spec.levels.iter().enumerate().map(pinball).sum();
        sums.pinball += f64::from(losses) / spec.levels.len() as f64;
        for (covered, (low, high)) in sums.covered.iter_mut().zip(spec.intervals()) {
            *covered += u64::from(from_bf16(issued[low]) <= residual && residual <= from_bf16(issued[high]));
        }
        let matured = MaturedQuantiles { slot, residual, scale: due.scale, issued, lean };
        self.calibration.learn(spec, bucket, &matured);
    }
}

/// A forecast for the current observation, and the target that scores it, relative to the last value of the time when
/// it was made, in its scale.
struct Due {
    last_value: f64,
    scale: f64,
    /// The points that were forecast for the bucket's middle.
    stored: PendingPoints,
    target: f32,
    /// The median that was forecast for the bucket's end.
    median_at_end: f32,
}

/// Learns from the steps of a series that is forecast.
pub struct ForecastLearner<'a> {
    state: &'a mut ForecastState,
    spec: &'a ForecastSpec,
    sums: &'a mut AccuracySums,
    score: Option<AnomalyScore>,
}

impl ForecastLearner<'_> {
    /// The anomaly score of the newest value; `None` where there was no forecast for it.
    pub fn score(&self) -> Option<AnomalyScore> {
        self.score
    }
}

impl StepObserver for ForecastLearner<'_> {
    fn spikes(&self) -> &SpikeDetector {
        self.state.detector.spikes()
    }

    fn observe(&mut self, series: &SeriesState, slot: &ClosedSlot, newest_was_spike: bool) {
        if slot.reset {
            self.state.pending.clear();
            self.state.history.reset(self.spec);
            self.state.absence.iter_mut().for_each(|absence| absence.reset());
        }
        if newest_was_spike {
            self.state.history.mark_newest_missing();
        }
        self.score = self.state.learn_from_matured(self.spec, series, slot, self.sums);
        if let Some(absence) = &mut self.state.absence {
            let score = absence.update(slot.value.is_none());
            let score = score.map(|score| self.state.detector.judge(self.spec, score));
            self.sums.scored += u64::from(score.is_some());
            self.sums.anomalous += u64::from(score.is_some_and(|score| score.anomalous));
            self.score = self.score.or(score);
        }
    }
}

/// All experts, in the order of [`Expert`].
fn forecasters<'a>(linear: &'a [LinearForecaster<'a>; LINEAR_EXPERTS]) -> [&'a dyn PointForecaster; EXPERTS] {
    let [zero, season, week] = linear;
    [&LastValue, &SeasonalNaive, zero, season, week, &Network]
}

/// The experts' forecasts of one output, weighted by what lies between two buckets. The weights sum to 1; the last
/// value has the remainder of the others.
#[inline]
fn mix(last_value: f64, scale: f64, experts: &[f64; EXPERTS], between: Interpolation, weights: &[Weights]) -> f64 {
    let (low, high) = (&weights[between.below], &weights[between.above]);
    let weight = |expert: usize| f64::from(low[expert] + between.share * (high[expert] - low[expert]));
    let weighted = |expert: Expert| weight(expert as usize) * experts[expert as usize];
    let network = Expert::Network as usize;
    last_value
        + weighted(Expert::SeasonalNaive)
        + Expert::LINEAR.into_iter().map(weighted).sum::<f64>()
        + weight(network) * scale * experts[network]
}

/// The target that a slot with this value completes: the value itself, or the aggregate of the horizon that ends there.
fn completed_target(spec: &ForecastSpec, series: &SeriesState, value: Option<f64>) -> Option<f64> {
    let Some(target) = spec.target else { return value };
    let earlier = (0..spec.horizon - 1).rev().map(|steps_back| series.value_back(steps_back));
    target.of(earlier.chain([value]).map(|value| value.unwrap_or(f64::NAN)))
}
