//! Vectors of sixteen lanes on x86-64: one AVX-512 register, or two AVX2 registers with fused multiply-add.

use std::arch::x86_64::*;

use super::lanes::Lanes;

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

/// Two 256-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256, __m256);

// SAFETY, for every block of this file: the caller of a method of `Lanes` guarantees that the CPU supports the
// instructions and that pointers are valid for sixteen values; none of the instructions needs an alignment.

/// Methods of two operands, each one intrinsic per register.
macro_rules! binary_methods {
    (512: $($name:ident = $intrinsic:ident),*) => {
        $(
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        )*
    };
    (256: $($name:ident = $intrinsic:ident),*) => {
        $(
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                unsafe { Self($intrinsic(self.0, other.0), $intrinsic(self.1, other.1)) }
            }
        )*
    };
}

impl Lanes for Avx512 {
    const MAX_COLUMNS: usize = 4;

    binary_methods!(512: subtract = _mm512_sub_ps, multiply = _mm512_mul_ps, divide = _mm512_div_ps,
        min = _mm512_min_ps, max = _mm512_max_ps);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    unsafe fn add_to_exponent(self, power: Self) -> Self {
        unsafe {
            let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(power.0));
            Self(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), power)))
        }
    }
}

impl Lanes for Avx2 {
    const MAX_COLUMNS: usize = 1;

    binary_methods!(256: subtract = _mm256_sub_ps, multiply = _mm256_mul_ps, divide = _mm256_div_ps,
        min = _mm256_min_ps, max = _mm256_max_ps);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, term.0), _mm256_fmadd_ps(self.1, factor.1, term.1)) }
    }

    #[inline(always)]
    unsafe fn add_to_exponent(self, power: Self) -> Self {
        unsafe {
            let half = |value, power| {
                let power = _mm256_slli_epi32::<23>(_mm256_castps_si256(power));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), power))
            };
            Self(half(self.0, power.0), half(self.1, power.1))
        }
    }
}
