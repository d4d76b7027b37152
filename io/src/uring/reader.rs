//! The receiving half of a connection.

use super::core::Core;
use super::inlet::End;
use super::ops::{Op, Outcome};
use super::ring::Keep;
use super::sockets::Conn;
use bytes::BytesMut;
use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What is left of a frame when receiving it straight into place starts to pay: below, the core's buffers are as good.
const STRAIGHT: usize = 16 << 10;

/// The receiving half of a connection.
pub struct Reader {
    core: Rc<Core>,
    conn: Rc<Conn>,
    /// The last frame was large, so the next may be: receive only its head into the core's buffers.
    expect_large: bool,
}

impl Reader {
    pub(super) fn new(core: Rc<Core>, conn: Rc<Conn>) -> Self {
        Self { core, conn, expect_large: false }
    }

    /// Waits until the receive in flight has ended or brought something.
    async fn settle(&self) {
        poll_fn(|cx| {
            let mut inlet = self.conn.inlet.borrow_mut();
            inlet.stop(&self.core);
            if inlet.armed.is_none() || inlet.end.is_some() {
                return Poll::Ready(());
            }
            inlet.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Receives straight into `into` until it holds `total`. Nothing else receives meanwhile.
    async fn receive_straight(&mut self, mut into: BytesMut, total: usize) -> Result<BytesMut> {
        into.reserve(total - into.len());
        while into.len() < total {
            if self.conn.inlet.borrow().end.is_some() {
                return Err(self.ended());
            }
            let missing = total - into.len();
            let op = self.core.receive_into(&self.conn, into, missing);
            let Some((result, keep)) = self.unless_ended(op).await else { return Err(self.ended()) };
            let Keep::Buffer(buffer) = keep else { unreachable!("a receive keeps its buffer") };
            into = buffer;
            match result {
                Ok(0) => self.conn.inlet.borrow_mut().end = Some(End::Finished),
                Ok(n) => {
                    let n = n as usize;
                    // SAFETY: the kernel has written `n` bytes right behind the old length, inside the capacity.
                    unsafe { into.set_len(into.len() + n) };
                    self.core.counters.add(|c| c.received_bytes += n as u64);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    let errno = e.raw_os_error().unwrap_or(libc::EIO);
                    self.conn.inlet.borrow_mut().end = Some(End::Failed(errno));
                }
            }
        }
        Ok(into)
    }

    /// The operation's outcome, or `None` once the connection was shut down on this side.
    async fn unless_ended(&self, mut op: Op) -> Option<Outcome> {
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = Pin::new(&mut op).poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            let mut inlet = self.conn.inlet.borrow_mut();
            inlet.waker = Some(cx.waker().clone());
            if inlet.end.is_some() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Why there will be no more bytes, for somebody who needs them.
    fn ended(&self) -> Error {
        match self.conn.inlet.borrow().end {
            Some(End::Failed(error)) => Error::from_raw_os_error(error),
            _ => Error::new(ErrorKind::UnexpectedEof, "the peer closed the connection inside a frame"),
        }
    }
}

impl crate::Reader for Reader {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut, max: usize) -> Poll<Result<usize>> {
        let mut inlet = self.conn.inlet.borrow_mut();
        let taken = inlet.take(&self.core, into, max);
        if taken > 0 || max == 0 {
            return Poll::Ready(Ok(taken));
        }
        if let Some(end) = inlet.end {
            return Poll::Ready(end.result());
        }
        match &mut inlet.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if inlet.armed.is_none() {
            let once = std::mem::take(&mut self.expect_large);
            inlet.armed = Some(self.core.receive(&self.conn, once));
        }
        Poll::Pending
    }

    async fn read_exact(&mut self, mut into: BytesMut, total: usize) -> Result<BytesMut> {
        loop {
            let missing = total.saturating_sub(into.len());
            let taken = self.conn.inlet.borrow_mut().take(&self.core, &mut into, missing);
            let missing = missing - taken;
            if missing == 0 {
                return Ok(into);
            }
            if self.conn.inlet.borrow().end.is_some() {
                return Err(self.ended());
            }
            if missing < STRAIGHT {
                self.read(&mut into, missing).await?;
            } else if self.conn.inlet.borrow().armed.is_some() {
                self.settle().await;
            } else {
                self.expect_large = true;
                return self.receive_straight(into, total).await;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.conn.inlet.borrow_mut().close(&self.core);
    }
}
