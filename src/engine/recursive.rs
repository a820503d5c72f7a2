//! Recursive forecasting for networks that forecast the next step only: each step's median is fed back as if it had
//! been observed, on copies of the series' states.

use super::stream_spec::StreamSpec;
use crate::nn::{Network, Scratch};
use crate::series::{ClosedSlot, SeriesState, VALUE_LIMIT};

/// Forecasts a batch of series recursively. Between batches it keeps buffers only.
#[derive(Default)]
pub(super) struct RecursiveForecaster {
    /// `[rows]`: each series as it would be, had its forecasts come true. Further ones are memory for later batches.
    series: Vec<SeriesState>,
    /// `[rows]`
    origins: Vec<Origin>,
    /// `[rows, state_len]`
    hidden: Vec<f32>,
    /// `[rows, features]`
    features: Vec<f32>,
    /// `[rows, levels]`: the network's outputs for the next step.
    next: Vec<f32>,
}

/// Where the forecast of a series is made.
struct Origin {
    /// The row of the series in the batch.
    row: usize,
    last_value: f64,
    scale: f64,
}

impl RecursiveForecaster {
    /// Begins another batch.
    pub fn clear(&mut self) {
        self.origins.clear();
        self.hidden.clear();
        self.next.clear();
    }

    /// Adds the series of a row of the batch, with the hidden state and the outputs `[levels]` of its newest step.
    pub fn add(&mut self, row: usize, series: &SeriesState, hidden: &[f32], next: &[f32]) {
        let place = self.origins.len();
        match self.series.get_mut(place) {
            Some(spare) => spare.clone_from(series),
            None => self.series.push(series.clone()),
        }
        self.series[place].discard_open_covariates();
        self.origins.push(Origin { row, last_value: series.last_value(), scale: series.scale() });
        self.hidden.extend_from_slice(hidden);
        self.next.extend_from_slice(next);
    }

    /// Writes the outputs for the whole horizon of every added series to its row of `outputs`, `[batch, horizon,
    /// levels]`: differences from the last value at the forecast's origin, divided by the scale there, as a network
    /// with the direct strategy gives them.
    pub fn run(&mut self, scratch: &mut Scratch, network: &Network, spec: &StreamSpec, outputs: &mut [f32]) {
        let rows = self.origins.len();
        let (horizon, levels) = (spec.forecast.horizon, spec.forecast.levels.len());
        self.features.resize(rows * spec.series.features(), 0.0);
        for lead in 0..horizon {
            if lead > 0 {
                self.feed_median(spec);
                network.step(scratch, rows, &self.features, &mut self.hidden, &mut self.next);
            }
            let next = self.next.chunks_exact(levels);
            for ((series, origin), next) in self.series.iter().zip(&self.origins).zip(next) {
                let Origin { row, last_value, scale } = origin;
                let outputs = &mut outputs[(row * horizon + lead) * levels..][..levels];
                for (output, next) in outputs.iter_mut().zip(next) {
                    *output = ((series.last_value() - last_value + series.scale() * f64::from(*next)) / scale) as f32;
                }
            }
        }
    }

