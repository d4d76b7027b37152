//! [`Uring`]: one core's view of the real machine.

use super::core::Core;
use super::files::{self, File, Lock};
use super::reader::Reader;
use super::sockets::{self, Listener, Socket};
use super::writer::Writer;
use super::{tasks, through, time};
use crate::{Counters, DirEntry, Io, Open, Space};
use bytes::Bytes;
use std::future::Future;
use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// One core's view of the real machine. Cheap to clone; never leaves its core.
#[derive(Clone)]
pub struct Uring(Rc<Core>);

impl Uring {
    pub(super) fn new(core: Rc<Core>) -> Self {
        Self(core)
    }
}

impl Io for Uring {
    type File = File;
    type Lock = Lock;
    type Listener = Listener;
    type Socket = Socket;
    type Reader = Reader;
    type Writer = Writer;

    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn wall_clock(&self) -> i64 {
        time::wall_clock()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()> + 'static {
        // A deadline beyond what the clock can express (136 years) is as good as never.
        let far = Duration::from_secs(u32::MAX.into());
        time::sleep_until(&self.0, self.0.started + deadline.min(far))
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        time::yield_now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tasks::spawn(&self.0, task);
    }

    fn terminated(&self) -> impl Future<Output = ()> + 'static {
        self.0.termination.asked()
    }

    fn counters(&self) -> Counters {
        self.0.counters.get()
    }

    async fn open(&self, path: &Path, how: Open) -> Result<File> {
        files::open(&self.0, path, how).await
    }

    async fn len(&self, file: &File) -> Result<u64> {
        file.len()
    }

    async fn read_at(&self, file: &File, offset: u64, len: usize) -> Result<Bytes> {
        files::read_at(&self.0, file, offset, len).await
    }

    async fn write_at(&self, file: &File, offset: u64, bufs: Vec<Bytes>) -> Result<()> {
        files::write_at(&self.0, file, offset, bufs).await
    }

    async fn write_through(&self, file: &File, offset: u64, bufs: Vec<Bytes>) -> Result<()> {
        through::write_through(&self.0, file, offset, &bufs).await
    }

    async fn sync(&self, file: &File) -> Result<()> {
        files::sync(&self.0, file).await
    }

    async fn allocate(&self, file: &File, offset: u64, len: u64) -> Result<()> {
        files::allocate(&self.0, file, offset, len).await
    }

    async fn truncate(&self, file: &File, len: u64) -> Result<()> {
        files::truncate(&self.0, file, len).await
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        files::create_dir_all(&self.0, path).await
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        files::read_dir(&self.0, path).await
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        files::sync_dir(&self.0, path).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        files::rename(&self.0, from, to).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        files::remove_file(&self.0, path).await
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        files::remove_dir_all(&self.0, path).await
    }

    async fn space(&self, path: &Path) -> Result<Space> {
        files::space(&self.0, path).await
    }

    async fn lock(&self, path: &Path) -> Result<Lock> {
        files::lock(&self.0, path).await
    }

    async fn listen(&self, addr: SocketAddr) -> Result<Listener> {
        Listener::bind(&self.0, addr)
    }

    async fn connect(&self, addr: SocketAddr) -> Result<Socket> {
        sockets::connect_to(&self.0, addr).await
    }

    fn adopt(&self, socket: Socket) -> Result<(Reader, Writer)> {
        let conn = sockets::adopt(socket)?;
        Ok((Reader::new(self.0.clone(), conn.clone()), Writer::new(self.0.clone(), conn)))
    }
}
