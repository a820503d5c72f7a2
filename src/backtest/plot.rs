//! A fan chart of the last part of one series, and the error at each lead against the naive forecasters', as SVG or PNG;
//! and what has the same pens: lines over lags ([`lags`]).

pub mod lags;

use std::path::{Path, PathBuf};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::{FontStyle, register_font},
};

use super::{
    gallery::{Gallery, Shown},
    report::{Method, MethodErrors, Report},
};
use crate::time::Grid;

/// Size in points.
const WIDTH: u32 = 1240;
const HEIGHT: u32 = 560;
/// Width of the panel of errors.
const ERRORS: u32 = 360;
/// A PNG has this many pixels a point, each drawn as the mean of `FINER` squared.
const SHARP: u32 = 2;
const FINER: u32 = 2;

const FONT: &str = "foretide";
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(31, 41, 55);
const FAINT: RGBColor = RGBColor(107, 114, 128);
const LINES: RGBColor = RGBColor(229, 231, 235);
const OURS: RGBColor = RGBColor(29, 78, 216);
const LAST: RGBColor = RGBColor(156, 163, 175);
const SEASONAL: RGBColor = RGBColor(217, 119, 6);

/// A file to draw to; its form is told by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlotFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
}

impl PlotFile {
    /// Reads a file's name.
    ///
    /// # Errors
    /// When it ends neither in `.svg` nor in `.png`.
    pub fn parse(name: &str) -> Result<Self, String> {
        let path = PathBuf::from(name);
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Form::Svg,
            Some("png") => Form::Png,
            _ => return Err("expected a file name that ends in .svg or .png".to_owned()),
        };
        Ok(Self { path, form })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A plot that could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {file}: {why}")]
pub struct PlotError {
    file: String,
    why: String,
}

/// Draws a series' fan chart and the errors by lead.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(file: &PlotFile, gallery: &Gallery, report: &Report) -> Result<(), PlotError> {
    paint(file, &Backtest { gallery, report })
}

struct Backtest<'a> {
    gallery: &'a Gallery,
    report: &'a Report,
}

impl Picture for Backtest<'_> {
    fn paint<B: DrawingBackend>(&self, root: &Area<'_, B>, pen: Pen) -> Result<(), String> {
        let (left, right) = root.split_horizontally((WIDTH - ERRORS) * pen.0);
        fans(&left, pen, self.gallery)?;
        errors(&right, pen, self.report)
    }
}

/// Something that can be painted with any pen.
trait Picture {
    fn paint<B: DrawingBackend>(&self, root: &Area<'_, B>, pen: Pen) -> Result<(), String>;
}

/// Paints a picture on white into a file.
fn paint(file: &PlotFile, picture: &impl Picture) -> Result<(), PlotError> {
    let failure = |why: String| PlotError { file: file.path.display().to_string(), why };
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| failure("the built-in font is damaged".to_owned()))?;
    match file.form {
        Form::Svg => {
            let root = SVGBackend::new(&file.path, (WIDTH, HEIGHT)).into_drawing_area();
            whole(&root, Pen(1), picture).and_then(|()| told(root.present())).map_err(failure)
        }
        Form::Png => {
            let pen = Pen(SHARP * FINER);
            let (width, height) = (WIDTH * pen.0, HEIGHT * pen.0);
            let mut fine = vec![0; 3 * width as usize * height as usize];
            let root = BitMapBackend::with_buffer(&mut fine, (width, height)).into_drawing_area();
            whole(&root, pen, picture).and_then(|()| told(root.present())).map_err(failure)?;
            drop(root);
            let (width, height) = (WIDTH * SHARP, HEIGHT * SHARP);
            let pixels = averaged(&fine, width as usize, height as usize);
            let mut out = BitMapBackend::new(&file.path, (width, height));
            told(out.blit_bitmap((0, 0), (width, height), &pixels)).and_then(|()| told(out.present())).map_err(failure)
        }
    }
}

fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Every pixel the mean of a square of finer ones: lines and text come out smooth.
fn averaged(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    let finer = FINER as usize;
    let stride = 3 * width * finer;
    let mut out = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let square = (0..finer * finer).map(|at| {
                    let (down, right) = (y * finer + at / finer, x * finer + at % finer);
                    u32::from(fine[down * stride + 3 * right + channel])
                });
                out.push(u8::try_from(square.sum::<u32>() / (FINER * FINER)).unwrap_or(u8::MAX));
            }
        }
    }
    out
}

/// Pixels a point.
#[derive(Debug, Clone, Copy)]
struct Pen(u32);

