//! The data ring of a core: what was submitted, what came back, and who owns the memory in between.
//!
//! Every operation has a slot. The slot owns all memory and every file descriptor that the kernel was told about, until
//! the kernel says that it is done, whether or not anybody still waits for the result.

use super::buffers::Buffers;
use super::cold::Pipe;
use super::files::File;
use super::gather::Gather;
use super::sockets::Conn;
use super::through::Aligned;
use bytes::BytesMut;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// Submissions between two calls of the kernel; when it is full it is submitted early.
const SUBMISSIONS: u32 = 256;
/// Completions that fit; more are kept by the kernel until there is room.
const COMPLETIONS: u32 = 4096;
/// `IORING_ENTER_GETEVENTS`: run what is pending and post its completions.
const GETEVENTS: u32 = 1;
/// What completions of the bell carry: no [`Key`], because there are never that many operations.
const BELL: u64 = u64::MAX;

/// Names an operation. Never reused while anybody could still mean the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    fn new(index: usize, generation: u32) -> Self {
        Self((u64::from(generation) << 32) | index as u64)
    }

    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Memory that an operation uses.
#[expect(dead_code, reason = "paths are only kept, never looked at again")]
pub(super) enum Keep {
    Nothing,
    Buffer(BytesMut),
    Gather(Box<Gather>),
    Aligned(Aligned),
    Paths(CString, Option<CString>),
    Pipe(Pipe),
}

/// What keeps the file descriptor of an operation open.
#[expect(dead_code, reason = "files and sockets are only kept, never looked at again")]
pub(super) enum Hold {
    Nothing,
    Conn(Rc<Conn>),
    File(File),
    Socket(Rc<OwnedFd>),
}

/// How far an operation is, and who cares.
pub(super) enum State {
    /// In the kernel; somebody waits.
    Waiting(Option<Waker>),
    /// Done; nobody has looked yet.
    Done(i32),
    /// In the kernel; nobody waits any more.
    Abandoned,
    /// In the kernel; what it receives goes to the connection in `hold`.
    Stream,
}

pub(super) struct Slot {
    generation: u32,
    pub(super) state: State,
    pub(super) keep: Keep,
    pub(super) hold: Hold,
    /// The result is a new file descriptor, to be closed if nobody takes it.
    pub(super) opens: bool,
}

/// The ring and its slots.
pub(super) struct Ring {
    // Dropped before the buffers, which the kernel may use as long as the ring is there.
    uring: IoUring,
    pub(super) buffers: Buffers,
    slots: Slab<Slot>,
    generation: u32,
    /// What did not fit into the submission queue. Order is kept.
    backlog: VecDeque<squeue::Entry>,
    /// What other threads signal.
    bell: OwnedFd,
    /// The kernel watches the bell.
    bell_watched: bool,
}

