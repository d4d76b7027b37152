//! The settings of topics: one table that says what each is called, may be and does, for checking, for DescribeConfigs,
//! and for the typed values that the log and the partition go by.
//!
//! A setting that is not honoured yet may be set to its default only: nothing is stored and ignored.

use millrace_logic::compaction::Compaction;
use millrace_logic::meta::{ConfigResource, Image, ResourceKind};
use millrace_logic::partition;
use millrace_logic::retention::Retention;
use millrace_proto::batch::Recompress;
use millrace_proto::compression::Codec;
use millrace_proto::kafka::messages::describe_configs::config_source;
use millrace_storage::LogConfig;
use std::collections::BTreeMap;
use std::time::Duration;

/// The type of a setting, numbered as DescribeConfigs does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Type {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 64-bit number.
    Long = 5,
    /// A fraction.
    Double = 6,
    /// Words between commas.
    List = 7,
}

/// What values a setting may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values {
    Boolean,
    Int(i64, i64),
    Long(i64, i64),
    Fraction(f64, f64),
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    Text,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name on a topic.
    pub name: &'static str,
    /// The broker's setting that holds where a topic has none.
    pub synonym: Option<&'static str>,
    /// Its value where nothing is set.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    pub(super) values: Values,
    pub(super) honoured: bool,
}

/// A setting of brokers that bears on partitions and that topics cannot have.
pub const PRODUCER_EXPIRATION: &str = "producer.id.expiration.ms";

/// A wait of more milliseconds than this, a hundred years, is none.
const LONGEST_TIMER_MS: i64 = 100 * 365 * 24 * 3600 * 1000;

const MS: i64 = i64::MAX;
pub(super) const INT: i64 = i32::MAX as i64;
const LONG: &str = "9223372036854775807";

macro_rules! settings {
    ($($how:ident $name:literal $(<- $synonym:literal)? = $default:expr, $values:expr, $doc:literal;)*) => {
        &[$(Setting {
            name: $name,
            synonym: settings!(@synonym $($synonym)?),
            default: $default,
            doc: $doc,
            values: $values,
            honoured: settings!(@$how),
        },)*]
    };
    (@synonym) => { None };
    (@synonym $synonym:literal) => { Some($synonym) };
    (@honoured) => { true };
    (@default_only) => { false };
}

pub(super) use settings;

use Values::{Boolean, Fraction, Int, ListOf, Long, OneOf, Text};

