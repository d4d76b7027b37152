//! Control records: what brokers write into logs for each other.

use super::{BuildError, Builder, NO_SEQUENCE, Options, Producer, Record};
use bytes::BytesMut;

/// What a control record says, from its key (version i16, type i16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// End of an aborted transaction.
    Abort,
    /// End of a committed transaction.
    Commit,
    /// A Raft leader took over.
    LeaderChange,
    /// Head of a metadata snapshot.
    SnapshotHeader,
    /// Foot of a metadata snapshot.
    SnapshotFooter,
    /// The Raft protocol's version.
    KRaftVersion,
    /// The Raft voters.
    KRaftVoters,
    /// One that came after this was written; to be skipped.
    Unknown(i16),
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndTxn {
    /// Its records never happened.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// How it ended.
    pub end: EndTxn,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
}

/// Why a control record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The key is missing, too short, or of a negative version.
    #[error("the record's key is no control record's")]
    Key,
    /// The value is missing, too short, or of a negative version.
    #[error("the value of the transaction marker is malformed")]
    Value,
    /// The record is another control record.
    #[error("the control record ends no transaction")]
    NoMarker,
}

impl ControlType {
    /// Reads the type of a control record.
    ///
    /// # Errors
    /// [`ControlError::Key`].
    pub fn of(record: &Record<'_>) -> Result<ControlType, ControlError> {
        let id = match record.key {
            Some(&[high, low, a, b, ..]) if i16::from_be_bytes([high, low]) >= 0 => {
                i16::from_be_bytes([a, b])
            }
            _ => return Err(ControlError::Key),
        };
        Ok(match id {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KRaftVersion,
            6 => ControlType::KRaftVoters,
            id => ControlType::Unknown(id),
        })
    }
}

impl EndTxnMarker {
    /// Reads the marker in a control record.
    ///
    /// # Errors
    /// All of [`ControlError`].
    pub fn of(record: &Record<'_>) -> Result<EndTxnMarker, ControlError> {
        let end = match ControlType::of(record)? {
            ControlType::Abort => EndTxn::Abort,
            ControlType::Commit => EndTxn::Commit,
            _ => return Err(ControlError::NoMarker),
        };
        match record.value {
            Some(&[high, low, a, b, c, d, ..]) if i16::from_be_bytes([high, low]) >= 0 => {
                Ok(EndTxnMarker { end, coordinator_epoch: i32::from_be_bytes([a, b, c, d]) })
            }
            _ => Err(ControlError::Value),
        }
    }
}

/// The batch of 78 bytes that ends a producer's transaction in a partition. `timestamp` is in milliseconds since 1970.
///
/// # Errors
/// None in practice; those of [`Builder`].
pub fn end_txn_marker(
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    marker: EndTxnMarker,
) -> Result<BytesMut, BuildError> {
    let kind: u8 = match marker.end {
        EndTxn::Abort => 0,
        EndTxn::Commit => 1,
    };
    let mut value = [0; 6];
    value[2..].copy_from_slice(&marker.coordinator_epoch.to_be_bytes());
    let mut builder = Builder::new();
    builder.push(timestamp, Some(&[0, 0, 0, kind]), Some(&value), &[])?;
    builder.finish(&Options {
        producer: Some(Producer { id: producer_id, epoch: producer_epoch, base_sequence: NO_SEQUENCE }),
        transactional: true,
        control: true,
        ..Options::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{records, verify};
    use crate::compression::Caps;

    #[test]
    fn a_marker_is_the_78_bytes_that_kafka_writes() {
        for end in [EndTxn::Abort, EndTxn::Commit] {
            let marker = EndTxnMarker { end, coordinator_epoch: 9 };
            let bytes = end_txn_marker(1234, 5, 6, marker).unwrap();
            assert_eq!(bytes.len(), 78);
            let header = verify(&bytes).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 6, -1));
            let mut scratch = Vec::new();
            let record = records(&bytes, &mut scratch, &Caps::default()).unwrap().next().unwrap().unwrap();
            assert_eq!(EndTxnMarker::of(&record), Ok(marker));
            assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 9][..]));
        }
    }

    #[test]
    fn other_control_records_are_told_apart() {
        let read = |key: Option<&[u8]>, value: Option<&[u8]>| {
            let mut builder = Builder::new();
            builder.push(0, key, value, &[]).unwrap();
            let bytes = builder.finish(&Options { control: true, ..Options::default() }).unwrap();
            let mut scratch = Vec::new();
            let record = records(&bytes, &mut scratch, &Caps::default()).unwrap().next().unwrap().unwrap();
            (ControlType::of(&record), EndTxnMarker::of(&record))
        };
        assert_eq!(read(None, None), (Err(ControlError::Key), Err(ControlError::Key)));
        assert_eq!(read(Some(&[0, 0, 0]), None).0, Err(ControlError::Key));
        assert_eq!(read(Some(&[0xff, 0, 0, 1]), None).0, Err(ControlError::Key));
        assert_eq!(read(Some(&[0, 0, 0, 1]), None), (Ok(ControlType::Commit), Err(ControlError::Value)));
        assert_eq!(
            read(Some(&[0, 0, 0, 2]), None),
            (Ok(ControlType::LeaderChange), Err(ControlError::NoMarker))
        );
        assert_eq!(read(Some(&[0, 0, 0, 99]), None).0, Ok(ControlType::Unknown(99)));
    }
}
