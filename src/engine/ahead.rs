//! The way ahead of networks that tell the next step only: they are fed their own median as if it had been observed,
//! step after step, on copies of the series' states.

use super::StreamSpec;
use crate::{
    nn::{Network, Scratch},
    series::{ClosedSlot, SeriesState, VALUE_LIMIT},
};

/// Buffers that live from batch to batch: copies of a batch of series at most.
#[derive(Default)]
pub(super) struct Ahead {
    /// Each series as it would be, had what was forecast come true. Those beyond the rows in use are memory for later.
    series: Vec<SeriesState>,
    /// `[rows]`: where each stands in the batch, last value and scale where its forecast is made.
    origins: Vec<(usize, f64, f64)>,
    hidden: Vec<f32>,
    features: Vec<f32>,
    /// `[rows, levels]`: what the network says of the next step.
    next: Vec<f32>,
}

impl Ahead {
    /// Begins another batch.
    pub fn clear(&mut self) {
        self.origins.clear();
        self.hidden.clear();
        self.next.clear();
    }

    /// Adds the series of a row of the batch after its step, with the hidden state and the outputs `[levels]` of it.
    pub fn add(&mut self, row: usize, series: &SeriesState, hidden: &[f32], next: &[f32]) {
        let place = self.origins.len();
        match self.series.get_mut(place) {
            Some(room) => room.clone_from(series),
            None => self.series.push(series.clone()),
        }
        self.series[place].discard_open_covariates();
        self.origins.push((row, series.last_value(), series.scale()));
        self.hidden.extend_from_slice(hidden);
        self.next.extend_from_slice(next);
    }

    /// Writes the outputs for all steps ahead of every series that was added to its row of `outputs`
    /// `[batch, horizon, levels]`: distances from the last value where the forecast is made, in the scale there, as a
    /// network gives them that tells all steps at once.
    pub fn go(&mut self, scratch: &mut Scratch, network: &Network, spec: &StreamSpec, outputs: &mut [f32]) {
        let rows = self.origins.len();
        let (horizon, levels) = (spec.forecast.horizon, spec.forecast.levels.len());
        self.features.resize(rows * spec.series.features(), 0.0);
        for lead in 0..horizon {
            if lead > 0 {
                self.feed(spec);
                network.step(scratch, rows, &self.features, &mut self.hidden, &mut self.next);
            }
            let next = self.next.chunks_exact(levels);
            for ((series, (row, anchor, scale)), next) in self.series.iter().zip(&self.origins).zip(next) {
                let outputs = &mut outputs[(row * horizon + lead) * levels..][..levels];
                for (output, next) in outputs.iter_mut().zip(next) {
                    *output = ((series.last_value() - anchor + series.scale() * f64::from(*next)) / scale) as f32;
                }
            }
        }
    }

