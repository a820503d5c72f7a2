//! After how many steps a series repeats itself, found out from its values.

use std::collections::BTreeMap;

/// Values that are looked at, the newest.
const NEWEST: usize = 6000;
/// A season must have been seen so often.
const REPEATS: usize = 3;
/// The least autocorrelation of a season.
const LEAST: f64 = 0.2;
/// A multiple of a season is at least as strong as the season itself: the shortest one counts that has this share of the
/// strongest.
const NEARLY: f64 = 0.6;
/// A longer season must be stronger than its part by so much to count beside it.
const STRONGER: f64 = 0.05;
/// After two seasons a series is as it was after one, by at least this share; chance alone seldom makes it so.
const AGAIN: f64 = 0.5;
/// By how much the autocorrelation must have been lower before its peak.
const PROMINENCE: f64 = 0.15;
/// A value counts for at most so many mean absolute deviations.
const CLIP: f64 = 4.0;

/// Values by their slots as [`seasons`] takes them: one step apart, NaN where there is none; the newest that it looks at. Of one
/// slot the last value counts.
pub fn values_on_grid(values: impl IntoIterator<Item = (i64, f64)>) -> Vec<f64> {
    let slots: BTreeMap<i64, f64> = values.into_iter().collect();
    let (Some((&oldest, _)), Some((&newest, _))) = (slots.first_key_value(), slots.last_key_value()) else {
        return Vec::new();
    };
    let first = oldest.max(newest.saturating_sub(NEWEST as i64 - 1));
    (first..=newest).map(|slot| slots.get(&slot).copied().unwrap_or(f64::NAN)).collect()
}

/// The seasons of a series whose values lie one step apart (NaN: none), in steps, at most `longest`: the shortest strong one,
/// and a longer one that repeats better still, as a week beside a day. By those peaks of the autocorrelation of the values
/// without their trend that stand out and come again at twice their lag.
pub fn seasons(values: &[f64], longest: usize) -> Vec<usize> {
    let values = &values[values.len().saturating_sub(NEWEST)..];
    let longest = longest.min(values.len() / REPEATS);
    let level = standard(&without_trend(values));
    let repeats: Vec<f64> = (0..=2 * longest).map(|lag| correlation(&level, lag)).collect();
    let mut least = 1.0_f64;
    let mut peaks = Vec::new();
    for lag in 2..=longest {
        least = least.min(repeats[lag - 1]);
        let (around, at) = (1 + lag / 8, repeats[lag]);
        let highest = repeats[lag - around.min(lag - 1)..=lag + around].iter().all(|other| *other <= at);
        if highest && at >= LEAST && at - least >= PROMINENCE && repeats[2 * lag] >= AGAIN * at {
            peaks.push(lag);
        }
    }
    let strongest = peaks.iter().map(|lag| repeats[*lag]).fold(0.0, f64::max);
    let Some(&season) = peaks.iter().find(|lag| repeats[**lag] >= NEARLY * strongest) else { return Vec::new() };
    let longer = peaks.iter().filter(|lag| **lag > season && repeats[**lag] > repeats[season] + STRONGER);
    // Of a season and its multiples the first that is about as strong.
    let most = longer.clone().map(|lag| repeats[*lag]).fold(0.0, f64::max);
    let longer = longer.copied().find(|lag| repeats[*lag] + STRONGER > most);
    std::iter::once(season).chain(longer).map(|lag| exactly(&repeats, lag)).collect()
}

/// The length of a season more exactly, by the peaks at two, four and more times its lag.
fn exactly(repeats: &[f64], lag: usize) -> usize {
    let (around, mut at, mut count) = (1 + lag / 8, lag, 1);
    while 2 * at + around < repeats.len() {
        let near = 2 * at - around..=2 * at + around;
        at = near.max_by(|one, other| repeats[*one].total_cmp(&repeats[*other])).unwrap_or(2 * at);
        count *= 2;
    }
    (2 * at + count) / (2 * count)
}

/// What is left of the values without the straight line through them.
fn without_trend(values: &[f64]) -> Vec<f64> {
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

/// In mean absolute deviations from the mean, what is far out held; a gap is the mean.
fn standard(values: &[f64]) -> Vec<f64> {
    let known = || values.iter().filter(|value| !value.is_nan());
    let count = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / count;
    let deviation = (known().map(|value| (value - mean).abs()).sum::<f64>() / count).max(f64::MIN_POSITIVE);
    let scaled = |value: &f64| if value.is_nan() { 0.0 } else { ((value - mean) / deviation).clamp(-CLIP, CLIP) };
    values.iter().map(scaled).collect()
}

/// The autocorrelation at a lag, of standardised values.
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

    fn wave(step: u32, length: f64) -> f64 {
        (f64::from(step) / length * std::f64::consts::TAU).sin()
    }

    #[test]
    fn a_season_is_found_with_noise_trend_gaps_and_spikes() {
        for length in [7, 24, 96, 288] {
            let value = |step: u32| match step % 97 {
                5 => f64::NAN,
                _ if noise(step + 100_000) > 0.49 => 50.0,
                _ => wave(step, f64::from(length)) + noise(step) + 0.002 * f64::from(step),
            };
            let values: Vec<f64> = (0..4000).map(value).collect();
            assert_eq!(seasons(&values, 2000).first(), Some(&(length as usize)), "{length}");
        }
    }

    #[test]
    fn values_are_laid_out_by_their_slots() {
        let laid_out = values_on_grid([(7, 1.0), (4, 2.0), (7, 3.0), (5, 4.0)]);
        assert!(laid_out[2].is_nan() && [laid_out[0], laid_out[1], laid_out[3]] == [2.0, 4.0, 3.0], "{laid_out:?}");
        assert_eq!(values_on_grid([(0, 1.0), (1_000_000, 2.0)]).len(), NEWEST);
        assert!(values_on_grid([]).is_empty());
    }

    #[test]
    fn a_week_is_found_beside_its_days() {
        let value = |step: u32| {
            let weekend = step / 24 % 7 >= 5;
            wave(step, 24.0) * if weekend { 0.3 } else { 1.0 } - if weekend { 1.0 } else { 0.0 } + 0.3 * noise(step)
        };
        assert_eq!(seasons(&(0..4000).map(value).collect::<Vec<_>>(), 400), [24, 168]);
    }

    #[test]
    fn what_has_no_season_shows_none() {
        let walk: Vec<f64> = (0..6000)
            .scan(0.0, |at, step| {
                *at += noise(step);
                Some(*at)
            })
            .collect();
        let white: Vec<f64> = (0..6000).map(noise).collect();
        for values in [walk, white, vec![3.0; 500], vec![f64::NAN; 500], Vec::new(), vec![1.0]] {
            assert!(seasons(&values, 2000).is_empty());
        }
    }
}
