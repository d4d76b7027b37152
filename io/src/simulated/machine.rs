//! One core of a simulated host, as the code under test sees it: the implementation of `Io`.

use super::disk::{Answer, Op, SimFile, SimLock, crashed};
use super::faults::{Operation, nanos};
use super::host::{Cpu, HostState};
use super::kernel::Kernel;
use super::net::{SimListener, SimReader, SimSocket, SimWriter};
use super::timeline::{Event, Key};
use crate::{BLOCK, Counters, DirEntry, Io, Open, Space};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// When every world begins, in milliseconds since the Unix epoch.
const EPOCH: i64 = 1_700_000_000_000;

/// One core of a simulated host. After the host has crashed it belongs to a dead process, and everything asked of it
/// fails or is not done; take a new one from the host.
#[derive(Clone)]
pub struct SimIo {
    pub(super) host: Rc<HostState>,
    pub(super) cpu: Rc<Cpu>,
    pub(super) life: u64,
}

impl SimIo {
    pub(super) fn kernel(&self) -> &Kernel {
        &self.host.kernel
    }

    fn check_alive(&self) -> Result<()> {
        if self.host.is_alive(self.life) { Ok(()) } else { Err(crashed()) }
    }

    async fn submit(&self, op: Op) -> Result<Answer> {
        self.host.submit(self.life, op).await
    }

    /// An operation that gives nothing back.
    async fn carry_out(&self, op: Op) -> Result<()> {
        self.submit(op).await.map(drop)
    }

    /// Takes the time that an operation takes, which includes a freeze of the disk.
    pub(super) async fn disk_delay(&self, operation: Operation) {
        let time = self.host.disk.borrow_mut().delay(operation);
        let reached = self.kernel().now().saturating_add(time);
        self.sleep_until(Duration::from_nanos(reached)).await;
        loop {
            let frozen_until = self.host.disk.borrow().frozen_until;
            if frozen_until <= self.kernel().now() {
                return;
            }
            self.sleep_until(Duration::from_nanos(frozen_until)).await;
        }
    }
}

/// What came back is not what was asked for: a mistake in the disk.
fn unexpected() -> Error {
    Error::other("the simulated disk gave the wrong kind of answer")
}

/// A wait for a time.
pub struct Sleep {
    kernel: Rc<Kernel>,
    deadline: u64,
    key: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.kernel.now() >= self.deadline {
            return Poll::Ready(());
        }
        let registered =
            self.key.is_some_and(|key| self.kernel.timeline.borrow_mut().change_waker(key, cx.waker()));
        if !registered {
            self.key = Some(self.kernel.schedule(self.deadline, Event::Wake(cx.waker().clone())));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let removed = self.key.and_then(|key| self.kernel.timeline.borrow_mut().remove(key));
        drop(removed);
    }
}

/// A wait for the end of the process.
struct Termination {
    io: SimIo,
    number: Option<u64>,
}

impl Future for Termination {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.io.host.is_terminated(self.io.life) {
            return Poll::Ready(());
        }
        self.number = Some(self.io.host.watch(self.number, cx.waker()));
        Poll::Pending
    }
}

impl Drop for Termination {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.io.host.unwatch(number);
        }
    }
}

