//! Compaction under crashes: the production log on a simulated disk that tears, from a seed, against the history of what was
//! appended. Keyed records and tombstones are appended, read, compacted and deleted all at once; at a random moment comes a power cut,
//! a kill or an orderly stop, and the log is opened again.
//!
//! What must hold, whatever happens: offsets follow each other without a gap; a record is what was appended there; one that is gone was
//! written again later, or is a tombstone; and whoever reads the log from its start ends up with the same value of every key.
//!
//! `MILLRACE_SEED=n` runs just that seed, `MILLRACE_SEEDS=n` as many seeds from 0 on.

use bytes::BytesMut;
use millrace_io::Io;
use millrace_io::simulated::{Crash, Host, Rng, SimIo, World};
use millrace_proto::batch::{Builder, Header, Options, Producer, records, stamp, verify};
use millrace_proto::compression::{Caps, Codec};
use millrace_storage::{
    CleanStart, CompactError, Compaction, DataDir, Identity, Log, LogConfig, LogEvent, Mutation, OpenError,
    PartitionOffsets, ReadError, RecoveryPoint, ReserveError,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

const DEFAULT_SEEDS: u64 = 200;
/// The deliberate fault must be noticed within so many seeds.
const CAUGHT_WITHIN: u64 = 50;
const LIVES: u64 = 6;
const KEYS: u64 = 12;
const PRODUCERS: u64 = 3;
const DATA: &str = "/data";

/// One record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

/// What was appended, and how much of it is promised.
#[derive(Default)]
struct History {
    entries: BTreeMap<i64, Entry>,
    /// By the offset of its last record: a batch's producer, and the last sequence number.
    batches: BTreeMap<i64, (i64, i32)>,
    sequences: HashMap<i64, i32>,
    durable: i64,
    log_start: i64,
    /// What passes that came to their end have compacted.
    compacted: i64,
    passes: u64,
    removed: u64,
    violation: Option<String>,
}

impl History {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// The last batch of each producer that ends at or below `end`.
    fn last_batches(&self, end: i64) -> HashMap<i64, i64> {
        self.batches.range(..end).map(|(last, (producer, _))| (*producer, *last)).collect()
    }
}

type Shared = Rc<RefCell<History>>;

#[derive(Clone)]
struct Context {
    io: SimIo,
    log: Log<SimIo>,
    dir: Rc<DataDir<SimIo>>,
    history: Shared,
}

impl Context {
    async fn pause(&self, rng: &mut Rng, most_micros: u64) {
        self.io.sleep(Duration::from_micros(rng.below(most_micros.max(1)))).await;
    }

    async fn checkpoint(&self) -> bool {
        let offsets = PartitionOffsets {
            topic: "t".into(),
            partition: 0,
            recovery_point: self.log.recovery_point(),
            high_watermark: self.log.durable(),
            log_start: self.log.log_start(),
            cleaned: self.history.borrow().compacted,
        };
        self.dir.checkpoint(vec![offsets]).await.is_ok()
    }
}

async fn open(io: SimIo, history: Shared, config: LogConfig) -> Result<Context, String> {
    let identity = Identity { node_id: 1, cluster_id: None };
    let dir = DataDir::open(io.clone(), Path::new(DATA), identity).await.map_err(|e| e.to_string())?;
    let clean = dir.clean_start() == CleanStart::Clean;
    let unknown = RecoveryPoint { clean, ..RecoveryPoint::default() };
    let point = dir.logs().first().map_or(unknown, |log| log.recovery);
    let heard = history.clone();
    let on_event: Rc<dyn Fn(LogEvent)> = Rc::new(move |event| {
        if let LogEvent::Durable { end } = event {
            heard.borrow_mut().durable = end;
        }
    });
    let path = Path::new(DATA).join("t-0");
    let log = match Log::open(io.clone(), &path, config.clone(), point, on_event.clone()).await {
        Ok((log, found)) => {
            history
                .borrow_mut()
                .check(found.cut.as_ref().is_none_or(|cut| cut.offset >= point.checkpoint), || {
                    format!("cut below the checkpoint: {:?}", found.cut)
                });
            history.borrow_mut().check(found.quarantined.is_empty(), || format!("{:?}", found.quarantined));
            log
        }
        Err(OpenError::NotCreated(_)) => {
            let created = Log::create(io.clone(), &path, Uuid::from_u128(7), config, on_event).await;
            created.map_err(|e| e.to_string())?
        }
        Err(e) => return Err(e.to_string()),
    };
    Ok(Context { io, log, dir: Rc::new(dir), history })
}

/// The records that are there, and every batch's producer and last sequence number by its last offset.
#[derive(Default)]
struct Found {
    entries: BTreeMap<i64, Entry>,
    batches: BTreeMap<i64, (i64, i32)>,
}

/// Reads `from..upto`: contiguous, whole, and nothing that was not appended there. `None` if the log went away meanwhile.
async fn read(cx: &Context, from: i64, upto: i64, most: u64) -> Result<Option<Found>, String> {
    let (mut found, mut at) = (Found::default(), from);
    while at < upto {
        let extents = match cx.log.read(at, upto, most, true).await {
            Ok(extents) => extents,
            Err(ReadError::OutOfRange { .. }) if at < cx.log.log_start() => return Ok(None),
            Err(ReadError::Offline(_)) => return Ok(None),
            Err(e) => return Err(format!("reading {at}: {e}")),
        };
        if extents.is_empty() {
            // A batch that ends behind `upto`.
            break;
        }
        let mut first = true;
        for extent in extents {
            let Ok(bytes) = cx.log.read_bytes(&extent).await else { return Ok(None) };
            // Since the read before, batches may have become one.
            at = take(&cx.history.borrow(), &bytes, at, first, &mut found)?;
            first = false;
            if at != extent.end_offset {
                return Err(format!("an extent says that it ends at {}, it ends at {at}", extent.end_offset));
            }
        }
    }
    Ok(Some(found))
}

fn take(
    history: &History,
    mut bytes: &[u8],
    mut at: i64,
    first: bool,
    found: &mut Found,
) -> Result<i64, String> {
    let mut scratch = Vec::new();
    let mut may_begin_before = first;
    while !bytes.is_empty() {
        let header = verify(bytes).map_err(|e| format!("at {at}: {e}"))?;
        if header.base_offset != at && !(may_begin_before && header.base_offset < at) {
            return Err(format!("offset {} follows where {at} is due", header.base_offset));
        }
        may_begin_before = false;
        for record in records(bytes, &mut scratch, &Caps::default()).map_err(|e| e.to_string())? {
            let record = record.map_err(|e| e.to_string())?;
            let entry = Entry {
                key: record.key.unwrap_or_default().to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                timestamp: record.timestamp,
            };
            if history.entries.get(&record.offset) != Some(&entry) {
                return Err(format!("offset {} is not what was appended: {entry:?}", record.offset));
            }
            found.entries.insert(record.offset, entry);
        }
        if header.has_producer_id() {
            found.batches.insert(header.last_offset(), (header.producer_id, header.last_sequence()));
        }
        at = header.next_offset();
        bytes = &bytes[header.size()..];
    }
    Ok(at)
}

/// What a reader of the whole log ends up with.
fn table(entries: &BTreeMap<i64, Entry>) -> BTreeMap<&[u8], &[u8]> {
    let mut table = BTreeMap::new();
    for entry in entries.values() {
        match &entry.value {
            Some(value) => table.insert(&entry.key[..], &value[..]),
            None => table.remove(&entry.key[..]),
        };
    }
    table
}

/// Compares a log that was just opened with its history, which ends there from now on.
async fn verify_opened(cx: &Context) -> Result<(), String> {
    let (start, end) = (cx.log.log_start(), cx.log.end());
    {
        let mut history = cx.history.borrow_mut();
        if end < history.durable {
            return Err(format!("the log ends at {end}, but {} was durable", history.durable));
        }
        history.durable = end;
        history.entries = history.entries.range(start..end).map(|(o, e)| (*o, e.clone())).collect();
        history.batches = history.batches.range(start..end).map(|(o, b)| (*o, *b)).collect();
        (history.log_start, history.compacted) = (start, history.compacted.min(end));
    }
    let found = read(cx, start, end, 20_000).await?.ok_or("the log is offline")?;
    let history = cx.history.borrow();
    let mut latest: HashMap<&[u8], i64> = HashMap::new();
    latest.extend(history.entries.iter().map(|(offset, entry)| (&entry.key[..], *offset)));
    for (offset, entry) in &history.entries {
        let gone = !found.entries.contains_key(offset);
        if gone && latest[&entry.key[..]] == *offset && entry.value.is_some() {
            return Err(format!("offset {offset} is gone although its key was never written again"));
        }
    }
    let (is, should_be) = (table(&found.entries), table(&history.entries));
    if is != should_be {
        return Err(format!("whoever reads the log ends up with {is:?} instead of {should_be:?}"));
    }
    for (producer, last) in history.last_batches(end) {
        if found.batches.get(&last) != history.batches.get(&last) {
            return Err(format!("producer {producer}'s last batch, up to {last}, is forgotten"));
        }
    }
    Ok(())
}

fn make_batch(history: &mut History, rng: &mut Rng, now: i64) -> (BytesMut, Vec<Entry>, Option<(i64, i32)>) {
    let mut builder = Builder::new();
    let mut entries = Vec::new();
    for _ in 0..rng.within(1..=4) {
        let value = (!rng.chance(0.15)).then(|| {
            let mut value = vec![0; rng.below(300) as usize];
            rng.fill(&mut value);
            value
        });
        let entry = Entry {
            key: format!("key{}", rng.below(KEYS)).into_bytes(),
            value,
            timestamp: now - rng.below(500) as i64,
        };
        builder.push(entry.timestamp, Some(&entry.key), entry.value.as_deref(), &[]).expect("a small record");
        entries.push(entry);
    }
    let codec = [Codec::None, Codec::None, Codec::Lz4, Codec::Zstd][rng.index(4)];
    let mut from = None;
    let producer = rng.chance(0.5).then(|| {
        let id = rng.below(PRODUCERS) as i64;
        let next = history.sequences.entry(id).or_default();
        let base_sequence = *next;
        *next += entries.len() as i32;
        from = Some((id, *next - 1));
        Producer { id, epoch: 0, base_sequence }
    });
    (
        builder.finish(&Options { codec, producer, ..Options::default() }).expect("a small batch"),
        entries,
        from,
    )
}

async fn append(cx: Context, mut rng: Rng) {
    let eagerness = rng.within(1..=1500);
    loop {
        let (mut batch, entries, producer) =
            make_batch(&mut cx.history.borrow_mut(), &mut rng, cx.io.wall_clock());
        let (bytes, newest) = (batch.len(), cx.io.wall_clock());
        if !cx.log.try_reserve(bytes, newest) {
            match cx.log.reserve(bytes, newest).await {
                Ok(()) => {}
                Err(ReserveError::NoSpace(_)) => {
                    cx.pause(&mut rng, 20_000).await;
                    continue;
                }
                Err(ReserveError::Offline(_)) => return,
            }
        }
        let base = cx.log.end();
        stamp(&mut batch, base, 0);
        let header = Header::parse(&batch).expect("own batch");
        if cx.log.failure().is_none() {
            let mut history = cx.history.borrow_mut();
            history.entries.extend((base..).zip(entries));
            history.batches.extend(producer.map(|producer| (header.last_offset(), producer)));
        }
        cx.log.append(batch, &header);
        cx.pause(&mut rng, eagerness).await;
    }
}

async fn compact(cx: Context, mut rng: Rng) {
    loop {
        cx.pause(&mut rng, 15_000).await;
        let wanted = {
            let history = cx.history.borrow();
            let known = history.compacted.max(history.log_start);
            Compaction {
                dirty_from: if rng.chance(0.7) { known } else { history.log_start },
                upto: history.durable,
                now_ms: cx.io.wall_clock(),
                delete_retention_ms: if rng.chance(0.7) { 0 } else { 1000 },
                memory: if rng.chance(0.2) { 200 } else { 1 << 20 },
                load: 0.9,
                window: rng.within(100..=20_000) as usize,
                bytes_per_second: rng.chance(0.2).then_some(1 << 20),
                producers: history.last_batches(history.durable),
            }
        };
        match cx.log.compact(&wanted).await {
            Ok(done) => {
                {
                    let mut history = cx.history.borrow_mut();
                    history.check(done.upto >= wanted.dirty_from && done.upto <= wanted.upto, || {
                        format!("compacted up to {} of {wanted:?}", done.upto)
                    });
                    history.compacted = history.compacted.max(done.upto);
                    (history.passes, history.removed) = (history.passes + 1, history.removed + done.removed);
                }
                every_key_is_there_once(&cx, wanted.dirty_from, done.upto).await;
            }
            Err(CompactError::Damaged { offset, reason }) => {
                cx.history.borrow_mut().check(false, || format!("damage at {offset}: {reason}"));
            }
            Err(CompactError::Offline(_)) => return,
            Err(_) => {}
        }
    }
}

/// A pass is not only harmless, it does what it is for.
async fn every_key_is_there_once(cx: &Context, dirty_from: i64, upto: i64) {
    let start = cx.log.log_start();
    let found = match read(cx, start, upto, 50_000).await {
        Ok(Some(found)) if cx.log.log_start() == start && dirty_from > start => found,
        Ok(_) => return,
        Err(why) => return cx.history.borrow_mut().check(false, || why),
    };
    let mut seen = HashMap::new();
    for (offset, entry) in found.entries.range(..upto) {
        let before = seen.insert(&entry.key, *offset);
        cx.history.borrow_mut().check(before.is_none(), || {
            format!("after a pass up to {upto} a key is at {before:?} and at {offset}")
        });
    }
}

async fn read_all_the_time(cx: Context, mut rng: Rng) {
    loop {
        let (start, written) = (cx.log.log_start(), cx.log.written());
        let from = start + rng.below((written - start) as u64 + 1) as i64;
        let upto = from + rng.below((written - from) as u64 + 2) as i64;
        if let Err(why) = read(&cx, from, upto.min(written), rng.below(8000)).await {
            cx.history.borrow_mut().check(false, || why);
        }
        if cx.log.failure().is_some() {
            return;
        }
        let _ = cx.log.offset_for_timestamp(cx.io.wall_clock() - rng.below(3000) as i64, written).await;
        cx.pause(&mut rng, 2000).await;
    }
}

async fn maintain(cx: Context, mut rng: Rng) {
    loop {
        cx.pause(&mut rng, 20_000).await;
        cx.checkpoint().await;
        if rng.chance(0.05) {
            let Ok(segments) = cx.log.segments().await else { return };
            let durable = cx.log.durable();
            let whole: Vec<i64> = segments.iter().map(|s| s.base).filter(|base| *base <= durable).collect();
            let start = whole[rng.index(whole.len())];
            cx.log.set_log_start(start);
            if cx.checkpoint().await {
                let _ = cx.log.delete_segments_below(start).await;
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    passes: u64,
    removed: u64,
    swaps_finished: u64,
    power_cuts: u64,
    trace: u64,
}

fn run_seed(seed: u64, mutation: Mutation) -> Result<Outcome, String> {
    let world = World::new(seed);
    let host = world.host(1);
    let mut rng = Rng::new(seed);
    let config = LogConfig {
        segment_bytes: rng.within(2_000..=20_000) as u32,
        segment_index_bytes: if rng.chance(0.2) { 160 } else { 10 << 20 },
        index_interval_bytes: rng.within(100..=2048) as u32,
        file_delete_delay: Duration::from_millis(20),
        mutation,
        ..LogConfig::default()
    };
    host.change_faults(|faults| {
        faults.sector = if rng.chance(0.5) { 512 } else { 4096 };
        faults.capacity = rng.chance(0.15).then(|| rng.within(100_000..=400_000));
    });
    let history = Shared::default();
    let mut outcome = Outcome::default();
    for life in 0..LIVES {
        live(&world, &host, &mut rng, &config, &history, &mut outcome)
            .map_err(|why| format!("life {life}: {why}"))?;
    }
    (outcome.passes, outcome.removed) = (history.borrow().passes, history.borrow().removed);
    outcome.trace = world.trace_hash();
    Ok(outcome)
}

fn live(
    world: &World,
    host: &Host,
    rng: &mut Rng,
    config: &LogConfig,
    history: &Shared,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let io = host.core(0);
    let left = world.run_until(names(io.clone()));
    outcome.swaps_finished += left.iter().filter(|name| name.ends_with(".swap")).count() as u64;
    if rng.chance(0.2) {
        // What a start does about a crash is interrupted, too.
        let config = config.clone();
        io.clone().spawn(async move { drop(open(io, Shared::default(), config).await) });
        world.run_steps(rng.below(150));
        end(host, rng, outcome);
    }
    let io = host.core(0);
    let cx = world.run_until(open(io.clone(), history.clone(), config.clone()))?;
    world.run_until(verify_opened(&cx))?;
    let mut part = || Rng::new(rng.bits());
    io.spawn(append(cx.clone(), part()));
    io.spawn(compact(cx.clone(), part()));
    io.spawn(read_all_the_time(cx.clone(), part()));
    io.spawn(read_all_the_time(cx.clone(), part()));
    io.spawn(maintain(cx.clone(), part()));
    world.run_for(Duration::from_micros(rng.below(200_000)));
    world.run_steps(rng.below(60));
    if rng.chance(0.15) {
        // Compaction is in the middle of something.
        let (log, clean) = (cx.log.clone(), Rc::new(RefCell::new(false)));
        let closed = clean.clone();
        world.run_until(async move { *closed.borrow_mut() = log.close().await.is_ok() });
    }
    drop(cx);
    end(host, rng, outcome);
    history.borrow().violation.clone().map_or(Ok(()), Err)
}

fn end(host: &Host, rng: &mut Rng, outcome: &mut Outcome) {
    let power_cut = rng.chance(0.7);
    outcome.power_cuts += u64::from(power_cut);
    host.crash(if power_cut { Crash::PowerCut } else { Crash::Kill });
    host.restart();
}

async fn names(io: SimIo) -> Vec<String> {
    let entries = io.read_dir(&Path::new(DATA).join("t-0")).await.unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn no_key_loses_its_value() {
    let seeds = match number("MILLRACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MILLRACE_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let (mut passes, mut removed, mut swaps, mut cuts) = (0, 0, 0, 0);
    for seed in seeds.clone() {
        match run_seed(seed, Mutation::None) {
            Ok(outcome) => {
                passes += outcome.passes;
                removed += outcome.removed;
                swaps += outcome.swaps_finished;
                cuts += outcome.power_cuts;
            }
            Err(why) => panic!("MILLRACE_SEED={seed}\n{why}"),
        }
    }
    println!(
        "{seeds:?}: {passes} passes removed {removed} records; {cuts} power cuts, {swaps} of them while a segment was replaced"
    );
    if seeds.end - seeds.start >= DEFAULT_SEEDS {
        assert!(passes > 100 && removed > 1000 && swaps > 10 && cuts > 100);
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..5 {
        assert_eq!(run_seed(seed, Mutation::None), run_seed(seed, Mutation::None), "seed {seed}");
    }
}

#[test]
fn taking_the_place_before_the_sync_is_caught() {
    let caught = (0..CAUGHT_WITHIN)
        .find_map(|seed| run_seed(seed, Mutation::SwapUnsynced).err().map(|why| (seed, why)));
    let Some((seed, why)) = caught else { panic!("it was not noticed within {CAUGHT_WITHIN} seeds") };
    assert!(run_seed(seed, Mutation::None).is_ok(), "seed {seed} fails without the fault, too");
    println!("it was caught by seed {seed} of {CAUGHT_WITHIN}: {why}");
}
