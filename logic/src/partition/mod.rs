//! One partition as its leader sees it: events and time in, effects out.
//!
//! The driver feeds it produces, what storage reports, fetches that must wait, and ticks; it carries out what comes back. Split by role:
//! [`facts`] what a batch tells, [`produce`] appending and who is answered when, `parked` those not answered yet, [`producers`]
//! idempotence, [`watermark`] the ruler's movement, [`watch`] fetches that wait, [`bounds`] what may be read, [`epochs`] who led when.

pub mod bounds;
pub mod epochs;
pub mod facts;
mod parked;
pub mod produce;
pub mod producers;
pub mod watch;
pub mod watermark;

pub use bounds::{Bounds, EpochEnd, FetchError, Isolation, ListError, Listed, Lookup, OffsetSpec};
pub use epochs::{EpochEntry, Epochs, LeaderEpoch};
pub use facts::{BatchFacts, LoggedBatch, Sequenced};
pub use produce::{Acks, Appended, Decision, Produce, ProduceError, Stamp};
pub use producers::{ProducerEntry, Producers, RecentBatch, SequenceError};
pub use watch::{WatchError, Watching};

use std::collections::VecDeque;
use std::time::Duration;

use crate::offset::{HighWatermark, LogEnd, LogStart, Offset, Stable};
use parked::Parked;
use watch::{Unread, Watchers};
use watermark::Replicas;

/// What a partition wants done. `P` is the right to answer one produce, `W` names one waiting fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<P, W> {
    /// Answer a produce. With `acks=0` only errors are answered, and the connection is closed for them.
    Reply {
        /// Whom to answer.
        ticket: P,
        /// Where the batch is, or why it is not (or not known to be) there.
        outcome: Result<Appended, ProduceError>,
    },
    /// So many more bytes can be read behind the watcher's offset. The watcher stays until it is unwatched.
    Available {
        /// Who waits.
        watcher: W,
        /// Bytes of batches that became readable since the last report.
        bytes: u64,
    },
    /// The wait is over without data; the watcher is forgotten.
    WatchFailed {
        /// Who waited.
        watcher: W,
        /// Why.
        why: WatchError,
    },
}

/// How a partition behaves; may change while it runs ([`Partition::configure`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `write.caching`: the high watermark follows written offsets, not durable ones.
    pub write_caching: bool,
    /// `message.timestamp.type=LogAppendTime`: batches are stamped with the broker's wall clock.
    pub log_append_time: bool,
    /// `producer.id.expiration.ms`: a producer not heard of for so long is forgotten.
    pub producer_expiration: Duration,
    /// How many producers are remembered; past it the least recently heard of is forgotten. About 300 bytes each.
    pub max_producers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            write_caching: false,
            log_append_time: false,
            producer_expiration: Duration::from_secs(24 * 60 * 60),
            max_producers: 10_000,
        }
    }
}

/// What recovery found in the log, for [`Partition::open`].
#[derive(Debug)]
pub struct Opening {
    /// The broker this runs on.
    pub broker: i32,
    /// The epoch in which this broker leads.
    pub leader_epoch: LeaderEpoch,
    /// First offset in the log.
    pub log_start: LogStart,
    /// End of the log. Recovery synced what it scanned, so all of it is durable.
    pub end: LogEnd,
    /// The leader epochs found in checkpoint and log.
    pub epochs: Epochs,
    /// The producers found in snapshot and log.
    pub producers: Producers,
}

/// Whether the partition still takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Serving,
    /// A write or a sync failed: nothing is promised or served until the broker restarts.
    StorageFailed,
    Deleted,
}

/// One partition, on the core that owns it.
///
/// ```text
///  deleted │ committed, decided │ committed, open │ written or     │ written, not │ being     │ next
///          │                    │ transactions    │ durable here   │ yet synced   │ written   │
///  ────────┴────────────────────┴─────────────────┴────────────────┴──────────────┴───────────┴─────▶ offsets
///       log_start            stable         high_watermark      durable        written       end
///          └─ read_committed ───┘                 │                │              │
///          └─ read_uncommitted ───────────────────┘                │              │
///                 acks=all answered below ────────┘                │              │
///                 the watermark may reach ─────────────────────────┘ (write_caching: ┘)
///                 acks=1 answered below ──────────────────────────────────────────┘
/// ```
///
/// `log_start <= stable <= high_watermark <= durable <= written <= end`; with `write_caching` the watermark is only below `written`.
/// Between events `written` trails `end` by what storage has accepted and not finished.
#[derive(Debug)]
pub struct Partition<P, W> {
    settings: Settings,
    health: Health,
    leader_epoch: LeaderEpoch,
    /// Where this leader's epoch began: `latest` is not known before the watermark reaches it (KIP-207).
    epoch_start: Offset,
    log_start: LogStart,
    high_watermark: HighWatermark,
    end: LogEnd,
    replicas: Replicas,
    epochs: Epochs,
    producers: Producers,
    parked: Parked<P>,
    unread: Unread,
    watchers: Watchers<W>,
}

