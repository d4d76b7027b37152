//! Tasks of one core, and wakers that any thread may use.
//!
//! A task's future is polled with a waker of our own. On its core it wakes the executor's task directly. From another
//! thread it goes into the core's [`Doorbell`], which the core's driver empties every round: glommio's own wakers never
//! leave their thread (they count in 16 bits, and a busy executor looks at foreign wakes only when its timer says so).

use super::core::Core;
use crossbeam_queue::SegQueue;
use futures_util::task::AtomicWaker;
use nix::sys::eventfd::EventFd;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    /// The doorbell whose core this thread is; 0 for every other thread.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Where other threads leave the tasks they woke.
pub(super) struct Doorbell {
    id: usize,
    bell: EventFd,
    asleep: AtomicBool,
    inbox: SegQueue<Arc<TaskWaker>>,
    /// Touched on the core only; atomic because the doorbell is shared.
    stirs: AtomicU64,
}

impl Doorbell {
    /// A doorbell for the core that this thread is from now on.
    pub(super) fn for_this_thread() -> std::io::Result<Arc<Self>> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        // Never read: the ring sees every write, and the counter has room for all that will ever be written.
        let bell = EventFd::from_flags(nix::sys::eventfd::EfdFlags::EFD_CLOEXEC)?;
        HERE.set(id);
        let (asleep, stirs) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Arc::new(Self { id, bell, asleep, inbox: SegQueue::new(), stirs }))
    }

    /// The event that is signalled when the core sleeps and has something to do.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn is_here(&self) -> bool {
        HERE.get() == self.id
    }

    /// Counts what makes tasks ready on the core: tasks that run, and wakers that are called.
    fn stir(&self) {
        self.stirs.store(self.stirs().wrapping_add(1), Ordering::Relaxed);
    }

    /// Grows whenever a task of the core has run or was woken.
    pub(super) fn stirs(&self) -> u64 {
        self.stirs.load(Ordering::Relaxed)
    }

    fn leave(&self, task: Arc<TaskWaker>) {
        self.inbox.push(task);
        // Pairs with `fall_asleep`: either the core sees the task, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Signals the bell.
    fn ring(&self) {
        // It can fail only if the counter is at its limit, and then the core is being woken already.
        let _ = self.bell.write(1);
    }

    /// Wakes, on the core itself, what other threads left. Says whether there was anything.
    pub(super) fn answer(&self) -> bool {
        let mut any = false;
        while let Some(task) = self.inbox.pop() {
            task.left.store(false, Ordering::SeqCst);
            task.local.wake();
            any = true;
        }
        any
    }

    /// Announces that the core sleeps. `false`: something came in between, do not.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.inbox.is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// Announces that the core is awake and will look into the inbox by itself.
    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// The waker of one task, for any thread.
struct TaskWaker {
    /// The executor's own waker. Touched on the task's core only.
    local: AtomicWaker,
    home: Arc<Doorbell>,
    /// Already in the inbox: every task is there at most once, so the inbox holds no more than there are tasks.
    left: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.home.is_here() {
            self.home.stir();
            self.local.wake();
        } else if !self.left.swap(true, Ordering::SeqCst) {
            self.home.leave(self.clone());
        }
    }
}

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;
/// A task's future, shared by the executor and by the core.
type TaskSlot = Rc<RefCell<Option<BoxedTask>>>;

/// What the core knows of a task, to end it when the machine stops.
pub(super) struct Task {
    slot: TaskSlot,
    waker: Arc<TaskWaker>,
}

impl Task {
    /// Drops the future, and lets the executor see that it is gone.
    pub(super) fn end(self) {
        let future = self.slot.borrow_mut().take();
        guard(|| drop(future));
        self.waker.wake();
    }
}

/// What the executor runs: polls the future with our waker, and contains its panics.
struct Shell {
    slot: TaskSlot,
    shared: Arc<TaskWaker>,
    waker: Waker,
    core: Rc<Core>,
    key: usize,
}

/// Starts `task` on this core. It first runs at the executor's next turn.
pub(super) fn spawn(core: &Rc<Core>, task: impl Future<Output = ()> + 'static) {
    let slot: TaskSlot = Rc::new(RefCell::new(Some(Box::pin(task))));
    let shared = Arc::new(TaskWaker {
        local: AtomicWaker::new(),
        home: core.doorbell.clone(),
        left: AtomicBool::new(false),
    });
    let key = core.tasks.borrow_mut().insert(Task { slot: slot.clone(), waker: shared.clone() });
    let waker = Waker::from(shared.clone());
    let shell = Shell { slot, shared, waker, core: core.clone(), key };
    // Into a named queue, because plain `spawn_local` would run the task inside this call.
    match glommio::spawn_local_into(shell, glommio::TaskQueueHandle::default()) {
        Ok(task) => drop(task.detach()),
        Err(error) => tracing::error!(%error, "a task could not be started"),
    }
}

impl Future for Shell {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.shared.home.stir();
        this.shared.local.register(cx.waker());
        let mut slot = this.slot.borrow_mut();
        let Some(task) = slot.as_mut() else { return Poll::Ready(()) };
        match guard(|| task.as_mut().poll(&mut Context::from_waker(&this.waker))) {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(())) | None => {}
        }
        let finished = slot.take();
        drop(slot);
        let known = this.core.tasks.borrow_mut().try_remove(this.key);
        guard(|| drop((finished, known)));
        Poll::Ready(())
    }
}

/// Runs `f`; a panic in it is logged and ends nothing else.
pub(super) fn guard<T>(f: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(panic) => {
            tracing::error!(panic = panic_message(&*panic), "a task panicked and was ended");
            None
        }
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
