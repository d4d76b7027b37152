//! The Rust client over gRPC: producer and consumer as users of Kafka know them.
