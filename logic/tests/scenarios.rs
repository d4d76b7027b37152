//! Stories of one partition, told as text: events in, effects out.
//!
//! Each file in `tests/scenarios` is a list of events; the lines that begin with "> " are what came of them (see `story`). Time is in seconds,
//! offsets are exclusive, a produce is named by its ticket.

mod story;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use millrace_logic::offset::{Durable, LogEnd, LogStart, Offset, Written};
use millrace_logic::partition::*;
use story::{Words, none_is_forgotten};

#[test]
fn acks() {
    check("acks.txt");
}

#[test]
fn duplicates() {
    check("duplicates.txt");
}

#[test]
fn sequences() {
    check("sequences.txt");
}

#[test]
fn epochs_of_producers() {
    check("producer_epochs.txt");
}

#[test]
fn forgetting_producers() {
    check("forgetting.txt");
}

#[test]
fn failures() {
    check("failures.txt");
}

#[test]
fn watchers() {
    check("watchers.txt");
}

#[test]
fn timeouts() {
    check("timeouts.txt");
}

#[test]
fn bounds() {
    check("bounds.txt");
}

#[test]
fn restarts() {
    check("restarts.txt");
}

#[test]
fn no_story_is_forgotten() {
    none_is_forgotten("scenarios", include_str!("scenarios.rs"));
}

fn check(name: &str) {
    let mut world = World::new();
    story::check("scenarios", name, |event| world.run(event));
}

struct World {
    partition: Option<Partition<String, String>>,
    settings: Settings,
    now: Duration,
    /// What storage would hold.
    log: Vec<LoggedBatch>,
    snapshot: Vec<ProducerEntry>,
    snapshot_end: i64,
    looks: BTreeMap<String, Bounds>,
    out: Vec<Effect<String, String>>,
}

