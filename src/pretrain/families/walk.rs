//! Random walks: plain or in the logarithm, with and without drift, with light and heavy steps.

use crate::pretrain::{frame::Frame, random::Random};

/// A random walk.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let drift = if random.chance(0.5) { 0.0 } else { random.uniform(-0.15, 0.15) };
    let heavy = if random.chance(0.4) { random.uniform(2.5, 6.0) } else { f64::INFINITY };
    let (changes, memory) = (random.chance(0.4), random.uniform(0.9, 0.995));
    // A price moves by some percent of itself.
    let relative = if random.chance(0.4) { random.log_uniform(0.001, 0.03) } else { 0.0 };
    let (mut volatility, mut level) = (1.0_f64, 10.0 * random.normal());
    let step = |_| {
        let shock = if heavy.is_finite() { random.student(heavy) } else { random.normal() };
        if changes {
            // A GARCH(1, 1) of unit mean variance.
            let square = (shock * shock).min(50.0);
            volatility = (0.02 + volatility * (memory - 0.05 + 0.03 * square)).clamp(0.02, 25.0);
        }
        level += drift + volatility.sqrt() * shock.clamp(-30.0, 30.0);
        if relative > 0.0 { (relative * level).clamp(-30.0, 30.0).exp() } else { level }
    };
    (0..frame.length).map(step).collect()
}
