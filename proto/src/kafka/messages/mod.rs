//! The messages of each API that is served, one file per API: a request, a response, and the parts they are made of.
//!
//! Names are those of Kafka's schemas, in Rust's spelling. Times are in milliseconds, sizes in bytes.

pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod fetch;
pub mod init_producer_id;
pub mod leadership;
pub mod list_offsets;
pub mod metadata;
pub mod produce;
