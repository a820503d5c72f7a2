//! Answers to the page's requests, from the contents of the [`Store`].

use super::{
    accuracy::HorizonAccuracy,
    series::{ChartedSeries, Name, NameRef},
    store::{Anomaly, Moment, Store, Stream},
    update::{PartitionStatus, WorkCounts},
    view::{
        AnomalyView, Chart, Filter, HorizonView, Overview, PartitionView, SeriesPage, SkillSample, StreamView,
        TrainingView,
    },
};

/// Most charts of a page.
pub(super) const PAGE_LIMIT: usize = 60;
/// Charts of a page where the request names no number.
const PAGE_DEFAULT: usize = 24;
/// Anomalies in the overview.
const ANOMALIES_LISTED: usize = 40;
/// A point of the skill curve covers so many samples. Fewer would show noise.
const SKILL_SAMPLES: usize = 15;
/// A small chart has three times as many values of history as leads, but at least and at most this many.
const SMALL_CHART_POINTS: (usize, usize) = (48, 160);

impl Store {
    pub(super) fn overview(&self) -> Overview {
        let streams: Vec<StreamView> = self.streams.iter().map(|(name, stream)| stream.view(name)).collect();
        let mut work = WorkCounts::default();
        self.streams.values().for_each(|stream| work.add(stream.work));
        let accuracy = HorizonAccuracy::total(self.streams.values().flat_map(|stream| stream.horizons.values()));
        Overview {
            series: streams.iter().map(|stream| stream.series).sum(),
            shown: self.charted.len(),
            observations: work.observations,
            forecasts: work.forecasts,
            late: work.late,
            dead_letters: work.dead_letters,
            observations_per_second: self.rate(|moment| moment.work.observations),
            forecasts_per_second: self.rate(|moment| moment.work.forecasts),
            skill_in_all: accuracy.view(),
            lag: total_lag(self.streams.values().flat_map(|stream| stream.partitions.values())),
            anomalous: streams.iter().map(|stream| stream.anomalous).sum(),
            streams,
            skill: self.skill_curve(),
            anomalies: self.anomalies.iter().take(ANOMALIES_LISTED).map(|anomaly| self.anomaly(anomaly)).collect(),
            training_outcomes: self.outcomes.iter().cloned().collect(),
        }
    }

    pub(super) fn series(&self, filter: &Filter) -> SeriesPage {
        let search = filter.search.to_lowercase();
        let contains = |text: &str| search.is_empty() || text.to_lowercase().contains(&search);
        let mut matching: Vec<(&Name, &ChartedSeries)> = self
            .charted
            .iter()
            .filter(|(name, _)| filter.stream.is_empty() || name.stream == filter.stream)
            .filter(|(name, _)| contains(&name.series) || contains(&name.stream))
            .collect();
        matching.sort_by_key(|(_, series)| series.order);
        let limit = if filter.limit == 0 { PAGE_DEFAULT } else { filter.limit.min(PAGE_LIMIT) };
        // The list may have become shorter since the reader opened this page: show the last page instead of nothing.
        let offset = filter.offset.min(matching.len().saturating_sub(1) / limit * limit);
        let small = |(name, series): &(&Name, &ChartedSeries)| {
            series.chart(name, (3 * series.horizon()).clamp(SMALL_CHART_POINTS.0, SMALL_CHART_POINTS.1))
        };
        SeriesPage {
            matching: matching.len(),
            shown: self.charted.len(),
            offset,
            series: matching.iter().skip(offset).take(limit).map(small).collect(),
        }
    }

    pub(super) fn chart(&self, stream: &str, series: &str) -> Option<Chart> {
        let (name, series) = self.charted.get_key_value(&NameRef { stream, series })?;
        Some(series.chart(name, usize::MAX))
    }

    fn anomaly(&self, anomaly: &Anomaly) -> AnomalyView {
        AnomalyView {
            stream: anomaly.name.stream.clone(),
            series: anomaly.name.series.clone(),
            time: anomaly.time,
            value: anomaly.value,
            score: anomaly.score,
            expected: anomaly.expected,
            shown: self.charted.contains_key(&anomaly.name),
        }
    }

    fn rate(&self, count: impl Fn(&Moment) -> u64) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let millis = last.at - first.at;
        (millis > 0).then(|| count(last).saturating_sub(count(first)) as f64 * 1000.0 / millis as f64)
    }

    fn skill_curve(&self) -> Vec<SkillSample> {
        let moments = self.moments.as_slice();
        let sample = |end: usize| {
            let (first, last) = (&moments[end.saturating_sub(SKILL_SAMPLES)], &moments[end]);
            let (last_value, seasonal_naive) = last.accuracy.skill_since(&first.accuracy);
            SkillSample { at: last.at, last_value, seasonal_naive }
        };
        (1..moments.len()).map(sample).collect()
    }
}

/// The lag of all partitions together; `None` while one of them is unknown, or without partitions.
fn total_lag<'a>(partitions: impl Iterator<Item = &'a PartitionStatus>) -> Option<u64> {
    let mut total = None;
    for status in partitions {
        total = Some(total.unwrap_or(0) + status.lag?);
    }
    total
}

impl Stream {
    fn view(&self, name: &str) -> StreamView {
        let partitions = self.partitions.values();
        let horizons = self.horizons.iter().map(|(horizon, accuracy)| HorizonView {
            horizon: *horizon,
            count: accuracy.count,
            skill: accuracy.view(),
            experts: accuracy.experts(),
        });
        StreamView {
            name: name.to_owned(),
            version: self.version,
            published: self.published,
            series: partitions.clone().map(|status| status.series).sum(),
            state_bytes: partitions.clone().map(|status| status.state_bytes).sum(),
            lag: total_lag(partitions),
            forecasts: self.work.forecasts,
            anomalous: self.anomalous,
            skill: HorizonAccuracy::total(self.horizons.values()).view(),
            partitions: self
                .partitions
                .iter()
                .map(|((topic, partition), status)| PartitionView {
                    topic: topic.clone(),
                    partition: *partition,
                    status: *status,
                })
                .collect(),
            horizons: horizons.collect(),
            training: self.latest_step.map(|latest| {
                let curve = self.losses.as_ref().map(|losses| losses.as_slice()).unwrap_or_default();
                TrainingView {
                    at: curve.iter().map(|step| step.at).collect(),
                    loss: curve.iter().map(|step| step.loss).collect(),
                    step: latest.step,
                    steps: latest.steps,
                }
            }),
        }
    }
}
