//! One seed: a host, a log, several lives.

use super::model::Model;
use super::verify::{End, check_indexes, headers, names, verify_opened};
use super::workload::{Context, Shared, append, listener, look_up, maintain, read};
use millrace_io::Io;
use millrace_io::simulated::{Crash, Faults, Host, Rng, SimIo, World};
use millrace_proto::files::{RECOVERY_POINTS, parse_offset_file_name, parse_offsets};
use millrace_storage::{
    CleanStart, DataDir, Identity, Journal, Log, LogConfig, Mutation, OpenError, Recovery, RecoveryPoint,
};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

const DATA: &str = "/data";
const TOPIC_ID: Uuid = Uuid::from_u128(0x6d69_6c6c_7261_6365);

/// What happened, for the record and to see that everything did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub crashes: u64,
    pub power_cuts: u64,
    pub clean_stops: u64,
    pub crashes_in_recovery: u64,
    pub failures: u64,
    pub flips: u64,
    pub cuts: u64,
    pub quarantines: u64,
    pub restored: u64,
    pub batches: u64,
    pub segments: u64,
    pub trace: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.clean_stops += other.clean_stops;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.failures += other.failures;
        self.flips += other.flips;
        self.cuts += other.cuts;
        self.quarantines += other.quarantines;
        self.restored += other.restored;
        self.batches += other.batches;
        self.segments += other.segments;
        self.trace ^= other.trace;
    }
}

impl Outcome {
    /// A test that never meets what it is about proves nothing.
    pub fn assert_everything_happened(&self) {
        let counts = [self.power_cuts, self.clean_stops, self.crashes_in_recovery, self.failures, self.flips];
        let found = [self.cuts, self.quarantines, self.restored, self.batches, self.segments];
        assert!(counts.iter().chain(&found).all(|n| *n > 0), "{self:?}");
    }
}

/// Runs one seed. `Err` says what was wrong.
pub fn run_seed(seed: u64, mutation: Mutation) -> Result<Outcome, String> {
    let world = World::new(seed);
    let host = world.host(1);
    let mut rng = Rng::new(seed);
    let config = random_config(&mut rng, mutation);
    host.change_faults(|faults| {
        faults.sector = if rng.chance(0.5) { 512 } else { 4096 };
        faults.garbage = if rng.chance(0.3) { 0.5 } else { 0.0 };
    });
    let mut story = Story {
        faults: random_faults(&mut rng),
        model: Rc::new(RefCell::new(Model::new())),
        outcome: Outcome::default(),
        // Few frames fill a half; in some seeds none is made.
        journal_bytes: if rng.chance(0.8) { rng.within(16_000..=200_000) } else { 0 },
        world,
        host,
        rng,
        config,
        end: End::PowerCut,
        epoch: 0,
    };
    for life in 0..8 {
        story.live().map_err(|why| format!("life {life}: {why}"))?;
    }
    story.outcome.trace = story.world.trace_hash();
    Ok(story.outcome)
}

fn random_config(rng: &mut Rng, mutation: Mutation) -> LogConfig {
    LogConfig {
        segment_bytes: rng.within(4_000..=120_000) as u32,
        segment_ms: if rng.chance(0.2) { 1500 } else { 1_000_000_000 },
        segment_jitter_ms: 100,
        segment_index_bytes: if rng.chance(0.2) { 80 } else { 10 << 20 },
        index_interval_bytes: rng.within(100..=4096) as u32,
        write_caching: rng.chance(0.1),
        flush_messages: if rng.chance(0.3) { rng.within(1..=20) as i64 } else { i64::MAX },
        flush_after: rng.chance(0.3).then(|| Duration::from_millis(rng.within(1..=50))),
        preallocate: rng.chance(0.2),
        file_delete_delay: Duration::from_millis(20),
        mutation,
    }
}

/// What goes wrong while the log lives, besides crashes.
fn random_faults(rng: &mut Rng) -> impl Fn(&mut Faults) + 'static {
    let write_error = if rng.chance(0.15) { 0.002 } else { 0.0 };
    let sync_error = if rng.chance(0.15) { 0.005 } else { 0.0 };
    let read_error = if rng.chance(0.1) { 0.01 } else { 0.0 };
    let capacity = rng.chance(0.15).then(|| rng.within(300_000..=1_000_000));
    move |faults: &mut Faults| {
        (faults.write_error, faults.sync_error, faults.read_error) = (write_error, sync_error, read_error);
        faults.capacity = capacity;
    }
}

