//! A gRPC client on `h2`, as plain as can be, that shows everything a server says.

use super::super::transport::Transport;
use bytes::{Buf, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use millrace_io::Io;
use prost::Message;
use std::net::SocketAddr;

#[derive(Clone)]
pub(super) struct Client<I: Io> {
    send: SendRequest<Bytes>,
    address: SocketAddr,
    pub(super) io: I,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) message: String,
    /// Whether `grpc-status-details-bin` is there.
    pub(super) details: Option<String>,
}

pub(super) struct Open {
    pub(super) send: h2::SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    body: Option<h2::RecvStream>,
    buffer: BytesMut,
    pub(super) http_status: u16,
    end: Option<End>,
}

impl<I: Io> Client<I> {
    /// Connects with small windows of its own, as many clients have.
    pub(super) async fn connect(io: I, address: SocketAddr) -> Self {
        let socket = io.connect(address).await.expect("a listening server");
        let (reader, writer) = io.adopt(socket).expect("a socket");
        let transport = Transport::new(io.clone(), reader, writer);
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(65_535)
            .handshake::<_, Bytes>(transport)
            .await
            .expect("an HTTP/2 server");
        io.spawn(async move {
            let _ = connection.await;
        });
        Self { send, address, io }
    }

    /// Another connection to the same server.
    pub(super) async fn again(&self) -> Self {
        Self::connect(self.io.clone(), self.address).await
    }

    pub(super) async fn open_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Open {
        let mut request = Request::post(format!("http://broker{path}")).body(()).expect("a request");
        request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        for (name, value) in headers {
            request.headers_mut().insert(*name, http::HeaderValue::from_str(value).expect("a value"));
        }
        let mut ready = self.send.clone().ready().await.expect("an open connection");
        let (response, send) = ready.send_request(request, false).expect("sent");
        let buffer = BytesMut::new();
        Open { send, response: Some(response), body: None, buffer, http_status: 0, end: None }
    }

    pub(super) async fn open(&self, path: &str) -> Open {
        self.open_with(path, &[]).await
    }

    /// One request, one response.
    pub(super) async fn unary<R: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<R, End> {
        let mut call = self.open(path).await;
        call.say(request);
        call.close();
        let response = call.hear::<R>().await;
        let end = call.end().await;
        if end.code == 0 { Ok(response.expect("a response with an OK")) } else { Err(end) }
    }
}

impl Open {
    pub(super) fn say(&mut self, request: &impl Message) {
        self.say_bytes(super::super::framing::framed(request));
    }

    pub(super) fn say_bytes(&mut self, bytes: Bytes) {
        self.send.send_data(bytes, false).expect("an open stream");
    }

    pub(super) fn close(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("an open stream");
    }

    pub(super) fn cancel(&mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }

    /// The next response; `None` at the end.
    pub(super) async fn hear<R: Message + Default>(&mut self) -> Option<R> {
        self.hear_bytes().await.map(|bytes| R::decode(bytes).expect("a message"))
    }

    pub(super) async fn hear_bytes(&mut self) -> Option<Bytes> {
        self.head().await;
        loop {
            if self.buffer.len() >= 5 {
                let len = u32::from_be_bytes(self.buffer[1..5].try_into().expect("four")) as usize;
                if self.buffer.len() >= 5 + len {
                    self.buffer.advance(5);
                    return Some(self.buffer.split_to(len).freeze());
                }
            }
            let body = self.body.as_mut()?;
            match body.data().await {
                Some(Ok(data)) => {
                    body.flow_control().release_capacity(data.len()).expect("an open stream");
                    self.buffer.extend_from_slice(&data);
                }
                Some(Err(error)) => {
                    self.buffer.clear();
                    self.end.get_or_insert(End { code: -1, message: error.to_string(), details: None });
                    return None;
                }
                None => {
                    assert!(self.buffer.is_empty(), "the response ends in the middle of a message");
                    return None;
                }
            }
        }
    }

    /// Bytes of responses that have arrived, without giving the server window for more.
    pub(super) async fn peek_stalled(&mut self) -> usize {
        self.head().await;
        self.body.as_mut().map_or(0, |body| body.flow_control().used_capacity())
    }

    async fn head(&mut self) {
        let Some(response) = self.response.take() else { return };
        match response.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                self.http_status = head.status.as_u16();
                if let Some(end) = end_of(&head.headers) {
                    self.end = Some(end);
                }
                self.body = Some(body);
            }
            Err(error) => self.end = Some(End { code: -1, message: error.to_string(), details: None }),
        }
    }

    pub(super) async fn end(&mut self) -> End {
        while self.hear_bytes().await.is_some() {}
        if let Some(end) = &self.end {
            return end.clone();
        }
        let body = self.body.as_mut().expect("a head");
        match body.trailers().await {
            Ok(trailers) => trailers.and_then(|trailers| end_of(&trailers)).expect("a grpc-status"),
            Err(error) => End { code: -1, message: error.to_string(), details: None },
        }
    }
}

fn end_of(headers: &HeaderMap) -> Option<End> {
    let text = |name| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    let code = text("grpc-status")?.parse().expect("a number");
    Some(End {
        code,
        message: text("grpc-message").unwrap_or_default(),
        details: text("grpc-status-details-bin"),
    })
}
