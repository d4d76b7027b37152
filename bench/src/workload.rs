//! The workloads, as data: what each is for and what it asks of a broker. A new one is a row of [`TABLE`].

mod groups;

pub use groups::Groups;

use crate::error::{Error, Result};
use crate::target::Kind;
use clap::ValueEnum;
use millrace_proto::compression::Codec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes of a key, where there are keys.
pub const KEY: usize = 16;

/// A named workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// What it does.
    pub plan: Plan,
    /// The figure that it is about.
    pub headline: Headline,
    /// What bounds it on this machine in the end.
    pub bound: Option<Bound>,
}

/// What a workload does.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Producers alone.
    Produce(Load),
    /// Consumers of what is already there and in the page cache.
    Consume(Reading),
    /// Consumers at the end of the log, without and then with others that read cold data.
    ColdBesideTail {
        /// What is produced meanwhile, and read as it comes.
        tail: Load,
        /// What is read from disk.
        cold: Reading,
    },
    /// Producers, and consumers behind them: what a record takes from one to the other. Only with a client, not with the wire driver.
    EndToEnd(Load),
    /// Groups of consumers that are at work: heartbeats and commits, and no records.
    Groups(Groups),
    /// Members that join their groups all at once.
    Gathering(Groups),
    /// A broker that does nothing: its start, its memory, its CPU time.
    Footprint,
}

/// What producers send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Connections, each a producer.
    pub connections: usize,
    /// Requests that a connection has in flight at most.
    pub depth: usize,
    /// Bytes of a record's value.
    pub record_size: Sizes,
    /// Records in the one batch of a request.
    pub records_per_request: u32,
    /// Who must have a batch before it is acknowledged.
    pub acks: Acks,
    /// Partitions of the topic; requests go to one after the other.
    pub partitions: u32,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// MB of payload a second, in requests that leave at even intervals whatever the broker does; as many as it takes when not given.
    pub rate_mb: Option<f64>,
    /// How batches are compressed.
    #[serde(with = "codec_name")]
    pub compression: Codec,
    /// Whether records have keys.
    pub keyed: bool,
    /// On which core of a Millrace its partitions are, where its connections are all on one; on all of them when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<Core>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connections: 4,
            depth: 4,
            record_size: Sizes::ONE_KIB,
            records_per_request: 100,
            acks: Acks::Leader,
            partitions: 8,
            durability: Durability::Cached,
            rate_mb: None,
            compression: Codec::None,
            keyed: false,
            core: None,
        }
    }
}

impl Load {
    const fn plain() -> Self {
        Self {
            connections: 4,
            depth: 4,
            record_size: Sizes::ONE_KIB,
            records_per_request: 100,
            acks: Acks::Leader,
            partitions: 8,
            durability: Durability::Cached,
            rate_mb: None,
            compression: Codec::None,
            keyed: false,
            core: None,
        }
    }

    /// Bytes of keys and values of a request, in the middle.
    pub fn payload(&self) -> u64 {
        let key = if self.keyed { KEY } else { 0 };
        let value = usize::midpoint(self.record_size.least, self.record_size.most);
        (value + key) as u64 * u64::from(self.records_per_request)
    }

    /// How long a client lets a batch wait for more records: what librdkafka does by default. The wire driver's batches never wait.
    pub fn linger(&self) -> Duration {
        Duration::from_millis(5)
    }

    /// Whether it can be done at all.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::Usage(what.to_owned()));
        if self.connections == 0 || self.depth == 0 || self.partitions == 0 || self.records_per_request == 0 {
            return wrong("connections, depth, partitions and records per request are at least 1");
        }
        if self.core.is_some() && self.rate_mb.is_some() {
            return wrong("a load on one core goes as fast as it can");
        }
        if self.rate_mb.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return wrong("a rate is more than 0 MB/s");
        }
        let bytes = self.record_size.largest().saturating_mul(self.records_per_request as usize);
        if bytes > 900_000 {
            return wrong("a request of more than 900,000 bytes is larger than brokers take by default");
        }
        Ok(())
    }

    /// A line for people.
    pub fn describe(&self) -> String {
        let pace = self.rate_mb.map_or("as fast as it goes".to_owned(), |rate| format!("{rate} MB/s"));
        let keyed = if self.keyed { ", keyed" } else { "" };
        let core = match self.core {
            None => "",
            Some(Core::Own) => " on the core of the connections",
            Some(Core::Other) => " on another core than the connections",
        };
        let packed = match self.compression {
            Codec::None => String::new(),
            codec => format!(", {codec}"),
        };
        format!(
            "{} x {} B a request{packed}{keyed}, acks={}, {} connections {} deep, {} partitions{core}, {}, {pace}",
            self.records_per_request,
            self.record_size,
            self.acks,
            self.connections,
            self.depth,
            self.partitions,
            self.durability,
        )
    }
}

