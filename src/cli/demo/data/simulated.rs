//! Simulated series with labelled anomalies. The caller advances event time.
//!
//! A series depends on the seed and its own number only: more series do not change the others.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Milliseconds of a day.
const DAY: f64 = 86_400_000.0;
/// Probability of a spike per step and series.
const SPIKE: f64 = 1.0 / 2500.0;
/// Probability of an outage per step and series.
const OUTAGE: f64 = 1.0 / 6000.0;
/// Probability of a level shift per step and series.
const LEVEL_SHIFT: f64 = 1.0 / 8000.0;
/// First steps without anomalies: they establish what is normal.
const QUIET_STEPS: u64 = 48;

/// A simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSpec {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of series.
    pub series: usize,
    /// Event time of the first step, in milliseconds since the Unix epoch.
    pub start: i64,
    /// Event time between steps, in milliseconds.
    pub interval: i64,
}

/// Kind of an injected anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InjectedAnomaly {
    /// One extreme value.
    Spike,
    /// One of a run of zeros.
    Outage,
    /// The first value after a lasting change of the level.
    LevelShift,
}

/// One value of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedValue<'a> {
    /// The series' key, such as `office-0003`.
    pub key: &'a str,
    /// Event time in milliseconds.
    pub time: i64,
    /// The value.
    pub value: f64,
    /// The injected anomaly, if the value is one.
    pub injected: Option<InjectedAnomaly>,
}

/// All series. Each step has one value per series.
#[derive(Debug, Clone)]
pub struct Simulation {
    spec: SimulationSpec,
    step: u64,
    sources: Vec<Source>,
}

impl Simulation {
    /// A simulation before its first step.
    pub fn new(spec: SimulationSpec) -> Self {
        let sources = (0..spec.series).map(|number| Source::new(spec.seed, number)).collect();
        Self { spec, step: 0, sources }
    }

    /// Visits the next value of every series, always in the same order, and advances event time by one interval.
    /// Returns the event time of these values in milliseconds.
    pub fn advance(&mut self, mut visit: impl FnMut(SimulatedValue<'_>)) -> i64 {
        let time = self.spec.start + self.spec.interval * i64::try_from(self.step).unwrap_or(i64::MAX);
        for source in &mut self.sources {
            let (value, injected) = source.next(time, self.spec.interval, self.step >= QUIET_STEPS);
            visit(SimulatedValue { key: &source.key, time, value, injected });
        }
        self.step += 1;
        time
    }
}

/// Shape of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Power consumption of an office: high from eight to six, low at the weekend.
    Office,
    /// Customers in a shop, as whole numbers: two peaks a day, more on Saturdays.
    Shop,
    /// Solar power: an arc by day, clouds that last a while, zero at night.
    Solar,
    /// Outdoor temperature: a smooth daily wave on slowly changing weather.
    Temperature,
    /// Requests per second: a peak in the evening, noise that grows with the level.
    Requests,
    /// Length of a queue: bursts that drain.
    Queue,
    /// A sensor without season: a slow mean-reverting walk.
    Sensor,
}

const SHAPES: [(Shape, &str); 7] = [
    (Shape::Office, "office"),
    (Shape::Requests, "requests"),
    (Shape::Temperature, "temperature"),
    (Shape::Solar, "solar"),
    (Shape::Shop, "shop"),
    (Shape::Queue, "queue"),
    (Shape::Sensor, "sensor"),
];

#[derive(Debug, Clone)]
struct Source {
    key: String,
    shape: Shape,
    random: Pcg64Mcg,
    /// Scale of the values. Series differ by orders of magnitude.
    size: f64,
    /// Phase of the daily season, in days.
    phase: f64,
    /// Standard deviation of the noise, as a share of the size.
    noise: f64,
    /// Change of the level per day, as a share of the size.
    drift: f64,
    /// Level after drift and shifts, as a share of the size.
    level: f64,
    /// Slow component: clouds, weather, the queue, the walk.
    slow: f64,
    /// Steps until the outage ends.
    outage_left: u32,
}

