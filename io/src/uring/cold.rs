//! File bytes that are not in memory, on their way to a socket without holding the core.
//!
//! A kernel worker waits for the disk and moves the pages into a pipe (ring `SPLICE`); from there they go to the socket
//! inline, without blocking. One window is fetched ahead of the one being sent. Where there is no pipe to be had, the
//! bytes are read into memory and sent from there.

use super::core::Core;
use super::files::File;
use super::ops::Op;
use super::ring::Keep;
use super::writer::{Writer, file_ended};
use bytes::BytesMut;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// What is asked about, and sent, at once while the page cache has it.
const RESIDENT_WINDOW: u64 = 1 << 20;
/// What a pipe is sized to, and so the window of cold sends.
const PIPE_BYTES: i32 = 256 << 10;
/// Empty pipes kept for the next cold send.
const IDLE_PIPES: usize = 16;
/// Large pipes that all cores together may have: 64 pages each, and Linux gives a user 16384 pages
/// (`fs.pipe-user-pages-soft`) before new pipes shrink to almost nothing. Half is left to others.
const LARGE_PIPES: usize = 128;

/// A pipe, empty except while a cold send uses it.
pub(super) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    /// Bytes that it surely takes when it is empty and the range is page-aligned.
    room: u32,
    /// Counts it among the large ones as long as it exists.
    _large: Option<Rc<()>>,
}

impl Pipe {
    pub(super) fn input(&self) -> RawFd {
        self.input.as_raw_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

/// The pipes of a core.
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    /// Held by every large pipe in being, idle or not.
    large: Rc<()>,
    limit: usize,
}

impl Pipes {
    /// The pipes of one of `shards` cores.
    pub(super) fn new(shards: usize) -> Self {
        Self { idle: Vec::new(), large: Rc::new(()), limit: (LARGE_PIPES / shards.max(1)).max(2) }
    }

    /// An empty pipe; `None` if the process is out of descriptors.
    fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        let (output, input) = nix::unistd::pipe2(OFlag::O_CLOEXEC).ok()?;
        let may_grow = Rc::strong_count(&self.large) <= self.limit;
        let large = may_grow && fcntl(&input, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).is_ok();
        let room = fcntl(&input, FcntlArg::F_GETPIPE_SZ).ok().filter(|&room| room > 0)?;
        Some(Pipe { output, input, room: room as u32, _large: large.then(|| self.large.clone()) })
    }

    /// Takes back an empty pipe.
    fn give(&mut self, pipe: Pipe) {
        if self.idle.len() < IDLE_PIPES {
            self.idle.push(pipe);
        }
    }
}

/// How much of the range, from its start, is in memory for certain: a window, or what is left if that is less, or 0.
pub(super) fn resident_prefix(file: &File, offset: u64, len: u64) -> u64 {
    let window = len.min(RESIDENT_WINDOW);
    if is_resident(file, offset, window) { window } else { 0 }
}

/// `cachestat(2)`: the same number on every architecture that Rust's standard library knows on Linux.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` and `struct cachestat` of the kernel's `mman.h`.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Stat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether every page of the range is in the page cache. Kernels before 6.5 cannot say: then it is not.
pub(super) fn is_resident(file: &File, offset: u64, len: u64) -> bool {
    let page = page_size();
    let pages = (offset + len).div_ceil(page) - offset / page;
    cachestat(file.raw(), offset, len).is_ok_and(|stat| stat.cached >= pages)
}

/// Whether the kernel can be asked what is in the page cache.
pub(super) fn can_ask_residency() -> bool {
    // There is no such file: a kernel that knows the call says so.
    cachestat(-1, 0, 0).is_err_and(|error| error.raw_os_error() == Some(libc::EBADF))
}

fn cachestat(fd: RawFd, offset: u64, len: u64) -> Result<Stat> {
    let range = Range { offset, len };
    let mut stat = Stat::default();
    // SAFETY: the kernel reads a `Range` and writes a `Stat`, both live locals of the layout it documents.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut stat, 0 as libc::c_uint) };
    if result == 0 { Ok(stat) } else { Err(Error::last_os_error()) }
}

fn page_size() -> u64 {
    // SAFETY: sysconf has no memory to get wrong.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096).max(1)
}

/// A window on its way from the file into a pipe.
struct Window(Op);

impl Window {
    fn fetch(core: &Rc<Core>, file: &File, offset: u64, len: u64) -> Option<Self> {
        let pipe = core.pipes.borrow_mut().take()?;
        let len = len.min(u64::from(pipe.room)) as u32;
        Some(Self(core.splice(file, offset, pipe, len)))
    }

    /// The pipe and what is in it.
    async fn fetched(self, core: &Core) -> Result<(Pipe, u64)> {
        let (result, keep) = self.0.await;
        let Keep::Pipe(pipe) = keep else { unreachable!("a splice keeps its pipe") };
        match result {
            Ok(0) => {
                core.pipes.borrow_mut().give(pipe);
                Err(file_ended())
            }
            Ok(n) => Ok((pipe, u64::from(n))),
            Err(error) => Err(error),
        }
    }
}

/// Sends from the start of the range what is not in memory, and stops, window by window, where it is again. Returns
/// how much it sent.
pub(super) async fn send(writer: &mut Writer, file: &File, offset: u64, len: u64) -> Result<u64> {
    let core = writer.core.clone();
    let Some(mut window) = Window::fetch(&core, file, offset, len) else {
        return copy(writer, file, offset, len).await;
    };
    let mut sent = 0;
    loop {
        let (pipe, fetched) = window.fetched(&core).await?;
        let next = sent + fetched;
        let ahead = if next == len || is_resident(file, offset + next, (len - next).min(PIPE_BYTES as u64)) {
            None
        } else {
            Window::fetch(&core, file, offset + next, len - next)
        };
        // Never on the last piece: the tail would wait 200 ms for more.
        drain(writer, &pipe, fetched, ahead.is_some()).await?;
        core.pipes.borrow_mut().give(pipe);
        core.counters.add(|c| c.cold_bytes += fetched);
        sent = next;
        match ahead {
            Some(ahead) => window = ahead,
            None => return Ok(sent),
        }
    }
}

/// Moves what the pipe holds to the socket, as fast as the peer takes it.
async fn drain(writer: &Writer, pipe: &Pipe, mut len: u64, more: bool) -> Result<()> {
    let mut flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    flags.set(SpliceFFlags::SPLICE_F_MORE, more);
    while len > 0 {
        match splice(pipe.output(), None, writer.conn.borrow_fd(), None, len as usize, flags) {
            Ok(0) => return Err(Error::other("a pipe lost bytes on their way to a socket")),
            Ok(n) => len -= n as u64,
            Err(nix::Error::EAGAIN) => writer.wait_for_room().await?,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Without pipes: through memory, a window.
async fn copy(writer: &mut Writer, file: &File, offset: u64, len: u64) -> Result<u64> {
    let len = len.min(PIPE_BYTES as u64);
    let buffer = BytesMut::with_capacity(len as usize);
    let core = writer.core.clone();
    let bytes = super::files::read_up_to(&core, file, offset, buffer, len as usize).await?;
    if bytes.is_empty() {
        return Err(file_ended());
    }
    let sent = bytes.len() as u64;
    crate::Writer::write(writer, vec![bytes.freeze()]).await?;
    core.counters.add(|c| {
        c.cold_bytes += sent;
        c.sent_bytes -= sent;
    });
    Ok(sent)
}