/// Every setting, by name.
pub static SETTINGS: &[Setting] = settings! {
    honoured "cleanup.policy" <- "log.cleanup.policy" = "delete", ListOf(&["compact", "delete"]), "What happens to old segments.";
    honoured "compression.gzip.level" <- "compression.gzip.level" = "-1", Int(-1, 9), "The level when the broker compresses with gzip.";
    default_only "compression.lz4.level" <- "compression.lz4.level" = "9", Int(1, 17), "The level when the broker compresses with lz4.";
    honoured "compression.type" <- "compression.type" = "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "How batches are compressed; `producer` keeps them as they come.";
    honoured "compression.zstd.level" <- "compression.zstd.level" = "3", Int(-131_072, 22), "The level when the broker compresses with zstd.";
    honoured "delete.retention.ms" <- "log.cleaner.delete.retention.ms" = "86400000", Long(0, MS), "How long tombstones stay in compacted topics.";
    honoured "file.delete.delay.ms" <- "log.segment.delete.delay.ms" = "60000", Long(0, MS), "How long deleted files stay on disk.";
    honoured "flush.messages" <- "log.flush.interval.messages" = LONG, Long(1, MS), "Sync after this many records, where write.caching left syncing to it.";
    honoured "flush.ms" = LONG, Long(0, MS), "Sync after this time, where write.caching left syncing to it.";
    default_only "follower.replication.throttled.replicas" = "", Text, "Replicas whose following is throttled.";
    honoured "index.interval.bytes" <- "log.index.interval.bytes" = "4096", Int(0, INT), "How many bytes of batches one index entry stands for.";
    default_only "leader.replication.throttled.replicas" = "", Text, "Replicas whose leading is throttled.";
    default_only "local.retention.bytes" <- "log.local.retention.bytes" = "-2", Long(-2, MS), "Bytes kept on local disks of a tiered topic.";
    default_only "local.retention.ms" <- "log.local.retention.ms" = "-2", Long(-2, MS), "Time kept on local disks of a tiered topic.";
    honoured "max.compaction.lag.ms" <- "log.cleaner.max.compaction.lag.ms" = LONG, Long(1, MS), "The longest that a record stays uncompacted.";
    honoured "max.message.bytes" <- "message.max.bytes" = "1048588", Int(0, INT), "The largest batch, as it comes.";
    honoured "message.timestamp.after.max.ms" <- "log.message.timestamp.after.max.ms" = "3600000", Long(0, MS), "How far ahead of the broker's clock a record's timestamp may be.";
    honoured "message.timestamp.before.max.ms" <- "log.message.timestamp.before.max.ms" = LONG, Long(0, MS), "How far behind the broker's clock a record's timestamp may be.";
    honoured "message.timestamp.type" <- "log.message.timestamp.type" = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), "Whose time the records carry.";
    honoured "min.cleanable.dirty.ratio" <- "log.cleaner.min.cleanable.ratio" = "0.5", Fraction(0.0, 1.0), "How much of a log must be uncompacted before it is compacted.";
    honoured "min.compaction.lag.ms" <- "log.cleaner.min.compaction.lag.ms" = "0", Long(0, MS), "The least that a record stays uncompacted.";
    honoured "min.insync.replicas" <- "min.insync.replicas" = "1", Int(1, INT), "In-sync replicas that acks=all needs; never more than the topic has replicas.";
    honoured "preallocate" <- "log.preallocate" = "false", Boolean, "Whether segments are allocated whole.";
    default_only "remote.log.copy.disable" = "false", Boolean, "Whether a tiered topic stops copying.";
    default_only "remote.log.delete.on.disable" = "false", Boolean, "Whether tiered data goes when tiering is turned off.";
    default_only "remote.storage.enable" = "false", Boolean, "Whether the topic is tiered.";
    honoured "retention.bytes" <- "log.retention.bytes" = "-1", Long(-1, MS), "Bytes that a partition keeps; -1 for all.";
    honoured "retention.ms" = "604800000", Long(-1, MS), "Time that a partition keeps; -1 for all.";
    honoured "segment.bytes" <- "log.segment.bytes" = "1073741824", Int(1_048_576, INT), "The largest segment.";
    honoured "segment.index.bytes" <- "log.index.size.max.bytes" = "10485760", Int(4, INT), "The largest index of a segment.";
    honoured "segment.jitter.ms" = "0", Long(0, MS), "Up to this much is taken off segment.ms.";
    honoured "segment.ms" = "604800000", Long(1, MS), "The longest time that a segment takes batches.";
    default_only "unclean.leader.election.enable" <- "unclean.leader.election.enable" = "false", Boolean, "Whether a replica that lags may lead.";
    honoured "write.caching" <- "log.write.caching" = "false", Boolean, "Acknowledge and show what is written but not yet durable (Millrace's own).";
};

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.binary_search_by(|setting| setting.name.cmp(name)).ok().map(|index| &SETTINGS[index])
}

impl Setting {
    /// Whether values other than the default take effect.
    pub fn is_honoured(&self) -> bool {
        self.honoured
    }

