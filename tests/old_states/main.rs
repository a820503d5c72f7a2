//! What an older build left in the state topic is taken up by this one, and goes on as it would have there.

use foretide::engine::Frozen;
use serde::Deserialize;

mod stream;

use stream::{END, SERIES, Told, WRITTEN, specs};

/// Written by the last build with layout 2 (its commit begins with 5e6791c), fed by [`stream`]: for each stream the body of
/// a snapshot, in hexadecimal, and the points and the quantiles of the forecasts after it.
const LAYOUT_2: &str = include_str!("layout_2.json");

#[derive(Deserialize)]
struct Sample {
    body: String,
    points: Vec<f32>,
    quantiles: Vec<[f32; 3]>,
}

impl Sample {
    fn of(stream: &str) -> Self {
        let mut all: std::collections::BTreeMap<String, Self> = serde_json::from_str(LAYOUT_2).expect("samples");
        all.remove(stream).expect("a sample of each stream")
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&self.body[at..at + 2], 16).expect("hexadecimal digits");
        (0..self.body.len()).step_by(2).map(byte).collect()
    }
}

#[test]
fn series_of_layout_2_go_on() {
    for spec in specs() {
        let (name, sample) = (spec.name.clone(), Sample::of(&spec.name));
        let mut told = Told::new(spec);
        let body = sample.bytes();
        let frozen = Frozen { series: SERIES.into(), position: WRITTEN, layout: 2, body: &body };
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
}

#[test]
fn what_is_cut_or_of_another_layout_is_refused() {
    for spec in specs() {
        let body = Sample::of(&spec.name).bytes();
        let mut told = Told::new(spec);
        let mut put = |layout, body: &[u8]| {
            let frozen = Frozen { series: SERIES.into(), position: WRITTEN, layout, body };
            told.engine.restore(told.task, &[frozen]).remove(0).map_err(|error| error.to_string())
        };
        assert!(put(2, &body[..body.len() - 1]).unwrap_err().contains("damaged"));
        assert!(put(3, &body).is_err(), "it is not taken for one of another layout");
        assert!(put(1, &body).unwrap_err().contains("layout 1, this build reads those of 2 and 3"));
    }
}
