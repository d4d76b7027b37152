//! Writes that are durable when they complete: one operation past the page cache, out of aligned memory that the core
//! keeps for the next one. Nothing is left for a sync to do, and no kernel worker takes part.

use super::core::Core;
use super::files::File;
use super::ring::Keep;
use crate::BLOCK;
use bytes::Bytes;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::io::{Error, ErrorKind, Result};
use std::ptr::NonNull;
use std::rc::Rc;

/// Buffers up to this size are kept for the next write, and so many of them.
const KEEP_UP_TO: usize = 4 << 20;
const KEEP: usize = 2;

/// Bytes whose address and capacity are multiples of [`BLOCK`], as direct I/O wants them.
pub(super) struct Aligned {
    memory: NonNull<u8>,
    capacity: usize,
    len: usize,
}

impl Aligned {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK as usize)
            .expect("a power of two, and far below the address space")
    }

    /// Empty, with room for `len` bytes up to the end of their last block.
    fn with_room(len: usize) -> Self {
        let capacity = len.max(1).next_multiple_of(BLOCK as usize);
        // SAFETY: the capacity is not zero.
        let memory = unsafe { alloc(Self::layout(capacity)) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(Self::layout(capacity)));
        Self { memory, capacity, len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity - self.len, "there is room for all of them");
        // SAFETY: the range behind `len` is inside the allocation, as just asserted, and `bytes` is other memory.
        unsafe {
            let to = self.memory.as_ptr().add(self.len);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
    }

    /// Zeros up to the end of the block.
    fn fill_block(&mut self) {
        let len = self.len.next_multiple_of(BLOCK as usize);
        // SAFETY: the capacity is a multiple of the block, so `len` is inside the allocation.
        unsafe { self.memory.as_ptr().add(self.len).write_bytes(0, len - self.len) };
        self.len = len;
    }

    /// What is left behind the first `done` bytes: address and length. Valid as long as this is not dropped.
    pub(super) fn rest(&self, done: usize) -> (*const u8, u32) {
        let rest = &self.filled()[done..];
        (rest.as_ptr(), u32::try_from(rest.len()).expect("checked when it was filled"))
    }

    fn filled(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are inside the allocation and were written by `push` and `fill_block`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, by `with_room`.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.capacity)) };
    }
}

/// Writes `bufs`, one after the other and zeros up to the end of the last block, at `offset`, and makes them durable.
pub(super) async fn write_through(core: &Rc<Core>, file: &File, offset: u64, bufs: &[Bytes]) -> Result<()> {
    let len: usize = bufs.iter().map(Bytes::len).sum();
    if !offset.is_multiple_of(BLOCK) || len > (1 << 30) {
        let message = format!("{len} bytes at {offset}: not at a block's start, or too many at once");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if len == 0 {
        return Ok(());
    }
    let kept = core.aligned.borrow_mut().pop().filter(|kept| kept.capacity >= len);
    let mut aligned = kept.unwrap_or_else(|| Aligned::with_room(len));
    aligned.len = 0;
    bufs.iter().for_each(|buf| aligned.push(buf));
    aligned.fill_block();
    let (mut done, total) = (0, aligned.len);
    while done < total {
        let (result, keep) = core.write_durably(file, offset + done as u64, aligned, done).await;
        let Keep::Aligned(kept) = keep else { unreachable!("a write keeps its buffer") };
        aligned = kept;
        match result {
            Ok(0) => return Err(Error::new(ErrorKind::WriteZero, "the file takes no more bytes")),
            Ok(n) => done += n as usize,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    core.counters.add(|c| {
        c.written_bytes += total as u64;
        c.writes += 1;
        c.syncs += 1;
    });
    let mut kept = core.aligned.borrow_mut();
    if aligned.capacity <= KEEP_UP_TO && kept.len() < KEEP {
        kept.push(aligned);
    }
    Ok(())
}
