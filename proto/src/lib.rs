//! Every byte that crosses a wire or rests on disk: Kafka frames, messages, record batches, files, and the .proto files.

pub mod grpc;

pub mod batch;
pub mod compression;
pub mod files;
pub mod kafka;
