//! Which core of a broker owns a partition. Computed, never stored: the number of shards may change between starts.

use uuid::Uuid;

/// The shard, below `shards`, that owns a partition. Partitions of one topic are dealt out evenly; topics start at different shards.
///
/// # Panics
/// When there are no shards.
pub fn shard_of(topic_id: Uuid, partition: i32, shards: usize) -> usize {
    assert!(shards > 0, "a broker has at least one shard");
    let shards = shards as u128;
    // Both halves count: random ids differ anywhere, made ones often only at one end.
    let bits = topic_id.as_u128();
    let start = (bits >> 64) ^ (bits & u128::from(u64::MAX));
    ((start + u128::from(partition as u32)) % shards) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_are_dealt_out_evenly() {
        for shards in 1..=7 {
            let mut owned = vec![0; shards];
            for partition in 0..(shards as i32 * 3) {
                owned[shard_of(Uuid::from_u128(0xfeed_beef), partition, shards)] += 1;
            }
            assert_eq!(owned, vec![3; shards]);
        }
    }

    #[test]
    fn single_partition_topics_do_not_all_share_a_shard() {
        let mut owned = [0; 4];
        for id in 0..400u128 {
            owned[shard_of(
                Uuid::from_u128(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
                0,
                4,
            )] += 1;
        }
        assert!(owned.iter().all(|&count| count > 50), "{owned:?}");
    }
}
