//! Journals that a process left behind that did not stop cleanly: what its logs may have lost.

use super::LogKey;
use crate::disk;
use bytes::Bytes;
use millrace_io::{Io, Open};
use millrace_proto::files::{
    JOURNAL_BLOCK, JournalEntry, JournalFrame, JournalPlace, parse_journal_file_name, parse_journal_frame,
};
use std::collections::BTreeMap;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// What journals hold of logs, until all of it is in the logs themselves. Shared by the shards.
#[derive(Debug, Default)]
pub struct Journaled {
    logs: Mutex<BTreeMap<LogKey, Vec<JournalEntry>>>,
}

/// The journals of a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Above the numbers of all of them.
    pub(crate) next_number: u64,
    files: Vec<PathBuf>,
    logs: BTreeMap<LogKey, Vec<JournalEntry>>,
}

impl Journaled {
    /// All that several directories hold.
    pub(crate) fn of<'f>(found: impl Iterator<Item = &'f Found>) -> Self {
        let mut logs = BTreeMap::<LogKey, Vec<JournalEntry>>::new();
        for (key, entries) in found.flat_map(|found| &found.logs) {
            logs.entry(*key).or_default().extend_from_slice(entries);
        }
        Self { logs: Mutex::new(logs) }
    }

    /// What there is of a partition, oldest first.
    pub fn of_log(&self, topic_id: uuid::Uuid, partition: i32) -> Vec<JournalEntry> {
        self.lock().get(&(topic_id, partition)).cloned().unwrap_or_default()
    }

    /// The log is open, and all of it is durable in its own files.
    pub fn settled(&self, topic_id: uuid::Uuid, partition: i32) {
        self.lock().remove(&(topic_id, partition));
    }

    /// The partitions that nobody has opened yet.
    pub fn unsettled(&self) -> Vec<(uuid::Uuid, i32)> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogKey, Vec<JournalEntry>>> {
        self.logs.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Found {
    /// Reads the journals of `dir`.
    pub(crate) async fn read<I: Io>(io: &I, dir: &Path) -> Result<Self> {
        let mut found = Self::default();
        let names = io.read_dir(dir).await?;
        let mut journals: Vec<_> = names.iter().filter_map(|e| parse_journal_file_name(&e.name)).collect();
        journals.sort_unstable();
        for (number, shard) in journals {
            found.next_number = found.next_number.max(number + 1);
            let path = dir.join(millrace_proto::files::journal_file_name(number, shard));
            let file = io.open(&path, Open::Read).await?;
            found.take(read_frames(io, &file).await?);
            found.files.push(path);
        }
        Ok(found)
    }

    fn take(&mut self, frames: Vec<JournalFrame>) {
        for entry in frames.into_iter().flat_map(|frame| frame.entries) {
            self.logs.entry((entry.topic_id, entry.partition)).or_default().push(entry);
        }
    }

    /// Removes the journals: everything that they hold is in the logs.
    pub(crate) async fn remove<I: Io>(&mut self, io: &I) -> Result<()> {
        while let Some(path) = self.files.last() {
            disk::remove_file(io, path).await?;
            self.files.pop();
        }
        self.logs.clear();
        Ok(())
    }
}

/// The frames of both halves, oldest first.
async fn read_frames<I: Io>(io: &I, file: &I::File) -> Result<Vec<JournalFrame>> {
    let half = io.len(file).await? / 2 / JOURNAL_BLOCK * JOURNAL_BLOCK;
    let mut halves = Vec::new();
    for at in [0, half] {
        // One block says whether there is anything to read.
        let head = io.read_at(file, at, JOURNAL_BLOCK as usize).await?;
        if head.iter().all(|byte| *byte == 0) {
            continue;
        }
        halves.push(frames_of(&io.read_at(file, at, half as usize).await?));
    }
    halves.sort_by_key(|frames| frames.first().map(|frame| frame.place.generation));
    // One of another process would be from before this file had its name.
    let newest = halves.last().and_then(|frames| frames.first()).map(|frame| frame.place.run);
    halves.retain(|frames| frames.first().is_some_and(|frame| Some(frame.place.run) == newest));
    Ok(halves.into_iter().flatten().collect())
}

/// The frames of one generation from the beginning of a half on.
fn frames_of(half: &Bytes) -> Vec<JournalFrame> {
    let (mut frames, mut at) = (Vec::new(), 0);
    let mut due: Option<JournalPlace> = None;
    while at < half.len()
        && let Ok(frame) = parse_journal_frame(&half.slice(at..))
    {
        let first = JournalPlace { sequence: 0, ..frame.place };
        if frame.place != due.unwrap_or(first) {
            break;
        }
        due = Some(JournalPlace { sequence: frame.place.sequence + 1, ..frame.place });
        at += frame.len.next_multiple_of(JOURNAL_BLOCK) as usize;
        frames.push(frame);
    }
    frames
}
