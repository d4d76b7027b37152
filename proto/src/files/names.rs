//! What the files and directories are called.

/// Identity of the data directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// Format version of the data directory, ours.
pub const DATA_FORMAT: &str = "millrace.format";
/// Held locked while a broker runs.
pub const LOCK: &str = ".lock";
/// Left by a clean stop.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What was durable, per partition.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// High watermarks, per partition.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Log start offsets that are no segment's base, per partition.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// How far compaction came, per partition.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Where each leader epoch began; one in each partition's directory.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Topic id; one in each partition's directory.
pub const PARTITION_METADATA: &str = "partition.metadata";

const JOURNAL_PREFIX: &str = "millrace.journal-";

/// The name of a shard's journal, the `number`th of this directory.
pub fn journal_file_name(number: u64, shard: usize) -> String {
    format!("{JOURNAL_PREFIX}{number}-{shard}")
}

/// Number and shard in the name of a journal; `None` when it is no such name.
pub fn parse_journal_file_name(name: &str) -> Option<(u64, usize)> {
    let (number, shard) = name.strip_prefix(JOURNAL_PREFIX)?.split_once('-')?;
    let parsed = (number.parse().ok()?, shard.parse().ok()?);
    (journal_file_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// Suffix of a segment.
pub const LOG_SUFFIX: &str = ".log";
/// Suffix of a segment's offset index.
pub const INDEX_SUFFIX: &str = ".index";
/// Suffix of a segment's time index.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Suffix of Kafka's producer snapshot.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// Suffix of our companion of the producer snapshot.
pub const RECENT_BATCHES_SUFFIX: &str = ".batches";

/// The name of a segment, index or snapshot: its offset in 20 digits, and the suffix.
pub fn offset_file_name(offset: i64, suffix: &str) -> String {
    format!("{offset:020}{suffix}")
}

/// The offset in the name of a file with that suffix; `None` when it is no such name.
pub fn parse_offset_file_name(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The name of a partition's directory.
pub fn partition_dir_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Topic and partition in the name of a directory; `None` when it is no partition's (one that is being deleted, for example).
pub fn parse_partition_dir_name(name: &str) -> Option<(&str, i32)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let partition: i32 = digits.parse().ok()?;
    // Exactly as it would be written: no sign, no leading zeros.
    let canonical = partition >= 0 && partition_dir_name(topic, partition) == name;
    (canonical && !topic.is_empty()).then_some((topic, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_take_twenty_digits() {
        assert_eq!(offset_file_name(42, LOG_SUFFIX), "00000000000000000042.log");
        for offset in [0, 1, i64::MAX] {
            assert_eq!(
                parse_offset_file_name(&offset_file_name(offset, INDEX_SUFFIX), INDEX_SUFFIX),
                Some(offset)
            );
        }
        for name in [
            "42.log",
            "0000000000000000004x.log",
            "+0000000000000000042.log",
            "99999999999999999999.log",
            ".log",
        ] {
            assert_eq!(parse_offset_file_name(name, LOG_SUFFIX), None, "{name}");
        }
        assert_eq!(parse_offset_file_name("00000000000000000042.index", LOG_SUFFIX), None);
    }

    #[test]
    fn partition_directories_are_read_from_the_right() {
        assert_eq!(parse_partition_dir_name("my-topic-12"), Some(("my-topic", 12)));
        assert_eq!(parse_partition_dir_name("t--1"), Some(("t-", 1)));
        for name in
            ["topic", "-1", "topic-", "topic-01", "topic-+1", "topic-99999999999", "topic-0.0123-delete"]
        {
            assert_eq!(parse_partition_dir_name(name), None, "{name}");
        }
    }
}
