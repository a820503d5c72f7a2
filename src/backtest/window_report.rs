//! The scores of windows as a text table, as JSON, and as one line for each window.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::report_format::{end_line, significant};
use super::window_sums::{LevelLayout, WindowSums};
use super::windows::{Window, WindowForecast, WindowReport};

/// Names of the methods in JSON and in text.
const NAMES: [(&str, &str); 2] = [("foretide", "foretide"), ("seasonal_naive", "seasonal naive")];

impl WindowReport {
    /// One JSON object. `seconds` is the run time, `microseconds` the time of one forecast. An unknown value is `null`.
    pub fn json(&self, seconds: f64, microseconds: Option<f64>) -> String {
        let layout = &self.layout;
        let [ours, naive] = self.sums(None);
        let mut report = scores(layout, &ours);
        report["windows"] = json!(self.windows);
        report["horizon"] = json!(self.horizon);
        report["season"] = json!(self.season);
        report["series"] = json!(self.series.len());
        report["forecasts"] = json!(self.scored.len());
        report["not_forecast"] = json!(self.not_forecast);
        report["without_values"] = json!(self.without_values);
        report["loss_levels"] = json!(layout.loss.iter().map(|index| level_name(layout, *index)).collect::<Vec<_>>());
        report["seasonal_naive"] = scores(layout, &naive);
        report["ratio"] = ratios(layout, &ours, &naive);
        report["seconds"] = json!(seconds);
        report["microseconds"] = json!(microseconds);
        if self.series.len() > 1 {
            let of_series = |(index, name): (usize, &String)| {
                let [ours, naive] = self.sums(Some(index));
                let mut of_series = scores(layout, &ours);
                of_series["series"] = json!(name);
                of_series["forecasts"] = json!(self.scored.iter().filter(|window| window.series == index).count());
                of_series["seasonal_naive"] = scores(layout, &naive);
                of_series["ratio"] = ratios(layout, &ours, &naive);
                of_series
            };
            report["by_series"] = self.series.iter().enumerate().map(of_series).collect();
        }
        report.to_string()
    }

    /// One JSON object for each window: its targets, the forecasts of both methods, and their scores.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.scored.iter().map(|window| self.line(window))
    }

    fn line(&self, window: &Window) -> String {
        let layout = &self.layout;
        let of_method = |method: usize| {
            let (WindowForecast { point, quantiles }, sums) = (&window.forecasts[method], &window.sums[method]);
            let path = |level: usize| quantiles.iter().skip(level).step_by(layout.levels.len()).collect::<Vec<_>>();
            let by_level = (0..layout.levels.len()).map(|level| (level_name(layout, level), json!(path(level))));
            json!({
                "point": point,
                "quantiles": by_level.collect::<Map<_, _>>(),
                "absolute_error": sums.absolute_error,
                "quantile_loss": sums.quantile_loss(layout),
                "mase": sums.mase(),
                "weighted_quantile_loss": sums.weighted_quantile_loss(layout),
            })
        };
        let mut line = of_method(0);
        line["series"] = json!(self.series[window.series]);
        line["window"] = json!(window.window);
        line["origin"] = json!(self.grid.label(window.origin).0);
        line["step"] = json!(window.origin);
        line["forecast_step"] = json!(window.newest);
        line["naive_error"] = json!(window.naive_error);
        line["target"] = json!(window.targets);
        line["absolute_target"] = json!(window.sums[0].magnitudes);
        line["seasonal_naive"] = of_method(1);
        line.to_string()
    }

    /// A text table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let (series, windows, horizon) = (self.series.len(), self.windows, self.horizon);
        let season = if self.season > 1 { format!("season {} steps", self.season) } else { "no season".to_owned() };
        let forecasts = self.scored.len();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{series} series, {windows} windows of {horizon} steps, {forecasts} forecasts, {season}");
        for (count, what) in
            [(self.without_values, "not in the file, or without a value"), (self.not_forecast, "without a forecast")]
        {
            if count > 0 {
                let _ = writeln!(out, "{count} windows {what}");
            }
        }
        out.push('\n');
        let sums = self.sums(None);
        let all = sums.each_ref().map(|sums| Row::of(&self.layout, sums));
        let _ = write!(out, "{:<15}", "method");
        for head in ["MASE", "WQL", "ND"] {
            let _ = write!(out, "{head:>10}");
        }
        for (nominal, ..) in &self.layout.intervals {
            let percent = nominal * 100.0;
            let _ = write!(out, "{:>9}{:>11}{:>8}", format!("in {percent:.0} %"), "width", "of |y|");
        }
        end_line(&mut out);
        for (row, (_, title)) in all.iter().zip(NAMES) {
            let _ = write!(out, "{title:<15}{}", row.cells(true));
            end_line(&mut out);
        }
        let _ = write!(out, "{:<15}{}", "ratio", all[0].ratio_to(&all[1]).cells(false));
        end_line(&mut out);
        let _ = write!(out, "\n{:<15}", "at or below");
        for level in &self.layout.levels {
            let _ = write!(out, "{:>8}", format!("{:.1} %", level * 100.0));
        }
        for (sums, (_, title)) in sums.iter().zip(NAMES) {
            let _ = write!(out, "\n{title:<15}");
            for share in sums.coverage() {
                let _ = write!(
                    out,
                    "{:>8}",
                    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
                );
            }
        }
        out.push('\n');
        if self.series.len() > 1 {
            self.write_series(&mut out);
        }
        out.push_str(
            "\nMASE: mean absolute error by the seasonal naive error of all values before the window. WQL: weighted\n\
             quantile loss, mean over the levels 0.1 to 0.9. ND: sum of absolute errors by sum of |y|. Width: mean of\n\
             the interval; of |y|: by the mean of |y|. At or below: share of targets up to each quantile.\n",
        );
        out
    }

    /// One line for each series.
    fn write_series(&self, out: &mut String) {
        let width = self.series.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(6, 30) + 2;
        let _ = write!(out, "\n{:<width$}", "series");
        for head in ["MASE", "WQL", "ND", "naive WQL", "ratio"] {
            let _ = write!(out, "{head:>11}");
        }
        end_line(out);
        for (index, name) in self.series.iter().enumerate() {
            let [ours, naive] = self.sums(Some(index));
            let (loss, of_naive) =
                (ours.weighted_quantile_loss(&self.layout), naive.weighted_quantile_loss(&self.layout));
            let _ = write!(out, "{name:<width$}");
            for number in [ours.mase(), loss, ours.nd(), of_naive, quotient(loss, of_naive)] {
                let _ = write!(out, "{:>11}", number.map_or_else(|| "-".to_owned(), significant));
            }
            end_line(out);
        }
    }

    /// The sums of both methods over the windows of one series, or of all.
    fn sums(&self, series: Option<usize>) -> [WindowSums; 2] {
        let mut sums = [WindowSums::new(&self.layout), WindowSums::new(&self.layout)];
        for window in self.scored.iter().filter(|window| series.is_none_or(|series| window.series == series)) {
            sums.iter_mut().zip(&window.sums).for_each(|(sum, more)| sum.merge(more));
        }
        sums
    }
}

