//! Steps and ramps: levels that hold for a while, and slopes between them.

use crate::pretrain::{frame::Frame, random::Random};

/// A series of levels.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let hold = random.log_uniform(4.0, frame.length as f64 / 3.0);
    let ramps = if random.chance(0.5) { random.uniform(0.1, 1.0) } else { 0.0 };
    let regular = random.chance(0.3);
    let levels: Vec<f64> = (0..random.integer(2, 6)).map(|_| random.normal()).collect();
    // Either a few levels that return, or ever new ones, or a staircase.
    let kind = random.integer(0, 2);
    let noise = if random.chance(0.4) { 0.0 } else { random.log_uniform(0.002, 0.3) };
    let (mut from, mut to) = (levels[0], levels[0]);
    let (mut since, mut rise, mut until) = (0.0, 0.0, 0.0);
    let mut count = 0;
    let value = |_| {
        if since >= until {
            from = to;
            count += 1;
            to = match kind {
                0 => levels[count % levels.len()],
                1 => 1.5 * random.normal(),
                _ => from + levels[0] + 0.2 * random.normal(),
            };
            until = if regular { hold.round() } else { (hold * random.exponential()).max(1.0) };
            rise = if random.chance(ramps) { until * random.unit() } else { 0.0 };
            since = 0.0;
        }
        since += 1.0;
        let share: f64 = if rise > 0.0 { since / rise } else { 1.0 };
        from + (to - from) * share.min(1.0) + noise * random.normal()
    };
    (0..frame.length).map(value).collect()
}