    /// The broker's setting that holds where a topic has none, whether Kafka lists it as a synonym or not.
    pub fn broker_name(&self) -> Option<&'static str> {
        self.synonym.or(match self.name {
            "flush.ms" => Some("log.flush.interval.ms"),
            "retention.ms" => Some("log.retention.ms"),
            "segment.jitter.ms" => Some("log.roll.jitter.ms"),
            "segment.ms" => Some("log.roll.ms"),
            _ => None,
        })
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.values, ListOf(_))
    }

    /// Its type, for DescribeConfigs.
    pub fn config_type(&self) -> Type {
        match self.values {
            Boolean => Type::Boolean,
            Int(..) => Type::Int,
            Long(..) => Type::Long,
            Fraction(..) => Type::Double,
            OneOf(_) | Text => Type::String,
            ListOf(_) => Type::List,
        }
    }

    /// Whether it may have this value; the error is for whoever asked. Kafka's words where it has them.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.check_as(self.name, value)
    }

    /// The same for a broker's setting `name` that stands for it.
    pub fn check_as(&self, name: &str, value: &str) -> Result<(), String> {
        let invalid = |why: String| format!("Invalid value {value} for configuration {name}: {why}");
        let number = |min: i64, max: i64, kind: &str| match value.trim().parse::<i64>() {
            Err(_) => Err(invalid(format!("Not a number of type {kind}"))),
            Ok(n) if n < min => Err(invalid(format!("Value must be at least {min}"))),
            Ok(n) if n > max => Err(invalid(format!("Value must be no more than {max}"))),
            Ok(_) => Ok(()),
        };
        match self.values {
            Boolean if !matches!(value, "true" | "false") => {
                Err(invalid("Expected value to be either true or false".into()))
            }
            Int(min, max) => number(min, max, "INT"),
            Long(min, max) => number(min, max, "LONG"),
            Fraction(min, max) => match value.trim().parse::<f64>() {
                Ok(n) if n >= min && n <= max => Ok(()),
                Ok(n) if n < min => Err(invalid(format!("Value must be at least {min}"))),
                _ => Err(invalid(format!("Value must be no more than {max}"))),
            },
            OneOf(words) if !words.contains(&value) => {
                Err(invalid(format!("String must be one of: {}", words.join(", "))))
            }
            ListOf(words) if !value.split(',').all(|word| words.contains(&word.trim())) => {
                Err(invalid(format!("String must be one of: {}", words.join(", "))))
            }
            _ => Ok(()),
        }?;
        match self.honoured || value == self.default {
            true => Ok(()),
            false => {
                Err(format!("{name}={value} is not supported yet: only its default, {}, is", self.default))
            }
        }
    }
}

/// Whether a topic may have this setting. The error is for whoever asked.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?.check(value)
}

/// What holds where a topic has no setting of its own: the broker's settings, where they differ from the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    values: BTreeMap<&'static str, String>,
    /// `producer.id.expiration.ms`, which topics can not set.
    pub producer_expiration: Duration,
}

impl Default for TopicSettings {
    fn default() -> Self {
        let producer_expiration = partition::Settings::default().producer_expiration;
        Self { values: BTreeMap::new(), producer_expiration }
    }
}

impl TopicSettings {
    /// Sets the broker's value of a topic setting, by the topic's name for it.
    /// # Errors
    /// As [`check`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setting = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        setting.check(value)?;
        self.values.insert(setting.name, value.to_owned());
        Ok(())
    }

    /// The broker's value, if it was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// What holds for a topic that has these settings of its own, where brokers were given none while they ran.
    pub fn of<'a>(&'a self, own: Option<&'a Configs>) -> Effective<'a> {
        Effective { fixed: self, own, broker: None, all_brokers: None }
    }

    /// What holds for a topic.
    pub fn effective<'a>(&'a self, image: &'a Image, node_id: i32, topic: &str) -> Effective<'a> {
        Effective {
            fixed: self,
            own: configs(image, ResourceKind::Topic, topic),
            broker: configs(image, ResourceKind::Broker, &node_id.to_string()),
            all_brokers: configs(image, ResourceKind::Broker, ""),
        }
    }
}

/// Settings by name.
type Configs = BTreeMap<String, String>;

fn configs<'a>(image: &'a Image, kind: ResourceKind, name: &str) -> Option<&'a Configs> {
    image.configs(&ConfigResource { kind, name: name.to_owned() }).map(|configs| &**configs)
}

/// What this broker, or else all brokers, were given while they run.
pub(super) fn broker_setting<'a>(image: &'a Image, node_id: i32, name: &str) -> Option<&'a str> {
    let given = |of: &str| configs(image, ResourceKind::Broker, of)?.get(name);
    given(&node_id.to_string()).or_else(|| given("")).map(String::as_str)
}

