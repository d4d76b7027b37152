//! Starting and joining the cores.

use super::cold::Pipes;
use super::core::Core;
use super::driver::Driver;
use super::handle::Uring;
use super::preflight::{Preflight, preflight};
use super::signals::{self, Termination};
use super::tasks::{self, panic_message};
use super::time;
use futures_util::FutureExt;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Never, so ten years: glommio's preemption timer is no use to us, and would do harm. Should it fire between glommio's
/// look at its rings and its look at its tasks, glommio 0.9 goes to sleep although the driver is ready, and nothing that
/// it knows of would wake it.
const GLOMMIO_PREEMPTION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Entries of glommio's own rings, which carry nothing.
const GLOMMIO_RING: usize = 32;
/// How long a core waits, at its end, for the kernel to finish what was cancelled.
const LAST_COMPLETIONS: Duration = Duration::from_secs(5);

/// How to set the machine up.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// How many shards: each is a thread with its own executor and ring.
    pub shards: usize,
    /// Pin each shard to a core of its own, as far as there are enough cores for all.
    pub pin: bool,
}

impl MachineConfig {
    /// This many shards, pinned where possible.
    pub fn new(shards: usize) -> Self {
        Self { shards, pin: true }
    }
}

/// Why the machine cannot start, or a core died. The message names what is wrong and what to do.
#[derive(Debug)]
pub enum StartError {
    /// The configuration makes no sense.
    Config(String),
    /// The kernel, or what confines this process, does not allow what is needed.
    Kernel(String),
    /// A limit of this process is too low.
    Limit(String),
    /// A core could not be set up.
    Core(String),
    /// A core's main task panicked; the other cores were asked to end.
    Panicked {
        /// Which core.
        core: usize,
        /// What the panic said.
        message: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(m) | Self::Kernel(m) | Self::Limit(m) | Self::Core(m) => f.write_str(m),
            Self::Panicked { core, message } => write!(f, "core {core} panicked: {message}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The real machine.
pub struct Machine;

impl Machine {
    /// Checks the ground ([`preflight`]), starts every core, and calls `main` on each core's own thread with its
    /// view of the machine and its index. Returns when every core is ready to run.
    ///
    /// A core ends when its `main` does: its other tasks are dropped then, and what they have in the kernel is
    /// cancelled and waited for.
    pub fn start<F, Fut>(config: MachineConfig, main: F) -> Result<Running, StartError>
    where
        F: Fn(Uring, usize) -> Fut + Send + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        if config.shards == 0 {
            return Err(StartError::Config("0 shards were asked for; at least 1 is needed".into()));
        }
        let preflight = preflight(config.shards)?;
        let termination = Arc::new(Termination::default());
        signals::watch(&termination)
            .map_err(|e| StartError::Core(format!("SIGTERM and SIGINT cannot be handled: {e}")))?;
        let setup = Setup { started: Instant::now(), shards: config.shards, termination };
        let mut running = Running { cores: Vec::new(), termination: setup.termination.clone(), preflight };
        for (index, placement) in placements(&config).into_iter().enumerate() {
            running.cores.push(start_core(index, placement, setup.clone(), main.clone())?);
        }
        Ok(running)
    }
}

/// What every core needs to know at its start.
#[derive(Clone)]
struct Setup {
    started: Instant,
    shards: usize,
    termination: Arc<Termination>,
}

type CoreHandle = ExecutorJoinHandle<Result<(), String>>;

fn start_core<F, Fut>(
    index: usize,
    placement: Placement,
    setup: Setup,
    main: F,
) -> Result<CoreHandle, StartError>
where
    F: Fn(Uring, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let failed = |why: String| StartError::Core(format!("core {index} cannot start: {why}"));
    let (ready, is_ready) = mpsc::channel();
    let handle = LocalExecutorBuilder::new(placement)
        .name(&format!("shard-{index}"))
        .io_memory(0)
        .ring_depth(GLOMMIO_RING)
        .preempt_timer(GLOMMIO_PREEMPTION)
        .spawn(move || async move {
            let pipes = Pipes::new(setup.shards);
            let made = Core::new(setup.started, setup.termination.clone(), pipes)
                .map(|core| (Driver::new(core.clone()), core));
            match made {
                Err(error) => {
                    // Whoever started us waits for this message or for our end.
                    let _ = ready.send(Err(error.to_string()));
                    Ok(())
                }
                Ok((driver, core)) => {
                    let _ = ready.send(Ok(()));
                    run_core(index, core, driver, main).await
                }
            }
        })
        .map_err(|e| failed(e.to_string()))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(why)) => Err(failed(why)),
        // The executor itself could not be made; its thread has ended with the reason.
        Err(mpsc::RecvError) => Err(failed(match handle.join() {
            Ok(_) => "its executor ended at once".into(),
            Err(error) => error.to_string(),
        })),
    }
}

