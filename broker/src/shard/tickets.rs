//! The rights to an answer that state machines hold: one of a produce, one of a waiting fetch.

use crate::shard::calls::ProduceFailure;
use futures_channel::oneshot;
use millrace_logic::partition::{Appended, ProduceError};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What became of one batch.
pub type ProduceOutcome = Result<Appended, ProduceFailure>;

/// Collects the outcomes of the batches that one request brought to one shard, and sends them back together.
pub struct ProduceGather {
    outcomes: RefCell<Vec<Option<ProduceOutcome>>>,
    missing: Cell<usize>,
    reply: Cell<Option<oneshot::Sender<Vec<ProduceOutcome>>>>,
}

impl ProduceGather {
    /// Waits for `count` outcomes.
    pub fn new(count: usize, reply: oneshot::Sender<Vec<ProduceOutcome>>) -> Rc<Self> {
        let outcomes = RefCell::new(vec![None; count]);
        Rc::new(Self { outcomes, missing: Cell::new(count), reply: Cell::new(Some(reply)) })
    }

    /// The right to say what became of batch `index`.
    pub fn ticket(self: &Rc<Self>, index: usize) -> ProduceTicket {
        ProduceTicket { gather: self.clone(), index }
    }

    fn answer(&self, index: usize, outcome: ProduceOutcome) {
        let earlier = self.outcomes.borrow_mut()[index].replace(outcome);
        debug_assert!(earlier.is_none(), "a batch is answered once");
        self.missing.set(self.missing.get() - 1);
        if self.missing.get() == 0
            && let Some(reply) = self.reply.take()
        {
            let outcomes = self.outcomes.take().into_iter().map(|o| o.expect("none is missing")).collect();
            // Nobody listens when the connection is gone.
            let _ = reply.send(outcomes);
        }
    }
}

/// The right to say what became of one batch.
pub struct ProduceTicket {
    gather: Rc<ProduceGather>,
    index: usize,
}

impl ProduceTicket {
    /// The state machine's answer.
    pub fn answer(self, outcome: Result<Appended, ProduceError>) {
        self.gather.answer(self.index, outcome.map_err(ProduceFailure::Refused));
    }

    /// The partition is not here.
    pub fn unknown_partition(self) {
        self.gather.answer(self.index, Err(ProduceFailure::UnknownPartition));
    }
}

/// A fetch that waits on this shard: counts what becomes readable in all of its partitions.
pub struct Watch {
    number: u64,
    missing: Cell<u64>,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    /// Waits for `bytes`.
    pub fn new(number: u64, bytes: u64) -> Rc<Self> {
        Rc::new(Self { number, missing: Cell::new(bytes), fired: Cell::default(), waker: RefCell::default() })
    }

    /// Completes when enough became readable, or a partition cannot be waited for any more.
    pub async fn fired(&self) {
        poll_fn(|cx| match self.fired.get() {
            true => Poll::Ready(()),
            false => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }
}

/// A partition's handle on a [`Watch`]; the same for all of its partitions.
#[derive(Clone)]
pub struct WatchTicket(pub Rc<Watch>);

impl WatchTicket {
    /// So many more bytes can be read.
    pub fn available(&self, bytes: u64) {
        self.0.missing.set(self.0.missing.get().saturating_sub(bytes));
        if self.0.missing.get() == 0 {
            self.fire();
        }
    }

    /// The wait is over.
    pub fn fire(&self) {
        self.0.fired.set(true);
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl PartialEq for WatchTicket {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for WatchTicket {}

impl PartialOrd for WatchTicket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WatchTicket {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.number.cmp(&other.0.number)
    }
}