/// What holds for one topic: its own setting, or else what this broker or all brokers were given while they ran, or else what the
/// broker's file says, or else the default.
#[derive(Clone, Copy, Debug)]
pub struct Effective<'a> {
    fixed: &'a TopicSettings,
    own: Option<&'a Configs>,
    broker: Option<&'a Configs>,
    all_brokers: Option<&'a Configs>,
}

/// A place that a value comes from: the setting's name there, the value, and which of [`config_source`] it is.
pub type Source<'a> = (&'static str, &'a str, i8);

impl<'a> Effective<'a> {
    /// Where the value of a setting comes from and, behind that, where else it could; the default is last, under the broker's name.
    pub fn sources(&self, setting: &'static Setting) -> impl Iterator<Item = Source<'a>> + use<'a> {
        fn within<'c>(
            configs: Option<&'c Configs>,
            name: Option<&'static str>,
            source: i8,
        ) -> Option<Source<'c>> {
            let name = name?;
            configs?.get(name).map(|value| (name, value.as_str(), source))
        }
        let broker_name = setting.broker_name();
        let fixed = self.fixed.get(setting.name);
        let fixed =
            fixed.map(|value| (broker_name.unwrap_or(setting.name), value, config_source::STATIC_BROKER));
        [
            within(self.own, Some(setting.name), config_source::DYNAMIC_TOPIC),
            within(self.broker, broker_name, config_source::DYNAMIC_BROKER),
            within(self.all_brokers, broker_name, config_source::DYNAMIC_DEFAULT_BROKER),
            fixed,
            setting.synonym.map(|name| (name, setting.default, config_source::DEFAULT)),
        ]
        .into_iter()
        .flatten()
    }

    /// The value of a setting, and where it comes from.
    pub fn value(&self, setting: &'static Setting) -> (&'a str, i8) {
        let first = self.sources(setting).next();
        first.map_or((setting.default, config_source::DEFAULT), |(_, value, source)| (value, source))
    }

    /// The value of a setting of the table.
    pub fn get(&self, name: &str) -> &'a str {
        find(name).map_or("", |setting| self.value(setting).0)
    }

    fn number(&self, name: &str) -> i64 {
        // What is stored was checked before it was stored.
        self.get(name).trim().parse().unwrap_or_default()
    }

    /// All of how a partition behaves.
    pub fn behaviour(&self) -> Behaviour {
        Behaviour {
            log: self.log(),
            settings: self.partition(),
            retention: self.retention(),
            compaction: self.compaction(),
        }
    }

    /// How the log behaves.
    pub fn log(&self) -> LogConfig {
        let compaction = self.compaction();
        // What is overdue for compaction must not be active for longer.
        let lag = compaction.max_lag_ms.filter(|_| compaction.compacts).unwrap_or(i64::MAX);
        LogConfig {
            segment_bytes: self.number("segment.bytes") as u32,
            segment_ms: self.number("segment.ms").min(lag),
            segment_jitter_ms: self.number("segment.jitter.ms"),
            segment_index_bytes: self.number("segment.index.bytes") as u32,
            index_interval_bytes: self.number("index.interval.bytes") as u32,
            write_caching: self.get("write.caching") == "true",
            flush_messages: self.number("flush.messages"),
            flush_after: Some(self.number("flush.ms"))
                .filter(|ms| *ms <= LONGEST_TIMER_MS)
                .map(|ms| Duration::from_millis(ms as u64)),
            preallocate: self.get("preallocate") == "true",
            file_delete_delay: Duration::from_millis(self.number("file.delete.delay.ms") as u64),
            ..LogConfig::default()
        }
    }

    /// `producer.id.expiration.ms`, which brokers may be given while they run.
    fn producer_expiration(&self) -> Duration {
        let given = |configs: Option<&Configs>| configs?.get(PRODUCER_EXPIRATION)?.parse().ok();
        let given = given(self.broker).or_else(|| given(self.all_brokers));
        given.map_or(self.fixed.producer_expiration, Duration::from_millis)
    }

    /// How the partition behaves.
    pub fn partition(&self) -> partition::Settings {
        partition::Settings {
            write_caching: self.get("write.caching") == "true",
            log_append_time: self.get("message.timestamp.type") == "LogAppendTime",
            producer_expiration: self.producer_expiration(),
            ..partition::Settings::default()
        }
    }

    /// What the partition keeps.
    pub fn retention(&self) -> Retention {
        let kept = |name| Some(self.number(name)).filter(|limit| *limit >= 0);
        Retention {
            deletes: self.cleans_up_by("delete"),
            bytes: kept("retention.bytes").map(|bytes| bytes as u64),
            ms: kept("retention.ms"),
        }
    }

    /// How the partition is compacted.
    fn compaction(&self) -> Compaction {
        Compaction {
            compacts: self.cleans_up_by("compact"),
            min_dirty_ratio: self.get("min.cleanable.dirty.ratio").trim().parse().unwrap_or_default(),
            min_lag_ms: self.number("min.compaction.lag.ms"),
            max_lag_ms: Some(self.number("max.compaction.lag.ms")).filter(|lag| *lag < i64::MAX),
            delete_retention_ms: self.number("delete.retention.ms"),
        }
    }

    fn cleans_up_by(&self, policy: &str) -> bool {
        self.get("cleanup.policy").split(',').any(|word| word.trim() == policy)
    }

    /// The codec that batches are given, unless they keep their producers'.
    fn recompress(&self) -> Option<Recompress> {
        let codec = match self.get("compression.type") {
            "uncompressed" => Codec::None,
            name => Codec::from_name(name)?,
        };
        let level = match codec {
            Codec::Gzip => Some(self.number("compression.gzip.level")).filter(|level| *level >= 0),
            Codec::Zstd => Some(self.number("compression.zstd.level")),
            _ => None,
        };
        Some(Recompress { codec, level: level.map(|level| level as i32) })
    }

    /// What produced batches are checked against.
    pub fn rules(&self) -> Rules {
        let create_time = self.get("message.timestamp.type") == "CreateTime";
        Rules {
            max_batch_bytes: self.number("max.message.bytes") as usize,
            segment_bytes: self.number("segment.bytes") as usize,
            keys_required: self.cleans_up_by("compact"),
            recompress: self.recompress(),
            timestamps: create_time.then(|| TimestampWindow {
                before_ms: self.number("message.timestamp.before.max.ms"),
                after_ms: self.number("message.timestamp.after.max.ms"),
            }),
        }
    }
}

