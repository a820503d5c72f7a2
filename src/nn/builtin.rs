//! The weights that the binary brings, pre-trained on generated and on real series by `scripts/pretrain`: they forecast
//! a series from its first observation on.

use super::hash::fnv_1a;

/// Their file.
pub static FILE: &[u8] = include_bytes!("builtin.safetensors");

/// Units of their layer.
pub const HIDDEN: usize = 64;
/// Units of their query decoder.
pub const DECODER: usize = 48;

/// A hash of the file: states that other weights have made differ.
pub fn fingerprint() -> u64 {
    fnv_1a(FILE.iter().copied())
}
