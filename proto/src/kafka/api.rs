//! The APIs: Kafka's keys by name, and the table of those that are served.

use std::fmt;
use std::ops::RangeInclusive;

use super::message::{Message, decode_whole};
use super::messages::{
    alter_configs::{AlterConfigsRequest, AlterConfigsResponse},
    alter_partition_reassignments::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    },
    alter_replica_log_dirs::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse},
    api_versions::{ApiVersionsRequest, ApiVersionsResponse},
    consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse},
    consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse},
    create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse},
    create_topics::{CreateTopicsRequest, CreateTopicsResponse},
    delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse},
    delete_records::{DeleteRecordsRequest, DeleteRecordsResponse},
    delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse},
    describe_cluster::{DescribeClusterRequest, DescribeClusterResponse},
    describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse},
    describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse},
    describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse},
    describe_producers::{DescribeProducersRequest, DescribeProducersResponse},
    describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse},
    describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse},
    elect_leaders::{ElectLeadersRequest, ElectLeadersResponse},
    fetch::{FetchRequest, FetchResponse},
    find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse},
    heartbeat::{HeartbeatRequest, HeartbeatResponse},
    incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse},
    init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
    join_group::{JoinGroupRequest, JoinGroupResponse},
    leave_group::{LeaveGroupRequest, LeaveGroupResponse},
    list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse},
    list_groups::{ListGroupsRequest, ListGroupsResponse},
    list_offsets::{ListOffsetsRequest, ListOffsetsResponse},
    list_partition_reassignments::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse},
    metadata::{MetadataRequest, MetadataResponse},
    offset_commit::{OffsetCommitRequest, OffsetCommitResponse},
    offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse},
    offset_fetch::{OffsetFetchRequest, OffsetFetchResponse},
    offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse},
    produce::{ProduceRequest, ProduceResponse},
    sync_group::{SyncGroupRequest, SyncGroupResponse},
    update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse},
};
use super::wire::{Decode, DecodeError, Decoder};

macro_rules! api_keys {
    ($($name:ident = $code:literal;)*) => {
        /// Every API that Kafka 4.3 has, served here or not: a client that asks for one that is not is told its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("Key ", $code, ".")]
                $name = $code,
            )*
        }

        impl ApiKey {
            /// The API with this key, if there is one.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name, as Kafka writes it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

api_keys! {
    Produce = 0;
    Fetch = 1;
    ListOffsets = 2;
    Metadata = 3;
    LeaderAndIsr = 4;
    StopReplica = 5;
    UpdateMetadata = 6;
    ControlledShutdown = 7;
    OffsetCommit = 8;
    OffsetFetch = 9;
    FindCoordinator = 10;
    JoinGroup = 11;
    Heartbeat = 12;
    LeaveGroup = 13;
    SyncGroup = 14;
    DescribeGroups = 15;
    ListGroups = 16;
    SaslHandshake = 17;
    ApiVersions = 18;
    CreateTopics = 19;
    DeleteTopics = 20;
    DeleteRecords = 21;
    InitProducerId = 22;
    OffsetForLeaderEpoch = 23;
    AddPartitionsToTxn = 24;
    AddOffsetsToTxn = 25;
    EndTxn = 26;
    WriteTxnMarkers = 27;
    TxnOffsetCommit = 28;
    DescribeAcls = 29;
    CreateAcls = 30;
    DeleteAcls = 31;
    DescribeConfigs = 32;
    AlterConfigs = 33;
    AlterReplicaLogDirs = 34;
    DescribeLogDirs = 35;
    SaslAuthenticate = 36;
    CreatePartitions = 37;
    CreateDelegationToken = 38;
    RenewDelegationToken = 39;
    ExpireDelegationToken = 40;
    DescribeDelegationToken = 41;
    DeleteGroups = 42;
    ElectLeaders = 43;
    IncrementalAlterConfigs = 44;
    AlterPartitionReassignments = 45;
    ListPartitionReassignments = 46;
    OffsetDelete = 47;
    DescribeClientQuotas = 48;
    AlterClientQuotas = 49;
    DescribeUserScramCredentials = 50;
    AlterUserScramCredentials = 51;
    Vote = 52;
    BeginQuorumEpoch = 53;
    EndQuorumEpoch = 54;
    DescribeQuorum = 55;
    AlterPartition = 56;
    UpdateFeatures = 57;
    Envelope = 58;
    FetchSnapshot = 59;
    DescribeCluster = 60;
    DescribeProducers = 61;
    BrokerRegistration = 62;
    BrokerHeartbeat = 63;
    UnregisterBroker = 64;
    DescribeTransactions = 65;
    ListTransactions = 66;
    AllocateProducerIds = 67;
    ConsumerGroupHeartbeat = 68;
    ConsumerGroupDescribe = 69;
    ControllerRegistration = 70;
    GetTelemetrySubscriptions = 71;
    PushTelemetry = 72;
    AssignReplicasToDirs = 73;
    ListConfigResources = 74;
    DescribeTopicPartitions = 75;
    ShareGroupHeartbeat = 76;
    ShareGroupDescribe = 77;
    ShareFetch = 78;
    ShareAcknowledge = 79;
    AddRaftVoter = 80;
    RemoveRaftVoter = 81;
    UpdateRaftVoter = 82;
    InitializeShareGroupState = 83;
    ReadShareGroupState = 84;
    WriteShareGroupState = 85;
    DeleteShareGroupState = 86;
    ReadShareGroupStateSummary = 87;
    StreamsGroupHeartbeat = 88;
    StreamsGroupDescribe = 89;
    DescribeShareGroupOffsets = 90;
    AlterShareGroupOffsets = 91;
    DeleteShareGroupOffsets = 92;
}

impl ApiKey {
    /// The key on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request, and the response that answers it in the same version.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// The answer.
    type Response<'r>: Response + Decode<'r>;
}

/// A response.
pub trait Response: Message {
    /// The API.
    const KEY: ApiKey;
}

/// What is served of one API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The API.
    pub key: ApiKey,
    /// What ApiVersions says.
    pub advertised: RangeInclusive<i16>,
    /// What can be decoded. Versions that are advertised but not served close the connection, as in Kafka.
    pub served: RangeInclusive<i16>,
    /// The first version with flexible headers and bodies.
    pub flexible_from: i16,
}

