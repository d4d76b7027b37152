//! What will happen and when, in virtual nanoseconds.

use std::collections::BTreeMap;
use std::task::Waker;

/// Names one future event: its time, and its number among all events (equal times keep their order).
pub(super) type Key = (u64, u64);

/// Everything that can happen without a task running.
pub(super) enum Event {
    /// A sleep is over.
    Wake(Waker),
    /// A disk operation completes.
    Disk { host: usize, op: u64 },
    /// A packet reaches one end of a connection.
    Arrival { connection: u64, end: usize },
    /// A connection attempt reaches the host it is meant for.
    Knock { attempt: u64 },
    /// The answer to a connection attempt is back.
    Answered { attempt: u64 },
}

/// The events to come, in order.
#[derive(Default)]
pub(super) struct Timeline {
    events: BTreeMap<Key, Event>,
    scheduled: u64,
}

impl Timeline {
    pub(super) fn add(&mut self, time: u64, event: Event) -> Key {
        self.scheduled += 1;
        let key = (time, self.scheduled);
        self.events.insert(key, event);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Event> {
        self.events.remove(&key)
    }

    /// Makes a sleep wake somebody else; false if it is over already.
    pub(super) fn change_waker(&mut self, key: Key, waker: &Waker) -> bool {
        match self.events.get_mut(&key) {
            Some(Event::Wake(present)) => {
                present.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        self.events.keys().next().map(|key| key.0)
    }

    /// The next event that is due at `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Event> {
        let entry = self.events.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn clear(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events).into_values().collect()
    }
}
