//! The partition against a model that is too simple to be wrong: random events from a seed, and after each the effects must be the same.
//!
//! The model keeps every batch for ever and finds everything by looking through all of them. `SEED=n` runs one seed alone.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_logic::offset::{Durable, LogEnd, LogStart, Offset, Written};
use millrace_logic::partition::*;

const SEEDS: u64 = 600;
const EVENTS: usize = 250;

type Ticket = u32;
type Watcher = u8;

/// SplitMix64: all that a test needs of randomness.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }
}

/// Effects that can be compared whatever their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Answered { ticket: Ticket, base: i64, time: Option<i64> },
    Refused { ticket: Ticket, error: String },
    Available { watcher: Watcher, bytes: u64 },
    WatchOver { watcher: Watcher },
}

impl From<Effect<Ticket, Watcher>> for Seen {
    fn from(effect: Effect<Ticket, Watcher>) -> Self {
        match effect {
            Effect::Reply { ticket, outcome: Ok(appended) } => {
                Self::Answered { ticket, base: appended.base_offset.get(), time: appended.log_append_time }
            }
            Effect::Reply { ticket, outcome: Err(error) } => {
                Self::Refused { ticket, error: name(&error).to_owned() }
            }
            Effect::Available { watcher, bytes } => Self::Available { watcher, bytes },
            Effect::WatchFailed { watcher, .. } => Self::WatchOver { watcher },
        }
    }
}

fn name(error: &ProduceError) -> &'static str {
    match error {
        ProduceError::Sequence(SequenceError::OutOfOrder { .. }) => "out of order",
        ProduceError::Sequence(SequenceError::Fenced { .. }) => "fenced",
        ProduceError::TimedOut => "timed out",
        other => panic!("the model never causes {other:?}"),
    }
}

#[derive(Clone, Debug)]
struct Batch {
    base: i64,
    end: i64,
    size: u64,
    timestamp: i64,
    producer: Option<Sequenced>,
}

impl Batch {
    fn last_sequence(&self) -> i64 {
        let base = i64::from(self.producer.unwrap().base_sequence);
        (base + self.end - self.base - 1) % (1 << 31)
    }
}

#[derive(Clone, Debug)]
struct Pending {
    ticket: Ticket,
    acks: Acks,
    end: i64,
    base: i64,
    time: Option<i64>,
    deadline: Duration,
}

#[derive(Default)]
struct Model {
    batches: Vec<Batch>,
    pending: Vec<Pending>,
    watchers: BTreeMap<Watcher, i64>,
    log_start: i64,
    high_watermark: i64,
    durable: i64,
    written: i64,
    write_caching: bool,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.end)
    }

    /// The producer's epoch, and its last five batches in that epoch, oldest first.
    fn known(&self, id: i64) -> Option<(i16, Vec<&Batch>)> {
        let of_it = |batch: &&Batch| batch.producer.is_some_and(|producer| producer.id == id);
        let epoch = self.batches.iter().rfind(of_it)?.producer?.epoch;
        let in_epoch = |batch: &&Batch| {
            batch.producer.is_some_and(|producer| producer.id == id && producer.epoch == epoch)
        };
        let mut batches: Vec<_> = self.batches.iter().filter(in_epoch).collect();
        batches.drain(..batches.len().saturating_sub(5));
        Some((epoch, batches))
    }

    fn judge(&self, batch: &Batch) -> Result<Option<Batch>, &'static str> {
        let Some(producer) = batch.producer else { return Ok(None) };
        let Some((epoch, recent)) = self.known(producer.id) else { return Ok(None) };
        if producer.epoch < epoch {
            return Err("fenced");
        }
        if producer.epoch > epoch {
            return if producer.base_sequence == 0 { Ok(None) } else { Err("out of order") };
        }
        let same =
            |old: &&&Batch| old.producer == batch.producer && old.end - old.base == batch.end - batch.base;
        if let Some(original) = recent.iter().find(same) {
            return Ok(Some((*original).clone()));
        }
        let expected = (recent.last().unwrap().last_sequence() + 1) % (1 << 31);
        if i64::from(producer.base_sequence) == expected { Ok(None) } else { Err("out of order") }
    }

    /// Everything that follows from the offsets as they are now.
    fn settle(&mut self, now: Option<Duration>) -> Vec<Seen> {
        let mut seen = Vec::new();
        let reached = if self.write_caching { self.written } else { self.durable };
        let before = self.high_watermark;
        self.high_watermark = before.max(reached);
        for (&watcher, &from) in &self.watchers {
            let opened =
                |batch: &&Batch| batch.end > before && batch.end <= self.high_watermark && batch.end > from;
            let bytes = self.batches.iter().filter(opened).map(|batch| batch.size).sum();
            if bytes > 0 {
                seen.push(Seen::Available { watcher, bytes });
            }
        }
        let (written, watermark) = (self.written, self.high_watermark);
        self.pending.retain(|pending| {
            let safe = match pending.acks {
                Acks::None => true,
                Acks::Leader => pending.end <= written,
                Acks::All => pending.end <= watermark,
            };
            let late = pending.acks == Acks::All && now.is_some_and(|now| pending.deadline <= now);
            let ticket = pending.ticket;
            if safe && pending.acks != Acks::None {
                seen.push(Seen::Answered { ticket, base: pending.base, time: pending.time });
            } else if late {
                seen.push(Seen::Refused { ticket, error: "timed out".to_owned() });
            }
            !safe && !late
        });
        seen
    }
}

