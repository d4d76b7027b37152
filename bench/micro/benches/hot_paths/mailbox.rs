//! A hop from core to core, without the cores: both ends are on one thread, so neither waiting for the other's cache lines nor waking it
//! is counted. One operation: a message is sent and received.
//!
//! - `idle`: the receiver waits for each message, and waits again after it.
//! - `busy`: 16 messages are there when it looks.

use crate::OPERATIONS;
use gungraun::{library_benchmark, library_benchmark_group};
use millrace_io::mailbox::{Receiver, Sender, mailbox as new};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// About as large as what shards say to each other.
type Message = [u64; 16];
/// As many as the broker's mailboxes take.
const CAPACITY: usize = 1024;

struct Ends {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
}

impl Ends {
    fn new() -> Self {
        let (sender, receiver) = new(CAPACITY);
        let mut ends = Self { sender, receiver };
        ends.hop(1);
        ends
    }

    fn hop(&mut self, messages: usize) {
        for number in 0..messages {
            self.sender.try_send(black_box([number as u64; 16])).expect("room");
        }
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..messages {
            let received = pin!(self.receiver.recv()).poll(&mut cx);
            assert!(black_box(received).is_ready(), "it was sent");
        }
        // It looks once more, finds nothing, and is woken by the next.
        assert!(matches!(pin!(self.receiver.recv()).poll(&mut cx), Poll::Pending), "nothing is left");
    }
}

fn ends() -> Ends {
    Ends::new()
}

#[library_benchmark]
#[bench::idle(ends(), 1)]
#[bench::busy(ends(), 16)]
fn mailbox_hop(mut ends: Ends, at_once: usize) -> Ends {
    let mut left = OPERATIONS;
    while left > 0 {
        let messages = at_once.min(left);
        ends.hop(messages);
        left -= messages;
    }
    ends
}

library_benchmark_group!(name = hops, benchmarks = [mailbox_hop]);
