//! Bounded mailboxes between cores: any core sends, one receives, order per sender is kept.
//!
//! One implementation serves both machines: a lock-free queue and wakers. The receiver's waker crosses cores.

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

struct Shared<M> {
    queue: ArrayQueue<M>,
    receiver: AtomicWaker,
    /// Senders that found the queue full. Touched only when it is full or was: never on the usual path.
    blocked: Mutex<Vec<Waker>>,
    any_blocked: AtomicBool,
    senders: AtomicUsize,
    receiver_gone: AtomicBool,
}

/// The sending end. Clone it for every core that sends.
pub struct Sender<M>(Arc<Shared<M>>);

/// The receiving end. Belongs to one core.
pub struct Receiver<M>(Arc<Shared<M>>);

/// A mailbox that holds at most `capacity` messages.
pub fn mailbox<M: Send + 'static>(capacity: usize) -> (Sender<M>, Receiver<M>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        receiver: AtomicWaker::new(),
        blocked: Mutex::new(Vec::new()),
        any_blocked: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
        receiver_gone: AtomicBool::new(false),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<M: Send + 'static> Sender<M> {
    /// Puts `message` in the box, or hands it back when the box is full or nobody will ever read it.
    pub fn try_send(&self, message: M) -> Result<(), M> {
        if self.0.receiver_gone.load(Ordering::Acquire) {
            return Err(message);
        }
        self.0.queue.push(message)?;
        self.0.receiver.wake();
        Ok(())
    }

    /// Waits for room, then sends. `Err` hands the message back: the receiver is gone.
    pub async fn send(&self, message: M) -> Result<(), M> {
        let mut message = Some(message);
        poll_fn(|cx| {
            let unsent = match self.try_send(message.take().expect("polled after completion")) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(unsent) if self.0.receiver_gone.load(Ordering::Acquire) => {
                    return Poll::Ready(Err(unsent));
                }
                Err(unsent) => unsent,
            };
            self.0.blocked.lock().unwrap_or_else(|e| e.into_inner()).push(cx.waker().clone());
            self.0.any_blocked.store(true, Ordering::SeqCst);
            // The receiver may have made room before it could see that we wait.
            match self.try_send(unsent) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(unsent) if self.0.receiver_gone.load(Ordering::Acquire) => Poll::Ready(Err(unsent)),
                Err(unsent) => {
                    message = Some(unsent);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.receiver.wake();
        }
    }
}

impl<M: Send + 'static> Receiver<M> {
    /// The oldest message, if there is one.
    pub fn try_recv(&mut self) -> Option<M> {
        let message = self.0.queue.pop();
        if message.is_some() {
            self.0.wake_blocked();
        }
        message
    }

    /// The oldest message; `None` once the box is empty and every sender is gone.
    pub async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| {
            if let Some(message) = self.try_recv() {
                return Poll::Ready(Some(message));
            }
            self.0.receiver.register(cx.waker());
            // A message may have come between the look and the registration.
            if let Some(message) = self.try_recv() {
                return Poll::Ready(Some(message));
            }
            match self.0.senders.load(Ordering::Acquire) {
                0 => Poll::Ready(self.try_recv()),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::SeqCst);
        while self.0.queue.pop().is_some() {}
        self.0.wake_blocked();
    }
}

impl<M> Shared<M> {
    fn wake_blocked(&self) {
        // Pairs with the store in `send`: either we see the flag, or the sender's second try sees the room.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.any_blocked.swap(false, Ordering::SeqCst) {
            for waker in self.blocked.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
                waker.wake();
            }
        }
    }
}
