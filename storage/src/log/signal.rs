//! Waiting, on one core, for something about a log to become true.

use std::cell::{Cell, RefCell};
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

/// What one task at a time may do.
#[derive(Default)]
pub(crate) struct Lock {
    busy: Cell<bool>,
    changed: Signal,
}

impl Lock {
    /// Waits for the right to do it.
    pub(crate) async fn lock(&self) -> Locked<'_> {
        self.changed.until(|| !self.busy.replace(true)).await;
        Locked(self)
    }
}

/// The right to do it, given back when dropped.
pub(crate) struct Locked<'a>(&'a Lock);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.changed.notify();
    }
}

/// What many tasks may do at once, unless one has to be alone.
#[derive(Default)]
pub(crate) struct Gate {
    inside: Cell<usize>,
    closed: Cell<bool>,
    changed: Signal,
}

impl Gate {
    /// Enters, as soon as nobody is, or waits to be, alone. Whoever is inside must not enter again.
    pub(crate) async fn enter(&self) -> Inside<'_> {
        if self.closed.get() {
            self.changed.until(|| !self.closed.get()).await;
        }
        self.inside.set(self.inside.get() + 1);
        Inside(self)
    }

    /// Lets nobody enter any more, and waits until those who are inside have left. One task at a time.
    pub(crate) async fn alone(&self) -> Alone<'_> {
        self.closed.set(true);
        let alone = Alone(self);
        self.changed.until(|| self.inside.get() == 0).await;
        alone
    }
}

/// Being inside; left when dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
        if self.0.closed.get() {
            self.0.changed.notify();
        }
    }
}

/// Being alone; over when dropped.
pub(crate) struct Alone<'a>(&'a Gate);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.closed.set(false);
        self.0.changed.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn one_is_alone_when_the_others_have_left() {
        let gate = Gate::default();
        let mut cx = Context::from_waker(Waker::noop());
        let inside = pin!(gate.enter()).poll(&mut cx);
        let mut alone = pin!(gate.alone());
        assert!(alone.as_mut().poll(&mut cx).is_pending());
        let mut late = pin!(gate.enter());
        assert!(late.as_mut().poll(&mut cx).is_pending(), "whoever comes now waits");
        drop(inside);
        let Poll::Ready(token) = alone.as_mut().poll(&mut cx) else { panic!("nobody is inside") };
        assert!(late.as_mut().poll(&mut cx).is_pending());
        drop(token);
        assert!(late.as_mut().poll(&mut cx).is_ready());
    }

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
