//! A trend, a season that may grow with it, and impulses that die away.

use super::shape::{Noise, Shape};
use crate::pretrain::{frame::Frame, random::Random};

/// A series with trend, season and impulses.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let season = frame.season(random);
    let (shape, mut trend) = (Shape::draw(random, season), trend(random, frame.length));
    let (size, noise_size) = (random.log_uniform(0.1, 4.0), random.log_uniform(0.01, 1.0));
    let (steep, grows) = (random.log_uniform(0.5, 20.0), random.chance(0.3));
    trend.iter_mut().for_each(|value| *value *= steep);
    let mut noise = Noise::draw(random);
    let (mut impulse, decay) = (0.0, 1.0 - random.log_uniform(0.02, 1.0));
    let often = if random.chance(0.5) { 0.0 } else { random.log_uniform(1.0, 20.0) / frame.length as f64 };
    let strength = random.log_uniform(2.0, 10.0);
    let value = |(at, trend): (usize, f64)| {
        impulse *= decay;
        if random.chance(often) {
            impulse += strength * random.exponential();
        }
        let seasonal = size * shape.at(frame.phase(at, season));
        let grown = if grows { 0.2 + trend.abs() / steep } else { 1.0 };
        trend + grown * (seasonal + noise_size * noise.next(random)) + impulse
    };
    trend.into_iter().enumerate().map(value).collect()
}

/// A trend of about unit range: straight, bent at a few places, exponential, or saturating.
fn trend(random: &mut Random, length: usize) -> Vec<f64> {
    let sign = if random.chance(0.35) { -1.0 } else { 1.0 };
    let place = |at: usize| at as f64 / length as f64;
    match random.integer(0, 3) {
        0 => (0..length).map(|at| sign * place(at)).collect(),
        1 => {
            let bend = 4.0 / length as f64;
            let (mut slope, mut level) = (sign * random.uniform(0.0, 2.0), 0.0);
            let step = |_| {
                if random.chance(bend) {
                    slope = random.uniform(-2.0, 2.0);
                }
                level += slope / length as f64;
                level
            };
            (0..length).map(step).collect()
        }
        2 => {
            let rate = random.uniform(0.5, 3.0);
            (0..length).map(|at| sign * ((rate * place(at)).exp() - 1.0) / (rate.exp() - 1.0)).collect()
        }
        _ => {
            let (middle, width) = (random.uniform(0.1, 0.9), random.uniform(0.03, 0.3));
            (0..length).map(|at| sign / (1.0 + ((middle - place(at)) / width).exp())).collect()
        }
    }
}
