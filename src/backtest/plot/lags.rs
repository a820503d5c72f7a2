//! Lines that fall, or do not, with the lag: on a logarithmic scale.

use plotters::prelude::*;

use super::{Area, FAINT, Pen, Picture, PlotError, PlotFile, legend, mesh, paint, title, told};

/// Where a logarithm is cut: what is smaller is nothing in `f32`.
const LEAST: f64 = -20.0;
/// As many as there are cells, and then again from the first.
const COLORS: [RGBColor; 8] = [
    RGBColor(29, 78, 216),
    RGBColor(217, 119, 6),
    RGBColor(5, 150, 105),
    RGBColor(190, 24, 93),
    RGBColor(109, 40, 217),
    RGBColor(8, 145, 178),
    RGBColor(101, 83, 45),
    RGBColor(75, 85, 99),
];

/// Lines of one colour: one drawn thin, one bold.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePair {
    /// What they are of.
    pub name: String,
    /// Positive numbers by lag, from 0 on.
    pub thin: Vec<f64>,
    /// The same.
    pub bold: Vec<f64>,
}

/// Lines over lags.
#[derive(Debug, Clone, PartialEq)]
pub struct LagChart {
    /// Over the chart.
    pub title: String,
    /// Below the title.
    pub below: String,
    /// The lines.
    pub pairs: Vec<LinePair>,
    /// Where dotted lines are drawn across, with nothing beyond them that would need to be told apart.
    pub bounds: [f64; 2],
}

/// Draws the decimal logarithms of lines over lags.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(file: &PlotFile, lags: &LagChart) -> Result<(), PlotError> {
    paint(file, lags)
}

fn logarithm(number: f64) -> f64 {
    if number.is_nan() { LEAST } else { number.log10().clamp(LEAST, -LEAST) }
}

impl Picture for LagChart {
    fn paint<B: DrawingBackend>(&self, area: &Area<'_, B>, pen: Pen) -> Result<(), String> {
        let lines = || self.pairs.iter().flat_map(|pair| [&pair.thin, &pair.bold]);
        let longest = lines().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
        let (low, high) = lines()
            .flatten()
            .map(|number| logarithm(*number))
            .chain([-5.0, 1.0])
            .fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let mut chart = told(
            ChartBuilder::on(area)
                .margin(pen.points(18))
                .margin_top(pen.points(92))
                .x_label_area_size(pen.points(34))
                .y_label_area_size(pen.points(58))
                .build_cartesian_2d(0.0..(longest as f64).max(1.0), low..high),
        )?;
        mesh(&mut chart, pen, 8, "lag in steps", &|x| format!("{x:.0}"))?;
        for bound in self.bounds.map(logarithm).into_iter().filter(|bound| (low..=high).contains(bound)) {
            let across = [(0.0, bound), (longest as f64, bound)];
            told(chart.draw_series(DashedLineSeries::new(across, pen.points(4), pen.points(4), pen.line(FAINT, 10))))?;
        }
        let mut names = Vec::new();
        for (pair, color) in self.pairs.iter().zip(COLORS.into_iter().cycle()) {
            for (line, tenths) in [(&pair.thin, 10), (&pair.bold, 24)] {
                let points = line.iter().enumerate().map(|(lag, number)| (lag as f64, logarithm(*number)));
                told(chart.draw_series(LineSeries::new(points, pen.line(color, tenths))))?;
            }
            names.push((pair.name.as_str(), color));
        }
        title(area, pen, &self.title, &self.below)?;
        legend(area, pen, &names, 74)
    }
}
