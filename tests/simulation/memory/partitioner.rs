//! Kafka's default partitioner for keyed records.

/// The partition of a key: its murmur2 hash modulo the number of partitions; 0 without a key.
pub fn partition_of(key: Option<&[u8]>, partitions: i32) -> i32 {
    key.map_or(0, |key| murmur2(key) & i32::MAX) % partitions
}

/// Kafka's key hash (`org.apache.kafka.common.utils.Utils.murmur2`, after Austin Appleby's MurmurHash2).
#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "the hash is defined on wrapping bits")]
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let chunks = data.chunks_exact(4);
    let tail = chunks.remainder();
    for chunk in chunks {
        let mut k = chunk.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        hash ^= tail.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_hash_as_in_kafkas_java_client() {
        // The vectors of Kafka's UtilsTest.testMurmur2.
        let vectors: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(super::murmur2(key), hash);
        }
    }
}
