//! What is measured: a Millrace or an Apache Kafka that the harness starts and ends, or any broker at an address.

mod bare;
pub mod child;
mod kafka;
mod millrace;

use crate::error::{Error, Result};
use crate::wire::admin::Admin;
use child::{Guarded, Scratch};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Whose settings a broker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Millrace.
    Millrace,
    /// Apache Kafka, or whatever takes its settings.
    Kafka,
}

/// What to measure, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Started from the built binary.
    Millrace,
    /// The same, over gRPC.
    Grpc,
    /// Started from the released artifacts.
    Kafka,
    /// The least that a broker could do: a limit.
    Bare,
    /// Already running.
    Address {
        /// host:port.
        address: String,
        /// Whose settings it knows.
        kind: Kind,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let address = |address: &str, kind| match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Address { address: address.to_owned(), kind })
            }
            _ => Err(format!("'{text}' is none of millrace, grpc, kafka, bare and host:port")),
        };
        match text.split_once('@') {
            None if text == "millrace" => Ok(Self::Millrace),
            None if text == "grpc" => Ok(Self::Grpc),
            None if text == "bare" => Ok(Self::Bare),
            None if text == "kafka" => Ok(Self::Kafka),
            None => address(text, Kind::Kafka),
            Some(("millrace", at)) => address(at, Kind::Millrace),
            Some(("kafka", at)) => address(at, Kind::Kafka),
            Some((other, _)) => Err(format!("'{other}' is neither millrace nor kafka")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millrace => f.write_str("millrace"),
            Self::Grpc => f.write_str("grpc"),
            Self::Kafka => f.write_str("kafka"),
            Self::Bare => f.write_str("bare"),
            Self::Address { address, kind: Kind::Kafka } => f.write_str(address),
            Self::Address { address, kind: Kind::Millrace } => write!(f, "millrace@{address}"),
        }
    }
}

/// How brokers are started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `millrace` binary; found when not given.
    pub millrace: Option<PathBuf>,
    /// Shards of Millrace; one per core when not given.
    pub shards: Option<usize>,
    /// The folder with Kafka's jars; found when not given.
    pub kafka_libs: Option<PathBuf>,
    /// Kafka's heap, as `java` wants it.
    pub heap: String,
    /// More lines for the configuration of a Millrace that is started.
    pub millrace_properties: Vec<String>,
    /// More lines for the configuration of a Kafka that is started.
    pub kafka_properties: Vec<String>,
    /// Below which folders for data are made.
    pub data: PathBuf,
    /// Cores for the broker; all when empty.
    pub cores: Vec<usize>,
    /// The process of a broker that is already running, for its CPU time and memory.
    pub pid: Option<u32>,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    /// Whose settings it knows.
    pub kind: Kind,
    /// What it calls itself, with its version where that is known.
    pub version: String,
    /// host:port for Kafka clients.
    pub address: String,
    /// host:port for gRPC clients, if it has that and it is known.
    pub grpc: Option<String>,
    /// host:port of its metrics, the same.
    pub http: Option<String>,
    /// Its process, if it is on this machine and known.
    pub pid: Option<u32>,
    /// Its data, if they are on this machine and known.
    pub data: Option<PathBuf>,
    /// From the start of its process to its first answer.
    pub start: Option<Duration>,
    /// Whether it has been loaded for as long as it needs to reach its pace.
    pub warm: bool,
    _process: Option<Guarded>,
}

/// Brokers are asked every millisecond while they start, for so long.
const START: Duration = Duration::from_secs(90);

impl Target {
    /// For how long it must be loaded before its figures mean anything: a JVM compiles what is hot. Whoever started a broker at an address
    /// may have started it just now.
    pub fn warm_up(&self) -> Duration {
        match self {
            Self::Millrace | Self::Grpc | Self::Bare => Duration::from_secs(2),
            Self::Kafka | Self::Address { .. } => Duration::from_secs(20),
        }
    }
}

impl Broker {
    /// Starts a target, or finds it, and waits until it answers.
    pub fn start(target: &Target, setup: &Setup) -> Result<Self> {
        match target {
            Target::Millrace | Target::Grpc => millrace::start(setup),
            Target::Kafka => kafka::start(setup),
            Target::Bare => bare::start(setup),
            Target::Address { address, kind } => {
                if !answers(address) {
                    return Err(Error::Target(format!("there is no broker at {address}")));
                }
                Ok(Self {
                    kind: *kind,
                    version: address.clone(),
                    address: address.clone(),
                    grpc: None,
                    http: None,
                    pid: setup.pid,
                    data: None,
                    start: None,
                    warm: false,
                    _process: None,
                })
            }
        }
    }

    fn started(kind: Kind, version: String, ready: Ready, data: PathBuf) -> Self {
        Self {
            kind,
            version,
            address: ready.address,
            grpc: None,
            http: None,
            pid: Some(ready.process.id()),
            data: Some(data),
            start: Some(ready.took),
            warm: false,
            _process: Some(ready.process),
        }
    }
}

struct Ready {
    process: Guarded,
    address: String,
    took: Duration,
}

/// Starts a process and waits until `address`, once it is known, answers Metadata with a broker.
fn ready(
    command: std::process::Command,
    folder: Scratch,
    mut address: impl FnMut() -> Option<String>,
) -> Result<Ready> {
    let started = Instant::now();
    let mut process = Guarded::start(command, folder)?;
    let address = process.wait_for("answer", START, || address().filter(|address| answers(address)))?;
    Ok(Ready { process, address, took: started.elapsed() })
}

/// Whether Metadata names a broker: Kafka listens before it is registered.
fn answers(address: &str) -> bool {
    let brokers = || Admin::connect(address)?.brokers();
    brokers().is_ok_and(|count| count > 0)
}

/// An address in the file of ports, once that is complete.
fn address_in(ports: &Path, of: &str) -> Option<String> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    Some(ports[of].as_str()?.to_owned())
}

/// A command that runs on the cores that are for the broker.
fn command(program: &Path, cores: &[usize]) -> std::process::Command {
    if cores.is_empty() {
        return std::process::Command::new(program);
    }
    // It replaces itself by the program, which so has the id that was started.
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = std::process::Command::new("taskset");
    command.arg("--cpu-list").arg(list.join(",")).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_alike() {
        for text in ["millrace", "grpc", "kafka", "bare", "127.0.0.1:9092", "millrace@host:1"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let kafka = "kafka@h:1".parse::<Target>().unwrap();
        assert_eq!(kafka, Target::Address { address: "h:1".to_owned(), kind: Kind::Kafka });
        for wrong in ["", "redpanda", "host", "host:", ":1", "host:99999", "tansu@h:1", "millrace@"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