impl<P, W: Ord + Clone> Partition<P, W> {
    /// Starts leading with what recovery found. Everything recovered is durable and, with this broker as the only replica, committed.
    ///
    /// # Panics
    /// When the log starts after its end: storage never opens such a log.
    pub fn open(settings: Settings, opening: Opening) -> Self {
        let Opening { broker, leader_epoch, log_start, end, mut epochs, mut producers } = opening;
        epochs.truncate_end(end);
        epochs.assign(leader_epoch, end.offset());
        epochs.truncate_start(log_start);
        producers.truncate(end);
        producers.limit(settings.max_producers);
        let partition = Self {
            settings,
            health: Health::Serving,
            leader_epoch,
            epoch_start: end.offset(),
            log_start,
            high_watermark: HighWatermark::at(end.offset()),
            end,
            replicas: Replicas::alone(broker, end.offset()),
            epochs,
            producers,
            parked: Parked::default(),
            unread: Unread::default(),
            watchers: Watchers::default(),
        };
        partition.check();
        partition
    }

    /// Takes new settings. Turning `write_caching` on lets the watermark move at once; turning it off never moves it back.
    pub fn configure(&mut self, settings: Settings, out: &mut Vec<Effect<P, W>>) {
        self.settings = settings;
        self.producers.limit(settings.max_producers);
        self.advance(out);
    }

    /// Time passed: produces past their deadline are answered, producers not heard of are forgotten.
    ///
    /// Call it at [`Partition::next_deadline`], and every few minutes besides for the producers.
    pub fn on_tick(&mut self, now: Duration, out: &mut Vec<Effect<P, W>>) {
        self.expire_produces(now, out);
        self.producers.expire(now, self.settings.producer_expiration);
    }

    /// When the next parked produce times out.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.parked.next_deadline()
    }

    /// A write or a sync failed. Whoever was waiting is told, and every later call is refused until the broker restarts.
    ///
    /// Produces whose append has begun may yet be found in the log, so they are told that their outcome is unknown, nothing more.
    pub fn on_storage_failed(&mut self, out: &mut Vec<Effect<P, W>>) {
        self.close(Health::StorageFailed, ProduceError::Interrupted, WatchError::StorageFailed, out);
    }

    /// The topic was deleted. Whoever was waiting is told so.
    pub fn on_deleted(&mut self, out: &mut Vec<Effect<P, W>>) {
        self.close(Health::Deleted, ProduceError::Deleted, WatchError::Deleted, out);
    }

    /// Stops taking part and answers everybody who waits.
    fn close(
        &mut self,
        health: Health,
        produce: ProduceError,
        watch: WatchError,
        out: &mut Vec<Effect<P, W>>,
    ) {
        self.health = health;
        self.parked.fail_all(produce, out);
        self.watchers.fail_all(watch, out);
        self.unread = Unread::default();
    }

    /// The epoch in which this broker leads.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// First offset in the log.
    pub fn log_start(&self) -> LogStart {
        self.log_start
    }

    /// Where `read_committed` ends. Without transactions nothing is undecided, so it is the high watermark.
    pub fn stable(&self) -> Stable {
        Stable::at(self.high_watermark.offset())
    }

    /// Where `read_uncommitted` ends.
    pub fn high_watermark(&self) -> HighWatermark {
        self.high_watermark
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// The leader epochs, for the checkpoint file.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The producers, for snapshots.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// How many produces wait for an answer.
    pub fn parked_produces(&self) -> usize {
        self.parked.len()
    }

    /// How many fetches wait here.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Asserts the order of the ruler. Clients cannot break it; a bug here or in storage could, and must not go on quietly.
    fn check(&self) {
        let (durable, written) = (self.replicas.durable(), self.replicas.written());
        assert!(
            self.log_start.offset() <= self.stable().offset(),
            "log start passed the stable offset: {}",
            self.ruler()
        );
        assert!(
            self.stable().offset() <= self.high_watermark.offset(),
            "stable offset passed the watermark: {}",
            self.ruler()
        );
        assert!(
            self.high_watermark.offset() <= written.offset(),
            "watermark passed the written offset: {}",
            self.ruler()
        );
        assert!(
            durable.offset() <= written.offset(),
            "durable offset passed the written one: {}",
            self.ruler()
        );
        assert!(written.offset() <= self.end.offset(), "written offset passed the end: {}", self.ruler());
    }

    /// The ruler in one line, for assertions and traces.
    fn ruler(&self) -> String {
        format!(
            "log_start={} stable={} high_watermark={} durable={} written={} end={}",
            self.log_start,
            self.stable(),
            self.high_watermark,
            self.replicas.durable(),
            self.replicas.written(),
            self.end
        )
    }
}

/// Takes the first of a queue if it is wanted.
fn pop_front_if<T>(queue: &mut VecDeque<T>, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
    match queue.front().is_some_and(wanted) {
        true => queue.pop_front(),
        false => None,
    }
}
