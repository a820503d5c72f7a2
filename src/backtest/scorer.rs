//! Scores forecasts and naive forecasts when the values that they target arrive.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use super::brier::{BaseRate, BrierScores, BrierSums, Crossing};
use super::error_scale::ErrorScale;
use super::method::{METHODS, Method, MethodErrors};
use crate::forecast::{ForecastSpec, PointMeasures, QuantileMeasures};
use crate::series::Target;

/// The scores of a backtest. Memory: at most `horizon` open windows of `horizon * (levels + 3)` numbers for each
/// series.
pub(super) struct Scorer {
    spec: ForecastSpec,
    rows: Range<usize>,
    series: Vec<SeriesScores>,
    /// The reported horizons, ascending.
    horizons: Vec<usize>,
    /// Errors of the complete windows, those whose targets all lie in the rows: one entry per output.
    leads: Vec<ErrorSums>,
    /// Errors of the incomplete windows, `[horizons]`: only their targets up to a shorter reported horizon lie in the
    /// rows. They count for that horizon and shorter ones, so that a horizon's errors do not depend on longer horizons.
    incomplete: Vec<ErrorSums>,
    /// The distinct slots from which a complete window was made.
    origins: HashSet<i64>,
    /// Quantiles of the two naive forecasts: the same value at every level.
    naive_quantiles: [Vec<f64>; 2],
    /// Brier sums, if an aggregate and a threshold are forecast.
    brier: Option<BrierSums>,
}

/// A forecast to score.
pub(super) struct ScoredForecast<'a> {
    /// Slot of the origin.
    pub slot: i64,
    /// Value at the origin.
    pub value: f64,
    /// Point forecasts, `[output]`.
    pub point: &'a [f64],
    /// Quantiles, `[output][level]`.
    pub quantiles: &'a [f64],
    /// Probability that the aggregate crosses the threshold.
    pub crossing: Option<f32>,
}

/// One forecast of one target.
struct Prediction<'a> {
    mean: f64,
    quantiles: &'a [f64],
}

/// Error sums by method.
#[derive(Clone)]
struct ErrorSums {
    points: [PointMeasures; METHODS],
    quantiles: [QuantileMeasures; METHODS],
}

impl ErrorSums {
    fn new(levels: &[f32]) -> Self {
        Self { points: Default::default(), quantiles: std::array::from_fn(|_| QuantileMeasures::new(levels)) }
    }

    /// Adds a target with its prediction by each method. `median` is the index of the median.
    fn add(&mut self, target: f64, predictions: &[Prediction<'_>; METHODS], median: usize, naive_mae: Option<f64>) {
        for (method, Prediction { mean, quantiles }) in predictions.iter().enumerate() {
            self.points[method].add(target, *mean, quantiles[median], naive_mae);
            self.quantiles[method].add(target, quantiles);
        }
    }
}

/// A scaled value in its slot.
#[derive(Debug, Clone, Copy)]
struct SlotValue {
    slot: i64,
    value: f64,
}

struct SeriesScores {
    scale: ErrorScale,
    /// The newest season of values, at the index `slot` modulo the season.
    season: Vec<SlotValue>,
    windows: VecDeque<Window>,
    base_rate: BaseRate,
    /// Closed windows, for reuse.
    unused: Vec<Window>,
}

/// One open forecast, in the series' scaled unit.
struct Window {
    slot: i64,
    last: f64,
    /// Incomplete windows: how many of the reported horizons it counts for.
    counted_horizons: Option<usize>,
    /// Point forecasts, `[output]`.
    point: Vec<f64>,
    /// Seasonal naive forecasts, `[output]`.
    seasonal: Vec<f64>,
    /// Quantiles, `[output][level]`.
    quantiles: Vec<f64>,
    /// Aggregates only: the values so far, `[horizon]`; NaN without one.
    observed: Vec<f64>,
    /// The predicted probability of crossing, and the base rate at the origin.
    crossing: Option<(f32, f64)>,
}

impl Window {
    /// The lead of a slot; 0 for slots up to the origin.
    fn lead(&self, slot: i64) -> usize {
        usize::try_from(slot - self.slot).unwrap_or(0)
    }

