//! Pulses at fixed times of a season: trapezoids as of shifts and machines, bursts as of scheduled jobs.

use super::shape::{Noise, weekday_factors};
use crate::pretrain::{frame::Frame, random::Random};

/// A pulse of the season: when it begins, and how long it rises, stays and falls, in turns.
struct Pulse {
    begin: f64,
    rise: f64,
    stay: f64,
    fall: f64,
    height: f64,
}

impl Pulse {
    fn trapezoid(random: &mut Random) -> Self {
        Self {
            begin: random.unit(),
            rise: random.log_uniform(0.002, 0.2),
            stay: random.uniform(0.02, 0.5),
            fall: random.log_uniform(0.002, 0.2),
            height: random.log_uniform(0.2, 1.0),
        }
    }

    /// A burst of one step or some, which begins at once and fades.
    fn burst(random: &mut Random, season: f64) -> Self {
        let step = 1.0 / season;
        Self {
            begin: random.unit(),
            rise: 0.0,
            stay: step * random.integer(1, 3) as f64,
            fall: step * random.pick(&[0.0, 0.0, 2.0, 6.0]),
            height: random.log_uniform(0.5, 4.0),
        }
    }

    fn at(&self, phase: f64) -> f64 {
        let since = (phase - self.begin).rem_euclid(1.0);
        let (full, end) = (self.rise + self.stay, self.rise + self.stay + self.fall);
        let share = match since {
            since if since < self.rise => since / self.rise,
            since if since < full => 1.0,
            since if since < end => (end - since) / self.fall,
            _ => 0.0,
        };
        self.height * share
    }
}

/// A series of pulses.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let season = frame.season(random);
    let bursts = random.chance(0.5);
    let mut pulse = |_| if bursts { Pulse::burst(random, season) } else { Pulse::trapezoid(random) };
    let pulses: Vec<Pulse> = (0..if bursts { 2 } else { 3 }).map(&mut pulse).collect();
    let pulses = &pulses[..random.integer(1, pulses.len())];
    let factors = if random.chance(0.4) { weekday_factors(random) } else { [1.0; 7] };
    let (varies, misses) = (random.log_uniform(0.005, 0.4), if random.chance(0.3) { 0.1 } else { 0.0 });
    let (noise_size, mut noise) = (random.log_uniform(0.002, 0.3), Noise::draw(random));
    let (mut round, mut height) = (usize::MAX, 1.0);
    let value = |at: usize| {
        // Each season's pulses have a height of their own, and some do not take place.
        let this_round =
            (frame.start / frame.interval) as usize / season.max(1.0) as usize + (at as f64 / season) as usize;
        if this_round != round {
            round = this_round;
            height = if random.chance(misses) { 0.0 } else { (varies * random.normal()).exp() };
        }
        let phase = frame.phase(at, season);
        let sum: f64 = pulses.iter().map(|pulse| pulse.at(phase)).sum();
        sum * height * factors[frame.weekday(at)] + noise_size * noise.next(random)
    };
    (0..frame.length).map(value).collect()
}
