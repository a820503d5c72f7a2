//! Conversion between `f32` and bfloat16, which has 8 bits of precision.

/// Rounds to the nearest bfloat16 and returns its bits.
#[inline]
pub(super) fn to_bf16(value: f32) -> u16 {
    (value.to_bits().saturating_add(0x8000) >> 16) as u16
}

/// The value of a bfloat16 with these bits.
#[inline]
pub(super) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
