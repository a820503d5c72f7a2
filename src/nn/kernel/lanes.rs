//! A vector of sixteen `f32` lanes, independent of the instruction set.

/// Number of `f32` values in one [`Line`] or one vector: those of an AVX-512 register, which is also a cache line.
pub const LANES: usize = 16;

/// The next multiple of 16: the length of a vector of `size` values in a kernel's buffers.
pub const fn padded(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// Sixteen values aligned to a cache line. Every buffer of the kernels is made of lines, so that no vector load crosses
/// a cache-line boundary.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Line(pub [f32; LANES]);

impl Line {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// The values of `lines` as one slice.
pub fn flat(lines: &[Line]) -> &[f32] {
    // SAFETY: a `Line` is exactly sixteen `f32` without padding (`repr(C)`, 64 bytes, aligned to 64), and the result
    // borrows `lines`.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// The values of `lines` as one mutable slice.
pub fn flat_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `flat`; every bit pattern is an `f32`, and the result borrows `lines` mutably.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
}

/// The arithmetic of the kernels on vectors of sixteen lanes. Every operation is one correctly rounded IEEE 754
/// operation per lane, so that all implementations give the same bits.
///
/// # Safety
/// Every method requires a CPU that supports the implementation's instructions; pointers must be valid for sixteen
/// `f32` values.
pub trait Lanes: Copy {
    /// Vectors per row that the blocks of [`super::dense`] may have before the registers run out.
    const MAX_COLUMNS: usize;

    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// Reads sixteen values.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes sixteen values.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + term`, rounded once.
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self;
    /// `self - other`.
    unsafe fn subtract(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn multiply(self, other: Self) -> Self;
    /// `self / other`.
    unsafe fn divide(self, other: Self) -> Self;
    /// `self` where it is less than `other`; otherwise, also where one is NaN, `other`.
    unsafe fn min(self, other: Self) -> Self;
    /// `self` where it is greater than `other`; otherwise, also where one is NaN, `other`.
    unsafe fn max(self, other: Self) -> Self;
    /// Adds the lowest nine bits of `power`, read as an integer, to sign and exponent of `self`.
    unsafe fn add_to_exponent(self, power: Self) -> Self;
}

/// Portable Rust for any CPU. It is fast where the target has a fused multiply-add instruction, as every 64-bit Arm
/// has.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

/// Methods of two operands, lane by lane.
macro_rules! lane_methods {
    ($($name:ident = $operation:expr),*) => {
        $(
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| $operation(self.0[lane], other.0[lane])))
            }
        )*
    };
}

impl Lanes for Portable {
    const MAX_COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees sixteen values.
        Self(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees room for sixteen values.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].mul_add(factor.0[lane], term.0[lane])))
    }

    lane_methods!(
        subtract = |left: f32, right: f32| left - right,
        multiply = |left: f32, right: f32| left * right,
        divide = |left: f32, right: f32| left / right,
        min = |left: f32, right: f32| if left < right { left } else { right },
        max = |left: f32, right: f32| if left > right { left } else { right },
        add_to_exponent = |value: f32, power: f32| f32::from_bits(value.to_bits().wrapping_add(power.to_bits() << 23))
    );
}
