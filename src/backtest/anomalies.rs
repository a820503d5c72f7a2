//! The anomalies of a backtest.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::ForecastRow;
use crate::forecast::ForecastSpec;
use crate::time::EventTime;

/// A value for which the engine reported an anomaly.
#[derive(Debug, Clone, PartialEq)]
pub struct Anomaly {
    /// Name of the series.
    pub series: String,
    /// When its step began.
    pub time: EventTime,
    /// The value.
    pub value: f64,
    /// The widest interval of the forecast before it; `None` where that did not forecast this step.
    pub expected: Option<[f64; 2]>,
    /// The anomaly score, 0 to 1.
    pub score: f32,
}

/// The newest forecast of a series: the ends of its widest interval, `[output][2]`.
#[derive(Debug, Clone, Default)]
struct Expectation {
    slot: i64,
    bounds: Vec<[f64; 2]>,
}

/// Collects anomalies, with what was expected instead.
#[derive(Debug, Clone, Default)]
pub(super) struct AnomalyCollector {
    expected: Vec<Expectation>,
    pub found: Vec<Anomaly>,
}

impl AnomalyCollector {
    /// Adds a forecast of a series, `quantiles` being `[output][level]`. Whether its value is an anomaly.
    pub fn add(
        &mut self,
        (index, name): (usize, &str),
        row: &ForecastRow,
        quantiles: &[f64],
        spec: &ForecastSpec,
    ) -> bool {
        if self.expected.len() <= index {
            self.expected.resize(index + 1, Expectation::default());
        }
        let expected = &mut self.expected[index];
        let score = row.anomaly.filter(|anomaly| anomaly.anomalous).map(|anomaly| anomaly.score);
        if let Some(score) = score {
            let lead = usize::try_from(row.slot - expected.slot).unwrap_or(0);
            let output = lead.checked_sub(*spec.leads().start());
            let bounds = output.and_then(|output| expected.bounds.get(output)).copied();
            let (series, time, value) = (name.to_owned(), row.origin, row.value);
            self.found.push(Anomaly { series, time, value, expected: bounds, score });
        }
        expected.slot = row.slot;
        expected.bounds.clear();
        if spec.target.is_none() {
            let ends = |levels: &[f64]| Some([*levels.first()?, *levels.last()?]);
            expected.bounds.extend(quantiles.chunks_exact(spec.levels.len().max(1)).filter_map(ends));
        }
        score.is_some()
    }
}

impl Anomaly {
    /// One JSON object; the time is RFC 3339 in UTC.
    pub(super) fn json(&self) -> Value {
        let time =
            Timestamp::from_millisecond(self.time.0).map_or_else(|_| self.time.0.to_string(), |time| time.to_string());
        let [lower, upper] = self.expected.map_or([None, None], |bounds| bounds.map(Some));
        json!({
            "time": time,
            "series": self.series,
            "value": self.value,
            "lower": lower,
            "upper": upper,
            // Four decimals, as in the daemon's records.
            "score": (f64::from(self.score) * 1e4).round() / 1e4,
        })
    }
}
