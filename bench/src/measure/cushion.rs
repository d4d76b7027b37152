//! Memory that the machine has, for what a run takes. A guest's host takes free pages back (free page reporting, ballooning), and who writes
//! one again waits for a fault of the host: ten times what the write itself costs, and whether a run meets such pages is chance. A cushion
//! is touched before a run, and given up as fast as others take memory: pages that were just freed are handed out first.

use crate::error::{Doing, Result};
use crate::measure::machine::{available, free};
use crate::os::files;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// So much is touched, and given up, at once.
const PIECE: u64 = 1 << 20;
/// Given up ahead of what is taken: what a broker takes until the next look.
const AHEAD: u64 = 256 << 20;
const LOOK: Duration = Duration::from_millis(10);

/// Memory that is held, and given up as it is taken. The rest goes when it is dropped.
#[derive(Debug)]
pub struct Cushion {
    stop: Arc<AtomicBool>,
    giving: Option<JoinHandle<()>>,
}

impl Cushion {
    /// A quarter of what is available: enough for seconds of writing, and never so much that others run short.
    pub fn usual() -> u64 {
        available().unwrap_or(0) / 4
    }

    /// Touches so many bytes, and tells how many are left; gives them up from now on.
    pub fn fill(bytes: u64, mut tell: impl FnMut(u64)) -> Result<Self> {
        let memory = files::memory("cushion")?;
        let touch = vec![1; PIECE as usize];
        let pieces = bytes / PIECE;
        for piece in 0..pieces {
            memory.write_all_at(&touch, piece * PIECE).doing("touching memory")?;
            tell((pieces - piece) * PIECE);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let level = free().unwrap_or(0) + AHEAD;
        let giving = thread::spawn(move || give(&memory, pieces * PIECE, level, &stopped));
        Ok(Self { stop, giving: Some(giving) })
    }
}

impl Drop for Cushion {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // It cannot fail.
        let _ = self.giving.take().map(JoinHandle::join);
    }
}

/// Keeps so much memory free, as long as there is something to give.
fn give(memory: &File, bytes: u64, level: u64, stop: &AtomicBool) {
    let mut given = 0;
    while given < bytes && !stop.load(Relaxed) {
        let missing = level.saturating_sub(free().unwrap_or(level)).min(bytes - given) / PIECE * PIECE;
        // What cannot be given up now is when it is dropped.
        if missing > 0 && files::give_back(memory, given, missing).is_ok() {
            given += missing;
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_others_take_is_given_up() {
        let memory = files::memory("test").unwrap();
        memory.write_all_at(&vec![1; 8 << 20], 0).unwrap();
        let held = || memory.metadata().unwrap().blocks() * 512;
        assert_eq!(held(), 8 << 20);
        // Not all of it is missing: there is nothing to do.
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let giving = scope.spawn(|| give(&memory, 8 << 20, 0, &stop));
            thread::sleep(3 * LOOK);
            stop.store(true, Relaxed);
            giving.join().unwrap();
        });
        assert_eq!(held(), 8 << 20);
        // More than there will ever be free is wanted: everything goes, and then it ends by itself.
        give(&memory, 8 << 20, u64::MAX, &AtomicBool::new(false));
        assert_eq!(held(), 0);
    }

    #[test]
    fn it_is_filled_and_dropped() {
        let mut told = Vec::new();
        let cushion = Cushion::fill(3 * PIECE, |left| told.push(left)).unwrap();
        assert_eq!(told, [3 * PIECE, 2 * PIECE, PIECE]);
        drop(cushion);
        assert!(Cushion::usual() > 0);
    }
}
