//! Frames out of a byte stream: a four-byte length, then that many bytes. The length is checked and its bytes are
//! reserved before any of the body is read; a small frame comes out of what has arrived, a large one is received
//! straight into a buffer of exactly its size.

use crate::net::budget::{Budget, Reservation, SizedBudget};
use crate::net::pulse::Pulse;
use bytes::BytesMut;
use millrace_io::{Io, Reader};
use millrace_proto::kafka::frame;
use millrace_proto::kafka::wire::memory_limit;
use std::time::Duration;

/// Bytes asked of the socket at once while frames are small. Bounds what one connection may have read ahead of its
/// reservations.
pub const READ_AHEAD: usize = 32 * 1024;

/// From this size on a frame gets a buffer of its own instead of sharing the connection's.
const OWN_BUFFER: usize = 16 * 1024;

/// One request, without its length prefix.
pub struct Frame {
    /// The bytes, owned alone: batches in them can be stamped in place.
    pub bytes: BytesMut,
    /// What it holds of the budgets.
    pub held: Vec<Reservation>,
}

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer finished between frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer finished in the middle of a frame.
    #[error("the peer closed the connection {missing} bytes before the end of a frame")]
    Torn {
        /// Bytes that never came.
        missing: usize,
    },
    /// The length prefix is not one to follow.
    #[error(transparent)]
    Size(#[from] frame::FrameError),
    /// Too slow: a frame did not finish, or the connection was idle, for longer than allowed.
    #[error("nothing came for too long")]
    TimedOut,
    /// The socket's own error.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a whole frame, from its first byte on.
    pub frame: Duration,
    /// Between frames, while nothing is in flight.
    pub idle: Duration,
}

/// Reads frames from one connection.
pub struct Frames<I: Io> {
    io: I,
    reader: I::Reader,
    buffer: BytesMut,
    max: usize,
    patience: Patience,
    own: Budget,
    shard: SizedBudget,
}

impl<I: Io> Frames<I> {
    /// Frames of at most `max` bytes from `reader`, charged to the connection's own budget and the shard's.
    pub fn new(
        io: I,
        reader: I::Reader,
        max: usize,
        patience: Patience,
        (own, shard): (Budget, SizedBudget),
    ) -> Self {
        Self { io, reader, buffer: BytesMut::new(), max, patience, own, shard }
    }

    /// The next frame.
    pub async fn next(&mut self, pulse: &Pulse) -> Result<Frame, FrameError> {
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
            pulse.idle_until(self.io.now() + self.patience.idle);
            if self.read(pulse).await? == 0 {
                return Err(FrameError::Closed);
            }
        }
        pulse.busy_until(self.io.now() + self.patience.frame);
        while self.buffer.len() < frame::PREFIX {
            self.read_more(frame::PREFIX, pulse).await?;
        }
        let prefix = self.buffer.split_to(frame::PREFIX)[..].try_into().expect("as long as the prefix");
        let size = frame::size(prefix, self.max)?;
        // Waiting for room is our delay, not the peer's.
        pulse.rest();
        let mut held = Vec::with_capacity(2);
        // The frame, and what its request may take when it is decoded.
        let bytes = size + memory_limit(size);
        held.push(self.own.reserve(bytes).await);
        held.push(self.shard.reserve(bytes).await);
        pulse.busy_until(self.io.now() + self.patience.frame);
        let bytes = self.body(size, pulse).await?;
        pulse.rest();
        Ok(Frame { bytes, held })
    }

    async fn body(&mut self, size: usize, pulse: &Pulse) -> Result<BytesMut, FrameError> {
        if size < OWN_BUFFER || self.buffer.len() >= size {
            while self.buffer.len() < size {
                self.read_more(size, pulse).await?;
            }
            return Ok(self.buffer.split_to(size));
        }
        let mut body = BytesMut::with_capacity(size);
        body.extend_from_slice(&self.buffer);
        self.buffer.clear();
        let missing = size - body.len();
        match pulse.guard(self.reader.read_exact(body, size)).await {
            Some(Ok(body)) => Ok(body),
            Some(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(FrameError::Torn { missing })
            }
            Some(Err(e)) => Err(e.into()),
            None => Err(FrameError::TimedOut),
        }
    }

    async fn read_more(&mut self, wanted: usize, pulse: &Pulse) -> Result<(), FrameError> {
        match self.read(pulse).await? {
            0 => Err(FrameError::Torn { missing: wanted.saturating_sub(self.buffer.len()) }),
            _ => Ok(()),
        }
    }

    async fn read(&mut self, pulse: &Pulse) -> Result<usize, FrameError> {
        match pulse.guard(self.reader.read(&mut self.buffer, READ_AHEAD)).await {
            Some(result) => Ok(result?),
            None => Err(FrameError::TimedOut),
        }
    }
}