struct Story<F> {
    world: World,
    host: Host,
    rng: Rng,
    config: LogConfig,
    journal_bytes: u64,
    faults: F,
    model: Shared,
    outcome: Outcome,
    end: End,
    epoch: i32,
}

struct Opened {
    cx: Context,
    found: Recovery,
    rolled: Rc<RefCell<Vec<i64>>>,
}

fn log_dir() -> PathBuf {
    Path::new(DATA).join("t-0")
}

async fn open(
    io: SimIo,
    model: Shared,
    (config, journal_bytes): (LogConfig, u64),
    epoch: i32,
) -> Result<Opened, String> {
    let identity = Identity { node_id: 1, cluster_id: None };
    let dir = DataDir::open(io.clone(), Path::new(DATA), identity).await.map_err(|e| e.to_string())?;
    let known = dir.logs().first().map(|l| l.recovery);
    let clean = dir.clean_start() == CleanStart::Clean;
    let point = known.unwrap_or(RecoveryPoint { clean, ..RecoveryPoint::default() });
    let rolled = Rc::default();
    let on_event = listener(&model, &rolled);
    let journaled = dir.journaled();
    let lost = journaled.of_log(TOPIC_ID, 0);
    let opened = Log::restore(io.clone(), &log_dir(), config.clone(), point, &lost, on_event.clone()).await;
    let (log, found) = match opened {
        Ok(opened) => opened,
        Err(OpenError::NotCreated(_)) => {
            let created = Log::create(io.clone(), &log_dir(), TOPIC_ID, config, on_event).await;
            let log = created.map_err(|e| e.to_string())?;
            let (end, none) = (log.end(), Vec::new());
            let found = Recovery {
                topic_id: log.topic_id(),
                log_start: 0,
                end,
                cut: None,
                quarantined: Vec::new(),
                leader_epochs: none,
                producer_snapshot: None,
                scanned_bytes: 0,
                restored: 0,
            };
            (log, found)
        }
        Err(e) => return Err(e.to_string()),
    };
    let journal = Journal::new(io.clone(), Path::new(DATA), (dir.next_journal(), 0), journal_bytes);
    log.join(&journal, 0);
    // A crash may come before and after.
    dir.remove_journals().await.map_err(|e| e.to_string())?;
    Ok(Opened { cx: Context { io, log, journal, dir: Rc::new(dir), model, epoch }, found, rolled })
}

impl<F: Fn(&mut Faults)> Story<F> {
    /// Opens, checks, works, ends.
    fn live(&mut self) -> Result<(), String> {
        self.calm();
        while self.rng.chance(0.15) {
            self.crash_in_recovery();
        }
        self.epoch += 1;
        let io = self.host.core(0);
        let opened = self.world.run_until(open(
            io,
            self.model.clone(),
            (self.config.clone(), self.journal_bytes),
            self.epoch,
        ))?;
        let Opened { cx, found, rolled } = opened;
        self.outcome.cuts += u64::from(found.cut.is_some());
        self.outcome.quarantines += found.quarantined.len() as u64;
        self.outcome.restored += found.restored as u64;
        if found.topic_id != TOPIC_ID {
            return Err(format!("the topic id is {}", found.topic_id));
        }
        self.world.run_until(verify_opened(&cx, &found, self.end))?;
        self.check_files(&cx)?;
        self.work(&cx, rolled)?;
        self.finish(cx)
    }

    fn calm(&self) {
        self.host.change_faults(|faults| {
            (faults.write_error, faults.sync_error, faults.read_error) = (0.0, 0.0, 0.0);
            faults.capacity = None;
        });
    }

    /// Recovery itself is interrupted: what it has done so far must do no harm.
    fn crash_in_recovery(&mut self) {
        let io = self.host.core(0);
        let model = Rc::new(RefCell::new(Model::new()));
        let (config, epoch) = ((self.config.clone(), self.journal_bytes), self.epoch);
        io.clone().spawn(async move {
            let _ = open(io, model, config, epoch).await;
        });
        self.world.run_steps(self.rng.below(120));
        self.outcome.crashes_in_recovery += 1;
        self.crash();
        // A clean stop is over once the marker is gone.
        if self.end == End::Clean {
            self.end = End::Kill;
        }
    }

    fn crash(&mut self) {
        let how = if self.rng.chance(0.7) { Crash::PowerCut } else { Crash::Kill };
        if how == Crash::PowerCut {
            self.outcome.power_cuts += 1;
            self.end = End::PowerCut;
        } else if self.end != End::PowerCut {
            self.end = End::Kill;
        }
        self.outcome.crashes += 1;
        self.host.crash(how);
        self.host.restart();
    }

