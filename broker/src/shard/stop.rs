//! The moment at which a shard stops taking requests, for whoever waits for it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
struct State {
    reached: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<Vec<(u64, Waker)>>,
}

/// The moment.
#[derive(Clone, Default)]
pub struct Stop(Rc<State>);

impl Stop {
    /// It is now.
    pub fn wake(&self) {
        self.0.reached.set(true);
        self.0.waiting.take().into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Completes at that moment, or at once when it has passed.
    pub fn stopped(&self) -> impl Future<Output = ()> + 'static {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        let place = Place { state: self.0.clone(), number };
        poll_fn(move |cx| {
            if place.state.reached.get() {
                return Poll::Ready(());
            }
            let mut waiting = place.state.waiting.borrow_mut();
            match waiting.iter_mut().find(|(number, _)| *number == place.number) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => waiting.push((place.number, cx.waker().clone())),
            }
            Poll::Pending
        })
    }
}

/// A place among those who wait; leaves when it is dropped.
struct Place {
    state: Rc<State>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.waiting.borrow_mut().retain(|(number, _)| *number != self.number);
    }
}
