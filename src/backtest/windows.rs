//! Scores the last windows of each series, as GIFT-Eval does.
//!
//! Each series ends with its last value. Its last `windows * horizon` steps are cut into windows; each is forecast
//! once, from the last step before it. Where that is a gap, the newest forecast before it counts: its last step stands
//! for the leads beyond its horizon. What the engine learns is what it learns in any backtest: every value up to the
//! origin, and trainings on the rows before it.

use std::collections::HashSet;

use super::error::BacktestError;
use super::observer::Observer;
use super::origin_forecasts::{Origin, OriginForecasts};
use super::report::ReadingCounts;
use super::run::{BacktestSpec, run};
use super::seasonal_reference::{SeasonalReference, seasonal_reference};
use super::slot_values::SlotValues;
use super::table::Table;
use super::window_sums::{LevelLayout, TargetForecast, WindowSums};
use crate::time::Grid;

/// Quantile levels of windows and cold starts by default: those of the weighted quantile loss, and the bounds of the
/// 90 % interval.
pub const WINDOW_LEVELS: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// One window with its forecasts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    /// Index of the series.
    pub series: usize,
    /// Number of the window, from 0, the oldest one that the arguments ask for.
    pub window: usize,
    /// Slot of the origin, the last step before the window.
    pub origin: i64,
    /// Slot of the newest value up to the origin, from which Foretide's forecast was made.
    pub newest: i64,
    /// Mean absolute seasonal naive error before the window; `None` if it is unknown or 0.
    pub naive_error: Option<f64>,
    /// Targets, `[lead]`; `None` for a gap.
    pub targets: Vec<Option<f64>>,
    /// By method: the forecast.
    pub forecasts: [WindowForecast; 2],
    /// By method: the sums of the scores.
    pub sums: [WindowSums; 2],
}

/// A forecast of one window.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WindowForecast {
    /// `[lead]`.
    pub point: Vec<f64>,
    /// `[lead][level]`.
    pub quantiles: Vec<f64>,
}

impl WindowForecast {
    /// The forecast of a window from quantiles, `[lead][level]`, that were made `gap` steps before its origin.
    fn shifted(quantiles: &[f64], gap: i64, levels: usize, median: usize) -> Self {
        let horizon = quantiles.len() / levels.max(1);
        let gap = usize::try_from(gap).unwrap_or(0).min(horizon);
        let lead = |place: usize| (place + gap).min(horizon - 1);
        let quantiles: Vec<f64> = (0..horizon)
            .flat_map(|place| &quantiles[lead(place) * levels..(lead(place) + 1) * levels])
            .copied()
            .collect();
        let point = quantiles.iter().skip(median).step_by(levels).copied().collect();
        Self { point, quantiles }
    }
}

/// The scores of all windows, by method: Foretide, and the seasonal naive forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowReport {
    /// Windows asked for, of each series.
    pub(super) windows: usize,
    pub(super) horizon: usize,
    /// Steps of a season, 1 for none.
    pub(super) season: usize,
    /// The grid of the windows.
    pub(super) grid: Grid,
    pub(super) layout: LevelLayout,
    pub(super) series: Vec<String>,
    /// The scored windows, by series and then in order.
    pub(super) scored: Vec<Window>,
    /// Windows from whose newest value the engine made no forecast.
    pub(super) not_forecast: usize,
    /// Windows that lie before a series' first value, or hold no value.
    pub(super) without_values: usize,
    /// Accepted and rejected readings.
    pub counts: ReadingCounts,
}

