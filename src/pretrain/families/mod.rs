//! The families of generated series, one file each. A generator takes a frame and random numbers, and returns one value
//! a step in time linear in the length.

mod arima;
mod counts;
mod harmonics;
mod pulses;
mod random_network;
mod regimes;
mod shape;
mod smooth;
mod steps;
mod telemetry;
mod trend_season;
mod walk;

use super::frame::Frame;
use super::random::Random;
pub(super) use shape::{moments, standardised};

/// A kind of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Gaussian processes: Matérn and radial basis function.
    Smooth,
    /// Sums and products of seasons with harmonics.
    Harmonics,
    /// Trend, season and impulses.
    TrendSeason,
    /// Trapezoid pulses and bursts at fixed times.
    Pulses,
    /// Two-regime Ornstein-Uhlenbeck processes with stochastic volatility.
    Regimes,
    /// Steps and ramps.
    Steps,
    /// Counts under a daily rate: Poisson, negative binomial, Hawkes.
    Counts,
    /// Counters, saturated gauges, queues, replicas, quiet services with rare incidents.
    Telemetry,
    /// Seasonal ARIMA of random order.
    Arima,
    /// Random walks with and without drift.
    Walk,
    /// Random small networks over series of the other families.
    RandomNetwork,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 11] = [
        Self::Smooth,
        Self::Harmonics,
        Self::TrendSeason,
        Self::Pulses,
        Self::Regimes,
        Self::Steps,
        Self::Counts,
        Self::Telemetry,
        Self::Arima,
        Self::Walk,
        Self::RandomNetwork,
    ];

    /// Shares of the corpus: equal, but for regimes, which have three.
    pub fn shares(self) -> usize {
        if self == Self::Regimes { 3 } else { 1 }
    }

    /// The family of the share `share`, counted over all families and again from the first.
    pub(super) fn of_share(share: u64) -> Self {
        let total: usize = Self::ALL.iter().map(|family| family.shares()).sum();
        let mut left = (share % total as u64) as usize;
        for family in Self::ALL {
            match left.checked_sub(family.shares()) {
                Some(rest) => left = rest,
                None => return family,
            }
        }
        Self::Walk
    }

    /// A series of the family, one value a step of the frame. All values are finite.
    pub(super) fn generate(self, random: &mut Random, frame: &Frame) -> Vec<f64> {
        match self {
            Self::Smooth => smooth::generate(random, frame),
            Self::Harmonics => harmonics::generate(random, frame),
            Self::TrendSeason => trend_season::generate(random, frame),
            Self::Pulses => pulses::generate(random, frame),
            Self::Regimes => regimes::generate(random, frame),
            Self::Steps => steps::generate(random, frame),
            Self::Counts => counts::generate(random, frame),
            Self::Telemetry => telemetry::generate(random, frame),
            Self::Arima => arima::generate(random, frame),
            Self::Walk => walk::generate(random, frame),
            Self::RandomNetwork => {
                let inputs: Vec<Vec<f64>> = (0..random.integer(2, 4))
                    .map(|_| {
                        let family = random.pick(&Self::ALL[..Self::ALL.len() - 1]);
                        family.generate(random, frame)
                    })
                    .collect();
                random_network::generate(random, &inputs)
            }
        }
    }
}

#[cfg(test)]
mod tests;
