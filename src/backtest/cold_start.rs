//! Scores the first forecasts of each series, by how many observations it has seen.

use std::collections::{HashMap, HashSet};

use super::error::BacktestError;
use super::error_scale::{ErrorScale, error_scales};
use super::observer::Observer;
use super::origin_forecasts::{Origin, OriginForecasts};
use super::report::ReadingCounts;
use super::run::{BacktestSpec, run};
use super::seasonal_reference::{SeasonalReference, seasonal_reference};
use super::slot_values::SlotValues;
use super::table::Table;
use super::window_sums::{LevelLayout, TargetForecast, WindowSums};

/// The numbers of observations after which a series is forecast.
pub const OBSERVATIONS_SEEN: [usize; 6] = [1, 4, 16, 64, 256, 1024];

/// Mean scores of the forecasts made after as many observations; errors in units of each series' deviation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ColdStartRow {
    /// Observations that each series had seen.
    pub seen: usize,
    /// Number of forecasts: of each series one, if it is long enough.
    pub forecasts: usize,
    pub ours: WindowSums,
    /// Mean absolute errors of the last value and of the seasonal naive forecast.
    pub naive: [Option<f64>; 2],
}

impl ColdStartRow {
    /// Mean absolute error of Foretide's median.
    pub fn mae(&self) -> Option<f64> {
        self.per_target(self.ours.absolute_error)
    }

    /// Mean over targets and levels of twice the pinball loss. Of a forecast without spread it is the mean absolute
    /// error.
    pub fn quantile_loss(&self, layout: &LevelLayout) -> Option<f64> {
        self.per_target(self.ours.quantile_loss(layout))
    }

    fn per_target(&self, sum: f64) -> Option<f64> {
        (self.ours.targets > 0).then(|| sum / self.ours.targets as f64)
    }
}

/// The result of [`score_cold_start`].
#[derive(Debug, Clone, PartialEq)]
pub struct ColdStartReport {
    pub(super) horizon: usize,
    pub(super) series: usize,
    /// Steps of a season, 1 for none.
    pub(super) season: usize,
    pub(super) layout: LevelLayout,
    /// One entry for each of [`OBSERVATIONS_SEEN`] that a series has.
    pub(super) rows: Vec<ColdStartRow>,
    /// Accepted and rejected readings.
    pub counts: ReadingCounts,
}

/// Forecasts each series after [`OBSERVATIONS_SEEN`] and scores leads 1 to the horizon. With `rows` only forecasts
/// count whose targets all lie in these rows.
///
/// # Errors
/// If no series has two values, and as [`run`].
pub fn score_cold_start(
    spec: &BacktestSpec,
    table: &Table,
    rows: Option<&std::ops::Range<usize>>,
    observer: &mut dyn Observer,
) -> Result<ColdStartReport, BacktestError> {
    let forecast = &spec.stream.forecast;
    if forecast.target.is_some() {
        let what =
            "a cold start is scored at every step; expected a strategy that forecasts every step, not many_to_one";
        return Err(BacktestError::InvalidSpec(what.to_owned()));
    }
    let horizon = forecast.horizon;
    let values = SlotValues::of_table(table, table.readings.iter());
    let counts_row = |row: usize| rows.is_none_or(|rows| row + 1 >= rows.start && row + horizon < rows.end);
    let mut origins: Vec<(usize, Origin)> = Vec::new();
    for seen in OBSERVATIONS_SEEN {
        for (series, values) in values.iter().map(SlotValues::as_slice).enumerate() {
            let origin = values.get(seen - 1).filter(|at| values.len() > seen && counts_row(at.row));
            origins.extend(origin.map(|at| (seen, (series, at.slot))));
        }
    }
    if origins.is_empty() {
        return Err(BacktestError::InvalidSpec(
            "no series has a value to forecast from; expected at least two values in a series, and with --score-rows \
             the row before A and the --horizon rows after it within A..B"
                .to_owned(),
        ));
    }
    let wanted: HashSet<Origin> = origins.iter().map(|(_, origin)| *origin).collect();
    let mut collector = OriginForecasts::new(forecast, table, wanted, observer);
    let counts = run(spec, table, &mut collector)?.counts;
    let found = collector.into_found();
    let all_rows = spec.scale_rows.clone().unwrap_or(0..table.rows);
    let scales = error_scales(table, Some(&all_rows), 0..0, forecast.season);
    let season = forecast.season.max(1);
    let scoring = Scoring { layout: LevelLayout::new(&forecast.levels), horizon, season, median: forecast.median() };
    let rows = OBSERVATIONS_SEEN.into_iter().filter_map(|seen| {
        let of_row = origins.iter().filter(|(of, _)| *of == seen).map(|(_, origin)| *origin);
        scoring.row(seen, of_row, &Data { values: &values, scales: &scales, found: &found })
    });
    let rows = rows.collect();
    let series = table.series.len();
    Ok(ColdStartReport { horizon, series, season, rows, layout: scoring.layout, counts })
}

/// What all rows are scored with.
struct Scoring {
    layout: LevelLayout,
    horizon: usize,
    season: usize,
    median: usize,
}

/// Values, scales and forecasts of all series.
struct Data<'a> {
    values: &'a [SlotValues],
    scales: &'a [ErrorScale],
    found: &'a HashMap<Origin, Vec<f64>>,
}

impl Scoring {
    /// `None` without a forecast with a target.
    fn row(&self, seen: usize, origins: impl Iterator<Item = Origin>, data: &Data<'_>) -> Option<ColdStartRow> {
        let layout = &self.layout;
        let (mut ours, mut naive, mut forecasts) = (WindowSums::new(layout), [0.0; 2], 0);
        for origin in origins {
            let (series, slot) = origin;
            let (values, scale) = (&data.values[series], data.scales[series]);
            let Some(quantiles) = data.found.get(&origin) else { continue };
            let reference = seasonal_reference(values, slot, self.horizon, self.season, &[]);
            let (Some(SeasonalReference { point: seasonal, .. }), Some(last)) = (reference, values.get(slot)) else {
                continue;
            };
            let targets = values.after(slot, self.horizon);
            forecasts += usize::from(targets.iter().any(Option::is_some));
            let paths = quantiles.chunks_exact(layout.levels.len()).zip(seasonal);
            for (target, (quantiles, seasonal)) in targets.into_iter().zip(paths) {
                let Some(target) = target.map(|target| scale.scaled(target)) else { continue };
                let quantiles: Vec<f64> = quantiles.iter().map(|quantile| scale.scaled(*quantile)).collect();
                let point = quantiles[self.median];
                ours.add(layout, target, TargetForecast { point, quantiles: &quantiles }, None);
                for (sum, point) in naive.iter_mut().zip([last, seasonal]) {
                    *sum += (target - scale.scaled(point)).abs();
                }
            }
        }
        let targets = ours.targets;
        let naive = naive.map(|sum| (targets > 0).then(|| sum / targets as f64));
        (forecasts > 0).then_some(ColdStartRow { seen, forecasts, ours, naive })
    }
}
