//! A hash that is stable across builds and machines, for fingerprints that are stored.

/// 64-bit FNV-1a (Fowler, Noll, Vo; RFC 9923). Rust's own hashers make no promise across releases.
pub(crate) fn fnv_1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}
