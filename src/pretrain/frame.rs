//! The time in which a generated series lives: interval, start and seasons.

use super::random::Random;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// Intervals from a second to a day, in milliseconds. Those that streams often have appear several times.
const INTERVALS: [i64; 24] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    HOUR,
    HOUR,
    HOUR,
    HOUR,
    4 * HOUR,
    DAY,
    DAY,
];
/// Lengths that people and machines repeat themselves after, in milliseconds. All of them divide a week.
const PERIODS: [i64; 11] =
    [MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR, DAY, WEEK];
/// Start times lie in these years, in milliseconds: 2000 to 2026.
const YEARS: (i64, i64) = (946_684_800_000, 1_767_225_600_000);
/// A season has at least this many steps ...
const SHORTEST: f64 = 4.0;
/// ... and fits this many times into the series.
const REPEATS: f64 = 2.5;
/// The longest season that is looked for by itself: see [`automatic_season`].
const LONGEST_AUTOMATIC: i64 = 1440;

/// Interval, start, length and possible seasons of a series.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Milliseconds between two steps.
    pub interval: i64,
    /// Time of the first step in milliseconds, a multiple of the interval.
    pub start: i64,
    /// Steps.
    pub length: usize,
    /// Possible seasons in steps, ascending; at least one.
    pub seasons: Vec<f64>,
}

impl Frame {
    /// A random frame of so many steps.
    pub fn draw(random: &mut Random, length: usize) -> Self {
        let interval = random.pick(&INTERVALS);
        let start = random.uniform(YEARS.0 as f64, YEARS.1 as f64) as i64;
        let fits = |steps: &f64| *steps >= SHORTEST && *steps * REPEATS <= length as f64;
        let steps = |period: &i64| *period as f64 / interval as f64;
        let mut seasons: Vec<f64> = PERIODS.iter().map(steps).filter(fits).collect();
        if seasons.is_empty() || random.chance(0.15) {
            // A machine's cycle of any length.
            seasons.push(random.log_uniform(SHORTEST, length as f64 / REPEATS).round());
        }
        seasons.sort_by(f64::total_cmp);
        Self { interval, start: start - start.rem_euclid(interval), length, seasons }
    }

    /// One of the possible seasons. A day, where it is one of them, is as likely as all others together.
    pub fn season(&self, random: &mut Random) -> f64 {
        let day = DAY as f64 / self.interval as f64;
        if self.seasons.contains(&day) && random.chance(0.5) { day } else { random.pick(&self.seasons) }
    }

    /// The phase of a step in a season of so many steps, in turns: 0 to 1.
    pub fn phase(&self, step: usize, season: f64) -> f64 {
        (((self.start / self.interval) as f64 + step as f64) / season).rem_euclid(1.0)
    }

    /// Day of the week of a step, 0 to 6; 0 is a Thursday, that of the Unix epoch.
    pub fn weekday(&self, step: usize) -> usize {
        (((self.start + step as i64 * self.interval) / DAY) % 7) as usize
    }

    /// The same time in `factor` times as many steps. The factor divides a second.
    pub fn refined(&self, factor: usize) -> Self {
        Self {
            interval: self.interval / factor as i64,
            start: self.start,
            length: self.length * factor,
            seasons: self.seasons.iter().map(|season| season * factor as f64).collect(),
        }
    }
}

/// The season in steps that a stream of this interval has where its configuration names none: a day of 4 to 1440 steps,
/// a week where a step is a day, else none (0).
pub(super) fn automatic_season(interval: i64) -> u32 {
    let day = DAY / interval;
    match interval {
        DAY => 7,
        _ if (4..=LONGEST_AUTOMATIC).contains(&day) => day as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seasons_fit_and_phases_follow_the_clock() {
        for index in 0..500 {
            let mut random = Random::new(5, index);
            let frame = Frame::draw(&mut random, 1024);
            assert!(frame.start % frame.interval == 0 && frame.start >= YEARS.0 - DAY && frame.start < YEARS.1);
            assert!(frame.seasons.iter().all(|season| *season >= 4.0 && *season * 2.5 <= 1026.0), "{frame:?}");
            let season = frame.season(&mut random);
            let (here, later) = (frame.phase(3, season), frame.phase(3 + season as usize, season));
            assert!((0.0..1.0).contains(&here) && (here - later).abs().min(1.0 - (here - later).abs()) < 1e-4);
        }
    }

    #[test]
    fn the_automatic_season_is_a_day_or_a_week_of_days() {
        assert_eq!([HOUR, 15 * MINUTE, MINUTE, DAY, SECOND].map(automatic_season), [24, 96, 1440, 7, 0]);
    }
}
