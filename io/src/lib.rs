//! The machine behind one trait: disk, sockets, time, tasks, and mailboxes between cores.
//!
//! Two machines implement [`Io`]: [`uring`], the real one (the only place that names glommio, io-uring, nix or libc,
//! and the only place with `unsafe`), and [`simulated`], virtual time and disks that tear, from a seed. One contract
//! suite (`tests/contract/`) runs on both.
//!
//! A value of a type that implements `Io` is one core's view of the machine: a cheap handle that never leaves its core.
//! Dispatch is static; futures are never `Send`. Dropping a future cancels the wait, never the memory safety of an
//! operation that the kernel already has: its buffers live until it completes.
#![allow(async_fn_in_trait)] // futures stay on their core; no caller ever needs a `Send` bound

pub mod mailbox;
pub mod simulated;
pub mod uring;

use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

/// What [`Io::write_through`] writes in: a multiple of every disk's sector.
pub const BLOCK: u64 = 4096;

/// One core's view of the machine.
pub trait Io: Clone + 'static {
    /// An open file. May be handed to another core (it is an extent's lease on the file: while a clone lives, the
    /// bytes stay readable even if the name is removed); operations run on the core whose `Io` is asked.
    type File: Clone + Send + Sync + 'static;
    /// An exclusive lock on a path, held until dropped (or until the process dies).
    type Lock: 'static;
    /// A bound, listening socket.
    type Listener: Listener<Socket = Self::Socket>;
    /// A connected socket that no core has adopted yet.
    type Socket: Send + 'static;
    /// The receiving half of an adopted socket.
    type Reader: Reader;
    /// The sending half of an adopted socket.
    type Writer: Writer<File = Self::File>;

    /// Time since the machine started. Monotonic.
    fn now(&self) -> Duration;
    /// Wall-clock time, milliseconds since the Unix epoch (a Kafka timestamp). May jump.
    fn wall_clock(&self) -> i64;
    /// Unpredictable bits on the real machine, seeded on the simulated one. Not for secrets.
    fn random(&self) -> u64;
    /// Completes once `now()` has reached `deadline`.
    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()> + 'static;
    /// Completes after `time`.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        self.sleep_until(self.now() + time)
    }
    /// Lets every other runnable task of this core run once.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static;
    /// Runs `task` on this core, detached. It first runs at the executor's next turn, never inside this call.
    /// A panic in it is logged and ends that task alone.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// Completes when the operator asked the process to end (SIGTERM, SIGINT). On every core, and ever after.
    fn terminated(&self) -> impl Future<Output = ()> + 'static;
    /// What this core has done so far. Counters only grow.
    fn counters(&self) -> Counters;

    /// Opens a file.
    /// # Errors
    /// `NotFound`, `AlreadyExists` (for [`Open::CreateNew`]), and whatever the disk says.
    async fn open(&self, path: &Path, how: Open) -> Result<Self::File>;
    /// The file's length in bytes.
    async fn len(&self, file: &Self::File) -> Result<u64>;
    /// Reads up to `len` bytes at `offset`; fewer only where the file ends.
    async fn read_at(&self, file: &Self::File, offset: u64, len: usize) -> Result<Bytes>;
    /// Writes all of `bufs`, one after the other, from `offset` on. On error nothing is known about the range.
    async fn write_at(&self, file: &Self::File, offset: u64, bufs: Vec<Bytes>) -> Result<()>;
    /// Writes all of `bufs` at `offset`, a multiple of [`BLOCK`], and zeros from there to the end of the last block; what was
    /// written survives a power cut when this completes. The file was opened with [`Open::Through`]. Cheapest over bytes that were
    /// written and synced before. On error nothing is known about the blocks.
    /// # Errors
    /// `InvalidInput` if `offset` is none.
    async fn write_through(&self, file: &Self::File, offset: u64, bufs: Vec<Bytes>) -> Result<()>;
    /// Makes every write that completed before this call was submitted survive a power cut (fdatasync: data and length).
    /// After an error nothing is known about them, and asking again proves nothing.
    async fn sync(&self, file: &Self::File) -> Result<()>;
    /// Reserves disk space for the range without changing the file's length or content.
    /// # Errors
    /// `StorageFull` when there is none; nothing has changed then.
    async fn allocate(&self, file: &Self::File, offset: u64, len: u64) -> Result<()>;
    /// Cuts the file (and what was reserved behind) to `len`.
    async fn truncate(&self, file: &Self::File, len: u64) -> Result<()>;
    /// Creates a directory and its parents; fine if it is there.
    async fn create_dir_all(&self, path: &Path) -> Result<()>;
    /// The names in a directory, sorted.
    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>>;
    /// Makes created, renamed and removed names in this directory survive a power cut.
    async fn sync_dir(&self, path: &Path) -> Result<()>;
    /// Renames a file or directory, replacing a file at `to`.
    async fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file's name.
    async fn remove_file(&self, path: &Path) -> Result<()>;
    /// Removes a directory and everything in it.
    async fn remove_dir_all(&self, path: &Path) -> Result<()>;
    /// The volume that a file or directory is on.
    async fn space(&self, path: &Path) -> Result<Space>;
    /// Takes an exclusive lock on `path` (created if missing).
    /// # Errors
    /// `WouldBlock` if another process, or another holder in this one, has it.
    async fn lock(&self, path: &Path) -> Result<Self::Lock>;

    /// Binds `addr` exclusively and listens. Port 0 picks a free one.
    /// # Errors
    /// `AddrInUse` if anybody listens there.
    async fn listen(&self, addr: SocketAddr) -> Result<Self::Listener>;
    /// Connects to `addr`.
    async fn connect(&self, addr: SocketAddr) -> Result<Self::Socket>;
    /// Makes a socket this core's own: non-blocking, no Nagle delay.
    fn adopt(&self, socket: Self::Socket) -> Result<(Self::Reader, Self::Writer)>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; created empty if it does not exist.
    Create,
    /// For reading and writing; an error if it exists.
    CreateNew,
    /// For [`Io::write_through`] alone, past the page cache where the file system can; it must exist.
    Through,
}

