//! A world: hosts, the network between them, and virtual time, all from one seed.

use super::executor::Ended;
use super::faults::nanos;
use super::host::{Host, HostState};
use super::kernel::Kernel;
use super::net::Link;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Everything that is simulated. When it is dropped, its tasks are.
pub struct World(Rc<Kernel>);

impl World {
    /// The world that belongs to this seed.
    pub fn new(seed: u64) -> Self {
        Self(Kernel::new(seed))
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Virtual time since it began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now())
    }

    /// A hash over everything that has happened, in order. Equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.0.trace_hash()
    }

    /// Adds a host with an empty disk.
    pub fn host(&self, cores: usize) -> Host {
        let mut hosts = self.0.hosts.borrow_mut();
        let host = HostState::new(&self.0, hosts.len(), cores);
        hosts.push(host.clone());
        self.0.net.borrow_mut().host_up(host.id);
        Host(host)
    }

    /// Runs until `future` is done. It belongs to no host, so no crash ends it.
    ///
    /// # Panics
    /// With the seed: if a task panics, if nothing is left that could ever complete the future, or at the step limit.
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        match self.run_main(future, u64::MAX) {
            Some(value) => value,
            None => panic!("seed {}: deadlock, nothing is left to happen at {:?}", self.0.seed, self.now()),
        }
    }

    /// Runs until `future` is done, but no longer than this much virtual time: `None` then.
    ///
    /// # Panics
    /// With the seed: if a task panics, or at the step limit.
    pub fn run_until_or<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        self.run_main(future, self.0.now().saturating_add(nanos(limit)))
    }

    fn run_main<T>(&self, future: impl Future<Output = T>, until: u64) -> Option<T> {
        let mut future = pin!(future);
        let mut result = None;
        let mut main = |cx: &mut std::task::Context<'_>| match future.as_mut().poll(cx) {
            Poll::Ready(value) => {
                result = Some(value);
                true
            }
            Poll::Pending => false,
        };
        self.0.run(Some(&mut main), until, u64::MAX);
        result
    }

    /// Runs all tasks for this much virtual time.
    ///
    /// # Panics
    /// With the seed: if a task panics, or at the step limit.
    pub fn run_for(&self, time: Duration) {
        self.0.run(None, self.0.now().saturating_add(nanos(time)), u64::MAX);
    }

    /// Runs this many turns of tasks; false if nothing was left to run before that. A crash after a seeded number of
    /// turns hits any state that the code can be in.
    ///
    /// # Panics
    /// With the seed: if a task panics.
    pub fn run_steps(&self, steps: u64) -> bool {
        self.0.run(None, u64::MAX, steps) == Ended::StepsUp
    }

    /// How many turns one run may take before it is declared endless. Default: 50 million.
    pub fn set_step_limit(&self, steps: u64) {
        self.0.executor.borrow_mut().step_limit = steps;
    }

    /// Lets a panic end its task alone, as on the real machine, instead of failing the run.
    pub fn tolerate_panics(&self) {
        self.0.executor.borrow_mut().tolerate_panics = true;
    }

    /// How many tasks have panicked.
    pub fn panics(&self) -> u64 {
        self.0.executor.borrow().panics
    }

    /// Settings of the way from one host to another, for one direction. Data under way keeps its time.
    pub fn set_link(&self, from: &Host, to: &Host, link: Link) {
        self.0.net.borrow_mut().set_link(from.0.id, to.0.id, link);
    }

    /// Settings of every way that has none of its own.
    pub fn set_links(&self, link: Link) {
        self.0.net.borrow_mut().set_default_link(link);
    }

    /// Cuts the way from one host to another: nothing arrives, nobody is told. Nothing is lost either: it arrives after
    /// [`heal_one_way`](Self::heal_one_way), as TCP would send it again.
    pub fn cut_one_way(&self, from: &Host, to: &Host) {
        self.0.net.borrow_mut().cut(from.0.id, to.0.id);
    }

    /// Cuts both ways between two hosts.
    pub fn cut(&self, one: &Host, other: &Host) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Ends a cut of one way.
    pub fn heal_one_way(&self, from: &Host, to: &Host) {
        self.0.net.borrow_mut().heal(&self.0, from.0.id, to.0.id);
    }

    /// Ends a cut of both ways.
    pub fn heal(&self, one: &Host, other: &Host) {
        self.heal_one_way(one, other);
        self.heal_one_way(other, one);
    }

    /// Resets all connections between two hosts, at once and on both sides.
    pub fn reset(&self, one: &Host, other: &Host) {
        self.0.net.borrow_mut().reset_between(one.0.id, other.0.id);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Tasks hold the kernel and the kernel holds tasks: the ring is opened here. Nothing is borrowed while
        // destructors run, for they may ask the machine for things; it does nothing for them any more.
        self.0.hosts.borrow().iter().for_each(|host| host.stop());
        let tasks = self.0.executor.borrow_mut().take_all_tasks();
        drop(tasks);
        let events = self.0.timeline.borrow_mut().clear();
        drop(events);
        let hosts = std::mem::take(&mut *self.0.hosts.borrow_mut());
        drop(hosts);
    }
}