/// What consumers read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Connections, each a consumer of partitions of its own.
    pub connections: usize,
    /// The most bytes of one fetch.
    pub fetch_bytes: u32,
    /// Partitions.
    pub partitions: u32,
    /// MB in the topic, read over and over.
    pub megabytes: u32,
}

impl Reading {
    /// Whether it can be done at all.
    pub fn check(&self) -> Result<()> {
        match self.connections == 0 || self.partitions == 0 || self.megabytes == 0 || self.fetch_bytes == 0 {
            true => Err(Error::Usage("connections, partitions and bytes to read are at least 1".to_owned())),
            false => Ok(()),
        }
    }

    /// How the topic is filled: large requests, of batches that are all of one size, so that a reader knows where each begins.
    pub fn filling(&self) -> Load {
        Load { partitions: self.partitions, records_per_request: 16, ..Load::plain() }
    }

    /// A line for people.
    pub fn describe(&self) -> String {
        format!(
            "{} connections that fetch {} KiB at a time from {} partitions of {} MB together",
            self.connections,
            self.fetch_bytes / 1024,
            self.partitions,
            self.megabytes,
        )
    }
}

/// Bytes of a value: all the same, or spread evenly from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sizes {
    least: usize,
    most: usize,
}

impl Sizes {
    const ONE_KIB: Self = Self::all(1024);

    const fn all(size: usize) -> Self {
        Self { least: size, most: size }
    }

    /// From the least to the most.
    pub fn new(least: usize, most: usize) -> Result<Self> {
        match least <= most {
            true => Ok(Self { least, most }),
            false => Err(Error::Usage(format!("sizes from {least} to {most} are none"))),
        }
    }

    /// The largest.
    pub fn largest(self) -> usize {
        self.most
    }

    /// The size that a random number stands for.
    pub fn pick(self, number: u64) -> usize {
        self.least + (number % (self.most - self.least + 1) as u64) as usize
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least == self.most {
            true => write!(f, "{}", self.most),
            false => write!(f, "{}-{}", self.least, self.most),
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number =
            |text: &str| text.parse::<usize>().map_err(|_| format!("'{text}' is no number of bytes"));
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        Self::new(number(least)?, number(most)?).map_err(|error| error.to_string())
    }
}

impl TryFrom<String> for Sizes {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Sizes> for String {
    fn from(sizes: Sizes) -> Self {
        sizes.to_string()
    }
}

/// Who must have a batch before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// Nobody, and nothing is acknowledged.
    #[serde(rename = "0")]
    None,
    /// The leader.
    #[serde(rename = "1")]
    Leader,
    /// All in-sync replicas.
    #[serde(rename = "all")]
    All,
}

impl Acks {
    /// The number in a request.
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(format!("'{text}' is none of 0, 1 and all")),
        }
    }
}

/// Where the partitions of a load are whose connections are all on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Core {
    /// On the same.
    Own,
    /// On another.
    Other,
}

/// What an acknowledgement promises: the same of both brokers, which takes a setting for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The batch is in the page cache: Kafka's default, `write.caching=true` of Millrace.
    Cached,
    /// The batch is on disk: Millrace's default with acks=all, `flush.messages=1` of Kafka.
    Durable,
}

impl Durability {
    /// The topic settings that make a broker promise this.
    pub fn configs(self, kind: Kind) -> &'static [(&'static str, &'static str)] {
        match (self, kind) {
            (Self::Cached, Kind::Millrace) => &[("write.caching", "true")],
            (Self::Durable, Kind::Kafka) => &[("flush.messages", "1")],
            (Self::Cached, Kind::Kafka) | (Self::Durable, Kind::Millrace) => &[],
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cached => "cached",
            Self::Durable => "durable",
        })
    }
}

