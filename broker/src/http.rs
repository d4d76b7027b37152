//! The operators' endpoint: `GET /metrics` (Prometheus text) and `GET /health`, over HTTP/1.1.
//!
//! One request per connection, small and soon, or it is dropped; parsing is `httparse`'s.

use crate::group_lag;
use crate::metrics;
use crate::net::pulse::Pulse;
use crate::shard::Shard;
use bytes::{Bytes, BytesMut};
use millrace_io::{Io, Reader, Writer};
use std::time::Duration;

/// A request line and headers longer than this are refused.
const MAX_HEAD: usize = 8 * 1024;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one connection.
pub async fn serve<I: Io>(shard: Shard<I>, socket: I::Socket) {
    let Ok((mut reader, mut writer)) = shard.io().adopt(socket) else { return };
    writer.set_stall_limit(PATIENCE);
    let pulse = shard.pulses().watch(|| 0);
    pulse.busy_until(shard.io().now() + PATIENCE);
    let response = match read_head(&mut reader, &pulse).await {
        Some(head) => respond(&shard, &head).await,
        None => return,
    };
    if writer.write(vec![response]).await.is_ok() {
        writer.shutdown();
        // Until the client has read everything and closes; or else the close could destroy what is under way.
        while matches!(pulse.guard(reader.read(&mut BytesMut::new(), MAX_HEAD)).await, Some(Ok(1..))) {}
    }
}

async fn read_head<R: Reader>(reader: &mut R, pulse: &Pulse) -> Option<BytesMut> {
    let mut head = BytesMut::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let room = MAX_HEAD.checked_sub(head.len()).filter(|&room| room > 0)?;
        match pulse.guard(reader.read(&mut head, room)).await {
            Some(Ok(1..)) => {}
            _ => return None,
        }
    }
    Some(head)
}

async fn respond<I: Io>(shard: &Shard<I>, head: &[u8]) -> Bytes {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(head).is_err() {
        return response("400 Bad Request", "text/plain", "not an HTTP/1.1 request\n");
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    match (request.method, path) {
        (Some("GET"), "/metrics") => {
            let mut text = metrics::render(&shard.metrics_of_all().await);
            text.push_str(&group_lag::render(&shard.group_lags().await));
            response("200 OK", "text/plain; version=0.0.4; charset=utf-8", &text)
        }
        (Some("GET"), "/health") => match health(shard).await {
            Ok(()) => response("200 OK", "text/plain", "ok\n"),
            Err(why) => response("503 Service Unavailable", "text/plain", &format!("{why}\n")),
        },
        (Some("GET"), _) => response("404 Not Found", "text/plain", "there are /metrics and /health\n"),
        _ => response("405 Method Not Allowed", "text/plain", "only GET is answered\n"),
    }
}

/// Whether every shard serves all that it should.
async fn health<I: Io>(shard: &Shard<I>) -> Result<(), String> {
    if shard.is_stopping() {
        return Err("shutting down".to_owned());
    }
    let shards = shard.metrics_of_all().await;
    let offline: Vec<_> = shards.iter().flat_map(|shard| shard.offline()).collect();
    match offline.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} partitions are offline; the first: {first}", offline.len())),
    }
}

fn response(status: &str, content_type: &str, body: &str) -> Bytes {
    let length = body.len();
    Bytes::from(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}
