//! InitProducerId (22), versions 0-5: an id for an idempotent producer.
//!
//! Ids are never given twice, even after a crash: the block that an id comes from is durable before the first of it is
//! used. A producer that brings its id and epoch (version 3, KIP-360) gets a new id: without transactions nothing ties
//! it to the old one. Transactional ids are refused: transactions are not served yet.

use super::Call;
use super::errors::WireError;
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

pub(super) async fn handle<I: Io>(call: Call<I>, request: InitProducerIdRequest<'_>) {
    let outcome = match request.transactional_id {
        None => call.shard.new_producer_id().await.map_err(|failure| failure.code()),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(id) => {
            tracing::warn!(peer = %call.peer, transactional_id = id, "refused: transactions are not supported yet");
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
    };
    let response = match outcome {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(code) => {
            InitProducerIdResponse { error_code: call.error(code), producer_epoch: -1, ..Default::default() }
        }
    };
    call.answer(&response);
}