impl Io for SimIo {
    type File = SimFile;
    type Lock = SimLock;
    type Listener = SimListener;
    type Socket = SimSocket;
    type Reader = SimReader;
    type Writer = SimWriter;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.kernel().now())
    }

    fn wall_clock(&self) -> i64 {
        let since = i64::try_from(self.now().as_millis()).unwrap_or(i64::MAX);
        EPOCH.saturating_add(since).saturating_add(self.host.wall_offset.get())
    }

    fn random(&self) -> u64 {
        self.host.rng.borrow_mut().bits()
    }

    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()> + 'static {
        Sleep { kernel: self.host.kernel.clone(), deadline: nanos(deadline), key: None }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        // Two rounds: a task that was woken in this round runs in the next, in seeded order, perhaps after us.
        let mut rounds = 2;
        poll_fn(move |cx| {
            if rounds == 0 {
                return Poll::Ready(());
            }
            rounds -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if self.check_alive().is_ok() {
            let kernel = self.kernel();
            let mut executor = kernel.executor.borrow_mut();
            executor.spawn(&kernel.inbox, self.host.id, self.cpu.clone(), Box::pin(task));
        }
    }

    fn terminated(&self) -> impl Future<Output = ()> + 'static {
        Termination { io: self.clone(), number: None }
    }

    fn counters(&self) -> Counters {
        self.cpu.counters()
    }

    async fn open(&self, path: &Path, how: Open) -> Result<SimFile> {
        match self.submit(Op::Open { path: path.to_owned(), how }).await? {
            Answer::File(file) => Ok(file),
            _ => Err(unexpected()),
        }
    }

    async fn len(&self, file: &SimFile) -> Result<u64> {
        match self.submit(Op::Len { file: file.clone() }).await? {
            Answer::Len(len) => Ok(len),
            _ => Err(unexpected()),
        }
    }

    async fn read_at(&self, file: &SimFile, offset: u64, len: usize) -> Result<Bytes> {
        match self.submit(Op::Read { file: file.clone(), offset, len: len as u64 }).await? {
            Answer::Data(data) => Ok(data),
            _ => Err(unexpected()),
        }
    }

    async fn write_at(&self, file: &SimFile, offset: u64, bufs: Vec<Bytes>) -> Result<()> {
        let written: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        self.carry_out(Op::Write { file: file.clone(), offset, bufs }).await?;
        self.cpu.count(|counters| {
            counters.writes += 1;
            counters.written_bytes += written;
        });
        Ok(())
    }

    async fn write_through(&self, file: &SimFile, offset: u64, mut bufs: Vec<Bytes>) -> Result<()> {
        let len: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        if !offset.is_multiple_of(BLOCK) {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not at a block's start"));
        }
        let rest = len.next_multiple_of(BLOCK) - len;
        bufs.push(Bytes::from(vec![0; rest as usize]));
        // A crash between the two leaves what one in the midst of the real operation may leave.
        self.write_at(file, offset, bufs).await?;
        self.sync(file).await
    }

    async fn sync(&self, file: &SimFile) -> Result<()> {
        self.carry_out(Op::Sync { file: file.clone() }).await?;
        self.cpu.count(|counters| counters.syncs += 1);
        Ok(())
    }

    async fn allocate(&self, file: &SimFile, offset: u64, len: u64) -> Result<()> {
        self.carry_out(Op::Allocate { file: file.clone(), offset, len }).await
    }

    async fn truncate(&self, file: &SimFile, len: u64) -> Result<()> {
        self.carry_out(Op::Truncate { file: file.clone(), len }).await
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.carry_out(Op::CreateDirAll { path: path.to_owned() }).await
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        match self.submit(Op::ReadDir { path: path.to_owned() }).await? {
            Answer::Entries(entries) => Ok(entries),
            _ => Err(unexpected()),
        }
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        self.carry_out(Op::SyncDir { path: path.to_owned() }).await?;
        self.cpu.count(|counters| counters.syncs += 1);
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.carry_out(Op::Rename { from: from.to_owned(), to: to.to_owned() }).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.carry_out(Op::RemoveFile { path: path.to_owned() }).await
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.carry_out(Op::RemoveDirAll { path: path.to_owned() }).await
    }

    async fn space(&self, path: &Path) -> Result<Space> {
        match self.submit(Op::Space { path: path.to_owned() }).await? {
            Answer::Space(space) => Ok(space),
            _ => Err(unexpected()),
        }
    }

    async fn lock(&self, path: &Path) -> Result<SimLock> {
        match self.submit(Op::Lock { path: path.to_owned() }).await? {
            Answer::Lock(lock) => Ok(lock),
            _ => Err(unexpected()),
        }
    }

    async fn listen(&self, addr: SocketAddr) -> Result<SimListener> {
        self.check_alive()?;
        let (number, address) = self.kernel().net.borrow_mut().listen(self.host.id, addr)?;
        Ok(SimListener::new(self.clone(), number, address))
    }

    async fn connect(&self, addr: SocketAddr) -> Result<SimSocket> {
        self.check_alive()?;
        let kernel = self.kernel();
        let wait = kernel.net.borrow_mut().connect(kernel, self.host.id, addr)?;
        wait.await
    }

    fn adopt(&self, socket: SimSocket) -> Result<(SimReader, SimWriter)> {
        self.check_alive()?;
        Ok(socket.split(self))
    }
}
