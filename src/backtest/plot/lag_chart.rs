//! A chart of lines over lags on a logarithmic scale.

use plotters::prelude::*;

use super::canvas::{Area, Drawing, FAINT, PlotError, PlotFile, Scale, axes, draw_to_file, legend, text_error, title};

/// Limit of the decimal logarithms. Smaller numbers are negligible in `f32`.
const MIN_LOG: f64 = -20.0;
/// One colour per recurrent cell; further lines start again with the first.
#[rustfmt::skip]
const COLORS: [RGBColor; 8] = [
    RGBColor(29, 78, 216), RGBColor(217, 119, 6), RGBColor(5, 150, 105), RGBColor(190, 24, 93),
    RGBColor(109, 40, 217), RGBColor(8, 145, 178), RGBColor(101, 83, 45), RGBColor(75, 85, 99),
];

/// Two lines of one colour.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePair {
    /// Name in the legend.
    pub name: String,
    /// The thin line: positive numbers by lag, from 0.
    pub thin: Vec<f64>,
    /// The bold line: positive numbers by lag, from 0.
    pub bold: Vec<f64>,
}

/// A chart of lines over lags.
#[derive(Debug, Clone, PartialEq)]
pub struct LagChart {
    /// Title.
    pub title: String,
    /// Smaller line below the title.
    pub below: String,
    /// The lines.
    pub pairs: Vec<LinePair>,
    /// Values at which dashed lines cross the chart.
    pub bounds: [f64; 2],
}

/// Draws the decimal logarithms of the lines.
///
/// # Errors
/// If the file cannot be written.
pub fn draw_lag_chart(file: &PlotFile, chart: &LagChart) -> Result<(), PlotError> {
    draw_to_file(file, chart)
}

fn logarithm(number: f64) -> f64 {
    if number.is_nan() { MIN_LOG } else { number.log10().clamp(MIN_LOG, -MIN_LOG) }
}

impl Drawing for LagChart {
    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>, scale: Scale) -> Result<(), String> {
        let lines = || self.pairs.iter().flat_map(|pair| [&pair.thin, &pair.bold]);
        let longest = lines().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
        let (low, high) = lines()
            .flatten()
            .map(|number| logarithm(*number))
            .chain([-5.0, 1.0])
            .fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let mut chart = text_error(
            ChartBuilder::on(area)
                .margin(scale.points(18))
                .margin_top(scale.points(92))
                .x_label_area_size(scale.points(34))
                .y_label_area_size(scale.points(58))
                .build_cartesian_2d(0.0..(longest as f64).max(1.0), low..high),
        )?;
        axes(&mut chart, scale, 8, "lag in steps", &|x| format!("{x:.0}"))?;
        for bound in self.bounds.map(logarithm).into_iter().filter(|bound| (low..=high).contains(bound)) {
            let across = [(0.0, bound), (longest as f64, bound)];
            text_error(chart.draw_series(DashedLineSeries::new(
                across,
                scale.points(4),
                scale.points(4),
                scale.line(FAINT, 10),
            )))?;
        }
        let mut names = Vec::new();
        for (pair, color) in self.pairs.iter().zip(COLORS.into_iter().cycle()) {
            for (line, tenths) in [(&pair.thin, 10), (&pair.bold, 24)] {
                let points = line.iter().enumerate().map(|(lag, number)| (lag as f64, logarithm(*number)));
                text_error(chart.draw_series(LineSeries::new(points, scale.line(color, tenths))))?;
            }
            names.push((pair.name.as_str(), color));
        }
        title(area, scale, &self.title, &self.below)?;
        legend(area, scale, &names, 74)
    }
}