    fn check_files(&mut self, cx: &Context) -> Result<(), String> {
        let names = self.world.run_until(names(&cx.io, &log_dir()));
        self.outcome.segments += names.iter().filter(|n| n.ends_with(".log")).count() as u64;
        if self.model.borrow().damaged.is_empty() {
            check_indexes(&self.host, &names, &log_dir())
        } else {
            Ok(())
        }
    }

    /// Lets everything run for a while.
    fn work(&mut self, cx: &Context, rolled: Rc<RefCell<Vec<i64>>>) -> Result<(), String> {
        self.host.change_faults(&self.faults);
        let mut part = || Rng::new(self.rng.bits());
        cx.io.spawn(append(cx.clone(), part()));
        cx.io.spawn(append(cx.clone(), part()));
        cx.io.spawn(read(cx.clone(), part()));
        cx.io.spawn(look_up(cx.clone(), part()));
        cx.io.spawn(maintain(cx.clone(), part(), rolled));
        self.world.run_for(Duration::from_micros(self.rng.below(150_000)));
        self.world.run_steps(self.rng.below(40));
        let model = self.model.borrow();
        self.outcome.failures += u64::from(model.failed);
        model.violation.clone().map_or(Ok(()), Err)
    }

    /// The end of this life.
    fn finish(&mut self, cx: Context) -> Result<(), String> {
        self.outcome.batches += self.model.borrow().log.len() as u64;
        self.end = End::Clean;
        if self.rng.chance(0.2) && self.stop(&cx) {
            self.outcome.clean_stops += 1;
            self.host.crash(Crash::PowerCut);
            self.host.restart();
            return Ok(());
        }
        self.end = End::Kill;
        self.crash();
        drop(cx);
        if self.rng.chance(0.15) {
            self.flip();
        }
        self.model.borrow().violation.clone().map_or(Ok(()), Err)
    }

    /// An orderly stop; false if the log had failed before.
    fn stop(&mut self, cx: &Context) -> bool {
        self.calm();
        let cx = cx.clone();
        self.world.run_until(async move {
            if cx.log.close().await.is_err() {
                let _ = cx.journal.close(false).await;
                return false;
            }
            let _ = cx.journal.close(true).await;
            let offsets = cx.offsets();
            let marked = cx.dir.checkpoint(vec![offsets]).await.is_ok();
            // Other tasks may hold the directory; the marker is what counts.
            marked && write_marker(&cx).await
        })
    }

    /// Flips a bit of a batch that was durable, and tells the model.
    fn flip(&mut self) {
        let io = self.host.core(0);
        let names = self.world.run_until(names(&io, &log_dir()));
        let segments: Vec<i64> = names.iter().filter_map(|n| parse_offset_file_name(n, ".log")).collect();
        if segments.is_empty() || !self.model.borrow().damaged.is_empty() {
            return;
        }
        let base = segments[self.rng.index(segments.len())];
        let path = log_dir().join(format!("{base:020}.log"));
        let batches = headers(&self.host.peek(&path).unwrap_or_default());
        if batches.is_empty() {
            return;
        }
        let (at, header) = batches[self.rng.index(batches.len())];
        let byte = self.rng.below(header.size() as u64);
        let durable = self.model.borrow().durable;
        // Neither checksum nor order covers the leader epoch: nobody could notice.
        if (12..16).contains(&byte) || header.next_offset() > durable || !self.host.flip_bit(&path, at + byte)
        {
            return;
        }
        self.outcome.flips += 1;
        let mut model = self.model.borrow_mut();
        if header.next_offset() <= self.checkpoint() {
            model.damaged.push(header.base_offset..header.next_offset());
        } else {
            model.may_cut_from = model.may_cut_from.min(header.base_offset);
        }
    }

    fn checkpoint(&self) -> i64 {
        let content = self.host.peek(&Path::new(DATA).join(RECOVERY_POINTS)).unwrap_or_default();
        parse_offsets(&content).ok().and_then(|all| all.first().map(|o| o.offset)).unwrap_or(0)
    }
}

async fn write_marker(cx: &Context) -> bool {
    let marker = millrace_proto::files::CleanShutdown { broker_epoch: -1 }.encode();
    let path = Path::new(DATA).join(millrace_proto::files::CLEAN_SHUTDOWN);
    let Ok(file) = cx.io.open(&path, millrace_io::Open::Create).await else { return false };
    cx.io.write_at(&file, 0, vec![marker.into()]).await.is_ok()
        && cx.io.sync(&file).await.is_ok()
        && cx.io.sync_dir(Path::new(DATA)).await.is_ok()
}
