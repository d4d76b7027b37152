//! Opening a log: nothing is read that need not be after a clean stop, and nothing is believed that was not proven
//! after any other.
//!
//! | | below the checkpoint | from the checkpoint on |
//! |---|---|---|
//! | clean stop | believed | believed |
//! | otherwise | segments before the one that holds it: believed, if they end where the next begins; that one: every batch checked, damage quarantined | every batch checked, the log cut at the first that does not check out |

use super::create::{assemble, jitter};
use super::cut::{keep_segment, keep_tail};
use super::epochs::Epochs;
use super::names;
use super::quarantine::{Hole, Quarantine};
use super::rescan::{Bounds, Scanned, rewrite_tail, scan, write_indexes};
use super::reserve::create_files;
use super::segment::{self, Active, Segment};
use super::state::{Inner, State};
use super::survey::{self, Listing, Tail};
use super::types::{Cut, LogConfig, LogEvent, Mutation, OpenError, Recovery, RecoveryPoint};
use super::{snapshot, types::ProducerSnapshot};
use crate::disk;
use bytes::Bytes;
use millrace_io::{Io, Open};
use millrace_proto::batch::Header;
use millrace_proto::files::{
    JournalEntry, LEADER_EPOCHS, PARTITION_METADATA, PartitionMetadata, parse_leader_epochs,
};
use std::io::Result;
use std::path::Path;
use std::rc::Rc;
use uuid::Uuid;

pub(super) async fn open<I: Io>(
    io: I,
    dir: &Path,
    config: LogConfig,
    (point, journaled): (RecoveryPoint, &[JournalEntry]),
    on_event: Rc<dyn Fn(LogEvent)>,
) -> std::result::Result<(Rc<Inner<I>>, Recovery), OpenError> {
    let failed = |source| OpenError::Io { dir: dir.to_path_buf(), source };
    let listing = survey::list(&io, dir).await.map_err(failed)?;
    let topic_id = read_topic_id(&io, dir).await.map_err(failed)?;
    let listing = match listing {
        Some(listing) if topic_id.is_some() || !listing.bases.is_empty() => listing,
        _ => return Err(OpenError::NotCreated(dir.to_path_buf())),
    };
    let topic_id = topic_id.unwrap_or(Uuid::nil());
    let mut opening = Opening::begin(&io, dir, config, point).await.map_err(failed)?;
    // Another topic of the same name may have left the directory behind.
    let own: Vec<_> = journaled.iter().filter(|entry| entry.topic_id == topic_id).cloned().collect();
    let (state, snapshot) = opening.run(listing, &own).await.map_err(failed)?;
    let recovery = Recovery {
        topic_id,
        log_start: state.log_start,
        end: state.end,
        cut: opening.cut.take(),
        quarantined: state.quarantine.ranges(),
        leader_epochs: state.epochs.all().to_vec(),
        producer_snapshot: snapshot,
        scanned_bytes: opening.scanned_bytes,
        restored: opening.restored,
    };
    Ok((assemble(io, dir, topic_id, on_event, state), recovery))
}

/// The topic id; `None` if the file is missing or says nothing.
async fn read_topic_id<I: Io>(io: &I, dir: &Path) -> Result<Option<Uuid>> {
    let content = disk::read_file(io, &dir.join(PARTITION_METADATA)).await?;
    Ok(content.and_then(|bytes| match PartitionMetadata::parse(&bytes) {
        Ok(metadata) => Some(metadata.topic_id),
        Err(e) => {
            tracing::error!(dir = %dir.display(), reason = %e, "{PARTITION_METADATA} is unusable");
            None
        }
    }))
}

/// A log on its way to being open.
struct Opening<'a, I: Io> {
    io: &'a I,
    dir: &'a Path,
    config: LogConfig,
    point: RecoveryPoint,
    segments: Vec<Segment<I::File>>,
    active: Active,
    epochs: Epochs,
    quarantine: Quarantine,
    /// Where the log ends, as far as it has been looked at.
    end: i64,
    /// Nothing may be appended to the last segment.
    sealed: bool,
    cut: Option<Cut>,
    scanned_bytes: u64,
    /// Offsets that came back from the journal.
    restored: i64,
}