impl Api {
    const fn of<R: Request>() -> Self {
        Self { key: R::KEY, advertised: R::VERSIONS, served: R::VERSIONS, flexible_from: R::FLEXIBLE_FROM }
    }

    const fn advertised_from(self, first: i16) -> Self {
        Self { advertised: first..=*self.served.end(), ..self }
    }

    /// Whether a request of this version has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

macro_rules! served {
    ($d:tt $($key:ident: $request:ident $(<$q:lifetime>)?, $response:ident $(<$r:lifetime>)? $(, advertised from $first:literal)?;)*) => {
        static SERVED: &[Api] = &[$( Api::of::<$request>()$(.advertised_from($first))? ),*];

        $(
            impl $(<$q>)? Request for $request $(<$q>)? {
                const KEY: ApiKey = ApiKey::$key;
                type Response<'r> = $response $(<$r>)?;
            }

            impl $(<$r>)? Response for $response $(<$r>)? {
                const KEY: ApiKey = ApiKey::$key;
            }
        )*

        /// Calls a macro with every API that is served: the tokens given, then `Key Request Response;` for each. For tests and
        /// fuzzers, which must not leave one out.
        #[macro_export]
        macro_rules! for_each_served_api {
            ($d callback:ident! $d ($d more:tt)*) => {
                $d callback! { $d ($d more)* $($key $request $response;)* }
            };
        }
    };
}

// Why Produce is advertised from 0 though nothing below 3 is served: librdkafka tests for version 0 before it enables gzip,
// snappy and lz4, and without it silently sends everything uncompressed (KAFKA-18659).
served! { $
    Produce: ProduceRequest<'q>, ProduceResponse<'r>, advertised from 0;
    Fetch: FetchRequest<'q>, FetchResponse<'r>;
    ListOffsets: ListOffsetsRequest<'q>, ListOffsetsResponse<'r>;
    Metadata: MetadataRequest<'q>, MetadataResponse<'r>;
    OffsetCommit: OffsetCommitRequest<'q>, OffsetCommitResponse<'r>;
    OffsetFetch: OffsetFetchRequest<'q>, OffsetFetchResponse<'r>;
    FindCoordinator: FindCoordinatorRequest<'q>, FindCoordinatorResponse<'r>;
    JoinGroup: JoinGroupRequest<'q>, JoinGroupResponse<'r>;
    Heartbeat: HeartbeatRequest<'q>, HeartbeatResponse;
    LeaveGroup: LeaveGroupRequest<'q>, LeaveGroupResponse<'r>;
    SyncGroup: SyncGroupRequest<'q>, SyncGroupResponse<'r>;
    DescribeGroups: DescribeGroupsRequest<'q>, DescribeGroupsResponse<'r>;
    ListGroups: ListGroupsRequest<'q>, ListGroupsResponse<'r>;
    ApiVersions: ApiVersionsRequest<'q>, ApiVersionsResponse<'r>;
    CreateTopics: CreateTopicsRequest<'q>, CreateTopicsResponse<'r>;
    DeleteTopics: DeleteTopicsRequest<'q>, DeleteTopicsResponse<'r>;
    DeleteRecords: DeleteRecordsRequest<'q>, DeleteRecordsResponse<'r>;
    InitProducerId: InitProducerIdRequest<'q>, InitProducerIdResponse;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest<'q>, OffsetForLeaderEpochResponse<'r>;
    DescribeConfigs: DescribeConfigsRequest<'q>, DescribeConfigsResponse<'r>;
    AlterConfigs: AlterConfigsRequest<'q>, AlterConfigsResponse<'r>;
    AlterReplicaLogDirs: AlterReplicaLogDirsRequest<'q>, AlterReplicaLogDirsResponse<'r>;
    DescribeLogDirs: DescribeLogDirsRequest<'q>, DescribeLogDirsResponse<'r>;
    CreatePartitions: CreatePartitionsRequest<'q>, CreatePartitionsResponse<'r>;
    DeleteGroups: DeleteGroupsRequest<'q>, DeleteGroupsResponse<'r>;
    ElectLeaders: ElectLeadersRequest<'q>, ElectLeadersResponse<'r>;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest<'q>, IncrementalAlterConfigsResponse<'r>;
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest<'q>, AlterPartitionReassignmentsResponse<'r>;
    ListPartitionReassignments: ListPartitionReassignmentsRequest<'q>, ListPartitionReassignmentsResponse<'r>;
    OffsetDelete: OffsetDeleteRequest<'q>, OffsetDeleteResponse<'r>;
    DescribeQuorum: DescribeQuorumRequest<'q>, DescribeQuorumResponse<'r>;
    UpdateFeatures: UpdateFeaturesRequest<'q>, UpdateFeaturesResponse<'r>;
    DescribeCluster: DescribeClusterRequest, DescribeClusterResponse<'r>;
    DescribeProducers: DescribeProducersRequest<'q>, DescribeProducersResponse<'r>;
    ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest<'q>, ConsumerGroupHeartbeatResponse<'r>;
    ConsumerGroupDescribe: ConsumerGroupDescribeRequest<'q>, ConsumerGroupDescribeResponse<'r>;
    ListConfigResources: ListConfigResourcesRequest, ListConfigResourcesResponse<'r>;
    DescribeTopicPartitions: DescribeTopicPartitionsRequest<'q>, DescribeTopicPartitionsResponse<'r>;
}

/// The APIs that are served, in the order of their keys.
pub fn supported() -> &'static [Api] {
    SERVED
}

