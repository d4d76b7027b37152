//! How compaction goes about its work: the settings `log.cleaner.*` of the broker, as its file has them and as they were changed while
//! it runs.

use super::registry::{self, DYNAMIC_FIELDS, Draft, Lands};
use super::{Config, topic};
use millrace_logic::meta::Image;
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

impl Config {
    /// How compaction goes about its work now.
    pub fn cleaner_now(&self, image: &Image) -> Cleaner {
        let mut draft = Draft::default();
        draft.config.cleaner = self.cleaner.clone();
        for name in DYNAMIC_FIELDS {
            let given = topic::broker_setting(image, self.node_id, name);
            if let (Some(value), Some(setting)) = (given, registry::find(name))
                && let Lands::Field(set, _) = setting.lands
            {
                // It was checked before it was stored; if it no longer passes, what the file says holds.
                let _ = set(&mut draft, value);
            }
        }
        draft.config.cleaner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_logic::meta::{ConfigRecord, ConfigResource, MetadataRecord, ResourceKind};

    fn given(name: &str, value: &str) -> MetadataRecord {
        let resource = ConfigResource { kind: ResourceKind::Broker, name: String::new() };
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        MetadataRecord::Config(ConfigRecord { resource, name, value })
    }

    #[test]
    fn what_was_given_while_running_counts() {
        let config = Config::default();
        assert_eq!(config.cleaner_now(&Image::default()), Cleaner::default());
        let records =
            [given("log.cleaner.backoff.ms", "20"), given("log.cleaner.io.buffer.size", "no number")];
        let image = Image::default().apply(&records, Default::default()).expect("they fit");
        let now = config.cleaner_now(&image);
        assert_eq!(now, Cleaner { backoff: Duration::from_millis(20), ..Cleaner::default() });
    }
}
