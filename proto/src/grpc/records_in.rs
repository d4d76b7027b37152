//! Records to append, read where they lie in an encoded `ProduceRequest` or `PublishRequest`.
//!
//! The generated messages of the same name make a value of every record: hostile input of two bytes a record would
//! take fifty times its size. These views borrow, allocate nothing per record, and agree with the generated
//! messages about what the bytes say.

use super::v1::{ProduceOptions, ProducerSequence};
use crate::batch::RecordHeader;
use prost::Message;

/// The most headers of one record: far more than anybody sends, and little memory.
pub const MAX_HEADERS: usize = 65_536;

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field begins and does not end.
    #[error("it ends in the middle of a field")]
    CutShort,
    /// A tag or number is no varint.
    #[error("a number is longer than it may be")]
    Varint,
    /// A field has a wire type that it cannot have.
    #[error("field {0} has the wrong wire type")]
    WireType(u32),
    /// Text that is none.
    #[error("field {0} is not UTF-8")]
    Text(u32),
    /// A message within is not what it should be.
    #[error("field {0} is not the message it should be")]
    Nested(u32),
    /// More headers than a record may have.
    #[error("a record has more than {MAX_HEADERS} headers")]
    Headers,
}

/// The fields of an encoded message.
#[derive(Debug, Clone)]
struct Fields<'a>(&'a [u8]);

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                if index == 9 && *byte > 1 {
                    return Err(Malformed::Varint);
                }
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(if self.0.len() < 10 { Malformed::CutShort } else { Malformed::Varint })
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed::CutShort)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::CutShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed::Varint)?;
        let tag = key >> 3;
        let value = match key & 7 {
            _ if tag == 0 => return Err(Malformed::WireType(tag)),
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed::WireType(tag)),
        };
        Ok((tag, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Value<'a> {
    fn bytes(self, tag: u32) -> Result<&'a [u8], Malformed> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed::WireType(tag)) }
    }

    fn text(self, tag: u32) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(tag)?).map_err(|_| Malformed::Text(tag))
    }

    fn int64(self, tag: u32) -> Result<i64, Malformed> {
        if let Value::Varint(number) = self { Ok(number as i64) } else { Err(Malformed::WireType(tag)) }
    }

    fn int32(self, tag: u32) -> Result<i32, Malformed> {
        self.int64(tag).map(|number| number as i32)
    }
}

/// An encoded `ProduceRequest`.
#[derive(Debug, Clone)]
pub struct ProduceRequest<'a> {
    /// How the stream's batches are appended, if it says.
    pub options: Option<ProduceOptions>,
    fields: Fields<'a>,
}

impl<'a> ProduceRequest<'a> {
    /// Reads everything but the batches.
    ///
    /// # Errors
    /// When the bytes are not such a message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Fields(bytes);
        let mut options: Option<ProduceOptions> = None;
        for field in fields.clone() {
            match field? {
                (1, value) => options
                    .get_or_insert_default()
                    .merge(value.bytes(1)?)
                    .map_err(|_| Malformed::Nested(1))?,
                (2, value) => drop(value.bytes(2)?),
                _ => {}
            }
        }
        Ok(Self { options, fields })
    }

    /// The batches, in order.
    pub fn batches(&self) -> impl Iterator<Item = Result<ProduceBatch<'a>, Malformed>> + use<'a> {
        nested(self.fields.clone(), 2).map(|bytes| ProduceBatch::parse(bytes?))
    }
}

/// An encoded `ProduceBatch`.
#[derive(Debug, Clone)]
pub struct ProduceBatch<'a> {
    /// The client's id for it.
    pub id: i64,
    /// The topic's name.
    pub topic: &'a str,
    /// The partition of records that name none.
    pub partition: Option<i32>,
    /// What to append.
    pub records: Records<'a>,
    /// Which batch of an idempotent producer it is.
    pub sequence: Option<ProducerSequence>,
    /// A whole Kafka record batch instead of records.
    pub record_batch: Option<&'a [u8]>,
}

