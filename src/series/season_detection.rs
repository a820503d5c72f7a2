//! Detects the seasons of a series from its values.

use std::collections::BTreeMap;

/// The newest values that detection uses: bounds its time, which grows with the square.
const NEWEST: usize = 6000;
/// A season must fit this many times into the values.
const REPEATS: usize = 3;
/// The minimum autocorrelation at a season's lag.
const MIN_CORRELATION: f64 = 0.2;
/// Multiples of a season correlate as strongly as the season itself: the shortest lag with this share of the strongest
/// correlation is the season.
const NEARLY: f64 = 0.6;
/// A longer season is reported beside a shorter one if its correlation is higher by this much.
const STRONGER: f64 = 0.05;
/// The correlation at twice the lag is at least this share of that at the lag; chance alone seldom produces both.
const AGAIN: f64 = 0.5;
/// How far the correlation must have fallen before a peak.
const PROMINENCE: f64 = 0.15;
/// Values are clipped to this many mean absolute deviations.
const CLIP: f64 = 4.0;

/// Lays values out by slot for [`detect_seasons`]: one per step, NaN for an empty slot, at most the newest 6000. The
/// last value of a slot wins.
pub fn values_on_grid(values: impl IntoIterator<Item = (i64, f64)>) -> Vec<f64> {
    let slots: BTreeMap<i64, f64> = values.into_iter().collect();
    let (Some((&oldest, _)), Some((&newest, _))) = (slots.first_key_value(), slots.last_key_value()) else {
        return Vec::new();
    };
    let first = oldest.max(newest.saturating_sub(NEWEST as i64 - 1));
    (first..=newest).map(|slot| slots.get(&slot).copied().unwrap_or(f64::NAN)).collect()
}

/// The seasons of a series from one value per step (NaN for an empty slot), in steps, at most `longest`: the
/// shortest strong one, and a longer one that correlates better still, such as a week beside a day.
///
/// A season is a prominent peak of the autocorrelation of the detrended values that recurs at twice its lag.
pub fn detect_seasons(values: &[f64], longest: usize) -> Vec<usize> {
    let values = &values[values.len().saturating_sub(NEWEST)..];
    let longest = longest.min(values.len() / REPEATS);
    let level = standardised(&detrended(values));
    let repeats: Vec<f64> = (0..=2 * longest).map(|lag| correlation(&level, lag)).collect();
    let mut lowest = 1.0_f64;
    let mut peaks = Vec::new();
    for lag in 2..=longest {
        lowest = lowest.min(repeats[lag - 1]);
        let (around, at) = (1 + lag / 8, repeats[lag]);
        let highest = repeats[lag - around.min(lag - 1)..=lag + around].iter().all(|other| *other <= at);
        if highest && at >= MIN_CORRELATION && at - lowest >= PROMINENCE && repeats[2 * lag] >= AGAIN * at {
            peaks.push(lag);
        }
    }
    let strongest = peaks.iter().map(|lag| repeats[*lag]).fold(0.0, f64::max);
    let Some(&season) = peaks.iter().find(|lag| repeats[**lag] >= NEARLY * strongest) else { return Vec::new() };
    let longer = peaks.iter().filter(|lag| **lag > season && repeats[**lag] > repeats[season] + STRONGER);
    // Of a longer season and its multiples, the first that is about as strong.
    let most = longer.clone().map(|lag| repeats[*lag]).fold(0.0, f64::max);
    let longer = longer.copied().find(|lag| repeats[*lag] + STRONGER > most);
    std::iter::once(season).chain(longer).map(|lag| refined(&repeats, lag)).collect()
}

/// The length of a season, refined by the peaks at two, four and more times its lag.
fn refined(repeats: &[f64], lag: usize) -> usize {
    let (around, mut at, mut count) = (1 + lag / 8, lag, 1);
    while 2 * at + around < repeats.len() {
        let near = 2 * at - around..=2 * at + around;
        at = near.max_by(|one, other| repeats[*one].total_cmp(&repeats[*other])).unwrap_or(2 * at);
        count *= 2;
    }
    (2 * at + count) / (2 * count)
}

