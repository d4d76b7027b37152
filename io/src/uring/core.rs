//! Everything that one core owns, and what its tasks share.

use super::blocking::Helper;
use super::cold::Pipes;
use super::inlet;
use super::pace::Pace;
use super::ring::{Key, Ring, State};
use super::signals::Termination;
use super::tasks::{Doorbell, Task, guard};
use super::through::Aligned;
use super::time::Timers;
use crate::Counters;
use io_uring::cqueue;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One core. Never leaves its thread.
pub(super) struct Core {
    pub(super) ring: RefCell<Ring>,
    pub(super) doorbell: Arc<Doorbell>,
    /// The futures of every task, so that they can be dropped when the machine stops.
    pub(super) tasks: RefCell<Slab<Task>>,
    pub(super) counters: Count,
    pub(super) pipes: RefCell<Pipes>,
    pub(super) pace: Pace,
    /// Kept from one durable write to the next.
    pub(super) aligned: RefCell<Vec<Aligned>>,
    pub(super) timers: Timers,
    pub(super) helper: Helper,
    pub(super) termination: Arc<Termination>,
    /// When the machine started; the same for all cores.
    pub(super) started: Instant,
    random: Cell<u64>,
    closing: Cell<bool>,
    arrived: RefCell<Vec<cqueue::Entry>>,
}

/// The core's counters.
#[derive(Default)]
pub(super) struct Count(Cell<Counters>);

impl Count {
    /// Changes them.
    pub(super) fn add(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.0.get();
        change(&mut counters);
        self.0.set(counters);
    }

    /// A copy.
    pub(super) fn get(&self) -> Counters {
        self.0.get()
    }
}

impl Core {
    /// The core that this thread is from now on.
    pub(super) fn new(started: Instant, termination: Arc<Termination>, pipes: Pipes) -> io::Result<Rc<Self>> {
        let doorbell = Doorbell::for_this_thread()?;
        let ring = Ring::new(doorbell.bell())?;
        Ok(Rc::new(Self {
            ring: RefCell::new(ring),
            doorbell,
            tasks: RefCell::default(),
            counters: Count::default(),
            pipes: RefCell::new(pipes),
            pace: Pace::new(started),
            aligned: RefCell::default(),
            timers: Timers::default(),
            helper: Helper::default(),
            termination,
            started,
            random: Cell::new(seed()?),
            closing: Cell::new(false),
            arrived: RefCell::default(),
        }))
    }

    /// Asks the driver to end.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether the driver was asked to end.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Calls the kernel if there is a reason to, and hands completions to those who wait. Says whether there were any.
    pub(super) fn turn(self: &Rc<Self>) -> bool {
        self.enter(|ring| if ring.has_work() { ring.enter() } else { Ok(()) })
    }

    /// Waits in the kernel for a completion, or until `time` has passed, and hands out what there is.
    pub(super) fn wait(self: &Rc<Self>, time: Option<Duration>) {
        self.enter(|ring| ring.wait(time));
        self.pace.slept();
    }

    fn enter(self: &Rc<Self>, call: impl FnOnce(&mut Ring) -> io::Result<()>) -> bool {
        let mut arrived = self.arrived.take();
        {
            let mut ring = self.ring.borrow_mut();
            if let Err(error) = call(&mut ring) {
                tracing::error!(%error, "the ring cannot be entered");
            }
            ring.completions(&mut arrived);
        }
        let any = !arrived.is_empty();
        for entry in arrived.drain(..) {
            self.dispatch(&entry);
        }
        self.arrived.replace(arrived);
        any
    }

    /// Nothing is dropped or woken while the ring is borrowed: it could come back here.
    fn dispatch(self: &Rc<Self>, entry: &cqueue::Entry) {
        let Some(key) = Ring::key_of(entry) else { return };
        let mut ring = self.ring.borrow_mut();
        let Some(slot) = ring.slot(key) else { return };
        match &mut slot.state {
            State::Waiting(waker) => {
                let waker = waker.take();
                slot.state = State::Done(entry.result());
                drop(ring);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            State::Abandoned => {
                let slot = ring.remove(key);
                drop(ring);
                if let Some(slot) = slot {
                    if slot.opens && entry.result() >= 0 {
                        super::files::close_raw(entry.result());
                    }
                    guard(|| drop(slot));
                }
            }
            State::Stream => {
                drop(ring);
                inlet::on_arrival(self, key, entry);
            }
            State::Done(_) => {}
        }
    }

    /// Stops an operation that nobody waits for any more.
    pub(super) fn abandon(&self, key: Key) {
        let mut ring = self.ring.borrow_mut();
        let Some(slot) = ring.slot(key) else { return };
        if let State::Done(result) = slot.state {
            let opens = slot.opens;
            let slot = ring.remove(key);
            drop(ring);
            if opens && result >= 0 {
                super::files::close_raw(result);
            }
            drop(slot);
            return;
        }
        let old = std::mem::replace(&mut slot.state, State::Abandoned);
        ring.cancel(key);
        drop(ring);
        drop(old);
    }

    /// Unpredictable bits (splitmix64 from a random seed).
    pub(super) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn seed() -> io::Result<u64> {
    let mut seed = [0u8; 8];
    // SAFETY: the pointer and length are those of `seed`.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    match got {
        8 => Ok(u64::from_ne_bytes(seed)),
        _ => Err(io::Error::last_os_error()),
    }
}
