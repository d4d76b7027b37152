//! The length in front of every frame: 4 bytes, checked before anything is reserved for what follows.

use thiserror::Error;

/// Bytes of the size in front of a frame, not counted by it.
pub const PREFIX: usize = 4;

/// Why a connection's next frame is not worth reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Sizes are not negative.
    #[error("frame size {0} is negative")]
    Negative(i32),
    /// Larger than allowed.
    #[error("frame of {size} bytes exceeds the limit of {limit} (socket.request.max.bytes)")]
    TooLarge {
        /// Bytes announced.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The size spells the start of another protocol, whose client is better told so than given a large number.
    #[error("this is {0}, not Kafka's protocol: check the client's address and security settings")]
    Foreign(&'static str),
}

/// The number of bytes that follow `prefix`, at most `limit`.
pub fn size(prefix: [u8; PREFIX], limit: usize) -> Result<usize, FrameError> {
    let announced = i32::from_be_bytes(prefix);
    let size = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
    if size <= limit {
        return Ok(size);
    }
    Err(match foreign(prefix) {
        Some(protocol) => FrameError::Foreign(protocol),
        None => FrameError::TooLarge { size, limit },
    })
}

/// The protocol that starts with these bytes.
fn foreign(prefix: [u8; PREFIX]) -> Option<&'static str> {
    match &prefix {
        [0x16, 3, ..] => Some("TLS"),
        b"PRI " => Some("HTTP/2 or gRPC"),
        b"GET " | b"HEAD" | b"POST" | b"PUT " | b"OPTI" => Some("HTTP"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(size([0, 0, 0, 0], 256), Ok(0));
        assert_eq!(size([0, 0, 1, 1], 256), Err(FrameError::TooLarge { size: 257, limit: 256 }));
        assert_eq!(size([0xff; 4], 256), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn other_protocols_are_named() {
        assert_eq!(size(*b"GET ", 100 << 20), Err(FrameError::Foreign("HTTP")));
        assert_eq!(size(*b"PRI ", 100 << 20), Err(FrameError::Foreign("HTTP/2 or gRPC")));
        assert_eq!(size([0x16, 3, 1, 2], 100 << 20), Err(FrameError::Foreign("TLS")));
    }
}