    /// The predictions of one output by each method. `naive` receives the quantiles of the naive methods.
    fn predictions<'a>(
        &'a self,
        output: usize,
        levels: usize,
        naive: &'a mut [Vec<f64>; 2],
    ) -> [Prediction<'a>; METHODS] {
        let [last, seasonal] = naive;
        last.fill(self.last);
        seasonal.fill(self.seasonal[output]);
        let quantiles = &self.quantiles[output * levels..(output + 1) * levels];
        [
            Prediction { mean: self.point[output], quantiles },
            Prediction { mean: self.last, quantiles: last },
            Prediction { mean: self.seasonal[output], quantiles: seasonal },
        ]
    }
}

impl Scorer {
    /// Scores, for each of `horizons`, the windows whose targets up to it all lie in `rows`. `scales` has one entry per
    /// series.
    pub fn new(spec: &ForecastSpec, horizons: &[usize], rows: Range<usize>, scales: Vec<ErrorScale>) -> Self {
        let season = if spec.season >= 2 { spec.season } else { 1 };
        let series = |scale| SeriesScores {
            scale,
            season: vec![SlotValue { slot: i64::MIN, value: 0.0 }; season],
            windows: VecDeque::new(),
            base_rate: BaseRate::default(),
            unused: Vec::new(),
        };
        let mut horizons = horizons.to_vec();
        horizons.sort_unstable();
        let errors = ErrorSums::new(&spec.levels);
        Self {
            rows,
            series: scales.into_iter().map(series).collect(),
            leads: vec![errors.clone(); spec.outputs()],
            incomplete: vec![errors; horizons.len()],
            horizons,
            origins: HashSet::new(),
            naive_quantiles: [vec![0.0; spec.levels.len()], vec![0.0; spec.levels.len()]],
            brier: spec.threshold.zip(spec.target).map(|(threshold, target)| BrierSums::new(threshold, target)),
            spec: spec.clone(),
        }
    }

    /// Scores the forecasts that target this value. The forecast from it opens afterwards.
    pub fn observe(&mut self, index: usize, slot: i64, value: f64) {
        let series = &mut self.series[index];
        let value = series.scale.scaled(value);
        let place = season_index(slot, series.season.len());
        series.season[place] = SlotValue { slot, value };
        if let Some(target) = self.spec.target {
            return self.observe_aggregate(target, index, slot, value);
        }
        let horizon = self.spec.horizon;
        while series.windows.front().is_some_and(|window| window.lead(slot) > horizon) {
            series.unused.extend(series.windows.pop_front());
        }
        let (levels, median) = (self.spec.levels.len(), self.spec.median());
        for window in series.windows.iter().filter(|window| window.lead(slot) > 0) {
            let at = window.lead(slot) - 1;
            let predictions = window.predictions(at, levels, &mut self.naive_quantiles);
            match window.counted_horizons {
                None => self.leads[at].add(value, &predictions, median, series.scale.naive_mae),
                Some(count) => {
                    let horizons = self.horizons[..count].iter().zip(&mut self.incomplete);
                    for (_, errors) in horizons.filter(|(horizon, _)| at < **horizon) {
                        errors.add(value, &predictions, median, series.scale.naive_mae);
                    }
                }
            }
        }
    }

    /// Observes a value of an aggregate target, which is known with the last value of the horizon.
    fn observe_aggregate(&mut self, target: Target, index: usize, slot: i64, value: f64) {
        let series = &mut self.series[index];
        let (scale, horizon) = (series.scale, self.spec.horizon);
        for window in &mut series.windows {
            if let Some(observed) = window.lead(slot).checked_sub(1).and_then(|at| window.observed.get_mut(at)) {
                *observed = value;
            }
        }
        while series.windows.front().is_some_and(|window| window.lead(slot) >= horizon) {
            let Some(window) = series.windows.pop_front() else { break };
            if let Some(aggregate) = target.of(window.observed.iter().copied()) {
                let naive = [window.last, window.seasonal[0]];
                let predictions = window.predictions(0, self.spec.levels.len(), &mut self.naive_quantiles);
                self.leads[0].add(aggregate, &predictions, self.spec.median(), scale.naive_mae);
                if let Some((brier, (probability, base_rate))) = self.brier.as_mut().zip(window.crossing) {
                    let (target, naive) = (scale.unscaled(aggregate), naive.map(|value| scale.unscaled(value)));
                    brier.add(&Crossing { target, probability, naive, base_rate }, &mut series.base_rate);
                }
            }
            series.unused.push(window);
        }
    }

