//! Every setting of the broker, in one table: what it is called, may be and does, and where it lands. Checking a
//! configuration file, DescribeConfigs, the help of the command and the reference page all come from here.
//!
//! The order matters: settings are applied as they stand here, so that of two that mean the same thing the one that has
//! precedence comes later (`log.retention.ms` behind `log.retention.hours`).

use super::Config;
use super::consumer_groups;
use super::kafka_names::{NO_MEANING, NOT_YET};
use super::listeners::{self, Names, format_host_port};
use super::topic::{self, Type};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// A configuration in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) names: Names,
    pub(super) broker_id: Option<i32>,
    /// What the setting at hand is warned about.
    pub(super) warnings: Vec<String>,
}

/// Takes a value; the error says what was expected, or that it is not supported.
type Set = fn(&mut Draft, &str) -> Result<(), String>;
/// Gives the value back, as it would be written.
type Get = fn(&Config) -> Option<String>;

/// What becomes of a setting.
#[derive(Clone, Copy)]
pub(super) enum Lands {
    /// In the configuration itself.
    Field(Set, Get),
    /// As what topics go by that have no setting of their own: the topic's name for it, and, for times in larger units,
    /// the milliseconds of one, and the default in that unit.
    Topic { name: &'static str, unit: i64, default: Option<&'static str> },
    /// Only in the check that it is this: the rest is not supported yet. Empty is nothing.
    DefaultOnly(&'static str),
    /// Nowhere; the warning says why.
    Nowhere,
}

/// A setting of the broker.
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its type, for DescribeConfigs.
    pub config_type: Type,
    /// What it does; for one that does nothing, why.
    pub doc: &'static str,
    /// Whether Kafka has it too.
    pub kafka: bool,
    pub(super) lands: Lands,
}

/// How far a setting is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It takes effect.
    Full,
    /// It may have its default only.
    DefaultOnly,
    /// It is accepted with a warning, and does nothing.
    NoMeaning,
}

impl Setting {
    /// How far it is served.
    pub fn support(&self) -> Support {
        match self.lands {
            Lands::Topic { name, .. } if topic::find(name).is_some_and(topic::Setting::is_honoured) => {
                Support::Full
            }
            Lands::Field(..) => Support::Full,
            Lands::Topic { .. } | Lands::DefaultOnly(_) => Support::DefaultOnly,
            Lands::Nowhere => Support::NoMeaning,
        }
    }

    /// Whether brokers may be given it while they run, as in Kafka.
    pub fn is_dynamic(&self) -> bool {
        DYNAMIC_FIELDS.contains(&self.name) || self.dynamic_topic_setting().is_some()
    }

