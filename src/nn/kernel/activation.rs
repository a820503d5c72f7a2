//! The gates' functions, as ratios of polynomials: the same few rounded operations everywhere.

use super::lanes::Lanes;

/// Beyond this the ratio is one to the last bit.
const SATURATED: f32 = 7.905_311;

/// The odd numerator of degree 13, lowest first, of Eigen's and XLA's `tanh`.
const NUMERATOR: [f32; 7] =
    [4.893_524_6e-3, 6.372_619_3e-4, 1.485_722_4e-5, 5.122_297_1e-8, -8.604_672e-11, 2.000_188e-13, -2.760_768_5e-16];

/// The even denominator of degree 6, lowest first.
const DENOMINATOR: [f32; 4] = [4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6];

/// Hyperbolic tangent: Eigen's and XLA's rational approximation of degree 13 over 6, within a few units of the last
/// place. NaN stays NaN.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn tanh<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let value = L::splat(-SATURATED).most(L::splat(SATURATED).least(value));
        let square = value.multiply(value);
        value.multiply(polynomial(square, NUMERATOR)).divide(polynomial(square, DENOMINATOR))
    }
}

/// Logistic function: `0.5 + 0.5 tanh(x / 2)`.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn sigmoid<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let half = L::splat(0.5);
        half.multiply_add(tanh(value.multiply(half)), half)
    }
}

/// Rounds to the nearest whole number what it is added to, and leaves that number in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// `ln 2` in two parts, the first with zeros at its end, so that whole multiples of it are exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// `e^r` for `|r| <= ln 2 / 2`, lowest first, less its first two terms: Cephes' `expf`.
const EXPONENTIAL: [f32; 6] = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_2e-3, 1.987_569_1e-4];

/// `e^x` for `x <= 0`, within a few units of the last place; `e^-87` below -87. NaN stays NaN.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn exponential<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let value = L::splat(-87.0).most(value);
        let whole = value.multiply_add(L::splat(std::f32::consts::LOG2_E), L::splat(ROUNDING));
        let power = whole.subtract(L::splat(ROUNDING));
        let rest = power.multiply_add(L::splat(-LN_2.1), power.multiply_add(L::splat(-LN_2.0), value));
        let square = rest.multiply(rest);
        let sum = polynomial(rest, EXPONENTIAL).multiply_add(square, rest);
        sum.subtract(L::splat(-1.0)).raise(whole)
    }
}

/// Logistic function with a small relative error everywhere, and never zero: `p / (p + q)` with `p = e^min(x, 0)` and
/// `q = e^min(-x, 0)`.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn logistic<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let zero = L::splat(0.0);
        let (with, without) = (exponential(zero.least(value)), exponential(zero.least(zero.subtract(value))));
        with.divide(with.multiply_add(L::splat(1.0), without))
    }
}

/// What the minimal cells make of their candidate: `v + 0.5` for `v >= 0`, the logistic function below, so that it is
/// positive and has a slope everywhere (Feng et al. 2024, arXiv:2410.01201, appendix B).
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn positive<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let zero = L::splat(0.0);
        // One of the two parts is always exactly the value at zero: a half.
        let below = sigmoid(zero.least(value));
        below.subtract(zero.subtract(zero.most(value)))
    }
}

/// Horner's rule.
#[inline(always)]
unsafe fn polynomial<L: Lanes, const N: usize>(value: L, coefficients: [f32; N]) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe {
        let mut sum = L::splat(coefficients[N - 1]);
        for coefficient in coefficients[..N - 1].iter().rev() {
            sum = sum.multiply_add(value, L::splat(*coefficient));
        }
        sum
    }
}
