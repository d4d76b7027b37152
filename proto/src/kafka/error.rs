//! Kafka's error codes: the number on the wire, the name people search for, and what it means.

use std::fmt;

use super::wire::{Decode, DecodeError, Decoder, Encode, Encoder, Version};

macro_rules! error_codes {
    ($($(#[$attribute:meta])* $variant:ident = $code:literal, $name:literal, $message:literal;)*) => {
        /// An error code of Kafka 4.3.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!($name, ": ", $message, ".")]
                $(#[$attribute])*
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The error with this number, if there is one.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, such as `UNKNOWN_TOPIC_OR_PARTITION`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, for people: a clause without a full stop.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", "the broker failed in a way it did not foresee";
    #[default]
    None = 0, "NONE", "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", "the offset is not in the log";
    CorruptMessage = 2, "CORRUPT_MESSAGE", "the batch is damaged or malformed";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", "no such topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", "the fetch size is invalid";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", "another broker leads the partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", "the request took too long";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", "the replica is not available";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", "the batch is larger than the topic allows";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", "another controller has taken over";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", "the offset's metadata is too large";
    NetworkException = 13, "NETWORK_EXCEPTION", "the connection was lost before the answer came";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", "the coordinator is still loading";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", "the coordinator is not available";
    NotCoordinator = 16, "NOT_COORDINATOR", "another broker is the coordinator";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", "the topic's name is invalid, or the topic is not for clients";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", "the batch is larger than a log segment";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", "too few replicas are in sync";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "too few replicas were in sync when the batch had been appended";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", "acks must be -1, 0 or 1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", "the group has moved on to another generation";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", "the member's protocols do not fit those of the group";
    InvalidGroupId = 24, "INVALID_GROUP_ID", "the group id is invalid";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", "the group has no such member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", "the session timeout is outside the broker's bounds";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", "the group is rebalancing";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", "the committed offset is too large to be stored";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", "not authorized for the topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", "not authorized for the group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", "not authorized for the cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", "a record's timestamp is out of bounds";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", "the SASL mechanism is not supported";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", "the request does not fit the state of authentication";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", "the version of the API is not supported";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", "the topic exists already";
    InvalidPartitions = 37, "INVALID_PARTITIONS", "the number of partitions is invalid";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", "the replication factor is below 1 or above the number of brokers";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", "the replica assignment is invalid";
    InvalidConfig = 40, "INVALID_CONFIG", "the configuration is invalid";
    NotController = 41, "NOT_CONTROLLER", "another broker is the controller";
    InvalidRequest = 42, "INVALID_REQUEST", "the request contradicts itself or the protocol";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", "the log's message format does not support the request";
    PolicyViolation = 44, "POLICY_VIOLATION", "a policy of the cluster forbids it";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "a batch of the producer is missing before this one";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", "the batch has been appended before";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", "a newer incarnation of the producer exists";
    InvalidTxnState = 48, "INVALID_TXN_STATE", "the transaction's state does not allow it";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", "the producer id belongs to another transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", "the transaction timeout is invalid or above the broker's maximum";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", "another operation on the transaction is under way";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", "another transaction coordinator has taken over";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "not authorized for the transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", "security is disabled";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", "not attempted because another part of the request failed";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", "the log's disk has failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", "no such log directory";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", "authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", "nothing is known of the producer id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", "a reassignment is in progress";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", "delegation tokens are disabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", "no such delegation token";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", "the delegation token belongs to someone else";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "delegation tokens cannot be used on this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", "not authorized for the delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", "the type of principal is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", "the group has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", "no such group";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", "no such fetch session";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", "the fetch session's epoch is invalid";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", "the leader has no listener of this name";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", "deleting topics is disabled";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", "the client's leader epoch is outdated";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", "the client's leader epoch is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", "the compression type is not supported";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", "the broker's epoch is outdated";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", "the new leader does not know the offset yet";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", "join again with the member id given";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", "the group is full";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", "another member has taken the instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "no eligible leader is available";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", "the leader needs no change";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", "no reassignment is in progress";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", "the group is subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", "a record is invalid";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", "offsets of an open transaction are pending";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", "a quota is exceeded";
    ProducerFenced = 90, "PRODUCER_FENCED", "a newer producer has the transactional id";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", "no such resource";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", "a resource is named twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", "the credential is not acceptable";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", "the set of voters is not the one expected";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", "the update's version is invalid";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", "the features could not be updated";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", "the forwarded principal cannot be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", "no such snapshot";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", "the position is outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", "no topic has the id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", "another broker is registered under the id";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", "no broker is registered under the id";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", "the log belongs to a topic with another id";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", "the request is meant for another cluster";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", "no such transactional id";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", "the fetch session mixes topic names and ids";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", "a replica may not be in sync";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", "the partition has a new leader";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", "the offset is in tiered storage";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", "the member's epoch is fenced; rejoin";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", "another member still has the instance id";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", "the assignor is not supported";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", "the member's epoch is outdated";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", "the request was sent to the wrong type of endpoint";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", "the type of endpoint is not supported";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", "no such controller";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", "the telemetry subscription is outdated";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", "the telemetry is too large";
    InvalidRegistration = 119, "INVALID_REGISTRATION", "the registration is invalid";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", "the transaction must be aborted; the producer may then go on";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", "the state of the records does not allow it";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", "no such share session";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", "the share session's epoch is invalid";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", "the share group's state has a newer epoch";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", "the voter's key is another";
    DuplicateVoter = 126, "DUPLICATE_VOTER", "the voter is a voter already";
    VoterNotFound = 127, "VOTER_NOT_FOUND", "no such voter";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", "the regular expression is invalid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", "the client's metadata is outdated; bootstrap again";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", "the topology is invalid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", "the topology's epoch is invalid";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", "the topology's epoch is outdated";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", "there are too many share sessions";
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.code())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())
    }
}

impl Encode for ErrorCode {
    fn encode(&self, e: &mut Encoder, _: Version) {
        e.i16(self.code());
    }
}

impl<'de> Decode<'de> for ErrorCode {
    fn min_size(_: Version) -> usize {
        2
    }

    /// A number that is not known, from a newer broker, becomes UNKNOWN_SERVER_ERROR, as in Kafka's own clients.
    fn decode(d: &mut Decoder<'de>, _: Version) -> Result<Self, DecodeError> {
        d.i16().map(|code| Self::from_code(code).unwrap_or(Self::UnknownServerError))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_without_gaps_and_find_their_error() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(*error));
        }
        assert_eq!(ErrorCode::from_code(134), None);
    }

    #[test]
    fn an_error_names_itself() {
        assert_eq!(format!("{:?}", ErrorCode::default()), "NONE(0)");
        let text = ErrorCode::UnknownTopicOrPartition.to_string();
        assert_eq!(text, "UNKNOWN_TOPIC_OR_PARTITION: no such topic or partition");
    }
}
