//! What a leader writes into a batch before it appends it.

use super::{Attributes, Header, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Producer, TimestampType};

/// Writes the offset of the first record and the leader's epoch. The CRC covers neither.
///
/// # Panics
/// When `batch` is shorter than a header: only batches that were checked are stamped.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    let head = head_of(batch);
    head[..8].copy_from_slice(&base_offset.to_be_bytes());
    head[Header::LEADER_EPOCH_AT..Header::MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Makes `now` (milliseconds since 1970) the timestamp of the whole batch, as `message.timestamp.type=LogAppendTime`
/// asks for, and computes the CRC anew. `batch` is exactly one batch.
///
/// # Panics
/// When `batch` is shorter than a header: only batches that were checked are stamped.
pub fn stamp_log_append_time(batch: &mut [u8], now: i64) {
    stamp_timestamp(batch, TimestampType::LogAppendTime, now);
}

/// Corrects the largest timestamp, for a batch whose producer got it wrong
/// ([`super::Checked::max_timestamp_differs`]), and computes the CRC anew. `batch` is exactly one batch.
///
/// # Panics
/// When `batch` is shorter than a header: only batches that were checked are stamped.
pub fn stamp_max_timestamp(batch: &mut [u8], max_timestamp: i64) {
    stamp_timestamp(batch, TimestampType::CreateTime, max_timestamp);
}

/// Writes which batch of which idempotent producer it is, or with `None` that it is nobody's, and computes the CRC anew. `batch` is
/// exactly one batch.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn stamp_producer(batch: &mut [u8], producer: Option<Producer>) {
    let none = Producer { id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH, base_sequence: NO_SEQUENCE };
    let Producer { id, epoch, base_sequence } = producer.unwrap_or(none);
    let head = head_of(batch);
    head[43..51].copy_from_slice(&id.to_be_bytes());
    head[51..53].copy_from_slice(&epoch.to_be_bytes());
    head[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    seal(batch);
}

fn stamp_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) {
    let head = head_of(batch);
    let bits = i16::from_be_bytes([head[Header::ATTRIBUTES_AT], head[Header::ATTRIBUTES_AT + 1]]);
    let bits = Attributes(bits).with_timestamp_type(timestamp_type).0;
    head[Header::ATTRIBUTES_AT..Header::ATTRIBUTES_AT + 2].copy_from_slice(&bits.to_be_bytes());
    head[Header::MAX_TIMESTAMP_AT..Header::MAX_TIMESTAMP_AT + 8]
        .copy_from_slice(&max_timestamp.to_be_bytes());
    seal(batch);
}

/// Computes the CRC of the batch and writes it into the header.
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[Header::ATTRIBUTES_AT..]);
    batch[Header::CRC_AT..Header::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn head_of(batch: &mut [u8]) -> &mut [u8; Header::SIZE] {
    batch.first_chunk_mut().expect("a batch that is stamped has a header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Options, verify};

    fn batch() -> Vec<u8> {
        let mut builder = Builder::new();
        builder.push(1000, None, Some(b"a"), &[]).unwrap();
        builder.push(3000, None, Some(b"b"), &[]).unwrap();
        builder.finish(&Options::default()).unwrap().to_vec()
    }

    #[test]
    fn offset_and_epoch_leave_the_crc_alone() {
        let mut bytes = batch();
        let before = Header::parse(&bytes).unwrap();
        stamp(&mut bytes, 77, 5);
        assert_eq!(verify(&bytes), Ok(Header { base_offset: 77, leader_epoch: 5, ..before }));
    }

    #[test]
    fn log_append_time_changes_type_and_maximum() {
        let mut bytes = batch();
        stamp_log_append_time(&mut bytes, 9000);
        let header = verify(&bytes).unwrap();
        assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, 9000));
        assert_eq!(header.base_timestamp, 1000);
    }

    #[test]
    fn the_producer_can_be_written_and_taken_back() {
        let mut bytes = batch();
        stamp_producer(&mut bytes, Some(Producer { id: 77, epoch: 3, base_sequence: 5 }));
        let header = verify(&bytes).unwrap();
        assert_eq!((header.producer_id, header.producer_epoch, header.last_sequence()), (77, 3, 6));
        stamp_producer(&mut bytes, None);
        assert_eq!(bytes, batch());
    }

    #[test]
    fn the_maximum_can_be_corrected() {
        let mut bytes = batch();
        stamp_max_timestamp(&mut bytes, 2999);
        let header = verify(&bytes).unwrap();
        assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::CreateTime, 2999));
    }
}
