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
//! | to look after consumer groups | [`Client::groups`] |
//! | to send records | [`Client::producer`], [`Producer`] |
//! | to read records | [`Client::consumer`], [`Consumer`] |
//! | to share the reading with others | [`Client::group_consumer`], [`GroupConsumer`] |
//! | to know the brokers | [`Client::cluster`] |
//!
//! The producer is Kafka's: batches gather for each partition (`batch_size`, `linger`), are compressed, and are numbered, so that what is
//! sent again after a break is appended once and in its place; `delivery_timeout` bounds all attempts together.
//!
//! ```no_run
//! # async fn example(client: millrace_client::Client) -> Result<(), millrace_client::Error> {
//! use millrace_client::{Compression, Record};
//! use std::time::Duration;
//!
//! let producer = client
//!     .producer()
//!     .compression(Compression::Zstd)
//!     .linger(Duration::from_millis(20))
//!     .partitioner(|record, partitions| record.headers.len() as i32 % partitions)
//!     .build();
//! for n in 0..1000 {
//!     // The delivery may be dropped: `flush` waits for all of them.
//!     let _ = producer.send(Record::new("numbers").value(n.to_string())).await?;
//! }
//! producer.flush().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The consumer reads partitions that it is given, ahead of the application by as much as its window allows.
//!
//! ```no_run
//! # async fn example(client: millrace_client::Client) -> Result<(), millrace_client::Error> {
//! use millrace_client::Start;
//! use std::time::Duration;
//!
//! let mut consumer = client.consumer().assign("numbers", 0, Start::Offset(500)).max_poll_records(100).build();
//! for record in consumer.poll(Duration::from_secs(1)).await? {
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! consumer.seek("numbers", 0, Start::Beginning).await?;
//! consumer.pause("numbers", 0).await?;
//! consumer.resume("numbers", 0);
//! # Ok(())
//! # }
//! ```
//!
//! A member of a consumer group reads what the group gives it, and the broker keeps how far the group has come. To ask for more says that
//! what was returned before has been handled; that is committed from time to time, and at the end.
//!
//! ```no_run
//! # async fn example(client: millrace_client::Client) -> Result<(), millrace_client::Error> {
//! let mut member = client.group_consumer("billing").topic("orders").from_beginning().build();
//! while let Some(record) = member.next().await {
//!     println!("{:?}", record?.value);
//!     # break;
//! }
//! member.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/numbers.rs` is a whole program. Everything runs on the caller's tokio runtime, of either flavour. Errors are [`Error`]: a gRPC code, a stable reason,
//! words for people, and whether it is worth trying again.

mod arrived;
mod backoff;
mod client;
mod consumer;
mod error;
mod group_consumer;
mod groups;
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
pub use group_consumer::{GroupConsumer, GroupConsumerBuilder, GroupEvent};
pub use groups::{
    DeletedOffset, Group, GroupMember, GroupOffset, GroupState, GroupSummary, GroupType, Groups, OffsetReset,
    ResetOffset,
};
pub use producer::{Acks, Delivery, Placed, Producer, ProducerBuilder};
pub use record::{Compression, ConsumedRecord, Header, Record, TimestampType};
pub use topics::{DeletedTopic, NewTopic, Partition, Topic, TopicSummary, Topics};
