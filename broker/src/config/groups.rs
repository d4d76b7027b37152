//! How groups and what they commit are kept: the settings `group.*` and `offset(s).*` of the broker.

use super::consumer_groups::Bounds;
use crate::shard::wishes::TopicWish;
use millrace_logic::group::Settings;
use millrace_logic::meta::names::CONSUMER_OFFSETS_TOPIC;

/// How groups are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// What their coordinators go by.
    pub settings: Settings,
    /// What consumer groups may be given.
    pub consumer_bounds: Bounds,
    /// `offsets.topic.num.partitions`: of the topic when it is made.
    pub partitions: i32,
    /// `offsets.topic.segment.bytes`: of the topic when it is made.
    pub segment_bytes: i32,
}

impl Default for Groups {
    fn default() -> Self {
        let (settings, consumer_bounds) = (Settings::default(), Bounds::default());
        Self { settings, consumer_bounds, partitions: 50, segment_bytes: 100 << 20 }
    }
}

impl Groups {
    /// The topic that holds what coordinators decide, as it is made when first needed.
    pub fn topic(&self) -> TopicWish {
        let set = |name: &str, value: String| (name.to_owned(), Some(value));
        TopicWish {
            num_partitions: self.partitions,
            configs: vec![
                set("cleanup.policy", "compact".into()),
                set("compression.type", "producer".into()),
                set("segment.bytes", self.segment_bytes.to_string()),
            ],
            ..TopicWish::with_defaults(CONSUMER_OFFSETS_TOPIC)
        }
    }
}
