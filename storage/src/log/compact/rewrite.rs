//! One segment's content out of those of one or several: what stays of their batches, and batches without records where
//! nothing stays, so that offsets follow each other without a gap as they did before.

use super::super::index::Entry;
use super::super::names;
use super::super::rescan::write_index;
use super::super::segment::{self, Active, Segment};
use bytes::{Bytes, BytesMut};
use millrace_io::{Io, Open};
use millrace_proto::batch::{Header, placeholder};
use std::io::Result;
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;
/// Bytes after which what was written is synced: one large sync at the end would hold up everybody else's.
const SYNC_EVERY: u64 = 8 << 20;

/// A segment on its way to being rewritten.
pub(super) struct Rewrite<I: Io> {
    io: I,
    dir: PathBuf,
    base: i64,
    interval: u32,
    /// What is there instead of what follows, which is as it was: nothing is written while nothing has changed.
    unchanged: Option<I::File>,
    output: Option<Output<I::File>>,
    segment: Segment<I::File>,
    active: Active,
    gap: Option<Gap>,
    /// Leave out what makes it survive a power cut, for the test that notices.
    unsynced: bool,
}

struct Output<F> {
    file: F,
    buffer: BytesMut,
    /// Bytes in the file.
    written: u64,
    synced: u64,
}

/// Batches of which nothing stays.
struct Gap {
    base: i64,
    last: i64,
    leader_epoch: i32,
    /// The only one, if it is a batch that stands for a gap already.
    same: Option<Bytes>,
}

/// What a rewrite came to.
pub(super) enum Outcome<F> {
    /// The only segment stays as it is.
    Unchanged,
    /// This is to be in place of the old ones: files `….cleaned`, durable but for their names.
    Rewritten(Segment<F>),
}

impl<I: Io> Rewrite<I> {
    /// Begins with nothing. `source` is the segment's file if it is only one: it stays if nothing changes.
    pub(super) fn new(
        io: I,
        dir: &Path,
        base: i64,
        interval: u32,
        source: Option<I::File>,
        unsynced: bool,
    ) -> Self {
        Rewrite {
            io,
            dir: dir.to_path_buf(),
            base,
            interval,
            unchanged: source,
            output: None,
            segment: Segment::unopened(base),
            active: Active::new(0, 0),
            gap: None,
            unsynced,
        }
    }

    /// A batch stays as it is.
    pub(super) async fn keep(&mut self, header: &Header, batch: Bytes) -> Result<()> {
        self.close_gap().await?;
        self.put(header, batch, true).await
    }

    /// This is left of a batch.
    pub(super) async fn replace(&mut self, header: &Header, batch: Bytes) -> Result<()> {
        self.close_gap().await?;
        self.put(header, batch, false).await
    }

    /// Nothing is left of a batch.
    pub(super) async fn remove(&mut self, header: &Header, batch: Bytes) -> Result<()> {
        let (epoch, last) = (header.leader_epoch, header.last_offset());
        let joins = |gap: &Gap| gap.leader_epoch == epoch && i32::try_from(last - gap.base).is_ok();
        match self.gap.as_mut().filter(|gap| joins(gap)) {
            Some(gap) => (gap.last, gap.same) = (last, None),
            None => {
                self.close_gap().await?;
                let same = placeholder(header.base_offset, last, epoch) == batch;
                self.gap = Some(Gap {
                    base: header.base_offset,
                    last,
                    leader_epoch: epoch,
                    same: same.then_some(batch),
                });
            }
        }
        Ok(())
    }

    async fn close_gap(&mut self) -> Result<()> {
        let Some(gap) = self.gap.take() else { return Ok(()) };
        let unchanged = gap.same.is_some();
        let batch = gap.same.unwrap_or_else(|| placeholder(gap.base, gap.last, gap.leader_epoch));
        let header = Header::parse(&batch).expect("a batch made here");
        self.put(&header, batch, unchanged).await
    }

    async fn put(&mut self, header: &Header, batch: Bytes, unchanged: bool) -> Result<()> {
        if !(unchanged && self.unchanged.is_some()) {
            self.begin().await?;
        }
        self.active.note(&mut self.segment, header, batch.len() as u64, self.interval);
        if let Some(output) = &mut self.output {
            output.buffer.extend_from_slice(&batch);
            if output.buffer.len() >= CHUNK {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// From here on the new content differs: what was the same before is copied.
    async fn begin(&mut self) -> Result<()> {
        if self.output.is_some() {
            return Ok(());
        }
        let file = self.io.open(&self.path(names::LOG), Open::Create).await?;
        self.io.truncate(&file, 0).await?;
        self.output = Some(Output { file, buffer: BytesMut::new(), written: 0, synced: 0 });
        let (source, same) = (self.unchanged.take(), self.active.appended);
        let Some(source) = source else { return Ok(()) };
        let mut at = 0;
        while at < same {
            let bytes = self.io.read_at(&source, at, CHUNK.min((same - at) as usize)).await?;
            if bytes.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            at += bytes.len() as u64;
            if let Some(output) = &mut self.output {
                output.buffer.extend_from_slice(&bytes);
            }
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        if output.buffer.is_empty() {
            return Ok(());
        }
        let bytes = output.buffer.split().freeze();
        let len = bytes.len() as u64;
        self.io.write_at(&output.file, output.written, vec![bytes]).await?;
        output.written += len;
        if output.written - output.synced >= SYNC_EVERY && !self.unsynced {
            self.io.sync(&output.file).await?;
            output.synced = output.written;
        }
        Ok(())
    }

    /// Writes what is left, and the indexes.
    pub(super) async fn finish(mut self) -> Result<Outcome<I::File>> {
        self.close_gap().await?;
        self.write().await?;
        let Some(output) = self.output.take() else { return Ok(Outcome::Unchanged) };
        if !self.unsynced {
            self.io.sync(&output.file).await?;
        }
        self.active.index_time(&mut self.segment);
        let (io, path) = (&self.io, |suffix| cleaned(&self.dir, self.base, suffix));
        write_new(io, &path(names::INDEX), &mut self.segment.offsets).await?;
        write_new(io, &path(names::TIME_INDEX), &mut self.segment.times).await?;
        (self.segment.file, self.segment.size) = (Some(output.file), Some(output.written));
        Ok(Outcome::Rewritten(self.segment))
    }

    fn path(&self, suffix: &str) -> PathBuf {
        cleaned(&self.dir, self.base, suffix)
    }
}

/// Writes an index into a file of its own, and keeps that open.
async fn write_new<I: Io, E: Entry>(
    io: &I,
    path: &Path,
    index: &mut super::super::index::SparseIndex<E, I::File>,
) -> Result<()> {
    let file = io.open(path, Open::Create).await?;
    io.truncate(&file, 0).await?;
    write_index(io, index, file.clone()).await?;
    index.file = Some(file);
    Ok(())
}

/// Where a segment's new file is before it is in place.
pub(super) fn cleaned(dir: &Path, base: i64, suffix: &str) -> PathBuf {
    named(segment::path(dir, base, suffix), names::CLEANED)
}

/// The same name with something behind it.
pub(super) fn named(path: PathBuf, suffix: &str) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
