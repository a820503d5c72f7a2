//! Tests of the mixture.

use super::experts::expert::{EXPERTS, Expert};
use super::mixture::{Mixture, Objective, ScoredForecast};
use super::spec::ForecastSpec;

/// A number in -1..1 for each step and place.
fn noise(step: usize, place: usize) -> f32 {
    let hash = (step as u64 * 8 + place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    hash as f32 / (1_u64 << 23) as f32 - 1.0
}

/// A mixture that learns from so many more steps, in which the linear expert errs a little and the network by `error`.
fn learn(mixture: &mut Mixture, spec: &ForecastSpec, steps: std::ops::Range<usize>, error: f32) {
    for step in steps {
        let target = 2.0 * noise(step, 0);
        let mut experts = [0.0; EXPERTS];
        experts[Expert::SeasonalNaive as usize] = target + noise(step, 1);
        experts[Expert::Linear as usize] = target + 0.3 * noise(step, 2);
        experts[Expert::Network as usize] = target + error * noise(step, 3);
        mixture.learn(spec, 0, &ScoredForecast { target, mixture: experts[2], experts });
    }
}

fn network_weight(mixture: &Mixture, spec: &ForecastSpec) -> f32 {
    mixture.weights(spec, 0, Objective::Median)[Expert::Network as usize]
}

#[test]
fn a_network_with_better_weights_is_believed_sooner_and_nothing_changes_before() {
    let spec = ForecastSpec::new(1, &[0.1, 0.5, 0.9], 24).unwrap();
    let mut mixture = Mixture::new(&spec);
    learn(&mut mixture, &spec, 0..2000, 1.0);
    let mut kept = mixture.clone();
    let before = Objective::ALL.map(|objective| mixture.weights(&spec, 0, objective));
    mixture.discount();
    assert_eq!(before, Objective::ALL.map(|objective| mixture.weights(&spec, 0, objective)));
    learn(&mut mixture, &spec, 2000..2001, 1.0);
    for (objective, before) in Objective::ALL.iter().zip(before) {
        let after = mixture.weights(&spec, 0, *objective);
        assert!(after.iter().zip(before).all(|(after, before)| (after - before).abs() < 0.02), "{before:?} {after:?}");
    }
    let old = network_weight(&mixture, &spec);
    for mixture in [&mut mixture, &mut kept] {
        learn(mixture, &spec, 2001..2201, 0.1);
    }
    let gained = [&mixture, &kept].map(|mixture| network_weight(mixture, &spec) - old);
    assert!(gained[0] > 2.0 * gained[1] && gained[0] > 0.05, "{old}: {gained:?}");
}
