//! What the page gets to see: the board's contents as JSON.

use serde::{Deserialize, Serialize};

use super::store::{Anomaly, Moment, Name, NameRef, Shown, Store, Sums};
use super::{PartitionStatus, Promotion};
use crate::forecast::Expert;

/// The most series a page holds.
pub const PAGE_LIMIT: usize = 60;
/// Anomalies told with the overview.
const ANOMALIES_TOLD: usize = 40;
/// Samples over which a point of the skill curve is taken: fewer would show noise.
const SKILL_WINDOW: usize = 15;
/// A small chart has three times as much history as horizon, between these.
const CARD_POINTS: (usize, usize) = (48, 160);

/// Which small charts to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only series whose stream or key holds this text, whatever its case.
    pub search: String,
    /// Only this stream; empty for all.
    pub stream: String,
    /// How many to pass over.
    pub offset: usize,
    /// How many to show, at most [`PAGE_LIMIT`]; 0 stands for 24.
    pub limit: usize,
}

/// A central interval along a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BandView {
    /// Its nominal share, e.g. 0.8.
    pub share: f64,
    /// Lower bounds per lead.
    pub low: Vec<f64>,
    /// Upper bounds per lead.
    pub high: Vec<f64>,
}

/// A fan chart: history, path and bands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// The stream's name.
    pub stream: String,
    /// The series' key.
    pub series: String,
    /// Event times of the history in milliseconds, oldest first.
    pub times: Vec<i64>,
    /// Values of the history.
    pub values: Vec<f64>,
    /// Anomaly scores of the history.
    pub scores: Vec<Option<f32>>,
    /// What had been expected (80 % interval, one step ahead) at each point of the history.
    pub expected: Vec<Option<(f64, f64)>>,
    /// Event times of the horizon.
    pub ahead: Vec<i64>,
    /// The point path.
    pub point: Vec<f64>,
    /// The medians of the horizon, where 0.5 is among the levels.
    pub median: Vec<f64>,
    /// Central intervals, widest first.
    pub bands: Vec<BandView>,
    /// The score from which a value counts as anomalous.
    pub threshold: f32,
}

/// A small chart is the same with a shorter history.
pub type SeriesCard = Chart;

/// A page of small charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPage {
    /// How many series match the filter.
    pub matching: usize,
    /// How many are shown at all.
    pub shown: usize,
    /// Where this page begins.
    pub offset: usize,
    /// The charts.
    pub series: Vec<SeriesCard>,
}

/// An anomalous value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnomalyView {
    /// The stream's name.
    pub stream: String,
    /// The series' key.
    pub series: String,
    /// Event time in milliseconds.
    pub time: i64,
    /// The value.
    pub value: f64,
    /// Its score.
    pub score: f32,
    /// What had been expected: the 80 % interval one step before.
    pub expected: Option<(f64, f64)>,
    /// Whether the series has a chart here.
    pub shown: bool,
}

/// How well one horizon bucket does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HorizonView {
    /// The bucket's last lead in steps.
    pub horizon: u32,
    /// Matured forecast values.
    pub count: u64,
    /// 1 - error / error of the last value.
    pub skill_last_value: Option<f64>,
    /// 1 - error / error of the seasonal naive forecast.
    pub skill_seasonal_naive: Option<f64>,
    /// Nominal share and covered share of each interval.
    pub coverage: Vec<(f64, Option<f64>)>,
    /// Experts with their share of the forecasts, the largest first; those without one are left out.
    pub experts: Vec<(&'static str, f64)>,
}

/// A partition in the overview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// The input topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// What is known of it.
    #[serde(flatten)]
    pub note: PartitionStatus,
}

/// How training goes for a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingView {
    /// Wall times of the loss curve in milliseconds.
    pub at: Vec<i64>,
    /// Losses.
    pub loss: Vec<f64>,
    /// Rounds, per sample.
    pub round: Vec<u64>,
    /// Steps done in the latest round.
    pub step: u64,
    /// Steps planned in the latest round.
    pub of: u64,
    /// Norm of the latest gradient.
    pub gradient_norm: Option<f64>,
}

/// A stream in the overview.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamView {
    /// The stream's name.
    pub name: String,
    /// Version of the serving weights.
    pub version: u64,
    /// When they were published, wall milliseconds.
    pub published: Option<i64>,
    /// Series held.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Records behind.
    pub lag: u64,
    /// Partitions, in order.
    pub partitions: Vec<PartitionView>,
    /// Accuracy per horizon bucket, in order.
    pub horizons: Vec<HorizonView>,
    /// Training, once it has begun.
    pub training: Option<TrainingView>,
}

