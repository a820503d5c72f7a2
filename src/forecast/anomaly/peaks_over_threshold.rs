//! How rare a magnitude is among all earlier ones: peaks over a threshold, and how often so large a one has come.

use serde::{Deserialize, Serialize};

use crate::forecast::numeric::all_finite;
use crate::series::{exponential, logarithm};

/// Share of magnitudes beyond the threshold, which is the tracked quantile.
const EXCEEDANCE_SHARE: f32 = 0.02;
/// Memory of the threshold and of the mean, in magnitudes. It is long, so that more than the last days count.
const MEMORY: u32 = 2000;
/// Memory of the excesses over the threshold, in excesses.
const EXCESS_MEMORY: f32 = 100.0;
/// Excesses that the initial estimate counts for: those of an exponential distribution with the mean of all magnitudes.
const PRIOR_EXCESSES: f32 = 4.0;
/// Magnitudes before which none is called rare.
pub(super) const MIN_MAGNITUDES: u32 = 40;
/// The threshold starts as the largest of fewer magnitudes than this.
const FIRST_MAGNITUDES: u32 = 5;
/// Number of largest magnitudes that are remembered.
const REMEMBERED_PEAKS: usize = 8;
/// Magnitudes that are less than this far apart belong to one event, of which the largest is remembered.
const EVENT_LENGTH: u16 = 24;
/// A magnitude that exceeds a remembered peak by this share is unlike it; one that hardly exceeds it is alike.
const UNLIKE_SHARE: f32 = 0.05;
/// How much of the probability the tail decides, as an exponent; how often so large a magnitude has come decides the
/// rest.
const TAIL_SHARE: f32 = 0.45;
/// A magnitude with at most this probability begins an incident, ...
const INCIDENT_PROBABILITY: f32 = 0.001;
/// ... which lasts for so many magnitudes after the last such one.
const INCIDENT_LENGTH: u8 = 3;
/// What a magnitude within an incident counts for: an incident says little of what is normal.
const INCIDENT_WEIGHT: f32 = 0.3;
/// The least probability of a tail, so that it has a logarithm.
const MIN_TAIL: f32 = 1e-20;
/// The heaviest tail, as a shape of the generalised Pareto distribution. Beyond it the second moment is infinite.
const MAX_SHAPE: f32 = 0.5;
/// An excess counts for at most this many mean excesses when the tail is estimated.
const MAX_EXCESS: f32 = 30.0;
/// Step of the threshold per magnitude, in mean magnitudes, before the decaying factor ...
const THRESHOLD_STEP: f32 = 3.0;
/// ... which decays to no less than this.
const MIN_STEP_FACTOR: f32 = 0.005;
/// After so many magnitudes without one beyond the threshold its steps grow: errors are larger while a series is new.
const MAX_RUN_BELOW: f32 = 200.0;

/// Estimates how probable a magnitude is, from all earlier ones.
///
/// Two opinions are pooled logarithmically (Genest and Zidek, Statistical Science 1986). The tail: excesses over a high
/// quantile follow a generalised Pareto distribution, fitted by the method of moments (Siffer and others, KDD 2017).
/// And the share of earlier events that were as large: a daily spike is not rare, however few of all values it is. An
/// incident counts for less in the tail, so that one does not hide the next; the more of its kind there are, the more
/// each counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PeaksOverThreshold {
    count: u32,
    mean: f32,
    threshold: f32,
    /// Magnitudes beyond the threshold, by what each counts for.
    exceedances: f32,
    mean_excess: f32,
    mean_squared_excess: f64,
    /// The largest magnitudes of events, descending.
    peaks: [f32; REMEMBERED_PEAKS],
    /// Magnitudes since the newest peak, and its size.
    since_peak: u16,
    newest_peak: f32,
    /// Events that were about as large as the least of the peaks, but no larger.
    crowd: u32,
    /// Magnitudes since the newest one beyond the threshold.
    run_below: u16,
    /// Magnitudes for which the incident still lasts.
    incident: u8,
}

impl PeaksOverThreshold {
    /// The probability of a magnitude of at least this, estimated from earlier ones; then learns from it. `magnitude`
    /// is not negative.
    pub fn update(&mut self, magnitude: f32) -> f32 {
        let probability = if self.count < MIN_MAGNITUDES { 1.0 } else { self.probability(magnitude) };
        let begins = probability <= INCIDENT_PROBABILITY;
        self.incident = if begins { INCIDENT_LENGTH } else { self.incident.saturating_sub(1) };
        let weight = (self.alike(magnitude) / REMEMBERED_PEAKS as f32).max(INCIDENT_WEIGHT);
        self.learn(magnitude, if self.incident > 0 { weight } else { 1.0 });
        probability
    }