impl<'a, I: Io> Opening<'a, I> {
    async fn begin(io: &'a I, dir: &'a Path, config: LogConfig, point: RecoveryPoint) -> Result<Self> {
        let epochs = disk::read_file(io, &dir.join(LEADER_EPOCHS)).await?;
        let epochs = epochs.map(|bytes| parse_leader_epochs(&bytes)).transpose().unwrap_or_else(|e| {
            tracing::error!(dir = %dir.display(), reason = %e, "{LEADER_EPOCHS} is unusable");
            None
        });
        Ok(Opening {
            io,
            dir,
            config,
            point,
            segments: Vec::new(),
            active: Active::new(0, 0),
            epochs: Epochs::from_file(epochs.unwrap_or_default()),
            quarantine: Quarantine::load(io, dir).await?,
            end: 0,
            sealed: false,
            cut: None,
            scanned_bytes: 0,
            restored: 0,
        })
    }

    async fn run(
        &mut self,
        listing: Listing,
        journaled: &[JournalEntry],
    ) -> Result<(State<I::File>, Option<ProducerSnapshot>)> {
        let listing = listing.tidy(self.io, self.dir, self.point.log_start).await?;
        let known = self.quarantine.clone();
        if !(self.point.clean && self.open_clean(&listing).await?) {
            self.recover(&listing).await?;
            self.restore(journaled).await?;
        }
        let first = self.segments.first().map_or(0, |s| s.base);
        let log_start = self.point.log_start.max(first);
        self.complete(log_start).await?;
        self.quarantine.forget_below(log_start);
        if self.quarantine != known {
            self.quarantine.save(self.io, self.dir).await?;
        }
        self.io.sync_dir(self.dir).await?;
        self.epochs.truncate(self.end);
        let snapshots = self.usable_snapshots(&listing).await?;
        let snapshot = snapshot::load_newest(self.io, self.dir, &snapshots).await?;
        self.active.jitter = jitter(self.io, self.config.segment_jitter_ms);
        let segments = std::mem::take(&mut self.segments);
        let active = std::mem::replace(&mut self.active, Active::new(0, 0));
        let mut state = State::new(self.config.clone(), segments, active, self.end);
        state.log_start = log_start;
        state.epochs = std::mem::take(&mut self.epochs);
        state.quarantine = std::mem::take(&mut self.quarantine);
        state.snapshots = snapshots;
        Ok((state, snapshot))
    }

    /// Takes everything as the last process left it. `false` if it does not look like that.
    async fn open_clean(&mut self, listing: &Listing) -> Result<bool> {
        let Some((&last, older)) = listing.bases.split_last() else { return Ok(false) };
        if !listing.indexes_complete() {
            return Ok(false);
        }
        let tail = survey::tail(self.io, self.dir, last).await?;
        if tail.position < tail.len || tail.end < self.point.checkpoint {
            tracing::error!(dir = %self.dir.display(), "the last stop was called clean, but the log's end is damaged");
            return Ok(false);
        }
        self.segments = older.iter().map(|base| Segment::unopened(*base)).collect();
        self.take_over(tail);
        Ok(true)
    }

    fn take_over(&mut self, tail: Tail<I::File>) {
        (self.end, self.active) = (tail.end, tail.active);
        self.segments.push(tail.segment);
    }

    /// Trusts nothing from the checkpoint on, and little below.
    async fn recover(&mut self, listing: &Listing) -> Result<()> {
        let bases = &self.without_unused(&listing.bases).await?;
        // A checkpoint that equals a segment's base may be from before the roll, when the indexes of the segment before
        // were not durable yet.
        let first_scanned = bases.partition_point(|base| *base < self.point.checkpoint).saturating_sub(1);
        self.end = bases.first().copied().unwrap_or(self.point.log_start);
        for (at, &base) in bases.iter().enumerate() {
            let next_base = bases.get(at + 1).copied();
            if self.cut.is_some() || self.overlaps(base) {
                self.put_aside(base).await?;
                continue;
            }
            if !self.bridge(base).await? {
                self.put_aside(base).await?;
                continue;
            }
            let whole = at < first_scanned && !listing.lacks_index(base);
            if whole && self.ends_at(base, next_base).await? {
                self.segments.push(Segment::unopened(base));
                self.end = next_base.unwrap_or(self.end);
                continue;
            }
            if at >= first_scanned {
                rewrite_tail(self.io, self.dir, base, self.point.checkpoint).await?;
            }
            self.rescan(base, next_base).await?;
        }
        Ok(())
    }

