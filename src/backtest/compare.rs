//! The ways to forecast that the engine knows, side by side: the whole of it, and its parts alone.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    error::BacktestError,
    report::{Method, MethodErrors, Report, heads, significant},
    run::{BacktestSpec, Observer, run, run_as_trained},
    table::Table,
};

/// What of the engine forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The trained network without the mixture.
    NetworkAlone,
    /// The mixture with a network that has learnt nothing and adds nothing.
    Untrained,
}

impl Part {
    /// All parts that `spec` can be split into; the whole comes first. Without training the network is the last value.
    fn of(spec: &BacktestSpec) -> &'static [Self] {
        let all = &[Self::Whole, Self::NetworkAlone, Self::Untrained];
        if spec.training.is_some() { all } else { &all[..1] }
    }

    /// The name in JSON.
    fn name(self) -> &'static str {
        ["foretide", "network_alone", "untrained"][self as usize]
    }

    /// The name for people.
    fn title(self) -> &'static str {
        ["foretide", "network alone", "untrained"][self as usize]
    }
}

/// What came of a part.
#[derive(Debug, Clone, PartialEq)]
struct Tried {
    part: Part,
    report: Report,
    /// Time of one forecast.
    microseconds: Option<f64>,
}

/// All ways side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The whole comes first.
    tried: Vec<Tried>,
}

/// A [`Watch`] that knows how long the forecasts of a run took.
pub trait TimedObserver: Observer {
    /// Mean time of one forecast since the last call, in microseconds; none where there was none.
    fn microseconds_per_forecast(&mut self) -> Option<f64>;
}

/// Runs the table through the engine as a whole and through each of its parts. Training takes place once.
///
/// # Errors
/// As [`run`].
pub fn compare(spec: &BacktestSpec, table: &Table, watch: &mut dyn TimedObserver) -> Result<Comparison, BacktestError> {
    let mut tried: Vec<Tried> = Vec::new();
    for &part in Part::of(spec) {
        let mut of_part = spec.clone();
        of_part.stream.forecast.network_alone = part == Part::NetworkAlone;
        let report = match (part, tried.first()) {
            (Part::NetworkAlone, Some(whole)) => run_as_trained(&of_part, table, &whole.report.rounds, watch)?,
            (Part::Untrained, _) => run(&BacktestSpec { training: None, ..of_part }, table, watch)?,
            _ => run(&of_part, table, watch)?,
        };
        tried.push(Tried { part, report, microseconds: watch.microseconds_per_forecast() });
    }
    Ok(Comparison { tried })
}

/// One row of the comparison.
struct Row<'a> {
    name: &'static str,
    title: &'static str,
    measured: &'a MethodErrors,
    microseconds: Option<f64>,
}

impl Comparison {
    /// What became of the whole.
    pub fn full_report(&self) -> Option<&Report> {
        self.tried.first().map(|whole| &whole.report)
    }

    /// By reported horizon: the parts of the engine, then the naive methods.
    fn rows(&self) -> Vec<Row<'_>> {
        let Some(whole) = self.full_report() else { return Vec::new() };
        let mut horizons: Vec<usize> = whole.results.iter().map(|row| row.horizon).collect();
        horizons.dedup();
        let mut rows = Vec::new();
        for horizon in horizons {
            for Tried { part, report, microseconds } in &self.tried {
                let ours = |row: &&MethodErrors| row.horizon == horizon && row.method == Method::Foretide;
                let (name, title, microseconds) = (part.name(), part.title(), *microseconds);
                let measured = report.results.iter().filter(ours);
                rows.extend(measured.map(|measured| Row { name, title, measured, microseconds }));
            }
            let naive = |row: &&MethodErrors| row.horizon == horizon && row.method != Method::Foretide;
            rows.extend(whole.results.iter().filter(naive).map(|measured| {
                let (name, title) = (measured.method.name(), measured.method.title());
                Row { name, title, measured, microseconds: None }
            }));
        }
        rows
    }

    /// One JSON object. What is unknown is `null`; the naive methods take no time of their own.
    pub fn json(&self, seconds: f64) -> String {
        let result = |row: Row<'_>| {
            let mut result = row.measured.json();
            result["method"] = json!(row.name);
            result["microseconds"] = json!(row.microseconds);
            result
        };
        let results: Vec<Value> = self.rows().into_iter().map(result).collect();
        let (series, origins) = self.full_report().map_or((0, 0), |whole| (whole.series, whole.origins));
        json!({"series": series, "origins": origins, "seconds": seconds, "results": results}).to_string()
    }

    /// A table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let Some(whole) = self.full_report() else { return out };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\n", whole.what());
        let heads = heads(&whole.results);
        let width = heads.chars().count();
        let _ = writeln!(out, "{:>6}  {:<15}{heads}{:>9}", "leads", "method", "µs");
        for (at, row) in self.rows().into_iter().enumerate() {
            let first = row.name == Part::Whole.name();
            if first && at > 0 {
                out.push('\n');
            }
            let leads = if first { whole.leads(row.measured.horizon) } else { String::new() };
            let time = row.microseconds.map_or_else(String::new, significant);
            let _ = write!(out, "{leads:>6}  {:<15}{:<width$}{time:>9}", row.title, row.measured.cells());
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        let _ = writeln!(
            out,
            "\nMeans over the leads named. In 80 %: the share of targets in the 80 % interval. µs: the time of one step of"
        );
        let untrained = if self.tried.iter().any(|tried| tried.part == Part::Untrained) {
            "Untrained: the mixture, with a network that adds nothing."
        } else {
            "Not trained: the network adds nothing to the mixture."
        };
        let _ = writeln!(out, "a series with its forecast, on one thread. {untrained}");
        out
    }
}
