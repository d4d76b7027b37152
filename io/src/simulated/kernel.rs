//! What all hosts of a world share: the clock, the events to come, the tasks, the network, and the trace.

use super::executor::Executor;
use super::host::HostState;
use super::net::Net;
use super::rng::mix;
use super::timeline::{Event, Key, Timeline};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// The shared state. Each part has its own cell; no cell is borrowed while a task runs.
pub(super) struct Kernel {
    pub(super) seed: u64,
    pub(super) clock: Cell<u64>,
    pub(super) timeline: RefCell<Timeline>,
    pub(super) executor: RefCell<Executor>,
    pub(super) net: RefCell<Net>,
    pub(super) hosts: RefCell<Vec<Rc<HostState>>>,
    pub(super) inbox: Arc<Inbox>,
    trace: Cell<u64>,
}

/// What `Send` values (wakers, sockets) tell the world. They cannot hold a reference to it.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Told>);

#[derive(Default)]
pub(super) struct Told {
    /// Tasks that were woken.
    pub(super) woken: Vec<u64>,
    /// Ends of connections (connection, end) that nobody holds any more.
    pub(super) closed: Vec<(u64, usize)>,
}

impl Inbox {
    pub(super) fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What kind of thing happened, for the trace.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Poll = 1,
    DiskOp,
    Crash,
    Restart,
    Send,
    Deliver,
    Connect,
}

impl Kernel {
    pub(super) fn new(seed: u64) -> Rc<Self> {
        let inbox = Arc::new(Inbox::default());
        Rc::new(Self {
            seed,
            clock: Cell::new(0),
            timeline: RefCell::default(),
            executor: RefCell::new(Executor::new(seed)),
            net: RefCell::new(Net::new(seed, inbox.clone())),
            hosts: RefCell::default(),
            inbox,
            trace: Cell::new(mix(seed)),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.get()
    }

    pub(super) fn schedule(&self, time: u64, event: Event) -> Key {
        self.timeline.borrow_mut().add(time, event)
    }

    /// Adds a fact to the trace.
    pub(super) fn note(&self, step: Step, who: u64, what: u64) {
        let hash = mix(self.trace.get() ^ self.now());
        self.trace.set(mix(mix(hash ^ step as u64) ^ who.rotate_left(32) ^ what));
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    pub(super) fn host(&self, id: usize) -> Option<Rc<HostState>> {
        self.hosts.borrow().get(id).cloned()
    }

    /// Lets everything happen that is due.
    pub(super) fn fire_due(&self) {
        loop {
            let Some(event) = self.timeline.borrow_mut().pop_due(self.now()) else { return };
            match event {
                Event::Wake(waker) => waker.wake(),
                Event::Disk { host, op } => {
                    if let Some(host) = self.host(host) {
                        host.finish(op);
                    }
                }
                Event::Arrival { connection, end } => self.net.borrow_mut().arrive(self, connection, end),
                Event::Knock { attempt } => self.net.borrow_mut().knock(self, attempt),
                Event::Answered { attempt } => self.net.borrow_mut().answered(attempt),
            }
        }
    }

    /// Takes in what wakers and dropped sockets have told since the last time.
    pub(super) fn collect(&self) {
        let (woken, closed) = {
            let mut told = self.inbox.told();
            if told.woken.is_empty() && told.closed.is_empty() {
                return;
            }
            (std::mem::take(&mut told.woken), std::mem::take(&mut told.closed))
        };
        self.executor.borrow_mut().make_runnable(&woken);
        for (connection, end) in closed {
            self.net.borrow_mut().close(self, connection, end);
        }
    }
}
