//! Generated series with a daily season, noise, spikes, gaps and duplicate timestamps. They are the same in every run,
//! so that the tests need no data files.

use jiff::{ToSpan, civil::date};

use crate::support::Table;

/// Uniform noise from -0.5 to 0.5 (SplitMix64 of the seed).
fn noise(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
}

/// A daily wave with noise, and rarely a spike. `step` counts steps of `steps_per_day`.
fn daily(series: u64, step: usize, steps_per_day: f64) -> f64 {
    let phase = step as f64 / steps_per_day * std::f64::consts::TAU + series as f64;
    let spike = if noise(series << 40 | 1 << 39 | step as u64) > 0.49 { 12.0 } else { 0.0 };
    5.0 * phase.sin() + 2.0 * noise(series << 40 | step as u64) + spike
}

fn stamp(minutes: usize) -> String {
    (date(2016, 7, 1).at(0, 0, 0, 0) + (minutes as i64).minutes()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    Table { header: header.map(str::to_owned).to_vec(), rows: rows.map(|row| row.to_vec()).collect() }
}

/// Hourly readings of seven series of different scale; the last one is constant at times.
pub fn loads(rows: usize) -> Table {
    let row = |step: usize| {
        std::array::from_fn(|column| match column {
            0 => stamp(60 * step),
            7 => format!("{:.3}", if step / 50 % 4 == 3 { 7.5 } else { daily(7, step, 24.0) }),
            _ => format!("{:.3}", 10_f64.powi(column as i32 - 3) * (daily(column as u64, step, 24.0) + 4.0)),
        })
    };
    table(["date", "a", "b", "c", "d", "e", "f", "g"], (0..rows).map(row))
}

/// Half-hourly electricity demand that follows the temperature.
pub fn demand(rows: usize) -> Table {
    let row = |step: usize| {
        let temperature = 15.0 + daily(1, step, 48.0) + 6.0 * noise(step as u64 / 96);
        let demand = 4000.0 + 90.0 * (temperature - 18.0).abs() + 150.0 * daily(2, step, 48.0);
        [stamp(30 * step), format!("{demand:.3}"), format!("{temperature:.2}")]
    };
    table(["Time", "Demand", "Temperature"], (0..rows).map(row))
}

/// Hourly visitor counts of four sensors, one row per sensor and hour, ordered by time. Every 100th hour occurs twice,
/// as when daylight saving time ends, and some hours are missing.
pub fn visitors(hours: usize) -> Table {
    let times = (0..hours).flat_map(|hour| std::iter::repeat_n(hour, if hour % 100 == 99 { 2 } else { 1 }));
    let rows = times.enumerate().flat_map(|(row, hour)| {
        ["Bridge", "Market", "Square", "Station"].into_iter().zip(1..).filter_map(move |(sensor, series)| {
            let count = 300.0 + 50.0 * daily(series, row, 24.0);
            (hour % 70 != 10 * series as usize).then(|| [sensor.to_owned(), stamp(60 * hour), format!("{count:.0}")])
        })
    });
    table(["Sensor", "Date_Time", "Count"], rows)
}
