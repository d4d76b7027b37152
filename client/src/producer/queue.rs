//! What waits to be sent to one partition: one open batch that takes records, and closed ones in their order.

use super::{Options, Placed, Promise};
use crate::backoff::Backoff;
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use millrace_proto::batch::{self, Builder};
use millrace_proto::grpc::v1;
use std::collections::VecDeque;
use std::time::Duration;
use tonic::Code;

/// Who the producer is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Batches are not numbered.
    Off,
    Wanted,
    Asked,
    Known(i64, i16),
}

/// One partition's batches.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) open: Option<Open>,
    /// Closed, in the order of their records.
    pub(super) waiting: VecDeque<Batch>,
    pub(super) in_flight: usize,
    /// Of the next batch that has none.
    pub(super) next_sequence: i32,
    /// A batch came back: nothing is sent until all of them are back.
    pub(super) stalled: bool,
    /// One of them is gone for good: those behind it get other numbers.
    pub(super) renumber: bool,
    pub(super) not_before: Duration,
    pub(super) backoff: Backoff,
}

/// A batch that still takes records.
pub(super) struct Open {
    pub(super) builder: Builder,
    pub(super) promises: Vec<Promise>,
    pub(super) number: u64,
    pub(super) since: Duration,
}

/// A batch that takes no more.
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) promises: Vec<Promise>,
    /// Of its first record.
    pub(super) number: u64,
    pub(super) since: Duration,
    /// Its number at the partition, once it was sent.
    pub(super) sequence: Option<i32>,
}

impl Queue {
    pub(super) fn has_work(&self) -> bool {
        self.open.is_some() || !self.waiting.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<Duration> {
        let waiting = self.waiting.front().map(|batch| batch.since);
        waiting.or(self.open.as_ref().map(|open| open.since))
    }

    pub(super) fn first_number(&self) -> Option<u64> {
        let waiting = self.waiting.front().map(|batch| batch.number);
        waiting.or(self.open.as_ref().map(|open| open.number))
    }

    /// The open batch takes no more.
    pub(super) fn close(&mut self, options: &Options) {
        let Some(Open { builder, promises, number, since }) = self.open.take() else { return };
        let finished =
            builder.finish(&batch::Options { codec: options.compression, ..batch::Options::default() });
        match finished {
            Ok(bytes) => {
                let bytes = bytes.freeze();
                self.waiting.push_back(Batch { bytes, promises, number, since, sequence: None });
            }
            Err(error) => {
                let error = Error::new(Code::InvalidArgument, error.to_string());
                promises.into_iter().for_each(|promise| promise.keep(Err(error.clone())));
            }
        }
    }

    /// Back among those that wait, by its records.
    pub(super) fn put_back(&mut self, mut batch: Batch) {
        if self.renumber {
            batch.sequence = None;
        }
        let at = self.waiting.partition_point(|other| other.number < batch.number);
        self.waiting.insert(at, batch);
    }

    /// The next batch, if it may be sent now.
    pub(super) fn take(
        &mut self,
        options: &Options,
        identity: Identity,
        (now, flush): (Duration, u64),
        closing: bool,
    ) -> Option<Batch> {
        if self.stalled || now < self.not_before || self.in_flight >= options.max_in_flight {
            return None;
        }
        if self.waiting.is_empty() {
            let ripe = |open: &Open| {
                let full = open.builder.size() >= options.batch_size;
                full || closing || open.number < flush || now >= open.since + options.linger
            };
            self.open.as_ref().filter(|open| ripe(open))?;
            self.close(options);
        }
        let numbers = matches!(identity, Identity::Off | Identity::Known(..));
        pop_if(&mut self.waiting, |batch| numbers || batch.sequence.is_some())
    }
}

impl Batch {
    /// Its place among the producer's batches, unless it has one.
    pub(super) fn number_it(&mut self, queue: &mut Queue, identity: Identity) {
        let Identity::Known(id, epoch) = identity else { return };
        if self.sequence.is_some() {
            return;
        }
        let producer = batch::Producer { id, epoch, base_sequence: queue.next_sequence };
        let mut bytes = std::mem::take(&mut self.bytes)
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        batch::stamp_producer(&mut bytes, Some(producer));
        self.bytes = bytes.freeze();
        self.sequence = Some(queue.next_sequence);
        let last = self.promises.len() as i32 - 1;
        queue.next_sequence = batch::last_sequence(batch::last_sequence(queue.next_sequence, last), 1);
    }

    pub(super) fn is_late(&self, now: Duration, options: &Options) -> bool {
        now >= self.since + options.delivery_timeout
    }

    pub(super) fn fail(self, error: &Error) {
        self.promises.into_iter().for_each(|promise| promise.keep(Err(error.clone())));
    }

    pub(super) fn answer(self, part: &v1::PartitionResult) {
        for (nth, promise) in self.promises.into_iter().enumerate() {
            promise.keep(Ok(Placed {
                partition: part.partition,
                offset: part.base_offset.map(|base| base + nth as i64),
                log_append_time_ms: part.log_append_time_ms,
            }));
        }
    }
}

/// `VecDeque::pop_front` under a condition.
pub(super) fn pop_if<T>(queue: &mut VecDeque<T>, condition: impl FnOnce(&T) -> bool) -> Option<T> {
    queue.front().is_some_and(condition).then(|| queue.pop_front()).flatten()
}
