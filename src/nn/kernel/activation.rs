//! Activation functions as polynomials and their ratios, in operations that round the same on every instruction set.
#![expect(unsafe_op_in_unsafe_fn, reason = "the contract of each function covers its whole body")]

use super::lanes::Lanes;

/// Absolute value beyond which the approximation of tanh is one to the last bit.
const SATURATED: f32 = 7.905_311;

/// Coefficients of the odd numerator (degree 13) of Eigen's and XLA's `tanh`, the lowest degree first.
const NUMERATOR: [f32; 7] =
    [4.893_524_6e-3, 6.372_619_3e-4, 1.485_722_4e-5, 5.122_297_1e-8, -8.604_672e-11, 2.000_188e-13, -2.760_768_5e-16];

/// Coefficients of the even denominator (degree 6), the lowest degree first.
const DENOMINATOR: [f32; 4] = [4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6];

/// Hyperbolic tangent: the rational approximation of Eigen and XLA (degree 13 over 6), within a few units in the last
/// place. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn tanh<L: Lanes>(value: L) -> L {
    let value = L::splat(-SATURATED).max(L::splat(SATURATED).min(value));
    let square = value.multiply(value);
    value.multiply(polynomial(square, NUMERATOR)).divide(polynomial(square, DENOMINATOR))
}

/// Logistic function: `0.5 + 0.5 tanh(x / 2)`.
#[inline(always)]
pub(super) unsafe fn sigmoid<L: Lanes>(value: L) -> L {
    let half = L::splat(0.5);
    half.multiply_add(tanh(value.multiply(half)), half)
}

/// `1.5 * 2^23`: adding it rounds a value to the nearest integer and leaves that integer in the lowest bits of the sum.
const ROUNDING: f32 = 12_582_912.0;

/// `ln 2` as a sum of two parts. The first one ends in zero bits, so that its integer multiples are exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// Coefficients of `e^r` for `|r| <= ln 2 / 2` without the first two terms, the lowest degree first (Cephes `expf`).
const EXPONENTIAL: [f32; 6] = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_2e-3, 1.987_569_1e-4];

/// `e^x` for `x <= 0`, within a few units in the last place; `e^-87` below -87. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn exponential<L: Lanes>(value: L) -> L {
    let value = L::splat(-87.0).max(value);
    let whole = value.multiply_add(L::splat(std::f32::consts::LOG2_E), L::splat(ROUNDING));
    let power = whole.subtract(L::splat(ROUNDING));
    let rest = power.multiply_add(L::splat(-LN_2.1), power.multiply_add(L::splat(-LN_2.0), value));
    let square = rest.multiply(rest);
    let sum = polynomial(rest, EXPONENTIAL).multiply_add(square, rest);
    sum.subtract(L::splat(-1.0)).add_to_exponent(whole)
}

/// Logistic function with a small relative error everywhere, which is never zero: `p / (p + q)` with `p = e^min(x, 0)`
/// and `q = e^min(-x, 0)`.
#[inline(always)]
pub(super) unsafe fn logistic<L: Lanes>(value: L) -> L {
    let zero = L::splat(0.0);
    let (with, without) = (exponential(zero.min(value)), exponential(zero.min(zero.subtract(value))));
    with.divide(with.multiply_add(L::splat(1.0), without))
}

/// Coefficients of `ln((1 + r) / (1 - r)) / r` in `r^2`, the lowest degree first.
const LOGARITHM: [f32; 6] = [2.0, 2.0 / 3.0, 0.4, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0];

/// `ln(1 + e^x)`, within a few units in the last place of the larger of `x` and 1; positive everywhere.
#[inline(always)]
pub(super) unsafe fn softplus<L: Lanes>(value: L) -> L {
    let zero = L::splat(0.0);
    let small = exponential(zero.min(value).subtract(zero.max(value)));
    // ln(1 + e) is the logarithm of (1 + r) / (1 - r) with r = e / (2 + e), at most a third.
    let ratio = small.divide(small.subtract(L::splat(-2.0)));
    ratio.multiply_add(polynomial(ratio.multiply(ratio), LOGARITHM), zero.max(value))
}

/// Activation of the minimal cells' candidate: `v + 0.5` for `v >= 0`, the logistic function below. It is positive and
/// its derivative is not zero (Feng et al. 2024, arXiv:2410.01201, appendix B).
#[inline(always)]
pub(super) unsafe fn positive<L: Lanes>(value: L) -> L {
    let zero = L::splat(0.0);
    // One of the two parts is always exactly the value at zero, which is a half.
    let below = sigmoid(zero.min(value));
    below.subtract(zero.subtract(zero.max(value)))
}

/// A polynomial by Horner's rule; coefficients in ascending order of degree.
#[inline(always)]
unsafe fn polynomial<L: Lanes, const N: usize>(value: L, coefficients: [f32; N]) -> L {
    let mut sum = L::splat(coefficients[N - 1]);
    for coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum.multiply_add(value, L::splat(*coefficient));
    }
    sum
}