/// How a partition behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Its log.
    pub log: LogConfig,
    /// The partition itself.
    pub settings: partition::Settings,
    /// What it keeps.
    pub retention: Retention,
    /// How it is compacted.
    pub compaction: Compaction,
}

/// What produced batches are checked against, typed: looked up once per batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`.
    pub max_batch_bytes: usize,
    /// `segment.bytes`: a larger batch fits in no segment.
    pub segment_bytes: usize,
    /// Whether every record needs a key, as compaction does.
    pub keys_required: bool,
    /// The codec that batches are given; `None` where they keep their producers'.
    pub recompress: Option<Recompress>,
    /// The accepted timestamps; `None` where the broker overwrites them.
    pub timestamps: Option<TimestampWindow>,
}

/// How far a record's time may be from the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampWindow {
    /// Behind, in milliseconds.
    pub before_ms: i64,
    /// Ahead, in milliseconds.
    pub after_ms: i64,
}

impl TimestampWindow {
    /// The accepted timestamps at this moment, both ends included.
    pub fn at(&self, now_ms: i64) -> (i64, i64) {
        (now_ms.saturating_sub(self.before_ms), now_ms.saturating_add(self.after_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        for setting in SETTINGS {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn values_are_checked_in_kafkas_words() {
        let error = check("segment.bytes", "100").expect_err("too small");
        assert_eq!(
            error,
            "Invalid value 100 for configuration segment.bytes: Value must be at least 1048576"
        );
        assert_eq!(check("foo", "1").expect_err("unknown"), "Unknown topic config name: foo");
        assert!(check("segment.bytes", "many").is_err());
        assert!(check("write.caching", "yes").is_err());
        assert_eq!(check("segment.bytes", "2097152"), Ok(()));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        let error = check("remote.storage.enable", "true").expect_err("not yet");
        assert!(error.starts_with("remote.storage.enable=true is not supported yet"), "{error}");
        assert_eq!(check("remote.storage.enable", "false"), Ok(()));
    }

    #[test]
    fn compaction_is_what_the_policy_says() {
        let policy = |policy: &str| {
            let own = BTreeMap::from([
                ("cleanup.policy".to_owned(), policy.to_owned()),
                ("max.compaction.lag.ms".to_owned(), "7000".to_owned()),
                ("min.cleanable.dirty.ratio".to_owned(), "0.25".to_owned()),
            ]);
            TopicSettings::default().of(Some(&own)).behaviour()
        };
        let both = policy("compact,delete");
        assert!(both.compaction.compacts && both.retention.deletes);
        assert_eq!((both.compaction.min_dirty_ratio, both.log.segment_ms), (0.25, 7000));
        let neither = policy("delete");
        assert!(!neither.compaction.compacts && neither.log.segment_ms > 7000);
        assert!(!policy("compact").retention.deletes);
    }

    #[test]
    fn topic_over_broker_over_default() {
        let mut broker = TopicSettings::default();
        broker.set("segment.ms", "5000").expect("valid");
        broker.set("max.message.bytes", "2000").expect("valid");
        let own = BTreeMap::from([("max.message.bytes".to_owned(), "3000".to_owned())]);
        let effective = broker.of(Some(&own));
        assert_eq!(effective.log().segment_ms, 5000);
        assert_eq!(effective.log().segment_bytes, 1 << 30);
        assert_eq!(effective.rules().max_batch_bytes, 3000);
    }

    #[test]
    fn what_brokers_are_given_while_they_run_comes_between() {
        use millrace_logic::meta::{ConfigRecord, MetadataRecord, TopicRecord};
        let record = |kind, of: &str, name: &str, value: &str| {
            let resource = ConfigResource { kind, name: of.to_owned() };
            let (name, value) = (name.to_owned(), Some(value.to_owned()));
            MetadataRecord::Config(ConfigRecord { resource, name, value })
        };
        let topic = TopicRecord { name: "t".to_owned(), topic_id: uuid::Uuid::from_u128(7) };
        let records = [
            MetadataRecord::Topic(topic),
            record(ResourceKind::Broker, "", "log.roll.ms", "1000"),
            record(ResourceKind::Broker, "", "message.max.bytes", "1000"),
            record(ResourceKind::Broker, "1", "message.max.bytes", "2000"),
            record(ResourceKind::Broker, "2", "message.max.bytes", "9000"),
            record(ResourceKind::Broker, "1", PRODUCER_EXPIRATION, "5"),
            record(ResourceKind::Topic, "t", "segment.bytes", "2000000"),
        ];
        let image = Image::default().apply(&records, Default::default()).expect("they fit");
        let mut fixed = TopicSettings::default();
        fixed.set("segment.ms", "500").expect("valid");
        fixed.set("max.message.bytes", "500").expect("valid");
        let effective = fixed.effective(&image, 1, "t");
        assert_eq!(effective.log().segment_ms, 1000);
        assert_eq!(effective.log().segment_bytes, 2_000_000);
        assert_eq!(effective.rules().max_batch_bytes, 2000);
        assert_eq!(effective.partition().producer_expiration, Duration::from_millis(5));
        let sources: Vec<_> = effective.sources(find("max.message.bytes").expect("known")).collect();
        assert_eq!(
            sources,
            [
                ("message.max.bytes", "2000", config_source::DYNAMIC_BROKER),
                ("message.max.bytes", "1000", config_source::DYNAMIC_DEFAULT_BROKER),
                ("message.max.bytes", "500", config_source::STATIC_BROKER),
                ("message.max.bytes", "1048588", config_source::DEFAULT),
            ]
        );
        assert_eq!(fixed.effective(&image, 1, "other").log().segment_bytes, 1 << 30);
    }
}
