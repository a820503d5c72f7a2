//! Plots as SVG or PNG: a fan chart of forecasts with the errors by lead, and a chart of lines over lags.

mod canvas;
mod fan_chart;
mod lag_chart;

pub use canvas::{PlotError, PlotFile};
pub use fan_chart::draw_fan_chart;
pub use lag_chart::{LagChart, LinePair, draw_lag_chart};
