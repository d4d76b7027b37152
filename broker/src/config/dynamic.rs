//! The settings of the broker itself that may change while it runs: what its file says, with what it was given since.

use super::registry::{self, DYNAMIC_FIELDS, Draft, Lands};
use super::{Config, topic};
use millrace_logic::meta::Image;

impl Config {
    /// The configuration with what this broker, or else all brokers, were given while they run.
    pub fn now(&self, image: &Image) -> Config {
        let mut draft = Draft { config: self.clone(), ..Draft::default() };
        for name in DYNAMIC_FIELDS {
            let given = topic::broker_setting(image, self.node_id, name);
            if let (Some(value), Some(setting)) = (given, registry::find(name))
                && let Lands::Field(set, _) = setting.lands
            {
                // It was checked before it was stored; if it no longer passes, what the file says holds.
                let _ = set(&mut draft, value);
            }
        }
        draft.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cleaner;
    use millrace_logic::meta::{ConfigRecord, ConfigResource, MetadataRecord, ResourceKind};
    use std::time::Duration;

    fn given(name: &str, value: &str) -> MetadataRecord {
        let resource = ConfigResource { kind: ResourceKind::Broker, name: String::new() };
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        MetadataRecord::Config(ConfigRecord { resource, name, value })
    }

    #[test]
    fn what_was_given_while_running_counts() {
        let config = Config::default();
        assert_eq!(config.now(&Image::default()).cleaner, Cleaner::default());
        let records = [
            given("log.cleaner.backoff.ms", "20"),
            given("log.cleaner.io.buffer.size", "no number"),
            given("max.connections", "7"),
        ];
        let image = Image::default().apply(&records, Default::default()).expect("they fit");
        let now = config.now(&image).cleaner;
        assert_eq!(now, Cleaner { backoff: Duration::from_millis(20), ..Cleaner::default() });
        assert_eq!(config.now(&image).limits.connections, 7);
    }
}
