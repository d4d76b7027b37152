//! A moment that comes once on one core, such as the broker's stop or a connection's loss, for whoever waits for it.

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
pub struct Moment(Rc<State>);

impl Moment {
    /// It is now.
    pub fn reach(&self) {
        self.0.reached.set(true);
        self.0.waiting.take().into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Whether it has come.
    pub fn is_reached(&self) -> bool {
        self.0.reached.get()
    }

    /// Completes at that moment, or at once when it has passed.
    pub fn reached(&self) -> impl Future<Output = ()> + use<> + 'static {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn whoever_waits_is_told_and_whoever_leaves_is_forgotten() {
        let moment = Moment::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = pin!(moment.reached());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        {
            let mut leaving = pin!(moment.reached());
            assert!(leaving.as_mut().poll(&mut cx).is_pending());
            assert_eq!(moment.0.waiting.borrow().len(), 2);
        }
        assert_eq!(moment.0.waiting.borrow().len(), 1);
        moment.reach();
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        assert!(pin!(moment.reached()).as_mut().poll(&mut cx).is_ready());
    }
}