impl Pen {
    fn text(self, size: u32, color: RGBColor) -> TextStyle<'static> {
        (FONT, size * self.0).into_font().color(&color)
    }

    fn line(self, color: RGBColor, tenths: u32) -> ShapeStyle {
        ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: (tenths * self.0 / 10).max(1) }
    }

    fn points(self, points: i32) -> i32 {
        points * i32::try_from(self.0).unwrap_or(1)
    }
}

type Area<'a, B> = DrawingArea<B, Shift>;

fn whole<B: DrawingBackend>(root: &Area<'_, B>, pen: Pen, picture: &impl Picture) -> Result<(), String> {
    told(root.fill(&PAPER))?;
    picture.paint(root, pen)
}

/// The origins whose forecasts are drawn: one horizon apart, the last one where its targets are all known, so that the fans
/// stand end to end over what really came.
fn origins(gallery: &Gallery) -> Vec<&Shown> {
    let horizon = i64::try_from(gallery.spec.horizon).unwrap_or(1).max(4);
    let newest = gallery.forecasts.back().map_or(0, |shown| shown.slot);
    let before = |slot: i64| gallery.forecasts.iter().rev().find(|shown| shown.slot <= slot);
    let mut found: Vec<&Shown> = (1..=3).rev().filter_map(|back| before(newest - back * horizon)).collect();
    found.dedup_by_key(|shown| shown.slot);
    found
}

/// From the value at the origin on to what is forecast, `[output]`: slots and numbers.
fn path<'a>(
    gallery: &Gallery,
    shown: &Shown,
    forecast: impl Iterator<Item = &'a f64>,
) -> impl Iterator<Item = (i64, f64)> {
    let slots = (shown.slot..).skip(*gallery.spec.leads().start());
    std::iter::once((shown.slot, shown.value)).chain(slots.zip(forecast.copied()))
}

fn fans<B: DrawingBackend>(area: &Area<'_, B>, pen: Pen, gallery: &Gallery) -> Result<(), String> {
    let fans = origins(gallery);
    let (Some(first), Some(newest)) = (gallery.forecasts.front(), gallery.forecasts.back()) else { return Ok(()) };
    let at = |slot: i64| (slot - first.slot) as f64;
    let levels = gallery.spec.levels.len();
    let values = gallery.forecasts.iter().map(|shown| shown.value);
    let bounds = fans.iter().flat_map(|shown| shown.quantiles.iter().copied());
    let (low, high) = values
        .chain(bounds)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let room = if high > low { 0.06 * (high - low) } else { 1.0 };
    let mut chart = told(
        ChartBuilder::on(area)
            .margin(pen.points(18))
            .margin_top(pen.points(64))
            .x_label_area_size(pen.points(34))
            .y_label_area_size(pen.points(58))
            .build_cartesian_2d(0.0..at(newest.slot).max(1.0), low - room..high + room),
    )?;
    mesh(&mut chart, pen, 6, "", &|x| stamp(gallery.grid, first.slot, *x))?;
    for shown in &fans {
        let path = |index: usize| {
            let quantiles = shown.quantiles.iter().skip(index).step_by(levels);
            path(gallery, shown, quantiles).map(|(slot, value)| (at(slot), value))
        };
        for (depth, (low, high)) in gallery.spec.intervals().enumerate() {
            let mut outline: Vec<(f64, f64)> = path(low).collect();
            outline.extend(path(high).collect::<Vec<_>>().into_iter().rev());
            let color = OURS.mix(if depth == 0 { 0.13 } else { 0.17 });
            told(chart.draw_series([Polygon::new(outline, color.filled())]))?;
        }
    }
    let observed = gallery.forecasts.iter().map(|shown| (at(shown.slot), shown.value));
    told(chart.draw_series(LineSeries::new(observed, pen.line(INK, 14))))?;
    for shown in &fans {
        let path = path(gallery, shown, shown.point.iter()).map(|(slot, value)| (at(slot), value));
        told(chart.draw_series(LineSeries::new(path, pen.line(OURS, 20))))?;
        let dot = Circle::new((at(shown.slot), shown.value), pen.points(4), OURS.filled());
        told(chart.draw_series([dot]))?;
    }
    title(area, pen, &gallery.name, "each dot is the origin of a forecast")?;
    let percent = |(low, high): (usize, usize)| {
        format!("{:.0} %", f64::from(gallery.spec.levels[high] - gallery.spec.levels[low]) * 100.0)
    };
    let intervals: Vec<String> = gallery.spec.intervals().map(percent).collect();
    let bands = if intervals.is_empty() {
        "forecast".to_owned()
    } else {
        format!("forecast, {} intervals", intervals.join(" and "))
    };
    legend(area, pen, &[("observed", INK), (&bands, OURS)], 74)
}