/// What is served of the API with this key, if anything is.
pub fn find(key: i16) -> Option<&'static Api> {
    SERVED.iter().find(|api| api.key.code() == key)
}

/// Reads a request's body, in a version that is served.
///
/// Bytes behind its end are not looked at, as in Kafka: librdkafka 2.12 leaves some behind its Metadata 13.
pub fn decode_request<'de, R: Request + Decode<'de>>(
    body: &'de [u8],
    version: i16,
) -> Result<R, DecodeError> {
    let v = R::version(version)?;
    R::decode(&mut Decoder::new(body), v)
}

/// Reads a response's body: all of it.
pub fn decode_response<'de, R: Response + Decode<'de>>(
    body: &'de [u8],
    version: i16,
) -> Result<R, DecodeError> {
    decode_whole(body, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_find_their_api() {
        for code in 0..=92 {
            assert_eq!(ApiKey::from_code(code).map(ApiKey::code), Some(code));
        }
        assert_eq!(ApiKey::from_code(93), None);
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::FindCoordinator.to_string(), "FindCoordinator");
    }

    /// What Apache Kafka 4.3.1 advertises for these APIs.
    #[test]
    fn the_table_says_what_kafka_says() {
        let table: Vec<_> = supported().iter().map(|api| (api.key.code(), api.advertised.clone())).collect();
        let kafka = [
            (0, 0..=13),
            (1, 4..=18),
            (2, 1..=11),
            (3, 0..=13),
            (8, 2..=10),
            (9, 1..=10),
            (10, 0..=6),
            (11, 0..=9),
            (12, 0..=4),
            (13, 0..=5),
            (14, 0..=5),
            (15, 0..=6),
            (16, 0..=5),
            (18, 0..=4),
            (19, 2..=7),
            (20, 1..=6),
            (21, 0..=2),
            (22, 0..=5),
            (23, 2..=4),
            (32, 1..=4),
            (33, 0..=2),
            (34, 1..=2),
            (35, 1..=5),
            (37, 0..=3),
            (42, 0..=2),
            (43, 0..=2),
            (44, 0..=1),
            (45, 0..=1),
            (46, 0..=0),
            (47, 0..=0),
            (55, 0..=2),
            (57, 0..=2),
            (60, 0..=2),
            (61, 0..=0),
            (68, 0..=1),
            (69, 0..=1),
            (74, 0..=1),
            (75, 0..=0),
        ];
        assert_eq!(table, kafka);
    }

    #[test]
    fn only_produce_is_advertised_beyond_what_is_served() {
        let more: Vec<_> = supported().iter().filter(|api| api.advertised != api.served).collect();
        assert_eq!(more.len(), 1);
        assert_eq!((more[0].key, more[0].served.clone()), (ApiKey::Produce, 3..=13));
    }

    #[test]
    fn requests_and_responses_agree_on_versions() {
        fn check<R: Request>() {
            assert_eq!(R::VERSIONS, <R::Response<'_> as Message>::VERSIONS, "{}", R::KEY);
            assert_eq!(R::FLEXIBLE_FROM, <R::Response<'_> as Message>::FLEXIBLE_FROM, "{}", R::KEY);
            assert_eq!(R::KEY, <R::Response<'_> as Response>::KEY);
        }
        macro_rules! check_all {
            ($($key:ident $request:ident $response:ident;)*) => { $(check::<$request>();)* };
        }
        for_each_served_api!(check_all!);
    }
}