/// The numbers of one line of the table.
struct Row {
    errors: [Option<f64>; 3],
    /// Coverage, width and width by the mean magnitude of each interval.
    intervals: Vec<[Option<f64>; 3]>,
}

impl Row {
    fn of(layout: &LevelLayout, sums: &WindowSums) -> Self {
        let intervals = sums.interval_coverage().into_iter().zip(sums.mean_width()).zip(sums.relative_width());
        Self {
            errors: [sums.mase(), sums.weighted_quantile_loss(layout), sums.nd()],
            intervals: intervals.map(|((inside, width), relative)| [inside, width, relative]).collect(),
        }
    }

    /// The quotients of errors and widths.
    fn ratio_to(&self, other: &Self) -> Self {
        let pairs = self.intervals.iter().zip(&other.intervals);
        Self {
            errors: std::array::from_fn(|at| quotient(self.errors[at], other.errors[at])),
            intervals: pairs.map(|(one, other)| [None, quotient(one[1], other[1]), None]).collect(),
        }
    }

    /// The cells; `dashes` stand for unknown numbers.
    fn cells(&self, dashes: bool) -> String {
        let none = if dashes { "-" } else { "" };
        let text = |number: Option<f64>| number.map_or_else(|| none.to_owned(), significant);
        let mut out: String = self.errors.iter().map(|error| format!("{:>10}", text(*error))).collect();
        for [inside, width, relative] in &self.intervals {
            let inside = inside.map_or_else(|| none.to_owned(), |inside| format!("{:.1} %", inside * 100.0));
            let _ = write!(out, "{inside:>9}{:>11}{:>8}", text(*width), text(*relative));
        }
        out
    }
}

/// The level as a key of JSON.
fn level_name(layout: &LevelLayout, index: usize) -> String {
    layout.levels[index].to_string()
}

fn quotient(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.zip(other.filter(|other| *other > 0.0)).map(|(one, other)| one / other)
}

fn by_interval(layout: &LevelLayout, numbers: impl IntoIterator<Item = Option<f64>>) -> Value {
    let names = layout.intervals.iter().map(|(nominal, ..)| format!("{nominal:.2}"));
    names.zip(numbers).map(|(name, number)| (name, json!(number))).collect::<Map<_, _>>().into()
}

/// The scores of one method as a JSON object.
fn scores(layout: &LevelLayout, sums: &WindowSums) -> Value {
    let coverage = sums.coverage().into_iter().enumerate();
    let coverage: Map<_, _> = coverage.map(|(index, share)| (level_name(layout, index), json!(share))).collect();
    json!({
        "mase": sums.mase(),
        "weighted_quantile_loss": sums.weighted_quantile_loss(layout),
        "nd": sums.nd(),
        "targets": sums.targets,
        "coverage": coverage,
        "interval_coverage": by_interval(layout, sums.interval_coverage()),
        "mean_width": by_interval(layout, sums.mean_width()),
        "relative_width": by_interval(layout, sums.relative_width()),
    })
}

/// The quotients of two methods' scores as a JSON object.
fn ratios(layout: &LevelLayout, one: &WindowSums, other: &WindowSums) -> Value {
    let widths = one.mean_width().into_iter().zip(other.mean_width()).map(|(one, other)| quotient(one, other));
    json!({
        "mase": quotient(one.mase(), other.mase()),
        "weighted_quantile_loss":
            quotient(one.weighted_quantile_loss(layout), other.weighted_quantile_loss(layout)),
        "nd": quotient(one.nd(), other.nd()),
        "mean_width": by_interval(layout, widths),
    })
}
