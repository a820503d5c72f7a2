//! What machines report: counters, saturated gauges, queues, replicas, and quiet services with rare incidents.

use super::shape::{Noise, Shape};
use crate::pretrain::{frame::Frame, random::Random};

/// A series as of a machine.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    match random.integer(0, 5) {
        0 => counter(random, frame),
        1 => saturated(random, frame),
        2 => queue(random, frame),
        3 => replicas(random, frame),
        4 => quiet_with_incidents(random, frame),
        _ => quantised(random, frame),
    }
}

/// A load with a season: positive, about one.
fn load(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let season = frame.season(random);
    let (shape, swing) = (Shape::draw(random, season), random.uniform(0.05, 0.8));
    let (mut noise, size) = (Noise::draw(random), random.log_uniform(0.02, 0.4));
    let value = |at| (swing * shape.at(frame.phase(at, season)) + size * noise.next(random)).clamp(-6.0, 6.0).exp();
    (0..frame.length).map(value).collect()
}

/// Grows with the load, and begins again at zero: at a limit (memory, disk), or at restarts.
fn counter(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let load = load(random, frame);
    let limit = frame.length as f64 * random.log_uniform(0.03, 3.0);
    let restart = if random.chance(0.5) { random.log_uniform(0.3, 5.0) / frame.length as f64 } else { 0.0 };
    let floor = if random.chance(0.5) { 0.0 } else { limit * random.uniform(0.0, 0.5) };
    let mut sum = floor;
    let value = |load| {
        sum = if sum > limit || random.chance(restart) { floor } else { sum + load };
        sum
    };
    load.into_iter().map(value).collect()
}

/// A share in percent that is clipped at 0 and 100.
fn saturated(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let (base, size) = (random.uniform(-20.0, 110.0), random.log_uniform(2.0, 40.0));
    load(random, frame).into_iter().map(|load| (base + size * load.ln()).clamp(0.0, 100.0)).collect()
}

/// Waiting work: what arrives and is not served (Lindley, Mathematical Proceedings 48(2), 1952), as a latency.
fn queue(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let load = load(random, frame);
    let (capacity, service) = (random.uniform(0.9, 2.0), random.log_uniform(0.01, 1.0));
    let mut waiting = 0.0;
    let value = |load: f64| {
        let arrived = load * random.gamma(8.0, 1.0);
        waiting = (waiting + arrived - capacity).clamp(0.0, 1e6);
        service * (1.0 + 0.1 * random.exponential()) + waiting
    };
    load.into_iter().map(value).collect()
}

/// Replicas that follow the load with hysteresis, or the load of each of them.
fn replicas(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let (load, each) = (load(random, frame), random.log_uniform(0.05, 0.6));
    let (shows_count, patience) = (random.chance(0.5), random.integer(1, 30));
    let (mut count, mut low) = (1.0, 0);
    let value = |load: f64| {
        let wanted = (load / each).ceil().max(1.0);
        low = if wanted < count { low + 1 } else { 0 };
        if wanted > count || low > patience {
            (count, low) = (wanted, 0);
        }
        if shows_count { count } else { load / count }
    };
    load.into_iter().map(value).collect()
}

/// Small noise around a level; now and then an incident of many times its size, which fades.
fn quiet_with_incidents(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let load = load(random, frame);
    let (mut noise, size) = (Noise::draw(random), random.log_uniform(0.005, 0.2));
    let often = random.log_uniform(1.0, 15.0) / frame.length as f64;
    let (strength, fade) = (random.log_uniform(1.0, 30.0), 1.0 - random.log_uniform(0.02, 1.0));
    let mut incident = 0.0;
    let value = |load: f64| {
        incident *= fade;
        if random.chance(often) {
            incident += strength * random.exponential();
        }
        1.0 + 0.1 * load.ln() + size * noise.next(random) + incident
    };
    load.into_iter().map(value).collect()
}

/// A reading in coarse whole steps.
fn quantised(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let levels = random.log_uniform(2.0, 200.0);
    load(random, frame).into_iter().map(|load| (levels * load).round()).collect()
}
