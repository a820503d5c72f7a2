//! Compares the whole engine with its parts and with the naive forecasts.

use std::fmt::Write;

use serde_json::{Value, json};

use super::error::BacktestError;
use super::method::{Method, MethodErrors};
use super::observer::TimedObserver;
use super::report::Report;
use super::report_format::{column_heads, end_line, significant};
use super::run::{BacktestSpec, run, run_as_trained};
use super::table::Table;

/// A part of the engine that forecasts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The whole engine.
    FullEngine,
    /// The trained network without the stacked experts.
    NetworkAlone,
    /// The stacked experts with an untrained network, which predicts the last value.
    Untrained,
}

impl Part {
    /// The parts to compare, the whole engine first. Without training there is nothing to split.
    fn all(spec: &BacktestSpec) -> &'static [Self] {
        let all = &[Self::FullEngine, Self::NetworkAlone, Self::Untrained];
        if spec.training.is_some() { all } else { &all[..1] }
    }

    /// Name in JSON.
    fn name(self) -> &'static str {
        ["foretide", "network_alone", "untrained"][self as usize]
    }

    /// Name in text.
    fn title(self) -> &'static str {
        ["foretide", "network alone", "untrained"][self as usize]
    }
}

/// The result of one part.
#[derive(Debug, Clone, PartialEq)]
struct PartReport {
    part: Part,
    report: Report,
    /// Time of one forecast.
    microseconds: Option<f64>,
}

/// The results of all parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The whole engine comes first.
    parts: Vec<PartReport>,
}

/// Runs the table through the whole engine and through each of its parts. Training takes place once.
///
/// # Errors
/// As [`run`].
pub fn compare(
    spec: &BacktestSpec,
    table: &Table,
    observer: &mut dyn TimedObserver,
) -> Result<Comparison, BacktestError> {
    let mut parts: Vec<PartReport> = Vec::new();
    for &part in Part::all(spec) {
        let mut of_part = spec.clone();
        of_part.stream.forecast.network_alone = part == Part::NetworkAlone;
        let report = match (part, parts.first()) {
            (Part::NetworkAlone, Some(full)) => run_as_trained(&of_part, table, &full.report.rounds, observer)?,
            (Part::Untrained, _) => run(&BacktestSpec { training: None, ..of_part }, table, observer)?,
            _ => run(&of_part, table, observer)?,
        };
        parts.push(PartReport { part, report, microseconds: observer.microseconds_per_forecast() });
    }
    Ok(Comparison { parts })
}

/// One row of the comparison.
struct Row<'a> {
    name: &'static str,
    title: &'static str,
    errors: &'a MethodErrors,
    microseconds: Option<f64>,
}

impl Comparison {
    /// The report of the whole engine.
    pub fn full_report(&self) -> Option<&Report> {
        self.parts.first().map(|full| &full.report)
    }

    /// By horizon: every part, then the naive methods.
    fn rows(&self) -> Vec<Row<'_>> {
        let Some(full) = self.full_report() else { return Vec::new() };
        let mut horizons: Vec<usize> = full.results.iter().map(|row| row.horizon).collect();
        horizons.dedup();
        let mut rows = Vec::new();
        for horizon in horizons {
            for PartReport { part, report, microseconds } in &self.parts {
                let ours = |row: &&MethodErrors| row.horizon == horizon && row.method == Method::Foretide;
                let (name, title, microseconds) = (part.name(), part.title(), *microseconds);
                let errors = report.results.iter().filter(ours);
                rows.extend(errors.map(|errors| Row { name, title, errors, microseconds }));
            }
            let naive = |row: &&MethodErrors| row.horizon == horizon && row.method != Method::Foretide;
            rows.extend(full.results.iter().filter(naive).map(|errors| {
                let (name, title) = (errors.method.name(), errors.method.title());
                Row { name, title, errors, microseconds: None }
            }));
        }
        rows
    }

    /// One JSON object. An unknown value is `null`; the naive methods have no time.
    pub fn json(&self, seconds: f64) -> String {
        let result = |row: Row<'_>| {
            let mut result = row.errors.json();
            result["method"] = json!(row.name);
            result["microseconds"] = json!(row.microseconds);
            result
        };
        let results: Vec<Value> = self.rows().into_iter().map(result).collect();
        let (series, origins) = self.full_report().map_or((0, 0), |full| (full.series, full.origins));
        let readings = self.full_report().map(|full| full.counts.json());
        json!({"series": series, "origins": origins, "seconds": seconds, "results": results, "readings": readings})
            .to_string()
    }

    /// A text table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let Some(full) = self.full_report() else { return out };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\n", full.summary());
        let heads = column_heads(&full.results);
        let width = heads.chars().count();
        let _ = writeln!(out, "{:>6}  {:<15}{heads}{:>9}", "leads", "method", "µs");
        for (index, row) in self.rows().into_iter().enumerate() {
            let is_first = row.name == Part::FullEngine.name();
            if is_first && index > 0 {
                out.push('\n');
            }
            let leads = if is_first { full.leads(row.errors.horizon) } else { String::new() };
            let time = row.microseconds.map_or_else(String::new, significant);
            let _ = write!(out, "{leads:>6}  {:<15}{:<width$}{time:>9}", row.title, row.errors.cells());
            end_line(&mut out);
        }
        let untrained = if self.parts.iter().any(|part| part.part == Part::Untrained) {
            "Untrained: the stacked experts with an untrained network."
        } else {
            "Without training the network adds nothing to the experts."
        };
        let _ = writeln!(
            out,
            "\nMeans over these leads. In 80 %: share of targets inside the 80 % interval. µs: time of one step of a\n\
             series with its forecast, on one thread. {untrained}"
        );
        out
    }
}
