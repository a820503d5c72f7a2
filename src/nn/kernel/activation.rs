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
