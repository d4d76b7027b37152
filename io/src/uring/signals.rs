//! The operator's wish to end: SIGTERM and SIGINT, for every machine of the process.
//!
//! The handler only signals an eventfd; a thread that does nothing else turns that into flags and wakers.

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use slab::Slab;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

/// Whether one machine was asked to end, and who waits for that.
#[derive(Default)]
pub(super) struct Termination {
    asked: AtomicBool,
    waiting: Mutex<Slab<Waker>>,
}

impl Termination {
    /// Asks the machine to end.
    pub(super) fn ask(&self) {
        let wakers: Vec<Waker> = {
            let waiting = locked(&self.waiting);
            self.asked.store(true, Ordering::Release);
            waiting.iter().map(|(_, waker)| waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when the machine was asked to end.
    pub(super) fn asked(self: &Arc<Self>) -> Asked {
        Asked { termination: self.clone(), key: None }
    }
}

/// See [`Termination::asked`].
pub(super) struct Asked {
    termination: Arc<Termination>,
    key: Option<usize>,
}

impl Future for Asked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Under the lock, so that `ask` either sees the waker or is seen.
        let mut waiting = locked(&this.termination.waiting);
        if this.termination.asked.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let old = match this.key {
            Some(key) => Some(std::mem::replace(&mut waiting[key], cx.waker().clone())),
            None => {
                this.key = Some(waiting.insert(cx.waker().clone()));
                None
            }
        };
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Dropped after the lock is gone: a waker may own more than it seems.
            let waker = locked(&self.termination.waiting).try_remove(key);
            drop(waker);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The eventfd that the handler signals; -1 before there is one.
static BELL: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(_: libc::c_int) {
    let one = 1u64;
    // SAFETY: write is async-signal-safe; eight bytes of a live local. Should it fail, nothing could be done about it,
    // and errno is restored for the code that was interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(BELL.load(Ordering::Relaxed), (&raw const one).cast(), 8);
        *errno = saved;
    }
}

/// The machines of this process that want to know.
static MACHINES: Mutex<Vec<Weak<Termination>>> = Mutex::new(Vec::new());

/// From now on, SIGTERM and SIGINT ask this machine to end.
pub(super) fn watch(termination: &Arc<Termination>) -> io::Result<()> {
    static WATCHING: OnceLock<Result<(), nix::Error>> = OnceLock::new();
    {
        let mut machines = locked(&MACHINES);
        machines.retain(|machine| machine.strong_count() > 0);
        machines.push(Arc::downgrade(termination));
    }
    Ok((*WATCHING.get_or_init(start_watching))?)
}

fn start_watching() -> Result<(), nix::Error> {
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
    BELL.store(bell.as_raw_fd(), Ordering::Relaxed);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            loop {
                match bell.read() {
                    Ok(_) => ask_all(),
                    Err(nix::Error::EINTR) => {}
                    Err(error) => {
                        tracing::error!(%error, "signals cannot be received any more");
                        return;
                    }
                }
            }
        })
        .map_err(|_| nix::Error::EAGAIN)?;
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the handler does nothing but an async-signal-safe write.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

fn ask_all() {
    let machines: Vec<_> = locked(&MACHINES).iter().filter_map(Weak::upgrade).collect();
    machines.iter().for_each(|machine| machine.ask());
}
