//! Produces that wait for an answer, in order of what they wait for.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::{Appended, Effect, ProduceError, pop_front_if};
use crate::offset::{HighWatermark, LogStart, Offset, Written};

/// A produce that waits for its batch to be written or committed.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    /// Answered when the offset waited for reaches this.
    end: Offset,
    /// Order of arrival, which tells apart those that wait for the same offset.
    id: u64,
    /// Set for `acks=all`.
    deadline: Option<Duration>,
    base_offset: Offset,
    log_append_time: Option<i64>,
    ticket: P,
}

impl<P> Waiting<P> {
    /// Waits for `end`; with a deadline for the watermark to reach it, without one for the write.
    pub(super) fn new(
        end: Offset,
        deadline: Option<Duration>,
        base_offset: Offset,
        log_append_time: Option<i64>,
        ticket: P,
    ) -> Self {
        Self { end, id: 0, deadline, base_offset, log_append_time, ticket }
    }

    /// The answer when the offset waited for was reached.
    pub(super) fn succeed<W>(self, log_start: LogStart) -> Effect<P, W> {
        let outcome =
            Ok(Appended { base_offset: self.base_offset, log_append_time: self.log_append_time, log_start });
        Effect::Reply { ticket: self.ticket, outcome }
    }

    /// The answer when it was not.
    pub(super) fn fail<W>(self, error: ProduceError) -> Effect<P, W> {
        Effect::Reply { ticket: self.ticket, outcome: Err(error) }
    }

    fn key(&self) -> (Offset, u64) {
        (self.end, self.id)
    }
}

/// The produces that wait, in order of what they wait for.
///
/// Appends arrive in that order, so parking is a push; only a duplicate of an earlier batch is put between. Deadlines are kept apart.
#[derive(Debug)]
pub(super) struct Parked<P> {
    for_written: VecDeque<Waiting<P>>,
    for_committed: VecDeque<Waiting<P>>,
    deadlines: BTreeSet<(Duration, Offset, u64)>,
    next_id: u64,
}

impl<P> Default for Parked<P> {
    fn default() -> Self {
        Self {
            for_written: VecDeque::new(),
            for_committed: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_id: 0,
        }
    }
}

impl<P> Parked<P> {
    pub(super) fn park(&mut self, mut waiting: Waiting<P>) {
        waiting.id = self.next_id;
        self.next_id += 1;
        let queue = match waiting.deadline {
            Some(deadline) => {
                self.deadlines.insert((deadline, waiting.end, waiting.id));
                &mut self.for_committed
            }
            None => &mut self.for_written,
        };
        match queue.back() {
            Some(last) if last.end > waiting.end => {
                let place = queue.partition_point(|other| other.key() < waiting.key());
                queue.insert(place, waiting);
            }
            _ => queue.push_back(waiting),
        }
    }

    pub(super) fn pop_written(&mut self, written: Written) -> Option<Waiting<P>> {
        pop_front_if(&mut self.for_written, |waiting| waiting.end <= written.offset())
    }

    pub(super) fn pop_committed(&mut self, watermark: HighWatermark) -> Option<Waiting<P>> {
        let waiting = pop_front_if(&mut self.for_committed, |waiting| waiting.end <= watermark.offset())?;
        self.forget_deadline(&waiting);
        Some(waiting)
    }

    pub(super) fn pop_expired(&mut self, now: Duration) -> Option<Waiting<P>> {
        let &(deadline, end, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let place = self.for_committed.binary_search_by_key(&(end, id), Waiting::key).ok()?;
        self.for_committed.remove(place)
    }

    fn forget_deadline(&mut self, waiting: &Waiting<P>) {
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, waiting.end, waiting.id));
        }
    }

    pub(super) fn fail_all<W>(&mut self, error: ProduceError, out: &mut Vec<Effect<P, W>>) {
        self.deadlines.clear();
        let waiting = self.for_written.drain(..).chain(self.for_committed.drain(..));
        out.extend(waiting.map(|waiting| waiting.fail(error)));
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, ..)| deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.for_written.len() + self.for_committed.len()
    }
}