    /// The setting of topics that it is the broker's value of, if it may change while the broker runs: those in larger units may not.
    fn dynamic_topic_setting(&self) -> Option<&'static topic::Setting> {
        match self.lands {
            Lands::Topic { name, unit: 1, .. } => topic::find(name).filter(|setting| setting.is_honoured()),
            _ => None,
        }
    }

    /// Whether it may have this value while the broker runs; the error is for whoever asked.
    pub fn check_dynamic(&self, value: &str) -> Result<(), String> {
        match (self.dynamic_topic_setting(), self.lands) {
            (Some(setting), _) => setting.check_as(self.name, value),
            (None, Lands::Field(set, _)) => set(&mut Draft::default(), value)
                .map_err(|why| format!("Invalid value {value} for configuration {}: {why}", self.name)),
            _ => Err(format!("{} does not change while the broker runs", self.name)),
        }
    }

    /// Its value where nothing is set.
    pub fn default(&self) -> Option<String> {
        let text = match self.lands {
            Lands::Field(_, get) => return get(&Config::default()),
            Lands::Topic { default, .. } => default?,
            Lands::DefaultOnly(default) => default,
            Lands::Nowhere => return None,
        };
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Settings in the configuration itself that may change while the broker runs.
pub(super) const DYNAMIC_FIELDS: &[&str] = &[
    topic::PRODUCER_EXPIRATION,
    "max.connections",
    "max.connections.per.ip",
    "grpc.max.connections",
    "log.cleaner.threads",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
];

pub(super) const I32: i64 = i32::MAX as i64;
const HOUR: i64 = 60 * 60 * 1000;
const MINUTE: i64 = 60 * 1000;
/// Timers take no more.
const YEAR: i64 = 365 * 24 * HOUR;

macro_rules! field {
    ($kafka:literal $name:literal $type:ident $doc:literal, $set:expr, $get:expr) => {
        Setting {
            name: $name,
            config_type: Type::$type,
            doc: $doc,
            kafka: $kafka,
            lands: Lands::Field($set, $get),
        }
    };
}

/// A setting of topics in other units, or without a name of its own in the topics' table.
macro_rules! topics {
    ($name:literal $type:ident $doc:literal, $topic:literal, $unit:expr, $default:expr) => {
        Setting {
            name: $name,
            config_type: Type::$type,
            doc: $doc,
            kafka: true,
            lands: Lands::Topic { name: $topic, unit: $unit, default: $default },
        }
    };
}

#[rustfmt::skip] // a line or two each
static OWN: &[Setting] = &[
    field!(true "broker.id" Int "The older name of `node.id`; both must be the same.",
        |d, v| { d.broker_id = Some(number(v, 0..=I32)?); d.config.node_id = number(v, 0..=I32)?; Ok(()) }, |c| Some(c.node_id.to_string())),
    field!(true "node.id" Int "The broker's number in its cluster. The data directory remembers it.",
        |d, v| { d.config.node_id = number(v, 0..=I32)?; Ok(()) }, |c| Some(c.node_id.to_string())),
    field!(false "cluster.id" String "The cluster that the data directory must belong to. Unset: whichever it belongs to; a new directory gets a random one.",
        |d, v| { d.config.cluster_id = Some(text(v)?); Ok(()) }, |c| c.cluster_id.clone()),
    field!(true "broker.rack" String "The rack that the broker stands in, as clients are told.",
        |d, v| { d.config.rack = Some(text(v)?); Ok(()) }, |c| c.rack.clone()),
    field!(true "controller.listener.names" List "Names of listeners for controllers, which are left out: a single node is its own controller.",
        |d, v| { d.names.controllers = v.split(',').map(|name| name.trim().to_owned()).collect(); Ok(()) }, |_| None),
    field!(true "listener.security.protocol.map" List "The protocol of each name in `listeners`. Only PLAINTEXT is supported for a listener that is used.",
        |d, v| { d.names.protocols = listeners::parse_protocols(v)?; Ok(()) }, |_| Some("PLAINTEXT:PLAINTEXT".into())),
    field!(true "listeners" List "Where Kafka clients connect: PLAINTEXT://ip:port. Port 0 is any free port.",
        |d, v| { d.config.kafka = listeners::parse_listener(v, &d.names, |skipped| d.warnings.push(format!("{skipped} is left out: a single node is its own controller")))?; Ok(()) },
        |c| Some(format!("PLAINTEXT://{}", c.kafka))),
    field!(true "advertised.listeners" List "What Kafka clients are told to connect to: PLAINTEXT://host:port. Unset: `listeners`. Needed where that is an address that clients cannot reach, as 0.0.0.0 is.",
        |d, v| { d.config.advertised_kafka = Some(listeners::parse_advertised(v, &d.names)?); Ok(()) },
        |c| c.advertised_kafka.as_ref().map(|at| format!("PLAINTEXT://{}", format_host_port(at)))),
    field!(false "grpc.listeners" String "Where gRPC clients connect: ip:port.",
        |d, v| { d.config.grpc = listeners::parse_address(v)?; Ok(()) }, |c| Some(c.grpc.to_string())),
    field!(false "advertised.grpc.listeners" String "What gRPC clients are told to connect to: host:port. Unset: `grpc.listeners`.",
        |d, v| { d.config.advertised_grpc = Some(listeners::parse_host_port(v)?); Ok(()) }, |c| c.advertised_grpc.as_ref().map(format_host_port)),
    field!(false "http.listeners" String "Where `/metrics` (Prometheus) and `/health` are served: ip:port.",
        |d, v| { d.config.http = listeners::parse_address(v)?; Ok(()) }, |c| Some(c.http.to_string())),
    field!(true "log.dir" String "The older name of `log.dirs`.",
        |d, v| { d.config.data_dirs = directories(v)?; Ok(()) }, |c| Some(shown(&c.data_dirs))),
    field!(true "log.dirs" List "The directories for all data, on a disk each. The first holds the metadata; a new partition goes where the fewest are. One of the others that cannot be used takes only its own partitions offline.",
        |d, v| { d.config.data_dirs = directories(v)?; Ok(()) }, |c| Some(shown(&c.data_dirs))),
    field!(false "shards" Int "How many shards; each is a thread on a core of its own. Unset: one per core. May change between starts.",
        |d, v| { d.config.shards = Some(number(v, 1..=1024)?); Ok(()) }, |c| c.shards.map(|n| n.to_string())),
    field!(true "num.partitions" Int "Partitions of a topic that is created without a number of them.",
        |d, v| { d.config.num_partitions = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.num_partitions.to_string())),
    field!(true "default.replication.factor" Int "Replicas of a topic that is created without a number of them. A single node holds one.",
        |d, v| { d.config.default_replication_factor = number(v, 1..=1)?; Ok(()) }, |c| Some(c.default_replication_factor.to_string())),
    field!(true "auto.create.topics.enable" Boolean "Whether a topic is created when it is first used.",
        |d, v| { d.config.auto_create_topics = boolean(v)?; Ok(()) }, |c| Some(c.auto_create_topics.to_string())),
    field!(true "delete.topic.enable" Boolean "Whether topics can be deleted.",
        |d, v| { d.config.delete_topics = boolean(v)?; Ok(()) }, |c| Some(c.delete_topics.to_string())),
    field!(true "max.connections" Int "Connections of Kafka clients at once, over all shards.",
        |d, v| { d.config.limits.connections = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.limits.connections.to_string())),
    field!(false "grpc.max.connections" Int "Connections of gRPC clients at once, over all shards; each carries many calls.",
        |d, v| { d.config.limits.grpc_connections = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.limits.grpc_connections.to_string())),
    field!(true "max.connections.per.ip" Int "Connections at once from one address, for each port.",
        |d, v| { d.config.limits.connections_per_ip = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.limits.connections_per_ip.to_string())),
    field!(true "connections.max.idle.ms" Long "A connection on which nothing happens for so long is closed.",
        |d, v| { d.config.limits.patience.idle = millis(v, 1..=YEAR)?; Ok(()) }, |c| Some(c.limits.patience.idle.as_millis().to_string())),
    field!(true "socket.request.max.bytes" Int "The largest request. A client that announces a larger one is disconnected.",
        |d, v| { d.config.limits.request_max_bytes = number(v, 1024..=I32)?; Ok(()) }, |c| Some(c.limits.request_max_bytes.to_string())),
    field!(true "queued.max.request.bytes" Long "Bytes of requests in flight, per shard, before no more are read. Always bounded: -1, Kafka's default, is ours.",
        |d, v| { if v != "-1" { d.config.limits.shard_bytes = number(v, 1 << 20..=i64::MAX)?; } Ok(()) }, |c| Some(c.limits.shard_bytes.to_string())),
    field!(true "fetch.max.bytes" Int "The most that one fetch response carries, whatever the client asks.",
        |d, v| { d.config.limits.fetch_max_bytes = number(v, 1024..=I32)?; Ok(()) }, |c| Some(c.limits.fetch_max_bytes.to_string())),
    field!(true "max.incremental.fetch.session.cache.slots" Int "Fetch sessions that are remembered, over all shards; clients without one say with every request what they want.",
        |d, v| { d.config.limits.fetch_sessions = number(v, 0..=I32)?; Ok(()) }, |c| Some(c.limits.fetch_sessions.to_string())),
    field!(true "max.request.partition.size.limit" Int "The most partitions that one DescribeTopicPartitions response holds, whatever the client asks.",
        |d, v| { d.config.limits.partitions_per_response = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.limits.partitions_per_response.to_string())),
    field!(true "producer.id.expiration.ms" Int "An idempotent producer that is not heard of for so long is forgotten.",
        |d, v| { d.config.topics.producer_expiration = millis(v, 1..=I32)?; Ok(()) }, |c| Some(c.topics.producer_expiration.as_millis().to_string())),
    field!(true "log.retention.check.interval.ms" Long "How often partitions are looked at for what they need not keep.",
        |d, v| { d.config.retention_check = millis(v, 1..=YEAR)?; Ok(()) }, |c| Some(c.retention_check.as_millis().to_string())),
    field!(false "log.journal.bytes" Long "Bytes of each shard's journal in each log directory: what acknowledged records must survive a power cut is written there once for all partitions, before each partition is synced by itself. A start after a crash reads all of it into memory. 0 for none, else 1 MiB to 1 GiB.",
        |d, v| { d.config.journal_bytes = if v == "0" { 0 } else { number(v, 1 << 20..=1 << 30)? }; Ok(()) }, |c| Some(c.journal_bytes.to_string())),
    field!(true "log.cleaner.enable" Boolean "Whether topics are compacted that have `cleanup.policy=compact`.",
        |d, v| { d.config.cleaner.enabled = boolean(v)?; Ok(()) }, |c| Some(c.cleaner.enabled.to_string())),
    field!(true "log.cleaner.threads" Int "How many threads compact. Every shard compacts its own partitions, one at a time, whatever this says.",
        |d, v| { d.config.cleaner.threads = number(v, 0..=I32)?; Ok(()) }, |c| Some(c.cleaner.threads.to_string())),
    field!(true "log.cleaner.backoff.ms" Long "How long to wait, when no log needs compacting, before looking again.",
        |d, v| { d.config.cleaner.backoff = millis(v, 0..=YEAR)?; Ok(()) }, |c| Some(c.cleaner.backoff.as_millis().to_string())),
    field!(true "log.cleaner.dedupe.buffer.size" Long "Bytes for the keys of what is compacted, over all shards, 24 for each key; taken only while a log is compacted, and only as many as it needs.",
        |d, v| { d.config.cleaner.key_bytes = number(v, 1 << 20..=i64::MAX)?; Ok(()) }, |c| Some(c.cleaner.key_bytes.to_string())),
    field!(true "log.cleaner.io.buffer.load.factor" Double "How full the memory for keys may get, 0 to 1: the fuller, the slower.",
        |d, v| { d.config.cleaner.load_factor = fraction(v, 0.1, 0.99)?; Ok(()) }, |c| Some(c.cleaner.load_factor.to_string())),
    field!(true "log.cleaner.io.buffer.size" Int "Bytes that compaction reads at once.",
        |d, v| { d.config.cleaner.io_bytes = number(v, 4096..=64 << 20)?; Ok(()) }, |c| Some(c.cleaner.io_bytes.to_string())),
    field!(true "log.cleaner.io.max.bytes.per.second" Double "How many bytes each shard compacts in a second at most. Other work goes first in any case.",
        |d, v| { d.config.cleaner.bytes_per_second = fraction(v, 1.0, f64::MAX)?; Ok(()) }, |c| Some(kafka_double(c.cleaner.bytes_per_second))),
    field!(true "group.initial.rebalance.delay.ms" Int "How long a new group waits for more members before it assigns partitions.",
        |d, v| { d.config.groups.settings.initial_delay = millis(v, 0..=I32)?; Ok(()) }, |c| Some(c.groups.settings.initial_delay.as_millis().to_string())),
    field!(true "group.min.session.timeout.ms" Int "The shortest session timeout that a member may have.",
        |d, v| { d.config.groups.settings.min_session = millis(v, 1..=I32)?; Ok(()) }, |c| Some(c.groups.settings.min_session.as_millis().to_string())),
    field!(true "group.max.session.timeout.ms" Int "The longest session timeout that a member may have.",
        |d, v| { d.config.groups.settings.max_session = millis(v, 1..=I32)?; Ok(()) }, |c| Some(c.groups.settings.max_session.as_millis().to_string())),
    field!(true "group.max.size" Int "The most members of a group.",
        |d, v| { d.config.groups.settings.max_size = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.groups.settings.max_size.to_string())),
    field!(true "offset.metadata.max.bytes" Int "The most that a client may keep with an offset that it commits.",
        |d, v| { d.config.groups.settings.max_metadata = number(v, 0..=I32)?; Ok(()) }, |c| Some(c.groups.settings.max_metadata.to_string())),
    field!(true "offsets.retention.minutes" Int "How long offsets stay that no group uses any more.",
        |d, v| { d.config.groups.settings.retention_ms = number::<i64>(v, 1..=I32)? * MINUTE; Ok(()) }, |c| Some((c.groups.settings.retention_ms / MINUTE).to_string())),
    field!(true "offsets.retention.check.interval.ms" Long "How often to look for offsets that no group uses any more.",
        |d, v| { d.config.groups.settings.retention_check = millis(v, 1..=YEAR)?; Ok(()) }, |c| Some(c.groups.settings.retention_check.as_millis().to_string())),
    field!(true "offsets.topic.num.partitions" Int "Partitions of `__consumer_offsets`, when it is made.",
        |d, v| { d.config.groups.partitions = number(v, 1..=I32)?; Ok(()) }, |c| Some(c.groups.partitions.to_string())),
    field!(true "offsets.topic.segment.bytes" Int "Bytes of a segment of `__consumer_offsets`, when it is made.",
        |d, v| { d.config.groups.segment_bytes = number(v, 1 << 20..=I32)?; Ok(()) }, |c| Some(c.groups.segment_bytes.to_string())),
    topics!("log.retention.hours" Int "`log.retention.ms` in hours.", "retention.ms", HOUR, Some("168")),
    topics!("log.retention.minutes" Int "`log.retention.ms` in minutes.", "retention.ms", MINUTE, None),
    topics!("log.retention.ms" Long "The time that a partition keeps; -1 for all. Over `log.retention.minutes`, over `log.retention.hours`.", "retention.ms", 1, None),
    topics!("log.roll.hours" Int "`log.roll.ms` in hours.", "segment.ms", HOUR, Some("168")),
    topics!("log.roll.ms" Long "The longest time that a segment takes batches. Over `log.roll.hours`.", "segment.ms", 1, None),
    topics!("log.roll.jitter.hours" Int "`log.roll.jitter.ms` in hours.", "segment.jitter.ms", HOUR, Some("0")),
    topics!("log.roll.jitter.ms" Long "Up to this much is taken off `log.roll.ms`. Over `log.roll.jitter.hours`.", "segment.jitter.ms", 1, None),
    topics!("log.flush.interval.ms" Long "Sync after this time.", "flush.ms", 1, None),
];

/// Every setting, in the order in which they are applied.
static REGISTRY: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let own = OWN.iter().chain(consumer_groups::SETTINGS).map(|s| Setting { ..*s });
    let synonyms = topic::SETTINGS.iter().filter_map(|setting| {
        let lands = Lands::Topic { name: setting.name, unit: 1, default: Some(setting.default) };
        let kafka = setting.name != "write.caching";
        Some(Setting {
            name: setting.synonym?,
            config_type: setting.config_type(),
            doc: setting.doc,
            kafka,
            lands,
        })
    });
    let not_yet = NOT_YET.iter().flat_map(|group| {
        let setting = |&(name, config_type, default)| Setting {
            name,
            config_type,
            doc: group.about,
            kafka: true,
            lands: Lands::DefaultOnly(default),
        };
        group.settings.iter().map(setting)
    });
    let no_meaning = NO_MEANING.iter().flat_map(|group| {
        let setting = |&name| Setting {
            name,
            config_type: Type::String,
            doc: group.why,
            kafka: true,
            lands: Lands::Nowhere,
        };
        group.settings.iter().map(setting)
    });
    own.chain(synonyms).chain(not_yet).chain(no_meaning).collect()
});

