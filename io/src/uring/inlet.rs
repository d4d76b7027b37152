//! What has arrived on a connection and was not read yet: filled by the ring, emptied by the reader, bounded.

use super::buffers::BUFFER_BYTES;
use super::core::Core;
use super::ring::{Hold, Key};
use super::sockets::Conn;
use bytes::{Buf, Bytes, BytesMut};
use io_uring::cqueue;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::Waker;

/// Unread bytes after which a connection stops receiving until they are read. The kernel may have filled 64 more
/// buffers (640 KiB) by the time it stops.
const MAX_HELD: usize = 128 << 10;

/// Bytes in the order in which they came.
enum Chunk {
    /// In a buffer of the ring, which must be lent again.
    Lent { id: u16, from: usize, to: usize },
    /// In memory of its own.
    Owned(Bytes),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Lent { from, to, .. } => to - from,
            Self::Owned(bytes) => bytes.len(),
        }
    }
}

/// How receiving ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// The peer, or our own shutdown, finished.
    Finished,
    /// With an error number.
    Failed(i32),
}

impl End {
    /// As a read's result: 0 at the end.
    pub(super) fn result(self) -> io::Result<usize> {
        match self {
            Self::Finished => Ok(0),
            Self::Failed(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The receiving side of a connection.
#[derive(Default)]
pub(super) struct Inlet {
    chunks: VecDeque<Chunk>,
    held: usize,
    /// The receive in flight.
    pub(super) armed: Option<Key>,
    /// It was asked to stop.
    stopping: bool,
    pub(super) end: Option<End>,
    pub(super) waker: Option<Waker>,
    /// Nobody will read any more.
    closed: bool,
}

impl Inlet {
    /// Moves up to `max` bytes into `into`.
    pub(super) fn take(&mut self, core: &Core, into: &mut BytesMut, max: usize) -> usize {
        // At once: growing with each chunk would copy what came before.
        into.reserve(max.min(self.held));
        let mut taken = 0;
        while taken < max
            && let Some(chunk) = self.chunks.front_mut()
        {
            let step = chunk.len().min(max - taken);
            match chunk {
                Chunk::Owned(bytes) => {
                    into.extend_from_slice(&bytes[..step]);
                    bytes.advance(step);
                }
                Chunk::Lent { id, from, to } => {
                    let mut ring = core.ring.borrow_mut();
                    into.extend_from_slice(&ring.buffers.filled(*id, *to)[*from..*from + step]);
                    *from += step;
                    if from == to {
                        ring.buffers.lend(*id);
                    }
                }
            }
            taken += step;
            if chunk.len() == 0 {
                self.chunks.pop_front();
            }
        }
        self.held -= taken;
        taken
    }

    /// Asks the receive in flight, if there is one, to stop.
    pub(super) fn stop(&mut self, core: &Core) {
        if let Some(key) = self.armed
            && !std::mem::replace(&mut self.stopping, true)
        {
            core.ring.borrow_mut().cancel(key);
        }
    }

    /// Nobody will read any more: gives everything back.
    pub(super) fn close(&mut self, core: &Core) {
        self.closed = true;
        self.stop(core);
        for chunk in self.chunks.drain(..) {
            if let Chunk::Lent { id, .. } = chunk {
                core.ring.borrow_mut().buffers.lend(id);
            }
        }
        self.held = 0;
    }

    fn on_bytes(&mut self, core: &Core, id: u16, len: usize) {
        let mut ring = core.ring.borrow_mut();
        ring.buffers.took();
        if self.closed || len == 0 {
            return ring.buffers.lend(id);
        }
        self.held += len;
        if ring.buffers.scarce() {
            // Readers that are slow must not starve the others of buffers.
            let copy = Bytes::copy_from_slice(ring.buffers.filled(id, len));
            ring.buffers.lend(id);
            self.chunks.push_back(Chunk::Owned(copy));
        } else {
            self.chunks.push_back(Chunk::Lent { id, from: 0, to: len });
        }
    }

    fn on_result(&mut self, result: i32, had_buffer: bool) {
        match -result {
            0 if !self.closed => self.end = Some(End::Finished),
            // Out of buffers for a moment, or asked to stop: whoever reads next starts it again.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error if error > 0 => self.end = Some(End::Failed(error)),
            _ => debug_assert!(had_buffer || self.closed, "bytes arrive in buffers"),
        }
    }
}

/// A receive completed, or one of its many times.
pub(super) fn on_arrival(core: &Rc<Core>, key: Key, entry: &cqueue::Entry) {
    let more = cqueue::more(entry.flags());
    let (conn, finished) = {
        let mut ring = core.ring.borrow_mut();
        let Some(slot) = ring.slot(key) else { return };
        let Hold::Conn(conn) = &slot.hold else { return };
        let conn: Rc<Conn> = conn.clone();
        (conn, if more { None } else { ring.remove(key) })
    };
    let mut inlet = conn.inlet.borrow_mut();
    let buffer = cqueue::buffer_select(entry.flags());
    if let Some(id) = buffer {
        let len = usize::try_from(entry.result()).unwrap_or(0).min(BUFFER_BYTES);
        core.counters.add(|c| c.received_bytes += len as u64);
        inlet.on_bytes(core, id, len);
    }
    inlet.on_result(entry.result(), buffer.is_some());
    if !more {
        inlet.armed = None;
        inlet.stopping = false;
    } else if inlet.held >= MAX_HELD {
        inlet.stop(core);
    }
    let waker = inlet.waker.take();
    drop(inlet);
    if let Some(waker) = waker {
        waker.wake();
    }
    // Last, because they may close the connection.
    drop((finished, conn));
}
