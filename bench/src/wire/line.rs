//! One connection of the driver: requests go out without being copied, several in one call; answers come in by frames.

use crate::error::{Doing, Error, Result};
use crate::os::poller::Poller;
use crate::wire::admin::connect;
use crate::wire::prepared::Head;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

/// Pieces that one call sends at most.
const PIECES: usize = 96;
/// Answers to produce requests are small; the largest that is taken.
const INBOX: usize = 64 << 10;

#[derive(Debug)]
struct Outgoing {
    head: Head,
    batch: Bytes,
    tail: Bytes,
}

impl Outgoing {
    fn len(&self) -> usize {
        self.head.bytes().len() + self.batch.len() + self.tail.len()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    number: usize,
    outbox: VecDeque<Outgoing>,
    /// Bytes of the first in `outbox` that are gone.
    gone: usize,
    waits_for_room: bool,
    inbox: Vec<u8>,
    filled: usize,
}

impl Line {
    /// Connects, and has `poller` watch it under this number.
    pub fn open(address: &str, number: usize, poller: &Poller) -> Result<Self> {
        let stream = connect(address)?;
        stream.set_nonblocking(true).doing(address)?;
        poller.add(&stream, number)?;
        Ok(Self {
            stream,
            number,
            outbox: VecDeque::new(),
            gone: 0,
            waits_for_room: false,
            inbox: vec![0; INBOX],
            filled: 0,
        })
    }

    /// Puts a request behind those that are not sent yet.
    pub fn push(&mut self, head: Head, batch: Bytes, tail: Bytes) {
        self.outbox.push_back(Outgoing { head, batch, tail });
    }

    /// Requests that are not sent yet, or not wholly.
    pub fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// Sends what there is room for; returns how many requests are now wholly gone. The poller tells when there is room for the rest.
    pub fn flush(&mut self, poller: &Poller) -> Result<usize> {
        let mut done = 0;
        while !self.outbox.is_empty() {
            let sent = match self.write_some() {
                Ok(0) => return Err(Error::Target("the broker takes no more bytes".to_owned())),
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).doing("sending to the broker"),
            };
            done += self.took(sent);
        }
        let waits = !self.outbox.is_empty();
        if waits != self.waits_for_room {
            poller.watch_room(&self.stream, self.number, waits)?;
            self.waits_for_room = waits;
        }
        Ok(done)
    }

    fn write_some(&mut self) -> std::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        let mut skip = self.gone;
        'filled: for outgoing in &self.outbox {
            for piece in [outgoing.head.bytes(), &outgoing.batch, &outgoing.tail] {
                let skipped = skip.min(piece.len());
                skip -= skipped;
                if skipped == piece.len() {
                    continue;
                }
                if count == PIECES {
                    break 'filled;
                }
                slices[count] = IoSlice::new(&piece[skipped..]);
                count += 1;
            }
        }
        (&self.stream).write_vectored(&slices[..count])
    }

    fn took(&mut self, mut sent: usize) -> usize {
        let mut done = 0;
        while let Some(first) = self.outbox.front() {
            let left = first.len() - self.gone;
            if sent < left {
                self.gone += sent;
                break;
            }
            sent -= left;
            self.gone = 0;
            self.outbox.pop_front();
            done += 1;
        }
        done
    }

    /// Reads once, and hands over every frame that is whole, without its size.
    pub fn read(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let read = match self.stream.read(&mut self.inbox[self.filled..]) {
            Ok(0) => return Err(Error::Target("the broker closed a connection".to_owned())),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).doing("reading from the broker"),
        };
        self.filled += read;
        let mut at = 0;
        while let Some(size) = self.inbox[at..self.filled].first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            if size > INBOX - 4 {
                return Err(Error::unreadable("a request", format_args!("{size} bytes are too many")));
            }
            let Some(frame) = self.inbox[at + 4..self.filled].get(..size) else { break };
            each(frame)?;
            at += 4 + size;
        }
        self.inbox.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}