/// The values less their linear trend.
fn detrended(values: &[f64]) -> Vec<f64> {
    let known =
        || values.iter().enumerate().filter(|(_, value)| !value.is_nan()).map(|(at, value)| (at as f64, *value));
    let count = known().count().max(1) as f64;
    let (places, sum) = known().fold((0.0, 0.0), |(places, sum), (at, value)| (places + at, sum + value));
    let (place, mean) = (places / count, sum / count);
    let (spread, slope) = known().fold((0.0, 0.0), |(spread, slope), (at, value)| {
        (spread + (at - place) * (at - place), slope + (at - place) * (value - mean))
    });
    let slope = if spread > 0.0 { slope / spread } else { 0.0 };
    values.iter().enumerate().map(|(at, value)| value - mean - slope * (at as f64 - place)).collect()
}

/// The values in mean absolute deviations from their mean, clipped; 0 for an empty slot.
fn standardised(values: &[f64]) -> Vec<f64> {
    let known = || values.iter().filter(|value| !value.is_nan());
    let count = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / count;
    let deviation = (known().map(|value| (value - mean).abs()).sum::<f64>() / count).max(f64::MIN_POSITIVE);
    let scaled = |value: &f64| if value.is_nan() { 0.0 } else { ((value - mean) / deviation).clamp(-CLIP, CLIP) };
    values.iter().map(scaled).collect()
}

/// The autocorrelation of standardised values at a lag.
fn correlation(values: &[f64], lag: usize) -> f64 {
    let square = |value: &f64| value * value;
    let (early, late) = (&values[..values.len().saturating_sub(lag)], values.get(lag..).unwrap_or_default());
    let size = (early.iter().map(square).sum::<f64>() * late.iter().map(square).sum::<f64>()).sqrt();
    let both: f64 = early.iter().zip(late).map(|(one, other)| one * other).sum();
    if size > 0.0 { both / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(step: u32) -> f64 {
        let bits = (u64::from(step) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }

    fn sine(step: u32, length: f64) -> f64 {
        (f64::from(step) / length * std::f64::consts::TAU).sin()
    }

    #[test]
    fn a_season_is_found_with_noise_trend_gaps_and_spikes() {
        for length in [7, 24, 96, 288] {
            let value = |step: u32| match step % 97 {
                5 => f64::NAN,
                _ if noise(step + 100_000) > 0.49 => 50.0,
                _ => sine(step, f64::from(length)) + noise(step) + 0.002 * f64::from(step),
            };
            let values: Vec<f64> = (0..4000).map(value).collect();
            assert_eq!(detect_seasons(&values, 2000).first(), Some(&(length as usize)), "{length}");
        }
    }

    #[test]
    fn values_are_laid_out_by_slot() {
        let laid_out = values_on_grid([(7, 1.0), (4, 2.0), (7, 3.0), (5, 4.0)]);
        assert!(laid_out[2].is_nan() && [laid_out[0], laid_out[1], laid_out[3]] == [2.0, 4.0, 3.0], "{laid_out:?}");
        assert_eq!(values_on_grid([(0, 1.0), (1_000_000, 2.0)]).len(), NEWEST);
        assert!(values_on_grid([]).is_empty());
    }

    #[test]
    fn a_weekly_season_is_found_beside_the_daily_one() {
        let value = |step: u32| {
            let weekend = step / 24 % 7 >= 5;
            sine(step, 24.0) * if weekend { 0.3 } else { 1.0 } - if weekend { 1.0 } else { 0.0 } + 0.3 * noise(step)
        };
        assert_eq!(detect_seasons(&(0..4000).map(value).collect::<Vec<_>>(), 400), [24, 168]);
    }

    #[test]
    fn series_without_a_season_have_none() {
        let walk: Vec<f64> = (0..6000)
            .scan(0.0, |at, step| {
                *at += noise(step);
                Some(*at)
            })
            .collect();
        let white: Vec<f64> = (0..6000).map(noise).collect();
        for values in [walk, white, vec![3.0; 500], vec![f64::NAN; 500], Vec::new(), vec![1.0]] {
            assert!(detect_seasons(&values, 2000).is_empty());
        }
    }
}