impl<'a> ProduceBatch<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Fields(bytes);
        let records = Records { fields: fields.clone(), tag: 4 };
        let mut batch =
            Self { id: 0, topic: "", partition: None, records, sequence: None, record_batch: None };
        for field in fields {
            match field? {
                (1, value) => batch.id = value.int64(1)?,
                (2, value) => batch.topic = value.text(2)?,
                (3, value) => batch.partition = Some(value.int32(3)?),
                (4, value) => drop(value.bytes(4)?),
                (5, value) => batch
                    .sequence
                    .get_or_insert_default()
                    .merge(value.bytes(5)?)
                    .map_err(|_| Malformed::Nested(5))?,
                (6, value) => batch.record_batch = Some(value.bytes(6)?),
                _ => {}
            }
        }
        Ok(batch)
    }
}

/// An encoded `PublishRequest`.
#[derive(Debug, Clone)]
pub struct PublishRequest<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition of records that name none.
    pub partition: Option<i32>,
    /// What to append.
    pub records: Records<'a>,
    /// When they count as appended, as in [`ProduceOptions`].
    pub acks: i32,
    /// As in [`ProduceOptions`].
    pub timeout_ms: Option<i32>,
}

impl<'a> PublishRequest<'a> {
    /// Reads everything but the records.
    ///
    /// # Errors
    /// When the bytes are not such a message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Fields(bytes);
        let records = Records { fields: fields.clone(), tag: 3 };
        let mut request = Self { topic: "", partition: None, records, acks: 0, timeout_ms: None };
        for field in fields {
            match field? {
                (1, value) => request.topic = value.text(1)?,
                (2, value) => request.partition = Some(value.int32(2)?),
                (3, value) => drop(value.bytes(3)?),
                (4, value) => request.acks = value.int32(4)?,
                (5, value) => request.timeout_ms = Some(value.int32(5)?),
                _ => {}
            }
        }
        Ok(request)
    }
}

/// The records of a batch.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    fields: Fields<'a>,
    tag: u32,
}

impl<'a> Records<'a> {
    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record<'a>, Malformed>> + use<'a> {
        nested(self.fields.clone(), self.tag).map(|bytes| Record::parse(bytes?))
    }
}

