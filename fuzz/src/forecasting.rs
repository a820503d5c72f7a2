//! A small engine for fuzzed state, and the properties of its forecasts.

use foretide::{
    engine::{
        EncodedSnapshot, Engine, FieldBounds, Observation, StreamSpec, TaskHandle, TaskId, Transaction, WhenFull,
    },
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec, Strategy, Weights},
    series::{Absence, Calendar, CloseBy, ExtraFeatures, FEATURES, FutureCovariateSpec, Holidays, SeriesSpec, Target},
    time::{EventTime, Grid},
};

const MINUTE: i64 = 60_000;
const SEASON: u32 = 6;
const HORIZON: usize = 5;
const LEVELS: [f32; 3] = [0.1, 0.5, 0.9];
/// The only series.
const SERIES: &str = "series";

/// Streams whose series and networks have different states.
pub fn streams() -> Vec<StreamSpec> {
    let regular = || Grid::Regular { interval: MINUTE };
    let calendar = Calendar::utc();
    let with_covariates = ExtraFeatures {
        year_phase: true,
        holidays: Some(Holidays::new(&calendar, &regular(), &["1970-01-01".parse().expect("a date")])),
        past_covariates: ["warm".into(), "wind".into()].into(),
        future_covariates: FutureCovariateSpec {
            names: ["price".into()].into(),
            max_slots: 100,
            ..FutureCovariateSpec::default()
        },
    };
    let each = || ForecastSpec::new(HORIZON, &LEVELS, SEASON as usize);
    let one = ForecastSpec::aggregate(HORIZON, &LEVELS, SEASON as usize, Target::Maximum, Some(3.0));
    [
        ("regular", regular(), ExtraFeatures::default(), each(), CellKind::Gru, Strategy::Direct),
        ("irregular", Grid::Irregular, ExtraFeatures::default(), each(), CellKind::Attention, Strategy::Recursive),
        ("with_covariates", regular(), with_covariates, each(), CellKind::Lstm, Strategy::Direct),
        ("many_to_one", regular(), ExtraFeatures::default(), one, CellKind::Slstm, Strategy::ManyToOne),
        ("with_absences", regular(), ExtraFeatures::default(), each(), CellKind::Gru, Strategy::Recursive),
    ]
    .map(|(name, grid, extra, forecast, cell, strategy)| {
        let is_absent = name == "with_absences";
        let mut forecast = forecast.expect("the spec is sound").with_extra(&extra);
        forecast.scores_absence = is_absent;
        let (close_by, absence) =
            if is_absent { (CloseBy::Partition, Absence::Anomaly) } else { (CloseBy::Series, Absence::Gap) };
        StreamSpec {
            name: name.into(),
            network: NetworkSpec {
                cell,
                strategy,
                layers: 1,
                hidden: 8,
                inputs: FEATURES + extra.features(),
                horizon: HORIZON,
                levels: LEVELS.len(),
                context: 4,
                ..NetworkSpec::default()
            },
            forecast,
            series: SeriesSpec {
                close_by,
                absence,
                max_ahead: 5 * MINUTE,
                max_step: 1_000 * MINUTE,
                max_outage: 30_000 * MINUTE,
                max_gap_millis: 10 * MINUTE,
                season: SEASON,
                horizon: HORIZON as u32,
                extra,
                ..SeriesSpec::new(grid)
            },
            max_series: 1,
            when_full: WhenFull::Refuse,
            series_ttl: None,
            bounds: FieldBounds::default(),
        }
    })
    .into()
}

/// Weights with which every forecast depends on the hidden state.
pub fn loud(spec: &NetworkSpec) -> Weights {
    let mut tensors = Weights::initial(spec).tensors().clone();
    let values = tensors.values_mut().flat_map(|tensor| &mut tensor.values);
    values.enumerate().for_each(|(at, value)| *value += 0.3 * (at as f32 * 0.7).sin());
    Weights::from_tensors(tensors)
}

/// An engine with [`streams`] and their initial weights.
pub fn engine() -> Engine {
    Engine::new(streams()).expect("the streams are sound")
}

/// Opens a stream's task.
pub fn open(engine: &mut Engine, stream: &str) -> TaskHandle {
    let id = TaskId { stream: stream.into(), topic: "in".into(), partition: 0 };
    engine.open(id, 0).expect("the stream is known")
}

/// Restores the series. Returns whether the snapshot could be used.
pub fn restore(engine: &mut Engine, task: TaskHandle, body: &[u8]) -> bool {
    let snapshot = EncodedSnapshot { series: SERIES.into(), position: 0, body: Some(body) };
    engine.restore(task, &[snapshot]).into_iter().all(|put| put.is_ok())
}

/// Observes one value per minute.
pub fn feed(engine: &mut Engine, task: TaskHandle, minutes: std::ops::Range<i64>) -> Transaction {
    engine.begin(true);
    for minute in minutes.clone() {
        let (offset, time) = (minute - minutes.start, EventTime(minute * MINUTE));
        let value = (minute.rem_euclid(7) * 3 % 5) as f64;
        let all = [value + 1.0, f64::NAN];
        let covariates = &all[..engine.stream(task).series.extra.past_covariates.len()];
        engine.accept(task, &Observation { covariates, ..Observation::new(offset, SERIES, time, value) });
    }
    let end = engine.position(task) + minutes.end - minutes.start;
    engine.advance(task, end);
    engine.finish(1.0)
}

/// Checks the forecasts of a transaction, and commits it.
pub fn commit(engine: &mut Engine, task: TaskHandle, transaction: Transaction) {
    let ForecastSpec { levels, .. } = &engine.stream(task).forecast;
    let outputs = engine.stream(task).forecast.outputs();
    for row in &transaction.forecasts {
        let points = &transaction.points[row.point..][..outputs];
        assert!(points.iter().all(|point| point.is_finite()), "points {points:?}");
        for quantiles in transaction.quantiles[row.quantile..][..outputs * levels.len()].chunks_exact(levels.len()) {
            assert!(quantiles.iter().all(|quantile| quantile.is_finite()), "quantiles {quantiles:?}");
            assert!(quantiles.is_sorted(), "quantiles cross: {quantiles:?}");
        }
        assert!(row.scale > 0.0 && row.scale.is_finite(), "scale {}", row.scale);
        let probabilities = row.anomaly.map(|anomaly| anomaly.score).into_iter().chain(row.crossing);
        probabilities.for_each(|probability| assert!((0.0..=1.0).contains(&probability), "probability {probability}"));
    }
    engine.commit(&transaction);
    engine.recycle(transaction);
}