/// Forecasts and scores the last `windows` windows of each series, as many steps long as the stream's horizon.
///
/// # Errors
/// If no series is long enough for a window, and as [`run`].
pub fn score_windows(
    spec: &BacktestSpec,
    table: &Table,
    windows: usize,
    observer: &mut dyn Observer,
) -> Result<WindowReport, BacktestError> {
    let forecast = &spec.stream.forecast;
    let horizon = forecast.horizon;
    if forecast.target.is_some() {
        let what = "windows are scored at every step; expected a strategy that forecasts every step, not many_to_one";
        return Err(BacktestError::InvalidSpec(what.to_owned()));
    }
    let values = SlotValues::of_table(table, table.readings.iter());
    let places = all_windows(&values, windows, horizon);
    if places.is_empty() {
        let longest = values.iter().map(|values| values.as_slice().len()).max().unwrap_or(0);
        return Err(BacktestError::InvalidSpec(format!(
            "the longest series has {longest} values; expected at least {} for a window of {horizon} steps (--horizon) \
             and a value before it",
            horizon + 1
        )));
    }
    let wanted: HashSet<Origin> = places.iter().map(|place| (place.series, place.newest)).collect();
    let mut collector = OriginForecasts::new(forecast, table, wanted, observer);
    let counts = run(spec, table, &mut collector)?.counts;
    let found = collector.into_found();
    let layout = LevelLayout::new(&forecast.levels);
    let season = forecast.season.max(1);
    let (mut scored, mut not_forecast) = (Vec::new(), 0);
    for place in &places {
        let Some(quantiles) = found.get(&(place.series, place.newest)) else {
            not_forecast += 1;
            continue;
        };
        let values = &values[place.series];
        let reference = seasonal_reference(values, place.origin, horizon, season, &layout.levels);
        let Some(SeasonalReference { point, quantiles: of_reference, error }) = reference else { continue };
        let ours =
            WindowForecast::shifted(quantiles, place.origin - place.newest, forecast.levels.len(), forecast.median());
        let forecasts = [ours, WindowForecast { point, quantiles: of_reference }];
        let targets = values.after(place.origin, horizon);
        let sums = forecasts.each_ref().map(|forecast| sums_of(&layout, &targets, forecast, error));
        let &WindowPlace { series, window, origin, newest } = place;
        scored.push(Window { series, window, origin, newest, naive_error: error, targets, forecasts, sums });
    }
    Ok(WindowReport {
        windows,
        horizon,
        season,
        grid: table.grid.clone(),
        layout,
        series: table.series.clone(),
        without_values: windows.saturating_mul(table.series.len()) - places.len(),
        scored,
        not_forecast,
        counts,
    })
}

/// Which window of which series.
struct WindowPlace {
    series: usize,
    window: usize,
    origin: i64,
    newest: i64,
}

/// The windows that begin after a series' first value and hold a value.
fn all_windows(values: &[SlotValues], windows: usize, horizon: usize) -> Vec<WindowPlace> {
    let steps = i64::try_from(horizon).unwrap_or(i64::MAX);
    let mut places = Vec::new();
    for (series, values) in values.iter().enumerate() {
        let (Some(first), Some(last)) = (values.as_slice().first(), values.as_slice().last()) else { continue };
        let back = |windows: usize| steps.saturating_mul(i64::try_from(windows).unwrap_or(i64::MAX));
        let fits = |count: &usize| last.slot.saturating_sub(back(*count)) >= first.slot;
        let mut fitting: Vec<usize> = (1..=windows).take_while(fits).collect();
        fitting.reverse();
        for count in fitting {
            let (window, origin) = (windows - count, last.slot - back(count));
            let newest =
                values.until(origin).last().filter(|_| values.after(origin, horizon).iter().any(Option::is_some));
            places.extend(newest.map(|newest| WindowPlace { series, window, origin, newest: newest.slot }));
        }
    }
    places
}

fn sums_of(
    layout: &LevelLayout,
    targets: &[Option<f64>],
    forecast: &WindowForecast,
    naive_error: Option<f64>,
) -> WindowSums {
    let mut sums = WindowSums::new(layout);
    let quantiles = forecast.quantiles.chunks_exact(layout.levels.len());
    for ((target, point), quantiles) in targets.iter().zip(&forecast.point).zip(quantiles) {
        if let Some(target) = target {
            sums.add(layout, *target, TargetForecast { point: *point, quantiles }, naive_error);
        }
    }
    sums
}
