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
/// Answers to produce requests are small: room for many of them. It grows for what is larger.
const INBOX: usize = 64 << 10;
/// What the leader of a large group is told fits into this.
const LARGEST: usize = 16 << 20;

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

    /// The same with a request that is in one piece.
    pub fn push_whole(&mut self, frame: Bytes) {
        self.push(Head::NONE, frame, Bytes::new());
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
        let mut room = 0;
        while let Some(size) = self.inbox[at..self.filled].first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            if size > LARGEST {
                return Err(Error::unreadable("a request", format_args!("{size} bytes are too many")));
            }
            let Some(frame) = self.inbox[at + 4..self.filled].get(..size) else {
                room = 4 + size;
                break;
            };
            each(frame)?;
            at += 4 + size;
        }
        self.inbox.copy_within(at..self.filled, 0);
        self.filled -= at;
        if room > self.inbox.len() {
            self.inbox.resize(room, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn frames_of_any_size_come_in_as_they_were_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut poller = Poller::new().unwrap();
        let mut line = Line::open(&listener.local_addr().unwrap().to_string(), 0, &poller).unwrap();
        let (mut from, _) = listener.accept().unwrap();
        // The second does not fit into the inbox, and the third comes right behind it.
        let sizes = [10, 3 * INBOX, 7];
        let sender = std::thread::spawn(move || {
            for (number, size) in sizes.into_iter().enumerate() {
                from.write_all(&(size as u32).to_be_bytes()).unwrap();
                from.write_all(&vec![number as u8; size]).unwrap();
            }
            from
        });
        let mut found = Vec::new();
        while found.len() < sizes.len() {
            assert!(!poller.wait(Duration::from_secs(20)).unwrap().is_empty(), "only {found:?}");
            line.read(|frame| {
                assert!(frame.iter().all(|byte| usize::from(*byte) == found.len()));
                found.push(frame.len());
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(found, sizes);
        let mut from = sender.join().unwrap();
        from.write_all(&u32::MAX.to_be_bytes()).unwrap();
        poller.wait(Duration::from_secs(20)).unwrap();
        assert!(line.read(|_| Ok(())).is_err(), "nobody answers 4 GiB");
    }
}
