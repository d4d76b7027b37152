//! One run, as it is kept: everything that was seen, in JSON, and the figures that follow from it.

use crate::error::{Doing, Error, Result};
use crate::measure::latency::Latency;
use crate::measure::machine::Machine;
use crate::measure::meter::{Cpu, Memory, Point};
use crate::measure::window::Through;
use crate::report::figures::number;
use crate::workload::{Bound, Groups, Load, Reading};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Grows when a reader of old files would misread new ones.
pub const FORMAT: u32 = 1;

/// The figure of members that join: seconds from the first request until all groups are whole.
pub const SECONDS_TO_JOIN: &str = "seconds_to_join";

/// What a run was and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// The workload's name.
    pub workload: String,
    /// What was produced, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What was read, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// Which groups there were, if it was about groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Which side of a comparison it is: the target as it was named.
    pub side: String,
    /// What the broker calls itself.
    pub version: String,
    /// Which driver it was.
    pub driver: String,
    /// Which pair, from 1.
    pub pair: u32,
    /// When it began, RFC 3339.
    pub started: String,
    /// Where.
    pub machine: Machine,
    /// Seconds of load before the window opened.
    pub warm_up_s: f64,
    /// Seconds for which the window was open.
    pub wall_s: f64,
    /// What went through the window.
    pub through: Through,
    /// Records of the whole run that were checked to be there.
    pub checked_records: u64,
    /// CPU time of the broker.
    pub broker_cpu: Option<Cpu>,
    /// CPU time of the harness.
    pub driver_cpu_s: f64,
    /// CPU time of the rest of the machine: the kernel's own threads, and whoever shares it.
    pub other_cpu_s: Option<f64>,
    /// Memory of the broker.
    pub memory: Option<Memory>,
    /// Latencies.
    pub latency: Option<Latency>,
    /// Further latencies, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latencies: BTreeMap<String, Latency>,
    /// Figures that only this workload has, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// What the machine can do at most of what this workload is about, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How it went, second by second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Point>,
}

/// A limit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Which.
    pub bound: Bound,
    /// How much, in its own unit.
    pub value: f64,
}

impl Limit {
    /// A line for people.
    fn describe(self) -> String {
        let value = number(self.value);
        match self.bound {
            Bound::Bare => format!("limit: the bare server, {value} GB for each of its CPU-seconds"),
            Bound::Fdatasync => {
                format!("limit: {value} appends of 16 KiB a second, each synced before the next")
            }
        }
    }
}

impl Run {
    /// MB of payload a second.
    pub fn mb_per_s(&self) -> Option<f64> {
        self.went_through(self.through.payload as f64 / 1e6, self.wall_s)
    }

    /// Records a second.
    pub fn records_per_s(&self) -> Option<f64> {
        self.went_through(self.through.records as f64, self.wall_s)
    }

    /// What was done, in lines for people.
    pub fn describe(&self) -> Vec<String> {
        let load = self.load.as_ref().map(Load::describe);
        let reading = self.reading.as_ref().map(Reading::describe);
        let limit = self.limit.map(Limit::describe);
        load.into_iter().chain(reading).chain(self.groups.map(Groups::describe)).chain(limit).collect()
    }

    /// GB of payload for each CPU-second of the broker.
    pub fn gb_per_cpu_s(&self) -> Option<f64> {
        self.went_through(self.through.payload as f64 / 1e9, self.broker_cpu?.total_s)
    }

    /// CPU-seconds of the broker for each GB of payload.
    pub fn cpu_s_per_gb(&self) -> Option<f64> {
        quotient(1.0, self.gb_per_cpu_s()?)
    }

    /// Records for each CPU-second of the broker.
    pub fn records_per_cpu_s(&self) -> Option<f64> {
        self.went_through(self.through.records as f64, self.broker_cpu?.total_s)
    }

    /// Cores that the broker kept busy.
    pub fn broker_cores(&self) -> Option<f64> {
        quotient(self.broker_cpu?.total_s, self.wall_s)
    }

    /// MB of memory of the broker at most.
    pub fn rss_mb(&self) -> Option<f64> {
        Some(self.memory?.most as f64 / 1e6)
    }

    /// A latency in milliseconds, by percentile.
    pub fn ms(&self, percentile: f64) -> Option<f64> {
        self.latency.as_ref()?.ms(percentile)
    }

    /// The share of the machine's limit, in the limit's unit over the same.
    pub fn share_of_limit(&self) -> Option<f64> {
        let limit = self.limit?;
        let reached = match limit.bound {
            Bound::Bare => self.gb_per_cpu_s()?,
            Bound::Fdatasync => quotient(self.through.requests as f64, self.wall_s)?,
        };
        quotient(reached, limit.value)
    }

    /// A quotient of something that went through; where nothing was to go through there is no figure of it.
    fn went_through(&self, a: f64, b: f64) -> Option<f64> {
        quotient(a, b).filter(|_| self.through.records > 0)
    }

    /// Writes it as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_string_pretty(self).doing("writing JSON")?;
        json.push('\n');
        fs::write(path, json).doing(path.display())
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let json = fs::read(path).doing(path.display())?;
        let run: Self = serde_json::from_slice(&json).doing(path.display())?;
        match run.format == FORMAT {
            true => Ok(run),
            false => Err(Error::Usage(format!("{} has format {}", path.display(), run.format))),
        }
    }
}

