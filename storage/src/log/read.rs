//! Finding whole batches: by remembered boundaries at the end of the log, else by the sparse index and a few headers.

use super::index::{Lookup, search_file};
use super::names;
use super::quarantine::Hole;
use super::scan::{Found, SMALL_WINDOW, Walker};
use super::state::{Bookmark, Inner, Opened};
use super::types::{Extent, ReadError};
use bytes::Bytes;
use millrace_io::Io;
use millrace_proto::batch::Header;
use millrace_proto::files::OffsetIndexEntry;
use std::ops::Range;

/// Window for reading many headers: a few small batches at once, little waste between large ones.
const REPLAY_WINDOW: usize = 64 << 10;

/// A batch boundary within a segment.
#[derive(Clone, Copy, Debug)]
struct Boundary {
    position: u64,
    offset: i64,
}

impl<I: Io> Inner<I> {
    pub(super) async fn read(
        &self,
        offset: i64,
        upto: i64,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Result<Vec<Extent<I::File>>, ReadError> {
        self.online()?;
        let upto = self.readable(offset, upto)?;
        let (mut extents, mut at, mut budget) = (Vec::new(), offset, max_bytes);
        while at < upto && (budget > 0 || (at_least_one && extents.is_empty())) {
            let force = at_least_one && extents.is_empty();
            let extent = match self.read_segment(at, upto, budget, force).await {
                Ok(Some(extent)) => extent,
                Ok(None) => break,
                // What was found so far is an answer; whoever reads on meets the error.
                Err(_) if !extents.is_empty() => break,
                Err(e) => return Err(e),
            };
            budget = budget.saturating_sub(extent.len);
            // A segment that was not read to its end was cut by the budget.
            let exhausted =
                self.next_base(extent.end_offset - 1).is_some_and(|next| next <= extent.end_offset);
            at = extent.end_offset;
            extents.push(extent);
            if !exhausted {
                break;
            }
        }
        Ok(extents)
    }

    /// Checks `offset`, and says up to where one may read on from it.
    fn readable(&self, offset: i64, upto: i64) -> Result<i64, ReadError> {
        let state = self.state.borrow();
        let (start, end) = (state.log_start, state.written);
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        if let Some(hole) = state.quarantine.containing(offset) {
            return Err(ReadError::Quarantined(hole.offsets.clone()));
        }
        let hole = state.quarantine.next_after(offset).map_or(i64::MAX, |hole| hole.offsets.start);
        Ok(upto.min(end).min(hole))
    }

    /// The base of the segment behind the one that `offset` belongs to.
    fn next_base(&self, offset: i64) -> Option<i64> {
        let state = self.state.borrow();
        let at = state.segment_for(offset)?;
        state.segments.get(at + 1).map(|s| s.base)
    }

    /// The part of the answer that lies in the segment `at` belongs to.
    async fn read_segment(
        &self,
        at: i64,
        upto: i64,
        budget: u64,
        force: bool,
    ) -> Result<Option<Extent<I::File>>, ReadError> {
        let opened = self.segment_of(at).await?;
        let start = self.find_start(&opened, at).await?;
        let limit = self.find_end(&opened, start, upto).await?;
        let end = if limit.position - start.position <= budget {
            limit
        } else {
            match self.last_within(&opened, start, start.position + budget, force).await? {
                Some(end) => end,
                None => return Ok(None),
            }
        };
        if end.position == start.position {
            // Either the first batch ends behind `upto`, or there is no batch.
            let mut walker = self.walker_at(&opened, start.position);
            let found = walker.look().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
            return match found {
                Found::Batch(_) => Ok(None),
                Found::End | Found::Bad(_) => self.found_damage(walker, &opened, at).await.map(|_| None),
            };
        }
        let mut state = self.state.borrow_mut();
        state.remember(Bookmark { segment: opened.base, offset: end.offset, position: end.position });
        let recent = state.last().base == opened.base && state.active.is_recent(start.position);
        Ok(Some(Extent {
            file: opened.file,
            position: start.position,
            len: end.position - start.position,
            recent,
            base_offset: start.offset,
            end_offset: end.offset,
        }))
    }

    /// Opens the segment that `offset` belongs to.
    pub(super) async fn segment_of(&self, offset: i64) -> Result<Opened<I::File>, ReadError> {
        let base = {
            let state = self.state.borrow();
            let at = state.segment_for(offset).unwrap_or(0);
            state.segments.get(at).map_or(0, |s| s.base)
        };
        self.open_segment(base).await.map_err(|e| self.read_error(base, names::LOG, e))
    }

    /// Where the batch that holds `at` begins.
    async fn find_start(&self, opened: &Opened<I::File>, at: i64) -> Result<Boundary, ReadError> {
        if let Some(position) = self.known_boundary(opened, at) {
            return Ok(Boundary { position, offset: at });
        }
        let mut walker = self.walker_near(opened, at).await?;
        loop {
            let found = walker.look().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
            match found {
                Found::Batch(header) if header.last_offset() >= at => {
                    // Nothing holds `at`: batches follow each other without a gap, so one before this says of itself
                    // what is not true. This one is as good as any.
                    if header.base_offset > at {
                        let here = walker.position..walker.position;
                        return self.note_damage(opened, here, at..header.base_offset);
                    }
                    if header.base_offset < at && self.is_overtaken(opened, &walker, &header, at).await? {
                        walker.skip(&header);
                        continue;
                    }
                    return Ok(Boundary { position: walker.position, offset: header.base_offset });
                }
                Found::Batch(header) => walker.skip(&header),
                Found::End | Found::Bad(_) => return self.found_damage(walker, opened, at).await,
            }
        }
    }

    /// Whether the batch behind this one begins at or before `at`: then this one does not hold `at`, whatever its header says. Asked only
    /// where reading begins within a batch, which is seldom.
    async fn is_overtaken(
        &self,
        opened: &Opened<I::File>,
        walker: &Walker<I>,
        header: &Header,
        at: i64,
    ) -> Result<bool, ReadError> {
        let mut next = self.walker_at(opened, walker.position + header.size() as u64);
        let found = next.look().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
        Ok(matches!(found, Found::Batch(next) if next.base_offset <= at))
    }

    /// Damage that nobody knew of: finds out how far it goes and remembers it until the log is opened again. `Ok` if
    /// the batch that holds `at` lies behind it.
    async fn found_damage(
        &self,
        mut walker: Walker<I>,
        opened: &Opened<I::File>,
        at: i64,
    ) -> Result<Boundary, ReadError> {
        let start = walker.position;
        walker.position += 1;
        let found = walker.find_batch(|header| header.last_offset() >= at).await;
        let found = found.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
        let behind = found.map(|header| header.base_offset).or(self.next_base(at));
        let end = behind.unwrap_or_else(|| self.state.borrow().written);
        self.note_damage(opened, start..walker.position, at.min(end)..end)
    }

    /// Remembers damage until the log is opened again. `Ok` if it takes no offsets: where reading goes on.
    fn note_damage(
        &self,
        opened: &Opened<I::File>,
        bytes: Range<u64>,
        offsets: Range<i64>,
    ) -> Result<Boundary, ReadError> {
        tracing::error!(
            segment = opened.base,
            position = bytes.start,
            ?offsets,
            "damage was found by a read"
        );
        let behind = Boundary { position: bytes.end, offset: offsets.end };
        let mut state = self.state.borrow_mut();
        state.quarantine.add(Hole { offsets: offsets.clone(), segment: opened.base, bytes });
        state.quarantine.sort();
        if offsets.is_empty() { Ok(behind) } else { Err(ReadError::Quarantined(offsets)) }
    }

    /// Where the last batch below `upto` ends, in this segment.
    async fn find_end(
        &self,
        opened: &Opened<I::File>,
        start: Boundary,
        upto: i64,
    ) -> Result<Boundary, ReadError> {
        let next = self.next_base(opened.base);
        let segment_end = next.unwrap_or_else(|| self.state.borrow().written);
        if segment_end <= upto {
            let size = self.written_size(opened);
            return Ok(Boundary { position: size, offset: segment_end });
        }
        if let Some(position) = self.known_boundary(opened, upto) {
            return Ok(Boundary { position: position.max(start.position), offset: upto });
        }
        let mut walker = self.walker_near(opened, upto - 1).await?;
        walker.position = walker.position.max(start.position);
        self.walk_to(&mut walker, opened, start, |header, _| header.next_offset() <= upto).await
    }

    /// Where the last batch ends that ends at or before `position`. With `force`, the first batch counts anyway.
    async fn last_within(
        &self,
        opened: &Opened<I::File>,
        start: Boundary,
        position: u64,
        force: bool,
    ) -> Result<Option<Boundary>, ReadError> {
        let mut walker = self.walker_at(opened, start.position);
        if let Some(entry) = self.offset_floor(opened, |e| i64::from(e.position), position as i64).await? {
            walker.position = walker.position.max(u64::from(entry.position));
        }
        let begins_at = walker.position;
        let fits = |header: &Header, at: u64| {
            at + header.size() as u64 <= position || (force && at == start.position)
        };
        let end = self.walk_to(&mut walker, opened, start, fits).await?;
        // The first batch alone is larger than allowed.
        let nothing = end.position == begins_at && begins_at == start.position;
        Ok((!nothing).then_some(end))
    }

    /// Walks over batches as long as `goes_on` says so; what cannot be read as a batch ends the walk, too.
    async fn walk_to(
        &self,
        walker: &mut Walker<I>,
        opened: &Opened<I::File>,
        start: Boundary,
        goes_on: impl Fn(&Header, u64) -> bool,
    ) -> Result<Boundary, ReadError> {
        let mut offset = start.offset;
        loop {
            let found = walker.look().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
            // Offsets ascend: a header that goes back says of itself what is not true.
            let found = match found {
                Found::Batch(header) if header.base_offset < offset => {
                    Found::Bad("its offsets go back".into())
                }
                found => found,
            };
            match found {
                Found::Batch(header) if goes_on(&header, walker.position) => {
                    walker.skip(&header);
                    offset = header.next_offset();
                }
                Found::Batch(header) => {
                    return Ok(Boundary { position: walker.position, offset: header.base_offset });
                }
                // An index entry that leads into damage says nothing about the batches before it.
                Found::End | Found::Bad(_) if offset == start.offset && walker.position > start.position => {
                    walker.position = start.position;
                }
                Found::End | Found::Bad(_) => return Ok(Boundary { position: walker.position, offset }),
            }
        }
    }

    /// Where `offset` begins, if that needs no reading.
    fn known_boundary(&self, opened: &Opened<I::File>, offset: i64) -> Option<u64> {
        let state = self.state.borrow();
        if offset == opened.base && state.quarantine.resume(opened.base, offset) == 0 {
            return Some(0);
        }
        let active = state.last().base == opened.base;
        let recent = if active { state.active.boundary(offset) } else { None };
        recent.or_else(|| state.bookmark(opened.base, offset)).filter(|p| *p <= opened.size)
    }

    /// The segment's size as far as it has been written: of the active one, possibly more than when it was opened.
    fn written_size(&self, opened: &Opened<I::File>) -> u64 {
        self.state.borrow_mut().segment_mut(opened.base).and_then(|s| s.size).unwrap_or(opened.size)
    }

    /// A cursor at `position`.
    pub(super) fn walker_at(&self, opened: &Opened<I::File>, position: u64) -> Walker<I> {
        self.walker(opened, SMALL_WINDOW).at(position)
    }

    fn walker(&self, opened: &Opened<I::File>, window: usize) -> Walker<I> {
        let end = self.next_base(opened.base).unwrap_or_else(|| self.state.borrow().written);
        let size = self.written_size(opened);
        Walker::new(self.io.clone(), opened.file.clone(), opened.base..end, size, window)
    }

    /// A cursor at or before the batch that holds `offset`, by the index. An index that leads nowhere is not trusted:
    /// the walk then begins at the front.
    pub(super) async fn walker_near(
        &self,
        opened: &Opened<I::File>,
        offset: i64,
    ) -> Result<Walker<I>, ReadError> {
        let relative = offset.saturating_sub(opened.base);
        let entry = self.offset_floor(opened, |e| i64::from(e.relative_offset), relative).await?;
        let resume = self.state.borrow().quarantine.resume(opened.base, offset);
        let indexed = entry.map_or(0, |e| u64::from(e.position));
        let mut walker = self.walker_at(opened, indexed.max(resume));
        if indexed > resume {
            let found = walker.look().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
            if !matches!(found, Found::Batch(header) if header.base_offset <= offset) {
                walker.position = resume;
            }
        }
        Ok(walker)
    }

    /// The last entry of a segment's offset index whose key is at most `target`.
    async fn offset_floor(
        &self,
        opened: &Opened<I::File>,
        key: impl Fn(&OffsetIndexEntry) -> i64 + Copy,
        target: i64,
    ) -> Result<Option<OffsetIndexEntry>, ReadError> {
        let base = opened.base;
        let failed = |e| self.read_error(base, names::INDEX, e);
        let Some(file) = self.open_offsets(base).await.map_err(failed)? else { return Ok(None) };
        let (lookup, guess) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base) else { return Ok(None) };
            let whole = key(&OffsetIndexEntry {
                relative_offset: u32::try_from(opened.size >> 6).unwrap_or(u32::MAX),
                position: u32::try_from(opened.size).unwrap_or(u32::MAX),
            });
            (segment.offsets.floor(key, target), target as f64 / (whole.max(1)) as f64)
        };
        match lookup {
            Lookup::Known(entry) => Ok(entry),
            Lookup::InFile { count } => {
                search_file(&self.io, &file, count, key, target, guess).await.map_err(failed)
            }
        }
    }

    pub(super) async fn read_bytes(&self, extent: &Extent<I::File>) -> Result<Bytes, ReadError> {
        self.online()?;
        let failed = |e: std::io::Error| self.read_error(extent.base_offset, names::LOG, e);
        let bytes =
            self.io.read_at(&extent.file, extent.position, extent.len as usize).await.map_err(failed)?;
        if (bytes.len() as u64) < extent.len {
            return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    pub(super) async fn replay(&self, from: i64, on_batch: &mut dyn FnMut(&Header)) -> Result<(), ReadError> {
        self.online()?;
        let (mut at, end) = {
            let state = self.state.borrow();
            (from.max(state.log_start), state.written)
        };
        while at < end {
            let opened = self.segment_of(at).await?;
            let position = self.walker_near(&opened, at).await?.position;
            let mut walker = self.walker(&opened, REPLAY_WINDOW).at(position);
            while let Some((_, header)) = self.next_batch(&mut walker, &opened).await? {
                if header.last_offset() >= at {
                    on_batch(&header);
                }
            }
            let Some(next) = self.next_base(opened.base) else { break };
            at = next;
        }
        Ok(())
    }

    /// The next batch of a walk; known damage is stepped over.
    pub(super) async fn next_batch(
        &self,
        walker: &mut Walker<I>,
        opened: &Opened<I::File>,
    ) -> Result<Option<(u64, Header)>, ReadError> {
        loop {
            let next = walker.next().await.map_err(|e| self.read_error(opened.base, names::LOG, e))?;
            if next.is_some() {
                return Ok(next);
            }
            let hole = self.state.borrow().quarantine.at(opened.base, walker.position).map(Hole::end);
            match hole {
                Some(end) if end > walker.position => walker.position = end,
                _ => return Ok(None),
            }
        }
    }
}
