//! Accepts connections on shard 0 and deals them out, so that shards hold equal numbers.

use crate::net::admission::Admission;
use crate::shard::{Entrance, Shard};
use millrace_io::{Io, Listener};

/// Accepts from `listener` until the broker stops.
pub async fn accept<I: Io>(shard: Shard<I>, mut listener: I::Listener, port: Entrance, admission: Admission) {
    let io = shard.io().clone();
    let stopping = std::pin::pin!(io.terminated());
    let mut stopping = stopping;
    loop {
        let accepted = std::pin::pin!(listener.accept());
        let (socket, peer) = match futures_util::future::select(accepted, stopping.as_mut()).await {
            futures_util::future::Either::Left((Ok(accepted), _)) => accepted,
            futures_util::future::Either::Left((Err(error), _)) => {
                tracing::error!(?port, %error, "the listening socket failed: no further connections");
                return;
            }
            futures_util::future::Either::Right(_) => return,
        };
        match admission.admit(peer.ip()) {
            Ok(permit) => shard.deal(socket, peer, port, permit).await,
            Err(refusal) => {
                shard.port(port).refused_connections.add(1);
                tracing::warn!(%peer, ?port, "connection refused: {refusal}");
            }
        }
    }
}
