//! Reading one segment batch by batch after an unclean stop: what is good, where damage begins and ends, and indexes
//! made anew from what was found.

use super::epochs::Epochs;
use super::index::SparseIndex;
use super::quarantine::{Hole, Quarantine};
use super::reserve::create_index_files;
use super::scan::{Found, LARGE_WINDOW, Walker};
use super::segment::{self, Active, Segment};
use super::{index::Entry, names};
use bytes::BytesMut;
use millrace_io::{Io, Open};
use millrace_proto::batch::Header;
use std::io::Result;
use std::path::Path;

/// Bytes rewritten at once; a piece of zeros that is not there at all stays so.
const REWRITE: usize = 64 << 10;

/// What limits the scan of one segment.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Damage below is quarantined, damage from here on ends the log.
    pub(super) checkpoint: i64,
    /// Where the next segment begins, if there is one.
    pub(super) next_base: Option<i64>,
    /// `index.interval.bytes`.
    pub(super) interval: u32,
}

/// What a scan found.
pub(super) struct Scanned<F> {
    pub(super) segment: Segment<F>,
    pub(super) active: Active,
    pub(super) file: F,
    /// The file's length.
    pub(super) len: u64,
    /// Behind the last good batch; or behind damage that reaches up to here.
    pub(super) end: i64,
    /// Why the batch at `cut_at` ends the log, if one does.
    pub(super) bad: Option<String>,
    /// The position up to which the log goes on.
    pub(super) cut_at: u64,
    /// The file ends with quarantined bytes: nothing may be appended to it.
    pub(super) sealed: bool,
    pub(super) bytes_read: u64,
}

/// Writes everything from the first batch at or behind `checkpoint` on once more, as it reads now.
///
/// After a failed sync the page cache may show what the disk does not have, and call it clean: a sync would then
/// write nothing and prove nothing. Pages that are written again are dirty, so the sync that follows counts.
pub(super) async fn rewrite_tail<I: Io>(io: &I, dir: &Path, base: i64, checkpoint: i64) -> Result<()> {
    let file = io.open(&segment::path(dir, base, names::LOG), Open::Write).await?;
    let len = io.len(&file).await?;
    let mut walker = Walker::new(io.clone(), file.clone(), base..i64::MAX, len, LARGE_WINDOW);
    while let Found::Batch(header) = walker.look().await? {
        if header.base_offset >= checkpoint {
            break;
        }
        walker.skip(&header);
    }
    let mut at = walker.position;
    while at < len {
        let bytes = io.read_at(&file, at, REWRITE.min((len - at) as usize)).await?;
        if bytes.is_empty() {
            break;
        }
        let read = bytes.len() as u64;
        if bytes.iter().any(|byte| *byte != 0) {
            io.write_at(&file, at, vec![bytes]).await?;
        }
        at += read;
    }
    Ok(())
}

/// Reads and checks every batch of the segment with this base.
pub(super) async fn scan<I: Io>(
    io: &I,
    dir: &Path,
    base: i64,
    bounds: Bounds,
    epochs: &mut Epochs,
    quarantine: &mut Quarantine,
) -> Result<Scanned<I::File>> {
    let file = io.open(&segment::path(dir, base, names::LOG), Open::Write).await?;
    let len = io.len(&file).await?;
    let end = bounds.next_base.unwrap_or(i64::MAX);
    let mut scan = Scan {
        walker: Walker::new(io.clone(), file.clone(), base..end, len, LARGE_WINDOW),
        segment: Segment::unopened(base),
        active: Active::new(0, 0),
        bounds,
        end: base,
        sealed: false,
    };
    let bad = scan.run(epochs, quarantine).await?;
    let Scan { walker, mut segment, active, end, sealed, .. } = scan;
    let cut_at = if bad.is_some() { walker.position } else { len };
    (segment.file, segment.size) = (Some(file.clone()), Some(cut_at));
    let bytes_read = walker.bytes_read;
    Ok(Scanned { segment, active, file, len, end, bad, cut_at, sealed, bytes_read })
}

struct Scan<I: Io> {
    walker: Walker<I>,
    segment: Segment<I::File>,
    active: Active,
    bounds: Bounds,
    /// The next offset that should come.
    end: i64,
    sealed: bool,
}