/// A sample of the skill curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkillSample {
    /// Wall milliseconds.
    pub at: i64,
    /// Skill against the last value over the latest samples.
    pub last_value: Option<f64>,
    /// Skill against the seasonal naive forecast over the latest samples.
    pub seasonal_naive: Option<f64>,
}

/// Everything but the charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Series held.
    pub series: u64,
    /// Series with a chart here.
    pub shown: usize,
    /// Observations so far.
    pub observations: u64,
    /// Forecasts so far.
    pub forecasts: u64,
    /// Late values so far.
    pub late: u64,
    /// Dead letters so far.
    pub dead_letters: u64,
    /// Observations per second over the last seconds.
    pub observations_per_second: Option<f64>,
    /// Forecasts per second over the last seconds.
    pub forecasts_per_second: Option<f64>,
    /// Skill against the last value over the whole run.
    pub skill_last_value: Option<f64>,
    /// Skill against the seasonal naive forecast over the whole run.
    pub skill_seasonal_naive: Option<f64>,
    /// Nominal and covered share of each interval.
    pub coverage: Vec<(f64, Option<f64>)>,
    /// Records behind, over all partitions.
    pub lag: u64,
    /// The streams, by name.
    pub streams: Vec<StreamView>,
    /// The skill curve.
    pub skill: Vec<SkillSample>,
    /// The latest anomalies, newest first.
    pub anomalies: Vec<AnomalyView>,
    /// Anomalies so far.
    pub anomaly_count: u64,
    /// Verdicts on challengers, newest first.
    pub promotions: Vec<Promotion>,
}

impl Store {
    pub(super) fn overview(&self) -> Overview {
        let streams: Vec<StreamView> = self.streams.iter().map(|(name, stream)| stream.view(name)).collect();
        let horizons = self.streams.values().flat_map(|stream| stream.horizons.values());
        let sums = horizons.fold(Sums::default(), |sum, more| sum.merged(more));
        let work = self.streams.values().map(|stream| stream.work);
        Overview {
            series: streams.iter().map(|stream| stream.series).sum(),
            shown: self.shown.len(),
            observations: work.clone().map(|work| work.observations).sum(),
            forecasts: work.clone().map(|work| work.forecasts).sum(),
            late: work.clone().map(|work| work.late).sum(),
            dead_letters: work.map(|work| work.dead_letters).sum(),
            observations_per_second: self.rate(|moment| moment.work.observations),
            forecasts_per_second: self.rate(|moment| moment.work.forecasts),
            skill_last_value: skill(sums.foretide, sums.last_value),
            skill_seasonal_naive: skill(sums.foretide, sums.seasonal_naive),
            coverage: coverage(&sums),
            lag: streams.iter().map(|stream| stream.lag).sum(),
            streams,
            skill: self.skill_curve(),
            anomalies: self.anomalies.iter().take(ANOMALIES_TOLD).map(|anomaly| self.anomaly(anomaly)).collect(),
            anomaly_count: self.anomaly_count,
            promotions: self.promotions.iter().cloned().collect(),
        }
    }

    pub(super) fn series(&self, filter: &Filter) -> SeriesPage {
        let search = filter.search.to_lowercase();
        let mut matching: Vec<(&Name, &Shown)> = self
            .shown
            .iter()
            .filter(|(name, _)| filter.stream.is_empty() || name.stream == filter.stream)
            .filter(|(name, _)| search.is_empty() || holds(&name.series, &search) || holds(&name.stream, &search))
            .collect();
        matching.sort_by_key(|(_, shown)| shown.order);
        let limit = if filter.limit == 0 { 24 } else { filter.limit.min(PAGE_LIMIT) };
        // A page past the end (series went, the search grew) shows the last one instead of nothing.
        let offset = filter.offset.min(matching.len().saturating_sub(1) / limit * limit);
        SeriesPage {
            matching: matching.len(),
            shown: self.shown.len(),
            offset,
            series: matching
                .iter()
                .skip(offset)
                .take(limit)
                .map(|(name, shown)| {
                    self.draw(name, shown, (3 * shown.times.len()).clamp(CARD_POINTS.0, CARD_POINTS.1))
                })
                .collect(),
        }
    }

    pub(super) fn chart(&self, stream: &str, series: &str) -> Option<Chart> {
        let (name, shown) = self.shown.get_key_value(&NameRef { stream, series })?;
        Some(self.draw(name, shown, usize::MAX))
    }

