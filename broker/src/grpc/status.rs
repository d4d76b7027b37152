//! How a call ends: a canonical code, a message for people, and `google.rpc` details for programs. Here is the one
//! table from the broker's errors to gRPC codes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use millrace_proto::grpc::google::rpc;
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;
use prost::Message;
use std::time::Duration;

/// Who defines the reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "millrace";

/// The canonical codes (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)] // the meaning of each is gRPC's
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// The outcome of a call that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The canonical code.
    pub code: Code,
    /// For people: the thing, the value, what to do.
    pub message: String,
    /// The stable reason and facts (`google.rpc.ErrorInfo`).
    pub info: Option<Info>,
    /// Fields of the request that are wrong (`google.rpc.BadRequest`).
    pub violations: Vec<Violation>,
    /// The same call may succeed after this time (`google.rpc.RetryInfo`).
    pub retry: Option<Duration>,
}

/// Why, for programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// UPPER_SNAKE_CASE, stable.
    pub reason: &'static str,
    /// More facts.
    pub metadata: Vec<(&'static str, String)>,
}

/// A field of the request that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Its path, for example `batches[0].topic`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

impl Status {
    /// A status without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), info: None, violations: Vec::new(), retry: None }
    }

    /// With a stable reason.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.info = Some(Info { reason, metadata: Vec::new() });
        self
    }

    /// INVALID_ARGUMENT that names the field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let mut status =
            Self::new(Code::InvalidArgument, format!("{field}: {description}")).because("INVALID_REQUEST");
        status.violations.push(Violation { field, description });
        status
    }

    /// The encoded `google.rpc.Status`, if there are details.
    fn details(&self) -> Option<rpc::Status> {
        let mut details = Vec::new();
        if let Some(info) = &self.info {
            let metadata = info.metadata.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
            let info = rpc::ErrorInfo { reason: info.reason.into(), domain: DOMAIN.into(), metadata };
            details.push(any("google.rpc.ErrorInfo", &info));
        }
        if !self.violations.is_empty() {
            let field_violations = self.violations.iter().map(|v| rpc::bad_request::FieldViolation {
                field: v.field.clone(),
                description: v.description.clone(),
                reason: self.info.as_ref().map_or_else(String::new, |info| info.reason.into()),
            });
            let request = rpc::BadRequest { field_violations: field_violations.collect() };
            details.push(any("google.rpc.BadRequest", &request));
        }
        if let Some(delay) = self.retry {
            let retry_delay = prost_types::Duration::try_from(delay).ok();
            details.push(any("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay }));
        }
        let code = self.code as i32;
        (!details.is_empty()).then(|| rpc::Status { code, message: self.message.clone(), details })
    }

    /// The value of the `grpc-status-details-bin` trailer.
    pub(super) fn details_trailer(&self) -> Option<String> {
        self.details().map(|status| STANDARD_NO_PAD.encode(status.encode_to_vec()))
    }

    /// The value of the `grpc-message` trailer: percent-encoded as gRPC's HTTP/2 protocol asks.
    pub(super) fn message_trailer(&self) -> String {
        let mut text = String::with_capacity(self.message.len());
        for byte in self.message.bytes() {
            match byte {
                b' '..=b'$' | b'&'..=b'~' => text.push(byte as char),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// Something that the broker refused or could not do.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What went wrong, as Kafka names it.
    pub code: ErrorCode,
    /// For people: the thing, the value, what to do. Empty: Kafka's own words for the code.
    pub message: String,
    /// More facts for programs.
    pub metadata: Vec<(&'static str, String)>,
}

impl Error {
    /// An error with a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), metadata: Vec::new() }
    }

    /// With one more fact.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// What people are told.
    pub(super) fn text(&self) -> String {
        if self.message.is_empty() { self.code.message().to_owned() } else { self.message.clone() }
    }

    /// As part of a response, where the stream goes on.
    pub fn in_stream(&self) -> v1::Error {
        let (code, retriable) = table(self.code);
        v1::Error {
            code: code as i32,
            reason: self.code.name().to_owned(),
            message: self.text(),
            retriable,
            metadata: self.metadata.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
        }
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, "")
    }
}

/// After this time it makes sense to try again: Kafka clients' `retry.backoff.ms`.
const RETRY_DELAY: Duration = Duration::from_millis(100);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, retriable) = table(error.code);
        Status {
            code,
            message: error.text(),
            info: Some(Info { reason: error.code.name(), metadata: error.metadata }),
            violations: Vec::new(),
            retry: retriable.then_some(RETRY_DELAY),
        }
    }
}

