//! A client's connection: requests out, answers in, in order, each within a time.

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use millrace_io::simulated::{SimIo, SimReader, SimWriter};
use millrace_io::{Io, Reader, Writer};
use millrace_proto::kafka::api::{Request, Response};
use millrace_proto::kafka::frame;
use millrace_proto::kafka::header::{decode_response_header, encode_request};
use millrace_proto::kafka::wire::range_in;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

/// How long a client waits for an answer, or for room to send, before it gives the connection up.
const PATIENCE: Duration = Duration::from_secs(8);
/// The largest answer that makes sense here, in bytes.
const LARGEST: usize = 64 << 20;

/// Why a connection is of no use any more.
#[derive(Debug)]
pub enum Lost {
    /// Nothing came for too long.
    Late,
    /// The machine says so.
    Gone(io::Error),
    /// What came cannot be understood: no fault explains that.
    Garbled(String),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A connection to the broker.
pub struct Connection {
    io: SimIo,
    reader: SimReader,
    writer: SimWriter,
    received: BytesMut,
    last: i32,
    waiting: VecDeque<i32>,
}

impl Connection {
    /// Connects.
    pub async fn open(io: &SimIo, to: SocketAddr) -> Result<Self, Lost> {
        let socket = within(io, io.connect(to)).await??;
        let (reader, writer) = io.adopt(socket)?;
        let io = io.clone();
        Ok(Self { io, reader, writer, received: BytesMut::new(), last: 0, waiting: VecDeque::new() })
    }

    /// Sends a request; its answer comes behind those of the requests before it.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Lost> {
        self.last += 1;
        let garbled = |error: &dyn std::fmt::Display| Lost::Garbled(error.to_string());
        let frame = encode_request(version, self.last, Some("sim"), request).map_err(|e| garbled(&e))?;
        self.waiting.push_back(self.last);
        Ok(within(&self.io, self.writer.write(vec![frame.freeze()])).await??)
    }

    /// The body of the next answer.
    pub async fn receive<R: Response>(&mut self, version: i16) -> Result<Bytes, Lost> {
        let answer = within(&self.io, next_frame(&mut self.reader, &mut self.received)).await??;
        let (id, body) =
            decode_response_header::<R>(&answer, version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let expected = self.waiting.pop_front();
        if expected != Some(id) {
            return Err(Lost::Garbled(format!("an answer to request {id}, where {expected:?} is next")));
        }
        Ok(answer.slice(range_in(&answer, body)))
    }

    /// Sends a request and waits for its answer: the body.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<Bytes, Lost> {
        self.send(version, request).await?;
        self.receive::<R::Response<'_>>(version).await
    }
}

async fn next_frame(reader: &mut SimReader, received: &mut BytesMut) -> Result<Bytes, Lost> {
    loop {
        if let Some(prefix) = received.first_chunk::<{ frame::PREFIX }>() {
            let size = frame::size(*prefix, LARGEST).map_err(|e| Lost::Garbled(e.to_string()))?;
            if received.len() >= frame::PREFIX + size {
                let mut whole = received.split_to(frame::PREFIX + size).freeze();
                return Ok(whole.split_off(frame::PREFIX));
            }
        }
        if reader.read(received, 64 << 10).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

async fn within<T>(io: &SimIo, work: impl Future<Output = T>) -> Result<T, Lost> {
    match select(pin!(work), pin!(io.sleep(PATIENCE))).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(Lost::Late),
    }
}
