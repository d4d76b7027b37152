//! What the fuzz targets do with their input, as functions, so that ordinary tests can run them as well.

pub mod batch;
pub mod files;
pub mod grpc;
pub mod kafka;