    /// Updates each series with the median of its next step, and writes the features of that step.
    fn feed_median(&mut self, spec: &StreamSpec) {
        let levels = spec.forecast.levels.len();
        let rows = self.series.iter_mut().zip(self.next.chunks_exact(levels));
        for ((series, next), features) in rows.zip(self.features.chunks_exact_mut(spec.series.features())) {
            let median = f64::from(next[spec.forecast.median()]);
            let median = if median.is_nan() { 0.0 } else { median };
            let value = (series.last_value() + series.scale() * median).clamp(-VALUE_LIMIT, VALUE_LIMIT);
            let slot = series.next_slot(&spec.series);
            series.update(&spec.series, &ClosedSlot { slot, value: Some(value), readings: 1, reset: false });
            series.features(&spec.series, features);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loud, spec as direct};
    use super::*;
    use crate::nn::{NetworkSpec, Strategy};
    use crate::series::FEATURES;
    use crate::time::Grid;

    const HORIZON: usize = 5;

    fn spec(grid: Grid) -> StreamSpec {
        let direct = direct(grid);
        let network = NetworkSpec { strategy: Strategy::Recursive, ..direct.network };
        StreamSpec { network, ..direct }
    }

    /// A series with its hidden state and the network's outputs for its next step.
    struct SteppedSeries {
        series: SeriesState,
        hidden: Vec<f32>,
        next: Vec<f32>,
    }

    impl SteppedSeries {
        fn new(network: &Network) -> Self {
            Self { series: SeriesState::new(), hidden: vec![0.0; network.state_len()], next: vec![0.0; 3] }
        }

        fn step(&mut self, network: &Network, spec: &StreamSpec, slot: i64, value: f64) {
            let slot = ClosedSlot { slot, value: Some(value), readings: 1, reset: false };
            self.series.update(&spec.series, &slot);
            let mut features = [0.0; FEATURES];
            self.series.features(&spec.series, &mut features);
            network.step(&mut Scratch::default(), 1, &features, &mut self.hidden, &mut self.next);
        }
    }

    fn stepped(network: &Network, spec: &StreamSpec, slots: &[i64]) -> SteppedSeries {
        let mut stepped = SteppedSeries::new(network);
        for slot in slots {
            stepped.step(network, spec, *slot, 20.0 + (*slot as f64).sin());
        }
        stepped
    }

    fn paths(
        forecaster: &mut RecursiveForecaster,
        network: &Network,
        spec: &StreamSpec,
        batch: usize,
        rows: &[(usize, &SteppedSeries)],
    ) -> Vec<f32> {
        let mut outputs = vec![0.0; batch * HORIZON * 3];
        forecaster.clear();
        rows.iter().for_each(|(row, stepped)| forecaster.add(*row, &stepped.series, &stepped.hidden, &stepped.next));
        forecaster.run(&mut Scratch::default(), network, spec, &mut outputs);
        outputs
    }

    #[test]
    fn a_path_equals_the_forecasts_that_follow_when_each_median_comes_true() {
        // On the irregular grid the newest interval repeats: 10, 13, 20, then 27, 34, 41, 48.
        let regular = (Grid::Regular { interval: 1000 }, [11, 12, 13], [14, 15, 16, 17]);
        for (grid, slots, later) in [regular, (Grid::Irregular, [10, 13, 20], [27, 34, 41, 48])] {
            let spec = spec(grid);
            let network = loud(&spec, 1);
            let mut stepped = stepped(&network, &spec, &slots);
            let path = paths(&mut RecursiveForecaster::default(), &network, &spec, 1, &[(0, &stepped)]);
            let (last_value, scale) = (stepped.series.last_value(), stepped.series.scale());
            assert_eq!(path[..3], stepped.next);
            for (lead, slot) in (1..).zip(later) {
                let value = stepped.series.last_value() + stepped.series.scale() * f64::from(stepped.next[1]);
                stepped.step(&network, &spec, slot, value);
                for (level, next) in stepped.next.iter().enumerate() {
                    let expected = stepped.series.last_value() + stepped.series.scale() * f64::from(*next);
                    let found = last_value + scale * f64::from(path[lead * 3 + level]);
                    assert!((found - expected).abs() < 1e-5, "lead {}: {found} for {expected}", lead + 1);
                    assert_ne!(*next, 0.0);
                }
            }
        }
    }

    #[test]
    fn a_path_depends_neither_on_the_batch_nor_on_earlier_batches() {
        let spec = spec(Grid::Regular { interval: 1000 });
        let network = loud(&spec, 1);
        let all: Vec<SteppedSeries> = (1..9).map(|steps| stepped(&network, &spec, &Vec::from_iter(0..steps))).collect();
        let rows: Vec<(usize, &SteppedSeries)> =
            all.iter().enumerate().map(|(row, stepped)| (row + row / 4, stepped)).collect();
        let mut forecaster = RecursiveForecaster::default();
        let together = paths(&mut forecaster, &network, &spec, 10, &rows);
        assert_eq!(together[4 * HORIZON * 3..5 * HORIZON * 3], [0.0; HORIZON * 3], "row 4 was not added");
        for (row, stepped) in rows {
            let alone = paths(&mut forecaster, &network, &spec, 1, &[(0, stepped)]);
            assert_eq!(alone, together[row * HORIZON * 3..][..HORIZON * 3], "row {row}");
        }
    }

    #[test]
    fn an_output_that_is_not_a_number_is_not_fed_back() {
        let spec = spec(Grid::Regular { interval: 1000 });
        let network = loud(&spec, 1);
        let mut stepped = stepped(&network, &spec, &[0, 1, 2]);
        for next in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            stepped.next.fill(next);
            let path = paths(&mut RecursiveForecaster::default(), &network, &spec, 1, &[(0, &stepped)]);
            assert!(path[3..].iter().all(|value| !value.is_nan()), "{next}: {path:?}");
        }
    }
}
