//! A series and its forecasts, as the engine steps them.

use crate::forecast::{AccuracySums, Forecast, ForecastSpec, ForecastState, SeriesStep, ValueBounds};
use crate::series::{
    ClosedSlot, ExtraFeatures, FutureCovariateSpec, FutureCovariateTable, FutureValues, SeriesSpec, SeriesState,
};
use crate::time::Grid;

pub(super) const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

/// A series and its forecasts, step by step as in the engine, with a made-up network that looks at the features.
pub(super) struct Run {
    pub grid: SeriesSpec,
    pub spec: ForecastSpec,
    pub series: SeriesState,
    pub state: ForecastState,
    pub sums: AccuracySums,
    pub bounds: ValueBounds,
    pub out: Forecast,
    pub network: Vec<f32>,
    /// Factor of the network's outputs; 0: it adds nothing to the last value.
    pub amplitude: f32,
    pub slot: i64,
    /// Whether the newest value is anomalous, as far as it has a score.
    pub anomalous: bool,
    pub future: FutureCovariateTable,
}

impl Run {
    pub fn new(horizon: usize, season: usize) -> Self {
        Self::of(ForecastSpec::new(horizon, &LEVELS, season).unwrap())
    }

    pub fn of(spec: ForecastSpec) -> Self {
        let (season, horizon) = (spec.season as u32, spec.horizon as u32);
        let grid = SeriesSpec::new(Grid::Regular { interval: 3_600_000 });
        let grid = SeriesSpec { season, horizon, burn_in: 32, ..grid };
        Self {
            series: SeriesState::new(),
            state: ForecastState::new(&spec),
            sums: AccuracySums::new(&spec),
            bounds: ValueBounds::default(),
            out: Forecast::new(&spec),
            network: vec![0.0; spec.outputs() * LEVELS.len()],
            amplitude: 0.0,
            slot: 0,
            anomalous: false,
            future: FutureCovariateTable::default(),
            grid,
            spec,
        }
    }

    /// The same with a future covariate that has these values.
    pub fn with_future(spec: ForecastSpec, values: impl IntoIterator<Item = f64>) -> Self {
        let future_covariates = FutureCovariateSpec { names: ["load".into()].into(), ..FutureCovariateSpec::default() };
        let extra = ExtraFeatures { future_covariates, ..ExtraFeatures::default() };
        let mut run = Self::of(spec.with_extra(&extra));
        run.grid.extra = extra;
        for (slot, value) in (0..).zip(values) {
            run.future.insert(FutureValues { slot, offset: slot, values: [value].into() }, usize::MAX);
        }
        run
    }

    pub fn step(&mut self, value: Option<f64>) -> Option<f32> {
        self.take(ClosedSlot { slot: self.slot, value, readings: 1, reset: false })
    }

    pub fn take(&mut self, slot: ClosedSlot) -> Option<f32> {
        self.slot += 1;
        let mut features = vec![0.0; self.grid.features()];
        let step = SeriesStep { spec: &self.grid, slot: &slot, future: Some(&self.future) };
        let mut learner = self.state.learner(&self.spec, &mut self.sums);
        step.apply(&mut self.series, &mut learner, &mut features);
        let score = learner.score();
        self.anomalous = score.map_or(self.anomalous, |score| score.anomalous);
        if slot.value.is_some() {
            for (at, network) in self.network.iter_mut().enumerate().filter(|_| self.amplitude != 0.0) {
                let lead = (at / LEVELS.len()) as f32;
                let last = features[features.len() - 1];
                *network = self.amplitude * (features[0] + features[9] * lead + last + LEVELS[at % LEVELS.len()]);
            }
            self.state.forecast(&self.spec, &self.series, self.bounds, &self.network, &mut self.out);
        }
        score.map(|anomaly| anomaly.score)
    }

    pub fn row(&self, lead: usize) -> &[f64] {
        &self.out.quantiles[(lead - 1) * LEVELS.len()..lead * LEVELS.len()]
    }
}
