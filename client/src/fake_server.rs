//! A server for tests: each call to `Produce` or `Consume` is handed to the test, which plays the broker.

use crate::Client;
use crate::stubs::log_server::{Log, LogServer};
use futures_util::stream::{self, BoxStream};
use millrace_proto::grpc::v1;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// A call that has come in: what the client says, and the way to answer. Dropping it ends the call.
pub(crate) struct Call<Q, A> {
    pub(crate) requests: Streaming<Q>,
    pub(crate) answers: mpsc::Sender<Result<A, Status>>,
}

impl<Q, A> Call<Q, A> {
    /// The next request, which must come.
    pub(crate) async fn request(&mut self) -> Q {
        self.requests.message().await.expect("the call lives").expect("a request")
    }

    pub(crate) async fn answer(&self, answer: A) {
        self.answers.send(Ok(answer)).await.expect("the client reads");
    }

    /// Ends the call with a status.
    pub(crate) async fn end(self, status: Status) {
        self.answers.send(Err(status)).await.expect("the client reads");
    }
}

pub(crate) type Produce = Call<v1::ProduceRequest, v1::ProduceResponse>;
pub(crate) type Consume = Call<v1::ConsumeRequest, v1::ConsumeResponse>;

/// The calls that come in.
pub(crate) struct FakeServer {
    pub(crate) produces: mpsc::Receiver<Produce>,
    pub(crate) consumes: mpsc::Receiver<Consume>,
}

impl FakeServer {
    /// A server on a free port of loopback, and a client that is connected to it.
    pub(crate) async fn start() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (produce, produces) = mpsc::channel(4);
        let (consume, consumes) = mpsc::channel(4);
        let service = LogServer::new(Service { produce, consume });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let client = Client::connect(&address.to_string()).await.expect("it listens");
        (Self { produces, consumes }, client)
    }
}

struct Service {
    produce: mpsc::Sender<Produce>,
    consume: mpsc::Sender<Consume>,
}

type Answers<A> = BoxStream<'static, Result<A, Status>>;

/// Hands the call to the test; the answers are what the test says.
async fn hand_over<Q, A: Send + 'static>(
    to: &mpsc::Sender<Call<Q, A>>,
    request: Request<Streaming<Q>>,
) -> Result<Response<Answers<A>>, Status> {
    let (answers, mut receiver) = mpsc::channel(16);
    let call = Call { requests: request.into_inner(), answers };
    to.send(call).await.map_err(|_| Status::aborted("the test is over"))?;
    Ok(Response::new(Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx)))))
}

#[tonic::async_trait]
impl Log for Service {
    type ProduceStream = Answers<v1::ProduceResponse>;
    type ConsumeStream = Answers<v1::ConsumeResponse>;

    async fn produce(
        &self,
        request: Request<Streaming<v1::ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        hand_over(&self.produce, request).await
    }

    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        hand_over(&self.consume, request).await
    }

    async fn init_producer(
        &self,
        _: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        Ok(Response::new(v1::InitProducerResponse { producer_id: 1, producer_epoch: 0 }))
    }

    async fn publish(&self, _: Request<v1::PublishRequest>) -> Result<Response<v1::PublishResponse>, Status> {
        Err(Status::unimplemented("no test needs it"))
    }
}