fn quotient(a: f64, b: f64) -> Option<f64> {
    let quotient = a / b;
    (b > 0.0 && quotient.is_finite()).then_some(quotient)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::measure::latency::{Latencies, Since};
    use std::time::Duration;

    /// A run of 10 s in which a broker took 4 GB with 2 CPU-seconds.
    pub fn run(side: &str, pair: u32, faster: f64) -> Run {
        let mut latencies = Latencies::new();
        (1..=2000).for_each(|n| latencies.record(Duration::from_micros((f64::from(n) / faster) as u64)));
        Run {
            format: FORMAT,
            workload: "produce-100x1k".to_owned(),
            load: Some(Load::default()),
            reading: None,
            groups: None,
            side: side.to_owned(),
            version: format!("{side} 1.0"),
            driver: "wire".to_owned(),
            pair,
            started: "2026-01-01T00:00:00Z".to_owned(),
            machine: Machine {
                cores: 2,
                processor: "a processor".to_owned(),
                memory: 8 << 30,
                kernel: "6.1".to_owned(),
            },
            warm_up_s: 2.0,
            wall_s: 10.0,
            through: Through {
                requests: (40_000.0 * faster) as u64,
                records: (4_000_000.0 * faster) as u64,
                payload: (4e9 * faster) as u64,
                wire: (4.1e9 * faster) as u64,
            },
            checked_records: 4_400_000,
            broker_cpu: Some(Cpu { total_s: 2.0, user_s: 0.5, system_s: 1.5 }),
            driver_cpu_s: 1.0,
            other_cpu_s: Some(0.1),
            memory: Some(Memory { mean: 40_000_000, most: 50_000_000 }),
            latency: latencies.summary(Since::Sent),
            latencies: BTreeMap::new(),
            figures: BTreeMap::new(),
            limit: Some(Limit { bound: Bound::Bare, value: 8.0 }),
            series: vec![Point { at_s: 1.0, payload: 400_000_000, cpu_s: Some(0.2), rss: Some(1 << 25) }],
        }
    }

    #[test]
    fn figures_follow_from_what_was_seen() {
        let run = run("a", 1, 1.0);
        assert_eq!(run.mb_per_s(), Some(400.0));
        assert_eq!(run.records_per_s(), Some(400_000.0));
        assert_eq!(run.gb_per_cpu_s(), Some(2.0));
        assert_eq!(run.cpu_s_per_gb(), Some(0.5));
        assert_eq!(run.records_per_cpu_s(), Some(2_000_000.0));
        assert_eq!(run.broker_cores(), Some(0.2));
        assert_eq!(run.rss_mb(), Some(50.0));
    }

    #[test]
    fn a_share_is_in_the_unit_of_the_limit() {
        let of =
            |bound, value| Run { limit: Some(Limit { bound, value }), ..run("a", 1, 1.0) }.share_of_limit();
        assert_eq!(of(Bound::Bare, 8.0), Some(0.25));
        assert_eq!(of(Bound::Fdatasync, 1_000.0), Some(4.0));
        assert_eq!(of(Bound::Fdatasync, 0.0), None);
    }

    #[test]
    fn without_cpu_time_there_is_no_figure_of_it() {
        let run = Run { broker_cpu: None, memory: None, ..run("a", 1, 1.0) };
        assert_eq!((run.gb_per_cpu_s(), run.rss_mb(), run.share_of_limit()), (None, None, None));
        assert_eq!(run.mb_per_s(), Some(400.0));
    }

    #[test]
    fn where_nothing_goes_through_nothing_is_said_of_it() {
        let idle = Run { through: Through::default(), ..run("a", 1, 1.0) };
        assert_eq!((idle.mb_per_s(), idle.gb_per_cpu_s(), idle.records_per_cpu_s()), (None, None, None));
        assert_eq!(idle.broker_cores(), Some(0.2));
    }

    #[test]
    fn what_was_done_is_told() {
        let groups = Some(Groups { groups: 10, members: 3, partitions: 4, every_ms: 500 });
        let told = Run { groups, ..run("a", 1, 1.0) }.describe();
        assert!(told.len() == 3 && told[1].contains("10 groups"), "{told:?}");
        assert_eq!(told[2], "limit: the bare server, 8.00 GB for each of its CPU-seconds");
    }

    #[test]
    fn a_run_survives_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let mut run = run("millrace", 3, 1.5);
        run.figures.insert("start_ms".to_owned(), 17.25);
        run.latencies.insert("with".to_owned(), run.latency.clone().unwrap());
        run.reading = Some(Reading { connections: 4, fetch_bytes: 1 << 20, partitions: 4, megabytes: 512 });
        run.groups = Some(Groups { groups: 10, members: 3, partitions: 4, every_ms: 500 });
        run.write(&path).unwrap();
        assert_eq!(Run::read(&path).unwrap(), run);
        let other = Run { format: FORMAT + 1, ..run };
        other.write(&path).unwrap();
        assert!(Run::read(&path).is_err());
        fs::write(&path, "{}").unwrap();
        assert!(Run::read(&path).is_err());
    }
}
