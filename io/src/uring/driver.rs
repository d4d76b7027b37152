//! Drives the data ring: one task that turns the ring while there is work, and waits in the kernel when there is none.
//!
//! It is always ready, so glommio neither sleeps nor looks at its own rings: on a virtual machine its sleep costs a
//! barrier across cores and half a dozen system calls, ours is one call that also submits what is queued. Between two
//! looks every task that was ready has run once, and what they submit goes to the kernel together. When some looks in a
//! row find nothing, and no task has run between them, nothing can be ready: the core waits for a completion, for its
//! first timer, or for another thread to ring the doorbell, whose completion comes through the ring as well.

use super::core::Core;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Looks that find nothing before the core sleeps. A look costs a few loads and no system call. One would do for tasks
/// of ours; the machine's own, which nobody counts, wake each other at most once without one of them.
const IDLE_LOOKS: u32 = 2;

/// The driver of one core. Runs until the core [closes](Core::close).
pub(super) struct Driver {
    core: Rc<Core>,
    /// [`Doorbell::stirs`](super::tasks::Doorbell::stirs) at the last look.
    stirs: u64,
    idle_looks: u32,
}

impl Driver {
    pub(super) fn new(core: Rc<Core>) -> Self {
        Self { core, stirs: 0, idle_looks: 0 }
    }

    /// Looks everywhere. Says whether there was anything, or anything had run since the last look.
    fn look(&mut self) -> bool {
        self.core.counters.add(|c| c.turns += 1);
        let stirs = self.core.doorbell.stirs();
        let ran = std::mem::replace(&mut self.stirs, stirs) != stirs;
        let answered = self.core.doorbell.answer();
        let completed = self.core.turn();
        let fired = self.core.timers.fire();
        ran || answered || completed || fired
    }

    /// Waits until there is something to do.
    fn sleep(&self) {
        if !self.core.doorbell.fall_asleep() {
            return;
        }
        let now = Instant::now();
        self.core.wait(self.core.timers.first().map(|first| first.saturating_duration_since(now)));
        self.core.doorbell.wake_up();
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.core.is_closing() {
            return Poll::Ready(());
        }
        self.idle_looks = if self.look() { 0 } else { self.idle_looks + 1 };
        if self.idle_looks > IDLE_LOOKS {
            self.idle_looks = 0;
            self.sleep();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
