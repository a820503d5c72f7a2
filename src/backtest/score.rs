//! Forecasts wait here for the values that they target, beside those of the naive forecasters for the same targets.

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
};

use super::{
    crossing::{Crossing, Crossings, Known},
    report::{METHODS, Method, MethodErrors},
    units::Unit,
};
use crate::{
    forecast::{ForecastSpec, PointMeasures, QuantileMeasures},
    series::Target,
};

/// Everything that is scored. Memory: for each series at most `horizon` open windows of `horizon * (levels + 3)` numbers.
pub(super) struct Scorer {
    spec: ForecastSpec,
    rows: Range<usize>,
    series: Vec<Series>,
    /// The reported horizons, ascending.
    report: Vec<usize>,
    /// By the numbers that are told: windows all of whose targets lie in the rows.
    leads: Vec<Errors>,
    /// `[report]`: windows of which only the targets up to a shorter reported horizon do. They count for that one and those
    /// before it, so that a horizon's row does not depend on how much farther was forecast.
    rest: Vec<Errors>,
    /// The distinct slots from which a scored forecast was made.
    origins: HashSet<i64>,
    /// The naive forecasts as quantiles: the same number at every level.
    flat: [Vec<f64>; 2],
    /// Where one number is forecast and a threshold is set.
    crossings: Option<Crossings>,
}

/// A forecast as it was made.
pub(super) struct Made<'a> {
    /// The slot of its origin.
    pub slot: i64,
    /// The value there.
    pub value: f64,
    /// `[output]`
    pub point: &'a [f64],
    /// `[output][level]`
    pub quantiles: &'a [f64],
    /// How probably its one number lies beyond the threshold.
    pub crossing: Option<f32>,
}

/// Errors by method.
#[derive(Clone)]
struct Errors {
    points: [PointMeasures; METHODS],
    quantiles: [QuantileMeasures; METHODS],
}

impl Errors {
    fn new(levels: &[f32]) -> Self {
        Self { points: Default::default(), quantiles: std::array::from_fn(|_| QuantileMeasures::new(levels)) }
    }

    /// Takes in one target and, by method, its mean and its quantiles, that of `median` among them.
    fn add(&mut self, target: f64, forecasts: [(f64, &[f64]); METHODS], median: usize, naive: Option<f64>) {
        for (method, (mean, quantiles)) in forecasts.into_iter().enumerate() {
            self.points[method].add(target, mean, quantiles[median], naive);
            self.quantiles[method].add(target, quantiles);
        }
    }
}

struct Series {
    unit: Unit,
    /// The newest season of values: `(slot, value in the series' unit)`, the slot modulo the season being the place.
    season: Vec<(i64, f64)>,
    windows: VecDeque<Window>,
    /// How often its numbers were beyond the threshold so far.
    known: Known,
    /// Windows that are done, to be used again.
    spare: Vec<Window>,
}

/// One forecast, in the series' unit.
struct Window {
    slot: i64,
    last: f64,
    /// How many of the reported horizons it counts for, where it does not count for every lead.
    rest: Option<usize>,
    /// `[output]` each.
    point: Vec<f64>,
    seasonal: Vec<f64>,
    /// `[output][level]`
    quantiles: Vec<f64>,
    /// Of one number: the values that it is made of, `[horizon]`, NaN where none has come.
    seen: Vec<f64>,
    /// The probability that was told, and the share that was known then.
    crossing: Option<(f32, f64)>,
}

impl Scorer {
    /// Scores, for each horizon of `report`, the windows all of whose targets up to it lie in `rows`; `units` holds one
    /// unit a series.
    pub fn new(spec: &ForecastSpec, report: &[usize], rows: Range<usize>, units: Vec<Unit>) -> Self {
        let season = if spec.season >= 2 { spec.season } else { 1 };
        let series = |unit| Series {
            unit,
            season: vec![(i64::MIN, 0.0); season],
            windows: VecDeque::new(),
            known: Known::default(),
            spare: Vec::new(),
        };
        let mut report = report.to_vec();
        report.sort_unstable();
        let errors = Errors::new(&spec.levels);
        Self {
            rows,
            series: units.into_iter().map(series).collect(),
            leads: vec![errors.clone(); spec.outputs()],
            rest: vec![errors; report.len()],
            report,
            origins: HashSet::new(),
            flat: [vec![0.0; spec.levels.len()], vec![0.0; spec.levels.len()]],
            crossings: spec.threshold.zip(spec.target).map(|(threshold, target)| Crossings::new(threshold, target)),
            spec: spec.clone(),
        }
    }

