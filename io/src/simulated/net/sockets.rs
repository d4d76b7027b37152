//! The socket types that `Io` hands out.

use super::super::disk::SimFile;
use super::super::faults::Operation;
use super::super::kernel::Inbox;
use super::super::machine::SimIo;
use crate::{Io, Listener, Reader, Writer};
use bytes::{Bytes, BytesMut};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const DEFAULT_STALL_LIMIT: Duration = Duration::from_secs(30);

/// How much of a file is read at once on its way to a socket, in bytes.
const WINDOW: u64 = 64 << 10;

/// A listening socket of a simulated host.
pub struct SimListener {
    io: SimIo,
    number: u64,
    address: SocketAddr,
}

/// A connected socket. Dropping it, or both halves made of it, closes the connection.
pub struct SimSocket {
    connection: u64,
    end: usize,
    inbox: Arc<Inbox>,
}

/// The receiving half of a simulated connection.
pub struct SimReader {
    io: SimIo,
    socket: Rc<SimSocket>,
}

/// The sending half of a simulated connection.
pub struct SimWriter {
    io: SimIo,
    socket: Rc<SimSocket>,
    stall_limit: Duration,
}

impl SimListener {
    pub(in crate::simulated) fn new(io: SimIo, number: u64, address: SocketAddr) -> Self {
        Self { io, number, address }
    }
}

impl Listener for SimListener {
    type Socket = SimSocket;

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> Result<(SimSocket, SocketAddr)> {
        poll_fn(|cx| self.io.kernel().net.borrow_mut().poll_accept(self.number, cx.waker())).await
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.io.kernel().net.borrow_mut().unlisten(self.number);
    }
}

impl SimSocket {
    pub(super) fn new(connection: u64, end: usize, inbox: Arc<Inbox>) -> Self {
        Self { connection, end, inbox }
    }

    fn place(&self) -> (u64, usize) {
        (self.connection, self.end)
    }

    pub(in crate::simulated) fn split(self, io: &SimIo) -> (SimReader, SimWriter) {
        let socket = Rc::new(self);
        let reader = SimReader { io: io.clone(), socket: socket.clone() };
        (reader, SimWriter { io: io.clone(), socket, stall_limit: DEFAULT_STALL_LIMIT })
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // A socket may be dropped anywhere, also while the network is at work: it only leaves word.
        self.inbox.told().closed.push(self.place());
    }
}

impl Reader for SimReader {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut, max: usize) -> Poll<Result<usize>> {
        let kernel = self.io.kernel();
        let polled = kernel.net.borrow_mut().poll_read(kernel, self.socket.place(), cx.waker(), into, max);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.io.cpu.count(|counters| counters.received_bytes += *taken as u64);
        }
        polled
    }

    async fn read_exact(&mut self, mut into: BytesMut, total: usize) -> Result<BytesMut> {
        while into.len() < total {
            let missing = total - into.len();
            if self.read(&mut into, missing).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(into)
    }
}

impl SimWriter {
    /// Waits until something can be sent: how many bytes.
    async fn room(&self) -> Result<u64> {
        let net = &self.io.kernel().net;
        let place = self.socket.place();
        if let Poll::Ready(room) = net.borrow_mut().poll_room(place, Waker::noop()) {
            return room;
        }
        let mut stalled = pin!(self.io.sleep(self.stall_limit));
        poll_fn(|cx| match net.borrow_mut().poll_room(place, cx.waker()) {
            Poll::Ready(room) => Poll::Ready(room),
            Poll::Pending => stalled.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into())),
        })
        .await
    }

    async fn send(&self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let room = self.room().await?;
            let count = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.send_now(data.split_to(count));
        }
        Ok(())
    }

    fn send_now(&self, data: Bytes) {
        let kernel = self.io.kernel();
        kernel.net.borrow_mut().send_data(kernel, self.socket.connection, self.socket.end, data);
    }
}

impl Writer for SimWriter {
    type File = SimFile;

    async fn write(&mut self, bufs: Vec<Bytes>) -> Result<()> {
        for buf in bufs {
            let count = buf.len() as u64;
            self.send(buf).await?;
            self.io.cpu.count(|counters| counters.sent_bytes += count);
        }
        Ok(())
    }

    async fn send_file(&mut self, file: &SimFile, offset: u64, len: u64, recent: bool) -> Result<()> {
        if !recent {
            self.io.disk_delay(Operation::Read).await;
        }
        let (mut at, mut left) = (offset, len);
        while left > 0 {
            let room = self.room().await?;
            let wanted = left.min(room).min(WINDOW);
            let data = self.io.host.disk.borrow_mut().read_now(file, at, wanted)?;
            let count = data.len() as u64;
            self.send_now(data);
            self.io.cpu.count(|counters| match recent {
                true => counters.hot_bytes += count,
                false => counters.cold_bytes += count,
            });
            if count < wanted {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            (at, left) = (at + count, left - count);
        }
        Ok(())
    }

    /// The simulated network has no packets.
    fn cork(&mut self, _corked: bool) {}

    fn set_stall_limit(&mut self, limit: Duration) {
        self.stall_limit = limit;
    }

    fn shutdown(&mut self) {
        let kernel = self.io.kernel();
        kernel.net.borrow_mut().shutdown(kernel, self.socket.connection, self.socket.end);
    }
}
