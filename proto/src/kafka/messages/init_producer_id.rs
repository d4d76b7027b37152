//! InitProducerId (22): an id and epoch for an idempotent or transactional producer (KIP-98).
//!
//! Versions: 2 flexible · 3 a producer may ask to go on with its id (KIP-360) · 4 PRODUCER_FENCED (KIP-588) · 5
//! TRANSACTION_ABORTABLE (KIP-890). Version 6 (two-phase commit, KIP-939) is not spoken, nor does Kafka advertise it.

use crate::kafka::error::ErrorCode;

message! {
    /// Asks for an id.
    pub struct InitProducerIdRequest<'a>(versions 0..=5, flexible 2..) {
        /// The transactional id; `None` for a producer that is only idempotent.
        transactional_id: Option<&'a str>;
        /// How long a transaction may be idle.
        transaction_timeout_ms: i32;
        /// The id the producer has; -1 for none.
        producer_id: i64 = -1, versions 3..;
        /// The epoch the producer has; -1 for none.
        producer_epoch: i16 = -1, versions 3..;
    }

    /// An id, never given before.
    pub struct InitProducerIdResponse(versions 0..=5, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why there is no id, if there is none.
        error_code: ErrorCode;
        /// The id; -1 on error.
        producer_id: i64 = -1;
        /// Its epoch.
        producer_epoch: i16;
    }
}