impl Source {
    fn new(seed: u64, number: usize) -> Self {
        let (shape, name) = SHAPES[number % SHAPES.len()];
        let mut random = Pcg64Mcg::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let size = match shape {
            Shape::Temperature => random.random_range(10.0..20.0),
            _ => 10f64.powf(random.random_range(1.0..3.5)),
        };
        Self {
            key: format!("{name}-{:04}", number / SHAPES.len()),
            shape,
            size,
            phase: random.random_range(-0.06..0.06),
            noise: random.random_range(0.01..0.04),
            drift: random.random_range(-0.015..0.015),
            level: 0.1,
            slow: 0.0,
            outage_left: 0,
            random,
        }
    }

    fn next(&mut self, time: i64, interval: i64, inject: bool) -> (f64, Option<InjectedAnomaly>) {
        let day = time as f64 / DAY + self.phase;
        let steps_per_day = DAY / interval.max(1) as f64;
        // The drift changes its sign at both bounds, because a demo may run for days.
        self.drift = match self.level {
            high if high > 0.6 => -self.drift.abs(),
            low if low < 0.0 => self.drift.abs(),
            _ => self.drift,
        };
        self.level += self.drift / steps_per_day;
        let shape = self.shape(day, steps_per_day);
        let (noise, event, which) = (self.normal(), self.random.random::<f64>(), self.random.random::<f64>());
        let mut value = self.size * (shape + self.level + self.noise * noise * self.noisiness(shape));
        let mut injected = None;
        if self.outage_left > 0 {
            self.outage_left -= 1;
            (value, injected) = (0.0, Some(InjectedAnomaly::Outage));
        } else if inject && event < SPIKE {
            let sign = if which < 0.7 { 1.0 } else { -1.0 };
            value += sign * self.size * (0.7 + 0.6 * which);
            injected = Some(InjectedAnomaly::Spike);
        } else if inject && event < SPIKE + OUTAGE {
            self.outage_left = (3.0 + 9.0 * which) as u32;
            (value, injected) = (0.0, Some(InjectedAnomaly::Outage));
        } else if inject && event < SPIKE + OUTAGE + LEVEL_SHIFT {
            let shift = if self.level > 0.25 { -0.4 } else { 0.4 };
            self.level += shift;
            value += shift * self.size;
            injected = Some(InjectedAnomaly::LevelShift);
        }
        let value = match self.shape {
            Shape::Temperature | Shape::Sensor => value,
            Shape::Shop => value.max(0.0).round(),
            Shape::Office | Shape::Solar | Shape::Requests | Shape::Queue => value.max(0.0),
        };
        // Real sensors send few digits.
        ((value * 1000.0).round() / 1000.0, injected)
    }

