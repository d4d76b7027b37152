//! What a call can fail with: the gRPC status with its `google.rpc` details, or an error inside a stream, as one type.

use millrace_proto::grpc::google::rpc;
use millrace_proto::grpc::v1;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use tonic::Code;

/// Why something failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// The canonical gRPC code.
    pub code: Code,
    /// The stable reason in UPPER_SNAKE_CASE, for programs: where Kafka has an error for the case, the name of Kafka's.
    /// Empty if the broker gave none, as when it could not be reached.
    pub reason: String,
    /// For people: the thing, the value, what to do.
    pub message: String,
    /// Facts for programs, for example `log_start_offset` with `OFFSET_OUT_OF_RANGE`.
    pub metadata: BTreeMap<String, String>,
    /// The fields of the request that are wrong.
    pub violations: Vec<Violation>,
    /// Whether the same request may succeed later without a change.
    pub retriable: bool,
    /// How long to wait before trying again, if the broker said so.
    pub retry_after: Option<Duration>,
    /// Whether the broker was not reached, or the connection to it broke.
    pub disconnected: bool,
}

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, for example `batches[0].topic`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message.is_empty(), self.reason.is_empty()) {
            (true, true) => write!(f, "{}", self.code.description()),
            (true, false) => f.write_str(&self.reason),
            (false, true) => f.write_str(&self.message),
            (false, false) => write!(f, "{} ({})", self.message, self.reason),
        }
    }
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: String::new(),
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retriable: false,
            retry_after: None,
            disconnected: false,
        }
    }

    /// The broker was not reached, or is not reached any more.
    pub(crate) fn disconnected(message: impl Into<String>) -> Self {
        Self { retriable: true, disconnected: true, ..Self::new(Code::Unavailable, message) }
    }

    /// The same words for something more specific.
    pub(crate) fn about(mut self, thing: &str) -> Self {
        self.message = format!("{thing}: {}", self.message);
        self
    }

    /// What is behind the details of a status.
    fn read_details(&mut self, details: &[u8]) {
        // Details that cannot be understood are no reason to lose the status itself.
        let Ok(status) = rpc::Status::decode(details) else { return };
        for any in status.details {
            match any.type_url.rsplit('/').next() {
                Some("google.rpc.ErrorInfo") => {
                    if let Ok(info) = rpc::ErrorInfo::decode(&*any.value) {
                        self.reason = info.reason;
                        self.metadata = info.metadata.into_iter().collect();
                    }
                }
                Some("google.rpc.BadRequest") => {
                    if let Ok(request) = rpc::BadRequest::decode(&*any.value) {
                        let violation = |v: rpc::bad_request::FieldViolation| Violation {
                            field: v.field,
                            description: v.description,
                        };
                        self.violations = request.field_violations.into_iter().map(violation).collect();
                    }
                }
                Some("google.rpc.RetryInfo") => {
                    if let Ok(info) = rpc::RetryInfo::decode(&*any.value) {
                        self.retriable = true;
                        self.retry_after = info.retry_delay.and_then(|delay| delay.try_into().ok());
                    }
                }
                _ => {}
            }
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        // A status that was made on this side of the wire has the transport's error behind it.
        let local = std::error::Error::source(&status).is_some();
        let mut error = if local {
            let mut causes = vec![status.message().to_owned()];
            let mut source = std::error::Error::source(&status);
            while let Some(cause) = source {
                causes.push(cause.to_string());
                source = cause.source();
            }
            causes.dedup();
            Error::disconnected(causes.join(": "))
        } else {
            Error::new(status.code(), status.message())
        };
        error.read_details(status.details());
        error
    }
}

impl From<v1::Error> for Error {
    fn from(error: v1::Error) -> Self {
        Self {
            reason: error.reason,
            metadata: error.metadata.into_iter().collect(),
            retriable: error.retriable,
            ..Self::new(Code::from_i32(error.code), error.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, message: &impl Message) -> prost_types::Any {
        prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
    }

    #[test]
    fn a_status_keeps_its_details() {
        let info = rpc::ErrorInfo {
            reason: "OFFSET_OUT_OF_RANGE".into(),
            domain: "millrace".into(),
            metadata: [("log_start_offset".to_owned(), "5".to_owned())].into(),
        };
        let request = rpc::BadRequest {
            field_violations: vec![rpc::bad_request::FieldViolation {
                field: "start.partitions[0].offset".into(),
                description: "is 1".into(),
                ..Default::default()
            }],
        };
        let retry =
            rpc::RetryInfo { retry_delay: prost_types::Duration::try_from(Duration::from_millis(100)).ok() };
        let details = rpc::Status {
            code: 11,
            message: String::new(),
            details: vec![
                any("google.rpc.ErrorInfo", &info),
                any("google.rpc.BadRequest", &request),
                any("google.rpc.RetryInfo", &retry),
                any("google.rpc.Help", &rpc::Status::default()),
            ],
        };
        let status = tonic::Status::with_details(Code::OutOfRange, "gone", details.encode_to_vec().into());
        let error = Error::from(status);
        assert_eq!((error.code, error.reason.as_str()), (Code::OutOfRange, "OFFSET_OUT_OF_RANGE"));
        assert_eq!(error.metadata["log_start_offset"], "5");
        assert_eq!(error.violations[0].field, "start.partitions[0].offset");
        assert_eq!((error.retriable, error.retry_after), (true, Some(Duration::from_millis(100))));
        assert!(!error.disconnected);
        assert_eq!(error.to_string(), "gone (OFFSET_OUT_OF_RANGE)");
    }

    #[test]
    fn details_that_are_none_are_ignored() {
        let status = tonic::Status::with_details(Code::NotFound, "no such topic", vec![0xff, 0xff].into());
        let error = Error::from(status);
        assert_eq!((error.code, error.to_string()), (Code::NotFound, "no such topic".to_owned()));
    }
}
