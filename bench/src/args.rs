//! The command line.

use crate::error::{Error, Result};
use crate::run::{Driver, Options};
use crate::target::{Setup, Target};
use crate::workload::{self, Acks, Bound, Durability, Plan, Sizes, Workload, codec_of};
use clap::{Args, Parser, Subcommand};
use millrace_proto::compression::Codec;
use std::path::PathBuf;
use std::time::Duration;

/// Compares brokers the way a sceptical engineer would.
#[derive(Debug, Parser)]
#[command(name = "millrace-bench", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Try it:
  millrace-bench list                                          # the workloads
  millrace-bench run produce-100x1k --target millrace
  millrace-bench run produce-100x1k --target kafka --seconds 10
  millrace-bench compare millrace kafka --workload produce-16x1k --pairs 5 --out results
  millrace-bench compare millrace/durable-512p millrace/durable-4p --out results
  millrace-bench limits                                        # what this machine can do at most

Kafka's jars are fetched by scripts/setup, Millrace is built by `cargo build --release -p millrace`.
docs/performance.md says what is measured, and how.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one workload against one broker
    Run(Run),
    /// Run workloads against two brokers in turn, A B A B
    Compare(Compare),
    /// Measure what the machine can do at most
    Limits(Limits),
    /// Explain the workloads
    List,
    /// Be the bare server
    #[command(hide = true)]
    Bare {
        /// For its files
        data: PathBuf,
        /// Where it writes its address
        ports: PathBuf,
    },
    /// Make the report anew from the results in a folder
    Report {
        /// The folder
        folder: PathBuf,
    },
}

/// One workload, one broker.
#[derive(Debug, Args)]
pub struct Run {
    /// The workload: see `millrace-bench list`
    pub workload: String,
    /// millrace, kafka, grpc (Millrace over gRPC), bare (the least that a broker could do), host:port of a broker that takes Kafka's settings, or millrace@host:port
    #[arg(long, default_value = "millrace")]
    pub target: Target,
    /// Run it so many times
    #[arg(long, default_value_t = 1)]
    pub times: u32,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub how: How,
}

/// Workloads, two brokers.
#[derive(Debug, Args)]
pub struct Compare {
    /// The first: a target as for `run`, or target/workload
    pub a: Side,
    /// The second
    pub b: Side,
    /// The workloads, several separated by commas; all when none is given
    #[arg(long, value_delimiter = ',')]
    pub workload: Vec<String>,
    /// Pairs of runs of each workload
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub pairs: u32,
    /// Start both brokers anew for each pair; otherwise they live through all pairs of a workload, and one idles while the other is measured
    #[arg(long)]
    pub fresh: bool,
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub how: How,
}

/// The machine alone.
#[derive(Debug, Args)]
pub struct Limits {
    /// Below which folder files are written
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    pub data: PathBuf,
    /// Seconds for each limit
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// One side of a comparison.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it was given.
    pub name: String,
    /// The broker.
    pub target: Target,
    /// Its workload, if it has one of its own.
    pub workload: Option<&'static Workload>,
}

impl std::str::FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (target, workload) = match text.split_once('/') {
            Some((target, name)) => (target, Some(workload::find(name).map_err(|error| error.to_string())?)),
            None => (text, None),
        };
        Ok(Self { name: text.to_owned(), target: target.parse()?, workload })
    }
}

/// What is to be different from the named workload.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "A workload of your own")]
pub struct Changes {
    /// Bytes of a value: 1024, or 100-2000 for sizes spread evenly in between
    #[arg(long)]
    pub record_size: Option<Sizes>,
    /// Records in each request
    #[arg(long)]
    pub records_per_request: Option<u32>,
    /// Producers, or consumers, each with a connection
    #[arg(long)]
    pub connections: Option<usize>,
    /// Requests that each has in flight at most
    #[arg(long)]
    pub depth: Option<usize>,
    /// 0, 1 or all
    #[arg(long)]
    pub acks: Option<Acks>,
    /// Partitions of the topic
    #[arg(long)]
    pub partitions: Option<u32>,
    /// What an acknowledgement promises
    #[arg(long)]
    pub durability: Option<Durability>,
    /// MB of payload a second, at even intervals
    #[arg(long)]
    pub rate: Option<f64>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_parser = codec_of)]
    pub compression: Option<Codec>,
    /// Records have keys
    #[arg(long)]
    pub keyed: bool,
    /// KiB of a fetch at most
    #[arg(long)]
    pub fetch_kib: Option<u32>,
    /// MB in the topic that is read
    #[arg(long)]
    pub megabytes: Option<u32>,
    /// Consumer groups
    #[arg(long)]
    pub groups: Option<u32>,
    /// Members of each group
    #[arg(long)]
    pub members: Option<u32>,
}

