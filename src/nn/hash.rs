//! Hashes that are stable across builds and machines, for fingerprints that are stored.

/// 64-bit FNV-1a (Fowler, Noll, Vo; RFC 9923). Rust's own hashers make no promise across releases.
pub(crate) fn fnv_1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): numbers that differ in few bits become unrelated.
pub(crate) fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number for each seed, the first that SplitMix64 draws from it.
pub(crate) fn mixed_seed(seed: u64) -> u64 {
    mixed(seed.wrapping_add(0x9e37_79b9_7f4a_7c15))
}
