//! Counters of one shard, and their Prometheus text.
//!
//! Each shard counts for itself in plain cells; the metrics endpoint asks every shard for a [`Snapshot`] and adds the
//! `shard` label. One table ([`Snapshot::families`]) names every metric.

use millrace_io::Counters;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// A number that only grows.
#[derive(Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down.
#[derive(Default)]
pub struct Gauge(Cell<u64>);

impl Gauge {
    /// One more, until the guard is dropped.
    pub fn enter(self: &std::rc::Rc<Self>) -> GaugeGuard {
        self.0.set(self.0.get() + 1);
        GaugeGuard(self.clone())
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// One unit of a [`Gauge`].
pub struct GaugeGuard(std::rc::Rc<Gauge>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// Upper bounds of the latency buckets, in microseconds: powers of four from 64 µs to about 17 s.
const BUCKETS: [u64; 10] = [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];

/// How long something took, in buckets.
#[derive(Clone, Default)]
pub struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum_us: u64,
}

impl Histogram {
    fn record(&mut self, time: Duration) {
        let us = time.as_micros() as u64;
        if let Some(bucket) = BUCKETS.iter().position(|&bound| us <= bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.wrapping_add(us);
    }

    /// As Prometheus has it: each bucket with all that is in those before.
    fn samples(&self, labels: &str) -> Vec<(&'static str, String, u64)> {
        let mut below = 0;
        let buckets = BUCKETS.iter().zip(self.buckets).map(|(bound, count)| {
            below += count;
            ("_bucket", format!("{labels},le=\"{}\"", *bound as f64 / 1e6), below)
        });
        let mut samples: Vec<_> = buckets.collect();
        samples.push(("_bucket", format!("{labels},le=\"+Inf\""), self.count));
        samples.push(("_count", labels.to_owned(), self.count));
        samples.push(("_sum", labels.to_owned(), self.sum_us));
        samples
    }
}

/// What one port of a shard counts.
#[derive(Default)]
pub struct Port {
    /// Connections open now.
    pub connections: std::rc::Rc<Gauge>,
    /// Connections taken so far.
    pub accepted: Counter,
    /// Connections refused at a limit, or closed for a broken frame.
    pub refused_connections: Counter,
    /// Connections closed because the peer did not read.
    pub slow_readers: Counter,
    requests: RefCell<BTreeMap<&'static str, Histogram>>,
    errors: RefCell<BTreeMap<&'static str, u64>>,
}

impl Port {
    /// A request was answered.
    pub fn request(&self, api: &'static str, time: Duration) {
        self.requests.borrow_mut().entry(api).or_default().record(time);
    }

    /// A request, or a part of it, was answered with an error.
    pub fn error(&self, name: &'static str) {
        *self.errors.borrow_mut().entry(name).or_default() += 1;
    }
}

/// What one shard counts.
#[derive(Default)]
pub struct Metrics {
    /// The Kafka port.
    pub kafka: Port,
    /// The gRPC port.
    pub grpc: Port,
    /// The port for metrics and health.
    pub http: Port,
    /// Record batches appended.
    pub appended_batches: Counter,
    /// Bytes of record batches appended.
    pub appended_bytes: Counter,
    /// Records appended.
    pub appended_records: Counter,
    /// Segments that retention deleted.
    pub expired_segments: Counter,
    /// Bytes of those segments.
    pub expired_bytes: Counter,
    /// Passes of compaction that came to their end.
    pub compactions: Counter,
    /// Passes that did not.
    pub failed_compactions: Counter,
    /// Records that compaction removed.
    pub compacted_records: Counter,
    /// Bytes that logs shrank by compaction.
    pub compacted_bytes: Counter,
    /// Rebalances of groups that are kept here.
    pub rebalances: Counter,
    commits: RefCell<Histogram>,
    /// Calls taken from other shards.
    pub hops: Counter,
}

/// What a shard has at one moment.
#[derive(Clone, Default)]
pub struct Holdings {
    /// Its number.
    pub shard: usize,
    /// Partitions that it serves.
    pub partitions: usize,
    /// Partitions that it should serve and cannot: each with the reason.
    pub offline: Vec<String>,
    /// Bytes of requests in flight.
    pub in_flight_bytes: usize,
    /// Fetch sessions.
    pub fetch_sessions: usize,
    /// Partitions that they remember.
    pub fetch_session_partitions: usize,
    /// How many of them had to make room so far.
    pub fetch_sessions_evicted: u64,
    /// Groups that are kept here.
    pub groups: usize,
    /// Members that they have.
    pub group_members: usize,
    /// What its machine has done.
    pub io: Counters,
}

/// A shard's numbers at one moment. Goes from core to core.
#[derive(Clone, Default)]
pub struct Snapshot {
    holdings: Holdings,
    ports: [(&'static str, PortSnapshot); 3],
    appended: [u64; 3],
    expired_segments: u64,
    expired_bytes: u64,
    /// Passes, failed passes, records, bytes.
    compaction: [u64; 4],
    rebalances: u64,
    commits: Histogram,
    hops: u64,
}

#[derive(Clone, Default)]
struct PortSnapshot {
    connections: u64,
    accepted: u64,
    refused: u64,
    slow: u64,
    requests: BTreeMap<&'static str, Histogram>,
    errors: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// A commit of a group has become durable.
    pub fn committed(&self, time: Duration) {
        self.commits.borrow_mut().record(time);
    }

    /// The numbers now.
    pub fn snapshot(&self, holdings: Holdings) -> Snapshot {
        let port = |port: &Port| PortSnapshot {
            connections: port.connections.get(),
            accepted: port.accepted.get(),
            refused: port.refused_connections.get(),
            slow: port.slow_readers.get(),
            requests: port.requests.borrow().clone(),
            errors: port.errors.borrow().clone(),
        };
        Snapshot {
            holdings,
            ports: [("kafka", port(&self.kafka)), ("grpc", port(&self.grpc)), ("http", port(&self.http))],
            appended: [self.appended_batches.get(), self.appended_bytes.get(), self.appended_records.get()],
            expired_segments: self.expired_segments.get(),
            expired_bytes: self.expired_bytes.get(),
            compaction: [
                self.compactions.get(),
                self.failed_compactions.get(),
                self.compacted_records.get(),
                self.compacted_bytes.get(),
            ],
            rebalances: self.rebalances.get(),
            commits: self.commits.borrow().clone(),
            hops: self.hops.get(),
        }
    }
}

struct Family<'a> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(&'a str, String, u64)>,
}

impl Snapshot {
    /// Partitions that should be served and are not: each with the reason.
    pub fn offline(&self) -> &[String] {
        &self.holdings.offline
    }

    fn families(&self) -> Vec<Family<'_>> {
        let Holdings { shard, partitions, offline, in_flight_bytes, io, .. } = &self.holdings;
        let shard = format!("shard=\"{shard}\"");
        let one =
            |name, kind, help, value| Family { name, kind, help, samples: vec![("", shard.clone(), value)] };
        let way = |way: &str| format!("{shard},way=\"{way}\"");
        let port = |name, kind, help, value: fn(&PortSnapshot) -> u64| Family {
            name,
            kind,
            help,
            samples: self
                .ports
                .iter()
                .map(|(p, n)| ("", format!("{shard},port=\"{p}\""), value(n)))
                .collect(),
        };
        let mut families = vec![
            one("millrace_partitions", "gauge", "Partitions that this shard owns.", *partitions as u64),
            one(
                "millrace_offline_partitions",
                "gauge",
                "Partitions that should be served and are not.",
                offline.len() as u64,
            ),
            one("millrace_in_flight_bytes", "gauge", "Request bytes held.", *in_flight_bytes as u64),
            one(
                "millrace_fetch_sessions",
                "gauge",
                "Incremental fetch sessions.",
                self.holdings.fetch_sessions as u64,
            ),
            one(
                "millrace_fetch_session_partitions",
                "gauge",
                "Partitions that fetch sessions remember.",
                self.holdings.fetch_session_partitions as u64,
            ),
            one("millrace_groups", "gauge", "Groups that are kept.", self.holdings.groups as u64),
            one(
                "millrace_group_members",
                "gauge",
                "Members of the groups that are kept.",
                self.holdings.group_members as u64,
            ),
            one(
                "millrace_group_rebalances_total",
                "counter",
                "Rebalances of the groups that are kept.",
                self.rebalances,
            ),
            one(
                "millrace_fetch_sessions_evicted_total",
                "counter",
                "Fetch sessions that made room for others.",
                self.holdings.fetch_sessions_evicted,
            ),
            one("millrace_appended_batches_total", "counter", "Record batches appended.", self.appended[0]),
            one(
                "millrace_appended_bytes_total",
                "counter",
                "Bytes of record batches appended.",
                self.appended[1],
            ),
            one("millrace_appended_records_total", "counter", "Records appended.", self.appended[2]),
            one(
                "millrace_retention_segments_total",
                "counter",
                "Segments that retention deleted.",
                self.expired_segments,
            ),
            one(
                "millrace_retention_bytes_total",
                "counter",
                "Bytes of the segments that retention deleted.",
                self.expired_bytes,
            ),
            one(
                "millrace_compactions_total",
                "counter",
                "Passes of compaction that came to their end.",
                self.compaction[0],
            ),
            one(
                "millrace_failed_compactions_total",
                "counter",
                "Passes of compaction that did not; the log says why.",
                self.compaction[1],
            ),
            one(
                "millrace_compaction_removed_records_total",
                "counter",
                "Records that compaction removed.",
                self.compaction[2],
            ),
            one(
                "millrace_compaction_freed_bytes_total",
                "counter",
                "Bytes that logs shrank by compaction.",
                self.compaction[3],
            ),
            one("millrace_shard_hops_total", "counter", "Calls taken from other shards.", self.hops),
            one(
                "millrace_received_bytes_total",
                "counter",
                "Bytes received from sockets.",
                io.received_bytes,
            ),
            Family {
                name: "millrace_sent_bytes_total",
                kind: "counter",
                help: "Bytes sent: from memory, from the page cache (sendfile), from the disk (splice).",
                samples: vec![
                    ("", way("memory"), io.sent_bytes),
                    ("", way("sendfile"), io.hot_bytes),
                    ("", way("splice"), io.cold_bytes),
                ],
            },
            one("millrace_written_bytes_total", "counter", "Bytes written to files.", io.written_bytes),
            one("millrace_writes_total", "counter", "Writes to files.", io.writes),
            one("millrace_syncs_total", "counter", "Syncs of files and directories.", io.syncs),
            one("millrace_turns_total", "counter", "Rounds of the event loop.", io.turns),
            port("millrace_connections", "gauge", "Connections open.", |p| p.connections),
            port("millrace_connections_accepted_total", "counter", "Connections taken.", |p| p.accepted),
            port("millrace_connections_refused_total", "counter", "Connections refused or broken.", |p| {
                p.refused
            }),
            port("millrace_slow_readers_total", "counter", "Connections closed for not reading.", |p| p.slow),
        ];
        families.push(self.errors(&shard));
        families.push(self.latencies(&shard));
        families.push(Family {
            name: "millrace_group_commit_seconds",
            kind: "histogram",
            help: "From a commit's arrival at the coordinator to its being durable.",
            samples: self.commits.samples(&shard),
        });
        families
    }

    fn errors(&self, shard: &str) -> Family<'_> {
        let samples = self.ports.iter().flat_map(|(port, numbers)| {
            let label = move |error: &str| format!("{shard},port=\"{port}\",error=\"{error}\"");
            numbers.errors.iter().map(move |(error, &count)| ("", label(error), count))
        });
        Family {
            name: "millrace_errors_total",
            kind: "counter",
            help: "Errors answered, by their name on the wire.",
            samples: samples.collect(),
        }
    }

    fn latencies(&self, shard: &str) -> Family<'_> {
        let mut samples = Vec::new();
        for (port, numbers) in &self.ports {
            for (api, histogram) in &numbers.requests {
                let labels = format!("{shard},port=\"{port}\",api=\"{api}\"");
                samples.extend(histogram.samples(&labels));
            }
        }
        Family {
            name: "millrace_request_seconds",
            kind: "histogram",
            help: "From the last byte of a request to its answer being ready.",
            samples,
        }
    }
}

