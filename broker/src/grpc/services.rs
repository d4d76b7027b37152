//! Which path is served by whom.

use super::backend::Backend;
use super::call::Call;
use super::health::Health;
use super::limits::Limits;
use super::reflection::Reflection;
use super::status::{Code, Status};
use super::{cluster, consume, group_reset, groups, produce, topics};
use millrace_proto::grpc::v1;
use std::rc::Rc;
use std::time::Duration;

/// Every method of the port, as metrics name it.
const METHODS: [&str; 22] = [
    "millrace.v1.Log/Produce",
    "millrace.v1.Log/InitProducer",
    "millrace.v1.Log/Publish",
    "millrace.v1.Log/Consume",
    "millrace.v1.Topics/Create",
    "millrace.v1.Topics/AlterConfigs",
    "millrace.v1.Topics/AddPartitions",
    "millrace.v1.Topics/DeleteRecords",
    "millrace.v1.Topics/Delete",
    "millrace.v1.Topics/List",
    "millrace.v1.Topics/Describe",
    "millrace.v1.Groups/List",
    "millrace.v1.Groups/Describe",
    "millrace.v1.Groups/ResetOffsets",
    "millrace.v1.Groups/DeleteOffsets",
    "millrace.v1.Groups/Delete",
    "millrace.v1.Cluster/Describe",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Every service of the port.
pub(super) struct Services<B>(Rc<Parts<B>>);

struct Parts<B> {
    backend: B,
    limits: Limits,
    health: Health,
    reflection: Reflection,
}

impl<B> Clone for Services<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> Services<B> {
    pub(super) fn new(backend: B, limits: &Limits) -> Self {
        let reflection = Reflection::new();
        let health = Health::new(reflection.services());
        Self(Rc::new(Parts { backend, limits: limits.clone(), health, reflection }))
    }

    pub(super) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Tells the broker that a call has ended: with nothing, with a failure, or, with `None`, because it was cancelled.
    pub(super) fn ended(&self, path: &str, outcome: Option<&Result<(), Status>>, took: Duration) {
        let method = METHODS.iter().copied().find(|method| path.strip_prefix('/') == Some(method));
        let reason = match outcome {
            None => Some("CANCELLED"),
            Some(Ok(())) => None,
            Some(Err(status)) => Some(status.info.as_ref().map_or("UNKNOWN", |info| info.reason)),
        };
        self.0.backend.call_ended(method.unwrap_or("unknown"), reason, took);
    }

    /// Serves a call to its end.
    pub(super) async fn serve(&self, call: Call) -> Result<(), Status> {
        let Parts { backend, limits, health, reflection } = &*self.0;
        let path = call.path.clone();
        match &*path {
            "/millrace.v1.Log/Produce" => produce::produce(backend, limits, call).await,
            "/millrace.v1.Log/InitProducer" => {
                call.unary(async |_: v1::InitProducerRequest| produce::init_producer(backend).await).await
            }
            "/millrace.v1.Log/Publish" => produce::publish(backend, call).await,
            "/millrace.v1.Log/Consume" => consume::consume(backend, limits, call).await,
            "/millrace.v1.Topics/Create" => {
                call.unary(async |request| topics::create(backend, request).await).await
            }
            "/millrace.v1.Topics/AlterConfigs" => {
                call.unary(async |request| topics::alter_configs(backend, request).await).await
            }
            "/millrace.v1.Topics/AddPartitions" => {
                call.unary(async |request| topics::add_partitions(backend, request).await).await
            }
            "/millrace.v1.Topics/DeleteRecords" => {
                call.unary(async |request| topics::delete_records(backend, request).await).await
            }
            "/millrace.v1.Topics/Delete" => {
                call.unary(async |request| topics::delete(backend, request).await).await
            }
            "/millrace.v1.Topics/List" => call.unary(async |request| topics::list(backend, request)).await,
            "/millrace.v1.Topics/Describe" => {
                call.unary(async |request| topics::describe(backend, request).await).await
            }
            "/millrace.v1.Groups/List" => {
                call.unary(async |request| groups::list(backend, request).await).await
            }
            "/millrace.v1.Groups/Describe" => {
                call.unary(async |request| groups::describe(backend, request).await).await
            }
            "/millrace.v1.Groups/ResetOffsets" => {
                call.unary(async |request| group_reset::reset(backend, request).await).await
            }
            "/millrace.v1.Groups/DeleteOffsets" => {
                call.unary(async |request| groups::delete_offsets(backend, request).await).await
            }
            "/millrace.v1.Groups/Delete" => {
                call.unary(async |request| groups::delete(backend, request).await).await
            }
            "/millrace.v1.Cluster/Describe" => {
                call.unary(async |request| Ok(cluster::describe(backend, request))).await
            }
            "/grpc.health.v1.Health/Check" => call.unary(async |request| health.check(request)).await,
            "/grpc.health.v1.Health/List" => call.unary(async |request| Ok(health.list(request))).await,
            "/grpc.health.v1.Health/Watch" => health.watch(call).await,
            // v1alpha has the same messages under another package name; older tools ask for it.
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
                reflection.serve(call).await
            }
            path => Err(unknown(path)),
        }
    }
}

fn unknown(path: &str) -> Status {
    Status::new(Code::Unimplemented, format!("there is no method {path}; ask reflection for those there are"))
        .because("UNKNOWN_METHOD")
}
