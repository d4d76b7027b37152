//! The ordered response queue of one connection: requests run side by side, answers leave in request order (the Kafka
//! protocol's guarantee). A [`Ticket`] is the right, and the duty, to answer one request.
//!
//! What is left to do of a request when only its outcome is missing needs no task of its own: the queue keeps it ([`Ticket::later`]),
//! and the writer, which could not send anything behind it anyway, carries it on when it is at the front.

use crate::moment::Moment;
use crate::net::budget::Reservation;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// A part of a response: bytes in memory, or a range of a segment file that goes from page cache to socket.
pub enum Piece<F> {
    /// Bytes of ours.
    Memory(Bytes),
    /// A range of a file.
    File {
        /// The file, leased until it is sent.
        file: F,
        /// Where the range begins.
        position: u64,
        /// How long it is, in bytes.
        len: u64,
        /// Whether it was appended lately, so that it is surely in memory.
        recent: bool,
    },
}

/// What becomes of a request.
pub enum Answer<F> {
    /// These bytes, length prefix included.
    Send(Vec<Piece<F>>),
    /// Nothing, and the next response may follow (acks=0).
    Nothing,
    /// The connection closes: an error that the protocol has no response for.
    Close,
}

/// What is left to do of a request. Its ticket is in it, and answers or is dropped before this completes.
pub type Rest = Pin<Box<dyn Future<Output = ()>>>;

struct Slot<F> {
    answer: Option<Answer<F>>,
    rest: Option<Rest>,
    held: Vec<Reservation>,
}

struct State<F> {
    slots: RefCell<VecDeque<Slot<F>>>,
    /// The number of the slot at the front.
    first: Cell<u64>,
    /// Bytes of answers in memory that are not sent yet.
    memory: Cell<usize>,
    writer: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// No request will come any more; what is in flight is still answered.
    finished: Cell<bool>,
    /// The connection is gone; answers are dropped.
    broken: Moment,
}

/// The queue. One writer takes from it; tickets fill it.
pub struct Responses<F>(Rc<State<F>>);

/// The right to answer one request. Dropping it unanswered closes the connection.
pub struct Ticket<F> {
    /// Weak, because the queue may hold the ticket: see [`Ticket::later`].
    queue: Weak<State<F>>,
    number: u64,
    answered: bool,
}

impl<F> Clone for Responses<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Default for Responses<F> {
    fn default() -> Self {
        Self(Rc::new(State {
            slots: RefCell::default(),
            first: Cell::new(0),
            memory: Cell::new(0),
            writer: RefCell::default(),
            reader: RefCell::default(),
            finished: Cell::new(false),
            broken: Moment::default(),
        }))
    }
}

impl<F> Responses<F> {
    /// A place behind every request before. `held` is given back once the answer is sent.
    pub fn ticket(&self, held: Vec<Reservation>) -> Ticket<F> {
        let mut slots = self.0.slots.borrow_mut();
        let number = self.0.first.get() + slots.len() as u64;
        slots.push_back(Slot { answer: None, rest: None, held });
        Ticket { queue: Rc::downgrade(&self.0), number, answered: false }
    }

    /// Requests that have no answer on the wire yet.
    pub fn in_flight(&self) -> usize {
        self.0.slots.borrow().len()
    }