    fn shape(&mut self, day: f64, steps_per_day: f64) -> f64 {
        let hour = day.rem_euclid(1.0) * 24.0;
        // The epoch's first day was a Thursday; 0 is Monday.
        let weekday = (day.floor() as i64 + 3).rem_euclid(7);
        let weekend = weekday >= 5;
        let step = 1.0 / steps_per_day;
        match self.shape {
            Shape::Office => {
                let open = smooth(hour, 7.5, 1.2) * (1.0 - smooth(hour, 18.0, 1.5));
                0.25 + open * if weekend { 0.15 } else { 1.0 }
            }
            Shape::Shop => {
                let peaks = bump(hour, 12.5, 2.2) + 0.8 * bump(hour, 17.5, 1.8);
                0.05 + peaks * [0.7, 0.7, 0.75, 0.8, 1.0, 1.3, 0.3][usize::try_from(weekday).unwrap_or(0)]
            }
            Shape::Solar => {
                self.wander(step * 20.0, 1.0);
                let sun = ((hour - 12.5) / 13.0 * std::f64::consts::PI).cos().max(0.0);
                // Clouds reduce the light. The level scales the arc but must not lift the night, so it is subtracted.
                sun.powf(1.2) * (1.0 - 0.7 / (1.0 + (1.0 - 2.0 * self.slow).exp())) * (1.0 + self.level) - self.level
            }
            Shape::Temperature => {
                self.wander(step * 0.6, 1.0);
                0.6 + 0.3 * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos() + 0.25 * self.slow
            }
            Shape::Requests => {
                let evening = 0.5 + 0.5 * ((hour - 20.0) / 24.0 * std::f64::consts::TAU).cos();
                self.wander(step * 8.0, 1.0);
                (0.2 + 0.8 * evening.powf(1.5)) * if weekend { 1.15 } else { 1.0 } * (1.0 + 0.06 * self.slow)
            }
            Shape::Queue => {
                // Arrivals follow the day. A burst drains over about an hour.
                let burst = self.random.random::<f64>() < step * 2.5;
                let height: f64 = self.random.random_range(0.2..0.5);
                self.slow = self.slow * (-step * 20.0).exp() + if burst { height } else { 0.0 };
                0.15 + 0.25 * bump(hour, 14.0, 4.0) + self.slow
            }
            Shape::Sensor => {
                self.wander(step * 1.5, 1.0);
                0.8 + 0.2 * self.slow
            }
        }
    }

    /// Ornstein-Uhlenbeck process: reverts to zero at `rate` per step, with a stationary standard deviation of
    /// `deviation`.
    fn wander(&mut self, rate: f64, deviation: f64) {
        let keep = (-rate).exp();
        self.slow = self.slow * keep + deviation * (1.0 - keep * keep).sqrt() * self.normal();
    }

    /// Factor of the noise: it grows with the level of counts, and solar power has none at night.
    fn noisiness(&self, shape: f64) -> f64 {
        match self.shape {
            Shape::Solar => 0.5 * (shape + self.level),
            Shape::Shop | Shape::Requests => 0.3 + shape.max(0.0),
            Shape::Office | Shape::Queue => 1.0,
            Shape::Temperature | Shape::Sensor => 0.5,
        }
    }

    /// A standard normal variate (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.random.random::<f64>()).cos()
    }
}

/// Logistic step from 0 to 1 around `at`, about `width` wide.
fn smooth(x: f64, at: f64, width: f64) -> f64 {
    1.0 / (1.0 + (-(x - at) * 4.0 / width).exp())
}

