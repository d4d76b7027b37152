//! Why a batch is refused, and the Kafka error code of each reason.

use crate::compression::{Codec, CompressionError};
use std::fmt;

/// How many records of one batch are named at most when they are refused one by one.
///
/// Kafka names all of them; a batch of millions must not make a response of hundreds of megabytes.
pub const MAX_RECORD_ERRORS: usize = 16;

/// Why a batch is refused. [`BatchError::code`] is what a producer is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Too few bytes to hold a batch.
    #[error("{given} bytes hold no record batch; a partition's records are exactly one whole batch")]
    NoBatch {
        /// Bytes that were given.
        given: usize,
    },
    /// The batch is cut short, or something follows it.
    #[error(
        "the record batch declares {declared} bytes and {given} were given; send exactly one whole batch per partition"
    )]
    Size {
        /// Bytes of the batch by its own length field.
        declared: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The declared length cannot be a batch's.
    #[error("the record batch declares a length of {length}; at least 49 bytes follow that field")]
    Length {
        /// The length field.
        length: i32,
    },
    /// Message formats 0 and 1.
    #[error("the record batch has message format {magic}; only format 2 is accepted")]
    OldMagic {
        /// The magic byte.
        magic: i8,
    },
    /// No message format at all.
    #[error("{magic} is no message format; the record batch is damaged")]
    UnknownMagic {
        /// The magic byte.
        magic: i8,
    },
    /// A client chose offsets.
    #[error(
        "the record batch has base offset {base_offset}; producers send 0 and the leader assigns offsets"
    )]
    BaseOffset {
        /// The base offset.
        base_offset: i64,
    },
    /// Larger than the topic allows.
    #[error("the record batch has {size} bytes, more than the topic's max.message.bytes of {max}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The checksum does not match.
    #[error(
        "the record batch's CRC-32C is {computed:#010x} but it carries {stored:#010x}; it was damaged on its way"
    )]
    Crc {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// Record count and last offset delta contradict each other or are not positive.
    #[error(
        "the record batch counts {record_count} records but its last offset delta is {last_offset_delta}"
    )]
    Count {
        /// The record count.
        record_count: i32,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// A client sent markers.
    #[error("clients may not write control records")]
    Control,
    /// An idempotent producer without a sequence number.
    #[error(
        "the record batch of producer id {producer_id} has sequence number {base_sequence}; it must not be negative"
    )]
    Sequence {
        /// The producer id.
        producer_id: i64,
        /// The base sequence.
        base_sequence: i32,
    },
    /// The attributes claim that a leader took the timestamps.
    #[error("the record batch says that its timestamp type is LogAppendTime; only the broker may set that")]
    LogAppendTime,
    /// zstd in a produce request of a version before it existed (KIP-110).
    #[error("zstd needs produce version 7 or later; update the producer or choose another compression")]
    ZstdTooOld,
    /// A number that no codec has.
    #[error("{id} is no compression type")]
    UnknownCodec {
        /// The number in the attributes.
        id: u8,
    },
    /// The compressed records are damaged.
    #[error("the records do not decompress as {codec}")]
    Decompress {
        /// The codec in the attributes.
        codec: Codec,
    },
    /// The records decompress to more than is allowed for their compressed size.
    #[error("the records decompress to more than {limit} bytes; send smaller batches")]
    DecompressedTooLarge {
        /// The limit for this batch, in bytes.
        limit: usize,
    },
    /// A record's own bytes contradict each other.
    #[error("record {index} is malformed: {fault}")]
    Malformed {
        /// Position of the record in its batch.
        index: i32,
        /// What is wrong.
        fault: RecordFault,
    },
    /// There is more behind the last record.
    #[error("bytes follow the last of the {record_count} records that the batch declares")]
    Trailing {
        /// The declared count.
        record_count: i32,
    },
    /// Well-formed records that the topic does not accept.
    #[error("{0}")]
    Rejected(RejectedRecords),
}

