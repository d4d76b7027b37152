//! Which core of a Millrace a connection is on, and which partitions are on which. The protocol does not tell; the metrics do: they
//! count connections by core, and calls that one core takes from another.

use crate::error::{Doing, Error, Result};
use crate::os::poller::Poller;
use crate::wire::admin::{Admin, connect};
use crate::wire::line::Line;
use crate::workload::Core;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: &str = "millrace_connections{";
const HOPS: &str = "millrace_shard_hops_total{";
/// Questions about a partition of which the core is to be known. What the metrics themselves ask of the other cores is less.
const QUESTIONS: u64 = 64;
/// How long a broker may take to notice a connection.
const NOTICED: Duration = Duration::from_secs(5);

/// The cores of a broker, as its metrics know them.
#[derive(Debug)]
pub struct Cores<'a> {
    kafka: &'a str,
    http: &'a str,
    count: u32,
}

/// Where requests go: connections that are all on one core, and partitions that are all on one.
#[derive(Debug)]
pub struct Placed<'a> {
    cores: &'a Cores<'a>,
    home: String,
    /// The partitions.
    pub partitions: Vec<i32>,
}

impl<'a> Cores<'a> {
    /// Of the broker that has these ports. There must be two, for there to be another one.
    pub fn of(kafka: &'a str, http: &'a str) -> Result<Self> {
        let cores = Self { kafka, http, count: 0 };
        let count = cores.connections()?.len();
        match count {
            0 | 1 => {
                Err(Error::Usage("there is no other core: give the broker --shards 2 or more".to_owned()))
            }
            _ => Ok(Self { count: u32::try_from(count).unwrap_or(u32::MAX), ..cores }),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Calls that cores have taken from others so far.
    pub fn hops(&self) -> Result<u64> {
        Ok(self.read(HOPS, "")?.into_values().sum())
    }

    /// Picks a core for connections, and of the topic those partitions that are on it, or on another. A topic's partitions are dealt out to
    /// the cores in turn.
    pub fn place(&'a self, topic: &str, partitions: u32, on: Core) -> Result<Placed<'a>> {
        let (mut admin, home) = self.noticed(|| Admin::connect(self.kafka))?;
        let mut own = None;
        for partition in 0..self.count {
            let before = self.hops()?;
            for _ in 0..QUESTIONS {
                admin.end_offset(topic, partition)?;
            }
            if self.hops()? - before < QUESTIONS {
                own = Some(partition);
                break;
            }
        }
        let own = own.ok_or_else(|| Error::Target("no core owns partitions".to_owned()))?;
        let first = match on {
            Core::Own => own,
            Core::Other => (own + 1) % self.count,
        };
        let partitions = (first..partitions).step_by(self.count as usize);
        Ok(Placed { cores: self, home, partitions: partitions.map(|p| p as i32).collect() })
    }

    /// Opens a connection, and says on which core it is.
    fn noticed<T>(&self, open: impl FnOnce() -> Result<T>) -> Result<(T, String)> {
        let before = self.connections()?;
        let opened = open()?;
        let until = Instant::now() + NOTICED;
        loop {
            let now = self.connections()?;
            let grown = now.iter().find(|(core, count)| before.get(*core).is_some_and(|was| was < *count));
            if let Some((core, _)) = grown {
                return Ok((opened, core.clone()));
            }
            if Instant::now() > until {
                return Err(Error::Target("the broker does not count a connection".to_owned()));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn connections(&self) -> Result<BTreeMap<String, u64>> {
        self.read(CONNECTIONS, "port=\"kafka\"")
    }

    /// The samples of a family, by core.
    fn read(&self, family: &str, label: &str) -> Result<BTreeMap<String, u64>> {
        let mut stream = connect(self.http)?;
        let doing = || format!("reading the metrics at {}", self.http);
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)
            .doing(doing())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).doing(doing())?;
        Ok(samples(&text, family, label))
    }
}

impl Placed<'_> {
    /// Opens a connection on the core that was picked. Those that come to lie on others are kept in `aside`, and stay: the broker gives the
    /// next one to the core that has the fewest.
    pub fn open(&self, number: usize, poller: &Poller, aside: &mut Vec<Line>) -> Result<Line> {
        loop {
            let (line, core) = self.cores.noticed(|| Line::open(self.cores.kafka, number, poller))?;
            if core == self.home {
                return Ok(line);
            }
            aside.push(line);
        }
    }
}

/// The samples of a family that have a label, by their core.
fn samples(text: &str, family: &str, label: &str) -> BTreeMap<String, u64> {
    let sample = |line: &str| {
        let (labels, value) =
            line.strip_prefix(family).filter(|rest| rest.contains(label))?.split_once('}')?;
        let core = labels.split(',').find_map(|label| label.strip_prefix("shard="))?;
        Some((core.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_known_by_core() {
        let text = "# TYPE millrace_connections gauge\n\
                    millrace_connections{shard=\"0\",port=\"kafka\"} 3\n\
                    millrace_connections{shard=\"0\",port=\"grpc\"} 7\n\
                    millrace_connections{shard=\"1\",port=\"kafka\"} 2\n\
                    millrace_connections_accepted_total{shard=\"0\",port=\"kafka\"} 9\n\
                    millrace_shard_hops_total{shard=\"1\"} 12\n";
        let of = |family, label| samples(text, family, label).into_iter().collect::<Vec<_>>();
        assert_eq!(of(CONNECTIONS, "port=\"kafka\""), [("\"0\"".to_owned(), 3), ("\"1\"".to_owned(), 2)]);
        assert_eq!(of(HOPS, ""), [("\"1\"".to_owned(), 12)]);
    }
}