/// Every setting of the broker, in the order in which they are applied.
pub fn settings() -> &'static [Setting] {
    &REGISTRY
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    REGISTRY.iter().find(|setting| setting.name == name)
}

pub(super) fn number<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>) -> Result<T, String> {
    let parsed = text.parse().ok().filter(|n| range.contains(n)).and_then(|n: i64| T::try_from(n).ok());
    parsed.ok_or_else(|| match (range.start(), range.end()) {
        (start, end) if start == end => format!("only {start} is supported yet"),
        (start, end) => format!("expected a whole number from {start} to {end}"),
    })
}

pub(super) fn millis(text: &str, range: RangeInclusive<i64>) -> Result<Duration, String> {
    Ok(Duration::from_millis(number(text, range)?))
}

fn fraction(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let parsed = text.trim().parse().ok().filter(|n: &f64| (min..=max).contains(n));
    parsed.ok_or_else(|| format!("expected a number from {min} to {}", kafka_double(max)))
}

/// A number as Java writes it, where that matters: the largest one.
fn kafka_double(number: f64) -> String {
    if number == f64::MAX { "1.7976931348623157E308".into() } else { number.to_string() }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a text".into()) } else { Ok(text.to_owned()) }
}

fn directories(text: &str) -> Result<Vec<PathBuf>, String> {
    let named: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let again = named.iter().enumerate().find(|(at, name)| named[..*at].contains(name));
    match (again, named.is_empty()) {
        (Some((_, name)), _) => Err(format!("{name} is named twice")),
        (None, true) => Err("expected a directory".into()),
        (None, false) => Ok(named.iter().map(PathBuf::from).collect()),
    }
}

fn shown(directories: &[PathBuf]) -> String {
    let names: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let mut seen = BTreeSet::new();
        for setting in settings() {
            assert!(seen.insert(setting.name), "{} is there twice", setting.name);
            assert!(!setting.doc.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn settings_take_their_own_defaults() {
        for setting in settings() {
            let (Lands::Field(set, get), Some(default)) = (setting.lands, setting.default()) else {
                continue;
            };
            let mut draft = Draft::default();
            assert_eq!(set(&mut draft, &default), Ok(()), "{}={default}", setting.name);
            assert_eq!(get(&draft.config), Some(default), "{}", setting.name);
        }
    }

    #[test]
    fn topic_settings_land_in_the_topics_table() {
        for setting in settings() {
            if let Lands::Topic { name, .. } = setting.lands {
                assert!(topic::find(name).is_some(), "{} lands in {name}", setting.name);
            }
        }
    }
}
