//! Reports as text tables and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::anomalies::Anomaly;
use super::method::{METHODS, Method, MethodErrors};
use super::report::{ReadingCounts, Report};

impl Report {
    /// One JSON object with the keys of `extra`, too. `seconds` is the run time, `microseconds` the time of one
    /// forecast. An unknown value is `null`.
    pub fn json(&self, seconds: f64, microseconds: Option<f64>, extra: Value) -> String {
        let results: Vec<Value> = self.results.iter().map(MethodErrors::json).collect();
        let mut report = json!({
            "series": self.series,
            "origins": self.origins,
            "seconds": seconds,
            "microseconds": microseconds,
            "results": results,
            "readings": self.counts.json(),
            "anomalies": self.anomalies.iter().map(Anomaly::json).collect::<Vec<_>>(),
        });
        if let Value::Object(extra) = extra {
            extra.into_iter().for_each(|(key, value)| report[key] = value);
        }
        if let Some(target) = self.target {
            report["target"] = json!({"of": target.aggregate.name(), "steps": target.steps});
        }
        if let Some(crossing) = &self.crossing {
            let mut brier: Map<String, Value> = Method::ALL
                .map(|method| (method.name().to_owned(), json!(crossing.by_method[method as usize])))
                .into_iter()
                .collect();
            brier.insert("share_so_far".to_owned(), json!(crossing.of_base_rate));
            report["crossing"] = json!({"threshold": crossing.threshold, "share": crossing.share, "brier": brier});
        }
        report.to_string()
    }

    /// One line: what was scored, and in which unit.
    pub(super) fn summary(&self) -> String {
        let unit = match &self.scale_rows {
            Some(rows) => format!("in units of each series' deviation in rows {}..{}", rows.start, rows.end),
            None => "in the series' own units".to_owned(),
        };
        format!("{} series, {} origins; errors {unit}", self.series, self.origins)
    }

    /// The leads of a horizon.
    pub(super) fn leads(&self, horizon: usize) -> String {
        self.target.map_or_else(|| format!("1..{horizon}"), |target| target.aggregate.to_string())
    }

    /// A text table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "{}\n", self.summary());
        let _ = writeln!(out, "{:>6}  {:<15}{}{:>9}", "leads", "method", column_heads(&self.results), "skill");
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
                end_line(&mut out);
            }
            out.push('\n');
        }
        if let Some(crossing) = &self.crossing {
            let [ours, last, seasonal] = crossing.by_method.map(significant);
            let (threshold, share) = (significant(crossing.threshold), 100.0 * crossing.share);
            let base_rate = significant(crossing.of_base_rate);
            let _ =
                writeln!(out, "beyond {threshold} in {share:.1} % of cases; Brier score of its probability {ours},");
            let _ =
                writeln!(out, "of last value {last}, of seasonal naive {seasonal}, of the share so far {base_rate}\n");
        }
        out.push_str(
            "Means over these leads. Skill: reduction of the mean squared error compared with the better naive\n\
             forecast. In 80 %: share of targets inside the 80 % interval.\n",
        );
        out
    }
}

impl ReadingCounts {
    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        json!({
            "taken": self.accepted,
            "refused": self.refused,
            "late": self.late,
            "duplicate": self.duplicate,
            "missing": self.missing,
        })
    }
}

impl MethodErrors {
    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        let coverage: Map<String, Value> =
            self.coverage.iter().map(|coverage| (format!("{:.2}", coverage.nominal), json!(coverage.inside))).collect();
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

    /// The cells of a table row: errors, ten characters wide, and interval coverages, nine characters wide.
    pub(super) fn cells(&self) -> String {
        let mut out = String::new();
        for error in [self.mse, self.mae, self.mase, self.smape, self.wql] {
            let _ = write!(out, "{:>10}", error.map_or_else(|| "-".to_owned(), significant));
        }
        for coverage in self.coverage.iter().rev() {
            let _ = write!(out, "{:>9}", format!("{:.1} %", coverage.inside * 100.0));
        }
        out
    }
}

/// The column heads above [`MethodErrors::cells`] of `rows`.
pub(super) fn column_heads(rows: &[MethodErrors]) -> String {
    let mut out = String::new();
    for name in ["MSE", "MAE", "MASE", "sMAPE", "WQL"] {
        let _ = write!(out, "{name:>10}");
    }
    let covered = rows.iter().find(|row| !row.coverage.is_empty());
    for coverage in covered.iter().flat_map(|row| row.coverage.iter().rev()) {
        let _ = write!(out, "{:>9}", format!("in {:.0} %", coverage.nominal * 100.0));
    }
    out
}

/// Removes trailing spaces and ends the line.
pub(super) fn end_line(out: &mut String) {
    out.truncate(out.trim_end().len());
    out.push('\n');
}

/// A number with four significant digits.
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
    fn numbers_have_four_significant_digits() {
        let shown = [0.0, 0.012_345_6, 0.2164, 2.7961, 123.456, 98_765.4, 1.5e9, 2e-5].map(significant);
        assert_eq!(shown, ["0.000000", "0.01235", "0.2164", "2.796", "123.5", "98765", "1.50e9", "2.00e-5"]);
    }
}