    /// Removes what a roll leaves behind that never came to be: an empty last segment, which may even begin within its
    /// predecessor. If it was more than that, it is created again when it is needed.
    async fn without_unused(&self, bases: &[i64]) -> Result<Vec<i64>> {
        let mut bases = bases.to_vec();
        if let [_, .., last] = bases[..] {
            let file = self.io.open(&segment::path(self.dir, last, names::LOG), Open::Read).await?;
            if self.io.len(&file).await? == 0 {
                remove_segment(self.io, self.dir, last).await?;
                bases.pop();
            }
        }
        Ok(bases)
    }

    /// A segment that begins within its predecessor is none of ours.
    fn overlaps(&self, base: i64) -> bool {
        !self.segments.is_empty() && base < self.end
    }

    /// Whether the log may go on with a segment that begins at `base`: where offsets are missing before it, they must
    /// be ones that were durable; then they are quarantined.
    async fn bridge(&mut self, base: i64) -> Result<bool> {
        let Some(previous) = self.segments.last().filter(|_| base > self.end) else { return Ok(true) };
        if self.end >= self.checkpoint() {
            self.begin_cut(format!("the next segment begins at {base}"));
            return Ok(false);
        }
        let (segment, position) = (previous.base, self.active.appended);
        tracing::error!(dir = %self.dir.display(), from = self.end, to = base, "durable offsets are missing");
        self.quarantine.add(Hole { offsets: self.end..base, segment, bytes: position..position });
        self.end = base;
        Ok(true)
    }

    /// Damage from this offset on ends the log.
    fn checkpoint(&self) -> i64 {
        if self.config.mutation == Mutation::CutBelowCheckpoint { 0 } else { self.point.checkpoint }
    }

    /// Whether a segment that is not scanned ends where the next one begins. Reads its last headers.
    async fn ends_at(&mut self, base: i64, next_base: Option<i64>) -> Result<bool> {
        let tail = survey::tail(self.io, self.dir, base).await?;
        self.active = tail.active;
        Ok(tail.position == tail.len && Some(tail.end) == next_base)
    }

    async fn rescan(&mut self, base: i64, next_base: Option<i64>) -> Result<()> {
        self.quarantine.forget_segment(base);
        let bounds =
            Bounds { checkpoint: self.checkpoint(), next_base, interval: self.config.index_interval_bytes };
        let scanned = scan(self.io, self.dir, base, bounds, &mut self.epochs, &mut self.quarantine).await?;
        self.scanned_bytes += scanned.bytes_read;
        let Scanned { mut segment, mut active, file, len, end, bad, cut_at, sealed, .. } = scanned;
        (self.end, self.sealed) = (end, sealed);
        if let Some(reason) = bad {
            self.begin_cut(reason);
            let kept = keep_tail(self.io, self.dir, (base, &file, len), cut_at, end).await?;
            self.note_cut(len - cut_at, kept);
        }
        // Also cuts what was allocated ahead.
        self.io.truncate(&file, cut_at).await?;
        self.io.sync(&file).await?;
        // As at a roll: the index ends with the segment's largest timestamp.
        active.index_time(&mut segment);
        write_indexes(self.io, self.dir, &mut segment).await?;
        active.continue_at(cut_at);
        segment.shrink();
        self.segments.push(segment);
        self.active = active;
        Ok(())
    }

    fn begin_cut(&mut self, reason: String) {
        let offset = self.end;
        self.cut.get_or_insert(Cut { offset, bytes: 0, reason, kept: Vec::new() });
    }

    fn note_cut(&mut self, bytes: u64, kept: Option<std::path::PathBuf>) {
        if let Some(cut) = &mut self.cut {
            cut.bytes += bytes;
            cut.kept.extend(kept);
        }
    }

