//! Fast elementary functions that give the same bits on every machine, independent of its mathematical library.

use std::f32::consts::{LN_2, LOG2_E, TAU};

/// `sin(2π turn)` for `turn` in `0..=1.5`; absolute error below 5e-6.
pub(crate) fn sine(turn: f32) -> f32 {
    let centred = if turn >= 0.5 { turn - 1.0 } else { turn };
    // Fold to a quarter turn around zero, where a short Taylor series is accurate.
    let folded = if centred > 0.25 {
        0.5 - centred
    } else if centred < -0.25 {
        -0.5 - centred
    } else {
        centred
    };
    let x = folded * TAU;
    let square = x * x;
    x * (1.0 + square * (-1.0 / 6.0 + square * (1.0 / 120.0 + square * (-1.0 / 5040.0 + square / 362_880.0))))
}

/// Natural logarithm of a normal number `x >= 1`; absolute error below 2e-6 times the result, plus 2e-6.
#[inline(always)]
pub(crate) fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = 1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0 + square / 9.0)));
    exponent as f32 * LN_2 + 2.0 * ratio * series
}

/// `e^x` for `x <= 0`; relative error below 1e-5, zero from `x = -87` down.
#[inline(always)]
pub(crate) fn exponential(x: f32) -> f32 {
    let scaled = x.max(-126.0 / LOG2_E) * LOG2_E;
    let whole = (scaled - 0.5) as i32; // rounds to nearest, since `scaled` is not positive
    let rest = (scaled - whole as f32) * LN_2;
    let series = 1.0
        + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest / 720.0)))));
    let power = f32::from_bits(((whole + 127) as u32) << 23);
    if x < -87.0 { 0.0 } else { series * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_matches_the_standard_library() {
        for step in 0..=1500 {
            let turn = step as f32 / 1000.0;
            let exact = (f64::from(turn) * std::f64::consts::TAU).sin();
            assert!((f64::from(sine(turn)) - exact).abs() < 5e-6, "{turn}");
        }
    }

    #[test]
    fn logarithm_matches_the_standard_library() {
        for x in [1.0_f32, 1.001, 1.5, 1.999, 2.0, 3.0, 1e3, 1e9, 1e30] {
            let exact = f64::from(x).ln();
            assert!((f64::from(logarithm(x)) - exact).abs() < 2e-6 * (1.0 + exact), "{x}");
        }
    }

    #[test]
    fn exponential_matches_the_standard_library() {
        for step in 0..8_700 {
            let x = -(step as f32) / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exponential(x)) - exact).abs() <= 1e-5 * exact, "{x}");
        }
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
        assert_eq!(exponential(0.0), 1.0);
    }
}
