//! A fan chart of the last part of one series, beside the errors by lead of all methods.

use plotters::prelude::*;

use super::canvas::{
    Area, BLUE, Drawing, GREY, INK, ORANGE, PlotError, PlotFile, Scale, WIDTH, axes, draw_to_file, legend, text_error,
    title,
};
use crate::backtest::method::{Method, MethodErrors};
use crate::backtest::plot_series::{PlotForecast, PlotSeries};
use crate::backtest::report::Report;
use crate::time::Grid;

/// Width of the right panel, with the errors by lead, in points.
const ERRORS_WIDTH: u32 = 360;

/// Draws a series' fan chart and the errors by lead.
///
/// # Errors
/// If the file cannot be written.
pub fn draw_fan_chart(file: &PlotFile, series: &PlotSeries, report: &Report) -> Result<(), PlotError> {
    draw_to_file(file, &FanChart { series, report })
}

struct FanChart<'a> {
    series: &'a PlotSeries,
    report: &'a Report,
}

impl Drawing for FanChart<'_> {
    fn draw<B: DrawingBackend>(&self, root: &Area<'_, B>, scale: Scale) -> Result<(), String> {
        let (left, right) = root.split_horizontally(scale.pixels(WIDTH - ERRORS_WIDTH));
        fans(&left, scale, self.series)?;
        errors(&right, scale, self.report)
    }
}

/// The forecasts to draw: three at a distance of one horizon, so that each fan begins where the previous one ends. The
/// targets of the last one are all known.
fn drawn_forecasts(series: &PlotSeries) -> Vec<&PlotForecast> {
    let horizon = i64::try_from(series.spec.horizon).unwrap_or(1).max(4);
    let newest = series.forecasts.back().map_or(0, |forecast| forecast.slot);
    let before = |slot: i64| series.forecasts.iter().rev().find(|forecast| forecast.slot <= slot);
    let mut found: Vec<&PlotForecast> = (1..=3).rev().filter_map(|back| before(newest - back * horizon)).collect();
    found.dedup_by_key(|forecast| forecast.slot);
    found
}

/// Slots and values from the origin over the forecast values, `[output]`.
fn path<'a>(
    series: &PlotSeries,
    forecast: &PlotForecast,
    values: impl Iterator<Item = &'a f64>,
) -> impl Iterator<Item = (i64, f64)> {
    let slots = (forecast.slot..).skip(*series.spec.leads().start());
    std::iter::once((forecast.slot, forecast.value)).chain(slots.zip(values.copied()))
}