    /// Whether its values are valid; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        self.exceedances >= 0.0
            && all_finite(&[self.mean, self.threshold, self.exceedances, self.mean_excess, self.newest_peak])
            && self.mean_squared_excess.is_finite()
            && all_finite(&self.peaks)
    }

    fn probability(&self, magnitude: f32) -> f32 {
        if magnitude <= self.threshold {
            return 1.0;
        }
        let tail = self.exceedance_share() * self.survival(magnitude - self.threshold);
        let alike = self.alike(magnitude);
        let all_are = magnitude <= self.peaks[REMEMBERED_PEAKS - 1];
        let events = alike + if all_are { self.crowd as f32 } else { 0.0 };
        let share = (0.5 + events) / (self.count as f32 + 1.0); // Krichevsky and Trofimov (1981)
        let share = if all_are { share.max(tail) } else { share };
        // The more of its kind are remembered, the more their share says.
        let tail_share = TAIL_SHARE * (1.0 - (alike / REMEMBERED_PEAKS as f32).powi(3));
        exponential(tail_share * logarithm(tail.max(MIN_TAIL)) + (1.0 - tail_share) * logarithm(share)).min(1.0)
    }

    /// How many remembered events were as large, up to all.
    fn alike(&self, magnitude: f32) -> f32 {
        self.peaks.iter().map(|peak| similarity(magnitude, *peak)).sum()
    }

    /// The probability of a magnitude beyond the threshold.
    fn exceedance_share(&self) -> f32 {
        if self.threshold > 0.0 {
            return EXCEEDANCE_SHARE;
        }
        // Most errors of a series at rest are 0.
        ((self.exceedances + 0.5) / (self.count as f32 + 1.0)).min(EXCEEDANCE_SHARE)
    }

    /// The probability of an excess of at least this, given that there is one.
    fn survival(&self, excess: f32) -> f32 {
        let known = self.exceedances.min(EXCESS_MEMORY);
        let pooled = |own: f64, prior: f64| {
            (f64::from(known) * own + f64::from(PRIOR_EXCESSES) * prior) / f64::from(known + PRIOR_EXCESSES)
        };
        let prior = f64::from(self.mean);
        let mean = pooled(f64::from(self.mean_excess), prior).max(f64::from(f32::MIN_POSITIVE));
        let squares = pooled(self.mean_squared_excess, 2.0 * prior * prior);
        // Variance and excess are in mean excesses.
        let variance = (squares / (mean * mean) - 1.0).max(1e-6) as f32;
        let excess = excess / mean as f32;
        let shape = (0.5 * (1.0 - 1.0 / variance)).clamp(0.0, MAX_SHAPE);
        let exponent =
            if shape < 0.01 { excess } else { logarithm((1.0 + shape * excess / (1.0 - shape)).min(f32::MAX)) / shape };
        exponential(-exponent)
    }

    /// Learns from a magnitude that counts for `weight`.
    fn learn(&mut self, magnitude: f32, weight: f32) {
        self.count = self.count.saturating_add(1);
        let memory = self.count.min(MEMORY) as f32;
        self.mean += weight * (magnitude - self.mean) / memory;
        self.remember(magnitude);
        if self.count < FIRST_MAGNITUDES {
            self.threshold = self.threshold.max(magnitude);
        }
        let step = THRESHOLD_STEP * self.mean * (0.5 / memory.sqrt()).max(MIN_STEP_FACTOR);
        if magnitude > self.threshold {
            let bound =
                if self.count > MIN_MAGNITUDES { MAX_EXCESS * self.mean_excess.max(self.mean) } else { f32::INFINITY };
            let excess = (magnitude - self.threshold).min(bound);
            self.exceedances += weight;
            let weight = weight / self.exceedances.min(EXCESS_MEMORY);
            self.mean_excess += weight * (excess - self.mean_excess);
            self.mean_squared_excess +=
                f64::from(weight) * (f64::from(excess) * f64::from(excess) - self.mean_squared_excess);
            self.threshold += step * (1.0 - EXCEEDANCE_SHARE);
            self.run_below = 0;
        } else {
            self.run_below = self.run_below.saturating_add(1);
            let step = step * (f32::from(self.run_below) / MAX_RUN_BELOW).max(1.0);
            self.threshold = (self.threshold - step * EXCEEDANCE_SHARE).max(0.0);
        }
    }

    /// Remembers the largest magnitude of each event.
    fn remember(&mut self, magnitude: f32) {
        self.since_peak = self.since_peak.saturating_add(1);
        let (last, is_same_event) = (REMEMBERED_PEAKS - 1, self.since_peak < EVENT_LENGTH);
        let least = self.peaks[last];
        if magnitude <= least {
            if !is_same_event && magnitude > least * (1.0 - UNLIKE_SHARE) {
                (self.crowd, self.newest_peak, self.since_peak) = (self.crowd.saturating_add(1), 0.0, 0);
            }
            return;
        }
        let same = self.peaks.iter().position(|peak| is_same_event && *peak == self.newest_peak);
        if same.is_some_and(|at| magnitude <= self.peaks[at]) {
            return;
        }
        self.peaks[same.unwrap_or(last)] = magnitude;
        self.peaks.sort_unstable_by(|one, other| other.total_cmp(one));
        (self.crowd, self.newest_peak, self.since_peak) = (0, magnitude, 0);
    }
}

