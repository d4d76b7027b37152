//! The end of things: old segments, an orderly close, a deleted log, one that is put aside.

use super::names;
use super::state::{Inner, dir_name};
use super::types::{DeleteError, LogConfig, LogFailure, MaintainError};
use crate::disk;
use millrace_io::Io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

const SUFFIXES: [&str; 3] = [names::LOG, names::INDEX, names::TIME_INDEX];

impl<I: Io> Inner<I> {
    pub(super) async fn delete_segments_below(&self, offset: i64) -> Result<usize, MaintainError> {
        let _names = self.names.lock().await;
        let _turn = self.turn().await;
        self.online()?;
        let doomed = self.doomed(offset);
        if doomed.is_empty() {
            return Ok(0);
        }
        let dir = self.dir.borrow().clone();
        for base in &doomed {
            let failed = |e: std::io::Error| MaintainError::Io { file: dir.clone(), reason: e.to_string() };
            self.rename_segment(*base).await.map_err(failed)?;
            // One by one: after a power cut no segment may be gone while an older one is there.
            self.io.sync_dir(&dir).await.map_err(failed)?;
        }
        let delay = {
            let mut state = self.state.borrow_mut();
            state.segments.retain(|s| !doomed.contains(&s.base));
            let start = state.log_start;
            state.quarantine.forget_below(start);
            state.config.file_delete_delay
        };
        self.remove_deleted_later(&doomed, delay);
        Ok(doomed.len())
    }

    pub(super) fn update_config(self: &Rc<Self>, config: LogConfig) {
        let uncached = {
            let mut state = self.state.borrow_mut();
            let before = std::mem::replace(&mut state.config, config);
            before.write_caching && !state.config.write_caching
        };
        if uncached {
            let log = self.clone();
            // What goes wrong takes the log offline, and is told then.
            self.io.spawn(async move { drop(log.flush().await) });
        }
    }

    /// Segments whose successor begins at or below both `offset` and the log's start. Never the active one, nor one
    /// that a roll has not finished with.
    fn doomed(&self, offset: i64) -> Vec<i64> {
        let state = self.state.borrow();
        let limit = offset.min(state.log_start);
        let below =
            state.segments.windows(2).take_while(|pair| pair[1].base <= limit).map(|pair| pair[0].base);
        below.take_while(|base| state.unsettled != Some(*base)).collect()
    }

    /// Gives a segment's files the names of deleted ones.
    pub(super) async fn rename_segment(&self, base: i64) -> std::io::Result<()> {
        for suffix in SUFFIXES {
            let path = self.path(base, suffix);
            match self.io.rename(&path, &deleted(path.clone())).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Readers may hold extents of these segments' files; their names go later.
    pub(super) fn remove_deleted_later(&self, bases: &[i64], delay: Duration) {
        let dir = self.dir.borrow().clone();
        let files = bases.iter().flat_map(|base| SUFFIXES.map(|s| deleted(dir.join(names::file(*base, s)))));
        let (io, files) = (self.io.clone(), files.collect::<Vec<PathBuf>>());
        self.io.spawn(async move {
            io.sleep(delay).await;
            for file in files {
                if let Err(e) = disk::remove_file(&io, &file).await {
                    tracing::warn!(file = %file.display(), reason = %e, "cannot remove a deleted file; the next start tries again");
                }
            }
        });
    }

    pub(super) async fn close(self: &Rc<Self>) -> Result<(), MaintainError> {
        let _names = self.names.lock().await;
        let _turn = self.turn().await;
        self.online()?;
        let unsettled = self.state.borrow().unsettled;
        if let Some(base) = unsettled {
            self.finish(base).await.map_err(|e| MaintainError::Offline(self.fail("leaving a segment", e)))?;
        }
        self.settle().await?;
        let base = {
            let mut state = self.state.borrow_mut();
            state.failure = Some(self.gone("close", "the log is closed"));
            let (last, active) = state.last_mut();
            active.index_time(last);
            last.base
        };
        self.changed.notify();
        let failed = |what: &str, e: std::io::Error| MaintainError::Io {
            file: self.path(base, what),
            reason: e.to_string(),
        };
        self.finish(base).await.map_err(|e| failed(names::LOG, e))?;
        let opened = self.open_segment(base).await.map_err(|e| failed(names::LOG, e))?;
        self.io.sync(&opened.file).await.map_err(|e| failed(names::LOG, e))?;
        self.save_epochs().await.map_err(|e| failed(names::LOG, e))?;
        if self.state.borrow().epochs.unsaved_from().is_some() {
            return Err(failed(names::LOG, std::io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Why nothing works any more although nothing went wrong.
    fn gone(&self, operation: &'static str, reason: &str) -> LogFailure {
        LogFailure { dir: self.dir.borrow().clone(), operation, reason: reason.to_string() }
    }

    pub(super) async fn delete(&self) -> Result<(), DeleteError> {
        let _names = self.names.lock().await;
        let _turn = self.turn().await;
        let (from, delay) = {
            let mut state = self.state.borrow_mut();
            state.failure = Some(self.gone("delete", "the log is deleted"));
            state.deleted = true;
            state.gather = Default::default();
            (self.dir.borrow().clone(), state.config.file_delete_delay)
        };
        self.changed.notify();
        self.changed.until(|| self.is_quiet()).await;
        let id = Uuid::from_u64_pair(self.io.random(), self.io.random());
        let parent = disk::parent(&from);
        let to = parent.join(names::deleted_log(&dir_name(&from), id));
        let failed = |source| DeleteError { dir: from.clone(), source };
        self.io.rename(&from, &to).await.map_err(failed)?;
        self.io.sync_dir(&parent).await.map_err(failed)?;
        *self.dir.borrow_mut() = to.clone();
        {
            // Extents keep what they need open; the log itself needs nothing any more.
            let mut state = self.state.borrow_mut();
            state.segments.iter_mut().for_each(|segment| segment.shrink());
        }
        let io = self.io.clone();
        self.io.spawn(async move {
            io.sleep(delay).await;
            if let Err(e) = io.remove_dir_all(&to).await {
                tracing::warn!(dir = %to.display(), reason = %e, "cannot remove a deleted log; the next start tries again");
            }
        });
        Ok(())
    }
}

/// Renames the directory of a log that nobody has open and that belongs to no topic, durably; says what it is called now. Nothing here
/// ever removes it: whoever misses the records can rename it back.
/// # Errors
/// Whatever the disk says.
pub async fn put_aside<I: Io>(io: &I, dir: &Path) -> std::io::Result<PathBuf> {
    let parent = disk::parent(dir);
    let aside = parent.join(names::stray_log(&dir_name(dir), Uuid::from_u64_pair(io.random(), io.random())));
    io.rename(dir, &aside).await?;
    io.sync_dir(&parent).await?;
    Ok(aside)
}

/// A file's name once it is deleted.
fn deleted(path: PathBuf) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(names::DELETED);
    PathBuf::from(name)
}
