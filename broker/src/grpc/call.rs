//! One call, as a service sees it: requests in, responses out, an end. Its face names no HTTP type.
//!
//! [`Requests`] gives flow control back to the client only as messages are taken, and reserves a message's bytes before
//! it gathers them; [`Responses`] waits for the client's window. So a client that sends too much or reads too little is
//! slowed down, and what the core holds for it is bounded. A call that was cancelled, or whose deadline passed,
//! is dropped where it waits (`server.rs`): services need not look.

use super::framing::{self, PREFIX};
use super::limits::Limits;
use super::server::Stop;
use super::status::{Code, Status, malformed};
use crate::net::budget::{Budget, Reservation};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use millrace_io::Io;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call that has arrived.
pub struct Call {
    /// `/package.Service/Method`.
    pub path: Rc<str>,
    /// What the client sends.
    pub requests: Requests,
    /// What the client gets.
    pub responses: Responses,
}

impl Call {
    /// Answers the one request of a unary call.
    /// # Errors
    /// What to end the call with.
    pub async fn unary<Q: Message + Default, R: Message>(
        mut self,
        serve: impl AsyncFnOnce(Q) -> Result<R, Status>,
    ) -> Result<(), Status> {
        let Some(request) = self.requests.recv().await? else {
            let path = &self.path;
            return Err(Status::new(
                Code::InvalidArgument,
                format!("{path} wants a request message, and none came"),
            )
            .because("MALFORMED_MESSAGE"));
        };
        let response = serve(request).await?;
        self.responses.send(&response).await
    }
}

impl Call {
    /// `future`'s result, or `None` once the broker stops.
    pub(super) async fn until_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.requests.surroundings.until_stop(future).await
    }
}

/// The status of streams that the end of the broker cuts short.
pub(super) fn stopping() -> Status {
    let mut status =
        Status::new(Code::Unavailable, "the broker is stopping; connect again").because("BROKER_STOPPING");
    status.retry = Some(Duration::from_secs(1));
    status
}

/// What a call needs to know about where it runs.
pub(super) struct Surroundings {
    pub(super) limits: Limits,
    /// The connection's and the shard's: a message is held by both.
    pub(super) inbound: [Budget; 2],
    /// What consuming streams of the shard hold as it was read.
    pub(super) outbound: Budget,
    /// What they hold decompressed.
    pub(super) inflated: Budget,
    /// Completes when the broker stops.
    pub(super) stop: Stop,
    /// Where the client is, as Kafka writes it.
    pub(super) peer: String,
    sleep: Box<dyn Fn(Duration) -> LocalBoxFuture<'static, ()>>,
}

impl Surroundings {
    pub(super) fn new<I: Io>(
        io: &I,
        limits: &Limits,
        inbound: [Budget; 2],
        [outbound, inflated]: [Budget; 2],
        stop: Stop,
        peer: SocketAddr,
    ) -> Rc<Self> {
        let io = io.clone();
        let sleep = Box::new(move |time| Box::pin(io.sleep(time)) as LocalBoxFuture<'static, ()>);
        let peer = format!("/{}", peer.ip());
        Rc::new(Self { limits: limits.clone(), inbound, outbound, inflated, stop, peer, sleep })
    }

    /// Whether streams wait for memory that others hold.
    pub(super) fn contended(&self) -> bool {
        [&self.outbound, &self.inflated].iter().any(|budget| budget.try_reserve(1).is_none())
    }

    /// `future`'s result, or `None` once the broker stops.
    pub(super) async fn until_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), self.stop.clone()).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Completes after this time.
    pub(super) fn sleep(&self, time: Duration) -> LocalBoxFuture<'static, ()> {
        (self.sleep)(time)
    }

    /// `future`'s result, or `None` when it took longer than `time`.
    pub(super) async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), (self.sleep)(time)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

/// A request as it arrived. While it is held, its bytes count against the budgets.
pub struct Received {
    /// The encoded message.
    pub bytes: Bytes,
    /// To be kept for as long as anything of the message is.
    pub held: Held,
}

