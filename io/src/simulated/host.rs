//! A host: one process with its own disk and some cores. It can crash and start again over what the disk kept.

use super::disk::{Answer, Disk, Op, crashed};
use super::faults::{Faults, nanos};
use super::kernel::{Kernel, Step};
use super::machine::SimIo;
use super::rng::Rng;
use super::timeline::Event;
use crate::Counters;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Result;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// How a host ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The machine goes down: whatever was not synced may be lost or torn.
    PowerCut,
    /// The process is killed: completed writes stay, as the page cache does.
    Kill,
}

/// A process with its disk. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host(pub(super) Rc<HostState>);

/// One core's counters.
pub(super) struct Cpu {
    pub(super) index: usize,
    counters: Cell<Counters>,
}

impl Cpu {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.get()
    }
}

pub(super) struct HostState {
    pub(super) id: usize,
    pub(super) kernel: Rc<Kernel>,
    pub(super) disk: RefCell<Disk>,
    pub(super) rng: RefCell<Rng>,
    pub(super) wall_offset: Cell<i64>,
    /// Counts lives: a `SimIo` of an earlier one does nothing.
    pub(super) life: Cell<u64>,
    up: Cell<bool>,
    cpus: RefCell<Vec<Rc<Cpu>>>,
    terminated: Cell<bool>,
    /// Who waits for the end, by number.
    watchers: RefCell<BTreeMap<u64, Waker>>,
    watched: Cell<u64>,
}

fn cpus(count: usize) -> Vec<Rc<Cpu>> {
    (0..count).map(|index| Rc::new(Cpu { index, counters: Cell::default() })).collect()
}

impl HostState {
    pub(super) fn new(kernel: &Rc<Kernel>, id: usize, cores: usize) -> Rc<Self> {
        Rc::new(Self {
            id,
            kernel: kernel.clone(),
            disk: RefCell::new(Disk::new(kernel.seed, id)),
            rng: RefCell::new(Rng::part(kernel.seed, "host", id as u64)),
            wall_offset: Cell::new(0),
            life: Cell::new(0),
            up: Cell::new(true),
            cpus: RefCell::new(cpus(cores)),
            terminated: Cell::new(false),
            watchers: RefCell::default(),
            watched: Cell::new(0),
        })
    }

    pub(super) fn is_alive(&self, life: u64) -> bool {
        self.up.get() && self.life.get() == life
    }

    /// The world ends: nothing that is asked for from now on is done.
    pub(super) fn stop(&self) {
        self.up.set(false);
    }

    pub(super) async fn submit(&self, life: u64, op: Op) -> Result<Answer> {
        if !self.is_alive(life) {
            return Err(crashed());
        }
        let (number, latency, wait) = self.disk.borrow_mut().submit(op);
        let time = self.kernel.now().saturating_add(latency);
        self.kernel.schedule(time, Event::Disk { host: self.id, op: number });
        wait.await
    }

    /// A disk operation's time has come. A frozen disk completes nothing.
    pub(super) fn finish(&self, number: u64) {
        let disk = &mut *self.disk.borrow_mut();
        let Some(fingerprint) = disk.fingerprint(number) else { return };
        if disk.frozen_until > self.kernel.now() {
            self.kernel.schedule(disk.frozen_until, Event::Disk { host: self.id, op: number });
            return;
        }
        self.kernel.note(Step::DiskOp, self.id as u64 ^ number.rotate_left(16), fingerprint);
        disk.complete(number);
    }

    pub(super) fn is_terminated(&self, life: u64) -> bool {
        self.terminated.get() && self.is_alive(life)
    }

    /// Wakes `waker` at the end; `number` names an earlier registration of the same waiter.
    pub(super) fn watch(&self, number: Option<u64>, waker: &Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.watched.set(self.watched.get() + 1);
            self.watched.get()
        });
        self.watchers.borrow_mut().insert(number, waker.clone());
        number
    }

    pub(super) fn unwatch(&self, number: u64) {
        self.watchers.borrow_mut().remove(&number);
    }
}

impl Host {
    /// The machine as this core sees it, in the host's present life.
    ///
    /// # Panics
    /// If the host has no such core.
    pub fn core(&self, index: usize) -> SimIo {
        let cpus = self.0.cpus.borrow();
        assert!(index < cpus.len(), "host {} has {} cores, not {}", self.0.id, cpus.len(), index + 1);
        SimIo { host: self.0.clone(), cpu: cpus[index].clone(), life: self.0.life.get() }
    }

    /// How many cores it has.
    pub fn cores(&self) -> usize {
        self.0.cpus.borrow().len()
    }

    /// Its address in the simulated network.
    pub fn ip(&self) -> IpAddr {
        super::net::address_of(self.0.id)
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.0.up.get()
    }

    /// Ends the process: drops its tasks, resets its connections, and lets the disk lose what it may. A power cut of a
    /// host that was killed before takes its page cache away.
    pub fn crash(&self, how: Crash) {
        let state = &self.0;
        let kernel = &state.kernel;
        kernel.note(Step::Crash, state.id as u64, how as u64);
        state.up.set(false);
        state.life.set(state.life.get() + 1);
        state.watchers.borrow_mut().clear();
        let tasks = kernel.executor.borrow_mut().take_tasks_of(state.id);
        // Destructors run, but the process is dead: nothing that they ask for happens.
        drop(tasks);
        kernel.net.borrow_mut().host_down(kernel, state.id, how == Crash::PowerCut);
        state.disk.borrow_mut().crash(how == Crash::PowerCut);
    }

    /// Starts the host again after a crash, with as many cores as before.
    pub fn restart(&self) {
        self.restart_with(self.cores());
    }

    /// Starts the host again after a crash with another number of cores.
    ///
    /// # Panics
    /// If it still runs.
    pub fn restart_with(&self, cores: usize) {
        let state = &self.0;
        assert!(!state.up.get(), "host {} is up: crash it before it restarts", state.id);
        state.kernel.note(Step::Restart, state.id as u64, cores as u64);
        *state.cpus.borrow_mut() = cpus(cores);
        state.terminated.set(false);
        state.up.set(true);
        state.kernel.net.borrow_mut().host_up(state.id);
    }

    /// Asks the process to end, as SIGTERM does: `terminated()` completes on every core.
    pub fn terminate(&self) {
        self.0.terminated.set(true);
        let watchers = std::mem::take(&mut *self.0.watchers.borrow_mut());
        watchers.into_values().for_each(Waker::wake);
    }

    /// Changes what goes wrong on the disk, from now on.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.disk.borrow_mut().faults);
    }

    /// The disk completes nothing for so long.
    pub fn freeze_disk(&self, time: Duration) {
        let until = self.0.kernel.now().saturating_add(nanos(time));
        self.0.disk.borrow_mut().frozen_until = until;
    }

    /// Moves the wall clock by so many milliseconds. The monotonic clock stays.
    pub fn shift_wall_clock(&self, millis: i64) {
        self.0.wall_offset.set(self.0.wall_offset.get().saturating_add(millis));
    }

    /// What reads of this file would see, without taking time. `None` if there is no such file.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.disk.borrow().peek(path)
    }

    /// Inverts a seeded bit of this byte, in cache and at rest. False if there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64) -> bool {
        self.0.disk.borrow_mut().flip_bit(path, Some(offset)).is_some()
    }

    /// Inverts a seeded bit of a seeded byte of the file: its offset. `None` if the file is empty or missing.
    pub fn flip_some_bit(&self, path: &Path) -> Option<u64> {
        self.0.disk.borrow_mut().flip_bit(path, None)
    }
}
