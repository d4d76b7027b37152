//! One connection of the gRPC port: HTTP/2 by `h2` on this core, with limits for hostile peers, keep-alive pings and a
//! graceful end; each call runs as a task of its own until it finishes, is cancelled or its deadline passes.

use super::backend::Backend;
use super::call::{Call, Requests, ResponseStream, Responses, Surroundings};
use super::health::Health;
use super::limits::Limits;
use super::services::Services;
use super::status::{Code, Status};
use super::transport::Transport;
use crate::net::budget::Budget;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture, OptionFuture, Shared, select};
use http::{HeaderMap, Method, StatusCode};
use millrace_io::{Io, Writer};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The largest frame that we accept: C-core clients then send a message in few frames, which costs a third per byte.
const MAX_FRAME: u32 = 1 << 20;
/// Streams that the peer reset and we have not looked at: beyond it the connection ends (the "rapid reset" attack).
const PENDING_RESETS: usize = 20;
/// Protocol errors of the peer that cost it one stream each before they cost it the connection.
const STREAM_ERRORS: usize = 1024;

/// Why a connection ended otherwise than by both sides' will.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It did not begin HTTP/2 in time.
    #[error("no HTTP/2 preface within {0:?}: is this a gRPC client without TLS?")]
    NoHandshake(Duration),
    /// It did not answer a ping.
    #[error("the client was silent for {0:?} after a ping")]
    Silent(Duration),
    /// The connection or the protocol failed.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
}

/// The gRPC port of one core.
pub struct Server<B>(Rc<Inner<B>>);

struct Inner<B> {
    services: Services<B>,
    limits: Limits,
    inbound: Budget,
    outbound: Budget,
    inflated: Budget,
}

impl<B> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Completes when the broker stops.
pub(super) type Stop = Shared<LocalBoxFuture<'static, ()>>;

impl<B: Backend> Server<B> {
    /// A server for `backend`. Request messages are held against `inbound`, the core's budget for requests.
    pub fn new(backend: B, limits: Limits, inbound: Budget) -> Self {
        let [outbound, inflated] = [limits.consume_bytes, limits.inflated_bytes].map(Budget::new);
        Self(Rc::new(Inner {
            services: Services::new(backend, &limits),
            limits,
            inbound,
            outbound,
            inflated,
        }))
    }

    /// What the health service says.
    pub fn health(&self) -> &Health {
        self.0.services.health()
    }

    /// Serves a connection until it ends. When `stop` completes, no more calls are taken, those that run finish, and
    /// streams that would go on for ever end with UNAVAILABLE.
    /// # Errors
    /// When it ends otherwise than by both sides' will. Nothing is left to be done about it.
    pub async fn serve<I: Io>(
        &self,
        io: &I,
        reader: I::Reader,
        mut writer: I::Writer,
        peer: SocketAddr,
        stop: impl Future<Output = ()> + 'static,
    ) -> Result<(), ConnectionError> {
        let limits = &self.0.limits;
        writer.set_stall_limit(limits.stalled_writer);
        let transport = Transport::new(io.clone(), reader, writer);
        let heard = transport.heard();
        let handshake = builder(limits).handshake::<_, Bytes>(transport);
        let http2 = match select(pin!(handshake), pin!(io.sleep(limits.handshake_patience))).await {
            Either::Left((http2, _)) => http2?,
            Either::Right(_) => return Err(ConnectionError::NoHandshake(limits.handshake_patience)),
        };
        let stop = stop.boxed_local().shared();
        let outbound = [self.0.outbound.clone(), self.0.inflated.clone()];
        let inbound = [Budget::new(limits.connection_bytes), self.0.inbound.clone()];
        let surroundings = Surroundings::new(io, limits, inbound, outbound, stop.clone(), peer);
        let mut connection = Connection::new(io, http2, heard, limits, stop);
        while let Some((request, respond)) = connection.next().await? {
            let task = answer(io.clone(), self.0.services.clone(), surroundings.clone(), request, respond);
            io.spawn(task);
        }
        Ok(())
    }
}

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(limits.call_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.concurrent_calls)
        .max_send_buffer_size(limits.call_unsent)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(STREAM_ERRORS));
    builder
}

type Request = http::Request<h2::RecvStream>;
type Respond = h2::server::SendResponse<Bytes>;