    /// Scores what targets this value, before the forecast from it is made.
    pub fn take(&mut self, index: usize, slot: i64, value: f64) {
        let series = &mut self.series[index];
        let value = series.unit.of(value);
        let place = place(slot, series.season.len());
        series.season[place] = (slot, value);
        if let Some(target) = self.spec.target {
            return self.take_one(target, index, slot, value);
        }
        let horizon = self.spec.horizon;
        let lead = |window: &Window| usize::try_from(slot - window.slot).unwrap_or(0);
        while series.windows.front().is_some_and(|window| lead(window) > horizon) {
            series.spare.extend(series.windows.pop_front());
        }
        let (levels, median) = (self.spec.levels.len(), self.spec.median());
        for window in series.windows.iter().filter(|window| lead(window) > 0) {
            let at = lead(window) - 1;
            let [last, seasonal] = &mut self.flat;
            last.fill(window.last);
            seasonal.fill(window.seasonal[at]);
            let quantiles = &window.quantiles[at * levels..(at + 1) * levels];
            let forecasts =
                [(window.point[at], quantiles), (window.last, &last[..]), (window.seasonal[at], &seasonal[..])];
            match window.rest {
                None => self.leads[at].add(value, forecasts, median, series.unit.naive),
                Some(counts) => {
                    let horizons = self.report[..counts].iter().zip(&mut self.rest);
                    for (_, errors) in horizons.filter(|(horizon, _)| at < **horizon) {
                        errors.add(value, forecasts, median, series.unit.naive);
                    }
                }
            }
        }
    }

    /// The same where one number is made of all values up to the horizon: it is known with the last of them.
    fn take_one(&mut self, target: Target, index: usize, slot: i64, value: f64) {
        let series = &mut self.series[index];
        let (unit, horizon) = (series.unit, self.spec.horizon);
        let lead = |window: &Window| usize::try_from(slot - window.slot).unwrap_or(0);
        for window in &mut series.windows {
            if let Some(seen) = lead(window).checked_sub(1).and_then(|at| window.seen.get_mut(at)) {
                *seen = value;
            }
        }
        while series.windows.front().is_some_and(|window| lead(window) >= horizon) {
            let Some(window) = series.windows.pop_front() else { break };
            if let Some(number) = target.of(window.seen.iter().copied()) {
                let naive = [window.last, window.seasonal[0]];
                let [last, seasonal] = &mut self.flat;
                last.fill(naive[0]);
                seasonal.fill(naive[1]);
                let forecasts = [(window.point[0], &window.quantiles[..]), (naive[0], last), (naive[1], seasonal)];
                self.leads[0].add(number, forecasts, self.spec.median(), unit.naive);
                if let Some((crossings, (told, share))) = self.crossings.as_mut().zip(window.crossing) {
                    let naive = naive.map(|value| unit.back(value));
                    crossings.add(unit.back(number), told, naive, share, &mut series.known);
                }
            }
            series.spare.push(window);
        }
    }

    /// Takes in the forecast that was made from a value which came in row `row` and has been taken.
    pub fn open(&mut self, series: usize, row: usize, made: &Made<'_>) {
        let (horizon, outputs, slot) = (self.spec.horizon, self.spec.outputs(), made.slot);
        let inside = |lead: usize| row + lead < self.rows.end;
        let counts = self.report.partition_point(|horizon| inside(*horizon));
        if row + 1 < self.rows.start || counts == 0 && !inside(horizon) {
            return;
        }
        let rest = (!inside(horizon)).then_some(counts);
        if rest.is_none() {
            self.origins.insert(slot);
        }
        let series = &mut self.series[series];
        let mut window = series.spare.pop().unwrap_or_else(|| Window {
            slot,
            last: 0.0,
            rest: None,
            point: vec![0.0; outputs],
            seasonal: vec![0.0; outputs],
            quantiles: vec![0.0; made.quantiles.len()],
            seen: Vec::new(),
            crossing: None,
        });
        let unit = series.unit;
        (window.slot, window.last, window.rest) = (slot, unit.of(made.value), rest);
        window.crossing = made.crossing.map(|told| (told, series.known.share()));
        let scaled = |out: &mut Vec<f64>, values: &[f64]| {
            out.clear();
            out.extend(values.iter().map(|value| unit.of(*value)));
        };
        scaled(&mut window.point, made.point);
        scaled(&mut window.quantiles, made.quantiles);
        // Whole seasons back from the target: within the newest season.
        let seasonal = |lead: usize| {
            let slot = slot + signed(lead) - signed(self.spec.seasonal_lag(lead)?);
            let (held, value) = series.season[place(slot, series.season.len())];
            (held == slot).then_some(value)
        };
        if let Some(target) = self.spec.target {
            window.seen.clear();
            window.seen.resize(horizon, f64::NAN);
            let path = (1..=horizon).map(|lead| seasonal(lead).unwrap_or(f64::NAN));
            window.seasonal[0] = target.of(path).unwrap_or(window.last);
        } else {
            for (lead, out) in (1..).zip(&mut window.seasonal) {
                *out = seasonal(lead).unwrap_or(window.last);
            }
        }
        series.windows.push_back(window);
    }

    /// Distinct origins of the windows all of whose targets are scored.
    pub fn origins(&self) -> usize {
        self.origins.len()
    }

