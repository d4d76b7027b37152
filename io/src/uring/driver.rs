//! Joins the data ring to glommio: one task that turns the ring while there is work, and sleeps in glommio's ring, on a
//! read of the eventfd that the data ring signals, when there is none.
//!
//! While it is busy no eventfd is involved: it takes completions once all tasks that are ready have run, so that what
//! they submit goes to the kernel in one call. When two looks in a row find nothing it lets the kernel signal again,
//! looks a last time, and waits. Whoever then submits wakes it; so does the eventfd, for completions and for tasks woken
//! by other threads.

use super::core::Core;
use glommio::io::BufferedFile;
use glommio::timer::Timer;
use std::future::Future;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Looks that find nothing before the driver goes to sleep. A look costs a few loads and no system call.
const IDLE_LOOKS: u32 = 2;

/// The longest sleep. Not needed, except that it bounds the harm should glommio ever sleep while the driver is ready.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The driver of one core. Runs until the core [closes](Core::close).
pub(super) struct Driver {
    core: Rc<Core>,
    bell: Rc<BufferedFile>,
    /// The read in flight on glommio's ring. Survives being busy; only its completion replaces it.
    read: Option<BellRead>,
    /// What ends the sleep, and when.
    alarm: Option<(Instant, Timer)>,
    idle_looks: u32,
    asleep: bool,
}

impl Driver {
    pub(super) fn new(core: Rc<Core>) -> std::io::Result<Self> {
        let bell = core.doorbell.bell().try_clone_to_owned()?;
        // SAFETY: the descriptor is a fresh duplicate that the file owns from here on.
        let bell = Rc::new(unsafe { BufferedFile::from_raw_fd(bell.into_raw_fd()) });
        core.ring.borrow_mut().listen(false);
        Ok(Self { core, bell, read: None, alarm: None, idle_looks: 0, asleep: false })
    }

    fn wake_up(&mut self) {
        if std::mem::replace(&mut self.asleep, false) {
            self.core.set_parked(false);
            self.core.doorbell.wake_up();
            self.core.ring.borrow_mut().listen(false);
        }
    }

    /// Announces everywhere that we sleep. `false`: something came in between.
    fn fall_asleep(&mut self, cx: &mut Context<'_>) -> bool {
        self.asleep = true;
        self.core.ring.borrow_mut().listen(true);
        // What the kernel had pending before it could signal is only found by entering it once more.
        let came = self.core.turn(true);
        let came = !self.core.doorbell.fall_asleep() || came;
        if came || self.bell_rang(cx) || self.alarm_rang(cx) {
            return false;
        }
        self.core.set_parked(true);
        true
    }

    /// Looks at the alarm, and sets it if it is not early enough for the first of our timers.
    fn alarm_rang(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let latest = now + LONGEST_SLEEP;
        let due = self.core.timers.first().map_or(latest, |first| first.min(latest));
        let (_, timer) = match &mut self.alarm {
            Some(alarm) if alarm.0 <= due => alarm,
            alarm => alarm.insert((due, Timer::new(due - now.min(due)))),
        };
        let rang = Pin::new(timer).poll(cx).is_ready();
        if rang {
            self.alarm = None;
        }
        rang
    }

    /// Looks at the read of the bell, starting one if there is none. Its completion empties the bell.
    fn bell_rang(&mut self, cx: &mut Context<'_>) -> bool {
        let read = match &mut self.read {
            Some(read) if !read.woken.done.load(Ordering::Relaxed) => return false,
            Some(read) => read,
            none => none.insert(BellRead::new(self.bell.clone(), cx.waker().clone())),
        };
        match read.poll() {
            Poll::Pending => false,
            Poll::Ready(result) => {
                self.read = None;
                if let Err(error) = result {
                    tracing::error!(%error, "the event of the data ring cannot be read");
                }
                true
            }
        }
    }
}

/// A read of the bell on glommio's ring.
struct BellRead {
    future: Pin<Box<dyn Future<Output = glommio::Result<(), ()>>>>,
    woken: Arc<Woken>,
}

/// Wakes the driver and remembers it. Glommio keeps a waker for every poll of a read, so it is polled only when it was
/// started and when it is done, not at every sleep.
struct Woken {
    done: AtomicBool,
    driver: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.done.store(true, Ordering::Relaxed);
        self.driver.wake_by_ref();
    }
}

impl BellRead {
    fn new(bell: Rc<BufferedFile>, driver: Waker) -> Self {
        let future = Box::pin(async move { bell.read_at(0, size_of::<u64>()).await.map(drop) });
        Self { future, woken: Arc::new(Woken { done: AtomicBool::new(false), driver }) }
    }

    fn poll(&mut self) -> Poll<glommio::Result<(), ()>> {
        let waker = Waker::from(self.woken.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Future for Driver {
    /// The file that the bell was read from, for the caller to close.
    type Output = Rc<BufferedFile>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.core.is_closing() {
            // The bell was rung: the read in flight, if there is one, comes to its end.
            this.wake_up();
            let done = this.read.is_none() || this.bell_rang(cx);
            return if done { Poll::Ready(this.bell.clone()) } else { Poll::Pending };
        }
        this.core.set_driver(cx.waker());
        this.core.counters.add(|c| c.turns += 1);
        this.wake_up();
        let answered = this.core.doorbell.answer();
        let completed = this.core.turn(false);
        let fired = this.core.timers.fire();
        if answered || completed || fired {
            this.idle_looks = 0;
        } else {
            this.idle_looks += 1;
        }
        if this.idle_looks > IDLE_LOOKS {
            this.idle_looks = 0;
            if this.fall_asleep(cx) {
                return Poll::Pending;
            }
            this.wake_up();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
