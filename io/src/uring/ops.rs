//! The operations that the data ring carries out, each a future that owns its slot.
//!
//! Every function here builds an entry from memory that it puts into the entry's slot in the same breath: that is the
//! whole argument for the `unsafe` of [`Ring::push`](super::ring::Ring::push).

use super::buffers::GROUP;
use super::cold::Pipe;
use super::core::Core;
use super::files::File;
use super::gather::Gather;
use super::ring::{Hold, Keep, Key, State};
use super::sockets::Conn;
use super::through::Aligned;
use bytes::BytesMut;
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use std::ffi::CString;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The kernel takes 32-bit lengths and moves less than 2 GiB at once.
const MAX_LEN: usize = 1 << 30;

/// An operation in flight. Dropped early, it is cancelled, and its memory lives on until the kernel is done.
pub(super) struct Op {
    core: Rc<Core>,
    /// `None` once the result was taken.
    key: Option<Key>,
}

/// What an operation came to, and the memory that it used.
pub(super) type Outcome = (io::Result<u32>, Keep);

impl Future for Op {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self.get_mut();
        let key = this.key.expect("polled after completion");
        let mut ring = this.core.ring.borrow_mut();
        let slot = ring.slot(key).expect("a slot stays until its operation is dropped");
        match &mut slot.state {
            State::Done(result) => {
                let result = *result;
                let slot = ring.remove(key).expect("it was just there");
                drop(ring);
                this.key = None;
                let result =
                    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as u32) };
                Poll::Ready((result, slot.keep))
            }
            State::Waiting(waker) => {
                let old = match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => None,
                    waker => waker.replace(cx.waker().clone()),
                };
                drop(ring);
                drop(old);
                Poll::Pending
            }
            State::Abandoned | State::Stream => unreachable!("an operation with a future is waited for"),
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.core.abandon(key);
        }
    }
}

impl Core {
    /// # Safety
    /// As [`Ring::push`](super::ring::Ring::push): `entry` points only to heap memory owned by `keep` and to the descriptor kept by `hold`.
    unsafe fn start(self: &Rc<Self>, entry: Entry, keep: Keep, hold: Hold) -> Op {
        let mut ring = self.ring.borrow_mut();
        let opens = entry.get_opcode() == u32::from(opcode::OpenAt::CODE);
        let key = ring.insert(State::Waiting(None), keep, hold, opens);
        // SAFETY: the slot owns both from here on.
        unsafe { ring.push(entry, key) };
        drop(ring);
        Op { core: self.clone(), key: Some(key) }
    }