    /// Opens a forecast from an observed value in row `row`.
    pub fn open(&mut self, series: usize, row: usize, forecast: &ScoredForecast<'_>) {
        let (horizon, outputs, slot) = (self.spec.horizon, self.spec.outputs(), forecast.slot);
        let is_inside = |lead: usize| row + lead < self.rows.end;
        let counted = self.horizons.partition_point(|horizon| is_inside(*horizon));
        if row + 1 < self.rows.start || counted == 0 && !is_inside(horizon) {
            return;
        }
        let counted_horizons = (!is_inside(horizon)).then_some(counted);
        if counted_horizons.is_none() {
            self.origins.insert(slot);
        }
        let series = &mut self.series[series];
        let mut window = series.unused.pop().unwrap_or_else(|| Window {
            slot,
            last: 0.0,
            counted_horizons: None,
            point: vec![0.0; outputs],
            seasonal: vec![0.0; outputs],
            quantiles: vec![0.0; forecast.quantiles.len()],
            observed: Vec::new(),
            crossing: None,
        });
        let scale = series.scale;
        (window.slot, window.last, window.counted_horizons) = (slot, scale.scaled(forecast.value), counted_horizons);
        window.crossing = forecast.crossing.map(|probability| (probability, series.base_rate.share()));
        let fill = |out: &mut Vec<f64>, values: &[f64]| {
            out.clear();
            out.extend(values.iter().map(|value| scale.scaled(*value)));
        };
        fill(&mut window.point, forecast.point);
        fill(&mut window.quantiles, forecast.quantiles);
        // Whole seasons before the target, within the newest season.
        let seasonal = |lead: usize| {
            let slot = slot + signed(lead) - signed(self.spec.seasonal_lag(lead)?);
            let stored = series.season[season_index(slot, series.season.len())];
            (stored.slot == slot).then_some(stored.value)
        };
        if let Some(target) = self.spec.target {
            window.observed.clear();
            window.observed.resize(horizon, f64::NAN);
            let path = (1..=horizon).map(|lead| seasonal(lead).unwrap_or(f64::NAN));
            window.seasonal[0] = target.of(path).unwrap_or(window.last);
        } else {
            for (lead, out) in (1..).zip(&mut window.seasonal) {
                *out = seasonal(lead).unwrap_or(window.last);
            }
        }
        series.windows.push_back(window);
    }

    /// Number of distinct origins of complete windows.
    pub fn origins(&self) -> usize {
        self.origins.len()
    }

    /// Brier scores of the probability of crossing, if a threshold is set.
    pub fn brier_scores(&self) -> Option<BrierScores> {
        self.brier.as_ref()?.scores()
    }

    /// For each reported horizon and each method, the means over leads 1 to the horizon.
    pub fn errors_by_horizon(&self) -> Vec<MethodErrors> {
        let rows = self.horizons.iter().zip(&self.incomplete).flat_map(|(&horizon, incomplete)| {
            let leads = &self.leads[..=self.spec.output_index(horizon)];
            Method::ALL.map(|method| self.mean(leads.iter().chain([incomplete]), horizon, method))
        });
        rows.collect()
    }

    /// The means at each lead alone.
    pub fn errors_by_lead(&self, method: Method) -> Vec<MethodErrors> {
        self.spec.leads().zip(&self.leads).map(|(lead, errors)| self.mean([errors], lead, method)).collect()
    }

    fn mean<'a>(&self, sums: impl IntoIterator<Item = &'a ErrorSums>, horizon: usize, method: Method) -> MethodErrors {
        let mut points = PointMeasures::default();
        let mut quantiles = QuantileMeasures::new(&self.spec.levels);
        for sums in sums {
            points.merge(&sums.points[method as usize]);
            quantiles.merge(&sums.quantiles[method as usize]);
        }
        let scored = method == Method::Foretide && points.count() > 0;
        MethodErrors {
            method,
            horizon,
            mse: points.mse(),
            mae: points.mae(),
            mase: points.mase(),
            smape: points.smape(),
            wql: quantiles.weighted_quantile_loss(),
            coverage: if scored { quantiles.coverage() } else { Vec::new() },
        }
    }
}

