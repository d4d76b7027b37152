//! Records: as they are sent, and as they are read.

use bytes::Bytes;
use std::sync::Arc;

/// A name and a value that travel with a record. A missing value is null, which is not the same as empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name; may be empty, and may repeat.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A record to send.
///
/// ```
/// # use millrace_client::Record;
/// let record = Record::new("orders").key("customer-7").value("one espresso").header("trace", "a1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The partition; `None` leaves it to the producer's partitioner.
    pub partition: Option<i32>,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// In this order.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; `None` is the time at which it is handed over.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record for a topic, with null key and value.
    pub fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    /// With this key.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// With one more header.
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }

    /// For this partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this time, in milliseconds since 1970.
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// About how many bytes it takes on the way.
    pub(crate) fn size(&self) -> usize {
        /// Lengths, tags and numbers, generously.
        const OVERHEAD: usize = 32;
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|h| h.key.len() + length(&h.value) + OVERHEAD);
        OVERHEAD + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

pub use millrace_proto::compression::Codec as Compression;

/// What a timestamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// There is none.
    None,
    /// The producer's time.
    CreateTime,
    /// The broker's time when it appended the record.
    LogAppendTime,
}

/// A record as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if it has none.
    pub timestamp_ms: i64,
    /// What the timestamp says.
    pub timestamp_type: TimestampType,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// In the producer's order.
    pub headers: Vec<Header>,
    /// The leader epoch in which it was appended, if known.
    pub leader_epoch: Option<i32>,
}
