//! `grpc.health.v1.Health`: whether the services take calls. All of them do, until the broker stops.

use super::call::{Call, stopping};
use super::status::{Code, Status};
use millrace_proto::grpc::grpc::health::v1::health_check_response::ServingStatus;
use millrace_proto::grpc::grpc::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The state of the services of one core. A handle.
#[derive(Clone)]
pub struct Health(Rc<State>);

struct State {
    services: Vec<String>,
    serving: Cell<bool>,
    watchers: RefCell<Vec<Waker>>,
}

impl Health {
    pub(super) fn new(services: Vec<String>) -> Self {
        Self(Rc::new(State { services, serving: Cell::new(true), watchers: RefCell::default() }))
    }

    /// Whether the services take calls, from now on.
    pub fn set_serving(&self, serving: bool) {
        if self.0.serving.replace(serving) != serving {
            self.0.watchers.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The empty name is the broker as a whole.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let known = service.is_empty() || self.0.services.iter().any(|known| known == service);
        let serving = if self.0.serving.get() { ServingStatus::Serving } else { ServingStatus::NotServing };
        known.then_some(serving)
    }

    pub(super) fn check(&self, request: HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
        let service = request.service;
        self.status(&service).map(response).ok_or_else(|| {
            Status::new(Code::NotFound, format!("there is no service {service:?}")).because("UNKNOWN_SERVICE")
        })
    }

    pub(super) fn list(&self, _: HealthListRequest) -> HealthListResponse {
        let names = std::iter::once("").chain(self.0.services.iter().map(String::as_str));
        let statuses = names.filter_map(|name| Some((name.to_owned(), response(self.status(name)?))));
        HealthListResponse { statuses: statuses.collect() }
    }

    pub(super) async fn watch(&self, mut call: Call) -> Result<(), Status> {
        let request = call.requests.recv::<HealthCheckRequest>().await?.unwrap_or_default();
        let mut told = None;
        loop {
            let status = self.status(&request.service).unwrap_or(ServingStatus::ServiceUnknown);
            if told.replace(status) != Some(status) {
                call.responses.send(&response(status)).await?;
                continue;
            }
            if call.until_stop(self.changed(self.0.serving.get())).await.is_none() {
                return Err(stopping());
            }
        }
    }

    async fn changed(&self, from: bool) {
        poll_fn(|cx| {
            if self.0.serving.get() != from {
                return Poll::Ready(());
            }
            let mut watchers = self.0.watchers.borrow_mut();
            watchers.retain(|waker| !waker.will_wake(cx.waker()));
            watchers.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