struct Run {
    random: Random,
    partition: Partition<Ticket, Watcher>,
    model: Model,
    settings: Settings,
    now: Duration,
    tickets: Ticket,
    /// A snapshot of the producers and where the log ended then.
    snapshot: Option<(Vec<ProducerEntry>, i64)>,
    out: Vec<Effect<Ticket, Watcher>>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let settings = Settings::default();
        Self {
            random: Random(seed),
            partition: open(settings, 0, 0, Producers::new(settings.max_producers)),
            model: Model::default(),
            settings,
            now: Duration::ZERO,
            tickets: 0,
            snapshot: None,
            out: Vec::new(),
        }
    }

    fn step(&mut self) -> String {
        let dice = self.random.below(100);
        let (event, mut expected) = match dice {
            0..40 => self.produce(),
            40..55 => self.written(),
            55..70 => self.durable(),
            70..78 => self.tick(),
            78..88 => self.watch(),
            88..92 => self.log_start(),
            92..94 => self.toggle_caching(),
            94..97 => self.take_snapshot(),
            _ => self.restart(),
        };
        let mut seen: Vec<Seen> = std::mem::take(&mut self.out).into_iter().map(Seen::from).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "after {event}");
        self.compare(&event);
        event
    }

    fn compare(&self, event: &str) {
        let (partition, model) = (&self.partition, &self.model);
        let found = (partition.log_start().get(), partition.high_watermark().get(), partition.end().get());
        assert_eq!(found, (model.log_start, model.high_watermark, model.end()), "after {event}");
        assert_eq!(partition.parked_produces(), model.pending.len(), "after {event}");
        let earliest = model
            .pending
            .iter()
            .filter(|pending| pending.acks == Acks::All)
            .map(|pending| pending.deadline)
            .min();
        assert_eq!(partition.next_deadline(), earliest, "after {event}");
        for offset in [-1, model.log_start, model.high_watermark, model.end(), model.end() + 1] {
            let found = partition.fetch_bounds(Offset::new(offset), None, Isolation::ReadCommitted);
            let in_range = offset >= model.log_start && offset <= model.end();
            assert_eq!(found.is_ok(), in_range, "{offset} after {event}");
            assert!(found.is_err() || found.unwrap().upto.get() == model.high_watermark);
        }
    }

    /// A batch that mostly continues its producer's order, and sometimes repeats, skips or changes epoch.
    fn random_batch(&mut self) -> Batch {
        let random = &mut self.random;
        let (base, size, timestamp) = (self.model.end(), random.below(5000) + 61, random.below(1000) as i64);
        let mut records = random.between(1, 4);
        let id = random.below(4) as i64;
        let producer = (id != 3).then(|| {
            let known = self.model.known(id);
            let start = || (i32::MAX - 5, 0);
            let (mut base_sequence, mut epoch) = known.as_ref().map_or_else(start, |(epoch, recent)| {
                (((recent.last().unwrap().last_sequence() + 1) % (1 << 31)) as i32, *epoch)
            });
            match random.below(10) {
                0..3 => {
                    if let Some((_, recent)) = &known {
                        let repeated = recent[random.below(recent.len() as u64) as usize];
                        base_sequence = repeated.producer.unwrap().base_sequence;
                        records = repeated.end - repeated.base;
                    }
                }
                3 => base_sequence = random.below(20) as i32,
                4 => (epoch, base_sequence) = (epoch + 1, random.below(2) as i32),
                5 => epoch = (epoch - 1).max(0),
                _ => {}
            }
            Sequenced { id, epoch, base_sequence }
        });
        Batch { base, end: base + records, size, timestamp, producer }
    }

    fn produce(&mut self) -> (String, Vec<Seen>) {
        let batch = self.random_batch();
        let acks = [Acks::None, Acks::Leader, Acks::All, Acks::All][self.random.below(4) as usize];
        let deadline = self.now + Duration::from_secs(self.random.below(20));
        let ticket = self.tickets;
        self.tickets += 1;
        let event = format!("produce {batch:?} {acks:?}");
        let facts = BatchFacts {
            last_offset_delta: (batch.end - batch.base - 1) as i32,
            size: batch.size,
            max_timestamp: batch.timestamp,
            producer: batch.producer,
            transactional: false,
        };
        let produce = Produce { now: self.now, wall_ms: 0, batch: facts, acks, deadline, ticket };
        let decision = self.partition.on_produce(produce, &mut self.out);
        let (end, base, time) = match self.model.judge(&batch) {
            Err(error) => {
                assert_eq!(decision, Decision::Refused, "{event}");
                return (event, vec![Seen::Refused { ticket, error: error.to_owned() }]);
            }
            Ok(Some(original)) => {
                assert_eq!(decision, Decision::Duplicate, "{event}");
                (original.end, original.base, Some(original.timestamp))
            }
            Ok(None) => {
                let base_offset = Offset::new(batch.base);
                let stamp = Stamp { base_offset, leader_epoch: LeaderEpoch::new(3), log_append_time: None };
                assert_eq!(decision, Decision::Append(stamp), "{event}");
                self.model.batches.push(batch.clone());
                (batch.end, batch.base, None)
            }
        };
        self.model.pending.push(Pending { ticket, acks, end, base, time, deadline });
        (event, self.model.settle(None))
    }

    fn written(&mut self) -> (String, Vec<Seen>) {
        let end = self.random.between(self.model.durable, self.model.end());
        self.model.written = self.model.written.max(end);
        self.partition.on_written(Written::at(Offset::new(end)), &mut self.out);
        (format!("written {end}"), self.model.settle(None))
    }

    fn durable(&mut self) -> (String, Vec<Seen>) {
        let end = self.random.between(0, self.model.end());
        self.model.durable = self.model.durable.max(end);
        self.model.written = self.model.written.max(end);
        self.partition.on_durable(Durable::at(Offset::new(end)), &mut self.out);
        (format!("durable {end}"), self.model.settle(None))
    }

    fn tick(&mut self) -> (String, Vec<Seen>) {
        self.now += Duration::from_secs(self.random.below(10));
        self.partition.on_tick(self.now, &mut self.out);
        (format!("now {:?}", self.now), self.model.settle(Some(self.now)))
    }

    fn watch(&mut self) -> (String, Vec<Seen>) {
        let watcher = self.random.below(4) as Watcher;
        if self.random.chance(30) {
            let waited = self.partition.unwatch(&watcher);
            assert_eq!(waited, self.model.watchers.remove(&watcher).is_some());
            return (format!("unwatch {watcher}"), vec![]);
        }
        let from = self.random.between(self.model.log_start, self.model.end());
        let seen = self.partition.fetch_bounds(Offset::new(from), None, Isolation::ReadUncommitted).unwrap();
        assert_eq!(self.partition.watch(watcher, Offset::new(from), &seen), Ok(Watching::Parked));
        self.model.watchers.insert(watcher, from);
        (format!("watch {watcher} from {from}"), vec![])
    }

    fn log_start(&mut self) -> (String, Vec<Seen>) {
        let wanted = self.random.between(0, self.model.end());
        self.partition.on_log_start(LogStart::at(Offset::new(wanted)), &mut self.out);
        let model = &mut self.model;
        model.log_start = model.log_start.max(wanted.min(model.high_watermark));
        let (start, mut over) = (model.log_start, Vec::new());
        model.watchers.retain(|&watcher, from| {
            let stays = *from >= start;
            if !stays {
                over.push(Seen::WatchOver { watcher });
            }
            stays
        });
        (format!("log start {wanted}"), over)
    }

    fn toggle_caching(&mut self) -> (String, Vec<Seen>) {
        self.settings.write_caching = !self.settings.write_caching;
        self.model.write_caching = self.settings.write_caching;
        self.partition.configure(self.settings, &mut self.out);
        (format!("write caching {}", self.settings.write_caching), self.model.settle(None))
    }

    fn take_snapshot(&mut self) -> (String, Vec<Seen>) {
        let end = self.partition.end().get();
        self.snapshot = Some((self.partition.producers().snapshot().collect(), end));
        (format!("snapshot at {end}"), vec![])
    }

    /// The process ends; the log is cut somewhere at or after what was durable, and rebuilt.
    fn restart(&mut self) -> (String, Vec<Seen>) {
        let cut = self.random.between(self.model.durable.max(self.model.high_watermark), self.model.end());
        let model = &mut self.model;
        model.batches.retain(|batch| batch.base < cut);
        (model.pending, model.watchers) = (Vec::new(), BTreeMap::new());
        let end = model.end();
        // Storage ignores a snapshot of a longer log.
        self.snapshot = self.snapshot.take().filter(|(_, at)| *at <= end);
        let (entries, from) = self.snapshot.clone().unwrap_or_default();
        // Segments begin where they begin: the replay may run over batches that the snapshot knows.
        let from = if self.random.chance(50) { from } else { self.random.between(0, from) };
        let mut producers = Producers::new(self.settings.max_producers);
        let snapshot_first = self.random.chance(50);
        if snapshot_first {
            producers.restore(entries.clone(), self.now);
        }
        for batch in model.batches.iter().filter(|batch| batch.base >= from) {
            producers.replay(&logged(batch), self.now);
        }
        if !snapshot_first {
            producers.restore(entries, self.now);
        }
        (model.written, model.durable, model.high_watermark) = (end, end, end);
        self.partition = open(self.settings, model.log_start, end, producers);
        (format!("restart at {end}, replayed from {from}, snapshot first {snapshot_first}"), vec![])
    }
}

fn open(settings: Settings, log_start: i64, end: i64, producers: Producers) -> Partition<Ticket, Watcher> {
    let opening = Opening {
        broker: 1,
        leader_epoch: LeaderEpoch::new(3),
        log_start: LogStart::at(Offset::new(log_start)),
        end: LogEnd::at(Offset::new(end)),
        epochs: Epochs::default(),
        producers,
    };
    Partition::open(settings, opening)
}

fn logged(batch: &Batch) -> LoggedBatch {
    LoggedBatch {
        base_offset: Offset::new(batch.base),
        leader_epoch: LeaderEpoch::new(3),
        control: false,
        facts: BatchFacts {
            last_offset_delta: (batch.end - batch.base - 1) as i32,
            size: batch.size,
            max_timestamp: batch.timestamp,
            producer: batch.producer,
            transactional: false,
        },
    }
}

#[test]
fn the_partition_does_what_the_model_does() {
    let chosen = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = chosen.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..EVENTS {
                let event = run.step();
                if chosen.is_some() {
                    println!("{event}");
                }
            }
        });
        if let Err(panic) = outcome {
            eprintln!(
                "SEED={seed} fails; SEED={seed} cargo test -p millrace-logic --test model -- --nocapture replays it"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
