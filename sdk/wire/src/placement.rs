//! Which partition a key belongs to, and the hash that stands for an ordering key.

use crate::id::PartitionId;

/// The XXH3-64 (seed 0) of an ordering key's bytes; 0 stands for "no key".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderingKey(u64);

impl OrderingKey {
    /// No ordering key: the record has no order.
    pub const NONE: Self = Self(0);

    /// Hashes a key's bytes; a hash that happens to be 0 becomes 1.
    #[must_use]
    pub fn hash(key: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key).max(1))
    }

    /// Wraps a stored hash.
    #[must_use]
    pub const fn from_stored(hash: u64) -> Self {
        Self(hash)
    }

    /// The hash.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The partition of this key; `None` without a key.
    #[must_use]
    pub fn partition(self, partitions: u32) -> Option<PartitionId> {
        let hash = (self != Self::NONE).then_some(self.0)?;
        Some(PartitionId::new(
            (hash % u64::from(partitions.max(1))) as u32,
        ))
    }
}

/// The partition that Kafka's default partitioner gives a key: murmur2, sign bit cleared.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> PartitionId {
    PartitionId::new((murmur2(key) & 0x7fff_ffff) % partitions.max(1))
}

/// murmur2 with the seed of Kafka's `Utils.murmur2`; a public-domain hash by Austin Appleby.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word
            .iter()
            .rev()
            .fold(0_u32, |k, &byte| k << 8 | u32::from(byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        hash ^= tail
            .iter()
            .rev()
            .fold(0_u32, |k, &byte| k << 8 | u32::from(byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}