impl World {
    fn new() -> Self {
        Self {
            partition: None,
            settings: Settings::default(),
            now: Duration::ZERO,
            log: Vec::new(),
            snapshot: Vec::new(),
            snapshot_end: 0,
            looks: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    fn partition(&mut self) -> &mut Partition<String, String> {
        self.partition.as_mut().expect("the story opens a partition first")
    }

    fn run(&mut self, event: &str) -> Vec<String> {
        let words = Words::of(event);
        let mut lines = self.dispatch(&words);
        lines.extend(std::mem::take(&mut self.out).into_iter().map(show_effect));
        lines
    }

    fn dispatch(&mut self, words: &Words<'_>) -> Vec<String> {
        match words.plain[0] {
            "open" => self.open(words),
            "configure" => {
                self.configure(words);
                let (settings, mut out) = (self.settings, Vec::new());
                self.partition().configure(settings, &mut out);
                self.out = out;
                vec![]
            }
            "produce" => self.produce(words),
            "no_room" => {
                let produce = self.incoming(words);
                self.event(|partition, out| partition.on_no_room(produce, out))
            }
            "written" | "durable" | "log_start" => self.storage(words),
            "storage_failed" => self.event(|partition, out| partition.on_storage_failed(out)),
            "deleted" => self.event(|partition, out| partition.on_deleted(out)),
            "now" => {
                self.now = Duration::from_secs(words.nth(1));
                let now = self.now;
                self.event(|partition, out| partition.on_tick(now, out))
            }
            "deadline" => {
                let deadline = self.partition().next_deadline();
                vec![deadline.map_or("none".to_owned(), |at| format!("at {}", at.as_secs_f64()))]
            }
            "fetch" => vec![show(self.bounds(words).map(show_bounds))],
            "look" => {
                let bounds = self.bounds(words).unwrap();
                self.looks.insert(words.plain[1].to_owned(), bounds);
                vec![show_bounds(bounds)]
            }
            "watch" => {
                let name = words.plain[1].to_owned();
                let seen = self.looks[&name];
                let from = Offset::new(words.get("from", 0));
                vec![show(
                    self.partition()
                        .watch(name, from, &seen)
                        .map(|watching| format!("{watching:?}").to_lowercase()),
                )]
            }
            "unwatch" => {
                let name = words.plain[1].to_owned();
                let did = self.partition().unwatch(&name);
                vec![if did { "forgotten" } else { "was not waiting" }.to_owned()]
            }
            "list" => vec![self.list(words)],
            "epoch_end" => vec![self.epoch_end(words)],
            "diverges" => vec![self.diverges(words)],
            "producers" => self.producers(),
            "ruler" => vec![self.ruler()],
            "snapshot" => {
                self.snapshot = self.partition().producers().snapshot().collect();
                self.snapshot_end = self.partition().end().get();
                vec![format!("{} producers at {}", self.snapshot.len(), self.snapshot_end)]
            }
            "restart" => self.restart(words),
            other => panic!("no such event: {other}"),
        }
    }

    fn event(
        &mut self,
        act: impl FnOnce(&mut Partition<String, String>, &mut Vec<Effect<String, String>>),
    ) -> Vec<String> {
        let mut out = Vec::new();
        act(self.partition(), &mut out);
        self.out = out;
        vec![]
    }

    fn configure(&mut self, words: &Words<'_>) {
        let expiration = words.get("expiration", self.settings.producer_expiration.as_secs());
        self.settings = Settings {
            write_caching: words.has("write_caching"),
            log_append_time: words.has("append_time"),
            producer_expiration: Duration::from_secs(expiration),
            max_producers: words.get("max_producers", self.settings.max_producers),
        };
    }

    fn open(&mut self, words: &Words<'_>) -> Vec<String> {
        self.configure(words);
        (self.log, self.snapshot, self.snapshot_end) = (Vec::new(), Vec::new(), 0);
        let end = words.get("end", 0);
        let epochs = words.keyed.get("epochs").copied().unwrap_or_default();
        let entry = |entry: &str| {
            let (epoch, start) = entry.split_once('@').unwrap();
            EpochEntry {
                epoch: LeaderEpoch::new(epoch.parse().unwrap()),
                start: Offset::new(start.parse().unwrap()),
            }
        };
        let opening = Opening {
            broker: 1,
            leader_epoch: LeaderEpoch::new(words.get("epoch", 0)),
            log_start: LogStart::at(Offset::new(words.get("start", 0))),
            end: LogEnd::at(Offset::new(end)),
            epochs: Epochs::restore(epochs.split(',').filter(|text| !text.is_empty()).map(entry)),
            producers: Producers::new(self.settings.max_producers),
        };
        self.partition = Some(Partition::open(self.settings, opening));
        vec![self.ruler()]
    }

    /// The log is cut at `end` (all of it by default), and everything is rebuilt from it and from the snapshot.
    fn restart(&mut self, words: &Words<'_>) -> Vec<String> {
        let end = words.get("end", self.partition().end().get());
        let (log_start, leader_epoch) = (self.partition().log_start(), self.partition().leader_epoch());
        let epochs = self.partition().epochs().clone();
        let mut producers = Producers::new(self.settings.max_producers);
        self.log.retain(|batch| batch.base_offset.get() < end);
        let with_snapshot = words.has("snapshot");
        let from = if with_snapshot { self.snapshot_end } else { 0 };
        for batch in self.log.iter().filter(|batch| batch.base_offset.get() >= from) {
            producers.replay(batch, self.now);
        }
        if with_snapshot {
            producers.restore(self.snapshot.clone(), self.now);
        }
        let end = LogEnd::at(Offset::new(end));
        let opening = Opening { broker: 1, leader_epoch, log_start, end, epochs, producers };
        self.partition = Some(Partition::open(self.settings, opening));
        vec![self.ruler()]
    }

    /// A produce as its line describes it.
    fn incoming(&self, words: &Words<'_>) -> Produce<String> {
        let pid: i64 = words.get("pid", -1);
        let sequenced =
            Sequenced { id: pid, epoch: words.get("epoch", 0), base_sequence: words.get("seq", 0) };
        let batch = BatchFacts {
            last_offset_delta: words.get("records", 1) - 1,
            size: words.get("size", 100),
            max_timestamp: words.get("ts", 1000),
            producer: (pid >= 0).then_some(sequenced),
            transactional: words.has("transactional"),
        };
        let acks = match words.get("acks", "all".to_owned()).as_str() {
            "all" => Acks::All,
            number => Acks::from_wire(number.parse().unwrap()).unwrap(),
        };
        let deadline = self.now + Duration::from_secs(words.get("timeout", 30));
        let (now, wall_ms, ticket) = (self.now, words.get("wall", 5000), words.plain[1].to_owned());
        Produce { now, wall_ms, batch, acks, deadline, ticket }
    }

    fn produce(&mut self, words: &Words<'_>) -> Vec<String> {
        let produce = self.incoming(words);
        let (batch, mut out) = (produce.batch, Vec::new());
        let decision = self.partition().on_produce(produce, &mut out);
        self.out = out;
        match decision {
            Decision::Append(stamp) => {
                let (base_offset, leader_epoch) = (stamp.base_offset, stamp.leader_epoch);
                self.log.push(LoggedBatch { base_offset, leader_epoch, control: false, facts: batch });
                let time = stamp.log_append_time.map_or(String::new(), |time| format!(" append time {time}"));
                vec![format!("append at {base_offset} in epoch {leader_epoch}{time}")]
            }
            Decision::Duplicate => vec!["duplicate".to_owned()],
            Decision::Refused => vec!["refused".to_owned()],
        }
    }

    fn storage(&mut self, words: &Words<'_>) -> Vec<String> {
        let (verb, offset) = (words.plain[0].to_owned(), Offset::new(words.nth(1)));
        self.event(|partition, out| match verb.as_str() {
            "written" => partition.on_written(Written::at(offset), out),
            "durable" => partition.on_durable(Durable::at(offset), out),
            _ => {
                partition.on_log_start(LogStart::at(offset), out);
            }
        });
        vec![self.ruler()]
    }

    fn bounds(&mut self, words: &Words<'_>) -> Result<Bounds, FetchError> {
        let epoch = LeaderEpoch::from_wire(words.get("epoch", -1));
        let offset = Offset::new(words.get("from", 0));
        self.partition().fetch_bounds(offset, epoch, isolation(words))
    }

    fn list(&mut self, words: &Words<'_>) -> String {
        let spec = OffsetSpec::from_wire(words.nth(1)).unwrap();
        let epoch = LeaderEpoch::from_wire(words.get("epoch", -1));
        show(self.partition().list_offset(spec, epoch, isolation(words)).map(|lookup| match lookup {
            Lookup::Known(Listed { offset, leader_epoch }) => {
                format!("{spec:?}: offset {} epoch {}", or_none(offset), or_none(leader_epoch))
            }
            Lookup::Timestamp { timestamp, upto } => format!("look for {timestamp} below {upto}"),
            Lookup::MaxTimestamp { upto } => format!("look for the largest timestamp below {upto}"),
        }))
    }

    fn epoch_end(&mut self, words: &Words<'_>) -> String {
        let client = LeaderEpoch::from_wire(words.get("epoch", -1));
        let found = self.partition().end_offset_for_epoch(LeaderEpoch::new(words.nth(1)), client);
        show(found.map(show_epoch_end))
    }

    fn diverges(&mut self, words: &Words<'_>) -> String {
        let found = self
            .partition()
            .diverging_epoch(LeaderEpoch::new(words.nth(1)), Offset::new(words.get("from", 0)));
        show(found.map(show_epoch_end))
    }

    fn producers(&mut self) -> Vec<String> {
        let show = |producer: ProducerEntry| {
            let batch = |batch: &RecentBatch| format!("{}@{}", batch.last_sequence, batch.last_offset);
            let batches: Vec<_> = producer.batches.iter().map(batch).collect();
            format!("producer {} epoch {}: {}", producer.id, producer.epoch, batches.join(" "))
        };
        let lines: Vec<_> = self.partition().producers().snapshot().map(show).collect();
        if lines.is_empty() { vec!["no producers".to_owned()] } else { lines }
    }

    fn ruler(&mut self) -> String {
        let partition = self.partition();
        let (start, watermark, end) = (partition.log_start(), partition.high_watermark(), partition.end());
        format!("start {start} watermark {watermark} end {end}")
    }
}

fn isolation(words: &Words<'_>) -> Isolation {
    if words.has("committed") { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

fn show(result: Result<String, impl Display>) -> String {
    result.unwrap_or_else(|error| format!("error: {error}"))
}

fn show_bounds(bounds: Bounds) -> String {
    let Bounds { log_start, stable, high_watermark, end, upto } = bounds;
    format!("read below {upto} (start {log_start} stable {stable} watermark {high_watermark} end {end})")
}

fn show_epoch_end(found: Option<EpochEnd>) -> String {
    found.map_or("none".to_owned(), |found| format!("epoch {} ends at {}", found.epoch, found.end))
}

fn show_effect(effect: Effect<String, String>) -> String {
    match effect {
        Effect::Reply { ticket, outcome: Ok(Appended { base_offset, log_append_time, log_start }) } => {
            format!("reply {ticket}: at {base_offset}, time {}, start {log_start}", or_none(log_append_time))
        }
        Effect::Reply { ticket, outcome: Err(error) } => format!("reply {ticket}: error: {error}"),
        Effect::Available { watcher, bytes } => format!("available to {watcher}: {bytes} bytes"),
        Effect::WatchFailed { watcher, why } => format!("watch of {watcher} ends: {why}"),
    }
}