async fn run_core<F, Fut>(index: usize, core: Rc<Core>, driver: Driver, main: F) -> Result<(), String>
where
    F: Fn(Uring, usize) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let driver = glommio::spawn_local(driver);
    let finished = Rc::new(Finished::default());
    let (io, done) = (Uring::new(core.clone()), finished.clone());
    tasks::spawn(&core, async move {
        let outcome = AssertUnwindSafe(async { main(io, index).await }).catch_unwind().await;
        done.set(outcome.map_err(|panic| panic_message(&*panic).to_owned()));
    });
    let outcome = finished.wait().await;
    if let Err(message) = &outcome {
        tracing::error!(core = index, message, "a core's main task panicked; the machine ends");
        core.termination.ask();
    }
    stop(&core).await;
    core.close();
    driver.await;
    outcome
}

/// Drops every task and waits until the kernel has let go of everything.
async fn stop(core: &Rc<Core>) {
    while !core.tasks.borrow().is_empty() {
        // Dropping a task may start or drop others.
        let tasks: Vec<_> = core.tasks.borrow_mut().drain().collect();
        tasks.into_iter().for_each(tasks::Task::end);
    }
    // The executor drops what is left of them.
    time::yield_now().await;
    core.ring.borrow_mut().cancel_all();
    let deadline = Instant::now() + LAST_COMPLETIONS;
    while core.ring.borrow().in_flight() > 0 {
        if Instant::now() > deadline {
            tracing::warn!(
                "the kernel still works on operations that were cancelled; their memory is given up"
            );
            return;
        }
        time::sleep(core, Duration::from_micros(200)).await;
    }
}

/// How a core's main task ended, for the task that waits for it on the same core.
#[derive(Default)]
struct Finished {
    outcome: Cell<Option<Result<(), String>>>,
    waker: Cell<Option<Waker>>,
}

impl Finished {
    fn set(&self, outcome: Result<(), String>) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn wait(&self) -> Result<(), String> {
        poll_fn(|cx| match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// Where each shard runs: on a core of its own if there are enough, else wherever the kernel likes.
fn placements(config: &MachineConfig) -> Vec<Placement> {
    let cores = allowed_cores();
    if config.pin && config.shards <= cores.len() {
        cores.into_iter().take(config.shards).map(Placement::Fixed).collect()
    } else {
        vec![Placement::Unbound; config.shards]
    }
}

/// The cores that this process may use: a container may have fewer than the machine.
pub(super) fn allowed_cores() -> Vec<usize> {
    use nix::sched::{CpuSet, sched_getaffinity};
    let Ok(set) = sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

/// A machine that runs.
pub struct Running {
    cores: Vec<CoreHandle>,
    termination: Arc<Termination>,
    preflight: Preflight,
}

impl Running {
    /// What deserves the operator's attention although the machine runs.
    pub fn preflight(&self) -> &Preflight {
        &self.preflight
    }

    /// Asks every core to end, as SIGTERM would, this machine alone.
    pub fn terminate(&self) {
        self.termination.ask();
    }

    /// Waits until `main` has ended on every core.
    /// # Errors
    /// The first core that panicked.
    pub fn join(mut self) -> Result<(), StartError> {
        let mut result = Ok(());
        for (core, handle) in std::mem::take(&mut self.cores).into_iter().enumerate() {
            let ended = match handle.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(message)) => Err(StartError::Panicked { core, message }),
                Err(error) => Err(StartError::Panicked { core, message: error.to_string() }),
            };
            result = result.and(ended);
        }
        result
    }
}

impl Drop for Running {
    /// A machine that failed to start completely, or that nobody joins, is asked to end.
    fn drop(&mut self) {
        if !self.cores.is_empty() {
            self.termination.ask();
        }
    }
}
