//! The one table from our errors to Kafka's codes.

use crate::shard::calls::{DeleteRecordsFailure, FetchFailure, ListOffsetsFailure, ProduceFailure};
use crate::shard::metadata::MetadataFailure;
use crate::shard::partition_driver::ListOffsetError;
use millrace_logic::fetch_sessions::SessionError;
use millrace_logic::meta::{
    AlterConfigError, ConfigRefusal, CreatePartitionsError, CreateTopicError, DeleteTopicError,
};
use millrace_logic::partition::{FetchError, ListError, ProduceError, SequenceError};
use millrace_logic::retention::DeleteRecordsError;
use millrace_proto::batch::BatchError;
use millrace_proto::kafka::error::ErrorCode;
use millrace_storage::ReadError;

/// What an error is called on the wire.
pub trait WireError {
    /// Its code.
    fn code(&self) -> ErrorCode;
}

impl WireError for ProduceFailure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code(),
            Self::UnknownPartition => ErrorCode::NotLeaderOrFollower,
            // The batch may have been appended when its shard went away.
            Self::Stopping => ErrorCode::RequestTimedOut,
        }
    }
}

impl WireError for ProduceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
            Self::Sequence(SequenceError::Fenced { .. }) => ErrorCode::InvalidProducerEpoch,
            Self::Transactional => ErrorCode::InvalidTxnState,
            Self::TimedOut | Self::Interrupted => ErrorCode::RequestTimedOut,
            // No room: retriable, and not about this leader, so the client tries again until there is.
            Self::NoRoom | Self::StorageFailed => ErrorCode::KafkaStorageError,
            Self::Deleted => ErrorCode::UnknownTopicOrPartition,
            Self::OffsetsExhausted { .. } => ErrorCode::UnknownServerError,
        }
    }
}

impl WireError for BatchError {
    fn code(&self) -> ErrorCode {
        ErrorCode::from_code(BatchError::code(self)).unwrap_or(ErrorCode::UnknownServerError)
    }
}

impl WireError for FetchFailure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::UnknownPartition => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl WireError for SessionError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::FetchSessionIdNotFound,
            Self::Epoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
            Self::TopicIds(_) => ErrorCode::FetchSessionTopicIdError,
        }
    }
}

impl WireError for FetchError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::StorageFailed => ErrorCode::KafkaStorageError,
            Self::Deleted => ErrorCode::UnknownTopicOrPartition,
        }
    }
}

impl WireError for ReadError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            // Consumers raise it and name the offset; they do not skip the range on their own.
            Self::Quarantined(_) => ErrorCode::CorruptMessage,
            Self::Offline(_) | Self::Io { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

impl WireError for ListOffsetsFailure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Partition(ListOffsetError::Refused(ListError::Fetch(error))) => error.code(),
            Self::Partition(ListOffsetError::Refused(ListError::NotAvailable { .. })) => {
                ErrorCode::OffsetNotAvailable
            }
            Self::Partition(ListOffsetError::Read(error)) => error.code(),
            Self::UnknownPartition => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl WireError for DeleteRecordsFailure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(DeleteRecordsError::Policy) => ErrorCode::PolicyViolation,
            Self::Refused(DeleteRecordsError::OutOfRange { .. }) => ErrorCode::OffsetOutOfRange,
            Self::Checkpoint => ErrorCode::KafkaStorageError,
            Self::Deleted => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownPartition => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl WireError for MetadataFailure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Log(_) => ErrorCode::KafkaStorageError,
            Self::ProducerIds(_) => ErrorCode::UnknownServerError,
            Self::Stopping => ErrorCode::RequestTimedOut,
        }
    }
}

impl WireError for CreateTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Duplicate | Self::Reserved | Self::AssignmentAnd { .. } => ErrorCode::InvalidRequest,
            Self::Exists(_) => ErrorCode::TopicAlreadyExists,
            Self::Name(_) | Self::Collision { .. } => ErrorCode::InvalidTopicException,
            Self::Partitions => ErrorCode::InvalidPartitions,
            Self::TooManyPartitions => ErrorCode::PolicyViolation,
            Self::ReplicationFactor | Self::TooFewBrokers { .. } | Self::AllFenced { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            Self::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
            Self::NullConfig(_) | Self::Config(_) => ErrorCode::InvalidConfig,
            Self::NoTopicId(_) | Self::Inconsistent(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl WireError for CreatePartitionsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Duplicate => ErrorCode::InvalidRequest,
            Self::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            Self::Same(_) | Self::Fewer { .. } => ErrorCode::InvalidPartitions,
            Self::TooMany => ErrorCode::PolicyViolation,
            Self::Assignments { .. } => ErrorCode::InvalidReplicaAssignment,
            Self::Placement(error) => error.code(),
            Self::Inconsistent(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl WireError for AlterConfigError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::DuplicateResource
            | Self::DuplicateKeys
            | Self::NullValue(_)
            | Self::BrokerName(_)
            | Self::UnknownBroker(_)
            | Self::GroupName
            | Self::TooManyGroups { .. }
            | Self::Kind(_)
            | Self::Refused(ConfigRefusal::ReadOnly(_)) => ErrorCode::InvalidRequest,
            Self::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            Self::NotAList { .. } | Self::Refused(ConfigRefusal::Invalid(_)) => ErrorCode::InvalidConfig,
            Self::Inconsistent(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl WireError for DeleteTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Neither | Self::Both | Self::DuplicateName | Self::DuplicateId | Self::NameOfGivenId => {
                ErrorCode::InvalidRequest
            }
            Self::UnknownName => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownId => ErrorCode::UnknownTopicId,
            Self::Inconsistent(_) => ErrorCode::UnknownServerError,
        }
    }
}