fn season_index(slot: i64, season: usize) -> usize {
    usize::try_from(slot.rem_euclid(signed(season))).unwrap_or(0)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_equal_those_by_hand() {
        let spec = ForecastSpec::new(3, &[0.1, 0.5, 0.9], 2).unwrap();
        let scale = ErrorScale { centre: 1.0, scale: 2.0, naive_mae: Some(0.5) };
        let mut scorer = Scorer::new(&spec, &[1, 3], 1..6, vec![scale]);
        for (row, value) in [(0, 1.0), (1, 3.0), (2, 5.0), (4, 9.0), (5, 1.0)] {
            let slot = row as i64 - 3; // across zero
            scorer.observe(0, slot, value);
            let quantiles = &[value - 1.0, value, value + 4.0].repeat(3);
            scorer.open(0, row, &ScoredForecast { slot, value, point: &[value; 3], quantiles, crossing: None });
        }
        // Windows from rows 0, 1 and 2; the window from row 4 counts for one step only. Scaled targets: 0, 1, 2, gap,
        // 4, 0.
        assert_eq!(scorer.origins(), 3);
        let rows = scorer.errors_by_horizon();
        let find = |method, horizon| rows.iter().find(|row| row.method == method && row.horizon == horizon).unwrap();
        let last = find(Method::LastValue, 1);
        assert_eq!((last.mse, last.mae, last.mase), (Some(6.0), Some(2.0), Some(4.0)), "rows 0 to 1, 1 to 2, 4 to 5");
        // Errors at lead 1: 1, 1; at lead 2: 2 (0 to 2), 2 (2 to 4); at lead 3: 3 (1 to 4), -2 (2 to 5).
        assert_eq!(find(Method::LastValue, 3).mae, Some(11.0 / 6.0));
        // From row 0: no season yet at lead 1 (last value), 0 at lead 2. From row 1: 0, 1, 0. From row 2: 1, 2, 1.
        let seasonal = [1.0, 2.0, 2.0, 4.0, 2.0, 1.0];
        assert_eq!(find(Method::SeasonalNaive, 3).mae, Some(seasonal.iter().sum::<f64>() / 6.0));
        let ours = find(Method::Foretide, 3);
        assert_eq!(ours.mse, find(Method::LastValue, 3).mse);
        assert_eq!(ours.coverage.len(), 1);
        assert!((ours.coverage[0].inside - 4.0 / 6.0).abs() < 1e-12, "{:?}", ours.coverage);
        assert!(find(Method::LastValue, 3).coverage.is_empty());
        assert!(ours.wql.unwrap() < find(Method::LastValue, 3).wql.unwrap());
    }

    #[test]
    fn errors_of_an_aggregate_equal_those_by_hand() {
        let spec = ForecastSpec::aggregate(3, &[0.1, 0.5, 0.9], 2, Target::Maximum, Some(5.0)).unwrap();
        let scale = ErrorScale { centre: 1.0, scale: 2.0, naive_mae: None };
        let mut scorer = Scorer::new(&spec, &[3], 1..8, vec![scale]);
        for (row, value) in [(0, 1.0), (1, 3.0), (2, 5.0), (4, 9.0), (5, 1.0), (7, 1.0)] {
            let slot = row as i64 - 3;
            scorer.observe(0, slot, value);
            let quantiles = &[value - 1.0, value, value + 4.0];
            scorer.open(0, row, &ScoredForecast { slot, value, point: &[value], quantiles, crossing: Some(0.5) });
        }
        // Largest values of rows 1..=3, 2..=4, 3..=5 and, from row 4, 5..=7: 5, 9, 9, 1.
        assert_eq!(scorer.origins(), 4);
        let rows = scorer.errors_by_horizon();
        let mae = |method| rows.iter().find(|row| row.method == method && row.horizon == 3).unwrap().mae;
        assert_eq!(mae(Method::LastValue), Some((4.0 + 6.0 + 4.0 + 8.0) / 2.0 / 4.0));
        assert_eq!(mae(Method::Foretide), mae(Method::LastValue));
        // A season of two before: the last value yet, 3, 5, and of rows 4 and 3 (a gap) only the first: 9.
        assert_eq!(mae(Method::SeasonalNaive), Some((4.0 + 6.0 + 4.0 + 8.0) / 2.0 / 4.0));
        let crossing = scorer.brier_scores().unwrap();
        assert_eq!((crossing.share, crossing.by_method), (0.5, [0.25, 0.75, 0.75]));
        assert_eq!(scorer.errors_by_lead(Method::Foretide).len(), 1);
    }
}
