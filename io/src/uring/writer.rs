//! The sending half of a connection.

use super::cold;
use super::core::Core;
use super::files::File;
use super::gather::Gather;
use super::ring::Keep;
use super::sockets::Conn;
use super::time;
use bytes::Bytes;
use std::io::{Error, ErrorKind, Result};
use std::rc::Rc;
use std::time::Duration;

/// File bytes sent before other tasks get a turn: about 100 us of copying.
pub(super) const HOT_WINDOW: u64 = 512 << 10;
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// The sending half of a connection.
pub struct Writer {
    pub(super) core: Rc<Core>,
    pub(super) conn: Rc<Conn>,
    stall_limit: Duration,
    corked: bool,
    /// Used again and again; gone while a send is in flight.
    gather: Option<Box<Gather>>,
}

impl Writer {
    pub(super) fn new(core: Rc<Core>, conn: Rc<Conn>) -> Self {
        Self { core, conn, stall_limit: STALL_LIMIT, corked: false, gather: None }
    }

    /// Waits until the socket has room, as long as the peer takes something at least every stall limit.
    pub(super) async fn wait_for_room(&self) -> Result<()> {
        let mut room = self.core.poll_conn(&self.conn, libc::POLLOUT);
        let mut waiting = self.conn.unacknowledged();
        loop {
            if let Some((result, _)) = time::within(&self.core, &mut room, self.stall_limit).await {
                // Errors of the connection itself are reported by the send that follows.
                return result.map(drop);
            }
            let still = self.conn.unacknowledged();
            if still >= waiting {
                return Err(self.stalled());
            }
            waiting = still;
        }
    }

    fn stalled(&self) -> Error {
        let message = format!("the peer took nothing for {:?}", self.stall_limit);
        Error::new(ErrorKind::TimedOut, message)
    }

    /// Sends up to `len` bytes of the file with one system call, as far as the socket has room.
    fn sendfile(&self, file: &File, offset: u64, len: u64) -> Result<u64> {
        let mut at = offset as libc::off_t;
        // SAFETY: both descriptors are open, and `at` is a live local.
        let sent = unsafe { libc::sendfile(self.conn.raw(), file.raw(), &raw mut at, len as usize) };
        match sent {
            0 => Err(file_ended()),
            n if n > 0 => Ok(n as u64),
            _ => Err(Error::last_os_error()),
        }
    }

    /// Sends what the socket has room for, with one system call.
    fn send_now(&self, gather: &mut Gather) -> Result<u32> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: message, pieces and bytes live in `gather`, which nobody changes before the call returns.
        let sent = unsafe { libc::sendmsg(self.conn.raw(), gather.message(), flags) };
        u32::try_from(sent).map_err(|_| Error::last_os_error())
    }

    /// Sends a range that is in the page cache.
    async fn send_hot(&self, file: &File, mut offset: u64, mut len: u64) -> Result<()> {
        let mut since_yield = 0;
        while len > 0 {
            match self.sendfile(file, offset, len.min(HOT_WINDOW)) {
                Ok(sent) => {
                    self.core.counters.add(|c| c.hot_bytes += sent);
                    offset += sent;
                    len -= sent;
                    since_yield += sent;
                    if since_yield >= HOT_WINDOW && len > 0 {
                        since_yield = 0;
                        time::yield_now().await;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait_for_room().await?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The file is shorter than the range that was to be sent.
pub(super) fn file_ended() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the file ends inside the range that was to be sent")
}

impl crate::Writer for Writer {
    type File = File;

    async fn write(&mut self, bufs: Vec<Bytes>) -> Result<()> {
        let mut gather = self.gather.take().unwrap_or_else(Gather::new);
        gather.fill(bufs);
        while !gather.is_done() {
            let result = match self.corked {
                // What follows is sent inline: by the ring this would leave later, and alone.
                true => self.send_now(&mut gather),
                false => {
                    let (result, keep) = self.core.send(&self.conn, gather).await;
                    let Keep::Gather(kept) = keep else { unreachable!("a send keeps its buffers") };
                    gather = kept;
                    result
                }
            };
            match result {
                Ok(n) => {
                    gather.advance(n as usize);
                    self.core.counters.add(|c| c.sent_bytes += u64::from(n));
                    if gather.is_done() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait_for_room().await?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        gather.clear();
        self.gather = Some(gather);
        Ok(())
    }

    async fn send_file(&mut self, file: &File, mut offset: u64, mut len: u64, recent: bool) -> Result<()> {
        if recent {
            return self.send_hot(file, offset, len).await;
        }
        while len > 0 {
            let hot = cold::resident_prefix(file, offset, len);
            let sent = if hot > 0 {
                self.send_hot(file, offset, hot).await?;
                time::yield_now().await;
                hot
            } else {
                cold::send(self, file, offset, len).await?
            };
            (offset, len) = (offset + sent, len - sent);
        }
        Ok(())
    }

    fn cork(&mut self, corked: bool) {
        self.corked = corked;
        self.conn.cork(corked);
    }

    fn set_stall_limit(&mut self, limit: Duration) {
        self.stall_limit = limit;
    }

    fn shutdown(&mut self) {
        self.conn.shutdown(&self.core);
    }
}
