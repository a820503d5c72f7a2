use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::series::{
    Aggregation, ExtraFeatures, FutureCovariateSpec, FutureCovariateTable, FutureValues, QUERY_FEATURES, Reading,
};
use crate::time::EventTime;

/// Leads that are asked for.
const LEADS: [usize; 3] = [1, 7, 150];

/// What [`SeriesState`] said of a step when it was the newest.
struct Expected {
    value: Option<f64>,
    scale: f64,
    features: Vec<f32>,
    queries: Vec<f32>,
    reset: bool,
}

fn spec(grid: Grid, season: u32) -> Arc<SeriesSpec> {
    let spec = SeriesSpec::new(grid);
    Arc::new(SeriesSpec { aggregation: Aggregation::Last, max_gap: 3, season, horizon: 5, burn_in: 2, ..spec })
}

/// Records `readings` readings with gaps, resets and spikes, and keeps what is expected of each step.
fn record(spec: &Arc<SeriesSpec>, readings: usize, keep: usize, seed: u64) -> (RecordedSteps, Vec<Expected>) {
    let mut random = Pcg64::seed_from_u64(seed);
    let (mut state, mut steps, mut expected) = (SeriesState::new(), RecordedSteps::new(Arc::clone(spec)), Vec::new());
    let mut future = FutureCovariateTable::default();
    let mut time = 1_700_000_000_000;
    for reading in 0..readings {
        time += match random.next_u64() % 40 {
            0 => 20_000, // the series resets
            1 => 3_000,
            _ => 1_000,
        };
        let value = (random.next_u64() % 1000) as f64 * if random.next_u64().is_multiple_of(15) { 1e4 } else { 1.0 };
        let past = vec![value / 3.0; spec.extra.past_covariates.len()];
        let (slot, values) = (spec.grid.slot(EventTime(time)) + 3, vec![-value; 1].into());
        future.insert(FutureValues { slot, offset: reading as i64, values }, 50);
        let mut closed = Vec::new();
        let observed = Reading { past_covariates: &past, ..Reading::new(EventTime(time), value) };
        state.observe(spec, &observed, &mut closed);
        for slot in closed {
            let known = [state.value_back(0), state.value_back(1), slot.value].iter().all(Option::is_some);
            let spike = known && random.next_u64().is_multiple_of(9);
            if spike {
                state.mark_newest_missing();
            }
            state.look_up_future_covariates(spec, slot.slot, Some(&future));
            state.update(spec, &slot);
            let mut features = vec![0.0; spec.features()];
            state.features(spec, &mut features);
            let mut queries = vec![0.0; LEADS.len() * QUERY_FEATURES];
            state.queries(spec, LEADS, &mut queries);
            steps.push(&state, &slot, spike, &features, reading as i64);
            steps.keep_newest(keep);
            let reset = slot.reset || state.steps() == 1;
            expected.push(Expected { value: slot.value, scale: state.scale(), features, queries, reset });
        }
    }
    (steps, expected)
}

fn compare(steps: &RecordedSteps, expected: &[Expected], range: Range<usize>) {
    let expected = &expected[expected.len() - steps.len()..];
    let mut visited = Vec::new();
    steps.visit(range.clone(), |at, step| {
        let Expected { value, scale, features, queries, .. } = &expected[at];
        let mut asked = vec![9.0; queries.len()];
        step.write_queries(LEADS, &mut asked);
        assert_eq!(asked, *queries, "step {at}");
        let mut found = vec![9.0; features.len()];
        step.write_features(&mut found);
        assert_eq!((step.value(), steps.value(at), step.scale()), (*value, *value, *scale), "step {at}");
        let bits = |features: &[f32]| features.iter().map(|feature| feature.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(features), "step {at}: {found:?} {features:?}");
        visited.push(at);
    });
    assert!(visited.into_iter().eq(range));
}

#[test]
fn features_scales_and_values_are_those_that_the_series_had() {
    let regular = || Grid::Regular { interval: 1_000 };
    let names = |name: &str| Arc::from([name.to_owned()]);
    let future_covariates = FutureCovariateSpec { names: names("f"), max_slots: 50, ..Default::default() };
    let extra =
        ExtraFeatures { year_phase: true, past_covariates: names("p"), future_covariates, ..Default::default() };
    let covariates = SeriesSpec { extra, ..(*spec(regular(), 12)).clone() };
    let irregular = SeriesSpec { max_gap_millis: 9_000, ..(*spec(Grid::Irregular, 0)).clone() };
    let counts = SeriesSpec { aggregation: Aggregation::Count, ..(*spec(regular(), 12)).clone() };
    let asked = |season| Arc::new(SeriesSpec { queries: true, ..(*spec(regular(), season)).clone() });
    let specs = [
        spec(regular(), 0),
        spec(regular(), 100),
        covariates.into(),
        irregular.into(),
        counts.into(),
        asked(12),
        asked(100),
    ];
    for (seed, spec) in (1..).zip(&specs) {
        for keep in [7, 64, 301, 10_000] {
            let (steps, expected) = record(spec, 900, keep, seed);
            assert_eq!(steps.len(), keep.min(expected.len()));
            compare(&steps, &expected, 0..steps.len());
            for from in (0..steps.len()).step_by(37) {
                compare(&steps, &expected, from..(from + 5).min(steps.len()));
            }
            let kept = &expected[expected.len() - steps.len()..];
            let resets = (0..kept.len()).filter(|at| *at == 0 || kept[*at].reset);
            assert_eq!(steps.resets(), resets.collect::<Vec<_>>());
            assert!(keep < 100 || steps.resets().len() > 3, "{:?}", steps.resets());
            assert!(keep < 100 || steps.spikes.len() > 3 || spec.grid == Grid::Irregular, "{:?}", steps.spikes);
        }
    }
}

#[test]
fn memory_is_about_ten_bytes_a_step_and_stays_bounded() {
    let spec = spec(Grid::Regular { interval: 1_000 }, 24);
    let (all, _) = record(&spec, 20_000, 1_000_000, 1);
    let each = all.bytes() as f64 / all.len() as f64;
    assert!((9.0..12.5).contains(&each), "{each} bytes a step");
    let (few, _) = record(&spec, 20_000, 1_000, 1);
    assert!(few.bytes() < 20_000, "{} bytes for {} steps", few.bytes(), few.len());
}

#[test]
fn old_blocks_are_dropped_whole() {
    let spec = spec(Grid::Regular { interval: 1_000 }, 12);
    let (mut steps, expected) = record(&spec, 900, 10_000, 3);
    let all = steps.len();
    steps.drop_recorded_before(0);
    assert_eq!(steps.len(), all);
    steps.drop_recorded_before(450);
    assert!(steps.len() < all * 2 / 3 && steps.len() > all / 3, "{} of {all}", steps.len());
    compare(&steps, &expected, 0..steps.len());
    steps.drop_recorded_before(900);
    assert!(steps.is_empty() && steps.resets().is_empty());
}
