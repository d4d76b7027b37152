//! gRPC's message framing inside a stream's bytes: a flag (compressed or not), a big-endian length, the message.

use super::status::{Code, Status};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

pub(super) use millrace_proto::grpc::records_out::{PREFIX, prefix};

/// The length of the message behind `prefix`.
/// # Errors
/// UNIMPLEMENTED for a compressed one, RESOURCE_EXHAUSTED for one longer than `limit`.
pub(super) fn message_len(prefix: [u8; PREFIX], limit: usize) -> Result<usize, Status> {
    let [flag, len @ ..] = prefix;
    match flag {
        0 => {}
        1 => {
            return Err(Status::new(
                Code::Unimplemented,
                "the message is compressed; only `grpc-encoding: identity` is supported",
            )
            .because("COMPRESSION_NOT_SUPPORTED"));
        }
        _ => {
            return Err(Status::new(
                Code::Internal,
                format!("message prefix begins with {flag}, not with 0 or 1"),
            )
            .because("MALFORMED_MESSAGE"));
        }
    }
    let len = u32::from_be_bytes(len) as usize;
    if len > limit {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!(
                "a message of {len} bytes is larger than the {limit} that are accepted: send smaller ones"
            ),
        )
        .because("MESSAGE_TOO_LARGE"));
    }
    Ok(len)
}

/// A message with its prefix.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + len);
    // Responses are far below 4 GiB: those with records are cut to size, and the rest is small.
    out.put_slice(&prefix(u32::try_from(len).unwrap_or(u32::MAX)));
    message.encode_raw(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_limited_and_compression_is_refused() {
        assert_eq!(message_len(prefix(700), 700), Ok(700));
        assert_eq!(message_len(prefix(701), 700).map_err(|s| s.code), Err(Code::ResourceExhausted));
        assert_eq!(message_len([1, 0, 0, 0, 0], 700).map_err(|s| s.code), Err(Code::Unimplemented));
        assert_eq!(message_len([7, 0, 0, 0, 0], 700).map_err(|s| s.code), Err(Code::Internal));
        assert_eq!(
            message_len([0, 255, 255, 255, 255], 700).map_err(|s| s.code),
            Err(Code::ResourceExhausted)
        );
    }
}
