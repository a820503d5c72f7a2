//! The canvas of a plot: file formats, colours, pen sizes, axes, titles and legends.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// Width of a plot in points.
pub(super) const WIDTH: u32 = 1240;
/// Height of a plot in points.
const HEIGHT: u32 = 560;
/// Pixels per point of a PNG.
const PNG_SCALE: u32 = 2;
/// Each pixel of a PNG is the mean of this number squared of drawn pixels, which smooths lines and text.
const OVERSAMPLING: u32 = 2;

/// Name under which plotters knows the built-in font.
const FONT: &str = "foretide";
const WHITE: RGBColor = RGBColor(255, 255, 255);
pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
pub(super) const FAINT: RGBColor = RGBColor(107, 114, 128);
const LINES: RGBColor = RGBColor(229, 231, 235);
pub(super) const BLUE: RGBColor = RGBColor(29, 78, 216);
pub(super) const GREY: RGBColor = RGBColor(156, 163, 175);
pub(super) const ORANGE: RGBColor = RGBColor(217, 119, 6);
pub(super) const RED: RGBColor = RGBColor(220, 38, 38);

/// A file to draw to. Its extension determines the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlotFile {
    path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

impl PlotFile {
    /// Parses a file name.
    ///
    /// # Errors
    /// If it ends neither in `.svg` nor in `.png`.
    pub fn parse(name: &str) -> Result<Self, String> {
        let path = PathBuf::from(name);
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err("expected a file name that ends in .svg or .png".to_owned()),
        };
        Ok(Self { path, format })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A plot that cannot be drawn or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {file}: {reason}")]
pub struct PlotError {
    file: String,
    reason: String,
}

/// A drawing that works with any backend.
pub(super) trait Drawing {
    fn draw<B: DrawingBackend>(&self, root: &Area<'_, B>, scale: Scale) -> Result<(), String>;
}

/// Draws on a white background into a file.
pub(super) fn draw_to_file(file: &PlotFile, drawing: &impl Drawing) -> Result<(), PlotError> {
    let failure = |reason: String| PlotError { file: file.path.display().to_string(), reason };
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| failure("the built-in font is damaged".to_owned()))?;
    match file.format {
        Format::Svg => {
            let root = SVGBackend::new(&file.path, (WIDTH, HEIGHT)).into_drawing_area();
            draw_on_white(&root, Scale(1), drawing).and_then(|()| text_error(root.present())).map_err(failure)
        }
        Format::Png => {
            let scale = Scale(PNG_SCALE * OVERSAMPLING);
            let (width, height) = (scale.pixels(WIDTH), scale.pixels(HEIGHT));
            let mut fine = vec![0; 3 * width as usize * height as usize];
            let root = BitMapBackend::with_buffer(&mut fine, (width, height)).into_drawing_area();
            draw_on_white(&root, scale, drawing).and_then(|()| text_error(root.present())).map_err(failure)?;
            drop(root);
            let (width, height) = (WIDTH * PNG_SCALE, HEIGHT * PNG_SCALE);
            let pixels = averaged(&fine, width as usize, height as usize);
            let mut out = BitMapBackend::new(&file.path, (width, height));
            text_error(out.blit_bitmap((0, 0), (width, height), &pixels))
                .and_then(|()| text_error(out.present()))
                .map_err(failure)
        }
    }
}

/// Converts the error to text.
pub(super) fn text_error<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Reduces an image by [`OVERSAMPLING`]: each pixel is the mean of a square.
fn averaged(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    let factor = OVERSAMPLING as usize;
    let stride = 3 * width * factor;
    let mut out = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let square = (0..factor * factor).map(|at| {
                    let (down, right) = (y * factor + at / factor, x * factor + at % factor);
                    u32::from(fine[down * stride + 3 * right + channel])
                });
                out.push(u8::try_from(square.sum::<u32>() / (OVERSAMPLING * OVERSAMPLING)).unwrap_or(u8::MAX));
            }
        }
    }
    out
}

/// Pixels per point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale(u32);

impl Scale {
    fn text(self, size: u32, color: RGBColor) -> TextStyle<'static> {
        (FONT, size * self.0).into_font().color(&color)
    }

    /// The style of a line; the width is in tenths of a point.
    pub(super) fn line(self, color: RGBColor, tenths: u32) -> ShapeStyle {
        ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: (tenths * self.0 / 10).max(1) }
    }

    /// Points as a signed number of pixels.
    pub(super) fn points(self, points: i32) -> i32 {
        points * i32::try_from(self.0).unwrap_or(1)
    }

    /// Points as a number of pixels.
    pub(super) fn pixels(self, points: u32) -> u32 {
        points * self.0
    }
}

pub(super) type Area<'a, B> = DrawingArea<B, Shift>;

fn draw_on_white<B: DrawingBackend>(root: &Area<'_, B>, scale: Scale, drawing: &impl Drawing) -> Result<(), String> {
    text_error(root.fill(&WHITE))?;
    drawing.draw(root, scale)
}

pub(super) type Chart<'a, 'b, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the axes: `labels` labels on the x axis, each formatted by `label`, and `below` as its title.
pub(super) fn axes<B: DrawingBackend>(
    chart: &mut Chart<'_, '_, B>,
    scale: Scale,
    labels: usize,
    below: &str,
    label: &dyn Fn(&f64) -> String,
) -> Result<(), String> {
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(scale.line(LINES, 10))
        .axis_style(scale.line(LINES, 10))
        .x_labels(labels)
        .y_labels(6)
        .x_label_formatter(label)
        .y_label_formatter(&|y| number_label(*y))
        .label_style(scale.text(13, FAINT))
        .axis_desc_style(scale.text(13, FAINT))
        .set_all_tick_mark_size(0);
    if !below.is_empty() {
        mesh.x_desc(below);
    }
    text_error(mesh.draw())
}

/// Draws a title with a smaller line below.
pub(super) fn title<B: DrawingBackend>(
    area: &Area<'_, B>,
    scale: Scale,
    text: &str,
    below: &str,
) -> Result<(), String> {
    let text: String = text.chars().take(70).collect();
    text_error(area.draw_text(&text, &scale.text(22, INK), (scale.points(20), scale.points(12))))?;
    text_error(area.draw_text(below, &scale.text(13, FAINT), (scale.points(20), scale.points(39))))
}

/// Draws names in their colours, in a row above the chart.
pub(super) fn legend<B: DrawingBackend>(
    area: &Area<'_, B>,
    scale: Scale,
    entries: &[(&str, RGBColor)],
    left: i32,
) -> Result<(), String> {
    let mut x = scale.points(left);
    let y = scale.points(68);
    for (name, color) in entries {
        let style = scale.text(13, INK);
        let mark =
            Rectangle::new([(x, y + scale.points(5)), (x + scale.points(16), y + scale.points(8))], color.filled());
        text_error(area.draw(&mark))?;
        x += scale.points(21);
        text_error(area.draw_text(name, &style, (x, y)))?;
        let (width, _) = text_error(area.estimate_text_size(name, &style))?;
        x += i32::try_from(width).unwrap_or(0) + scale.points(16);
    }
    Ok(())
}

/// The label of a number on the y axis, without rounding errors of its digits.
fn number_label(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 || size > 0.0 && size < 1e-4 {
        return format!("{number:.1e}");
    }
    let digits = format!("{number:.6}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if digits == "-0" { "0".to_owned() } else { digits.to_owned() }
}
