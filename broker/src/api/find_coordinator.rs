//! FindCoordinator (10), versions 0-6: which broker keeps a group. One node keeps all of them.
//!
//! The topic that holds what coordinators decide is made when it is first needed. Transactions and share groups are INVALID_REQUEST: there
//! are none yet, and no client tries again after that.

use super::Call;
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse, key_type,
};

/// From this version on many keys may be asked for.
const MANY: i16 = 4;

pub(super) async fn handle<I: Io>(call: Call<I>, request: FindCoordinatorRequest<'_>) {
    let (code, message) = match request.key_type {
        key_type::GROUP => match call.shard.offsets_topic().await {
            Ok(()) => (ErrorCode::None, None),
            Err((code, message)) => (code, Some(message)),
        },
        key_type::TRANSACTION => {
            (ErrorCode::InvalidRequest, Some("transactions are not supported yet".to_owned()))
        }
        other => (ErrorCode::InvalidRequest, Some(format!("keys of type {other} are not supported"))),
    };
    let node_id = call.shard.config().node_id;
    let image = call.shard.image();
    let endpoint = image.broker(node_id).and_then(|broker| broker.endpoints.first());
    let (node_id, host, port) = match (code, endpoint) {
        (ErrorCode::None, Some(endpoint)) => (node_id, endpoint.host.as_str(), i32::from(endpoint.port)),
        _ => (-1, "", -1),
    };
    let code = call.error(code);
    let error_message = message.as_deref();
    let coordinator = |key| Coordinator { key, node_id, host, port, error_code: code, error_message };
    let keys = request.coordinator_keys.into_iter();
    let coordinators = if call.version >= MANY { keys.map(coordinator).collect() } else { Vec::new() };
    call.answer(&FindCoordinatorResponse {
        error_code: code,
        error_message,
        node_id,
        host,
        port,
        coordinators,
        ..FindCoordinatorResponse::default()
    });
}