    /// Waits until fewer than `requests` requests and at most `memory` bytes of answers wait here, or all is lost.
    pub async fn room(&self, requests: usize, memory: usize) {
        poll_fn(|cx| {
            if self.0.broken.is_reached() || (self.in_flight() < requests && self.0.memory.get() <= memory) {
                return Poll::Ready(());
            }
            *self.0.reader.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// No request will follow: the writer ends when everything in flight is answered.
    pub fn finish(&self) {
        self.0.finished.set(true);
        wake(&self.0.writer);
    }

    /// The connection is lost: drop every answer, now and later. What is left to do of its requests is for the caller to carry on, because
    /// it holds what they were given of the budgets as long as they have it.
    #[must_use]
    pub fn break_off(&self) -> Vec<Rest> {
        self.0.broken.reach();
        let dropped = std::mem::take(&mut *self.0.slots.borrow_mut());
        self.0.first.set(self.0.first.get() + dropped.len() as u64);
        self.0.memory.set(0);
        wake(&self.0.writer);
        wake(&self.0.reader);
        let holding = |Slot { rest, held, .. }| -> Option<Rest> {
            let rest = rest?;
            Some(Box::pin(async move {
                rest.await;
                drop(held);
            }))
        };
        dropped.into_iter().filter_map(holding).collect()
    }

    /// Whether the connection is lost.
    pub fn is_broken(&self) -> bool {
        self.0.broken.is_reached()
    }

    /// The answers that may be sent now, in order, with what they hold; `None` at the end of the connection. Waits for the end of `turn` when
    /// there is one: what else becomes ready meanwhile leaves with it, in one send.
    pub async fn next<T: Future>(&self, turn: impl Fn() -> T) -> Option<Ready<F>> {
        loop {
            poll_fn(|cx| self.poll_front(cx)).await?;
            turn().await;
            let ready = poll_fn(|cx| Poll::Ready(self.take_ready(cx))).await;
            if ready.answers > 0 {
                return Some(ready);
            }
        }
    }

    /// Waits until there is an answer at the front, or no more will come.
    fn poll_front(&self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if self.0.broken.is_reached() {
            return Poll::Ready(None);
        }
        // Whoever answers while we look need not wake us.
        self.0.writer.take();
        if self.carry_on(cx) {
            return Poll::Ready(Some(()));
        }
        if self.0.finished.get() && self.0.slots.borrow().is_empty() {
            return Poll::Ready(None);
        }
        *self.0.writer.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take_ready(&self, cx: &mut Context<'_>) -> Ready<F> {
        let mut ready = Ready { pieces: Vec::new(), held: Vec::new(), answers: 0, close: false };
        while !ready.close && self.carry_on(cx) {
            let front = self.0.slots.borrow_mut().pop_front();
            let Some(Slot { answer: Some(answer), held, .. }) = front else { break };
            self.0.first.set(self.0.first.get() + 1);
            ready.answers += 1;
            ready.held.extend(held);
            match answer {
                Answer::Send(pieces) => ready.pieces.extend(pieces),
                Answer::Nothing => {}
                Answer::Close => ready.close = true,
            }
        }
        ready
    }

    /// Does what is left to do of the request at the front, as far as it goes now; whether it is answered.
    fn carry_on(&self, cx: &mut Context<'_>) -> bool {
        let mut slots = self.0.slots.borrow_mut();
        while let Some(front) = slots.front_mut() {
            if front.answer.is_some() {
                return true;
            }
            let Some(mut rest) = front.rest.take() else { break };
            // It answers into the queue.
            drop(slots);
            let pending = rest.as_mut().poll(cx).is_pending();
            slots = self.0.slots.borrow_mut();
            if pending {
                if let Some(front) = slots.front_mut() {
                    front.rest = Some(rest);
                }
                break;
            }
        }
        false
    }

    /// Bytes of answers have left memory.
    pub fn sent(&self, memory: usize) {
        self.0.memory.set(self.0.memory.get().saturating_sub(memory));
        wake(&self.0.reader);
    }
}

impl<F> State<F> {
    fn answer(&self, number: u64, answer: Answer<F>) {
        self.memory.set(self.memory.get() + memory_of(&answer));
        self.change(number, |slot| slot.answer = Some(answer));
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Slot<F>)) {
        let mut slots = self.slots.borrow_mut();
        let index = (number - self.first.get()) as usize;
        change(&mut slots[index]);
        if index == 0 {
            drop(slots);
            wake(&self.writer);
        }
    }
}

/// Answers that may be sent now.
pub struct Ready<F> {
    /// Their bytes.
    pub pieces: Vec<Piece<F>>,
    /// What their requests held; dropped once they are sent.
    pub held: Vec<Reservation>,
    /// How many requests they answer.
    pub answers: usize,
    /// Whether the connection closes behind them.
    pub close: bool,
}

impl<F> Ready<F> {
    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.pieces.iter().map(piece_memory).sum()
    }
}

impl<F> Ticket<F> {
    /// Completes when nobody waits for the answer any more.
    pub fn lost(&self) -> impl Future<Output = ()> + use<F> + 'static {
        let broken = self.queue().map(|queue| queue.broken.reached());
        async {
            if let Some(broken) = broken {
                broken.await;
            }
        }
    }

    /// Answers the request.
    pub fn answer(mut self, answer: Answer<F>) {
        self.settle(answer);
    }

    /// Leaves what is left to do of the request to the queue: `rest` is carried on once everything before is answered. When the connection
    /// is lost already it comes back, for the caller to carry on.
    #[must_use]
    pub fn later<R: Future<Output = ()> + 'static>(self, rest: impl FnOnce(Self) -> R) -> Option<Rest> {
        let (queue, number) = (self.queue(), self.number);
        let rest: Rest = Box::pin(rest(self));
        match queue {
            Some(queue) => {
                queue.change(number, |slot| slot.rest = Some(rest));
                None
            }
            None => Some(rest),
        }
    }

    fn settle(&mut self, answer: Answer<F>) {
        self.answered = true;
        if let Some(queue) = self.queue() {
            queue.answer(self.number, answer);
        }
    }

    /// The queue, while anybody waits for the answer.
    fn queue(&self) -> Option<Rc<State<F>>> {
        self.queue.upgrade().filter(|queue| !queue.broken.is_reached())
    }
}

impl<F> Drop for Ticket<F> {
    fn drop(&mut self) {
        if !self.answered {
            self.settle(Answer::Close);
        }
    }
}

fn memory_of<F>(answer: &Answer<F>) -> usize {
    match answer {
        Answer::Send(pieces) => pieces.iter().map(piece_memory).sum(),
        Answer::Nothing | Answer::Close => 0,
    }
}