    /// Keeps a segment's bytes under another name.
    async fn put_aside(&mut self, base: i64) -> Result<()> {
        if let Some((path, bytes)) = keep_segment(self.io, self.dir, base, self.end).await? {
            self.begin_cut(format!("segment {base} does not go on where its predecessor ends"));
            self.note_cut(bytes, Some(path));
        }
        Ok(())
    }

    /// Sees to it that the log reaches up to the checkpoint and its own start, and that its last segment can be
    /// appended to.
    async fn complete(&mut self, log_start: i64) -> Result<()> {
        let wanted = self.checkpoint().max(log_start);
        if self.end < wanted {
            let segment = self.segments.last().map_or(wanted, |s| s.base);
            let at = self.active.appended;
            if self.end.max(log_start) < wanted {
                let offsets = self.end.max(log_start)..wanted;
                tracing::error!(dir = %self.dir.display(), ?offsets, "durable offsets are missing");
                self.quarantine.add(Hole { offsets, segment, bytes: at..at });
            }
            (self.end, self.sealed) = (wanted, true);
        }
        self.quarantine.sort();
        self.see_to_last_segment().await
    }

    /// Sees to it that there is a last segment that can be appended to.
    async fn see_to_last_segment(&mut self) -> Result<()> {
        let begins_here = self.segments.last().is_some_and(|s| s.base == self.end);
        if self.segments.is_empty() || (self.sealed && !begins_here) {
            let mut segment = create_files(self.io, self.dir, self.end).await?;
            segment.shrink();
            self.segments.push(segment);
            self.active = Active::new(0, 0);
            self.sealed = false;
        }
        Ok(())
    }

    /// Appends what a journal holds behind the end: it was durable, and the segment had not been synced.
    async fn restore(&mut self, journaled: &[JournalEntry]) -> Result<()> {
        let batches = lost(journaled, self.end);
        if batches.is_empty() || self.config.mutation == Mutation::ForgetJournal {
            return Ok(());
        }
        self.see_to_last_segment().await?;
        let (from, interval) = (self.end, self.config.index_interval_bytes);
        let position = self.active.appended;
        let segment = self.segments.last_mut().expect("just seen to");
        let file = self.io.open(&segment::path(self.dir, segment.base, names::LOG), Open::Write).await?;
        self.io.write_at(&file, position, batches.iter().map(|(_, bytes)| bytes.clone()).collect()).await?;
        self.io.sync(&file).await?;
        for (header, _) in &batches {
            self.active.note(segment, header, header.size() as u64, interval);
            self.epochs.begin(header.leader_epoch, header.base_offset);
            self.end = header.next_offset();
        }
        let size = self.active.appended;
        self.active.continue_at(size);
        segment.size = Some(size);
        self.restored = self.end - from;
        Ok(())
    }

    /// Snapshots of a state that the log still reaches; later ones are removed.
    async fn usable_snapshots(&self, listing: &Listing) -> Result<Vec<i64>> {
        let (usable, beyond): (Vec<i64>, Vec<i64>) = listing.snapshots.iter().partition(|o| **o <= self.end);
        for offset in beyond {
            snapshot::remove(self.io, self.dir, offset).await?;
        }
        Ok(usable)
    }
}

/// The batches of a journal that a log lacks which ends at `end`: those that follow it without a gap.
fn lost(journaled: &[JournalEntry], mut end: i64) -> Vec<(Header, Bytes)> {
    let mut batches = Vec::new();
    for entry in journaled {
        let mut reached = entry.base;
        for mut bytes in entry.bytes.iter().cloned() {
            while let Ok(header) = Header::parse(&bytes)
                && header.size() <= bytes.len()
            {
                let batch = bytes.split_to(header.size());
                if header.next_offset() > end {
                    if reached > end {
                        return batches;
                    }
                    end = header.next_offset();
                    batches.push((header, batch));
                }
                reached = header.next_offset();
            }
        }
    }
    batches
}

/// Removes a segment's files.
pub(super) async fn remove_segment<I: Io>(io: &I, dir: &Path, base: i64) -> Result<()> {
    for suffix in [names::LOG, names::INDEX, names::TIME_INDEX] {
        disk::remove_file(io, &segment::path(dir, base, suffix)).await?;
    }
    Ok(())
}