/// The gRPC code of a broker error, and whether the same request may succeed later.
fn table(error: ErrorCode) -> (Code, bool) {
    use ErrorCode as E;
    match error {
        E::UnknownTopicOrPartition | E::UnknownTopicId | E::GroupIdNotFound => (Code::NotFound, false),
        E::TopicAlreadyExists => (Code::AlreadyExists, false),
        E::OffsetOutOfRange => (Code::OutOfRange, false),
        E::InvalidTopicException
        | E::InvalidPartitions
        | E::InvalidReplicationFactor
        | E::InvalidReplicaAssignment
        | E::InvalidConfig
        | E::InvalidRequest
        | E::InvalidRecord
        | E::InvalidTimestamp
        | E::InvalidRequiredAcks
        | E::InvalidGroupId
        | E::OffsetMetadataTooLarge
        | E::MessageTooLarge
        | E::RecordListTooLarge
        | E::UnsupportedCompressionType
        | E::UnsupportedVersion => (Code::InvalidArgument, false),
        E::TopicDeletionDisabled | E::PolicyViolation | E::InvalidProducerEpoch | E::ProducerFenced => {
            (Code::FailedPrecondition, false)
        }
        E::OutOfOrderSequenceNumber | E::UnknownProducerId => (Code::FailedPrecondition, false),
        E::NonEmptyGroup
        | E::GroupSubscribedToTopic
        | E::UnknownMemberId
        | E::FencedInstanceId
        | E::UnreleasedInstanceId
        | E::FencedMemberEpoch => (Code::FailedPrecondition, false),
        E::StaleMemberEpoch | E::IllegalGeneration | E::RebalanceInProgress => (Code::Aborted, true),
        E::GroupMaxSizeReached => (Code::ResourceExhausted, false),
        E::FencedLeaderEpoch | E::UnknownLeaderEpoch => (Code::FailedPrecondition, true),
        E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed | E::GroupAuthorizationFailed => {
            (Code::PermissionDenied, false)
        }
        E::ThrottlingQuotaExceeded => (Code::ResourceExhausted, true),
        E::RequestTimedOut => (Code::DeadlineExceeded, true),
        E::NotLeaderOrFollower
        | E::LeaderNotAvailable
        | E::ReplicaNotAvailable
        | E::BrokerNotAvailable
        | E::NotController
        | E::NotEnoughReplicas
        | E::NotEnoughReplicasAfterAppend
        | E::NetworkException
        | E::OffsetNotAvailable
        | E::PreferredLeaderNotAvailable
        | E::CoordinatorLoadInProgress
        | E::CoordinatorNotAvailable
        | E::NotCoordinator => (Code::Unavailable, true),
        // The partition's log is offline or the disk is full: a person has to act, and then it works again.
        E::KafkaStorageError => (Code::Unavailable, true),
        E::CorruptMessage => (Code::DataLoss, false),
        _ => (Code::Internal, false),
    }
}

/// A message that could not be decoded.
pub(super) fn malformed(method: &str, error: impl std::fmt::Display) -> Status {
    Status::new(
        Code::InvalidArgument,
        format!("the request of {method} is not the protobuf message it should be: {error}"),
    )
    .because("MALFORMED_MESSAGE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        let status = Status::new(Code::Internal, "100 % of „x“\n");
        assert_eq!(status.message_trailer(), "100 %25 of %E2%80%9Ex%E2%80%9C%0A");
    }

    #[test]
    fn details_name_reason_and_field() {
        let status = Status::invalid("batches[0].topic", "must not be empty");
        let bytes = STANDARD_NO_PAD.decode(status.details_trailer().expect("details")).expect("base64");
        let decoded = rpc::Status::decode(&bytes[..]).expect("a status");
        assert_eq!(decoded.code, 3);
        let info = rpc::ErrorInfo::decode(&decoded.details[0].value[..]).expect("info");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_REQUEST", "millrace"));
        let request = rpc::BadRequest::decode(&decoded.details[1].value[..]).expect("violations");
        assert_eq!(request.field_violations[0].field, "batches[0].topic");
        assert_eq!(decoded.details[1].type_url, "type.googleapis.com/google.rpc.BadRequest");
    }

    #[test]
    fn a_broker_error_keeps_its_name() {
        let error = Error::new(ErrorCode::OffsetOutOfRange, "offset 7 is gone").with("log_start_offset", 9);
        let in_stream = error.in_stream();
        assert_eq!((in_stream.code, in_stream.reason.as_str()), (11, "OFFSET_OUT_OF_RANGE"));
        assert_eq!(in_stream.metadata["log_start_offset"], "9");
        let status = Status::from(error);
        assert_eq!((status.code, status.retry), (Code::OutOfRange, None));
        assert!(Status::from(Error::from(ErrorCode::NotLeaderOrFollower)).retry.is_some());
    }
}
