//! Records that were read, encoded straight into a `ConsumeResponse`: one copy per payload, no allocation per record.

use super::v1;
use crate::batch::{Record, RecordHeader};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::borrow::Cow;

/// Bytes in front of every gRPC message: a flag and a big-endian length.
pub const PREFIX: usize = 5;
/// What a response takes at most around its sets: the gRPC prefix, the fields `records` and `bytes`.
const RESPONSE_HEAD: usize = PREFIX + 1 + 10 + 1 + 10;
/// What a set takes at most around its records and the topic's name.
const SET_HEAD: usize = 1 + 10 + (1 + 10) + 4 * (1 + 10) + (1 + 10);

/// The gRPC prefix of an uncompressed message of `len` bytes.
pub fn prefix(len: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// Collects the records of one `RecordSet`.
#[derive(Debug)]
pub struct SetWriter {
    /// Room for the heads, then encoded records.
    buffer: BytesMut,
    head_room: usize,
    /// What the set says besides its records. `next_offset` is kept up to date by [`push`](Self::push).
    pub head: v1::RecordSet,
}

impl SetWriter {
    /// An empty set with room for about `bytes` of records.
    pub fn new(head: v1::RecordSet, bytes: usize) -> Self {
        let head_room = RESPONSE_HEAD + SET_HEAD + head.topic.len();
        let mut buffer = BytesMut::with_capacity(head_room + bytes);
        buffer.put_bytes(0, head_room);
        Self { buffer, head_room, head }
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.len() == self.head_room
    }

    /// The most bytes that the set takes of a response, and the response's own with it.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that a record takes in a set.
    pub fn record_size(record: &Record<'_>) -> usize {
        field_size(7, body_size(record))
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record<'_>) {
        let size = body_size(record);
        let out = &mut self.buffer;
        out.reserve(field_size(7, size));
        put_head(out, 7, size);
        put_int64(out, 1, record.offset);
        put_int64(out, 2, record.timestamp);
        put_bytes(out, 3, record.key);
        put_bytes(out, 4, record.value);
        for header in record.headers.clone() {
            let key = text(&header);
            put_head(out, 5, header_size(&key, header.value));
            if !key.is_empty() {
                put_bytes(out, 1, Some(key.as_bytes()));
            }
            put_bytes(out, 2, header.value);
        }
        self.head.next_offset = record.offset + 1;
    }
}

/// A `ConsumeResponse` with whole record batches instead of records, in two pieces per set, the second of which is the batches as they
/// were given; and what it takes from the credit. The heads say everything but the batches.
pub fn batches_response(sets: Vec<(v1::RecordSet, Bytes)>) -> (Vec<Bytes>, usize) {
    let heads: Vec<Vec<u8>> = sets.iter().map(|(head, _)| head.encode_to_vec()).collect();
    let size = |(head, (_, batches)): (&Vec<u8>, &(_, Bytes))| head.len() + field_size(8, batches.len());
    let sizes: Vec<usize> = heads.iter().zip(&sets).map(size).collect();
    let credit: usize = sizes.iter().sum();
    let records_size =
        int64_size(1, credit as i64) + sizes.iter().map(|size| field_size(2, *size)).sum::<usize>();
    let mut front = BytesMut::with_capacity(RESPONSE_HEAD + SET_HEAD);
    front.put_slice(&prefix(u32::try_from(field_size(2, records_size)).unwrap_or(u32::MAX)));
    put_head(&mut front, 2, records_size);
    put_int64(&mut front, 1, credit as i64);
    let mut pieces = Vec::with_capacity(2 * sets.len());
    for (((_, batches), head), size) in sets.into_iter().zip(&heads).zip(sizes) {
        put_head(&mut front, 2, size);
        front.put_slice(head);
        put_head(&mut front, 8, batches.len());
        pieces.push(front.split().freeze());
        pieces.push(batches);
    }
    (pieces, credit)
}

/// The most bytes that whole batches take of a response, and the response's own with them, beside the topic's name and the batches.
pub const BATCHES_HEAD: usize = RESPONSE_HEAD + SET_HEAD + 1 + 10;

/// A `ConsumeResponse` with `records`, and with its gRPC prefix, in one piece per set; and what it takes from the
/// credit.
pub fn response(sets: Vec<SetWriter>) -> (Vec<Bytes>, usize) {
    let heads: Vec<Vec<u8>> = sets.iter().map(|set| set.head.encode_to_vec()).collect();
    let sizes: Vec<usize> =
        sets.iter().zip(&heads).map(|(set, head)| head.len() + set.buffer.len() - set.head_room).collect();
    let credit: usize = sizes.iter().sum();
    let records_size =
        int64_size(1, credit as i64) + sizes.iter().map(|size| field_size(2, *size)).sum::<usize>();
    let response_size = field_size(2, records_size);
    let mut front = BytesMut::with_capacity(RESPONSE_HEAD + SET_HEAD);
    // Responses are cut to some MiB, or hold one record of a batch, whose size is an i32.
    front.put_slice(&prefix(u32::try_from(response_size).unwrap_or(u32::MAX)));
    put_head(&mut front, 2, records_size);
    put_int64(&mut front, 1, credit as i64);
    let pieces = sets.into_iter().zip(&heads).zip(sizes).map(|((mut set, head), size)| {
        put_head(&mut front, 2, size);
        front.put_slice(head);
        let start = set.head_room - front.len();
        set.buffer[start..set.head_room].copy_from_slice(&front);
        front.clear();
        set.buffer.split_off(start).freeze()
    });
    (pieces.collect(), credit)
}

/// A header's name; what is not UTF-8 in it is replaced, as a protobuf string cannot carry it.
fn text<'a>(header: &RecordHeader<'a>) -> Cow<'a, str> {
    String::from_utf8_lossy(header.key)
}

