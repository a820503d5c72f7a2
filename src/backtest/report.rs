//! The outcome, for people and for programs.

use std::{fmt::Write, ops::Range};

use serde_json::{Map, Value, json};

use super::{crossing::Crossing, gallery::Gallery, run::Counts, training::TrainingRound};
use crate::series::Target;

/// Number of methods.
pub(super) const METHODS: usize = 3;

/// Who forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The engine: mixture and calibrated quantiles.
    Foretide,
    /// The last value for all leads.
    LastValue,
    /// The value one season before the target, or as many whole seasons as the lead needs; the last value where that is not
    /// known or there is no season.
    SeasonalNaive,
}

impl Method {
    /// All, in the order of the report.
    pub const ALL: [Self; METHODS] = [Self::Foretide, Self::LastValue, Self::SeasonalNaive];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        ["foretide", "last_value", "seasonal_naive"][self as usize]
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        ["foretide", "last value", "seasonal naive"][self as usize]
    }
}

/// Mean errors of one method; `None` where nothing was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodErrors {
    /// Whose.
    pub method: Method,
    /// Over leads 1 to this one.
    pub horizon: usize,
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Mean absolute scaled error: in units of the naive error in the training rows.
    pub mase: Option<f64>,
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: Option<f64>,
    /// Weighted quantile loss; a naive forecast counts as the same number at every level.
    pub wql: Option<f64>,
    /// Per central interval, widest first: nominal coverage and share of targets inside. Empty for the naive methods.
    pub coverage: Vec<(f64, f64)>,
}

impl MethodErrors {
    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        let coverage: Map<String, Value> =
            self.coverage.iter().map(|(nominal, inside)| (format!("{nominal:.2}"), json!(inside))).collect();
        json!({
            "method": self.method.name(),
            "horizon": self.horizon,
            "mse": self.mse,
            "mae": self.mae,
            "mase": self.mase,
            "smape": self.smape,
            "wql": self.wql,
            "coverage": coverage,
        })
    }

    /// The numbers of a row of a table, ten characters each, and the shares inside the intervals, nine each.
    pub(super) fn cells(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        for number in [self.mse, self.mae, self.mase, self.smape, self.wql] {
            let _ = write!(out, "{:>10}", number.map_or_else(|| "-".to_owned(), significant));
        }
        for (_, inside) in self.coverage.iter().rev() {
            let _ = write!(out, "{:>9}", format!("{:.1} %", inside * 100.0));
        }
        out
    }
}

/// The heads of the columns that [`Measured::cells`] fills, of which `rows` are to come.
pub(super) fn heads(rows: &[MethodErrors]) -> String {
    let mut out = String::new();
    for name in ["MSE", "MAE", "MASE", "sMAPE", "WQL"] {
        let _ = write!(out, "{name:>10}");
    }
    let covered = rows.iter().find(|row| !row.coverage.is_empty());
    for (nominal, _) in covered.iter().flat_map(|row| row.coverage.iter().rev()) {
        let _ = write!(out, "{:>9}", format!("in {:.0} %", nominal * 100.0));
    }
    out
}

/// What came of a backtest.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Series.
    pub series: usize,
    /// Distinct slots from which a scored forecast was made.
    pub origins: usize,
    /// By reported horizon, then by method.
    pub results: Vec<MethodErrors>,
    /// By method, each lead alone: `[method][lead]`.
    pub by_lead: [Vec<MethodErrors>; METHODS],
    /// The rows whose deviation is the unit of the errors.
    pub scaled: Option<Range<usize>>,
    /// What became of the readings.
    pub counts: Counts,
    /// Where one number is forecast: what it is made of, and of how many steps.
    pub target: Option<(Target, usize)>,
    /// How well its crossing of the threshold was told, where there is one.
    pub crossing: Option<Crossing>,
    /// The trainings, in order.
    pub rounds: Vec<TrainingRound>,
    /// The last part of the series to be plotted.
    pub gallery: Option<Gallery>,
}