/// The Prometheus text of all shards.
pub fn render(shards: &[Snapshot]) -> String {
    let mut text = String::new();
    let all: Vec<_> = shards.iter().map(Snapshot::families).collect();
    for index in 0..all.first().map_or(0, Vec::len) {
        let Family { name, kind, help, .. } = &all[0][index];
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for family in &all {
            for (suffix, labels, value) in &family[index].samples {
                let _ = match *suffix {
                    "_sum" => writeln!(text, "{name}_sum{{{labels}}} {}", *value as f64 / 1e6),
                    suffix => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
                };
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_appears_under_one_header() {
        let metrics = Metrics::default();
        metrics.kafka.request("Produce", Duration::from_micros(100));
        metrics.kafka.request("Produce", Duration::from_secs(60));
        metrics.kafka.error("UNKNOWN_TOPIC_OR_PARTITION");
        metrics.committed(Duration::from_millis(1));
        metrics.rebalances.add(3);
        let shards: Vec<_> =
            (0..2).map(|shard| metrics.snapshot(Holdings { shard, ..Holdings::default() })).collect();
        let text = render(&shards);
        assert_eq!(text.matches("# TYPE millrace_request_seconds histogram").count(), 1);
        let bucket =
            "millrace_request_seconds_bucket{shard=\"1\",port=\"kafka\",api=\"Produce\",le=\"0.000256\"} 1\n";
        assert!(text.contains(bucket), "{text}");
        let all =
            "millrace_request_seconds_bucket{shard=\"0\",port=\"kafka\",api=\"Produce\",le=\"+Inf\"} 2\n";
        assert!(text.contains(all), "{text}");
        assert!(
            text.contains("millrace_request_seconds_sum{shard=\"0\",port=\"kafka\",api=\"Produce\"} 60.0001")
        );
        assert!(text.contains("error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1"));
        assert!(text.contains("millrace_group_rebalances_total{shard=\"1\"} 3\n"));
        for (le, count) in [("0.000256", 0), ("0.001024", 1), ("+Inf", 1)] {
            let bucket = format!("millrace_group_commit_seconds_bucket{{shard=\"0\",le=\"{le}\"}} {count}\n");
            assert!(text.contains(&bucket), "{text}");
        }
    }
}
