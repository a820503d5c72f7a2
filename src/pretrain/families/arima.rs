//! Seasonal ARIMA of random order (Box, Jenkins, 1970). Autoregressions are stationary by their partial
//! autocorrelations (Barndorff-Nielsen, Schou, Journal of Multivariate Analysis 3(4), 1973).

use crate::pretrain::{frame::Frame, random::Random};

/// Seasons of more steps have no seasonal terms.
const LONGEST_SEASON: usize = 400;

/// A series of a seasonal ARIMA process.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let season = (frame.season(random).round() as usize).min(LONGEST_SEASON);
    let (near, far) = (random.integer(0, 3), random.integer(0, 1));
    let (by_value, by_season) = (autoregression(random, near), autoregression(random, far));
    let moving: Vec<f64> = (0..random.integer(0, 2)).map(|_| random.uniform(-0.8, 0.8)).collect();
    let heavy = if random.chance(0.3) { random.uniform(2.5, 6.0) } else { f64::INFINITY };
    let warm_up = 3 * season;
    let steps = warm_up + frame.length;
    let shocks: Vec<f64> =
        (0..steps).map(|_| if heavy.is_finite() { random.student(heavy) } else { random.normal() }).collect();
    let mut values = vec![0.0; steps];
    for at in 0..steps {
        let mut value = shocks[at];
        value += moving.iter().zip(1..).filter_map(|(by, lag)| Some(by * shocks[at.checked_sub(lag)?])).sum::<f64>();
        // (1 - a(B)) (1 - s(B^season)) x = shock.
        for (by, lag) in by_value.iter().zip(1..) {
            value += by * before(&values, at, lag);
        }
        for by in &by_season {
            value += by * before(&values, at, season);
            value -= by_value.iter().zip(1..).map(|(a, lag)| a * by * before(&values, at, season + lag)).sum::<f64>();
        }
        values[at] = value;
    }
    if random.chance(0.25) {
        integrate(&mut values, 1);
    }
    if random.chance(0.35) {
        integrate(&mut values, season);
    }
    values.split_off(warm_up)
}

fn before(values: &[f64], at: usize, lag: usize) -> f64 {
    at.checked_sub(lag).map_or(0.0, |at| values[at])
}

/// Sums up differences over a lag.
fn integrate(values: &mut [f64], lag: usize) {
    for at in lag..values.len() {
        values[at] += values[at - lag];
    }
}

/// Coefficients of a stationary autoregression.
pub(super) fn autoregression(random: &mut Random, order: usize) -> Vec<f64> {
    let mut coefficients: Vec<f64> = Vec::new();
    for lag in 0..order {
        // The recursion of Durbin and Levinson from partial autocorrelations to coefficients.
        let partial = random.uniform(-0.6, if lag == 0 { 0.97 } else { 0.6 });
        let last = coefficients.len();
        let reduced = (0..last).map(|at| coefficients[at] - partial * coefficients[last - 1 - at]).collect();
        coefficients = reduced;
        coefficients.push(partial);
    }
    coefficients
}
