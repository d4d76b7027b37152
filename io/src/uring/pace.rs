//! Whether a write to a file may be made at once, on the core, or has to go to a kernel worker by the ring.
//!
//! A write into the page cache is a copy, and a worker that makes it costs two changes of threads besides: for a few
//! kilobytes these are most of the cost. But where more is dirty than the disk keeps up with, the kernel lets the writer
//! sleep, and that must not be a core. It says how much is dirty and from where on it slows writers down; and where it
//! slows them for a reason that it does not say (a limit of a container, a journal that is full), the first write that slept tells.
//! One that was only long did not sleep: somebody else had the core.

use nix::sys::resource::{UsageWho, getrusage};
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Larger writes go to a worker, which keeps the core free for others meanwhile.
const INLINE_UP_TO: usize = 256 << 10;
/// How long what the kernel said is believed.
const BELIEVED: Duration = Duration::from_millis(50);
/// A write that took so long may have been held up.
const SLOW: Duration = Duration::from_millis(3);
/// How long writes go to workers after one that was.
const CAUTION: Duration = Duration::from_secs(1);

/// What a core knows of the page cache.
pub(super) struct Pace {
    vmstat: Option<File>,
    believed_until: Cell<Instant>,
    calm: Cell<bool>,
    cautious_until: Cell<Instant>,
    /// How often this thread had slept when the first write was allowed since the core slept.
    sleeps: Cell<Option<i64>>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            vmstat: File::open("/proc/vmstat").ok(),
            believed_until: Cell::new(now),
            calm: Cell::new(false),
            cautious_until: Cell::new(now),
            sleeps: Cell::new(None),
        }
    }

    /// Whether `bytes` may be written on the core.
    pub(super) fn allows(&self, bytes: usize, now: Instant) -> bool {
        if bytes > INLINE_UP_TO || now < self.cautious_until.get() {
            return false;
        }
        if now >= self.believed_until.get() {
            self.believed_until.set(now + BELIEVED);
            self.calm.set(self.look().is_some_and(|dirty| dirty.is_calm()));
        }
        if self.calm.get() && self.sleeps.get().is_none() {
            self.sleeps.set(sleeps());
        }
        self.calm.get()
    }

    /// The core slept because it had nothing to do.
    pub(super) fn slept(&self) {
        self.sleeps.set(None);
    }

    /// Learns how long a write on the core took.
    pub(super) fn took(&self, from: Instant, to: Instant) {
        if to - from > SLOW && sleeps() > self.sleeps.take() {
            self.cautious_until.set(to + CAUTION);
        }
    }

    fn look(&self) -> Option<Dirty> {
        let mut text = [0; 16 << 10];
        let read = self.vmstat.as_ref()?.read_at(&mut text, 0).ok()?;
        Dirty::parse(std::str::from_utf8(&text[..read]).ok()?)
    }
}

/// How often this thread gave its core up by itself: it waited for something.
fn sleeps() -> Option<i64> {
    Some(getrusage(UsageWho::RUSAGE_THREAD).ok()?.voluntary_context_switches())
}

/// Pages, of the whole machine.
#[derive(Debug, PartialEq, Eq)]
struct Dirty {
    /// Changed and not on the disk yet.
    pages: u64,
    /// From here on they are written back.
    background: u64,
    /// Here writers wait.
    limit: u64,
}

impl Dirty {
    fn parse(vmstat: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = vmstat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line?.trim().parse::<u64>().ok()
        };
        Some(Self {
            pages: number("nr_dirty")? + number("nr_writeback")?,
            background: number("nr_dirty_background_threshold")?,
            limit: number("nr_dirty_threshold")?,
        })
    }

    /// Writers are slowed down from halfway between the two on; well below that nobody is.
    fn is_calm(&self) -> bool {
        self.pages < (self.background + self.limit) / 2 / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMSTAT: &str = "nr_free_pages 100\nnr_dirty 30\nnr_writeback 7\nnr_writeback_temp 9\n\
        nr_dirty_threshold 1000\nnr_dirty_background_threshold 500\nnr_dirtied 5\n";

    #[test]
    fn the_kernel_is_understood() {
        let dirty = Dirty::parse(VMSTAT).unwrap();
        assert_eq!(dirty, Dirty { pages: 37, background: 500, limit: 1000 });
        assert!(dirty.is_calm() && Dirty { pages: 560, ..dirty }.is_calm());
        let dirty = Dirty::parse(VMSTAT).unwrap();
        assert!(!Dirty { pages: 570, ..dirty }.is_calm());
        assert_eq!(Dirty::parse("nr_dirty 30\n"), None);
        assert!(Pace::new(Instant::now()).look().is_some(), "/proc/vmstat of this machine");
    }

    #[test]
    fn large_writes_and_those_after_a_slow_one_go_to_a_worker() {
        let now = Instant::now();
        let pace = Pace::new(now);
        pace.believed_until.set(now + Duration::from_secs(60));
        pace.calm.set(true);
        assert!(pace.allows(INLINE_UP_TO, now) && !pace.allows(INLINE_UP_TO + 1, now));
        let slow = SLOW * 2;
        pace.took(now, now + slow);
        assert!(pace.allows(1, now), "somebody else had the core");
        std::thread::sleep(Duration::from_millis(1));
        pace.took(now, now + SLOW);
        assert!(pace.allows(1, now), "short enough");
        pace.slept();
        assert!(pace.allows(1, now));
        pace.took(now, now + slow);
        assert!(pace.allows(1, now), "that it slept before is nothing to the write");
        std::thread::sleep(Duration::from_millis(1));
        pace.took(now, now + slow);
        assert!(!pace.allows(1, now + slow));
        assert!(pace.allows(1, now + slow + CAUTION));
    }
}