/// What a connection waits for, besides its calls.
struct Connection<I: Io> {
    io: I,
    http2: h2::server::Connection<Transport<I>, Bytes>,
    pings: Option<h2::PingPong>,
    /// When bytes last arrived.
    heard: Rc<Cell<Duration>>,
    /// When a ping was sent that nothing has followed yet.
    pinged: Option<Duration>,
    alarm: Pin<Box<dyn Future<Output = ()>>>,
    ping_after: Duration,
    ping_patience: Duration,
    shutdown_patience: Duration,
    stop: Stop,
    /// Set once the broker stops: when to give up on what still runs.
    last_call: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<I: Io> Connection<I> {
    fn new(
        io: &I,
        mut http2: h2::server::Connection<Transport<I>, Bytes>,
        heard: Rc<Cell<Duration>>,
        limits: &Limits,
        stop: Stop,
    ) -> Self {
        Self {
            pings: http2.ping_pong(),
            http2,
            heard,
            pinged: None,
            alarm: Box::pin(io.sleep(limits.ping_after)),
            ping_after: limits.ping_after,
            ping_patience: limits.ping_patience,
            shutdown_patience: limits.shutdown_patience,
            stop,
            last_call: None,
            io: io.clone(),
        }
    }

    /// The next call; `None` when the connection is over.
    async fn next(&mut self) -> Result<Option<(Request, Respond)>, ConnectionError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(Request, Respond)>, ConnectionError>> {
        if self.last_call.as_mut().is_some_and(|time| time.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Ok(None));
        }
        if self.last_call.is_none() && self.stop.poll_unpin(cx).is_ready() {
            self.http2.graceful_shutdown();
            let mut last_call = Box::pin(self.io.sleep(self.shutdown_patience));
            // It has only just begun: this leaves our waker with it.
            let _ = last_call.as_mut().poll(cx);
            self.last_call = Some(last_call);
        }
        if let Err(error) = self.keep_alive(cx) {
            return Poll::Ready(Err(error));
        }
        self.http2.poll_accept(cx).map(Option::transpose).map_err(ConnectionError::from)
    }

    /// Pings a silent peer and gives up on one that stays silent.
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        let Some(pings) = &mut self.pings else { return Ok(()) };
        // Only takes note of the answer: any byte proves as much. An error is the connection's own.
        let _ = pings.poll_pong(cx);
        while self.alarm.as_mut().poll(cx).is_ready() {
            let heard = self.heard.get();
            let next = match self.pinged {
                Some(at) if heard < at => return Err(ConnectionError::Silent(self.ping_patience)),
                None if self.io.now() >= heard + self.ping_after => {
                    let _ = pings.send_ping(h2::Ping::opaque());
                    self.pinged = Some(self.io.now());
                    self.io.now() + self.ping_patience
                }
                _ => {
                    self.pinged = None;
                    heard + self.ping_after
                }
            };
            self.alarm = Box::pin(self.io.sleep_until(next));
        }
        Ok(())
    }
}

/// Answers one call.
async fn answer<I: Io, B: Backend>(
    io: I,
    services: Services<B>,
    surroundings: Rc<Surroundings>,
    request: Request,
    respond: Respond,
) {
    let (head, body) = request.into_parts();
    let stream = ResponseStream::new(respond);
    if head.method != Method::POST {
        return stream.refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_grpc(&head.headers) {
        return stream.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let deadline = match check(&head.headers) {
        Ok(deadline) => deadline,
        Err(status) => return stream.finish(Err(status)),
    };
    let path: Rc<str> = head.uri.path().into();
    let began = io.now();
    let call = Call {
        path: path.clone(),
        requests: Requests::new(path.clone(), body, surroundings.clone()),
        responses: Responses::new(stream.clone(), surroundings),
    };
    let mut expired = pin!(OptionFuture::from(deadline.map(|time| io.sleep(time))));
    let mut served = pin!(services.serve(call));
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = served.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        if stream.poll_cancelled(cx).is_ready() {
            return Poll::Ready(None);
        }
        match expired.as_mut().poll(cx) {
            Poll::Ready(Some(())) => Poll::Ready(Some(Err(too_late()))),
            _ => Poll::Pending,
        }
    })
    .await;
    services.ended(&path, outcome.as_ref(), io.now().saturating_sub(began));
    if let Some(outcome) = outcome {
        stream.finish(outcome);
    }
}

fn too_late() -> Status {
    Status::new(Code::DeadlineExceeded, "the call's deadline has passed").because("DEADLINE_EXCEEDED")
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return false };
    matches!(rest, [] | [b';', ..])
        || rest.strip_prefix(b"+proto").is_some_and(|r| matches!(r, [] | [b';', ..]))
}

/// The call's timeout.
fn check(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    if let Some(encoding) = headers.get("grpc-encoding").filter(|value| *value != "identity") {
        return Err(Status::new(
            Code::Unimplemented,
            format!("grpc-encoding {encoding:?} is not supported; use identity"),
        )
        .because("COMPRESSION_NOT_SUPPORTED"));
    }
    let Some(timeout) = headers.get("grpc-timeout") else { return Ok(None) };
    parse_timeout(timeout.as_bytes()).map(Some).ok_or_else(|| {
        Status::new(
            Code::InvalidArgument,
            format!("grpc-timeout {timeout:?} is not 1 to 8 digits and a unit"),
        )
        .because("INVALID_TIMEOUT")
    })
}

/// `grpc-timeout`: 1 to 8 digits and one of `H M S m u n`.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in [&b""[..], b"m", b"123456789m", b"1", b"-1m", b"1x", b" 1m"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn content_types() {
        let is_grpc = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(text));
            super::is_grpc(&headers)
        };
        assert!(
            is_grpc("application/grpc")
                && is_grpc("application/grpc+proto")
                && is_grpc("application/grpc;x=y")
        );
        assert!(
            !is_grpc("application/grpc-web") && !is_grpc("application/grpc+json") && !is_grpc("text/html")
        );
    }
}
