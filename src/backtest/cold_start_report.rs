//! The scores of cold starts as a text table and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::cold_start::{ColdStartReport, ColdStartRow};
use super::method::Method;
use super::report_format::{end_line, significant};

/// The naive methods, as in [`ColdStartRow::naive`].
const NAIVE: [Method; 2] = [Method::LastValue, Method::SeasonalNaive];

impl ColdStartReport {
    /// One JSON object. `seconds` is the run time. An unknown value is `null`.
    pub fn json(&self, seconds: f64) -> String {
        let results: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let (series, horizon, season) = (self.series, self.horizon, self.season);
        json!({
            "series": series,
            "horizon": horizon,
            "season": season,
            "seconds": seconds,
            "cold_start": results,
            "readings": self.counts.json(),
        })
        .to_string()
    }

    fn row_json(&self, row: &ColdStartRow) -> Value {
        let names = self.layout.intervals.iter().map(|(nominal, ..)| format!("{nominal:.2}"));
        let coverage = names.zip(row.ours.interval_coverage()).map(|(name, inside)| (name, json!(inside)));
        let better = row.better_naive();
        json!({
            "observations_seen": row.seen,
            "forecasts": row.forecasts,
            "mae": row.mae(),
            "last_value": row.naive[0],
            "seasonal_naive": row.naive[1],
            "better_naive": better.map(|(method, _)| method.name()),
            "mae_ratio": better.and_then(|(_, error)| row.ratio_to(error)),
            "quantile_loss": row.quantile_loss(&self.layout),
            "coverage": coverage.collect::<Map<_, _>>(),
        })
    }

    /// A text table.
    pub fn table(&self) -> String {
        let (series, horizon) = (self.series, self.horizon);
        let season = if self.season > 1 { format!("season {} steps", self.season) } else { "no season".to_owned() };
        let mut out =
            format!("{series} series, one forecast of {horizon} steps after each number of observations, {season}\n\n");
        let heads = ["seen", "forecasts", "MAE", "last value", "seasonal", "ratio", "loss"];
        for head in heads {
            // Writing to a string cannot fail.
            let _ = write!(out, "{head:>11}");
        }
        for (nominal, ..) in &self.layout.intervals {
            let _ = write!(out, "{:>9}", format!("in {:.0} %", nominal * 100.0));
        }
        out.push_str("  better naive\n");
        for row in &self.rows {
            let better = row.better_naive();
            let _ = write!(out, "{:>11}{:>11}", row.seen, row.forecasts);
            let ratio = better.and_then(|(_, error)| row.ratio_to(error));
            for number in [row.mae(), row.naive[0], row.naive[1], ratio, row.quantile_loss(&self.layout)] {
                let _ = write!(out, "{:>11}", number.map_or_else(|| "-".to_owned(), significant));
            }
            for inside in row.ours.interval_coverage().into_iter().flatten() {
                let _ = write!(out, "{:>9}", format!("{:.1} %", inside * 100.0));
            }
            let _ = write!(out, "  {}", better.map_or("", |(method, _)| method.title()));
            end_line(&mut out);
        }
        out.push_str(
            "\nMean absolute errors in units of each series' deviation. Ratio: to the better naive forecast. Loss:\n\
             mean over the levels 0.1 to 0.9 of twice the pinball loss; of a forecast without spread, the MAE.\n",
        );
        out
    }
}

impl ColdStartRow {
    /// The better naive forecast with its error; of equal ones the last value.
    fn better_naive(&self) -> Option<(Method, f64)> {
        let known = NAIVE.into_iter().zip(self.naive).filter_map(|(method, error)| Some((method, error?)));
        known.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    fn ratio_to(&self, error: f64) -> Option<f64> {
        self.mae().filter(|_| error > 0.0).map(|mae| mae / error)
    }
}