impl Report {
    /// One JSON object; `microseconds` is the time of one forecast. What is unknown is `null`.
    pub fn json(&self, seconds: f64, microseconds: Option<f64>) -> String {
        let results: Vec<Value> = self.results.iter().map(MethodErrors::json).collect();
        let mut whole = json!({
            "series": self.series,
            "origins": self.origins,
            "seconds": seconds,
            "microseconds": microseconds,
            "results": results,
        });
        if let Some((target, steps)) = self.target {
            whole["target"] = json!({"of": target.name(), "steps": steps});
        }
        if let Some(crossing) = &self.crossing {
            let mut brier: Map<String, Value> = Method::ALL
                .map(|method| (method.name().to_owned(), json!(crossing.brier[method as usize])))
                .into_iter()
                .collect();
            brier.insert("share_so_far".to_owned(), json!(crossing.brier_of_share));
            whole["crossing"] = json!({"threshold": crossing.threshold, "share": crossing.share, "brier": brier});
        }
        whole.to_string()
    }

    /// What was scored, and in which unit.
    pub(super) fn what(&self) -> String {
        let unit = match &self.scaled {
            Some(rows) => format!("in units of each series' deviation in rows {}..{}", rows.start, rows.end),
            None => "in the series' own units".to_owned(),
        };
        format!("{} series, {} origins; errors {unit}", self.series, self.origins)
    }

    /// The leads that are meant by a horizon.
    pub(super) fn leads(&self, horizon: usize) -> String {
        self.target.map_or_else(|| format!("1..{horizon}"), |(target, _)| target.to_string())
    }

    /// A table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\n", self.what());
        let _ = writeln!(out, "{:>6}  {:<15}{}{:>9}", "leads", "method", heads(&self.results), "skill");
        for rows in self.results.chunks(METHODS) {
            let best = rows.iter().filter(|row| row.method != Method::Foretide).filter_map(|row| row.mse);
            let best = best.fold(f64::INFINITY, f64::min);
            for row in rows {
                let ours = row.method == Method::Foretide;
                let leads = if ours { self.leads(row.horizon) } else { String::new() };
                let _ = write!(out, "{leads:>6}  {:<15}{}", row.method.title(), row.cells());
                if let Some(mse) = row.mse.filter(|_| ours && best > 0.0) {
                    let _ = write!(out, "{:>9}", format!("{:+.1} %", (1.0 - mse / best) * 100.0));
                }
                out.truncate(out.trim_end().len());
                out.push('\n');
            }
            out.push('\n');
        }
        if let Some(crossing) = &self.crossing {
            let [ours, last, seasonal] = crossing.brier.map(significant);
            let (threshold, share) = (significant(crossing.threshold), 100.0 * crossing.share);
            let known = significant(crossing.brier_of_share);
            let _ =
                writeln!(out, "beyond {threshold} in {share:.1} % of cases; Brier score of its probability {ours},");
            let _ = writeln!(out, "of last value {last}, of seasonal naive {seasonal}, of the share so far {known}\n");
        }
        let _ = writeln!(
            out,
            "Means over the leads named. Skill: how much less the mean squared error is than that of the better naive"
        );
        let _ = writeln!(out, "forecast. In 80 %: the share of targets in the 80 % interval.");
        out
    }
}

/// Four significant digits.
pub(super) fn significant(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{number:.2e}");
    }
    let decimals = [(1000.0, 0), (100.0, 1), (10.0, 2), (1.0, 3), (0.1, 4), (0.01, 5)];
    let decimals = decimals.iter().find(|(least, _)| size >= *least).map_or(6, |(_, decimals)| *decimals);
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.012_345_6, 0.2164, 2.7961, 123.456, 98_765.4, 1.5e9, 2e-5].map(significant);
        assert_eq!(shown, ["0.000000", "0.01235", "0.2164", "2.796", "123.5", "98765", "1.50e9", "2.00e-5"]);
    }
}
