//! Deadlines of many things on one core, and one task that waits for the next.

use millrace_io::Io;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Who is to be looked at when. A thing has one place: its earliest; when it is looked at, it says when next.
pub struct Timers<T> {
    queue: RefCell<Queue<T>>,
    waker: RefCell<Option<Waker>>,
}

struct Queue<T> {
    order: BTreeSet<(Duration, T)>,
    places: BTreeMap<T, Duration>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        let queue = Queue { order: BTreeSet::new(), places: BTreeMap::new() };
        Self { queue: RefCell::new(queue), waker: RefCell::default() }
    }
}

impl<T: Ord + Copy> Timers<T> {
    /// Looks at `thing` at `deadline`, or earlier if that was asked before.
    pub fn add(&self, deadline: Duration, thing: T) {
        let mut queue = self.queue.borrow_mut();
        match queue.places.get(&thing).copied() {
            Some(earlier) if earlier <= deadline => return,
            Some(later) => queue.order.remove(&(later, thing)),
            None => false,
        };
        queue.places.insert(thing, deadline);
        queue.order.insert((deadline, thing));
        let first = queue.order.first() == Some(&(deadline, thing));
        drop(queue);
        if first && let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for the next deadline; everything that is due then.
    pub async fn due<I: Io>(&self, io: &I) -> Vec<T> {
        loop {
            match self.next() {
                None => self.changed(None).await,
                Some(next) if io.now() >= next => return self.take(io.now()),
                Some(next) => {
                    let changed = pin!(self.changed(Some(next)));
                    futures_util::future::select(pin!(io.sleep_until(next)), changed).await;
                }
            }
        }
    }

    fn next(&self) -> Option<Duration> {
        self.queue.borrow().order.first().map(|(deadline, _)| *deadline)
    }

    fn take(&self, now: Duration) -> Vec<T> {
        let mut due = Vec::new();
        let mut queue = self.queue.borrow_mut();
        while let Some((_, thing)) = queue.order.pop_first_if(|(deadline, _)| *deadline <= now) {
            queue.places.remove(&thing);
            due.push(thing);
        }
        due
    }

    /// Completes when the first deadline is another than `known`.
    async fn changed(&self, known: Option<Duration>) {
        poll_fn(|cx| {
            if self.next() != known {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// `BTreeSet::pop_first` under a condition.
trait PopFirstIf<T> {
    fn pop_first_if(&mut self, condition: impl Fn(&T) -> bool) -> Option<T>;
}

impl<T: Ord> PopFirstIf<T> for BTreeSet<T> {
    fn pop_first_if(&mut self, condition: impl Fn(&T) -> bool) -> Option<T> {
        self.first().is_some_and(condition).then(|| self.pop_first()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_looked_at_once_at_its_earliest() {
        let timers = Timers::default();
        let at = Duration::from_secs;
        timers.add(at(5), 'a');
        timers.add(at(3), 'a');
        timers.add(at(9), 'a');
        timers.add(at(4), 'b');
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.take(at(4)), ['a', 'b']);
        assert!(timers.take(at(100)).is_empty());
    }
}
