//! DescribeLogDirs (35): the broker's log directories, and how large each replica in them is (KIP-113).
//!
//! Versions: 2 flexible · 3 error of the whole request · 4 size and space of the volume (KIP-827) · 5 cordoned
//! directories (KIP-1066).

use crate::kafka::error::ErrorCode;

message! {
    /// Which partitions to tell of.
    pub struct DescribeLogDirsRequest<'a>(versions 1..=5, flexible 2..) {
        /// By topic; `None` for all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>> = Some(Vec::new());
    }

    /// Partitions of one topic.
    pub struct DescribableLogDirTopic<'a> {
        /// Topic name.
        topic: &'a str;
        /// Each partition.
        partitions: Vec<i32>;
    }

    /// The directories.
    pub struct DescribeLogDirsResponse<'a>(versions 1..=5, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why there is no answer, if there is none.
        error_code: ErrorCode, versions 3..;
        /// Each directory.
        results: Vec<DescribeLogDirsResult<'a>>;
    }

    /// One directory.
    pub struct DescribeLogDirsResult<'a> {
        /// Why it is offline, if it is.
        error_code: ErrorCode;
        /// Its absolute path.
        log_dir: &'a str;
        /// What is in it, by topic.
        topics: Vec<DescribeLogDirsTopic<'a>>;
        /// Size of the volume that it is on, in bytes; -1 when not known.
        total_bytes: i64 = -1, versions 4..;
        /// Space left on that volume, in bytes; -1 when not known.
        usable_bytes: i64 = -1, versions 4..;
        /// No new replicas are placed there.
        is_cordoned: bool, versions 5..;
    }

    /// Partitions of one topic.
    pub struct DescribeLogDirsTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<DescribeLogDirsPartition>;
    }

    /// One partition.
    pub struct DescribeLogDirsPartition {
        /// Partition.
        partition_index: i32;
        /// Bytes of its segments.
        partition_size: i64;
        /// How far its end is behind the high watermark, or a future replica behind the current one.
        offset_lag: i64;
        /// It is on its way to this directory.
        is_future_key: bool;
    }
}
