//! The Rust client over gRPC: producer and consumer as users of Kafka know them.
//!
//! ```no_run
//! use millrace_client::{Acks, Client, NewTopic, Record, Start};
//!
//! # async fn example() -> Result<(), millrace_client::Error> {
//! let client = Client::connect("127.0.0.1:9095").await?;
//! client.topics().create(NewTopic::new("greetings").partitions(3)).await?;
//!
//! let producer = client.producer().acks(Acks::All).build();
//! let delivery = producer.send(Record::new("greetings").key("k").value("hello")).await?;
//! let placed = delivery.await?;
//! println!("partition {}, offset {:?}", placed.partition, placed.offset);
//!
//! let mut consumer = client.consumer().assign_topic("greetings", Start::Beginning).build();
//! while let Some(record) = consumer.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | who wants | takes |
//! |---|---|
//! | topics | [`Client::topics`] |
//! | to send records | [`Client::producer`], [`Producer`] |
//! | to read records | [`Client::consumer`], [`Consumer`] |
//! | to know the brokers | [`Client::cluster`] |
//!
//! Everything runs on the caller's tokio runtime, of either flavour. Errors are [`Error`]: a gRPC code, a stable reason,
//! words for people, and whether it is worth trying again.

mod backoff;
mod client;
mod consumer;
mod error;
mod partitioner;
mod producer;
mod record;
mod topics;

#[cfg(test)]
mod fake_server;

/// The generated stubs.
#[allow(missing_docs, clippy::all)] // the documentation is in the .proto files
mod stubs {
    tonic::include_proto!("millrace.v1");
}

pub use client::{Broker, Client, Cluster, ConnectOptions, Endpoint, Protocol};
pub use consumer::{Consumer, ConsumerBuilder, Position, Start};
pub use error::{Code, Error, Violation};
pub use producer::{Acks, Delivery, Placed, Producer, ProducerBuilder};
pub use record::{Compression, ConsumedRecord, Header, Record, TimestampType};
pub use topics::{DeletedTopic, NewTopic, Partition, Topic, TopicSummary, Topics};