    /// Takes the median of the next step as what came, and describes the step.
    fn feed(&mut self, spec: &StreamSpec) {
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
    use super::*;
    use crate::{
        forecast::ForecastSpec,
        nn::{NetworkSpec, Strategy, Weights},
        series::{Aggregation, Calendar, ExtraFeatures, FEATURES, SeriesSpec},
        time::Grid,
    };

    const HORIZON: usize = 4;
    const LEVELS: [f32; 3] = [0.1, 0.5, 0.9];

    fn spec(grid: Grid) -> StreamSpec {
        StreamSpec {
            name: "stream".into(),
            series: SeriesSpec {
                grid,
                aggregation: Aggregation::Last,
                readings_per_slot: Some(1),
                allowed_lateness: 0,
                max_gap: 10,
                max_gap_millis: 0,
                season: 3,
                horizon: HORIZON as u32,
                burn_in: 4,
                calendar: Calendar::utc(),
                extra: ExtraFeatures::default(),
            },
            forecast: ForecastSpec::new(HORIZON, &LEVELS, 3).unwrap(),
            network: NetworkSpec {
                hidden: 8,
                horizon: HORIZON,
                strategy: Strategy::Recursive,
                ..NetworkSpec::default()
            },
            max_series: 10,
        }
    }

    /// Weights under which every output depends on the state.
    fn network(spec: &StreamSpec) -> Network {
        let mut tensors = Weights::initial(&spec.network).tensors().clone();
        let values = tensors.values_mut().flat_map(|tensor| &mut tensor.values);
        values.enumerate().for_each(|(at, value)| *value += 0.3 * (at as f32 * 0.7).sin());
        Network::new(&spec.network, &Weights::from_tensors(tensors)).unwrap()
    }

    /// A series with its hidden state and what the network says of its next step.
    struct Lived {
        series: SeriesState,
        hidden: Vec<f32>,
        next: Vec<f32>,
    }

    impl Lived {
        fn new(network: &Network) -> Self {
            Self { series: SeriesState::new(), hidden: vec![0.0; network.state_len()], next: vec![0.0; 3] }
        }

        fn live(&mut self, network: &Network, spec: &StreamSpec, slot: i64, value: f64) {
            let slot = ClosedSlot { slot, value: Some(value), readings: 1, reset: false };
            self.series.update(&spec.series, &slot);
            let mut features = [0.0; FEATURES];
            self.series.features(&spec.series, &mut features);
            network.step(&mut Scratch::default(), 1, &features, &mut self.hidden, &mut self.next);
        }
    }

    fn lived(network: &Network, spec: &StreamSpec, slots: &[i64]) -> Lived {
        let mut lived = Lived::new(network);
        for slot in slots {
            lived.live(network, spec, *slot, 20.0 + (*slot as f64).sin());
        }
        lived
    }

    fn paths(
        ahead: &mut Ahead,
        network: &Network,
        spec: &StreamSpec,
        batch: usize,
        rows: &[(usize, &Lived)],
    ) -> Vec<f32> {
        let mut outputs = vec![0.0; batch * HORIZON * 3];
        ahead.clear();
        rows.iter().for_each(|(row, lived)| ahead.add(*row, &lived.series, &lived.hidden, &lived.next));
        ahead.go(&mut Scratch::default(), network, spec, &mut outputs);
        outputs
    }

    #[test]
    fn a_path_is_what_would_be_said_had_each_median_come_true() {
        // On the irregular grid the newest step is taken to repeat: 10, 13, 20, then 27, 34, 41.
        let regular = (Grid::Regular { interval: 1000 }, [11, 12, 13], [14, 15, 16]);
        for (grid, slots, later) in [regular, (Grid::Irregular, [10, 13, 20], [27, 34, 41])] {
            let spec = spec(grid);
            let network = network(&spec);
            let mut lived = lived(&network, &spec, &slots);
            let path = paths(&mut Ahead::default(), &network, &spec, 1, &[(0, &lived)]);
            let (anchor, scale) = (lived.series.last_value(), lived.series.scale());
            assert_eq!(path[..3], lived.next);
            for (lead, slot) in (1..).zip(later) {
                let came = lived.series.last_value() + lived.series.scale() * f64::from(lived.next[1]);
                lived.live(&network, &spec, slot, came);
                for (level, next) in lived.next.iter().enumerate() {
                    let expected = lived.series.last_value() + lived.series.scale() * f64::from(*next);
                    let said = anchor + scale * f64::from(path[lead * 3 + level]);
                    assert!((said - expected).abs() < 1e-5, "lead {}: {said} for {expected}", lead + 1);
                    assert_ne!(*next, 0.0);
                }
            }
        }
    }

    #[test]
    fn a_path_does_not_depend_on_the_batch_nor_on_what_was_there_before() {
        let spec = spec(Grid::Regular { interval: 1000 });
        let network = network(&spec);
        let all: Vec<Lived> = (1..9).map(|steps| lived(&network, &spec, &Vec::from_iter(0..steps))).collect();
        let rows: Vec<(usize, &Lived)> = all.iter().enumerate().map(|(row, lived)| (row + row / 4, lived)).collect();
        let mut ahead = Ahead::default();
        let together = paths(&mut ahead, &network, &spec, 10, &rows);
        assert_eq!(together[4 * HORIZON * 3..5 * HORIZON * 3], [0.0; HORIZON * 3], "row 4 was not added");
        for (row, lived) in rows {
            let alone = paths(&mut ahead, &network, &spec, 1, &[(0, lived)]);
            assert_eq!(alone, together[row * HORIZON * 3..][..HORIZON * 3], "row {row}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_fed() {
        let spec = spec(Grid::Regular { interval: 1000 });
        let network = network(&spec);
        let mut lived = lived(&network, &spec, &[0, 1, 2]);
        for next in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            lived.next.fill(next);
            let path = paths(&mut Ahead::default(), &network, &spec, 1, &[(0, &lived)]);
            assert!(path[3..].iter().all(|value| !value.is_nan()), "{next}: {path:?}");
        }
    }
}