fn fans<B: DrawingBackend>(area: &Area<'_, B>, scale: Scale, series: &PlotSeries) -> Result<(), String> {
    let fans = drawn_forecasts(series);
    let (Some(first), Some(newest)) = (series.forecasts.front(), series.forecasts.back()) else { return Ok(()) };
    let at = |slot: i64| (slot - first.slot) as f64;
    let levels = series.spec.levels.len();
    let values = series.forecasts.iter().map(|forecast| forecast.value);
    let bounds = fans.iter().flat_map(|forecast| forecast.quantiles.iter().copied());
    let (low, high) = values
        .chain(bounds)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let room = if high > low { 0.06 * (high - low) } else { 1.0 };
    let mut chart = text_error(
        ChartBuilder::on(area)
            .margin(scale.points(18))
            .margin_top(scale.points(64))
            .x_label_area_size(scale.points(34))
            .y_label_area_size(scale.points(58))
            .build_cartesian_2d(0.0..at(newest.slot).max(1.0), low - room..high + room),
    )?;
    axes(&mut chart, scale, 6, "", &|x| time_label(&series.grid, first.slot, *x))?;
    for forecast in &fans {
        let path = |index: usize| {
            let quantiles = forecast.quantiles.iter().skip(index).step_by(levels);
            path(series, forecast, quantiles).map(|(slot, value)| (at(slot), value))
        };
        for (depth, (low, high)) in series.spec.intervals().enumerate() {
            let mut outline: Vec<(f64, f64)> = path(low).collect();
            outline.extend(path(high).collect::<Vec<_>>().into_iter().rev());
            let color = BLUE.mix(if depth == 0 { 0.13 } else { 0.17 });
            text_error(chart.draw_series([Polygon::new(outline, color.filled())]))?;
        }
    }
    let observed = series.forecasts.iter().map(|forecast| (at(forecast.slot), forecast.value));
    text_error(chart.draw_series(LineSeries::new(observed, scale.line(INK, 14))))?;
    for forecast in &fans {
        let path = path(series, forecast, forecast.point.iter()).map(|(slot, value)| (at(slot), value));
        text_error(chart.draw_series(LineSeries::new(path, scale.line(BLUE, 20))))?;
        let dot = Circle::new((at(forecast.slot), forecast.value), scale.points(4), BLUE.filled());
        text_error(chart.draw_series([dot]))?;
    }
    title(area, scale, &series.name, "each dot is the origin of a forecast")?;
    let percent = |(low, high): (usize, usize)| {
        format!("{:.0} %", f64::from(series.spec.levels[high] - series.spec.levels[low]) * 100.0)
    };
    let intervals: Vec<String> = series.spec.intervals().map(percent).collect();
    let bands = if intervals.is_empty() {
        "forecast".to_owned()
    } else {
        format!("forecast, {} intervals", intervals.join(" and "))
    };
    legend(area, scale, &[("observed", INK), (&bands, BLUE)], 74)
}

fn errors<B: DrawingBackend>(area: &Area<'_, B>, scale: Scale, report: &Report) -> Result<(), String> {
    let lead_error = |row: &MethodErrors| Some((row.horizon as f64, row.mae?));
    let lines =
        Method::ALL.map(|method| report.by_lead[method as usize].iter().filter_map(lead_error).collect::<Vec<_>>());
    let highest = lines.iter().flatten().map(|(_, error)| *error).fold(0.0, f64::max);
    let longest = report.by_lead[0].len() as f64;
    let mut chart = text_error(
        ChartBuilder::on(area)
            .margin(scale.points(18))
            .margin_top(scale.points(64))
            .x_label_area_size(scale.points(34))
            .y_label_area_size(scale.points(48))
            .build_cartesian_2d(1.0..longest.max(2.0), 0.0..if highest > 0.0 { highest * 1.08 } else { 1.0 }),
    )?;
    axes(&mut chart, scale, 5, "steps ahead", &|x| format!("{x:.0}"))?;
    let colors = [BLUE, GREY, ORANGE];
    for (method, line) in lines.into_iter().enumerate().rev() {
        let style = scale.line(colors[method], if method == 0 { 24 } else { 16 });
        // A horizon of one step has a single point.
        if let [only] = line[..] {
            text_error(chart.draw_series([Circle::new(only, scale.points(4), colors[method].filled())]))?;
        }
        text_error(chart.draw_series(LineSeries::new(line, style)))?;
    }
    let unit = if report.scale_rows.is_some() {
        "mean absolute, in deviations of the series"
    } else {
        "mean absolute, all series"
    };
    title(area, scale, "Error by lead", unit)?;
    let names = Method::ALL.map(Method::title);
    legend(area, scale, &[(names[0], BLUE), (names[1], GREY), (names[2], ORANGE)], 64)
}

/// The label of a slot on the time axis, as precise as the grid needs.
fn time_label(grid: &Grid, first: i64, x: f64) -> String {
    // The axis covers slots of the plotted series, far from the limits of i64.
    let slot = first + x.round() as i64;
    let Some(interval) = grid.nominal_interval() else { return slot.to_string() };
    let Ok(time) = jiff::Timestamp::from_millisecond(grid.label(slot).0) else { return slot.to_string() };
    let pattern = match interval {
        86_400_000.. => "%Y-%m-%d",
        60_000.. => "%d %b %H:%M",
        _ => "%H:%M:%S",
    };
    time.strftime(pattern).to_string()
}
