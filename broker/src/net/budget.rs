//! Bytes in flight, reserved before they are read: what a core has promised to hold at most.
//!
//! One budget per shard, one per connection. A reservation is a value; dropping it gives the bytes back. Waiting is in
//! order of arrival, so a large request is never starved by small ones behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

struct Waiting {
    bytes: usize,
    turn: u64,
    waker: Waker,
}

struct State {
    limit: usize,
    used: Cell<usize>,
    next_turn: Cell<u64>,
    queue: RefCell<VecDeque<Waiting>>,
}

/// A number of bytes that may be held at once.
#[derive(Clone)]
pub struct Budget(Rc<State>);

/// Bytes that are held. Dropping it gives them back.
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Rc::new(State {
            limit,
            used: Cell::new(0),
            next_turn: Cell::new(0),
            queue: RefCell::new(VecDeque::new()),
        }))
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.0.used.get()
    }

    /// The bytes at once, if nobody waits and they fit. A request larger than the whole budget fits when nothing else
    /// is held: otherwise it could never be served.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.0.queue.borrow().is_empty().then(|| self.take(bytes)).flatten()
    }

    /// The bytes, after everybody who asked before.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        if let Some(reservation) = self.try_reserve(bytes) {
            return reservation;
        }
        let turn = self.0.next_turn.get();
        self.0.next_turn.set(turn + 1);
        let _place = Place { budget: self, turn };
        poll_fn(|cx| {
            let mut queue = self.0.queue.borrow_mut();
            match queue.iter_mut().find(|w| w.turn == turn) {
                Some(waiting) => waiting.waker.clone_from(cx.waker()),
                None => queue.push_back(Waiting { bytes, turn, waker: cx.waker().clone() }),
            }
            if queue.front().is_none_or(|first| first.turn != turn) {
                return Poll::Pending;
            }
            match self.take(bytes) {
                Some(reservation) => {
                    queue.pop_front();
                    drop(queue);
                    self.wake_first();
                    Poll::Ready(reservation)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    fn take(&self, bytes: usize) -> Option<Reservation> {
        let used = self.0.used.get();
        let fits = used == 0 || used.checked_add(bytes).is_some_and(|sum| sum <= self.0.limit);
        fits.then(|| {
            self.0.used.set(used + bytes);
            Reservation { budget: self.clone(), bytes }
        })
    }

    fn wake_first(&self) {
        if let Some(first) = self.0.queue.borrow().front() {
            let used = self.0.used.get();
            if used == 0 || used.saturating_add(first.bytes) <= self.0.limit {
                first.waker.wake_by_ref();
            }
        }
    }
}

/// A place in the queue; leaves it when the waiting future is dropped.
struct Place<'a> {
    budget: &'a Budget,
    turn: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.budget.0.queue.borrow_mut().retain(|w| w.turn != self.turn);
        self.budget.wake_first();
    }
}

impl Reservation {
    /// The bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.set(self.budget.0.used.get() - self.bytes);
        self.budget.wake_first();
    }
}

/// A shard's budget for requests, in two halves: whoever announces large requests and does not send them keeps other
/// large ones waiting, and nobody else.
#[derive(Clone)]
pub struct SizedBudget {
    small: Budget,
    large: Budget,
}

/// Requests up to this size are small: batches of Kafka's default limit are.
const SMALL: usize = 8 << 20;

impl SizedBudget {
    /// Half of `limit` bytes for each kind.
    pub fn new(limit: usize) -> Self {
        Self { small: Budget::new(limit / 2), large: Budget::new(limit / 2) }
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.small.used() + self.large.used()
    }

    /// The half for small requests.
    pub fn small(&self) -> &Budget {
        &self.small
    }

    /// The bytes, after everybody of the same kind who asked before.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let half = if bytes <= SMALL { &self.small } else { &self.large };
        half.reserve(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn waits_in_order_and_gives_back() {
        let budget = Budget::new(100);
        let held = budget.try_reserve(80).expect("fits");
        let mut large = pin!(budget.reserve(90));
        let mut small = pin!(budget.reserve(10));
        assert!(poll(large.as_mut()).is_pending());
        assert!(poll(small.as_mut()).is_pending(), "a small one must not pass a large one");
        drop(held);
        let Poll::Ready(large) = poll(large.as_mut()) else { panic!("room for the first") };
        assert!(poll(small.as_mut()).is_ready());
        assert_eq!(budget.used(), 90);
        drop(large);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn larger_than_everything_passes_alone() {
        let budget = Budget::new(10);
        let huge = budget.try_reserve(1000).expect("nothing else is held");
        assert!(budget.try_reserve(1).is_none());
        drop(huge);
        assert!(budget.try_reserve(1).is_some());
    }

    #[test]
    fn leaving_the_queue_lets_the_next_one_in() {
        let budget = Budget::new(10);
        let held = budget.try_reserve(5).expect("fits");
        let mut next = pin!(budget.reserve(5));
        {
            let mut impatient = pin!(budget.reserve(10));
            assert!(poll(impatient.as_mut()).is_pending());
            assert!(poll(next.as_mut()).is_pending());
        }
        assert!(poll(next.as_mut()).is_ready());
        drop(held);
    }
}
