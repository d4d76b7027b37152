//! Accepts connections on shard 0 and deals them out, so that shards hold equal numbers.

use crate::limits::HTTP_CONNECTIONS;
use crate::net::admission::Admission;
use crate::shard::{Entrance, Shard};
use millrace_io::{Io, Listener};
use std::sync::Arc;

/// Accepts from `listener` until the broker stops.
pub async fn accept<I: Io>(shard: Shard<I>, mut listener: I::Listener, port: Entrance) {
    let mut image = shard.image();
    let (max, per_address) = limits(&shard, port);
    let admission = Admission::new(shard.shards(), max, per_address);
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
        if !Arc::ptr_eq(&image, &shard.image()) {
            // The limits may be others since the last one came.
            image = shard.image();
            let (max, per_address) = limits(&shard, port);
            admission.limit(max, per_address);
        }
        match admission.admit(peer.ip()) {
            Ok(permit) => shard.deal(socket, peer, port, permit).await,
            Err(refusal) => {
                shard.port(port).refused_connections.add(1);
                tracing::warn!(%peer, ?port, "connection refused: {refusal}");
            }
        }
    }
}

/// How many connections there may be at this port: at once, and from one address.
fn limits<I: Io>(shard: &Shard<I>, port: Entrance) -> (usize, usize) {
    let limits = shard.config().now(&shard.image()).limits;
    let max = match port {
        Entrance::Kafka => limits.connections,
        Entrance::Grpc => limits.grpc_connections,
        Entrance::Http => HTTP_CONNECTIONS,
    };
    (max, limits.connections_per_ip)
}