/// The figure that a workload is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headline {
    /// GB of payload for each CPU-second of the broker.
    GbPerCpuSecond,
    /// Records for each CPU-second of the broker.
    RecordsPerCpuSecond,
    /// MB of payload a second.
    MbPerSecond,
    /// Records a second.
    RecordsPerSecond,
    /// Latency in the middle and at the far end.
    Latency,
    /// Cores that the broker keeps busy.
    BrokerCores,
    /// Seconds until groups are whole.
    SecondsToJoin,
    /// How much the tail's 99th percentile grows.
    TailGrowth,
    /// Start, memory, idle CPU.
    Footprint,
}

/// What a workload is bound by in the end, on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The same workload with the bare server (see `bare`): GB for each CPU-second.
    Bare,
    /// Appends of 16 KiB, each followed by fdatasync, one after the other: how many a second.
    Fdatasync,
}

const DURABLE: Load =
    Load { acks: Acks::All, durability: Durability::Durable, depth: 1, partitions: 4, ..Load::plain() };

const END_TO_END: Load = Load { connections: 1, depth: 5, acks: Acks::All, partitions: 4, ..Load::plain() };

/// Every named workload.
pub const TABLE: &[Workload] = &[
    Workload {
        name: "produce-100x1k",
        about: "Batches as a busy producer makes them: what a byte costs",
        plan: Plan::Produce(Load::plain()),
        headline: Headline::GbPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "produce-16x1k",
        about: "Batches of a producer's default size, 16 KB: what a request costs beside its bytes",
        plan: Plan::Produce(Load { records_per_request: 16, ..Load::plain() }),
        headline: Headline::GbPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "produce-1x100",
        about: "Single small records, as devices send them: what a request costs",
        plan: Plan::Produce(Load {
            connections: 16,
            record_size: Sizes::all(100),
            records_per_request: 1,
            ..Load::plain()
        }),
        headline: Headline::RecordsPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "durable-16x1k",
        about: "Acknowledged when it is on disk: how well syncs are shared",
        plan: Plan::Produce(Load { connections: 8, records_per_request: 16, ..DURABLE }),
        headline: Headline::MbPerSecond,
        bound: Some(Bound::Fdatasync),
    },
    Workload {
        name: "durable-1x1k",
        about: "Single durable records of many clients: how many share a sync",
        plan: Plan::Produce(Load { connections: 32, records_per_request: 1, ..DURABLE }),
        headline: Headline::RecordsPerSecond,
        bound: Some(Bound::Fdatasync),
    },
    Workload {
        name: "durable-4p",
        about: "What durable-512p is compared with: the same clients on few partitions",
        plan: Plan::Produce(Load { connections: 64, records_per_request: 1, ..DURABLE }),
        headline: Headline::Latency,
        bound: Some(Bound::Fdatasync),
    },
    Workload {
        name: "durable-512p",
        about: "Durable records spread thinly: many files that are dirty at once",
        plan: Plan::Produce(Load { connections: 64, records_per_request: 1, partitions: 512, ..DURABLE }),
        headline: Headline::Latency,
        bound: Some(Bound::Fdatasync),
    },
    Workload {
        name: "consume-1m",
        about: "Reading what is in the page cache, as consumers that catch up do",
        plan: Plan::Consume(Reading { connections: 4, fetch_bytes: 1 << 20, partitions: 4, megabytes: 512 }),
        headline: Headline::GbPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "consume-128k",
        about: "The same in small fetches: what a fetch costs beside its bytes",
        plan: Plan::Consume(Reading {
            connections: 4,
            fetch_bytes: 128 << 10,
            partitions: 4,
            megabytes: 512,
        }),
        headline: Headline::GbPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "rate-5mb",
        about: "A calm stream: the latency of a broker that is not busy",
        plan: Plan::Produce(Load {
            records_per_request: 10,
            record_size: Sizes::all(1000),
            rate_mb: Some(5.0),
            ..Load::plain()
        }),
        headline: Headline::Latency,
        bound: None,
    },
    Workload {
        name: "cold-beside-tail",
        about: "Readers of old data must not delay those at the end of the log",
        plan: Plan::ColdBesideTail {
            tail: Load {
                connections: 1,
                records_per_request: 10,
                record_size: Sizes::all(1000),
                rate_mb: Some(5.0),
                partitions: 4,
                ..Load::plain()
            },
            cold: Reading { connections: 2, fetch_bytes: 1 << 20, partitions: 2, megabytes: 1500 },
        },
        headline: Headline::TailGrowth,
        bound: None,
    },
    Workload {
        name: "end-to-end",
        about: "What users see of it all: a client that produces and one that consumes, as fast as they can",
        plan: Plan::EndToEnd(END_TO_END),
        headline: Headline::MbPerSecond,
        bound: None,
    },
    Workload {
        name: "end-to-end-rate",
        about: "The same at a rate: how long a record takes (set --rate to half of what the slower broker can do)",
        plan: Plan::EndToEnd(Load { rate_mb: Some(20.0), records_per_request: 20, ..END_TO_END }),
        headline: Headline::Latency,
        bound: None,
    },
    Workload {
        name: "many-partitions-5000",
        about: "produce-100x1k over 5,000 partitions instead of 8",
        plan: Plan::Produce(Load { partitions: 5000, ..Load::plain() }),
        headline: Headline::GbPerCpuSecond,
        bound: Some(Bound::Bare),
    },
    Workload {
        name: "own-core",
        about: "What other-core is compared with: produce-16x1k where no request leaves the core that it came to",
        plan: Plan::Produce(Load { records_per_request: 16, core: Some(Core::Own), ..Load::plain() }),
        headline: Headline::GbPerCpuSecond,
        bound: None,
    },
    Workload {
        name: "other-core",
        about: "The same where every request is for a partition of another core: what the way there and back costs",
        plan: Plan::Produce(Load { records_per_request: 16, core: Some(Core::Other), ..Load::plain() }),
        headline: Headline::GbPerCpuSecond,
        bound: None,
    },
    Workload {
        name: "groups-1000x3",
        about: "Consumer groups at work: what a heartbeat and a commit of each member every second cost",
        plan: Plan::Groups(Groups { groups: 1000, members: 3, partitions: 10, every_ms: 1000 }),
        headline: Headline::BrokerCores,
        bound: None,
    },
    Workload {
        name: "group-500",
        about: "One group that 500 members join at once: how long until each knows its partitions",
        plan: Plan::Gathering(Groups { groups: 1, members: 500, partitions: 500, every_ms: 3000 }),
        headline: Headline::SecondsToJoin,
        bound: None,
    },
    Workload {
        name: "footprint",
        about: "What a broker takes that does nothing: time to start, memory, CPU, and what partitions and connections add",
        plan: Plan::Footprint,
        headline: Headline::Footprint,
        bound: None,
    },
];

