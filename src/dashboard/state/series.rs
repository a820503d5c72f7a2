//! The charted series: recent values, the newest forecast, and the interval that had been forecast for each value.

use std::collections::VecDeque;

use hashbrown::Equivalent;

use super::{
    update::SeriesUpdate,
    view::{BandView, Chart},
};

/// A series' name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) stream: String,
    pub(super) series: String,
}

/// The same by reference; hashes as [`Name`] does.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct NameRef<'a> {
    pub(super) stream: &'a str,
    pub(super) series: &'a str,
}

impl NameRef<'_> {
    pub(super) fn to_name(self) -> Name {
        Name { stream: self.stream.to_owned(), series: self.series.to_owned() }
    }
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.series == name.series && self.stream == name.stream
    }
}

/// A value with the interval that had been forecast for it one step before.
#[derive(Debug, Clone, Copy)]
struct Point {
    time: i64,
    value: f64,
    anomaly: Option<f32>,
    anomalous: bool,
    expected: Option<(f64, f64)>,
}

/// A series with a chart.
#[derive(Debug)]
pub(super) struct ChartedSeries {
    points: VecDeque<Point>,
    times: Vec<i64>,
    point: Vec<f64>,
    levels: Vec<f32>,
    quantiles: Vec<f64>,
    /// Sequence number of the latest anomalous update; `None` for a series that is charted because it was early.
    pub(super) anomalous_at: Option<u64>,
    /// Sequence number of the first update: the page lists series in this order.
    pub(super) order: u64,
}

impl ChartedSeries {
    pub(super) fn new(sequence: u64, for_anomaly: bool) -> Self {
        Self {
            points: VecDeque::new(),
            times: Vec::new(),
            point: Vec::new(),
            levels: Vec::new(),
            quantiles: Vec::new(),
            anomalous_at: for_anomaly.then_some(sequence),
            order: sequence,
        }
    }

    /// Whether the newest value with a score is anomalous.
    pub(super) fn is_anomalous(&self) -> bool {
        self.points.iter().rfind(|point| point.anomaly.is_some()).is_some_and(|point| point.anomalous)
    }

    /// Leads of the newest forecast.
    pub(super) fn horizon(&self) -> usize {
        self.times.len()
    }

    /// Adds a value and replaces the forecast; keeps at most `limit` values. Returns the interval that had been
    /// forecast for the value.
    pub(super) fn update(&mut self, update: &SeriesUpdate<'_>, limit: usize) -> Option<(f64, f64)> {
        let expected = self.expected(update.origin);
        // Event time goes back where the input was produced again: the history starts again as well.
        if self.points.back().is_some_and(|newest| update.origin < newest.time) {
            self.points.clear();
        }
        let &SeriesUpdate { origin: time, value, anomaly, anomalous, .. } = update;
        self.points.push_back(Point { time, value, anomaly, anomalous, expected });
        while self.points.len() > limit.max(1) {
            self.points.pop_front();
        }
        replace(&mut self.times, update.times);
        replace(&mut self.point, update.point);
        replace(&mut self.levels, update.levels);
        replace(&mut self.quantiles, update.quantiles);
        expected
    }

    /// The widest central interval of at most 80 % that the current forecast has for `time`.
    fn expected(&self, time: i64) -> Option<(f64, f64)> {
        let lead = self.times.iter().position(|&at| at == time)?;
        let count = self.levels.len();
        let row = self.quantiles.get(lead * count..(lead + 1) * count)?;
        let low = self.levels.iter().position(|level| (0.0999..0.5).contains(level))?;
        let high = count.checked_sub(low + 1)?;
        Some((row[low], row[high]))
    }

    /// The chart with at most `limit` values of history.
    pub(super) fn chart(&self, name: &Name, limit: usize) -> Chart {
        let points = || self.points.iter().skip(self.points.len().saturating_sub(limit));
        Chart {
            stream: name.stream.clone(),
            series: name.series.clone(),
            times: points().map(|point| point.time).collect(),
            values: points().map(|point| point.value).collect(),
            scores: points().map(|point| point.anomaly).collect(),
            anomalous: points().map(|point| point.anomalous).collect(),
            expected: points().map(|point| point.expected).collect(),
            ahead: self.times.clone(),
            point: self.point.clone(),
            bands: self.bands(),
        }
    }

    /// The quantiles of one level, one per lead.
    fn column(&self, level: usize) -> Vec<f64> {
        self.quantiles.iter().skip(level).step_by(self.levels.len().max(1)).copied().collect()
    }

    /// The pairs of levels that are symmetric around the median, the widest first.
    fn bands(&self) -> Vec<BandView> {
        let count = self.levels.len();
        let pair = |low: usize| {
            let below = f64::from(self.levels[low]);
            let high = (low + 1..count).find(|&high| (f64::from(self.levels[high]) + below - 1.0).abs() < 1e-4)?;
            let share = ((f64::from(self.levels[high]) - below) * 1e4).round() / 1e4;
            Some(BandView { share, low: self.column(low), high: self.column(high) })
        };
        (0..count).filter_map(pair).collect()
    }
}

fn replace<T: Copy>(old: &mut Vec<T>, new: &[T]) {
    old.clear();
    old.extend_from_slice(new);
}
