//! One process: accept, route, drive, reply.

pub mod api;
pub mod broker;
pub mod config;
mod group_lag;
pub mod grpc;
mod grpc_backend;
pub mod http;
mod intake;
pub mod limits;
pub mod metrics;
pub mod moment;
pub mod net;
pub mod shard;