/// The workload of that name.
pub fn find(name: &str) -> Result<&'static Workload> {
    TABLE.iter().find(|workload| workload.name == name).ok_or_else(|| {
        let names: Vec<_> = TABLE.iter().map(|workload| workload.name).collect();
        Error::Usage(format!("there is no workload '{name}'; there are {}", names.join(", ")))
    })
}

impl Plan {
    /// A line for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Produce(load) | Self::EndToEnd(load) => load.describe(),
            Self::Consume(reading) => reading.describe(),
            Self::ColdBesideTail { tail, cold } => {
                format!("tail: {}; cold: {}", tail.describe(), cold.describe())
            }
            Self::Groups(groups) => format!("{}, and as many commits", groups.describe()),
            Self::Gathering(groups) => groups.describe(),
            Self::Footprint => "1,000 partitions, 1,000 connections".to_owned(),
        }
    }
}

/// A codec in JSON and on the command line: its name.
pub fn codec_of(name: &str) -> std::result::Result<Codec, String> {
    let found = Codec::ALL.into_iter().find(|codec| codec.to_string() == name);
    found.ok_or_else(|| {
        let names = Codec::ALL.map(|codec| codec.to_string());
        format!("'{name}' is none of {}", names.join(", "))
    })
}

mod codec_name {
    use super::{Codec, codec_of};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(codec: &Codec, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(codec)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Codec, D::Error> {
        let name = String::deserialize(deserializer)?;
        codec_of(&name).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_speak_for_themselves() {
        let names: BTreeSet<_> = TABLE.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for workload in TABLE {
            assert_eq!(find(workload.name).unwrap().name, workload.name);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(workload.name.chars().all(plain), "{}", workload.name);
            assert!(workload.about.len() > 30, "{}", workload.name);
            assert!(!workload.about.ends_with('.'), "{}", workload.name);
        }
        let error = find("produce").unwrap_err().to_string();
        assert!(error.contains("produce-100x1k"), "{error}");
    }

    #[test]
    fn all_can_be_done() {
        for workload in TABLE {
            let checked = match &workload.plan {
                Plan::Produce(load) | Plan::EndToEnd(load) => load.check(),
                Plan::Consume(reading) => reading.check(),
                Plan::ColdBesideTail { tail, cold } => tail.check().and(cold.check()),
                Plan::Groups(groups) | Plan::Gathering(groups) => groups.check(),
                Plan::Footprint => Ok(()),
            };
            assert!(checked.is_ok(), "{}: {checked:?}", workload.name);
            assert!(!workload.plan.describe().is_empty());
        }
    }

    #[test]
    fn durable_rows_are_durable_and_the_others_are_not() {
        for workload in TABLE {
            let Plan::Produce(load) = &workload.plan else { continue };
            let durable = workload.name.starts_with("durable-");
            assert_eq!(load.durability == Durability::Durable, durable, "{}", workload.name);
            assert_eq!(load.acks == Acks::All, durable, "{}", workload.name);
        }
    }

    #[test]
    fn a_tail_can_be_timed_only_if_each_partition_has_one_producer() {
        for workload in TABLE {
            let Plan::ColdBesideTail { tail, .. } = &workload.plan else { continue };
            assert_eq!(tail.partitions as usize % tail.connections, 0);
            assert!(tail.rate_mb.is_some());
        }
    }

    #[test]
    fn the_rows_of_groups_are_what_their_names_say() {
        let of = |name: &str| match find(name).unwrap().plan {
            Plan::Groups(groups) | Plan::Gathering(groups) => groups,
            _ => panic!("{name} is about groups"),
        };
        let many = of("groups-1000x3");
        assert_eq!((many.everybody(), many.groups * many.partitions, many.every_ms), (3000, 10_000, 1000));
        assert_eq!((of("group-500").groups, of("group-500").everybody()), (1, 500));
    }

    #[test]
    fn promises_are_made_equal_by_one_setting() {
        assert_eq!(Durability::Cached.configs(Kind::Millrace), [("write.caching", "true")]);
        assert_eq!(Durability::Durable.configs(Kind::Kafka), [("flush.messages", "1")]);
        assert!(Durability::Cached.configs(Kind::Kafka).is_empty());
        assert!(Durability::Durable.configs(Kind::Millrace).is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let refused = |load: Load| load.check().is_err();
        assert!(refused(Load { connections: 0, ..Load::default() }));
        assert!(refused(Load { rate_mb: Some(0.0), ..Load::default() }));
        assert!(refused(Load { rate_mb: Some(f64::NAN), ..Load::default() }));
        assert!(refused(Load { records_per_request: 1000, ..Load::default() }));
        assert!(!refused(Load::default()));
    }

    #[test]
    fn sizes_are_read_written_and_picked() {
        for text in ["100", "100-300"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        for wrong in ["", "x", "3-1", "-5", "1-2-3"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
        let sizes: Sizes = "10-12".parse().unwrap();
        let picked: BTreeSet<_> = (0..100).map(|number| sizes.pick(number)).collect();
        assert_eq!(picked, BTreeSet::from([10, 11, 12]));
    }

    #[test]
    fn a_load_survives_json() {
        let load = Load {
            acks: Acks::All,
            compression: Codec::Zstd,
            record_size: "1-5".parse().unwrap(),
            ..Load::default()
        };
        let json = serde_json::to_string(&load).unwrap();
        assert!(json.contains("\"acks\":\"all\"") && json.contains("\"compression\":\"zstd\""), "{json}");
        assert_eq!(serde_json::from_str::<Load>(&json).unwrap(), load);
    }
}
