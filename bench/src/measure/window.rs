//! The time in which things count, and what has gone through, shared by the threads of the driver and the one that keeps time.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// One window: it opens when all is warm, closes once, and lasts until the last answer is there.
#[derive(Debug, Default)]
pub struct Window {
    opened: OnceLock<Instant>,
    closed: OnceLock<Instant>,
    requests: AtomicU64,
    records: AtomicU64,
    payload: AtomicU64,
    wire: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// What has gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// Answered requests.
    pub requests: u64,
    /// Records acknowledged or read.
    pub records: u64,
    /// Bytes of their keys and values.
    pub payload: u64,
    /// Bytes of their batches.
    pub wire: u64,
}

impl Through {
    /// What is here and not there.
    pub fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            records: self.records - before.records,
            payload: self.payload - before.payload,
            wire: self.wire - before.wire,
        }
    }
}

impl Window {
    /// From now on things count.
    pub fn open(&self) -> Instant {
        *self.opened.get_or_init(Instant::now)
    }

    /// From now on nothing is begun.
    pub fn close(&self) -> Instant {
        *self.closed.get_or_init(Instant::now)
    }

    /// Whether things have begun to count.
    pub fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// Whether nothing is to be begun any more.
    pub fn is_closed(&self) -> bool {
        self.closed.get().is_some() || self.failed.load(Relaxed)
    }

    /// Whether something of this time counts.
    pub fn covers(&self, time: Instant) -> bool {
        self.opened.get().is_some_and(|opened| time >= *opened)
            && self.closed.get().is_none_or(|closed| time < *closed)
    }

    /// Adds what went through.
    pub fn add(&self, through: Through) {
        self.requests.fetch_add(through.requests, Relaxed);
        self.records.fetch_add(through.records, Relaxed);
        self.payload.fetch_add(through.payload, Relaxed);
        self.wire.fetch_add(through.wire, Relaxed);
    }

    /// What has gone through so far.
    pub fn through(&self) -> Through {
        Through {
            requests: self.requests.load(Relaxed),
            records: self.records.load(Relaxed),
            payload: self.payload.load(Relaxed),
            wire: self.wire.load(Relaxed),
        }
    }

    /// Ends the run: there is no result. The first error is the one to tell.
    pub fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.failed.store(true, Relaxed);
    }

    /// Whether there is no result.
    pub fn failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// The error, if there was one.
    pub fn failure(&self) -> Result<()> {
        if !self.failed.load(Relaxed) {
            return Ok(());
        }
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        Err(failure.take().unwrap_or_else(|| Error::Target("the run failed".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_what_is_within_counts() {
        let window = Window::default();
        let before = Instant::now();
        assert!(!window.covers(before) && !window.is_closed());
        let opened = window.open();
        assert!(window.covers(opened) && window.covers(opened + Duration::from_secs(9)));
        assert!(!window.covers(opened - Duration::from_nanos(1)));
        let closed = window.close();
        assert!(window.is_closed() && !window.covers(closed));
        assert_eq!((window.open(), window.close()), (opened, closed), "only once");
    }

    #[test]
    fn the_first_failure_is_told() {
        let window = Window::default();
        assert!(window.failure().is_ok());
        window.fail(Error::Wrong("first".to_owned()));
        window.fail(Error::Wrong("second".to_owned()));
        assert!(window.is_closed());
        assert!(window.failure().unwrap_err().to_string().contains("first"));
    }

    #[test]
    fn what_went_through_adds_up() {
        let window = Window::default();
        let one = Through { requests: 1, records: 16, payload: 16_384, wire: 16_700 };
        window.add(one);
        let before = window.through();
        window.add(one);
        assert_eq!(window.through().since(before), one);
        assert_eq!(window.through().records, 32);
    }
}