impl BatchError {
    /// Kafka's error code for this reason.
    ///
    /// Two of them are kinder than Kafka's, which answers UNKNOWN_SERVER_ERROR: records that do not decompress
    /// are INVALID_RECORD, and an unknown codec is UNSUPPORTED_COMPRESSION_TYPE. Neither is retriable there or here.
    /// A batch that inflates past the caps is MESSAGE_TOO_LARGE, upon which Kafka's producer splits it.
    pub fn code(&self) -> i16 {
        match self {
            BatchError::Length { .. } | BatchError::UnknownMagic { .. } | BatchError::Crc { .. } => {
                CORRUPT_MESSAGE
            }
            BatchError::TooLarge { .. } | BatchError::DecompressedTooLarge { .. } => MESSAGE_TOO_LARGE,
            BatchError::LogAppendTime => INVALID_TIMESTAMP,
            BatchError::ZstdTooOld | BatchError::UnknownCodec { .. } => UNSUPPORTED_COMPRESSION_TYPE,
            BatchError::Rejected(rejected) if rejected.timestamps => INVALID_TIMESTAMP,
            BatchError::NoBatch { .. }
            | BatchError::Size { .. }
            | BatchError::OldMagic { .. }
            | BatchError::BaseOffset { .. }
            | BatchError::Count { .. }
            | BatchError::Control
            | BatchError::Sequence { .. }
            | BatchError::Decompress { .. }
            | BatchError::Malformed { .. }
            | BatchError::Trailing { .. }
            | BatchError::Rejected(_) => INVALID_RECORD,
        }
    }

    /// The records to name one by one in a Produce response (`record_errors`, version 8 and later; KIP-467).
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            BatchError::Rejected(rejected) => &rejected.first,
            _ => &[],
        }
    }

    pub(super) fn from_compression(error: CompressionError, codec: Codec) -> Self {
        match error {
            CompressionError::Corrupt => BatchError::Decompress { codec },
            CompressionError::TooLarge { limit } => BatchError::DecompressedTooLarge { limit },
        }
    }
}

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// What is wrong with a record's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The record, or the batch, ends too early.
    #[error("it ends too early")]
    Truncated,
    /// A variable-length integer that is longer than its type allows.
    #[error("a variable-length integer is too long")]
    Varint,
    /// The declared length is not what the fields take.
    #[error("{0} bytes are left behind its last field")]
    Length(u64),
    /// A length or a count below its least value.
    #[error("it declares a length or count of {0}")]
    Negative(i32),
    /// More headers than the record has bytes.
    #[error("it declares {0} headers, more than it has room for")]
    HeaderCount(i32),
    /// Offset deltas count from zero without a gap.
    #[error("its offset delta is {found} where {expected} is due")]
    OffsetDelta {
        /// What the position calls for.
        expected: i32,
        /// What the record says.
        found: i32,
    },
    /// The offset or the timestamp is beyond what 64 bits hold.
    #[error("its offset or timestamp is out of range")]
    Range,
}

/// Well-formed records that the topic does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecords {
    /// How many records of the batch are refused.
    pub total: u32,
    /// The first of them, [`MAX_RECORD_ERRORS`] at most.
    pub first: Vec<RecordError>,
    /// Whether a timestamp is among the reasons; it then decides the batch's error code.
    pub timestamps: bool,
}

impl fmt::Display for RejectedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records were refused", self.total)?;
        match self.first.first() {
            Some(first) => write!(f, ", first record {}: {}", first.index, first.reason),
            None => Ok(()),
        }
    }
}

/// One refused record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Position of the record in its batch (`batch_index` in a Produce response).
    pub index: i32,
    /// Why; its `Display` is the message for the producer.
    pub reason: RecordReason,
}

/// Why a well-formed record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordReason {
    /// Compaction knows records by their keys.
    #[error("a compacted topic accepts no record without a key")]
    NullKey,
    /// Outside `message.timestamp.before.max.ms` or `message.timestamp.after.max.ms`.
    #[error("timestamp {timestamp} is outside of the accepted range from {min} to {max}")]
    Timestamp {
        /// Milliseconds since 1970.
        timestamp: i64,
        /// The earliest accepted.
        min: i64,
        /// The latest accepted.
        max: i64,
    },
}
