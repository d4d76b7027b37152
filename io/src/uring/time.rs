//! Time: the timers of a core, and the wall clock.
//!
//! The timers are our own, looked at by the driver every round, because the driver does not return to glommio, which
//! would fire its own. An idle core sleeps until the first of them.

use super::core::Core;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Who waits, in the order of deadlines; what has the same deadline goes in the order in which it was set.
#[derive(Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    sequence: Cell<u64>,
}

impl Timers {
    /// The first deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes everybody whose deadline has been reached. Says whether there was anybody.
    pub(super) fn fire(&self) -> bool {
        let Some(first) = self.first() else { return false };
        let now = Instant::now();
        if first > now {
            return false;
        }
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(entry) = waiting.first_entry().filter(|entry| entry.key().0 <= now) else { return true };
            let waker = entry.remove();
            drop(waiting);
            waker.wake();
        }
    }
}

/// Completes once a deadline has been reached.
pub(super) struct Sleep {
    core: Rc<Core>,
    at: Instant,
    sequence: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let timers = &self.core.timers;
        let sequence = self.sequence.unwrap_or_else(|| timers.sequence.replace(timers.sequence.get() + 1));
        let key = (self.at, sequence);
        let mut waiting = timers.waiting.borrow_mut();
        let old = waiting.insert(key, cx.waker().clone());
        drop(waiting);
        drop(old);
        self.sequence = Some(sequence);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sequence) = self.sequence {
            let waker = self.core.timers.waiting.borrow_mut().remove(&(self.at, sequence));
            drop(waker);
        }
    }
}

/// Completes once `time` has passed.
pub(super) fn sleep(core: &Rc<Core>, time: Duration) -> Sleep {
    sleep_until(core, Instant::now() + time)
}

/// Completes once `at` has been reached.
pub(super) fn sleep_until(core: &Rc<Core>, at: Instant) -> Sleep {
    Sleep { core: core.clone(), at, sequence: None }
}

/// Milliseconds since the Unix epoch; negative before.
pub(super) fn wall_clock() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    }
}

/// Lets every other runnable task run once.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx: &mut Context<'_>| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What `future` comes to, or `None` if `time` passes first. The future goes on waiting if it is polled again.
pub(super) async fn within<F: Future + Unpin>(
    core: &Rc<Core>,
    future: &mut F,
    time: Duration,
) -> Option<F::Output> {
    let mut timer = sleep(core, time);
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut timer).poll(cx).map(|()| None)
    })
    .await
}