fn errors<B: DrawingBackend>(area: &Area<'_, B>, pen: Pen, report: &Report) -> Result<(), String> {
    let lead_error = |row: &MethodErrors| Some((row.horizon as f64, row.mae?));
    let lines =
        Method::ALL.map(|method| report.by_lead[method as usize].iter().filter_map(lead_error).collect::<Vec<_>>());
    let highest = lines.iter().flatten().map(|(_, error)| *error).fold(0.0, f64::max);
    let longest = report.by_lead[0].len() as f64;
    let mut chart = told(
        ChartBuilder::on(area)
            .margin(pen.points(18))
            .margin_top(pen.points(64))
            .x_label_area_size(pen.points(34))
            .y_label_area_size(pen.points(48))
            .build_cartesian_2d(1.0..longest.max(2.0), 0.0..if highest > 0.0 { highest * 1.08 } else { 1.0 }),
    )?;
    mesh(&mut chart, pen, 5, "steps ahead", &|x| format!("{x:.0}"))?;
    let colors = [OURS, LAST, SEASONAL];
    for (method, line) in lines.into_iter().enumerate().rev() {
        let style = pen.line(colors[method], if method == 0 { 24 } else { 16 });
        // A horizon of one step is one point.
        if let [only] = line[..] {
            told(chart.draw_series([Circle::new(only, pen.points(4), colors[method].filled())]))?;
        }
        told(chart.draw_series(LineSeries::new(line, style)))?;
    }
    let unit = if report.scaled.is_some() {
        "mean absolute, in deviations of the series"
    } else {
        "mean absolute, all series"
    };
    title(area, pen, "Error by lead", unit)?;
    let names = Method::ALL.map(Method::title);
    legend(area, pen, &[(names[0], OURS), (names[1], LAST), (names[2], SEASONAL)], 64)
}

type Chart<'a, 'b, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn mesh<B: DrawingBackend>(
    chart: &mut Chart<'_, '_, B>,
    pen: Pen,
    labels: usize,
    below: &str,
    label: &dyn Fn(&f64) -> String,
) -> Result<(), String> {
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(pen.line(LINES, 10))
        .axis_style(pen.line(LINES, 10))
        .x_labels(labels)
        .y_labels(6)
        .x_label_formatter(label)
        .y_label_formatter(&|y| plain(*y))
        .label_style(pen.text(13, FAINT))
        .axis_desc_style(pen.text(13, FAINT))
        .set_all_tick_mark_size(0);
    if !below.is_empty() {
        mesh.x_desc(below);
    }
    told(mesh.draw())
}

fn title<B: DrawingBackend>(area: &Area<'_, B>, pen: Pen, text: &str, below: &str) -> Result<(), String> {
    let text: String = text.chars().take(70).collect();
    told(area.draw_text(&text, &pen.text(22, INK), (pen.points(20), pen.points(12))))?;
    told(area.draw_text(below, &pen.text(13, FAINT), (pen.points(20), pen.points(39))))
}

/// Names in their colours, in a row at the top of the plotted part.
fn legend<B: DrawingBackend>(
    area: &Area<'_, B>,
    pen: Pen,
    entries: &[(&str, RGBColor)],
    left: i32,
) -> Result<(), String> {
    let mut x = pen.points(left);
    let y = pen.points(68);
    for (name, color) in entries {
        let style = pen.text(13, INK);
        let mark = Rectangle::new([(x, y + pen.points(5)), (x + pen.points(16), y + pen.points(8))], color.filled());
        told(area.draw(&mark))?;
        x += pen.points(21);
        told(area.draw_text(name, &style, (x, y)))?;
        let (width, _) = told(area.estimate_text_size(name, &style))?;
        x += i32::try_from(width).unwrap_or(0) + pen.points(16);
    }
    Ok(())
}

/// A number on the axis without the digits that summing steps leaves behind.
fn plain(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 || size > 0.0 && size < 1e-4 {
        return format!("{number:.1e}");
    }
    let digits = format!("{number:.6}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if digits == "-0" { "0".to_owned() } else { digits.to_owned() }
}

/// The time of a place on the axis, as finely as the grid asks for.
fn stamp(grid: Grid, first: i64, x: f64) -> String {
    // The axis counts slots that have been seen: far within i64.
    let slot = first + x.round() as i64;
    let Grid::Regular { interval } = grid else { return slot.to_string() };
    let Ok(time) = jiff::Timestamp::from_millisecond(grid.start(slot).0) else { return slot.to_string() };
    let pattern = match interval {
        86_400_000.. => "%Y-%m-%d",
        60_000.. => "%d %b %H:%M",
        _ => "%H:%M:%S",
    };
    time.strftime(pattern).to_string()
}
