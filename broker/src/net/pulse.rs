//! Deadlines of connections without a timer each: a connection notes until when it may take, and one sweep per shard,
//! once a second, ends those that are late.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Clone, Copy)]
enum Phase {
    /// Nothing is expected of the peer.
    Resting,
    /// Between requests: closed at the time only if nothing is in flight.
    Idle(Duration),
    /// In the middle of something the peer must finish by then.
    Busy(Duration),
    /// Too late.
    Expired,
}

/// One connection's patience.
pub struct Pulse {
    phase: Cell<Phase>,
    waker: RefCell<Option<Waker>>,
}

impl Pulse {
    fn new() -> Self {
        Self { phase: Cell::new(Phase::Resting), waker: RefCell::default() }
    }

    /// The peer owes nothing.
    pub fn rest(&self) {
        self.enter(Phase::Resting);
    }

    /// The peer may be silent until `deadline`, or for as long as it waits for an answer.
    pub fn idle_until(&self, deadline: Duration) {
        self.enter(Phase::Idle(deadline));
    }

    /// The peer must have finished what it began by `deadline`.
    pub fn busy_until(&self, deadline: Duration) {
        self.enter(Phase::Busy(deadline));
    }

    fn enter(&self, phase: Phase) {
        if !matches!(self.phase.get(), Phase::Expired) {
            self.phase.set(phase);
        }
    }

    /// Ends whatever the connection waits for, now.
    pub fn expire(&self) {
        self.phase.set(Phase::Expired);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// `future`'s result, or `None` once the time is up.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if matches!(self.phase.get(), Phase::Expired) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let mut waker = self.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

struct Entry {
    pulse: Weak<Pulse>,
    in_flight: Box<dyn Fn() -> usize>,
}

/// Every connection of a shard.
#[derive(Default)]
pub struct Pulses(RefCell<Vec<Entry>>);

impl Pulses {
    /// A new connection, watched until it is dropped. `in_flight` tells how many answers it still waits for.
    pub fn watch(&self, in_flight: impl Fn() -> usize + 'static) -> Rc<Pulse> {
        let pulse = Rc::new(Pulse::new());
        self.0.borrow_mut().push(Entry { pulse: Rc::downgrade(&pulse), in_flight: Box::new(in_flight) });
        pulse
    }

    /// Ends the connections that are late, and forgets those that are gone.
    pub fn sweep(&self, now: Duration) {
        let mut late = Vec::new();
        self.0.borrow_mut().retain(|entry| {
            let Some(pulse) = entry.pulse.upgrade() else { return false };
            let is_late = match pulse.phase.get() {
                Phase::Resting | Phase::Expired => false,
                Phase::Idle(deadline) => now > deadline && (entry.in_flight)() == 0,
                Phase::Busy(deadline) => now > deadline,
            };
            if is_late {
                late.push(pulse);
            }
            true
        });
        late.iter().for_each(|pulse| pulse.expire());
    }

    /// Ends every connection.
    pub fn expire_all(&self) {
        let all: Vec<_> = self.0.borrow().iter().filter_map(|entry| entry.pulse.upgrade()).collect();
        all.iter().for_each(|pulse| pulse.expire());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Context;

    fn expired(pulse: &Pulse) -> bool {
        let mut guard = pin!(pulse.guard(std::future::pending::<()>()));
        guard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_late_frame_ends_and_a_waiting_client_does_not() {
        let pulses = Pulses::default();
        let flying = Rc::new(Cell::new(1));
        let (frame, waiting) = (
            pulses.watch(|| 1),
            pulses.watch({
                let flying = flying.clone();
                move || flying.get()
            }),
        );
        frame.busy_until(Duration::from_secs(30));
        waiting.idle_until(Duration::from_secs(30));
        pulses.sweep(Duration::from_secs(30));
        assert!(!expired(&frame) && !expired(&waiting));
        pulses.sweep(Duration::from_secs(31));
        assert!(expired(&frame), "a frame has a deadline");
        assert!(!expired(&waiting), "it waits for us");
        flying.set(0);
        pulses.sweep(Duration::from_secs(31));
        assert!(expired(&waiting));
    }

    #[test]
    fn the_gone_are_forgotten() {
        let pulses = Pulses::default();
        drop(pulses.watch(|| 0));
        pulses.sweep(Duration::ZERO);
        assert!(pulses.0.borrow().is_empty());
    }
}
