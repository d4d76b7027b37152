//! A core's helper thread, for the rare file operations that would hold the core and that no ring offers.

use super::tasks::panic_message;
use futures_util::task::AtomicWaker;
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Job = Box<dyn FnOnce() + Send>;

/// The helper; its thread starts with the first job and ends with the core.
#[derive(Default)]
pub(super) struct Helper(OnceCell<Sender<Job>>);

/// Where the helper leaves a result.
struct Answer<T> {
    value: Mutex<Option<Result<T>>>,
    waker: AtomicWaker,
}

impl<T> Answer<T> {
    fn take(&self) -> Option<Result<T>> {
        self.value.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

impl Helper {
    /// Runs `job` on the helper thread. Dropped early, the job runs all the same. A panic in it is an error.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let answer = Arc::new(Answer { value: Mutex::new(None), waker: AtomicWaker::new() });
        let theirs = answer.clone();
        self.send(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(job))
                .unwrap_or_else(|panic| Err(Error::other(panic_message(&*panic).to_owned())));
            *theirs.value.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(result);
            theirs.waker.wake();
        }))?;
        poll_fn(|cx| {
            answer.waker.register(cx.waker());
            answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn send(&self, job: Job) -> Result<()> {
        let sender = match self.0.get() {
            Some(sender) => sender,
            None => {
                let started = start()?;
                self.0.get_or_init(|| started)
            }
        };
        sender.send(job).map_err(|_| Error::other("the helper thread for file operations is gone"))
    }
}

fn start() -> Result<Sender<Job>> {
    let (sender, jobs) = channel::<Job>();
    std::thread::Builder::new().name("files".into()).spawn(move || {
        for job in jobs {
            job();
        }
    })?;
    Ok(sender)
}
