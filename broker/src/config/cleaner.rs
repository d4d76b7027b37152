//! How compaction goes about its work: the settings `log.cleaner.*` of the broker.

use std::time::Duration;

/// How compaction goes about its work.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleaner {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.threads`; kept for whoever asks.
    pub threads: i32,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`, over all shards.
    pub key_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`.
    pub io_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, for each shard.
    pub bytes_per_second: f64,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self {
            enabled: true,
            threads: 1,
            backoff: Duration::from_secs(15),
            key_bytes: 128 << 20,
            load_factor: 0.9,
            io_bytes: 512 << 10,
            bytes_per_second: f64::MAX,
        }
    }
}