fn piece_memory<F>(piece: &Piece<F>) -> usize {
    match piece {
        Piece::Memory(bytes) => bytes.len(),
        Piece::File { .. } => 0,
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::budget::Budget;
    use futures_util::FutureExt;
    use std::future::ready;
    use std::pin::pin;

    fn poll(queue: &Responses<()>) -> Poll<Option<Ready<()>>> {
        pin!(queue.next(|| ready(()))).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn text(ready: &Ready<()>) -> Vec<u8> {
        ready
            .pieces
            .iter()
            .flat_map(|p| match p {
                Piece::Memory(bytes) => bytes.to_vec(),
                Piece::File { .. } => Vec::new(),
            })
            .collect()
    }

    fn send(bytes: &'static [u8]) -> Answer<()> {
        Answer::Send(vec![Piece::Memory(Bytes::from_static(bytes))])
    }

    #[test]
    fn answers_leave_in_request_order() {
        let queue = Responses::default();
        let (first, second, third) = (queue.ticket(vec![]), queue.ticket(vec![]), queue.ticket(vec![]));
        second.answer(send(b"2"));
        assert!(poll(&queue).is_pending());
        first.answer(send(b"1"));
        let Poll::Ready(Some(ready)) = poll(&queue) else { panic!("two are ready") };
        assert_eq!((text(&ready), ready.answers), (b"12".to_vec(), 2));
        third.answer(Answer::Nothing);
        queue.finish();
        assert!(matches!(poll(&queue), Poll::Ready(Some(Ready { answers: 1, .. }))));
        assert!(matches!(poll(&queue), Poll::Ready(None)));
    }

    #[test]
    fn what_becomes_ready_within_the_turn_leaves_with_it() {
        let queue = Responses::default();
        let (first, second) = (queue.ticket(vec![]), Cell::new(Some(queue.ticket(vec![]))));
        first.answer(send(b"1"));
        let turn = || {
            second.take().expect("one turn").answer(send(b"2"));
            ready(())
        };
        let next = pin!(queue.next(turn)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(sent)) = next else { panic!("both are ready") };
        assert_eq!((text(&sent), sent.answers), (b"12".to_vec(), 2));
    }

    #[test]
    fn what_is_left_to_do_is_done_at_the_front() {
        let queue = Responses::default();
        let (first, second, third) = (queue.ticket(vec![]), queue.ticket(vec![]), queue.ticket(vec![]));
        let (tell, told) = futures_channel::oneshot::channel();
        let kept = second.later(|ticket| async move {
            let text = told.await.expect("told");
            ticket.answer(send(text));
        });
        assert!(kept.is_none());
        assert!(third.later(|ticket| async { ticket.answer(send(b"3")) }).is_none());
        assert!(poll(&queue).is_pending());
        first.answer(send(b"1"));
        let Poll::Ready(Some(ready)) = poll(&queue) else { panic!("the first is ready") };
        assert_eq!(text(&ready), b"1");
        assert!(poll(&queue).is_pending());
        assert_eq!(tell.send(&b"2"[..]), Ok(()));
        let Poll::Ready(Some(ready)) = poll(&queue) else { panic!("the others are ready") };
        assert_eq!((text(&ready), ready.close), (b"23".to_vec(), false));
    }

    #[test]
    fn what_is_left_to_do_outlives_the_connection_and_so_does_what_it_holds() {
        let queue = Responses::default();
        let budget = Budget::new(100);
        let held = budget.reserve(60).now_or_never().expect("room");
        let (left, dropped, late) = (queue.ticket(vec![held]), queue.ticket(vec![]), queue.ticket(vec![]));
        let (tell, told) = futures_channel::oneshot::channel();
        let rest = left.later(|ticket| async move {
            told.await.expect("told");
            ticket.answer(send(b"late"));
        });
        assert!(rest.is_none() && poll(&queue).is_pending());
        drop(dropped);
        let mut rests = queue.break_off();
        assert_eq!((rests.len(), queue.in_flight()), (1, 0));
        assert!(matches!(poll(&queue), Poll::Ready(None)));
        assert!(budget.reserve(60).now_or_never().is_none(), "it holds that still");
        assert_eq!(tell.send(()), Ok(()));
        assert!(rests.remove(0).now_or_never().is_some());
        assert!(budget.reserve(60).now_or_never().is_some());
        assert!(late.later(|ticket| async { ticket.answer(send(b"late")) }).is_some(), "nobody keeps it");
    }

    #[test]
    fn a_dropped_ticket_closes_behind_the_earlier_ones() {
        let queue = Responses::default();
        let (first, second) = (queue.ticket(vec![]), queue.ticket(vec![]));
        drop(second);
        first.answer(send(b"1"));
        let Poll::Ready(Some(ready)) = poll(&queue) else { panic!("ready") };
        assert!(ready.close);
        assert_eq!(text(&ready), b"1");
    }

    #[test]
    fn late_answers_to_a_lost_connection_are_dropped() {
        let queue = Responses::default();
        let ticket = queue.ticket(vec![]);
        assert!(queue.break_off().is_empty());
        ticket.answer(send(b"late"));
        assert!(matches!(poll(&queue), Poll::Ready(None)));
        assert_eq!(queue.in_flight(), 0);
    }
}
