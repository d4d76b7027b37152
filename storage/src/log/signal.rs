//! Waiting, on one core, for something about a log to become true.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes everyone who waits whenever anything changed; they look for themselves whether it matters to them.
#[derive(Default)]
pub(crate) struct Signal(RefCell<Vec<Waker>>);

impl Signal {
    /// Something changed.
    pub(crate) fn notify(&self) {
        let waiting = std::mem::take(&mut *self.0.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Completes once `condition` holds; it is asked again after each [`notify`](Self::notify).
    pub(crate) async fn until(&self, mut condition: impl FnMut() -> bool) {
        poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            let mut waiting = self.0.borrow_mut();
            if !waiting.iter().any(|w| w.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn wakes_only_when_the_condition_holds() {
        let signal = Signal::default();
        let ready = std::cell::Cell::new(false);
        let mut wait = pin!(signal.until(|| ready.get()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        signal.notify();
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        ready.set(true);
        signal.notify();
        assert!(wait.as_mut().poll(&mut cx).is_ready());
    }
}
