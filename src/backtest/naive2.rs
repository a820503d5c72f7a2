//! Naive2, the benchmark of the M4 competition (Makridakis, Spiliotis, Assimakopoulos, International Journal of
//! Forecasting 2020): the last seasonally adjusted value, multiplied by the seasonal factor of the target. It follows
//! the competition's R code: a test of the autocorrelation (`acf`) at 90 %, and multiplicative `decompose`.

/// Critical value of the two-sided test at 90 %.
const CRITICAL_VALUE: f64 = 1.645;

/// The forecast of the `horizon` steps after `history`, which has at least one value.
pub(super) fn naive2(history: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    let last = history.last().copied().unwrap_or(f64::NAN);
    match is_seasonal(history, period).then(|| seasonal_factors(history, period)).flatten() {
        None => vec![last; horizon],
        Some(factors) => {
            let factor = |step: usize| factors[step % period];
            let adjusted = last / factor(history.len() - 1);
            (0..horizon).map(|ahead| adjusted * factor(history.len() + ahead)).collect()
        }
    }
}

/// Mean absolute error of the seasonal naive forecast one period ahead within `history`; `None` if it is too short.
pub(super) fn naive_error(history: &[f64], period: usize) -> Option<f64> {
    let errors = history.iter().skip(period).zip(history).map(|(value, before)| (value - before).abs());
    let count = history.len().saturating_sub(period);
    (count > 0).then(|| errors.sum::<f64>() / count as f64)
}

/// Whether the autocorrelation at `period` is significant (Bartlett's formula).
fn is_seasonal(history: &[f64], period: usize) -> bool {
    // R's `acf` stops at this lag. A longer period counts as not seasonal.
    let max_lag = (10.0 * (history.len() as f64).log10()).floor();
    if period < 2 || history.len() < 3 * period || period as f64 > max_lag {
        return false;
    }
    let mean = history.iter().sum::<f64>() / history.len() as f64;
    let product = |lag: usize| -> f64 {
        history.iter().skip(lag).zip(history).map(|(value, before)| (value - mean) * (before - mean)).sum()
    };
    let variance = product(0);
    let correlation = |lag: usize| product(lag) / variance;
    let before: f64 = (1..period).map(|lag| correlation(lag).powi(2)).sum();
    // A constant series gives NaN, which compares as not larger.
    correlation(period).abs() > CRITICAL_VALUE * ((1.0 + 2.0 * before) / history.len() as f64).sqrt()
}

/// The seasonal factors by classical multiplicative decomposition, starting with the first step. `None` if one is not a
/// positive number, as for a series around zero.
fn seasonal_factors(history: &[f64], period: usize) -> Option<Vec<f64>> {
    let half = period / 2;
    let trend = |step: usize| {
        let window = &history[step - half..=step + half];
        let ends = if period.is_multiple_of(2) { 0.5 * (window[0] + window[2 * half]) } else { 0.0 };
        let inner = if period.is_multiple_of(2) { &window[1..2 * half] } else { window };
        (ends + inner.iter().sum::<f64>()) / period as f64
    };
    let mut sums = vec![(0.0, 0.0); period];
    for step in half..history.len() - half {
        let (sum, count) = &mut sums[step % period];
        *sum += history[step] / trend(step);
        *count += 1.0;
    }
    let means: Vec<f64> = sums.into_iter().map(|(sum, count)| sum / count).collect();
    let mean = means.iter().sum::<f64>() / period as f64;
    let factors: Vec<f64> = means.into_iter().map(|factor| factor / mean).collect();
    factors.iter().all(|factor| *factor > 0.0 && factor.is_finite()).then_some(factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        }
    }

    #[test]
    fn without_a_season_it_is_the_last_value() {
        assert_close(&naive2(&[3.0, 1.0, 4.0], 1, 2), &[4.0, 4.0]);
        // Two periods are too few to test, and a constant series has no season.
        assert_close(&naive2(&[1.0, 3.0].repeat(2), 2, 3), &[3.0; 3]);
        assert_close(&naive2(&[2.0; 40], 4, 2), &[2.0, 2.0]);
        // Irregular values.
        assert_close(&naive2(&[5.0, 6.0, 9.0, 4.0, 4.0, 8.0, 5.0, 5.0, 7.0, 9.0, 5.0, 4.0], 4, 1), &[4.0]);
    }

    #[test]
    fn the_season_is_removed_and_applied_again() {
        // The moving average over a whole season is 2: factors 0.5, 1.5, exactly.
        assert_close(&naive2(&[1.0, 3.0].repeat(20), 2, 3), &[1.0, 3.0, 1.0]);
        // The history ends within a season, and the period is odd.
        let history: Vec<f64> = [3.0, 6.0, 9.0].repeat(12).into_iter().chain([3.0, 6.0]).collect();
        assert_close(&naive2(&history, 3, 4), &[9.0, 3.0, 6.0, 9.0]);
        // By hand, for 1, 3, 1, 3, …, 1, 4: there is no trend at the last step, so its factor does not count.
        let mut history = [1.0, 3.0].repeat(20);
        history.pop();
        history.push(4.0);
        // At step 38 the trend is (1.5 + 1 + 2) / 2 = 2.25: the mean of the even factors, of steps 2 to 38, is
        // (18 * 0.5 + 1 / 2.25) / 19, that of the odd ones 1.5.
        let even = (18.0 * 0.5 + 1.0 / 2.25) / 19.0;
        let sum = (even + 1.5) / 2.0;
        let adjusted = 4.0 / (1.5 / sum);
        assert_close(&naive2(&history, 2, 2), &[adjusted * even / sum, 4.0]);
    }

    #[test]
    fn the_naive_error_equals_that_by_hand() {
        assert_eq!(naive_error(&[1.0, 2.0, 4.0, 8.0], 1), Some(7.0 / 3.0));
        assert_eq!(naive_error(&[1.0, 2.0, 4.0, 8.0], 2), Some(4.5));
        assert_eq!(naive_error(&[1.0, 2.0], 2), None);
    }
}
