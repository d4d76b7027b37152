//! One Kafka connection on its core: a reading side that takes frames and starts requests in order, and a writing side
//! that sends the answers in the same order.

use crate::api;
use crate::net::budget::Budget;
use crate::net::frames::{FrameError, Frames};
use crate::net::pulse::Pulse;
use crate::net::responses::{Piece, Ready, Responses};
use crate::shard::Shard;
use bytes::Bytes;
use millrace_io::{Io, Writer};
use std::net::SocketAddr;
use std::rc::Rc;

/// What an API handler may know of the connection that a request came on.
pub struct Connection<I: Io> {
    /// The shard that owns it.
    pub shard: Shard<I>,
    /// Where the peer is.
    pub peer: SocketAddr,
    /// Its answers.
    pub responses: Responses<I::File>,
}

/// Serves a connection until it ends. `place` is held until its last answer is sent.
pub async fn serve<I: Io>(shard: Shard<I>, socket: I::Socket, peer: SocketAddr, place: impl Sized + 'static) {
    let (reader, mut writer) = match shard.io().adopt(socket) {
        Ok(halves) => halves,
        Err(error) => {
            tracing::debug!(%peer, %error, "connection lost before it began");
            return;
        }
    };
    let limits = &shard.config().limits;
    writer.set_stall_limit(limits.stalled_writer);
    let responses = Responses::default();
    let pulse = shard.pulses().watch({
        let responses = responses.clone();
        move || responses.in_flight()
    });
    shard.io().spawn(send_answers(shard.clone(), writer, responses.clone(), pulse.clone(), (peer, place)));
    let budgets = (Budget::new(limits.connection_bytes), shard.budget().clone());
    let mut frames =
        Frames::new(shard.io().clone(), reader, limits.request_max_bytes, limits.patience, budgets);
    let connection = Rc::new(Connection { shard: shard.clone(), peer, responses: responses.clone() });
    match read_requests(&connection, &mut frames, &pulse).await {
        // Closed by us: what the peer asked for before is still answered, and the writer closes behind it.
        Ok(()) => {}
        Err(FrameError::TimedOut) if shard.is_stopping() => {}
        Err(FrameError::TimedOut) if responses.in_flight() == 0 => {
            tracing::debug!(%peer, "idle connection closed")
        }
        // A peer that has finished waits for nothing (as in Kafka), and what waits for it ends.
        Err(FrameError::Closed) => lose(&shard, &responses),
        Err(FrameError::Io(error)) => {
            tracing::debug!(%peer, %error, "connection lost");
            lose(&shard, &responses);
        }
        Err(error) => {
            shard.metrics().kafka.refused_connections.add(1);
            tracing::warn!(%peer, "connection closed: {error}");
        }
    }
    responses.finish();
}

async fn read_requests<I: Io>(
    connection: &Rc<Connection<I>>,
    frames: &mut Frames<I>,
    pulse: &Pulse,
) -> Result<(), FrameError> {
    let limits = &connection.shard.config().limits;
    loop {
        connection.responses.room(limits.connection_requests, limits.connection_answer_bytes).await;
        if connection.responses.is_broken() {
            return Ok(());
        }
        let frame = frames.next(pulse).await?;
        if !api::start(connection, frame).await {
            return Ok(());
        }
    }
}

async fn send_answers<I: Io>(
    shard: Shard<I>,
    mut writer: I::Writer,
    responses: Responses<I::File>,
    pulse: Rc<Pulse>,
    (peer, _place): (SocketAddr, impl Sized),
) {
    while let Some(ready) = responses.next(|| shard.io().yield_now()).await {
        let (memory, close) = (ready.memory(), ready.close);
        if let Err(error) = send(&mut writer, ready).await {
            if error.kind() == std::io::ErrorKind::TimedOut {
                shard.metrics().kafka.slow_readers.add(1);
                tracing::warn!(%peer, "connection closed: the client does not read its answers");
            }
            break;
        }
        responses.sent(memory);
        if close {
            break;
        }
    }
    lose(&shard, &responses);
    writer.shutdown();
    pulse.expire();
}

/// Nobody reads answers any more. What is left to do of requests is done without them.
fn lose<I: Io>(shard: &Shard<I>, responses: &Responses<I::File>) {
    responses.break_off().into_iter().for_each(|rest| shard.io().spawn(rest));
}

async fn send<W: Writer>(writer: &mut W, ready: Ready<W::File>) -> std::io::Result<()> {
    let Ready { pieces, held, .. } = ready;
    let mut memory: Vec<Bytes> = Vec::with_capacity(pieces.len());
    let parted = pieces.iter().any(|piece| matches!(piece, Piece::File { .. }));
    if parted {
        writer.cork(true);
    }
    for piece in pieces {
        match piece {
            Piece::Memory(bytes) => memory.push(bytes),
            Piece::File { file, position, len, recent } => {
                if !memory.is_empty() {
                    writer.write(std::mem::take(&mut memory)).await?;
                }
                writer.send_file(&file, position, len, recent).await?;
            }
        }
    }
    if !memory.is_empty() {
        writer.write(memory).await?;
    }
    if parted {
        writer.cork(false);
    }
    drop(held);
    Ok(())
}
