//! The receive buffers that a core shares with the kernel (a provided-buffer ring).
//!
//! The kernel takes the next buffer when bytes arrive for any connection, so idle connections hold none.

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, squeue};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes of one buffer: two take a request with a batch of a producer's default size (`batch.size`, 16 KiB). Larger ones would take it
/// at once, but the kernel fills 32 in one go for one connection, and twice before it stops: 640 KiB that nobody has asked for yet.
pub(super) const BUFFER_BYTES: usize = 10 << 10;
/// Buffers of a core: 5 MiB, touched only as they are used. A power of two, as the kernel demands.
const BUFFERS: u16 = 512;
/// The one group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// The buffers and the ring that lends them to the kernel.
pub(super) struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
    leaked: bool,
    /// How many the kernel has left to fill.
    free: u16,
}

impl Buffers {
    /// Allocates the buffers and lends all of them to the kernel.
    pub(super) fn register<C: io_uring::cqueue::EntryMarker>(
        uring: &IoUring<squeue::Entry, C>,
    ) -> io::Result<Self> {
        let mut this = Self {
            ring: allocate(Self::ring_layout()).cast(),
            memory: allocate(Self::memory_layout()),
            tail: 0,
            leaked: false,
            free: 0,
        };
        // SAFETY: the address is page-aligned, holds `BUFFERS` entries, and outlives the registration: `Ring` drops
        // the io_uring before the buffers, or leaks both.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(this.ring.as_ptr() as u64, BUFFERS, GROUP, 0)?;
        }
        for id in 0..BUFFERS {
            this.lend(id);
        }
        Ok(this)
    }

    fn ring_layout() -> Layout {
        let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        Layout::from_size_align(bytes, 4096).expect("a power of two, far below the address space")
    }

    fn memory_layout() -> Layout {
        Layout::from_size_align(usize::from(BUFFERS) * BUFFER_BYTES, 4096).expect("as above")
    }

    /// Gives buffer `id` (back) to the kernel.
    pub(super) fn lend(&mut self, id: u16) {
        assert!(id < BUFFERS && self.free < BUFFERS, "buffer {id} was lent twice");
        let index = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `index` and `id` are below `BUFFERS`, so entry and buffer are inside their allocations; the kernel
        // reads the entry only after the tail says so.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(index);
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lives in the ring's first entry, valid as long as the ring, aligned to 2 bytes, and the
        // kernel only ever reads it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
        self.free += 1;
    }

    /// Notes that the kernel has filled a buffer: it is ours until it is [lent](Self::lend) again.
    pub(super) fn took(&mut self) {
        self.free -= 1;
    }

    /// Whether so few are left that nobody should keep one.
    pub(super) fn scarce(&self) -> bool {
        self.free < BUFFERS / 2
    }

    /// Never frees the memory: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }

    /// The first `len` bytes of a buffer that the kernel has filled and that was not lent since.
    pub(super) fn filled(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < BUFFERS && len <= BUFFER_BYTES);
        // SAFETY: inside the allocation, initialised (zeroed at first), and not written by the kernel until it is lent
        // again, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(usize::from(id) * BUFFER_BYTES), len) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: both were allocated with these layouts, and the ring they were lent to is gone.
        unsafe {
            dealloc(self.ring.as_ptr().cast(), Self::ring_layout());
            dealloc(self.memory.as_ptr(), Self::memory_layout());
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has size zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}
