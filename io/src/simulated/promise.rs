//! One value that arrives later, within one thread: how an operation's completion reaches who awaits it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The side that will have the value.
pub(super) struct Promise<T>(Rc<RefCell<Slot<T>>>);

/// The side that waits for it. Dropping it cancels the wait and nothing else.
pub(super) struct Wait<T>(Rc<RefCell<Slot<T>>>);

/// Both sides.
pub(super) fn promise<T>() -> (Promise<T>, Wait<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None }));
    (Promise(slot.clone()), Wait(slot))
}

impl<T> Promise<T> {
    pub(super) fn keep(self, value: T) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