    /// Waits until the socket is ready for `events` (`POLLIN`, `POLLOUT`), or broken.
    pub(super) fn poll_socket(self: &Rc<Self>, socket: Rc<OwnedFd>, events: i16) -> Op {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events as u32).build();
        // SAFETY: no memory; the descriptor is held.
        unsafe { self.start(entry, Keep::Nothing, Hold::Socket(socket)) }
    }

    /// Waits until the connection is ready for `events`, or broken.
    pub(super) fn poll_conn(self: &Rc<Self>, conn: &Rc<Conn>, events: i16) -> Op {
        let entry = opcode::PollAdd::new(Fd(conn.raw()), events as u32).build();
        // SAFETY: no memory; the descriptor is held.
        unsafe { self.start(entry, Keep::Nothing, Hold::Conn(conn.clone())) }
    }

    /// Receives whatever comes into the core's buffers: again and again, or `once`. Goes to the connection's inlet.
    pub(super) fn receive(self: &Rc<Self>, conn: &Rc<Conn>, once: bool) -> Key {
        let fd = Fd(conn.raw());
        let entry = if once {
            let len = super::buffers::BUFFER_BYTES as u32;
            let recv = opcode::Recv::new(fd, std::ptr::null_mut(), len).buf_group(GROUP);
            recv.build().flags(Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, GROUP).build()
        };
        let mut ring = self.ring.borrow_mut();
        let key = ring.insert(State::Stream, Keep::Nothing, Hold::Conn(conn.clone()), false);
        // SAFETY: the buffers belong to the ring itself; the descriptor is held by the slot.
        unsafe { ring.push(entry, key) };
        key
    }

    /// Receives exactly `len` bytes (fewer if the peer ends) into the spare capacity of `into`.
    pub(super) fn receive_into(self: &Rc<Self>, conn: &Rc<Conn>, mut into: BytesMut, len: usize) -> Op {
        let spare = into.spare_capacity_mut();
        let len = len.min(spare.len()).min(MAX_LEN);
        let entry = opcode::Recv::new(Fd(conn.raw()), spare.as_mut_ptr().cast(), len as u32)
            .flags(libc::MSG_WAITALL)
            .build();
        // SAFETY: `len` bytes of spare capacity, in heap memory that does not move with the `BytesMut`.
        unsafe { self.start(entry, Keep::Buffer(into), Hold::Conn(conn.clone())) }
    }

    /// Sends what `gather` has left, as far as the socket has room now.
    pub(super) fn send(self: &Rc<Self>, conn: &Rc<Conn>, mut gather: Box<Gather>) -> Op {
        const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let fd = Fd(conn.raw());
        let entry = match gather.single() {
            Some(only) => opcode::Send::new(fd, only.as_ptr(), only.len() as u32).flags(FLAGS).build(),
            None => opcode::SendMsg::new(fd, gather.message()).flags(FLAGS as u32).build(),
        };
        // SAFETY: message, pieces and bytes are heap memory owned by the boxed gather, which nobody changes meanwhile.
        unsafe { self.start(entry, Keep::Gather(gather), Hold::Conn(conn.clone())) }
    }

    /// Reads up to `len` bytes at `offset` into the spare capacity of `into`.
    pub(super) fn read(self: &Rc<Self>, file: &File, offset: u64, mut into: BytesMut, len: usize) -> Op {
        let spare = into.spare_capacity_mut();
        let len = len.min(spare.len()).min(MAX_LEN);
        let entry =
            opcode::Read::new(Fd(file.raw()), spare.as_mut_ptr().cast(), len as u32).offset(offset).build();
        // SAFETY: as in `receive_into`.
        unsafe { self.start(entry, Keep::Buffer(into), Hold::File(file.clone())) }
    }

    /// Writes what `gather` has left at `offset`, as much as one call takes.
    pub(super) fn write(self: &Rc<Self>, file: &File, offset: u64, mut gather: Box<Gather>) -> Op {
        let (pieces, count) = gather.pieces();
        let entry = opcode::Writev::new(Fd(file.raw()), pieces, count).offset(offset).build();
        // SAFETY: as in `send`.
        unsafe { self.start(entry, Keep::Gather(gather), Hold::File(file.clone())) }
    }

    /// Writes what `aligned` has left behind its first `done` bytes at `offset`; durable when it completes.
    pub(super) fn write_durably(
        self: &Rc<Self>,
        file: &File,
        offset: u64,
        aligned: Aligned,
        done: usize,
    ) -> Op {
        let (from, len) = aligned.rest(done);
        let entry =
            opcode::Write::new(Fd(file.raw()), from, len).offset(offset).rw_flags(libc::RWF_DSYNC).build();
        // SAFETY: the bytes are heap memory owned by the slot, which nobody changes meanwhile.
        unsafe { self.start(entry, Keep::Aligned(aligned), Hold::File(file.clone())) }
    }

    /// `fdatasync`, or `fsync` when `all` (directories).
    pub(super) fn fsync(self: &Rc<Self>, file: &File, all: bool) -> Op {
        let flags = if all { FsyncFlags::empty() } else { FsyncFlags::DATASYNC };
        let entry = opcode::Fsync::new(Fd(file.raw())).flags(flags).build();
        // SAFETY: no memory; the descriptor is held.
        unsafe { self.start(entry, Keep::Nothing, Hold::File(file.clone())) }
    }

    /// Reserves the range, without changing the file's length.
    pub(super) fn fallocate(self: &Rc<Self>, file: &File, offset: u64, len: u64) -> Op {
        let mode = libc::FALLOC_FL_KEEP_SIZE;
        let entry = opcode::Fallocate::new(Fd(file.raw()), len).offset(offset).mode(mode).build();
        // SAFETY: no memory; the descriptor is held.
        unsafe { self.start(entry, Keep::Nothing, Hold::File(file.clone())) }
    }

    /// Moves up to `len` bytes at `offset` of the file into the (empty) pipe. A kernel worker waits for the disk.
    pub(super) fn splice(self: &Rc<Self>, file: &File, offset: u64, pipe: Pipe, len: u32) -> Op {
        let (from, to) = (Fd(file.raw()), Fd(pipe.input()));
        // -1: a pipe has no offset.
        let entry = opcode::Splice::new(from, offset as i64, to, -1, len).build();
        // SAFETY: no memory; both descriptors are held.
        unsafe { self.start(entry, Keep::Pipe(pipe), Hold::File(file.clone())) }
    }

    /// Opens a path; the result is the descriptor.
    pub(super) fn open_at(self: &Rc<Self>, path: CString, flags: i32) -> Op {
        let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr())
            .flags(flags | libc::O_CLOEXEC)
            .mode(0o644)
            .build();
        // SAFETY: the path is heap memory owned by the slot.
        unsafe { self.start(entry, Keep::Paths(path, None), Hold::Nothing) }
    }

    /// Renames a path.
    pub(super) fn rename_at(self: &Rc<Self>, from: CString, to: CString) -> Op {
        let here = Fd(libc::AT_FDCWD);
        let entry = opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build();
        // SAFETY: both paths are heap memory owned by the slot.
        unsafe { self.start(entry, Keep::Paths(from, Some(to)), Hold::Nothing) }
    }

    /// Removes a file's name.
    pub(super) fn unlink_at(self: &Rc<Self>, path: CString) -> Op {
        let entry = opcode::UnlinkAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is heap memory owned by the slot.
        unsafe { self.start(entry, Keep::Paths(path, None), Hold::Nothing) }
    }
}

/// The opcodes that are needed, with names for people.
pub(super) const NEEDED: &[(u8, &str)] = &[
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::Splice::CODE, "SPLICE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::RenameAt::CODE, "RENAMEAT"),
    (opcode::UnlinkAt::CODE, "UNLINKAT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
];