impl Changes {
    fn any(&self) -> bool {
        self.record_size.is_some()
            || self.records_per_request.is_some()
            || self.connections.is_some()
            || self.depth.is_some()
            || self.acks.is_some()
            || self.partitions.is_some()
            || self.durability.is_some()
            || self.rate.is_some()
            || self.compression.is_some()
            || self.keyed
            || self.fetch_kib.is_some()
            || self.megabytes.is_some()
            || self.of_groups()
    }

    fn of_groups(&self) -> bool {
        self.groups.is_some() || self.members.is_some()
    }

    /// The workload with the changes, under a name that says that it is not the one that everybody knows.
    pub fn apply(&self, workload: &Workload) -> Result<(String, Plan, Option<Bound>)> {
        let mut plan = workload.plan.clone();
        if !self.any() {
            return Ok((workload.name.to_owned(), plan, workload.bound));
        }
        let of_load = self.record_size.is_some()
            || self.records_per_request.is_some()
            || self.depth.is_some()
            || self.acks.is_some()
            || self.durability.is_some()
            || self.rate.is_some()
            || self.compression.is_some()
            || self.keyed;
        let of_reading = self.fetch_kib.is_some() || self.megabytes.is_some();
        let refuse = |what: &str| Err(Error::Usage(format!("{}: {what}", workload.name)));
        match &mut plan {
            Plan::Groups(groups) | Plan::Gathering(groups) => {
                if of_load || of_reading || self.connections.is_some() {
                    return refuse("only groups, members and partitions can be changed");
                }
                set(&mut groups.groups, self.groups);
                set(&mut groups.members, self.members);
                set(&mut groups.partitions, self.partitions);
                groups.check()?;
            }
            _ if self.of_groups() => return refuse("it has no groups"),
            Plan::Produce(load) | Plan::EndToEnd(load) if !of_reading => {
                set(&mut load.record_size, self.record_size);
                set(&mut load.records_per_request, self.records_per_request);
                set(&mut load.connections, self.connections);
                set(&mut load.depth, self.depth);
                set(&mut load.acks, self.acks);
                set(&mut load.partitions, self.partitions);
                set(&mut load.durability, self.durability);
                set(&mut load.compression, self.compression);
                load.rate_mb = self.rate.or(load.rate_mb);
                load.keyed |= self.keyed;
                load.check()?;
            }
            Plan::Consume(reading) if !of_load => {
                set(&mut reading.connections, self.connections);
                set(&mut reading.partitions, self.partitions);
                set(&mut reading.fetch_bytes, self.fetch_kib.map(|kib| kib.saturating_mul(1024)));
                set(&mut reading.megabytes, self.megabytes);
                reading.check()?;
            }
            Plan::Produce(_) | Plan::EndToEnd(_) => return refuse("it reads nothing"),
            Plan::Consume(_) => return refuse("only what is read can be changed"),
            Plan::ColdBesideTail { .. } | Plan::Footprint => return refuse("it cannot be changed"),
        }
        // What bounds the changed one is not known.
        Ok((format!("{}-changed", workload.name), plan, None))
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// How it is measured.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How it is measured")]
pub struct How {
    /// What sends and reads; the target grpc always has the Rust client
    #[arg(long, default_value = "wire")]
    pub driver: Driver,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds of load before them
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub warmup: f64,
    /// Seconds of load on a broker that was just started; 2 for Millrace and 20 for Kafka when not given
    #[arg(long, value_parser = seconds)]
    pub first_warmup: Option<f64>,
    /// Threads of the driver
    #[arg(long, default_value_t = 1)]
    pub driver_threads: usize,
    /// Cores for the driver, separated by commas; all when not given
    #[arg(long, value_delimiter = ',')]
    pub driver_cores: Vec<usize>,
    /// Cores for the broker
    #[arg(long, value_delimiter = ',')]
    pub broker_cores: Vec<usize>,
    /// GiB of memory that are touched before each run that writes, and given up as they are taken, so that it does not meet pages that the
    /// host of a virtual machine took back; a quarter of what is available when not given
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 30))]
    pub cushion: Option<u64>,
    /// Read back all that was produced, and check every batch
    #[arg(long)]
    pub read_back: bool,
    /// Do not measure the limits of the machine
    #[arg(long)]
    pub no_limits: bool,
    /// A setting of the topics, name=value
    #[arg(long, value_parser = setting)]
    pub topic_config: Vec<(String, String)>,
    /// Write results, and a report, into this folder
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Say nothing while it runs
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub brokers: Brokers,
}

