//! Buffers on their way to a socket or a file, in the form that the kernel wants.

use bytes::{Buf, Bytes};
use std::ptr;

/// The kernel refuses more than this many pieces at once (`IOV_MAX`).
const MAX_PIECES: usize = 1024;
/// One system call moves less than 2 GiB; half of it keeps every sum inside 31 bits.
const MAX_BYTES: usize = 1 << 30;

/// Owned buffers and what is left of them to send. Boxed, because the kernel is given its address.
pub(super) struct Gather {
    bufs: Vec<Bytes>,
    /// The first buffer that is not done.
    first: usize,
    pieces: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Gather {
    /// An empty one.
    pub(super) fn new() -> Box<Self> {
        // SAFETY: `msghdr` is plain data for which all zeroes (null pointers, no lengths) is a valid value.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Self { bufs: Vec::new(), first: 0, pieces: Vec::new(), message })
    }

    /// Takes `bufs` in place of what it held.
    pub(super) fn fill(&mut self, mut bufs: Vec<Bytes>) {
        bufs.retain(|buf| !buf.is_empty());
        self.bufs = bufs;
        self.first = 0;
    }

    /// Drops what it holds.
    pub(super) fn clear(&mut self) {
        self.bufs.clear();
        self.pieces.clear();
        self.first = 0;
    }

    /// Whether all is done.
    pub(super) fn is_done(&self) -> bool {
        self.first == self.bufs.len()
    }

    /// Bytes left.
    pub(super) fn len(&self) -> usize {
        self.bufs[self.first..].iter().map(Bytes::len).sum()
    }

    /// Notes that the first `n` of the bytes left are done.
    pub(super) fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let buf = &mut self.bufs[self.first];
            let step = n.min(buf.len());
            buf.advance(step);
            n -= step;
            if buf.is_empty() {
                self.first += 1;
            }
        }
    }

    /// The one buffer left, if it is only one.
    pub(super) fn single(&self) -> Option<&Bytes> {
        match &self.bufs[self.first..] {
            [only] if only.len() <= MAX_BYTES => Some(only),
            _ => None,
        }
    }

    /// The pieces left, as many as one system call takes: address and count. Valid until this is changed or dropped.
    pub(super) fn pieces(&mut self) -> (*const libc::iovec, u32) {
        self.pieces.clear();
        let mut room = MAX_BYTES;
        for buf in &self.bufs[self.first..] {
            let len = buf.len().min(room);
            if len == 0 || self.pieces.len() == MAX_PIECES {
                break;
            }
            room -= len;
            self.pieces.push(libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: len });
        }
        (self.pieces.as_ptr(), self.pieces.len() as u32)
    }

    /// The pieces left as a message. Valid until this is changed or dropped.
    pub(super) fn message(&mut self) -> *const libc::msghdr {
        let (pieces, count) = self.pieces();
        self.message.msg_iov = pieces.cast_mut();
        self.message.msg_iovlen = count as _;
        ptr::from_ref(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(gather: &mut Gather) -> usize {
        let (_, count) = gather.pieces();
        gather.pieces[..count as usize].iter().map(|p| p.iov_len).sum()
    }

    #[test]
    fn advances_over_buffer_ends_and_skips_empty_ones() {
        let mut gather = Gather::new();
        gather.fill(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defgh")]);
        assert_eq!(left(&mut gather), 8);
        gather.advance(2);
        assert_eq!(left(&mut gather), 6);
        gather.advance(4);
        assert_eq!(gather.single().map(|b| &b[..]), Some(&b"gh"[..]));
        gather.advance(2);
        assert!(gather.is_done());
    }

    #[test]
    fn offers_no_more_pieces_than_the_kernel_takes() {
        let mut gather = Gather::new();
        gather.fill(vec![Bytes::from_static(b"xy"); 3000]);
        assert_eq!(left(&mut gather), 2048);
        gather.advance(2047);
        assert_eq!(left(&mut gather), 2047);
    }
}
