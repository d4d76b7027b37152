//! One connection: two ends, and what is on its way to each.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::task::{Poll, Waker};

/// What travels. Packets of one direction stay in order.
pub(super) enum Packet {
    Data(Bytes),
    /// The reader has taken so many bytes: there is room for as many again.
    Taken(u64),
    /// No more data will come.
    Finish,
    /// The other side is gone.
    Reset,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) host: usize,
    /// What is on its way here, with its time of arrival.
    pub(super) wire: VecDeque<(u64, Packet)>,
    /// Whether the arrival of the first packet is on the timeline.
    pub(super) expected: bool,
    /// When the line towards this end is free again.
    pub(super) line_free: u64,
    arrived: VecDeque<Bytes>,
    /// The peer will send no more.
    finished: bool,
    /// The connection failed.
    failed: Option<ErrorKind>,
    reader: Option<Waker>,
    /// Bytes that may still be sent from here before the peer takes some.
    pub(super) room: u64,
    writer: Option<Waker>,
    /// This end has said that it will send no more.
    pub(super) shut: bool,
    /// Nobody holds this end any more.
    pub(super) closed: bool,
}

impl End {
    pub(super) fn new(host: usize, room: u64) -> Self {
        Self {
            host,
            wire: VecDeque::new(),
            expected: false,
            line_free: 0,
            arrived: VecDeque::new(),
            finished: false,
            failed: None,
            reader: None,
            room,
            writer: None,
            shut: false,
            closed: false,
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.arrived.is_empty()
    }

    pub(super) fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Data(data) => self.arrived.push_back(data),
            Packet::Finish => self.finished = true,
            Packet::Taken(count) => {
                self.room += count;
                return self.wake_writer();
            }
            Packet::Reset => return self.fail(ErrorKind::ConnectionReset),
        }
        self.wake_reader();
    }

    pub(super) fn fail(&mut self, why: ErrorKind) {
        self.failed.get_or_insert(why);
        self.wake_reader();
        self.wake_writer();
    }

    pub(super) fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn wake_writer(&mut self) {
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Moves up to `max` bytes that have arrived behind `into`. What came before a failure can still be read.
    pub(super) fn poll_read(
        &mut self,
        waker: &Waker,
        into: &mut BytesMut,
        max: usize,
    ) -> Poll<Result<usize>> {
        let mut taken = 0;
        while let Some(first) = self.arrived.front_mut().filter(|_| taken < max) {
            let count = first.len().min(max - taken);
            into.extend_from_slice(&first.split_to(count));
            taken += count;
            if first.is_empty() {
                self.arrived.pop_front();
            }
        }
        if taken > 0 || max == 0 {
            return Poll::Ready(Ok(taken));
        }
        if let Some(failed) = self.failed {
            return Poll::Ready(Err(failed.into()));
        }
        if self.finished || self.shut {
            return Poll::Ready(Ok(0));
        }
        self.reader = Some(waker.clone());
        Poll::Pending
    }

    /// How many bytes can be sent from here now.
    pub(super) fn poll_room(&mut self, waker: &Waker) -> Poll<Result<u64>> {
        if let Some(failed) = self.failed {
            return Poll::Ready(Err(failed.into()));
        }
        if self.shut {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        if self.room > 0 {
            return Poll::Ready(Ok(self.room));
        }
        self.writer = Some(waker.clone());
        Poll::Pending
    }
}