fn body_size(record: &Record<'_>) -> usize {
    let headers =
        record.headers.clone().map(|header| field_size(5, header_size(&text(&header), header.value)));
    int64_size(1, record.offset)
        + int64_size(2, record.timestamp)
        + bytes_size(3, record.key)
        + bytes_size(4, record.value)
        + headers.sum::<usize>()
}

fn header_size(key: &str, value: Option<&[u8]>) -> usize {
    let key = if key.is_empty() { 0 } else { field_size(1, key.len()) };
    key + bytes_size(2, value)
}

/// A length-delimited field of `len` bytes.
fn field_size(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn bytes_size(tag: u32, bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, |bytes| field_size(tag, bytes.len()))
}

/// Zero is not sent.
fn int64_size(tag: u32, number: i64) -> usize {
    if number == 0 { 0 } else { key_len(tag) + encoded_len_varint(number as u64) }
}

fn put_head(out: &mut BytesMut, tag: u32, len: usize) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn put_bytes(out: &mut BytesMut, tag: u32, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        put_head(out, tag, bytes.len());
        out.put_slice(bytes);
    }
}

fn put_int64(out: &mut BytesMut, tag: u32, number: i64) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number as u64, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Options, records};
    use crate::compression::Caps;

    fn batch() -> BytesMut {
        let mut builder = Builder::new();
        let headers = [RecordHeader { key: b"h", value: None }, RecordHeader { key: b"", value: Some(b"") }];
        builder.push(1000, Some(b"key"), Some(b"value"), &headers).expect("fits");
        builder.push(0, None, None, &[]).expect("fits");
        builder
            .push(-1, Some(b""), Some(&[7; 300]), &[RecordHeader { key: b"\xff", value: Some(b"x") }])
            .expect("fits");
        builder.finish(&Options { base_offset: 128, ..Options::default() }).expect("three records")
    }

    fn set(topic: &str, batch: &[u8]) -> SetWriter {
        let head = v1::RecordSet {
            topic: topic.to_owned(),
            partition: i32::MAX,
            leader_epoch: Some(i32::MAX),
            timestamp_type: 1,
            high_watermark: i64::MAX,
            next_offset: 0,
            ..v1::RecordSet::default()
        };
        let mut writer = SetWriter::new(head, 0);
        assert!(writer.is_empty());
        let mut scratch = Vec::new();
        for record in records(batch, &mut scratch, &Caps::default()).expect("a batch") {
            let record = record.expect("a record");
            let before = writer.size();
            writer.push(&record);
            assert_eq!(writer.size() - before, SetWriter::record_size(&record));
        }
        writer
    }

    #[test]
    fn the_generated_message_reads_it() {
        let batch = batch();
        let sets = vec![set("t", &batch), set(&"n".repeat(249), &batch)];
        let bound: usize = sets.iter().map(SetWriter::size).sum();
        let (pieces, credit) = response(sets);
        assert_eq!(pieces.len(), 2);
        let bytes = pieces.concat();
        assert!(bytes.len() <= bound);
        assert_eq!(bytes[..PREFIX], prefix((bytes.len() - PREFIX) as u32));
        let response = v1::ConsumeResponse::decode(&bytes[PREFIX..]).expect("a response");
        assert_eq!(response.encode_to_vec(), bytes[PREFIX..], "canonical, as the generated code writes it");
        let Some(v1::consume_response::Event::Records(records)) = response.event else {
            panic!("not records")
        };
        assert_eq!(records.bytes as usize, credit);
        assert_eq!(records.sets.iter().map(Message::encoded_len).sum::<usize>(), credit);
        let set = &records.sets[1];
        assert_eq!((set.next_offset, set.high_watermark, set.leader_epoch), (131, i64::MAX, Some(i32::MAX)));
        let first = &set.records[0];
        assert_eq!((first.offset, first.timestamp_ms), (128, 1000));
        assert_eq!((first.key.as_deref(), first.value.as_deref()), (Some(&b"key"[..]), Some(&b"value"[..])));
        let headers = [("h", None), ("", Some(&b""[..]))];
        assert!(first.headers.iter().map(|h| (h.key.as_str(), h.value.as_deref())).eq(headers));
        let second = &set.records[1];
        assert_eq!((&second.key, &second.value, second.timestamp_ms), (&None, &None, 0));
        let third = &set.records[2];
        assert_eq!((third.key.as_deref(), third.timestamp_ms), (Some(&b""[..]), -1));
        assert_eq!(third.headers[0].key, "\u{fffd}");
    }
}