    /// How well the probability of crossing the threshold was told, where there is one.
    pub fn crossing(&self) -> Option<Crossing> {
        self.crossings.as_ref()?.means()
    }

    /// For each reported horizon and each method the means over leads 1 to the horizon.
    pub fn measured(&self) -> Vec<MethodErrors> {
        let rows = self.report.iter().zip(&self.rest).flat_map(|(&horizon, rest)| {
            let leads = &self.leads[..=self.spec.output_index(horizon)];
            Method::ALL.map(|method| self.mean(leads.iter().chain([rest]), horizon, method))
        });
        rows.collect()
    }

    /// The means at each lead alone.
    pub fn by_lead(&self, method: Method) -> Vec<MethodErrors> {
        self.spec.leads().zip(&self.leads).map(|(lead, errors)| self.mean([errors], lead, method)).collect()
    }

    fn mean<'a>(&self, parts: impl IntoIterator<Item = &'a Errors>, horizon: usize, method: Method) -> MethodErrors {
        let mut points = PointMeasures::default();
        let mut quantiles = QuantileMeasures::new(&self.spec.levels);
        for part in parts {
            points.merge(&part.points[method as usize]);
            quantiles.merge(&part.quantiles[method as usize]);
        }
        let mut coverage = Vec::new();
        if method == Method::Foretide && points.count() > 0 {
            coverage.extend(quantiles.coverage().into_iter().map(|interval| (interval.nominal, interval.inside)));
        }
        MethodErrors {
            method,
            horizon,
            mse: points.mse(),
            mae: points.mae(),
            mase: points.mase(),
            smape: points.smape(),
            wql: quantiles.weighted_quantile_loss(),
            coverage,
        }
    }
}

fn place(slot: i64, season: usize) -> usize {
    usize::try_from(slot.rem_euclid(signed(season))).unwrap_or(0)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_by_hand() {
        let spec = ForecastSpec::new(3, &[0.1, 0.5, 0.9], 2).unwrap();
        let unit = Unit { centre: 1.0, scale: 2.0, naive: Some(0.5) };
        let mut scorer = Scorer::new(&spec, &[1, 3], 1..6, vec![unit]);
        for (row, value) in [(0, 1.0), (1, 3.0), (2, 5.0), (4, 9.0), (5, 1.0)] {
            let slot = row as i64 - 3; // across zero
            scorer.take(0, slot, value);
            let quantiles = &[value - 1.0, value, value + 4.0].repeat(3);
            scorer.open(0, row, &Made { slot, value, point: &[value; 3], quantiles, crossing: None });
        }
        // Windows from rows 0, 1 and 2; that from row 4 counts for one step only. Targets in the unit: 0, 1, 2, gap, 4, 0.
        assert_eq!(scorer.origins(), 3);
        let rows = scorer.measured();
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
        assert!((ours.coverage[0].1 - 4.0 / 6.0).abs() < 1e-12, "{:?}", ours.coverage);
        assert!(find(Method::LastValue, 3).coverage.is_empty());
        assert!(ours.wql.unwrap() < find(Method::LastValue, 3).wql.unwrap());
    }

    #[test]
    fn one_number_by_hand() {
        let spec = ForecastSpec::aggregate(3, &[0.1, 0.5, 0.9], 2, Target::Maximum, Some(5.0)).unwrap();
        let unit = Unit { centre: 1.0, scale: 2.0, naive: None };
        let mut scorer = Scorer::new(&spec, &[3], 1..8, vec![unit]);
        for (row, value) in [(0, 1.0), (1, 3.0), (2, 5.0), (4, 9.0), (5, 1.0), (7, 1.0)] {
            let slot = row as i64 - 3;
            scorer.take(0, slot, value);
            let quantiles = &[value - 1.0, value, value + 4.0];
            scorer.open(0, row, &Made { slot, value, point: &[value], quantiles, crossing: Some(0.5) });
        }
        // Largest values of rows 1..=3, 2..=4, 3..=5 and, from row 4, 5..=7: 5, 9, 9, 1.
        assert_eq!(scorer.origins(), 4);
        let rows = scorer.measured();
        let mae = |method| rows.iter().find(|row| row.method == method && row.horizon == 3).unwrap().mae;
        assert_eq!(mae(Method::LastValue), Some((4.0 + 6.0 + 4.0 + 8.0) / 2.0 / 4.0));
        assert_eq!(mae(Method::Foretide), mae(Method::LastValue));
        // A season of two before: the last value yet, 3, 5, and of rows 4 and 3 (a gap) only the first: 9.
        assert_eq!(mae(Method::SeasonalNaive), Some((4.0 + 6.0 + 4.0 + 8.0) / 2.0 / 4.0));
        let crossing = scorer.crossing().unwrap();
        assert_eq!((crossing.share, crossing.brier), (0.5, [0.25, 0.75, 0.75]));
        assert_eq!(scorer.by_lead(Method::Foretide).len(), 1);
    }
}