/// 1 where a magnitude does not exceed a peak, falling to 0 where it clearly does.
fn similarity(magnitude: f32, peak: f32) -> f32 {
    if peak > 0.0 { (1.0 - (magnitude / peak - 1.0) / UNLIKE_SHARE).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform pseudo-random numbers between 0 and 1, a function of the step.
    fn uniform(step: u32) -> f32 {
        let bits = (u64::from(step) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }

    #[test]
    fn estimated_probabilities_match_observed_frequencies() {
        for heavy in [false, true] {
            let mut peaks = PeaksOverThreshold::default();
            let magnitude = |step: u32| {
                let uniform = uniform(step).max(1e-7);
                if heavy { uniform.powf(-0.3) } else { -uniform.ln() }
            };
            let estimates: Vec<f32> = (0..200_000).map(|step| peaks.update(magnitude(step))).collect();
            for limit in [0.01, 0.003, 0.001] {
                let share = estimates.iter().filter(|one| **one <= limit).count() as f32 / estimates.len() as f32;
                assert!((0.3..2.0).contains(&(share / limit)), "heavy {heavy}, {limit}: {share}");
            }
        }
    }

    #[test]
    fn a_daily_peak_is_not_rare_and_an_unprecedented_one_is() {
        let mut peaks = PeaksOverThreshold::default();
        let magnitude = |step: u32| if step % 288 == 200 { 50.0 + uniform(step) } else { uniform(step) };
        let estimates: Vec<f32> = (0..4000).map(|step| peaks.update(magnitude(step))).collect();
        let least = estimates[2000..].iter().copied().reduce(f32::min).unwrap();
        assert!(least > 1.0 / 1000.0, "{least}");
        assert!(peaks.update(100.0) < 1e-4);
    }

    #[test]
    fn equal_incidents_are_each_rare_until_they_are_frequent() {
        let mut peaks = PeaksOverThreshold::default();
        let magnitude = |step: u32| if step % 400 == 399 && step > 2000 { 40.0 } else { uniform(step) };
        let estimates: Vec<f32> = (0..20_000).map(|step| peaks.update(magnitude(step))).collect();
        let incidents: Vec<f32> = (2399..20_000).step_by(400).map(|step| estimates[step]).collect();
        assert!(incidents[..4].iter().all(|probability| *probability < 4e-4), "{incidents:?}");
        assert!(incidents[30..].iter().all(|probability| *probability > 1e-3), "{incidents:?}");
    }

    #[test]
    fn a_threshold_that_began_too_high_comes_down() {
        let mut peaks = PeaksOverThreshold::default();
        let magnitude = |step: u32| uniform(step) * if step < 100 { 50.0 } else { 1.0 };
        let estimates: Vec<f32> = (0..8000).map(|step| peaks.update(magnitude(step))).collect();
        let share = estimates[4000..].iter().filter(|one| **one < 1.0).count() as f32 / 4000.0;
        assert!((0.01..0.04).contains(&share), "{share}");
    }

    #[test]
    fn nothing_is_rare_before_enough_magnitudes_or_where_all_are_zero() {
        let mut peaks = PeaksOverThreshold::default();
        assert!((0..MIN_MAGNITUDES).all(|step| peaks.update(uniform(step)) == 1.0));
        let mut still = PeaksOverThreshold::default();
        assert!((0..1000).all(|_| still.update(0.0) == 1.0));
        assert!(still.update(1e-30) < 0.01 && still.update(1e30).is_finite() && still.update(1e30).is_finite());
    }
}
