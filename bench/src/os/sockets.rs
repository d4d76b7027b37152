//! Sockets: bytes thrown away in the kernel, so that reading costs the driver as little as possible.

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// Throws received bytes away without copying them (`MSG_TRUNC`).
#[derive(Debug)]
pub struct Discard {
    // Never written to: it is there because a safe call wants room for as much as it asks for. Fresh zeroed memory that nobody touches
    // has no pages.
    room: Vec<u8>,
}

impl Discard {
    /// Ready to throw away.
    pub fn new() -> Self {
        Self { room: vec![0; 4 << 20] }
    }

    /// Throws away up to `bytes`; returns how many. 0 is the end of the stream, `WouldBlock` as of any read.
    pub fn up_to(&mut self, stream: &TcpStream, bytes: usize) -> io::Result<usize> {
        let most = bytes.min(self.room.len());
        loop {
            match recv(stream.as_raw_fd(), &mut self.room[..most], MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => {}
                done => return done.map_err(io::Error::from),
            }
        }
    }
}

/// Sends all of this, and lets it wait for what follows at once.
pub fn send_and_more_follows(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    // `MSG_MORE`, for which nix has no name.
    let more = MsgFlags::from_bits_retain(0x8000);
    while !bytes.is_empty() {
        match send(stream.as_raw_fd(), bytes, more | MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            sent => bytes = &bytes[sent.map_err(io::Error::from)?..],
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn exactly_so_many_bytes_are_thrown_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut to, _) = listener.accept().unwrap();
        let mut sent = vec![7; 100_000];
        sent.extend_from_slice(b"rest");
        from.write_all(&sent).unwrap();
        drop(from);
        let (mut discard, mut left) = (Discard::new(), 100_000);
        while left > 0 {
            let gone = discard.up_to(&to, left).unwrap();
            assert!((1..=left).contains(&gone));
            left -= gone;
        }
        let mut rest = Vec::new();
        to.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"rest");
        assert_eq!(discard.up_to(&to, 1).unwrap(), 0);
        assert!(discard.room.iter().all(|byte| *byte == 0), "nothing was copied");
    }
}