/// A message's share of the budgets.
pub struct Held(#[allow(dead_code)] [Reservation; 2]);

/// What the client sends.
pub struct Requests {
    path: Rc<str>,
    body: h2::RecvStream,
    /// Received, but not taken yet: the client's window is still smaller by this.
    chunk: Bytes,
    pub(super) surroundings: Rc<Surroundings>,
}

impl Requests {
    pub(super) fn new(path: Rc<str>, body: h2::RecvStream, surroundings: Rc<Surroundings>) -> Self {
        Self { path, body, chunk: Bytes::new(), surroundings }
    }

    /// The next request, decoded; `None` when the client has closed its side.
    /// # Errors
    /// What to end the call with.
    pub async fn recv<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let Some(received) = self.recv_bytes().await? else { return Ok(None) };
        M::decode(received.bytes).map(Some).map_err(|error| malformed(&self.path, &error))
    }

    /// The next request as bytes; `None` when the client has closed its side.
    /// # Errors
    /// What to end the call with.
    pub async fn recv_bytes(&mut self) -> Result<Option<Received>, Status> {
        if !self.fill().await? {
            return Ok(None);
        }
        let surroundings = self.surroundings.clone();
        let patience = surroundings.limits.message_patience;
        let mut prefix = BytesMut::with_capacity(PREFIX);
        surroundings.within(patience, self.gather(&mut prefix, PREFIX)).await.ok_or_else(slow)??;
        let prefix = prefix[..].try_into().map_err(|_| truncated())?;
        let len = framing::message_len(prefix, surroundings.limits.max_request_bytes)?;
        let [connection, shard] = &surroundings.inbound;
        let held = Held([connection.reserve(len).await, shard.reserve(len).await]);
        if self.chunk.len() >= len {
            // The usual small message: a slice of what arrived.
            let bytes = self.take(len);
            return Ok(Some(Received { bytes, held }));
        }
        let mut bytes = BytesMut::with_capacity(len);
        surroundings.within(patience, self.gather(&mut bytes, len)).await.ok_or_else(slow)??;
        Ok(Some(Received { bytes: bytes.freeze(), held }))
    }

    /// The requests as a stream, which may be polled beside other things: nothing is lost when a wait is given up.
    /// Ends after the first error, which is UNAVAILABLE once the broker stops.
    pub(super) fn into_stream<T>(
        self,
        decode: impl Fn(Received) -> Result<T, Status>,
    ) -> impl Stream<Item = Result<T, Status>> {
        stream::unfold((Some(self), decode), async |(requests, decode)| {
            let mut requests = requests?;
            let surroundings = requests.surroundings.clone();
            let received =
                surroundings.until_stop(requests.recv_bytes()).await.unwrap_or_else(|| Err(stopping()));
            match received.and_then(|received| received.map(&decode).transpose()) {
                Ok(request) => Some((Ok(request?), (Some(requests), decode))),
                Err(status) => Some((Err(status), (None, decode))),
            }
        })
    }

    /// Moves bytes into `into` until it holds `total`.
    async fn gather(&mut self, into: &mut BytesMut, total: usize) -> Result<(), Status> {
        while into.len() < total {
            if !self.fill().await? {
                return Err(truncated());
            }
            let part = self.take((total - into.len()).min(self.chunk.len()));
            into.put(part);
        }
        Ok(())
    }

    /// Waits until at least one byte is there; false when the client has closed its side.
    async fn fill(&mut self) -> Result<bool, Status> {
        while !self.chunk.has_remaining() {
            match self.body.data().await {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(gone(&error)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take(&mut self, len: usize) -> Bytes {
        // Fails only when the stream is over, and then nobody needs the window.
        let _ = self.body.flow_control().release_capacity(len);
        self.chunk.split_to(len)
    }
}

fn truncated() -> Status {
    Status::new(Code::InvalidArgument, "the stream ended in the middle of a message")
        .because("MALFORMED_MESSAGE")
}

fn slow() -> Status {
    Status::new(Code::DeadlineExceeded, "the rest of a message did not arrive in time")
        .because("MESSAGE_TOO_SLOW")
}

fn gone(error: &h2::Error) -> Status {
    Status::new(Code::Cancelled, format!("the client is gone: {error}"))
}

/// What the client gets.
pub struct Responses {
    pub(super) stream: Rc<ResponseStream>,
    surroundings: Rc<Surroundings>,
}

impl Responses {
    pub(super) fn new(stream: Rc<ResponseStream>, surroundings: Rc<Surroundings>) -> Self {
        Self { stream, surroundings }
    }

    /// Sends one response; returns when the client's window has taken it.
    /// # Errors
    /// When nobody listens any more: end the call.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        self.send_encoded([framing::framed(message)]).await
    }

    /// Sends one response that is encoded already, prefix included, in pieces.
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) async fn send_encoded(
        &mut self,
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Status> {
        self.stream.begin()?;
        self.stream.inside.set(true);
        for mut piece in pieces {
            while piece.has_remaining() {
                let room = self.room(piece.len()).await?;
                let part = piece.split_to(room.min(piece.len()));
                self.stream.send_data(part)?;
            }
        }
        self.stream.inside.set(false);
        Ok(())
    }

    /// How much of `wanted` may be sent now; waits until it is something.
    async fn room(&self, wanted: usize) -> Result<usize, Status> {
        if let Some(room) = self.stream.room_now(wanted)? {
            return Ok(room);
        }
        let patience = self.surroundings.limits.stalled_reader;
        loop {
            let more = poll_fn(|cx| self.stream.poll_room(cx));
            match self.surroundings.within(patience, more).await {
                Some(room) => return room,
                // A client may take its time while it is in nobody's way.
                None if !self.surroundings.contended() => {}
                None => {
                    return Err(Status::new(
                        Code::ResourceExhausted,
                        "the client does not read, and others need the memory that its records take",
                    )
                    .because("SLOW_READER"));
                }
            }
        }
    }
}

/// The sending half of a call's HTTP/2 stream, shared by the service and by what watches for its cancellation.
pub(super) struct ResponseStream {
    stage: RefCell<Stage>,
    /// Whether a message was begun and not sent to its end.
    inside: Cell<bool>,
}

enum Stage {
    Head(h2::server::SendResponse<Bytes>),
    Body(h2::SendStream<Bytes>),
    Over,
}

impl ResponseStream {
    pub(super) fn new(respond: h2::server::SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Self { stage: RefCell::new(Stage::Head(respond)), inside: Cell::new(false) })
    }

    /// Sends the response's head, if it was not sent yet.
    fn begin(&self) -> Result<(), Status> {
        let mut stage = self.stage.borrow_mut();
        if let Stage::Head(respond) = &mut *stage {
            let body = respond.send_response(head(), false).map_err(|error| gone(&error))?;
            *stage = Stage::Body(body);
        }
        Ok(())
    }

    fn with_body<T>(&self, act: impl FnOnce(&mut h2::SendStream<Bytes>) -> T) -> Result<T, Status> {
        match &mut *self.stage.borrow_mut() {
            Stage::Body(body) => Ok(act(body)),
            Stage::Head(_) | Stage::Over => Err(Status::new(Code::Cancelled, "the call is over")),
        }
    }

    fn send_data(&self, data: Bytes) -> Result<(), Status> {
        self.with_body(|body| body.send_data(data, false))?.map_err(|error| gone(&error))
    }

    fn room_now(&self, wanted: usize) -> Result<Option<usize>, Status> {
        self.with_body(|body| {
            body.reserve_capacity(wanted);
            Some(body.capacity()).filter(|room| *room > 0)
        })
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Status>> {
        match self.with_body(|body| body.poll_capacity(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Some(Ok(room)))) => Poll::Ready(Ok(room)),
            Ok(Poll::Ready(Some(Err(error)))) => Poll::Ready(Err(gone(&error))),
            Ok(Poll::Ready(None)) => Poll::Ready(Err(Status::new(Code::Cancelled, "the client is gone"))),
            Err(status) => Poll::Ready(Err(status)),
        }
    }

    /// Ready when the client has cancelled the call or the connection is gone.
    pub(super) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut *self.stage.borrow_mut() {
            Stage::Head(respond) => respond.poll_reset(cx),
            Stage::Body(body) => body.poll_reset(cx),
            Stage::Over => return Poll::Ready(()),
        };
        reset.map(|_| ())
    }

    /// Ends the call. In the middle of a message no status can follow: the stream is reset, with the reason that clients
    /// turn into the same code, and what waits for the client's window is given up.
    pub(super) fn finish(&self, outcome: Result<(), Status>) {
        let stage = std::mem::replace(&mut *self.stage.borrow_mut(), Stage::Over);
        // An error here says that the client is gone: nobody is left to be told.
        let _ = match (stage, outcome) {
            (Stage::Head(mut respond), Err(status)) => {
                let mut response = head();
                response.headers_mut().extend(trailers(Some(&status)));
                respond.send_response(response, true).map(drop)
            }
            (Stage::Head(mut respond), Ok(())) => {
                respond.send_response(head(), false).and_then(|mut body| body.send_trailers(trailers(None)))
            }
            (Stage::Body(mut body), Err(status)) if self.inside.get() => {
                body.send_reset(match status.code {
                    Code::ResourceExhausted => h2::Reason::ENHANCE_YOUR_CALM,
                    _ => h2::Reason::CANCEL,
                });
                Ok(())
            }
            (Stage::Body(mut body), outcome) => body.send_trailers(trailers(outcome.err().as_ref())),
            (Stage::Over, _) => Ok(()),
        };
    }

    /// Answers something that is not a gRPC call with an HTTP status and nothing else.
    pub(super) fn refuse(&self, status: http::StatusCode) {
        if let Stage::Head(mut respond) = std::mem::replace(&mut *self.stage.borrow_mut(), Stage::Over) {
            let mut response = Response::new(());
            *response.status_mut() = status;
            let _ = respond.send_response(response, true);
        }
    }
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-accept-encoding"), HeaderValue::from_static("identity"));
    response
}

fn trailers(status: Option<&Status>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    let code = status.map_or(Code::Ok, |status| status.code);
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(code as i32));
    let Some(status) = status else { return trailers };
    let texts = [
        ("grpc-message", Some(status.message_trailer())),
        ("grpc-status-details-bin", status.details_trailer()),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            trailers.insert(HeaderName::from_static(name), value);
        }
    }
    trailers
}
