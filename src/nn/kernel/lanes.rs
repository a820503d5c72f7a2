//! Sixteen `f32` numbers side by side, whatever the processor calls them.

/// Numbers side by side in one [`Line`] or one vector.
pub const LANES: usize = 16;

/// Sixteen numbers at a cache line's alignment: what every buffer of the kernels is made of, so that no vector load
/// straddles two cache lines.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Line(pub [f32; LANES]);

impl Line {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// The numbers of `lines`, one after the other.
pub fn flat(lines: &[Line]) -> &[f32] {
    // SAFETY: a `Line` is exactly sixteen `f32` without padding (`repr(C)`, 64 bytes at an alignment of 64), and the
    // result borrows `lines`.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// The numbers of `lines`, one after the other, to write.
pub fn flat_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `flat`; every bit pattern is an `f32`, and the result borrows `lines` mutably.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
}

/// The arithmetic that the kernels are written in. Every operation is one correctly rounded IEEE 754 operation per
/// lane, so that all implementations give the same bits.
///
/// # Safety
/// Every method may only be called on a processor that has the implementation's instructions; pointers must be good
/// for sixteen `f32` numbers.
pub trait Lanes: Copy {
    /// How many vectors wide the blocks of [`super::dense`] may be before the registers run out.
    const WIDEST: usize;

    /// The same number in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// Reads sixteen numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes sixteen numbers.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + term`, rounded once.
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self;
    /// `self - other`.
    unsafe fn subtract(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn multiply(self, other: Self) -> Self;
    /// `self / other`.
    unsafe fn divide(self, other: Self) -> Self;
    /// `self` where it is less than `other`, otherwise (also where one is NaN) `other`.
    unsafe fn least(self, other: Self) -> Self;
    /// `self` where it is greater than `other`, otherwise (also where one is NaN) `other`.
    unsafe fn most(self, other: Self) -> Self;
    /// Adds the lowest nine bits of `power`'s form, a whole number, to the exponent of `self`.
    unsafe fn raise(self, power: Self) -> Self;
}

/// Plain Rust: any processor. Fast where the compiler knows a fused multiply-add (as on every 64-bit Arm), right
/// everywhere.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    const WIDEST: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises sixteen numbers.
        Self(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises room for sixteen numbers.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].mul_add(factor.0[lane], term.0[lane])))
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        self.each(other, |left, right| left - right)
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        self.each(other, |left, right| left * right)
    }

    #[inline(always)]
    unsafe fn divide(self, other: Self) -> Self {
        self.each(other, |left, right| left / right)
    }

    #[inline(always)]
    unsafe fn least(self, other: Self) -> Self {
        self.each(other, |left, right| if left < right { left } else { right })
    }

    #[inline(always)]
    unsafe fn most(self, other: Self) -> Self {
        self.each(other, |left, right| if left > right { left } else { right })
    }

    #[inline(always)]
    unsafe fn raise(self, power: Self) -> Self {
        self.each(power, |value, power| f32::from_bits(value.to_bits().wrapping_add(power.to_bits() << 23)))
    }
}
