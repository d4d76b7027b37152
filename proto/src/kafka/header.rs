//! What stands in front of every request and response body, and whole frames of header and body.
//!
//! Requests have header version 1, or 2 (with tagged fields) from each API's first flexible version; the client id has
//! its classic form in both. Responses have version 0 or 1 likewise, but ApiVersions is always answered with version 0.

use bytes::BytesMut;

use super::api::{self, ApiKey, Request, Response};
use super::message::UnsupportedVersion;
use super::wire::{Decode, DecodeError, Decoder, Encode, EncodedFrame, Encoder, Version};

/// Bytes reserved for a frame at first; most responses without records fit.
const FIRST_CAPACITY: usize = 512;

const CLASSIC: Version = Version { number: 1, flexible: false };

/// The header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API, as a number: it may be one that nobody knows.
    pub api_key: i16,
    /// The version of the body, which may not be served.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Splits a frame (without its size) into header and body.
    ///
    /// Of an API that is not served, the tagged fields, if there are any, stay in front of the body: it cannot be read
    /// anyway.
    pub fn decode(frame: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut d = Decoder::new(frame);
        let header = Self {
            api_key: d.i16()?,
            api_version: d.i16()?,
            correlation_id: d.i32()?,
            client_id: Decode::decode(&mut d, CLASSIC)?,
        };
        if api::find(header.api_key).is_some_and(|api| api.is_flexible(header.api_version)) {
            d.tagged_fields(|_, _| Ok(false))?;
        }
        Ok((header, d.rest()))
    }

    /// The API by name, if Kafka has it.
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_code(self.api_key)
    }
}

/// Splits a response frame (without its size) into correlation id and body.
pub fn decode_response_header<R: Response>(frame: &[u8], version: i16) -> Result<(i32, &[u8]), DecodeError> {
    let mut d = Decoder::new(frame);
    let correlation_id = d.i32()?;
    if has_response_tags::<R>(version) {
        d.tagged_fields(|_, _| Ok(false))?;
    }
    Ok((correlation_id, d.rest()))
}

/// A whole response frame, in a version that is served.
///
/// # Panics
/// When the response, holes included, is 2 GiB or larger, which Kafka's size cannot say: answers are bounded long before.
pub fn encode_response<R: Response>(
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<EncodedFrame, UnsupportedVersion> {
    let v = R::version(version)?;
    let mut e = Encoder::start_frame(FIRST_CAPACITY);
    e.i32(correlation_id);
    if has_response_tags::<R>(version) {
        e.uvarint(0);
    }
    response.encode(&mut e, v);
    Ok(e.into_frame())
}

/// A whole request frame, as clients send it.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<BytesMut, UnsupportedVersion> {
    let v = R::version(version)?;
    let mut e = Encoder::start_frame(FIRST_CAPACITY);
    e.i16(R::KEY.code());
    e.i16(version);
    e.i32(correlation_id);
    client_id.encode(&mut e, CLASSIC);
    if v.flexible {
        e.uvarint(0);
    }
    request.encode(&mut e, v);
    Ok(e.into_frame().head)
}

fn has_response_tags<R: Response>(version: i16) -> bool {
    R::KEY != ApiKey::ApiVersions && version >= R::FLEXIBLE_FROM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::message::Message as _;
    use crate::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
    use crate::kafka::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData, Records};

    fn fetched(records: Records<'_>) -> FetchResponse<'_> {
        let partition = |records| PartitionData { high_watermark: 7, records, ..PartitionData::default() };
        let partitions = vec![partition(records), partition(Records::Bytes(&[])), partition(records)];
        let topic = FetchableTopicResponse { topic: "t", partitions, ..FetchableTopicResponse::default() };
        FetchResponse { responses: vec![topic], ..FetchResponse::default() }
    }

    #[test]
    fn holes_are_where_the_bytes_would_be() {
        let bytes = [0xab; 300];
        for version in FetchResponse::VERSIONS {
            let whole = encode_response(version, 1, &fetched(Records::Bytes(&bytes))).unwrap();
            let EncodedFrame { head, holes } =
                encode_response(version, 1, &fetched(Records::Elsewhere { len: bytes.len() })).unwrap();
            assert_eq!(holes.len(), 2);
            let mut sent = Vec::new();
            let mut from = 0;
            for hole in holes {
                sent.extend_from_slice(&head[from..hole.at]);
                sent.extend_from_slice(&bytes[..hole.len]);
                from = hole.at;
            }
            sent.extend_from_slice(&head[from..]);
            assert_eq!(sent, whole.head, "version {version}");
        }
    }

    #[test]
    fn an_api_versions_request_from_the_future_has_a_readable_header() {
        let frame = [0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0, 1, 2, 3];
        let (header, body) = RequestHeader::decode(&frame).unwrap();
        assert_eq!((header.api(), header.api_version), (Some(ApiKey::ApiVersions), 99));
        assert_eq!((header.correlation_id, header.client_id, body), (5, None, &[1, 2, 3][..]));
    }

    #[test]
    fn an_api_that_nobody_knows_has_a_readable_header() {
        let frame = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 5, 0, 1, b'c'];
        let (header, body) = RequestHeader::decode(&frame).unwrap();
        assert_eq!((header.api(), header.api_version, header.client_id), (None, -1, Some("c")));
        assert!(body.is_empty());
    }

    #[test]
    fn api_versions_is_answered_with_the_oldest_header() {
        let response = ApiVersionsResponse::default();
        let frame = encode_response(4, 9, &response).unwrap().head;
        assert_eq!(frame[4..], [0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0]);
        let (correlation_id, _) = decode_response_header::<ApiVersionsResponse>(&frame[4..], 4).unwrap();
        assert_eq!(correlation_id, 9);
    }

    #[test]
    fn a_version_that_is_not_served_is_not_written() {
        let error = encode_request(5, 1, None, &ApiVersionsRequest::default()).unwrap_err();
        assert_eq!(error, UnsupportedVersion { version: 5, first: 0, last: 4 });
        assert!(encode_response(-1, 1, &ApiVersionsResponse::default()).is_err());
    }
}