/// Gaussian bell of height 1 around `at`.
fn bump(x: f64, at: f64, width: f64) -> f64 {
    (-((x - at) / width).powi(2)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SPEC: SimulationSpec = SimulationSpec { seed: 7, series: 70, start: 1_790_000_100_000, interval: 300_000 };

    type Values = BTreeMap<String, Vec<(i64, f64, Option<InjectedAnomaly>)>>;

    fn run(spec: SimulationSpec, steps: usize) -> Values {
        let mut simulation = Simulation::new(spec);
        let mut values = Values::new();
        for _ in 0..steps {
            simulation
                .advance(|it| values.entry(it.key.to_owned()).or_default().push((it.time, it.value, it.injected)));
        }
        values
    }

    #[test]
    fn the_seed_determines_every_series_and_more_series_change_none() {
        let values = run(SPEC, 400);
        assert_eq!(values, run(SPEC, 400));
        assert_ne!(values, run(SimulationSpec { seed: 8, ..SPEC }, 400));
        let more = run(SimulationSpec { series: 90, ..SPEC }, 400);
        assert_eq!(more.len(), 90);
        assert!(values.iter().all(|(key, points)| more[key] == *points));
    }

    #[test]
    fn event_time_advances_by_the_interval_and_values_are_finite() {
        let values = run(SPEC, 300);
        assert_eq!(values.len(), SPEC.series, "keys are unique");
        for points in values.values() {
            assert_eq!(points[0].0, SPEC.start);
            assert!(points.windows(2).all(|pair| pair[1].0 - pair[0].0 == SPEC.interval));
            assert!(points.iter().all(|point| point.1.is_finite()));
            let distinct: BTreeSet<u64> = points.iter().map(|point| point.1.to_bits()).collect();
            assert!(distinct.len() > 10, "it moves");
        }
    }

    #[test]
    fn anomalies_of_every_kind_are_injected_labelled_and_rare() {
        let values = run(SimulationSpec { series: 210, ..SPEC }, 2000);
        let labels: Vec<InjectedAnomaly> = values.values().flatten().filter_map(|point| point.2).collect();
        let count = |kind| labels.iter().filter(|&&label| label == kind).count();
        let all = 210 * 2000;
        assert!((120..240).contains(&count(InjectedAnomaly::Spike)), "{}", count(InjectedAnomaly::Spike));
        assert!((25..90).contains(&count(InjectedAnomaly::LevelShift)), "{}", count(InjectedAnomaly::LevelShift));
        assert!(count(InjectedAnomaly::Outage) > 150 && labels.len() < all / 200, "{}", labels.len());
        let quiet = |points: &[(i64, f64, Option<InjectedAnomaly>)]| points[..48].iter().all(|point| point.2.is_none());
        assert!(values.values().all(|points| quiet(points)), "the first steps are quiet");
        let outages = values.values().flatten().filter(|point| point.2 == Some(InjectedAnomaly::Outage));
        assert!(outages.clone().all(|point| point.1 == 0.0));
    }

    #[test]
    fn spikes_differ_from_their_neighbours() {
        let values = run(SimulationSpec { series: 210, ..SPEC }, 2000);
        let (mut spikes, mut far) = (0, 0);
        for points in values.iter().filter(|(key, _)| key.starts_with("requests") || key.starts_with("office")) {
            for window in points.1.windows(3) {
                if window[1].2 == Some(InjectedAnomaly::Spike) && window[0].2.is_none() && window[2].2.is_none() {
                    let around = (window[0].1 - window[2].1).abs();
                    spikes += 1;
                    far += usize::from((window[1].1 - window[0].1).abs() > 3.0 * around || window[1].1 == 0.0);
                }
            }
        }
        assert!(spikes > 20 && far * 10 >= spikes * 8, "{far} of {spikes}");
    }

    #[test]
    fn most_series_have_a_daily_season_and_offices_a_weekly_one() {
        let values = run(SPEC, 288 * 14);
        // A value is closer to the value of a day before than to that of half a day before.
        let closer = |points: &Vec<(i64, f64, Option<InjectedAnomaly>)>| {
            let gap = |lag: usize| {
                points.windows(lag + 1).map(|w| (w[lag].1 - w[0].1).abs()).sum::<f64>() / (points.len() - lag) as f64
            };
            gap(288) < gap(144)
        };
        let daily: Vec<bool> = values
            .iter()
            .filter(|(key, _)| {
                ["office", "requests", "shop", "solar", "temperature"].iter().any(|kind| key.starts_with(kind))
            })
            .map(|(_, points)| closer(points))
            .collect();
        assert!(daily.iter().filter(|&&is| is).count() * 10 >= daily.len() * 9, "{daily:?}");
        let office = &values["office-0000"];
        let mean = |weekend: bool| {
            let at = |time: i64| ((time / 86_400_000 + 3).rem_euclid(7) >= 5) == weekend;
            let noon: Vec<f64> =
                office.iter().filter(|p| at(p.0) && p.0 % 86_400_000 == 43_200_000).map(|p| p.1).collect();
            noon.iter().sum::<f64>() / noon.len() as f64
        };
        assert!(mean(false) > 1.5 * mean(true), "{} {}", mean(false), mean(true));
    }
}
