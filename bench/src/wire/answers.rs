//! Answers to prepared requests, read without allocating: each is about one partition.

use crate::error::{Error, Result};
use crate::wire::prepared::{FETCH_VERSION, PRODUCE_VERSION};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::wire::{DecodeError, Decoder, Malformed};

/// The outcome of a Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The request that is answered.
    pub correlation_id: i32,
    /// The partition.
    pub partition: i32,
    /// The offset of the batch's first record.
    pub base_offset: i64,
}

/// Reads the answer to a Produce request, without the frame's size. An error in it is an error.
pub fn produced(frame: &[u8]) -> Result<Produced> {
    let (produced, code) = decode_produced(frame)
        .map_err(|why| Error::unreadable(format_args!("Produce {PRODUCE_VERSION}"), why))?;
    match code_of(code) {
        ErrorCode::None => Ok(produced),
        code => Err(Error::code(format_args!("Produce to partition {}", produced.partition), code)),
    }
}

fn decode_produced(frame: &[u8]) -> std::result::Result<(Produced, i16), DecodeError> {
    let mut d = Decoder::new(frame);
    let correlation_id = d.i32()?;
    skip_tags(&mut d)?;
    one(&mut d)?;
    d.uuid()?;
    one(&mut d)?;
    let partition = d.i32()?;
    let code = d.i16()?;
    let base_offset = d.i64()?;
    Ok((Produced { correlation_id, partition, base_offset }, code))
}

/// What is in front of the records in the answer to a Fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The request that is answered.
    pub correlation_id: i32,
    /// The partition.
    pub partition: i32,
    /// Bytes in front of the records, without the frame's size.
    pub head: usize,
    /// Bytes of records.
    pub records: usize,
}

/// Reads the beginning of the answer to a Fetch request, without the frame's size. `None` when there is too little of it.
pub fn fetched(beginning: &[u8]) -> Result<Option<Fetched>> {
    let asked = format_args!("Fetch {FETCH_VERSION}");
    let (fetched, codes) = match decode_fetched(beginning) {
        Ok(found) => found,
        Err(error) if matches!(error.why, Malformed::Truncated { .. }) => return Ok(None),
        Err(why) => return Err(Error::unreadable(asked, why)),
    };
    match codes.map(code_of).into_iter().find(|code| *code != ErrorCode::None) {
        Some(code) => Err(Error::code(format_args!("Fetch of partition {}", fetched.partition), code)),
        None => Ok(Some(fetched)),
    }
}

fn decode_fetched(beginning: &[u8]) -> std::result::Result<(Fetched, [i16; 2]), DecodeError> {
    let mut d = Decoder::new(beginning);
    let correlation_id = d.i32()?;
    // No tagged fields are known here, and counts are compared, not used.
    none(&mut d)?;
    d.i32()?;
    let code = d.i16()?;
    d.i32()?;
    one(&mut d)?;
    d.uuid()?;
    one(&mut d)?;
    let partition = d.i32()?;
    let of_partition = d.i16()?;
    d.take(3 * 8)?;
    // Aborted transactions: none, which is said as null or as an empty list.
    if d.uvarint()? > 1 {
        return Err(d.error(Malformed::Null));
    }
    d.i32()?;
    let records = (d.uvarint()? as usize).saturating_sub(1);
    let head = beginning.len() - d.left();
    Ok((Fetched { correlation_id, partition, head, records }, [code, of_partition]))
}

/// A list of one.
fn one(d: &mut Decoder<'_>) -> std::result::Result<(), DecodeError> {
    match d.uvarint()? {
        2 => Ok(()),
        count => Err(d.error(Malformed::TooMany { count: count.saturating_sub(1) as usize, left: d.left() })),
    }
}

fn none(d: &mut Decoder<'_>) -> std::result::Result<(), DecodeError> {
    match d.uvarint()? {
        0 => Ok(()),
        count => Err(d.error(Malformed::TooMany { count: count as usize, left: d.left() })),
    }
}

fn skip_tags(d: &mut Decoder<'_>) -> std::result::Result<(), DecodeError> {
    d.tagged_fields(|_, _| Ok(false))
}

fn code_of(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::kafka::header::encode_response;
    use millrace_proto::kafka::messages::fetch::{
        FetchResponse, FetchableTopicResponse, PartitionData, Records,
    };
    use millrace_proto::kafka::messages::produce::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use uuid::Uuid;

    fn produce_answer(error_code: ErrorCode, partitions: usize) -> Vec<u8> {
        let partition = PartitionProduceResponse {
            index: 9,
            error_code,
            base_offset: 1_600,
            ..PartitionProduceResponse::default()
        };
        let topic = TopicProduceResponse {
            topic_id: Uuid::from_u128(1),
            partition_responses: vec![partition; partitions],
            ..TopicProduceResponse::default()
        };
        let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
        encode_response(PRODUCE_VERSION, 33, &response).unwrap().head[4..].to_vec()
    }

    #[test]
    fn an_acknowledgement_says_where_the_batch_is() {
        let frame = produce_answer(ErrorCode::None, 1);
        assert_eq!(
            produced(&frame).unwrap(),
            Produced { correlation_id: 33, partition: 9, base_offset: 1_600 }
        );
        assert!(produced(&frame[..20]).is_err());
        assert!(produced(&produce_answer(ErrorCode::None, 2)).is_err(), "one partition was asked");
        let refused = produced(&produce_answer(ErrorCode::KafkaStorageError, 1)).unwrap_err().to_string();
        assert!(refused.contains("KAFKA_STORAGE_ERROR") && refused.contains("partition 9"), "{refused}");
    }

    fn fetch_answer(error_code: ErrorCode, records: &[u8]) -> Vec<u8> {
        let partition = PartitionData {
            partition_index: 4,
            error_code,
            high_watermark: 50,
            records: Records::Bytes(records),
            aborted_transactions: None,
            ..PartitionData::default()
        };
        let topic = FetchableTopicResponse {
            topic_id: Uuid::from_u128(1),
            partitions: vec![partition],
            ..FetchableTopicResponse::default()
        };
        let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
        encode_response(FETCH_VERSION, 21, &response).unwrap().head[4..].to_vec()
    }

    #[test]
    fn records_are_found_behind_what_was_read() {
        let records = vec![0xee; 70_000];
        let frame = fetch_answer(ErrorCode::None, &records);
        let found = fetched(&frame).unwrap().unwrap();
        assert_eq!((found.correlation_id, found.partition, found.records), (21, 4, 70_000));
        assert_eq!(frame[found.head..found.head + found.records], records);
        for short in 0..found.head {
            assert_eq!(fetched(&frame[..short]).unwrap(), None, "{short}");
        }
        assert_eq!(fetched(&frame[..found.head]).unwrap(), Some(found));
    }

    #[test]
    fn an_empty_answer_is_no_error_and_an_error_is() {
        let found = fetched(&fetch_answer(ErrorCode::None, &[])).unwrap().unwrap();
        assert_eq!(found.records, 0);
        let error = fetched(&fetch_answer(ErrorCode::OffsetOutOfRange, &[])).unwrap_err().to_string();
        assert!(error.contains("OFFSET_OUT_OF_RANGE"), "{error}");
    }
}
