//! Runs tasks on one thread, in seeded order, on a virtual clock.
//!
//! Tasks run in rounds: what was runnable when the round began runs once each, in seeded order; what is woken
//! meanwhile joins the next round. Each turn costs a little virtual time, so that a task which only yields cannot stop
//! the clock. When nothing is runnable, the clock jumps to the next event.

use super::host::Cpu;
use super::kernel::{Inbox, Kernel, Step};
use super::rng::Rng;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Wakes one task.
struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.inbox.told().woken.push(self.id);
        }
    }
}

struct Task {
    /// Empty while the task runs.
    work: Option<Work>,
    alarm: Arc<TaskWaker>,
    waker: Waker,
    host: usize,
    cpu: Rc<Cpu>,
}

/// All tasks of a world.
pub(super) struct Executor {
    rng: Rng,
    tasks: BTreeMap<u64, Task>,
    started: u64,
    round: Vec<u64>,
    next_round: Vec<u64>,
    /// Turns left before the world is declared to run in circles.
    pub(super) step_limit: u64,
    /// Whether a panic ends its task alone, as on the real machine.
    pub(super) tolerate_panics: bool,
    pub(super) panics: u64,
}

/// The future that a run waits for: polls it, and says whether it is done.
pub(super) type Main<'a> = &'a mut dyn FnMut(&mut Context<'_>) -> bool;

/// Why a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The future is done.
    Finished,
    /// Virtual time is up.
    TimeUp,
    /// The number of turns is reached.
    StepsUp,
    /// Nothing is runnable and nothing will ever happen.
    Idle,
}

impl Executor {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::part(seed, "executor", 0),
            tasks: BTreeMap::new(),
            started: 0,
            round: Vec::new(),
            next_round: Vec::new(),
            step_limit: 50_000_000,
            tolerate_panics: false,
            panics: 0,
        }
    }

    fn alarm(&mut self, inbox: &Arc<Inbox>) -> Arc<TaskWaker> {
        self.started += 1;
        self.next_round.push(self.started);
        Arc::new(TaskWaker { id: self.started, queued: AtomicBool::new(true), inbox: inbox.clone() })
    }

    pub(super) fn spawn(&mut self, inbox: &Arc<Inbox>, host: usize, cpu: Rc<Cpu>, work: Work) {
        let alarm = self.alarm(inbox);
        let waker = Waker::from(alarm.clone());
        self.tasks.insert(alarm.id, Task { work: Some(work), alarm, waker, host, cpu });
    }

    pub(super) fn make_runnable(&mut self, woken: &[u64]) {
        self.next_round.extend_from_slice(woken);
    }

    /// Takes all tasks of a host out. The caller drops them, with nothing borrowed.
    pub(super) fn take_tasks_of(&mut self, host: usize) -> Vec<Work> {
        let (taken, left) =
            std::mem::take(&mut self.tasks).into_iter().partition(|(_, task)| task.host == host);
        self.tasks = left;
        let taken: BTreeMap<u64, Task> = taken;
        taken.into_values().filter_map(|task| task.work).collect()
    }

    pub(super) fn take_all_tasks(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.tasks).into_values().filter_map(|task| task.work).collect()
    }

    /// The next task to run, if the round is not over.
    fn pick(&mut self) -> Option<u64> {
        if self.round.is_empty() {
            return None;
        }
        let index = self.rng.index(self.round.len());
        Some(self.round.swap_remove(index))
    }

    fn begin(&mut self, id: u64) -> Option<(Work, Waker)> {
        let task = self.tasks.get_mut(&id)?;
        task.alarm.queued.store(false, Ordering::SeqCst);
        task.cpu.count(|counters| counters.turns += 1);
        Some((task.work.take()?, task.waker.clone()))
    }
}

impl Kernel {
    /// Runs until `main` is done, `until` is reached, `steps` turns were taken, or nothing is left to do.
    pub(super) fn run(&self, mut main: Option<Main<'_>>, until: u64, steps: u64) -> Ended {
        let _named = NameSeedOnPanic(self.seed);
        let alarm = main.is_some().then(|| self.executor.borrow_mut().alarm(&self.inbox));
        let main_waker = alarm.clone().map(Waker::from);
        let main_id = alarm.as_ref().map(|alarm| alarm.id);
        let step_limit = self.executor.borrow().step_limit;
        let mut taken = 0;
        loop {
            if taken >= steps {
                return Ended::StepsUp;
            }
            let Some(id) = self.next_task(until) else {
                return if self.now() >= until { Ended::TimeUp } else { Ended::Idle };
            };
            taken += 1;
            assert!(taken < step_limit, "seed {}: no end after {step_limit} turns", self.seed);
            self.note(Step::Poll, id, 0);
            match (&mut main, &alarm, &main_waker) {
                (Some(main), Some(alarm), Some(waker)) if main_id == Some(id) => {
                    alarm.queued.store(false, Ordering::SeqCst);
                    if main(&mut Context::from_waker(waker)) {
                        return Ended::Finished;
                    }
                }
                _ => self.turn(id),
            }
            let cost = self.executor.borrow_mut().rng.within(50..=500);
            self.clock.set(self.now() + cost);
        }
    }

    /// Finds the next runnable task, letting time pass as needed, but never beyond `until`.
    fn next_task(&self, until: u64) -> Option<u64> {
        loop {
            self.collect();
            if self.now() >= until {
                return None;
            }
            if let Some(id) = self.executor.borrow_mut().pick() {
                return Some(id);
            }
            self.fire_due();
            self.collect();
            let runnable = {
                let executor = &mut *self.executor.borrow_mut();
                std::mem::swap(&mut executor.round, &mut executor.next_round);
                !executor.round.is_empty()
            };
            if !runnable {
                let next = self.timeline.borrow().next_time();
                // An idle world's clock stands still, unless the caller waits for a time.
                let reached = next.unwrap_or(until).min(until);
                if reached == u64::MAX {
                    return None;
                }
                self.clock.set(self.now().max(reached));
            }
        }
    }

    /// One turn of one task.
    fn turn(&self, id: u64) {
        let Some((mut work, waker)) = self.executor.borrow_mut().begin(id) else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker))));
        if let Ok(Poll::Pending) = polled {
            // The task may have crashed its own host, and itself with it.
            if let Some(task) = self.executor.borrow_mut().tasks.get_mut(&id) {
                task.work = Some(work);
                return;
            }
        }
        let ended = self.executor.borrow_mut().tasks.remove(&id);
        drop(work);
        if let (Err(panic), Some(task)) = (polled, ended) {
            self.on_panic(&task, &*panic);
        }
    }

    fn on_panic(&self, task: &Task, panic: &(dyn std::any::Any + Send)) {
        let said = (panic.downcast_ref::<&str>().copied())
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let executor = &mut *self.executor.borrow_mut();
        executor.panics += 1;
        let (host, core) = (task.host, task.cpu.index);
        if !executor.tolerate_panics {
            panic!("seed {}: a task of host {host}, core {core} panicked: {said}", self.seed);
        }
        tracing::error!(host, core, said, "a task panicked");
    }
}

/// Says which seed failed, whatever failed.
struct NameSeedOnPanic(u64);

impl Drop for NameSeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulated world failed: seed {}", self.0);
        }
    }
}
