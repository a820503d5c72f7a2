//! Spikes: single absurd values that the series returns from at once.

use serde::{Deserialize, Serialize};

use super::peaks_over_threshold::PeaksOverThreshold;
use crate::forecast::numeric::clamp_to_f32;

/// An error with at most this probability marks a spike, until the next value confirms or refutes it.
const MAX_PROBABILITY: f32 = 1e-4;
/// A value refutes a level shift where its distance from the value before the spike is at most this share of the
/// spike's.
const RETURN_SHARE: f64 = 0.25;

/// Decides which values of a series are spikes, from one-step errors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpikeDetector {
    errors: PeaksOverThreshold,
    /// Whether the newest value is a spike, as far as is known before the next one.
    newest_is_spike: bool,
}

/// Three successive values around the newest step; `None` where a slot is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SpikeContext {
    /// One step before the newest.
    pub before: Option<f64>,
    pub newest: Option<f64>,
    /// The value that the series takes next.
    pub next: Option<f64>,
}

impl SpikeDetector {
    /// Adds the one-step error of the newest value, in the unit of the values; returns its estimated probability.
    pub(crate) fn update(&mut self, error: f64) -> f32 {
        let probability = self.errors.update(clamp_to_f32(error).abs());
        self.newest_is_spike = probability <= MAX_PROBABILITY;
        probability
    }

    /// Whether the newest value looks like a spike.
    pub(crate) fn newest_is_spike(&self) -> bool {
        self.newest_is_spike
    }

    /// Whether the newest value was a spike, now that the next one is known: the series returns to where it was before.
    pub(crate) fn newest_was_spike(&self, values: SpikeContext) -> bool {
        match values {
            SpikeContext { before: Some(before), newest: Some(newest), next: Some(next) } if self.newest_is_spike => {
                (next - before).abs() <= RETURN_SHARE * (newest - before).abs()
            }
            _ => false,
        }
    }

    /// Whether its values are valid; a snapshot comes from outside.
    pub(super) fn is_sound(&self) -> bool {
        self.errors.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_error_is_a_spike_only_where_the_series_returns_at_once() {
        let mut spikes = SpikeDetector::default();
        (0..100).for_each(|step| {
            spikes.update(f64::from(step % 7) - 3.0);
        });
        let at = |newest, next| SpikeContext { before: Some(0.0), newest: Some(newest), next };
        assert!(!spikes.newest_was_spike(at(3.0, Some(0.0))), "an ordinary error");
        assert!(spikes.update(1000.0) < 1e-4 && spikes.newest_is_spike());
        assert!(spikes.newest_was_spike(at(1000.0, Some(250.0))));
        assert!(!spikes.newest_was_spike(at(1000.0, Some(251.0))), "a shift of the level");
        assert!(!spikes.newest_was_spike(at(1000.0, None)));
    }
}
