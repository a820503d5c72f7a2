//! What an older build left in the state topic is taken up by this one, and goes on as it would have there.

use std::collections::BTreeMap;

use foretide::{
    engine::{Engine, Frozen, StreamSpec, TaskHandle, TaskId, Transaction},
    time::EventTime,
};
use serde::Deserialize;

#[path = "../../fuzz/src/forecasting.rs"]
#[allow(dead_code, reason = "only its streams are wanted")]
mod forecasting;

/// The states were written after so many minutes, and the stored forecasts go on to the end.
const WRITTEN: i64 = 90;
const END: i64 = 100;
const MINUTE: i64 = 60_000;
const SERIES: &str = "series";

/// Bodies of snapshots that the last build with layout 2 (its commit begins with 5e6791c) wrote, which was told the same
/// ([`Told`]), by the stream.
const BODIES: [(&str, &[u8]); 2] =
    [("regular", include_bytes!("regular.layout_2")), ("described", include_bytes!("described.layout_2"))];
/// What it forecast after each of them.
const FORECASTS: &str = include_str!("layout_2.json");

#[derive(Deserialize)]
struct Forecasts {
    points: Vec<f32>,
    quantiles: Vec<[f32; 3]>,
}

/// [`BODIES`] with their streams.
fn samples() -> [(StreamSpec, &'static [u8]); 2] {
    BODIES.map(|(name, body)| {
        let spec = forecasting::streams().into_iter().find(|spec| *spec.name == *name);
        (spec.expect("each sample has its stream"), body)
    })
}

/// What is known in advance is told for so many minutes more.
const AHEAD: i64 = 5;

/// A task of one series that is told its input by the minute.
struct Told {
    engine: Engine,
    task: TaskHandle,
}

impl Told {
    /// With what is known in advance told as well.
    fn new(spec: StreamSpec) -> Self {
        let known = !spec.series.extra.future_covariates.names.is_empty();
        let id = TaskId { stream: spec.name.clone(), topic: "in".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).expect("the stream is sound");
        let task = engine.open(id, 0).expect("the stream is there");
        if known {
            for minute in 0..END + AHEAD {
                engine.update_future_covariates(task, minute, "", EventTime(minute * MINUTE), &[price(minute)]);
            }
            engine.advance_watermark(task, END + AHEAD);
        }
        Self { engine, task }
    }

    /// The forecasts of some minutes, in an epoch that is still open.
    fn feed(&mut self, minutes: std::ops::Range<i64>) -> Transaction {
        let beside = |minute: i64| [(minute % 4) as f64, f64::NAN];
        let covariates = self.engine.stream(self.task).series.extra.past_covariates.len();
        self.engine.begin(true);
        for minute in minutes.clone() {
            let (time, value) = (EventTime(minute * MINUTE), value(minute));
            self.engine.accept(self.task, minute, SERIES, time, value, &beside(minute)[..covariates]);
        }
        self.engine.advance(self.task, minutes.end);
        self.engine.finish(1.0)
    }
}

fn price(minute: i64) -> f64 {
    (minute * 5 % 7) as f64
}

fn value(minute: i64) -> f64 {
    10.0 + (minute % 6) as f64 + price(minute) / 2.0 + (minute * 11 % 13) as f64 / 4.0
}

#[test]
fn series_of_layout_2_go_on() {
    let mut forecasts: BTreeMap<String, Forecasts> = serde_json::from_str(FORECASTS).expect("they are JSON");
    for (spec, body) in samples() {
        let name = spec.name.clone();
        let sample = forecasts.remove(&*name).expect("forecasts of each stream");
        let mut told = Told::new(spec);
        let frozen = Frozen { series: SERIES.into(), position: WRITTEN, layout: 2, body };
        told.engine.restore(told.task, &[frozen]).into_iter().for_each(|put| put.expect("it is taken up"));
        let epoch = told.feed(WRITTEN..END);
        let close = |ours: f64, theirs: f32, by: f32| (ours - f64::from(theirs)).abs() < f64::from(by);
        assert_eq!((epoch.points.len(), epoch.quantiles.len()), (sample.points.len(), 3 * sample.quantiles.len()));
        for (at, (ours, theirs)) in epoch.points.iter().zip(&sample.points).enumerate() {
            assert!(close(*ours, *theirs, 1e-3), "{name}, point {at}: {ours}, there it was {theirs}");
        }
        for (at, (ours, theirs)) in epoch.quantiles.chunks_exact(3).zip(&sample.quantiles).enumerate() {
            let [low, median, high] = *theirs;
            // Calibration learns otherwise than it did then.
            let by = (high - low) / 10.0;
            let all = close(ours[0], low, by) && close(ours[1], median, 1e-3) && close(ours[2], high, by);
            assert!(all, "{name}, quantiles {at}: {ours:?}, there they were {theirs:?}");
        }
    }
    assert!(forecasts.is_empty(), "each has its stream");
}

#[test]
fn what_is_cut_or_of_another_layout_is_refused() {
    for (spec, body) in samples() {
        let mut told = Told::new(spec);
        let mut put = |layout, body: &[u8]| {
            let frozen = Frozen { series: SERIES.into(), position: WRITTEN, layout, body };
            told.engine.restore(told.task, &[frozen]).remove(0).map_err(|error| error.to_string())
        };
        assert!(put(2, &body[..body.len() - 1]).unwrap_err().contains("damaged"));
        assert!(put(3, body).is_err(), "it is not taken for one of another layout");
        assert!(put(1, body).unwrap_err().contains("layout 1, this build reads those of 2 and 3"));
    }
}
