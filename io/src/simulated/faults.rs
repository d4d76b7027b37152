//! What goes wrong on a host's disk, and how long its operations take. Settings: change them at any time.

use super::rng::Rng;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// The kinds of disk operation that faults distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file.
    Open,
    /// Reading, also on behalf of `send_file`.
    Read,
    /// Writing. A failed write may have written a part.
    Write,
    /// Syncing a file. A failed sync loses what it covers: see [`Faults::sync_error`].
    Sync,
    /// Reserving space.
    Allocate,
    /// Truncating.
    Truncate,
    /// Syncing a directory. What it covers stays pending.
    SyncDir,
    /// Creating directories, listing, renaming, removing.
    Names,
}

/// How long an operation takes: evenly between `least` and `most`, and rarely up to `worst`.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// The shortest.
    pub least: Duration,
    /// The longest of the usual ones.
    pub most: Duration,
    /// How probable an unusually long one is.
    pub rare: f64,
    /// The longest of the unusual ones.
    pub worst: Duration,
}

impl Latency {
    /// Between two numbers of microseconds, and up to `worst` milliseconds once in 500 operations.
    pub const fn micros(least: u64, most: u64, worst_millis: u64) -> Self {
        Self {
            least: Duration::from_micros(least),
            most: Duration::from_micros(most),
            rare: 0.002,
            worst: Duration::from_millis(worst_millis),
        }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> u64 {
        let most = if rng.chance(self.rare) { self.worst } else { self.most };
        let least = nanos(self.least);
        rng.within(least..=nanos(most).max(least))
    }
}

/// Nanoseconds of a duration, or as many as fit.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long each kind of operation takes.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// Reads that the disk must answer.
    pub read: Latency,
    /// Writes into the page cache.
    pub write: Latency,
    /// Syncs, of files and directories.
    pub sync: Latency,
    /// Everything else.
    pub other: Latency,
}

/// A fault that hits chosen operations.
#[derive(Clone)]
pub struct Target {
    operation: Operation,
    matches: Rc<dyn Fn(&Path) -> bool>,
    skip: u64,
    times: u64,
    os_error: i32,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Target {
    /// Every operation of this kind on a path that `matches` (the path a file was opened by) fails with EIO.
    pub fn new(operation: Operation, matches: impl Fn(&Path) -> bool + 'static) -> Self {
        Self { operation, matches: Rc::new(matches), skip: 0, times: u64::MAX, os_error: EIO }
    }

    /// Spares the first `count` matching operations.
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Hits only `count` operations.
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Fails with `StorageFull` instead of EIO.
    pub fn storage_full(mut self) -> Self {
        self.os_error = ENOSPC;
        self
    }

    fn hits(&mut self, operation: Operation, path: &Path) -> bool {
        if self.operation != operation || !(self.matches)(path) || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// A host's disk settings. By default nothing fails, space is endless, and crashes still tear what was not synced.
#[derive(Clone)]
pub struct Faults {
    /// How probable it is that a read fails with EIO.
    pub read_error: f64,
    /// How probable it is that a write fails with EIO (having written a part, perhaps).
    pub write_error: f64,
    /// How probable it is that a sync fails with EIO. As on Linux, the pages are then marked clean although they may
    /// not be on the disk: later syncs succeed without making them durable, and reads may show either content after
    /// the process has ended.
    pub sync_error: f64,
    /// Faults at chosen operations.
    pub targets: Vec<Target>,
    /// The disk's size in bytes. `None` is endless.
    pub capacity: Option<u64>,
    /// How many files may be open at once.
    pub open_files: Option<usize>,
    /// What the disk writes atomically, in bytes: 512 or 4096. Holds for files created from now on.
    pub sector: usize,
    /// How probable it is that a sector which was never written reads as garbage after a power cut, not as zeros.
    pub garbage: f64,
    /// How long operations take.
    pub latencies: Latencies,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            targets: Vec::new(),
            capacity: None,
            open_files: None,
            sector: 512,
            garbage: 0.0,
            latencies: Latencies {
                read: Latency::micros(5, 150, 50),
                write: Latency::micros(3, 60, 20),
                sync: Latency::micros(80, 2_000, 500),
                other: Latency::micros(2, 80, 20),
            },
        }
    }
}

impl Faults {
    /// How long this operation takes, in nanoseconds.
    pub(super) fn latency(&self, operation: Operation, rng: &mut Rng) -> u64 {
        let latency = match operation {
            Operation::Read => &self.latencies.read,
            Operation::Write => &self.latencies.write,
            Operation::Sync | Operation::SyncDir => &self.latencies.sync,
            _ => &self.latencies.other,
        };
        latency.draw(rng)
    }

    /// Whether this operation fails, and with what.
    pub(super) fn strike(&mut self, operation: Operation, path: &Path, rng: &mut Rng) -> Option<io::Error> {
        let probability = match operation {
            Operation::Read => self.read_error,
            Operation::Write => self.write_error,
            Operation::Sync => self.sync_error,
            _ => 0.0,
        };
        let hit = self
            .targets
            .iter_mut()
            .find_map(|target| target.hits(operation, path).then_some(target.os_error));
        let struck = rng.chance(probability).then_some(EIO);
        hit.or(struck).map(io::Error::from_raw_os_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_spares_then_hits_then_rests() {
        let mut rng = Rng::new(1);
        let log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
        let mut faults = Faults {
            targets: vec![Target::new(Operation::Sync, log).after(1).times(2)],
            ..Faults::default()
        };
        let mut strike = |operation, path| faults.strike(operation, Path::new(path), &mut rng).is_some();
        assert!(!strike(Operation::Sync, "/a.index") && !strike(Operation::Write, "/a.log"));
        let hits: Vec<bool> = (0..5).map(|_| strike(Operation::Sync, "/a.log")).collect();
        assert_eq!(hits, [false, true, true, false, false]);
    }

    #[test]
    fn latencies_stay_between_their_bounds() {
        let mut rng = Rng::new(1);
        let latency = Latency { rare: 0.5, ..Latency::micros(10, 20, 1) };
        let drawn: Vec<u64> = (0..1000).map(|_| latency.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|time| (10_000..=1_000_000).contains(time)));
        assert!(drawn.iter().any(|time| *time <= 20_000) && drawn.iter().any(|time| *time > 20_000));
    }
}
