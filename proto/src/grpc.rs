//! The gRPC API: the messages of `api/**.proto` as Rust types, and the files themselves as a descriptor set.
//!
//! Messages only: servers and clients bring their own transport. Fields of type `bytes` are [`bytes::Bytes`], slices
//! of the buffer that a message was decoded from. For the hot paths, [`records_in`] and [`records_out`] read and write
//! the messages that carry records without a value per record.

pub mod records_in;
pub mod records_out;

/// Everything in `api/`, with what it imports and with comments: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.binpb"));

/// Standard messages for errors.
#[allow(missing_docs, clippy::all)] // generated; the documentation is in the .proto files
pub mod google {
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
    }
}

/// The standard services.
#[allow(missing_docs, clippy::all)] // as above
pub mod grpc {
    pub mod health {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
        }
    }
    pub mod reflection {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1.rs"));
        }
    }
}

/// Millrace's own API, version 1.
#[allow(missing_docs, clippy::all)] // as above
pub mod millrace {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/millrace.v1.rs"));
    }
}
pub use millrace::v1;