impl<I: Io> Scan<I> {
    /// Goes through the file; says why it ended before the file did, if that is a reason to cut.
    async fn run(&mut self, epochs: &mut Epochs, quarantine: &mut Quarantine) -> Result<Option<String>> {
        loop {
            let why = match self.walker.look().await? {
                Found::End => return Ok(None),
                Found::Bad(why) => why,
                // The checksum does not cover the base offset; that batches follow each other does.
                Found::Batch(header) if header.base_offset != self.end => {
                    format!("offset {} where {} is due", header.base_offset, self.end)
                }
                Found::Batch(header) if !self.walker.checks_out(&header).await? => {
                    "its checksum does not match".into()
                }
                Found::Batch(header) => {
                    self.accept(&header, epochs);
                    continue;
                }
            };
            if self.end >= self.bounds.checkpoint {
                return Ok(Some(why));
            }
            let hole = self.step_over().await?;
            tracing::error!(
                segment = self.segment.base, position = hole.bytes.start, offsets = ?hole.offsets, reason = why,
                "durable data is damaged and quarantined"
            );
            quarantine.add(hole);
        }
    }

    fn accept(&mut self, header: &Header, epochs: &mut Epochs) {
        self.active.appended = self.walker.position;
        self.active.note(&mut self.segment, header, header.size() as u64, self.bounds.interval);
        epochs.begin(header.leader_epoch, header.base_offset);
        self.walker.skip(header);
        self.end = header.next_offset();
    }

    /// Moves behind damage that begins at the current position: to the next batch that checks out, or to the end.
    async fn step_over(&mut self) -> Result<Hole> {
        let (start, from) = (self.walker.position, self.end);
        let next = match self.trusted_size().await? {
            Some((next, position)) => {
                self.walker.position = position;
                Some(next)
            }
            None => {
                self.walker.position = start + 1;
                self.walker.find_batch(|h| h.base_offset >= from).await?.map(|header| header.base_offset)
            }
        };
        self.sealed = next.is_none() || self.walker.position >= self.walker.size();
        self.end = next.unwrap_or_else(|| self.bounds.next_base.unwrap_or(self.bounds.checkpoint));
        self.active.appended = self.walker.position;
        Ok(Hole { offsets: from..self.end, segment: self.segment.base, bytes: start..self.walker.position })
    }

    /// If only the records of the batch here are damaged, its header still says where it ends and what follows; it is
    /// believed if what follows agrees. Gives the next offset and position.
    async fn trusted_size(&mut self) -> Result<Option<(i64, u64)>> {
        let start = self.walker.position;
        let Found::Batch(header) = self.walker.look().await? else { return Ok(None) };
        if header.base_offset != self.end {
            return Ok(None);
        }
        let next = header.next_offset();
        self.walker.skip(&header);
        let behind = self.walker.position;
        let agrees = match self.walker.look().await? {
            Found::Batch(following) => {
                following.base_offset == next && self.walker.checks_out(&following).await?
            }
            Found::End => match self.bounds.next_base {
                Some(base) => next == base,
                None => next <= self.bounds.checkpoint,
            },
            Found::Bad(_) => false,
        };
        self.walker.position = start;
        Ok(agrees.then_some((next, behind)))
    }
}

/// Replaces a segment's index files by what a scan has collected, durably but for their names.
pub(super) async fn write_indexes<I: Io>(io: &I, dir: &Path, segment: &mut Segment<I::File>) -> Result<()> {
    let (offsets, times) = create_index_files(io, dir, segment.base).await?;
    write_index(io, &mut segment.offsets, offsets).await?;
    write_index(io, &mut segment.times, times).await
}

pub(super) async fn write_index<I: Io, E: Entry>(
    io: &I,
    index: &mut SparseIndex<E, I::File>,
    file: I::File,
) -> Result<()> {
    let mut bytes = BytesMut::new();
    index.entries().for_each(|entry| entry.put(&mut bytes));
    let count = index.len();
    if !bytes.is_empty() {
        io.write_at(&file, 0, vec![bytes.freeze()]).await?;
    }
    io.sync(&file).await?;
    *index = SparseIndex::with_stored(None, count);
    Ok(())
}
