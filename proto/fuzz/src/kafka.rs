//! Kafka's protocol: nothing a stranger sends may panic, and what is understood means the same when written again.

use millrace_proto::for_each_served_api;
use millrace_proto::kafka::api::{self, Api, ApiKey};
use millrace_proto::kafka::group_records::{
    ConsumerGroupValue, ConsumerMemberValue, ConsumerRegexValue, CurrentValue, GroupMetadataValue,
    GroupRecordKey, OffsetCommitValue, TargetEpochValue, TargetValue, decode_value, encode,
};
use millrace_proto::kafka::header::{self, RequestHeader};
use millrace_proto::kafka::messages::{
    alter_configs::*, alter_partition_reassignments::*, alter_replica_log_dirs::*, api_versions::*,
    consumer_group_describe::*, consumer_group_heartbeat::*, create_partitions::*, create_topics::*,
    delete_groups::*, delete_records::*, delete_topics::*, describe_cluster::*, describe_configs::*,
    describe_groups::*, describe_log_dirs::*, describe_producers::*, describe_quorum::*,
    describe_topic_partitions::*, elect_leaders::*, fetch::*, find_coordinator::*, heartbeat::*,
    incremental_alter_configs::*, init_producer_id::*, join_group::*, leave_group::*,
    list_config_resources::*, list_groups::*, list_offsets::*, list_partition_reassignments::*, metadata::*,
    offset_commit::*, offset_delete::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*,
    sync_group::*, update_features::*,
};
use millrace_proto::kafka::records::MetadataRecord;
use millrace_proto::kafka::wire::{DecodeError, Encoder};
use millrace_proto::kafka::{Message, frame};

/// The largest frame of the fuzzed listener.
const FRAME_LIMIT: usize = 1 << 20;

/// A size, a request header, and whatever body follows.
pub fn frames(data: &[u8]) {
    let Some((prefix, rest)) = data.split_first_chunk() else { return };
    if let Ok(size) = frame::size(*prefix, FRAME_LIMIT) {
        assert!(size <= FRAME_LIMIT);
    }
    if let Ok((header, body)) = RequestHeader::decode(rest) {
        assert!(body.len() < rest.len());
        if let Ok(key) = u8::try_from(header.api_key) {
            let _ = request_body(key, header.api_version, body);
        }
    }
    let _ = header::decode_response_header::<MetadataResponse>(rest, 13);
    let _ = header::decode_response_header::<ApiVersionsResponse>(rest, 4);
}

/// The first two bytes choose an API and a version that are served; the rest is the body of a request.
pub fn requests(data: &[u8]) {
    if let Some((api, version, body)) = choose(data) {
        let _ = request_body(api.key as u8, version, body);
    }
}

/// Likewise, the body of a response, as clients read it.
pub fn responses(data: &[u8]) {
    if let Some((api, version, body)) = choose(data) {
        let _ = response_body(api.key, version, body);
    }
}

/// The value of a record in the metadata log.
pub fn metadata_records(data: &[u8]) {
    let Ok(record) = MetadataRecord::decode(data) else { return };
    let mut e = Encoder::default();
    record.encode(&mut e);
    let bytes = e.into_bytes();
    assert_eq!(MetadataRecord::decode(&bytes).as_ref(), Ok(&record));
}

/// A record of `__consumer_offsets`: a key, or a value of any kind.
pub fn group_records(data: &[u8]) {
    if let Ok(key) = GroupRecordKey::decode(data) {
        let bytes = match &key {
            GroupRecordKey::OffsetCommit(key) => encode(key, 1),
            GroupRecordKey::GroupMetadata(key) => encode(key, 2),
            GroupRecordKey::ConsumerGroup(key) => encode(key, 3),
            GroupRecordKey::ConsumerMember(key) => encode(key, 5),
            GroupRecordKey::TargetEpoch(key) => encode(key, 6),
            GroupRecordKey::Target(key) => encode(key, 7),
            GroupRecordKey::Current(key) => encode(key, 8),
            GroupRecordKey::ConsumerRegex(key) => encode(key, 16),
            GroupRecordKey::Unknown(_) => data.to_vec(),
        };
        assert_eq!(GroupRecordKey::decode(&bytes), Ok(key));
    }
    let version = data.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    macro_rules! again {
        ($($kind:ty),*) => {
            $(if let Ok(value) = decode_value::<$kind>(data) {
                assert_eq!(decode_value(&encode(&value, version)), Ok(value));
            })*
        };
    }
    again!(OffsetCommitValue, GroupMetadataValue, ConsumerGroupValue, ConsumerMemberValue, TargetEpochValue);
    again!(TargetValue, CurrentValue, ConsumerRegexValue);
}

fn choose(data: &[u8]) -> Option<(&'static Api, i16, &[u8])> {
    let ([api, version], body) = data.split_first_chunk()?;
    let apis = api::supported();
    let api = &apis[usize::from(*api) % apis.len()];
    let versions: Vec<i16> = api.served.clone().collect();
    Some((api, versions[usize::from(*version) % versions.len()], body))
}

macro_rules! request {
    ($message:ident, $version:expr, $body:expr) => {{
        let request: $message = api::decode_request($body, $version)?;
        let frame = header::encode_request($version, 1, None, &request)?;
        let (_, body) = RequestHeader::decode(&frame[frame::PREFIX..])?;
        assert_same(&request, &api::decode_request(body, $version)?);
        Ok(())
    }};
}

macro_rules! response {
    ($message:ident, $version:expr, $body:expr) => {{
        let response: $message = api::decode_response($body, $version)?;
        let frame = header::encode_response($version, 1, &response)?;
        let (_, body) = header::decode_response_header::<$message>(&frame.head[frame::PREFIX..], $version)?;
        assert_same(&response, &api::decode_response(body, $version)?);
        Ok(())
    }};
}

fn assert_same<M: Message + PartialEq + std::fmt::Debug>(read: &M, read_again: &M) {
    assert_eq!(read, read_again);
}

/// Reads a request's body, if the API is served, and checks that it means the same when written again.
pub fn request_body(key: u8, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    let Some(api) = api::find(key.into()) else { return Ok(()) };
    macro_rules! by_key {
        ($($name:ident $request:ident $response:ident;)*) => {
            match api.key {
                $(ApiKey::$name => request!($request, version, body),)*
                other => panic!("{other} is not served"),
            }
        };
    }
    for_each_served_api!(by_key!)
}

/// Reads a response's body and checks that it means the same when written again.
pub fn response_body(key: ApiKey, version: i16, body: &[u8]) -> Result<(), DecodeError> {
    macro_rules! by_key {
        ($($name:ident $request:ident $response:ident;)*) => {
            match key {
                $(ApiKey::$name => response!($response, version, body),)*
                other => panic!("{other} is not served"),
            }
        };
    }
    for_each_served_api!(by_key!)
}