impl Ring {
    /// Makes the ring. A write to `bell` ends a [`wait`](Self::wait).
    pub(super) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let uring = Self::build(SUBMISSIONS)?;
        let buffers = Buffers::register(&uring)?;
        let (slots, bell) = (Slab::with_capacity(1024), bell.try_clone_to_owned()?);
        let backlog = VecDeque::new();
        Ok(Self { uring, buffers, slots, generation: 0, backlog, bell, bell_watched: false })
    }

    /// An io_uring with every feature that the machine depends on.
    pub(super) fn build(submissions: u32) -> io::Result<IoUring> {
        IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS.min(submissions * 16))
            .dontfork()
            .build(submissions)
    }

    /// Adds a slot; the entry that will be pushed must carry its key.
    pub(super) fn insert(&mut self, state: State, keep: Keep, hold: Hold, opens: bool) -> Key {
        // Zero is what entries without a slot carry.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let generation = self.generation;
        let index = self.slots.insert(Slot { generation, state, keep, hold, opens });
        Key::new(index, generation)
    }

    /// Queues an entry for the kernel.
    ///
    /// # Safety
    /// What the entry points to, and its file descriptor, must stay valid until the kernel is done: it must be owned
    /// by the slot that the entry's user data names.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry, key: Key) {
        self.queue(entry.user_data(key.0));
    }

    /// Asks the kernel to stop an operation. It still completes, perhaps successfully.
    pub(super) fn cancel(&mut self, key: Key) {
        self.queue(opcode::AsyncCancel::new(key.0).build().user_data(0));
    }

    fn queue(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            if self.try_queue(&entry) {
                return;
            }
            // Full: make room now. If the kernel is busy the entry waits in the backlog for the next turn.
            let _ = self.uring.submit();
            if self.try_queue(&entry) {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    fn try_queue(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: `push` demands that the slot owns what the entry points to; the entry of `cancel` points to nothing, and
        // that of `wait` neither, whose descriptor is the ring's own.
        unsafe { self.uring.submission().push(entry).is_ok() }
    }

    /// Whether the kernel must be called: something to submit, or completions that wait to be posted.
    pub(super) fn has_work(&mut self) -> bool {
        let queue = self.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow() || !self.backlog.is_empty()
    }

    fn take_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            let entry = entry.clone();
            if !self.try_queue(&entry) {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits what is queued and lets the kernel post completions. Never waits.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.take_backlog();
        let submit = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed, so there is no pointer to be wrong about.
        let entered = unsafe { self.uring.submitter().enter::<libc::sigset_t>(submit, 0, GETEVENTS, None) };
        went_on(entered)
    }

    /// Submits what is queued, and waits for a completion, for the bell, or until `time` has passed.
    pub(super) fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        self.take_backlog();
        if !std::mem::replace(&mut self.bell_watched, true) {
            // Every write is a completion, without a read: a poll for many is for changes, unless asked otherwise.
            let watch =
                opcode::PollAdd::new(Fd(self.bell.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
            self.queue(watch.user_data(BELL));
        }
        let time = time.map(Timespec::from);
        let args = match &time {
            Some(time) => SubmitArgs::new().timespec(time),
            None => SubmitArgs::new(),
        };
        went_on(self.uring.submitter().submit_with_args(1, &args))
    }

    /// Moves posted completions to `into`.
    pub(super) fn completions(&mut self, into: &mut Vec<cqueue::Entry>) {
        for entry in self.uring.completion() {
            if entry.user_data() == BELL {
                self.bell_watched = cqueue::more(entry.flags());
            } else {
                into.push(entry);
            }
        }
    }

    /// The slot of `key`, if it is still there.
    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.index()).filter(|slot| slot.generation == key.generation())
    }

    /// Takes the slot away: the kernel must be done with it.
    pub(super) fn remove(&mut self, key: Key) -> Option<Slot> {
        self.slot(key)?;
        Some(self.slots.remove(key.index()))
    }

    /// The key that a completion belongs to.
    pub(super) fn key_of(entry: &cqueue::Entry) -> Option<Key> {
        Some(entry.user_data()).filter(|&data| data != 0).map(Key)
    }

    /// Operations that the kernel has not finished.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.iter().filter(|(_, slot)| !matches!(slot.state, State::Done(_))).count()
    }

    /// Asks the kernel to stop everything.
    pub(super) fn cancel_all(&mut self) {
        let keys: Vec<Key> =
            self.slots.iter().map(|(index, slot)| Key::new(index, slot.generation)).collect();
        for key in keys {
            self.cancel(key);
        }
    }
}

/// What is no error of a call: interrupted, out of time, or the completion queue must be read first.
fn went_on(entered: io::Result<usize>) -> io::Result<()> {
    const NO_ERRORS: [i32; 4] = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ETIME];
    match entered {
        Err(e) if !e.raw_os_error().is_some_and(|code| NO_ERRORS.contains(&code)) => Err(e),
        _ => Ok(()),
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.in_flight() == 0 {
            return;
        }
        // The kernel may still write into what the slots own (a disk that does not answer, for instance), and closing
        // the ring does not wait for it. Memory lost is better than memory overwritten.
        std::mem::forget(std::mem::take(&mut self.slots));
        self.buffers.leak();
    }
}