    fn draw(&self, name: &Name, shown: &Shown, limit: usize) -> Chart {
        let points = || shown.points.iter().skip(shown.points.len().saturating_sub(limit));
        Chart {
            stream: name.stream.clone(),
            series: name.series.clone(),
            times: points().map(|point| point.time).collect(),
            values: points().map(|point| point.value).collect(),
            scores: points().map(|point| point.anomaly).collect(),
            expected: points().map(|point| point.expected).collect(),
            ahead: shown.times.clone(),
            point: shown.point.clone(),
            median: shown.median(),
            bands: shown.bands(),
            threshold: self.spec.anomaly_threshold,
        }
    }

    fn anomaly(&self, anomaly: &Anomaly) -> AnomalyView {
        AnomalyView {
            stream: anomaly.name.stream.clone(),
            series: anomaly.name.series.clone(),
            time: anomaly.time,
            value: anomaly.value,
            score: anomaly.score,
            expected: anomaly.expected,
            shown: self.shown.contains_key(&anomaly.name),
        }
    }

    fn rate(&self, count: impl Fn(&Moment) -> u64) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let millis = last.at - first.at;
        (millis > 0).then(|| count(last).saturating_sub(count(first)) as f64 * 1000.0 / millis as f64)
    }

    fn skill_curve(&self) -> Vec<SkillSample> {
        let moments = self.moments.as_slice();
        let over = |(end, from): (usize, usize)| {
            let (first, last) = (&moments[from].sums, &moments[end].sums);
            let ours = last.foretide - first.foretide;
            SkillSample {
                at: moments[end].at,
                last_value: skill(ours, last.last_value - first.last_value),
                seasonal_naive: skill(ours, last.seasonal_naive - first.seasonal_naive),
            }
        };
        (1..moments.len()).map(|end| over((end, end.saturating_sub(SKILL_WINDOW)))).collect()
    }
}

impl super::store::Stream {
    fn view(&self, name: &str) -> StreamView {
        let partitions = self.partitions.values();
        StreamView {
            name: name.to_owned(),
            version: self.version,
            published: self.published,
            series: partitions.clone().map(|note| note.series).sum(),
            state_bytes: partitions.clone().map(|note| note.state_bytes).sum(),
            lag: partitions.map(|note| note.lag).sum(),
            partitions: self
                .partitions
                .iter()
                .map(|((topic, partition), note)| PartitionView {
                    topic: topic.clone(),
                    partition: *partition,
                    note: *note,
                })
                .collect(),
            horizons: self
                .horizons
                .iter()
                .map(|(horizon, sums)| HorizonView {
                    horizon: *horizon,
                    count: sums.count,
                    skill_last_value: skill(sums.foretide, sums.last_value),
                    skill_seasonal_naive: skill(sums.foretide, sums.seasonal_naive),
                    coverage: coverage(sums),
                    experts: experts(sums),
                })
                .collect(),
            training: self.latest_step.map(|latest| {
                let curve = self.losses.as_ref().map(|losses| losses.as_slice()).unwrap_or_default();
                TrainingView {
                    at: curve.iter().map(|step| step.at).collect(),
                    loss: curve.iter().map(|step| step.loss).collect(),
                    round: curve.iter().map(|step| step.round).collect(),
                    step: latest.step,
                    of: latest.of,
                    gradient_norm: Some(latest.gradient_norm),
                }
            }),
        }
    }
}

impl Shown {
    fn column(&self, level: usize) -> Vec<f64> {
        self.quantiles.iter().skip(level).step_by(self.levels.len().max(1)).copied().collect()
    }

    fn median(&self) -> Vec<f64> {
        let middle = self.levels.iter().position(|level| (level - 0.5).abs() < 1e-6);
        middle.map(|level| self.column(level)).unwrap_or_default()
    }

    /// Pairs of levels that lie around the median alike, widest first.
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

fn holds(text: &str, search: &str) -> bool {
    text.to_lowercase().contains(search)
}

fn skill(ours: f64, theirs: f64) -> Option<f64> {
    (theirs > 0.0 && ours.is_finite() && theirs.is_finite()).then(|| 1.0 - ours / theirs)
}

fn coverage(sums: &Sums) -> Vec<(f64, Option<f64>)> {
    let share = |nominal: f32| (f64::from(nominal) * 1e4).round() / 1e4;
    let covered = |targets: u64, covered: u64| (targets > 0).then(|| covered as f64 / targets as f64);
    sums.intervals.iter().map(|&(nominal, targets, hits)| (share(nominal), covered(targets, hits))).collect()
}

fn experts(sums: &Sums) -> Vec<(&'static str, f64)> {
    let share = |weight: f64| weight / sums.count.max(1) as f64;
    let shares = Expert::NAMES.into_iter().zip(sums.weights.map(share));
    let mut experts: Vec<_> = shares.filter(|(_, share)| share.abs() >= 0.005).collect();
    experts.sort_by(|one, other| other.1.total_cmp(&one.1));
    experts
}