/// How brokers are started.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Brokers")]
pub struct Brokers {
    /// The binary of Millrace; the one beside this program, or the newest in target/, when not given
    #[arg(long, env = "MILLRACE_BIN")]
    pub millrace_bin: Option<PathBuf>,
    /// Shards of Millrace; one per core when not given
    #[arg(long)]
    pub shards: Option<usize>,
    /// The folder with Kafka's jars; .cache/kafka-4.3.1/libs here or above when not given
    #[arg(long)]
    pub kafka_libs: Option<PathBuf>,
    /// Heap of Kafka
    #[arg(long, default_value = "1g")]
    pub heap: String,
    /// A line for Millrace's configuration
    #[arg(long)]
    pub millrace_property: Vec<String>,
    /// A line for Kafka's configuration
    #[arg(long)]
    pub kafka_property: Vec<String>,
    /// Below which folder brokers keep their data
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    pub data: PathBuf,
    /// The process of a broker at an address, if it is on this machine: for its CPU time and memory
    #[arg(long)]
    pub pid: Option<u32>,
}

impl How {
    /// For the runs.
    pub fn options(&self) -> Options {
        Options {
            driver: self.driver,
            warm_up: Duration::from_secs_f64(self.warmup),
            first_warm_up: self.first_warmup.map(Duration::from_secs_f64),
            time: Duration::from_secs_f64(self.seconds),
            threads: self.driver_threads.max(1),
            cores: self.driver_cores.clone(),
            cushion: self.cushion.map(|gib| gib << 30),
            read_back: self.read_back,
            topic_configs: self.topic_config.clone(),
        }
    }

    /// For the brokers.
    pub fn setup(&self) -> Setup {
        let brokers = self.brokers.clone();
        Setup {
            millrace: brokers.millrace_bin,
            shards: brokers.shards,
            kafka_libs: brokers.kafka_libs,
            heap: brokers.heap,
            millrace_properties: brokers.millrace_property,
            kafka_properties: brokers.kafka_property,
            data: brokers.data,
            cores: self.broker_cores.clone(),
            pid: brokers.pid,
        }
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| format!("'{text}' is no number of seconds up to a day"))
}

fn setting(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| format!("'{text}' is not name=value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> Run {
        let all = [&["millrace-bench", "run"], arguments].concat();
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_changed_workload_has_another_name_and_no_bound() {
        let changed =
            run(&["produce-100x1k", "--acks", "all", "--record-size", "10-20", "--keyed", "--rate", "3"]);
        let (name, plan, bound) = changed.changes.apply(workload::find("produce-100x1k").unwrap()).unwrap();
        assert_eq!((&name[..], bound), ("produce-100x1k-changed", None));
        let Plan::Produce(load) = plan else { panic!("it produces") };
        assert_eq!((load.acks, load.keyed, load.rate_mb), (Acks::All, true, Some(3.0)));
        assert_eq!((load.record_size.to_string().as_str(), load.connections), ("10-20", 4));
        let same = run(&["produce-100x1k"]);
        let (name, _, bound) = same.changes.apply(workload::find("produce-100x1k").unwrap()).unwrap();
        assert_eq!((&name[..], bound), ("produce-100x1k", Some(Bound::Bare)));
    }

    #[test]
    fn changes_that_mean_nothing_are_refused() {
        let refused = |workload: &str, arguments: &[&str]| {
            let all = [&[workload], arguments].concat();
            run(&all).changes.apply(workload::find(workload).unwrap()).is_err()
        };
        assert!(refused("consume-1m", &["--acks", "1"]));
        assert!(refused("produce-1x100", &["--fetch-kib", "64"]));
        assert!(refused("footprint", &["--connections", "3"]));
        assert!(refused("produce-1x100", &["--connections", "0"]));
        assert!(refused("produce-1x100", &["--members", "3"]));
        assert!(refused("group-500", &["--connections", "3"]));
        assert!(refused("group-500", &["--partitions", "499"]), "a member would have none");
        assert!(!refused("groups-1000x3", &["--groups", "5", "--members", "2", "--partitions", "4"]));
        assert!(!refused("consume-1m", &["--fetch-kib", "64"]));
    }

    #[test]
    fn sides_name_a_target_and_perhaps_a_workload() {
        let side: Side = "millrace/durable-4p".parse().unwrap();
        assert_eq!((side.target, side.workload.unwrap().name), (Target::Millrace, "durable-4p"));
        assert!("kafka".parse::<Side>().unwrap().workload.is_none());
        assert!("kafka/nothing".parse::<Side>().is_err());
    }

    #[test]
    fn times_are_times() {
        for wrong in ["-1", "NaN", "1e9", "x"] {
            let arguments = ["millrace-bench", "run", "footprint", "--seconds", wrong];
            assert!(Cli::try_parse_from(arguments).is_err(), "{wrong}");
        }
    }
}