/// How large a volume is, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size in bytes.
    pub total: u64,
    /// Bytes that this process may still take.
    pub usable: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A listening socket.
pub trait Listener: 'static {
    /// What it accepts.
    type Socket;
    /// The address it is bound to, with the real port.
    fn local_addr(&self) -> SocketAddr;
    /// The next connection and its peer's address. Transient failures (a peer gone again, no file descriptors left
    /// for a moment) are waited out, not returned.
    async fn accept(&mut self) -> Result<(Self::Socket, SocketAddr)>;
}

/// The receiving half of a connection.
pub trait Reader: 'static {
    /// Appends what has arrived to `into`, at most `max` bytes and at least one; 0 means the peer has finished.
    /// Data that nobody reads is held back in the kernel (bounded, whatever the peer sends).
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut, max: usize) -> Poll<Result<usize>>;
    /// Receives straight into `into` until it holds `total` bytes. Meant for large frames: `into` already has the
    /// frame's head and capacity for all of it.
    /// # Errors
    /// `UnexpectedEof` if the peer finishes first.
    async fn read_exact(&mut self, into: BytesMut, total: usize) -> Result<BytesMut>;
    /// [`poll_read`](Self::poll_read), awaited.
    async fn read(&mut self, into: &mut BytesMut, max: usize) -> Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into, max)).await
    }
}

/// The sending half of a connection. Dropping it (and the reader) closes the connection.
pub trait Writer: 'static {
    /// The machine's file type.
    type File;
    /// Sends all of `bufs` in one go where the socket has room.
    /// # Errors
    /// `TimedOut` if the peer took no byte for the stall limit; otherwise the connection's own error.
    async fn write(&mut self, bufs: Vec<Bytes>) -> Result<()>;
    /// Sends a range of a file, from page cache to socket without copying. Neither a slow disk nor a slow peer holds
    /// the core or parks a thread. `recent` says that the range was appended lately, so that it is surely in memory.
    /// # Errors
    /// As [`write`](Self::write); `UnexpectedEof` if the file ends first.
    async fn send_file(&mut self, file: &Self::File, offset: u64, len: u64, recent: bool) -> Result<()>;
    /// From `true` to `false` what is sent belongs together: parts wait for each other and leave in as few packets as possible, and the peer is
    /// not woken for each. Not for longer than 200 ms.
    fn cork(&mut self, corked: bool);
    /// How long the peer may take no byte at all before a send fails. Default: 30 s.
    fn set_stall_limit(&mut self, limit: Duration);
    /// Tells the peer that no more will come, and wakes this connection's own reader with 0.
    fn shutdown(&mut self);
}

/// What a core has done. For metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received from sockets.
    pub received_bytes: u64,
    /// Bytes sent from memory.
    pub sent_bytes: u64,
    /// File bytes sent that were found in the page cache (inline `sendfile`).
    pub hot_bytes: u64,
    /// File bytes sent that had to come from the disk first (ring splice to a pipe).
    pub cold_bytes: u64,
    /// Bytes written to files.
    pub written_bytes: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Rounds of the event loop.
    pub turns: u64,
}
