//! An independent oracle: for every API and version that is served, frames written here are read by the `kafka-protocol`
//! crate as the same values, and the other way round.
//!
//! Values are compared field by field and by name: both sides' `Debug` output, which lists every field, is brought to
//! one form (see [`common_form`]). Equal bytes alone would not notice two fields that are swapped in both directions.

mod kafka_support;

use std::collections::BTreeSet;

use arbitrary::Unstructured;
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as kp;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message as _, StrBytes};
use kafka_support::pool;
use millrace_proto::for_each_served_api;
use millrace_proto::kafka::Message as _;
use millrace_proto::kafka::api::{self, ApiKey, Request as _};
use millrace_proto::kafka::arbitrary::Sample;
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

/// Values tried of each message in each version.
const SEEDS: u64 = 40;

/// Fields that one side has besides the other's, at their defaults: tags that the oracle does not know, InitProducerId 6, which is not
/// served, and DescribeLogDirs 5, which the oracle does not know.
const MORE_FIELDS: [&str; 4] = [
    ", unknown_tagged_fields: {}",
    ", enable_2_pc: false, keep_prepared_txn: false",
    ", ongoing_txn_producer_id: -1, ongoing_txn_producer_epoch: -1",
    ", is_cordoned: false",
];

/// Parts that have another name here than in Kafka's schemas, where several messages use one name for different things.
const OTHER_NAMES: [(&str, &str); 21] = [
    ("DescribeProducersTopic", "TopicRequest"),
    ("DescribeProducersTopicResponse", "TopicResponse"),
    ("DescribeProducersPartition", "PartitionResponse"),
    ("DescribeQuorumTopic", "TopicData"),
    ("DescribeQuorumPartition", "PartitionData"),
    ("QuorumTopic", "TopicData"),
    ("QuorumPartition", "PartitionData"),
    ("QuorumNode", "Node"),
    ("QuorumListener", "Listener"),
    ("IncrementalAlterConfigsResource", "AlterConfigsResource"),
    ("IncrementalAlterableConfig", "AlterableConfig"),
    ("ListedConfigResource", "ConfigResource"),
    ("DescribeTopicPartitionsTopic", "TopicRequest"),
    ("DescribedTopic", "DescribeTopicPartitionsResponseTopic"),
    ("DescribedPartition", "DescribeTopicPartitionsResponsePartition"),
    ("HeartbeatTopicPartitions", "TopicPartitions"),
    ("HeartbeatAssignment", "Assignment"),
    ("DescribedConsumerGroup", "DescribedGroup"),
    ("DescribedConsumer", "Member"),
    ("DescribedAssignment", "Assignment"),
    ("DescribedTopicPartitions", "TopicPartitions"),
];

/// `Debug` output without what is a matter of taste: names of tuple structs (`Some(1)`, `BrokerId(1)` and `1` are the same),
/// byte strings as lists of numbers, and what only the oracle has.
fn common_form(debug: &str) -> String {
    let debug = MORE_FIELDS.iter().fold(debug.to_owned(), |debug, more| debug.replace(more, ""));
    let mut out = String::new();
    let mut rest = debug.as_str();
    while let Some(c) = rest.chars().next() {
        if let Some(literal) = rest.strip_prefix("b\"") {
            let end = literal_end(literal);
            out.push_str(&format!("{:?}", unescape(&literal[..end])));
            rest = &literal[end + 1..];
        } else if let Some(literal) = rest.strip_prefix('"') {
            let end = literal_end(literal) + 2;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            match rest[end..].starts_with('(') {
                true => rest = &rest[end + 1..],
                false => {
                    let name = &rest[..end];
                    let theirs =
                        OTHER_NAMES.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| *theirs);
                    out.push_str(theirs.unwrap_or(name));
                    rest = &rest[end..];
                }
            }
        } else {
            if c != ')' {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Where the quote is that ends a literal.
fn literal_end(literal: &str) -> usize {
    let mut escaped = false;
    literal
        .find(|c| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        })
        .expect("a literal ends")
}

/// The bytes of a literal as `Bytes` prints them.
fn unescape(literal: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c as u8);
            continue;
        }
        out.push(match chars.next().expect("an escape") {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            '0' => 0,
            'x' => u8::from_str_radix(&chars.by_ref().take(2).collect::<String>(), 16).expect("two digits"),
            other => other as u8,
        });
    }
    out
}

/// Takes the size off a frame.
fn unframe(frame: BytesMut) -> Bytes {
    let mut frame = frame.freeze();
    let size = frame.get_i32();
    assert_eq!(size as usize, frame.len());
    frame
}

/// Reads `body` as the oracle does, which must use all of it, and writes it again.
fn oracle_round_trip<T: Decodable + Encodable + std::fmt::Debug>(
    mut body: Bytes,
    version: i16,
) -> (String, Bytes) {
    let value = T::decode(&mut body, version).expect("the oracle reads it");
    assert_eq!(body.remaining(), 0, "the oracle leaves bytes of {value:?}");
    let mut bytes = BytesMut::new();
    value.encode(&mut bytes, version).expect("the oracle writes it");
    (common_form(&format!("{value:?}")), bytes.freeze())
}

