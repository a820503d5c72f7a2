//! Which leads a network with a query decoder is trained on: some at each step, one of each stratum. The strata have
//! equal ranges of the logarithm, so that near leads are not drowned by the many far ones.

use crate::nn::mixed_seed;

/// Leads that are drawn for a step.
pub(super) const LEADS: usize = 8;

/// Draws the leads of steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeadSample {
    /// Seed of all draws.
    pub seed: u64,
    /// The longest lead.
    pub longest: usize,
}

impl LeadSample {
    /// The leads of a step of a sequence, one of each stratum, ascending.
    pub fn at(&self, sequence: usize, step: usize) -> [usize; LEADS] {
        let mut bits = mixed_seed(self.seed ^ mixed_seed((sequence as u64) << 32 ^ step as u64));
        std::array::from_fn(|stratum| {
            bits = mixed_seed(bits);
            let unit = (bits >> 11) as f64 / (1_u64 << 53) as f64;
            let place = (stratum as f64 + unit) / LEADS as f64;
            (((self.longest + 1) as f64).powf(place) as usize).clamp(1, self.longest)
        })
    }

    /// Of the targets of a step, by lead from 1 on, those of the leads that are drawn for it.
    pub fn pick(&self, sequence: usize, step: usize, targets: impl Iterator<Item = f32>, out: &mut [f32]) {
        let targets: Vec<f32> = targets.collect();
        out.iter_mut().zip(self.at(sequence, step)).for_each(|(out, lead)| *out = targets[lead - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lead_is_drawn_and_each_stratum_once() {
        for longest in [1, 5, 192] {
            let sample = LeadSample { seed: 3, longest };
            let mut counts = vec![0; longest + 1];
            for step in 0..20_000 {
                let leads = sample.at(step % 7, step);
                assert!(leads.windows(2).all(|pair| pair[0] <= pair[1]) && leads[0] >= 1);
                leads.iter().for_each(|lead| counts[*lead] += 1);
            }
            assert!(counts[1..].iter().all(|count| *count > 0), "{longest}: {counts:?}");
        }
        let sample = LeadSample { seed: 3, longest: 192 };
        assert!(sample.at(1, 2) == sample.at(1, 2) && sample.at(1, 2) != sample.at(2, 1));
    }
}
