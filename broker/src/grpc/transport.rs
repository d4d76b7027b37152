//! A connection's halves as the byte stream that `h2` wants: tokio's traits over [`millrace_io`]'s reader and writer.
//!
//! Writing goes through a bounded buffer that a task of its own empties: whatever HTTP/2 writes in one turn of the core
//! leaves in one system call, and while the peer takes nothing the buffer fills, `poll_write` waits, and so flow
//! control reaches the calls. A peer that takes no byte for the writer's stall limit fails the connection.

use bytes::BytesMut;
use futures_util::future::{Either, select};
use millrace_io::{Io, Reader, Writer};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one connection may have written but not yet handed to the kernel: twice this, as one such buffer is on its way
/// while the next one fills. Towards clients with 16 KiB frames, sixteen of them share a system call.
pub(super) const WRITE_BUFFER: usize = 256 * 1024;
/// The most that one read takes.
const READ_CHUNK: usize = 64 * 1024;
/// A buffer larger than this is not kept while the connection is quiet.
const KEPT_BUFFER: usize = 16 * 1024;

/// The stream for `h2`. Dropping it ends the writing task and with it the connection.
pub struct Transport<I: Io> {
    io: I,
    reader: I::Reader,
    chunk: BytesMut,
    heard: Rc<Cell<Duration>>,
    outbox: Rc<Outbox>,
}

impl<I: Io> Transport<I> {
    /// Joins the halves and starts the writing task.
    pub fn new(io: I, reader: I::Reader, writer: I::Writer) -> Self {
        let outbox = Rc::new(Outbox::default());
        io.spawn(send(writer, outbox.clone()));
        let heard = Rc::new(Cell::new(io.now()));
        Self { io, reader, chunk: BytesMut::new(), heard, outbox }
    }

    /// When bytes last arrived, as [`Io::now`] has it.
    pub fn heard(&self) -> Rc<Cell<Duration>> {
        self.heard.clone()
    }
}

impl<I: Io> Drop for Transport<I> {
    fn drop(&mut self) {
        self.outbox.update(|state| state.abandoned = true);
    }
}

impl<I: Io> Unpin for Transport<I> {}

impl<I: Io> AsyncRead for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let room = into.remaining().min(READ_CHUNK);
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.chunk.is_empty() {
            let arrived = std::task::ready!(this.reader.poll_read(cx, &mut this.chunk, room))?;
            if arrived > 0 {
                this.heard.set(this.io.now());
            }
        }
        let taken = this.chunk.split_to(this.chunk.len().min(room));
        into.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> AsyncWrite for Transport<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Only reports failure: bytes leave at the end of this turn whether or not anybody flushes, and HTTP/2 flushes
    /// after every frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.outbox.state.borrow().check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.update(|state| state.closing = true);
        let mut state = self.outbox.state.borrow_mut();
        state.check()?;
        if state.closed {
            return Poll::Ready(Ok(()));
        }
        state.producer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What is to be sent, between the stream and its writing task.
#[derive(Default)]
struct Outbox {
    state: RefCell<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    pending: BytesMut,
    /// An emptied buffer, so that a busy connection does not allocate one per write.
    spare: BytesMut,
    failure: Option<io::ErrorKind>,
    /// Nothing more will be written; what is pending is still sent.
    closing: bool,
    /// All of it was sent.
    closed: bool,
    /// The stream is gone: nobody cares any more.
    abandoned: bool,
    producer: Option<Waker>,
    sender: Option<Waker>,
}

impl OutboxState {
    fn check(&self) -> io::Result<()> {
        self.failure.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn wake_producer(&mut self) {
        if let Some(waker) = self.producer.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    fn update(&self, change: impl FnOnce(&mut OutboxState)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        if let Some(waker) = state.sender.take() {
            waker.wake();
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        state.check()?;
        let mut room = WRITE_BUFFER.saturating_sub(state.pending.len());
        if room == 0 {
            state.producer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if state.pending.capacity() == 0 {
            state.pending = std::mem::take(&mut state.spare);
        }
        let before = state.pending.len();
        for buf in bufs {
            let taken = buf.len().min(room);
            state.pending.extend_from_slice(&buf[..taken]);
            room -= taken;
        }
        let written = state.pending.len() - before;
        if let Some(waker) = state.sender.take() {
            waker.wake();
        }
        Poll::Ready(Ok(written))
    }

    /// The next bytes to send; empty when all was sent and nothing more will come.
    async fn next(&self) -> BytesMut {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if !state.pending.is_empty() || state.closing || state.abandoned {
                let bytes = std::mem::take(&mut state.pending);
                state.wake_producer();
                return Poll::Ready(bytes);
            }
            if state.spare.capacity() > KEPT_BUFFER {
                state.spare = BytesMut::new();
            }
            state.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn abandoned(&self) {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.abandoned {
                return Poll::Ready(());
            }
            state.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn recycle(&self, mut buffer: BytesMut) {
        buffer.clear();
        self.state.borrow_mut().spare = buffer;
    }
}

/// Sends what comes into the outbox until it is closed, abandoned or the connection fails.
async fn send<W: Writer>(mut writer: W, outbox: Rc<Outbox>) {
    loop {
        let bytes = outbox.next().await.freeze();
        if bytes.is_empty() {
            break;
        }
        let kept = bytes.clone();
        let result = match select(pin!(writer.write(vec![bytes])), pin!(outbox.abandoned())).await {
            Either::Left((result, _)) => result,
            // The connection failed or was given up; a peer that is stalled must not keep this task.
            Either::Right(_) => break,
        };
        if let Err(error) = result {
            let mut state = outbox.state.borrow_mut();
            state.failure = Some(error.kind());
            state.wake_producer();
            break;
        }
        if let Ok(buffer) = kept.try_into_mut() {
            outbox.recycle(buffer);
        }
    }
    writer.shutdown();
    let mut state = outbox.state.borrow_mut();
    state.closed = true;
    state.wake_producer();
}