/// A request header of the oracle's making must say the same as ours.
fn check_request_header(frame: &Bytes, header_version: i16, key: ApiKey, version: i16) -> Bytes {
    let mut rest = frame.clone();
    let theirs = kp::RequestHeader::decode(&mut rest, header_version).expect("the oracle reads the header");
    assert_eq!(theirs.request_api_key, key.code());
    assert_eq!(theirs.request_api_version, version);
    assert_eq!(theirs.correlation_id, 77);
    assert_eq!(theirs.client_id, Some(StrBytes::from_static_str("oracle")));
    let mut bytes = BytesMut::new();
    theirs.encode(&mut bytes, header_version).expect("the oracle writes the header");
    bytes.extend_from_slice(&rest);
    let (ours, body) = RequestHeader::decode(&bytes).expect("we read the header");
    let expected = RequestHeader {
        api_key: key.code(),
        api_version: version,
        correlation_id: 77,
        client_id: Some("oracle"),
    };
    assert_eq!((ours, body), (expected, &rest[..]));
    rest
}

macro_rules! agree_on {
    ($test:ident: $request:ident, $response:ident) => {
        #[test]
        fn $test() {
            let oracle = kp::$request::VERSIONS;
            for version in <$request>::VERSIONS.filter(|version| (oracle.min..=oracle.max).contains(version)) {
                for seed in 0..SEEDS {
                    agree_on!(@request $request, version, &pool(seed, 4096));
                    agree_on!(@response $response, version, &pool(seed, 4096));
                }
            }
        }
    };
    (@request $message:ident, $version:ident, $pool:expr) => {{
        let pool = $pool;
        let made = <$message>::sample(&mut Unstructured::new(pool)).unwrap();
        let frame = unframe(header::encode_request($version, 77, Some("oracle"), &made).unwrap());
        let header_version = kp::$message::header_version($version);
        let body = check_request_header(&frame, header_version, <$message>::KEY, $version);
        let (theirs, rewritten) = oracle_round_trip::<kp::$message>(body.clone(), $version);
        assert_eq!(body, rewritten, "{made:?}");
        let ours: $message = api::decode_request(&rewritten, $version).unwrap();
        assert_eq!(common_form(&format!("{ours:?}")), theirs, "{} {}", stringify!($message), $version);
    }};
    (@response $message:ident, $version:ident, $pool:expr) => {{
        let pool = $pool;
        let made = <$message>::sample(&mut Unstructured::new(pool)).unwrap();
        let encoded = header::encode_response($version, 77, &made).unwrap();
        assert!(encoded.holes.is_empty());
        let frame = unframe(encoded.head);
        let (correlation_id, body) = header::decode_response_header::<$message>(&frame, $version).unwrap();
        assert_eq!(correlation_id, 77);
        let mut rest = frame.clone();
        let header = kp::ResponseHeader::decode(&mut rest, kp::$message::header_version($version)).unwrap();
        assert_eq!((header.correlation_id, &rest[..]), (77, body));
        let (theirs, rewritten) = oracle_round_trip::<kp::$message>(rest, $version);
        assert_eq!(body, &rewritten[..], "{made:?}");
        let ours: $message = api::decode_response(&rewritten, $version).unwrap();
        assert_eq!(common_form(&format!("{ours:?}")), theirs, "{} {}", stringify!($message), $version);
    }};
}

agree_on!(produce: ProduceRequest, ProduceResponse);
agree_on!(fetch: FetchRequest, FetchResponse);
agree_on!(list_offsets: ListOffsetsRequest, ListOffsetsResponse);
agree_on!(metadata: MetadataRequest, MetadataResponse);
agree_on!(api_versions: ApiVersionsRequest, ApiVersionsResponse);
agree_on!(create_topics: CreateTopicsRequest, CreateTopicsResponse);
agree_on!(delete_topics: DeleteTopicsRequest, DeleteTopicsResponse);
agree_on!(delete_records: DeleteRecordsRequest, DeleteRecordsResponse);
agree_on!(init_producer_id: InitProducerIdRequest, InitProducerIdResponse);
agree_on!(offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse);
agree_on!(describe_configs: DescribeConfigsRequest, DescribeConfigsResponse);
agree_on!(alter_configs: AlterConfigsRequest, AlterConfigsResponse);
agree_on!(alter_replica_log_dirs: AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse);
agree_on!(describe_log_dirs: DescribeLogDirsRequest, DescribeLogDirsResponse);
agree_on!(create_partitions: CreatePartitionsRequest, CreatePartitionsResponse);
agree_on!(elect_leaders: ElectLeadersRequest, ElectLeadersResponse);
agree_on!(incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse);
agree_on!(describe_quorum: DescribeQuorumRequest, DescribeQuorumResponse);
agree_on!(update_features: UpdateFeaturesRequest, UpdateFeaturesResponse);
agree_on!(describe_cluster: DescribeClusterRequest, DescribeClusterResponse);
agree_on!(describe_producers: DescribeProducersRequest, DescribeProducersResponse);
agree_on!(consumer_group_heartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse);
agree_on!(consumer_group_describe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse);
agree_on!(list_config_resources: ListConfigResourcesRequest, ListConfigResourcesResponse);
agree_on!(describe_topic_partitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse);