/// The occurrences of one field of bytes.
fn nested<'a>(fields: Fields<'a>, tag: u32) -> impl Iterator<Item = Result<&'a [u8], Malformed>> + use<'a> {
    fields.filter_map(move |field| match field {
        Ok((found, value)) if found == tag => Some(value.bytes(tag)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// An encoded `Record`.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch, if given.
    pub timestamp_ms: Option<i64>,
    /// The partition, if named.
    pub partition: Option<i32>,
    fields: Fields<'a>,
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Fields(bytes);
        let mut record =
            Self { key: None, value: None, timestamp_ms: None, partition: None, fields: fields.clone() };
        for field in fields {
            match field? {
                (1, value) => record.key = Some(value.bytes(1)?),
                (2, value) => record.value = Some(value.bytes(2)?),
                (3, value) => drop(value.bytes(3)?),
                (4, value) => record.timestamp_ms = Some(value.int64(4)?),
                (5, value) => record.partition = Some(value.int32(5)?),
                _ => {}
            }
        }
        Ok(record)
    }

    /// Replaces the content of `into` with the headers, in order.
    ///
    /// # Errors
    /// When one is not what it should be, or there are more than [`MAX_HEADERS`].
    pub fn headers(&self, into: &mut Vec<RecordHeader<'a>>) -> Result<(), Malformed> {
        into.clear();
        for bytes in nested(self.fields.clone(), 3) {
            if into.len() == MAX_HEADERS {
                return Err(Malformed::Headers);
            }
            let mut header = RecordHeader { key: &[], value: None };
            for field in Fields(bytes?) {
                match field? {
                    (1, value) => header.key = value.text(1)?.as_bytes(),
                    (2, value) => header.value = Some(value.bytes(2)?),
                    _ => {}
                }
            }
            into.push(header);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::v1;
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from))
    }

    prop_compose! {
        fn header()(key in "[a-zä]{0,5}", value in bytes()) -> v1::Header {
            v1::Header { key, value }
        }
    }

    prop_compose! {
        fn record()(key in bytes(), value in bytes(), headers in vec(header(), 0..3),
                    timestamp_ms in option::of(any::<i64>()), partition in option::of(any::<i32>())) -> v1::Record {
            v1::Record { key, value, headers, timestamp_ms, partition }
        }
    }

    prop_compose! {
        fn batch()(id in any::<i64>(), topic in "[a-zä]{0,9}", partition in option::of(any::<i32>()),
                   records in vec(record(), 0..5), sequence in option::of(any::<(i64, i32, i32)>()),
                   record_batch in bytes()) -> v1::ProduceBatch {
            let sequence = sequence.map(|(producer_id, producer_epoch, base_sequence)| ProducerSequence {
                producer_id, producer_epoch, base_sequence,
            });
            v1::ProduceBatch { id, topic, partition, records, sequence, record_batch }
        }
    }

    fn owned(record: &Record<'_>) -> Result<v1::Record, Malformed> {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let mut headers = Vec::new();
        record.headers(&mut headers)?;
        let headers = headers
            .iter()
            .map(|h| v1::Header { key: String::from_utf8_lossy(h.key).into_owned(), value: copy(h.value) })
            .collect();
        let (key, value) = (copy(record.key), copy(record.value));
        Ok(v1::Record { key, value, headers, timestamp_ms: record.timestamp_ms, partition: record.partition })
    }

    fn all(records: &Records<'_>) -> Result<Vec<v1::Record>, Malformed> {
        records.iter().map(|record| owned(&record?)).collect()
    }

    fn decode(bytes: &[u8]) -> Result<v1::ProduceRequest, Malformed> {
        let request = ProduceRequest::parse(bytes)?;
        let batches = request.batches().map(|batch| {
            let ProduceBatch { id, topic, partition, records, sequence, record_batch } = batch?;
            let (topic, records) = (topic.to_owned(), all(&records)?);
            let record_batch = record_batch.map(Bytes::copy_from_slice);
            Ok(v1::ProduceBatch { id, topic, partition, records, sequence, record_batch })
        });
        Ok(v1::ProduceRequest { options: request.options, batches: batches.collect::<Result<_, _>>()? })
    }

    proptest! {
        #[test]
        fn says_what_the_generated_message_says(batches in vec(batch(), 0..4), acks in option::of(0..4)) {
            let options = acks.map(|acks| v1::ProduceOptions { acks, timeout_ms: Some(5) });
            let request = v1::ProduceRequest { options, batches };
            prop_assert_eq!(decode(&request.encode_to_vec()), Ok(request));
        }

        #[test]
        fn publish_too(topic in "[a-z]{0,9}", partition in option::of(any::<i32>()), records in vec(record(), 0..5)) {
            let request = v1::PublishRequest { topic, partition, records, acks: 3, timeout_ms: Some(-1) };
            let bytes = request.encode_to_vec();
            let view = PublishRequest::parse(&bytes).expect("encoded above");
            prop_assert_eq!((view.topic, view.partition, view.acks, view.timeout_ms),
                            (request.topic.as_str(), request.partition, 3, Some(-1)));
            prop_assert_eq!(all(&view.records), Ok(request.records));
        }

        #[test]
        fn accepts_nothing_that_the_generated_message_refuses(
            batches in vec(batch(), 1..3), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>(),
        ) {
            let mut bytes = v1::ProduceRequest { options: None, batches }.encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if cut {
                bytes.truncate(at);
            }
            if let Ok(ours) = decode(&bytes) {
                let theirs = v1::ProduceRequest::decode(&bytes[..]).expect("ours accepted it");
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn too_many_headers_are_refused() {
        let headers = vec![v1::Header::default(); MAX_HEADERS + 1];
        let record = v1::Record { headers, ..Default::default() }.encode_to_vec();
        let record = Record::parse(&record).expect("a record");
        assert_eq!(record.headers(&mut Vec::new()), Err(Malformed::Headers));
    }
}