/// Versions of requests or responses that are served and that the oracle does not know.
fn unknown_to_the_oracle() -> BTreeSet<(ApiKey, i16)> {
    let mut unknown = BTreeSet::new();
    macro_rules! compare {
        ($($key:ident $request:ident $response:ident;)*) => {
            $(for version in <$request>::VERSIONS {
                let known = |range: kafka_protocol::protocol::VersionRange| (range.min..=range.max).contains(&version);
                if !known(kp::$request::VERSIONS) || !known(kp::$response::VERSIONS) {
                    unknown.insert((<$request>::KEY, version));
                }
            })*
        };
    }
    for_each_served_api!(compare!);
    unknown
}

/// Exactly these are checked with bytes from Kafka itself, below and among the captured frames.
#[test]
fn the_oracle_lacks_four_versions() {
    let unknown = BTreeSet::from([
        (ApiKey::ListOffsets, 11),
        (ApiKey::OffsetCommit, 10),
        (ApiKey::OffsetFetch, 10),
        (ApiKey::DescribeLogDirs, 5),
    ]);
    assert_eq!(unknown_to_the_oracle(), unknown);
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// ListOffsets 11, as Kafka 4.3.1's own classes write it.
#[test]
fn list_offsets_11_is_as_kafka_writes_it() {
    let frame = hex(concat!(
        "0002000b0000002a000a636f6e73756d65722d3100",
        "ffffffff0102076f726465727303",
        "0000000300000007fffffffffffffffa00",
        "00000004ffffffff0000018bcfe5680000",
        "000000753000",
    ));
    let partition = |partition_index, current_leader_epoch, timestamp| ListOffsetsPartition {
        partition_index,
        current_leader_epoch,
        timestamp,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: READ_COMMITTED,
        topics: vec![ListOffsetsTopic {
            name: "orders",
            partitions: vec![partition(3, 7, EARLIEST_PENDING_UPLOAD), partition(4, -1, 1_700_000_000_000)],
        }],
        timeout_ms: 30_000,
    };
    assert_eq!(unframe(header::encode_request(11, 42, Some("consumer-1"), &request).unwrap()), frame);
    let (_, body) = RequestHeader::decode(&frame).unwrap();
    assert_eq!(api::decode_request(body, 11), Ok(request));
}

/// The answer to it, likewise.
#[test]
fn list_offsets_11_is_answered_as_by_kafka() {
    let frame = hex(concat!(
        "0000002a00",
        "0000000502076f726465727303",
        "000000030023ffffffffffffffffffffffffffffffffffffffff00",
        "0000000400000000018bcfe5680100000000000000630000000200",
        "0000",
    ));
    let partition = |partition_index, code, timestamp, offset, leader_epoch| ListOffsetsPartitionResponse {
        partition_index,
        error_code: millrace_proto::kafka::error::ErrorCode::from_code(code).unwrap(),
        timestamp,
        offset,
        leader_epoch,
    };
    let response = ListOffsetsResponse {
        throttle_time_ms: 5,
        topics: vec![ListOffsetsTopicResponse {
            name: "orders",
            partitions: vec![partition(3, 35, -1, -1, -1), partition(4, 0, 1_700_000_000_001, 99, 2)],
        }],
    };
    assert_eq!(unframe(header::encode_response(11, 42, &response).unwrap().head), frame);
    let (_, body) = header::decode_response_header::<ListOffsetsResponse>(&frame, 11).unwrap();
    assert_eq!(api::decode_response(body, 11), Ok(response));
}

#[test]
fn the_common_form_keeps_what_matters() {
    let theirs =
        r#"A { x: BrokerId(1), s: Some(StrBytes("a(\"b")), r: b"\x01\0\"z", unknown_tagged_fields: {} }"#;
    let ours = r#"A { x: 1, s: Some("a(\"b"), r: Bytes([1, 0, 34, 122]) }"#;
    assert_eq!(common_form(theirs), common_form(ours));
    assert_eq!(common_form(ours), r#"A { x: 1, s: "a(\"b", r: [1, 0, 34, 122] }"#);
    assert_ne!(common_form("A { x: 1, y: 2 }"), common_form("A { y: 1, x: 2 }"));
    assert_ne!(common_form("A { x: None }"), common_form("A { x: Some([]) }"));
}
