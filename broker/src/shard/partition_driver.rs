//! Feeds one partition's state machine with what clients ask and what storage reports, and carries out its effects.
//!
//! Lives on the core that owns the partition. Batches enter in the order in which they arrive here: one that must wait
//! for disk space holds back those behind it.

use crate::config::topic::Behaviour;
use crate::shard::tickets::{ProduceTicket, WatchTicket};
use bytes::BytesMut;
use millrace_io::Io;
use millrace_logic::compaction::Compaction;
use millrace_logic::offset::{Durable, LogEnd, LogStart, Offset, Written};
use millrace_logic::partition::{
    Acks, BatchFacts, Bounds, Decision, Effect, EpochEnd, EpochEntry, Epochs, FetchError, Isolation,
    LeaderEpoch, ListError, LoggedBatch, Lookup, OffsetSpec, Opening, Partition, Produce, ProducerEntry,
    Producers, Stamp, Watching,
};
use millrace_logic::retention::Retention;
use millrace_proto::batch::{self, Checked, Header};
use millrace_storage::{
    CreateError, Extent, JournalEntry, Log, LogEvent, LogFailure, OpenError, PartitionOffsets, ReadError,
    Recovery, RecoveryPoint, ReserveError, TimestampedOffset,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

use super::producer_files;

pub(super) type Effects = Vec<Effect<ProduceTicket, WatchTicket>>;

/// What a driver tells its shard.
pub trait Owner: 'static {
    /// The partition's offsets moved: they are worth a checkpoint.
    fn offsets_moved(&self, partition: &PartitionId);
    /// A parked produce times out then.
    fn wake_at(&self, deadline: Duration, partition: &PartitionId);
    /// The log went offline.
    fn failed(&self, partition: &PartitionId, failure: &LogFailure);
    /// Something was appended.
    fn appended(&self, checked: &Checked);
}

/// A partition, by its topic's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic.
    pub topic: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// One partition on its core.
pub struct PartitionDriver<I: Io> {
    pub(super) id: PartitionId,
    topic: Arc<str>,
    pub(super) io: I,
    pub(super) log: Log<I>,
    pub(super) owner: Rc<dyn Owner>,
    pub(super) state: RefCell<Partition<ProduceTicket, WatchTicket>>,
    /// What it keeps.
    pub(super) retention: Cell<Retention>,
    /// How it is compacted.
    pub(super) compaction: Cell<Compaction>,
    /// Up to where it was.
    pub(super) cleaned: Cell<i64>,
    /// Damage was found that compaction must not hide.
    pub(super) uncleanable: Cell<bool>,
    /// Batches that wait for space, oldest first.
    waiting: RefCell<VecDeque<Incoming>>,
    /// Kept for its memory.
    pub(super) effects: Cell<Effects>,
}

/// A batch on its way in.
pub struct Incoming {
    /// Its bytes, owned alone: they are stamped in place.
    pub batch: BytesMut,
    /// What its check found.
    pub checked: Checked,
    /// When to answer.
    pub acks: Acks,
    /// Until when `acks=all` may wait.
    pub deadline: Duration,
    /// Whom to answer.
    pub ticket: ProduceTicket,
}

/// How a partition is made or found.
pub struct Place<'a> {
    /// Which.
    pub id: PartitionId,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// Its directory.
    pub dir: &'a Path,
    /// What the checkpoints say, if the directory was there at the start.
    pub recovery: Option<RecoveryPoint>,
    /// What journals hold of its log.
    pub journaled: &'a [JournalEntry],
    /// The broker's number.
    pub broker: i32,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// How it behaves.
    pub behaviour: Behaviour,
}

/// Why a partition cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log cannot be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Its log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log directory that it is in is not used.
    #[error(
        "its log directory (id {id}) is not among log.dirs, or is offline: {}",
        if reasons.is_empty() { "name it there" } else { reasons.as_str() }
    )]
    NoDirectory {
        /// `directory.id` in its `meta.properties`.
        id: String,
        /// Why directories are offline.
        reasons: String,
    },
    /// Another topic of the same name left it behind.
    #[error("the directory belongs to topic id {found}, not to {wanted}")]
    Foreign {
        /// The id in `partition.metadata`.
        found: Uuid,
        /// The topic's.
        wanted: Uuid,
    },
}

impl<I: Io> PartitionDriver<I> {
    /// Opens the partition's log and rebuilds its state, or creates it where there is none.
    pub async fn start(io: I, owner: Rc<dyn Owner>, place: Place<'_>) -> Result<Rc<Self>, PartitionError> {
        let slot: Rc<RefCell<Weak<Self>>> = Rc::new(RefCell::new(Weak::new()));
        let on_event: Rc<dyn Fn(LogEvent)> = Rc::new({
            let slot = slot.clone();
            move |event| {
                let driver = slot.borrow().upgrade();
                if let Some(driver) = driver {
                    driver.on_log_event(event);
                }
            }
        });
        let now = io.now();
        let Behaviour { log: log_config, settings, retention, compaction } = place.behaviour.clone();
        let mut producers = Producers::new(settings.max_producers);
        let opened = match place.recovery {
            Some(point) => {
                let (config, on_event) = (log_config.clone(), on_event.clone());
                Log::restore(io.clone(), place.dir, config, point, place.journaled, on_event).await
            }
            None => Err(OpenError::NotCreated(place.dir.to_owned())),
        };
        let (log, start, end, epochs) = match opened {
            Ok((log, recovery)) => {
                report(&place, &recovery);
                if recovery.topic_id != place.id.topic {
                    return Err(PartitionError::Foreign { found: recovery.topic_id, wanted: place.id.topic });
                }
                rebuild_producers(&log, &recovery, &mut producers, now).await?;
                (log, recovery.log_start, recovery.end, epochs_of(&recovery))
            }
            Err(OpenError::NotCreated(_)) => {
                let log = Log::create(io.clone(), place.dir, place.id.topic, log_config, on_event).await?;
                (log, 0, 0, Epochs::default())
            }
            Err(error) => return Err(error.into()),
        };
        log.begin_epoch(place.leader_epoch.get());
        let state = Partition::open(
            settings,
            Opening {
                broker: place.broker,
                leader_epoch: place.leader_epoch,
                log_start: LogStart::at(Offset::new(start)),
                end: LogEnd::at(Offset::new(end)),
                epochs,
                producers,
            },
        );
        let driver = Rc::new(Self {
            id: place.id,
            topic: place.topic,
            io,
            log,
            owner,
            state: RefCell::new(state),
            retention: Cell::new(retention),
            compaction: Cell::new(compaction),
            cleaned: Cell::new(place.recovery.map_or(0, |point| point.cleaned)),
            uncleanable: Cell::new(false),
            waiting: RefCell::default(),
            effects: Cell::default(),
        });
        *slot.borrow_mut() = Rc::downgrade(&driver);
        Ok(driver)
    }

    /// Which partition this is.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Its topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The epoch in which it is led.
    pub fn leader_epoch(&self) -> i32 {
        self.state.borrow().leader_epoch().get()
    }

    /// Takes a batch: it is appended behind everything that came before, or refused; its ticket is answered.
    pub fn produce(self: &Rc<Self>, incoming: Incoming) {
        let first = self.waiting.borrow().is_empty();
        if first && self.log.try_reserve(incoming.batch.len(), incoming.checked.max_timestamp) {
            return self.admit(incoming);
        }
        self.waiting.borrow_mut().push_back(incoming);
        if first {
            self.io.spawn(self.clone().admit_waiting());
        }
    }

    async fn admit_waiting(self: Rc<Self>) {
        // The one being reserved for stays at the front, so that whatever arrives meanwhile queues behind it.
        loop {
            let wanted = self.waiting.borrow().front().map(|i| (i.batch.len(), i.checked.max_timestamp));
            let Some((bytes, timestamp)) = wanted else { return };
            let reserved = self.log.reserve(bytes, timestamp).await;
            let incoming =
                self.waiting.borrow_mut().pop_front().expect("only this task takes from the front");
            match reserved {
                Ok(()) => self.admit(incoming),
                Err(error) => self.refuse(incoming, &error),
            }
        }
    }

    fn refuse(&self, incoming: Incoming, error: &ReserveError) {
        if let ReserveError::NoSpace(_) = error {
            tracing::warn!(topic = %self.topic, partition = self.id.partition, "produce refused: {error}");
        }
        let (_, produce) = self.describe(incoming);
        let mut effects = self.effects.take();
        self.state.borrow_mut().on_no_room(produce, &mut effects);
        self.answer(effects);
    }

    fn admit(&self, incoming: Incoming) {
        let (reserved, checked) = (incoming.batch.len(), incoming.checked);
        let (mut batch, produce) = self.describe(incoming);
        let mut effects = self.effects.take();
        let decision = self.state.borrow_mut().on_produce(produce, &mut effects);
        match decision {
            Decision::Append(stamp) => {
                let header = stamp_batch(&mut batch, &checked, stamp);
                self.owner.appended(&checked);
                self.log.append(batch, &header);
            }
            Decision::Duplicate | Decision::Refused => self.log.release(reserved),
        }
        self.answer(effects);
    }

    /// The batch, and what the state machine is to know of it.
    fn describe(&self, incoming: Incoming) -> (BytesMut, Produce<ProduceTicket>) {
        let Incoming { batch, checked, acks, deadline, ticket } = incoming;
        let (now, wall_ms) = (self.io.now(), self.io.wall_clock());
        (batch, Produce { now, wall_ms, batch: BatchFacts::from(&checked), acks, deadline, ticket })
    }

    /// Carries out what came of a produce, which may be parked now.
    fn answer(&self, effects: Effects) {
        self.carry_out(effects);
        if let Some(deadline) = self.state.borrow().next_deadline() {
            self.owner.wake_at(deadline, &self.id);
        }
    }

    /// Time passed: see [`Partition::on_tick`]. Says when the next deadline is.
    pub fn on_tick(&self, now: Duration) -> Option<Duration> {
        let mut effects = self.effects.take();
        let next = {
            let mut state = self.state.borrow_mut();
            state.on_tick(now, &mut effects);
            state.next_deadline()
        };
        self.carry_out(effects);
        next
    }

    fn on_log_event(self: &Rc<Self>, event: LogEvent) {
        let mut effects = self.effects.take();
        match event {
            LogEvent::Written { end } => {
                self.state.borrow_mut().on_written(Written::at(Offset::new(end)), &mut effects);
            }
            LogEvent::Durable { end } => {
                self.state.borrow_mut().on_durable(Durable::at(Offset::new(end)), &mut effects);
                self.owner.offsets_moved(&self.id);
            }
            LogEvent::Rolled { base } => {
                self.io.spawn(self.clone().save_producers(base));
                self.owner.offsets_moved(&self.id);
            }
            LogEvent::Failed(failure) => {
                self.state.borrow_mut().on_storage_failed(&mut effects);
                self.owner.failed(&self.id, &failure);
            }
        }
        self.carry_out(effects);
    }

    /// Writes the producers' state as of `base`, the end of the log at this moment.
    async fn save_producers(self: Rc<Self>, base: i64) {
        let (snapshot, companion) = producer_files::encode(self.state.borrow().producers().snapshot());
        if let Err(error) = self.log.write_producer_snapshot(base, snapshot, companion).await {
            tracing::warn!(topic = %self.topic, partition = self.id.partition, %error, "producer snapshot not written");
        }
    }

    pub(super) fn carry_out(&self, mut effects: Effects) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Reply { ticket, outcome } => ticket.answer(outcome),
                Effect::Available { watcher, bytes } => watcher.available(bytes),
                Effect::WatchFailed { watcher, .. } => watcher.fire(),
            }
        }
        self.effects.set(effects);
    }

    /// What a fetch from `offset` may read now.
    pub fn bounds(
        &self,
        offset: i64,
        epoch: Option<LeaderEpoch>,
        isolation: Isolation,
    ) -> Result<Bounds, FetchError> {
        self.state.borrow().fetch_bounds(Offset::new(offset), epoch, isolation)
    }

    /// Where a fetcher whose last record has this epoch left this log's history, if it did.
    pub fn diverging_epoch(
        &self,
        last_fetched: LeaderEpoch,
        offset: i64,
    ) -> Result<Option<EpochEnd>, FetchError> {
        self.state.borrow().diverging_epoch(last_fetched, Offset::new(offset))
    }

    /// Goes by other settings from now on.
    pub fn configure(&self, behaviour: Behaviour) {
        self.log.update_config(behaviour.log);
        self.retention.set(behaviour.retention);
        self.compaction.set(behaviour.compaction);
        let mut effects = self.effects.take();
        self.state.borrow_mut().configure(behaviour.settings, &mut effects);
        self.carry_out(effects);
    }

    /// Where a leader epoch ends in the log.
    pub fn epoch_end(
        &self,
        epoch: LeaderEpoch,
        client_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, FetchError> {
        self.state.borrow().end_offset_for_epoch(epoch, client_epoch)
    }

    /// The producers that are remembered.
    pub fn producers(&self) -> Vec<ProducerEntry> {
        self.state.borrow().producers().snapshot().collect()
    }

    /// Bytes of all segments.
    pub async fn size(&self) -> Result<u64, ReadError> {
        self.log.size().await
    }

    /// Whole batches from `offset` on, below `upto`.
    pub async fn read(
        &self,
        offset: i64,
        upto: Offset,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Result<Vec<Extent<I::File>>, ReadError> {
        self.log.read(offset, upto.get(), max_bytes, at_least_one).await
    }

    /// Waits behind `from`: see [`Partition::watch`].
    pub fn watch(&self, watcher: WatchTicket, from: i64, seen: &Bounds) -> Result<Watching, FetchError> {
        self.state.borrow_mut().watch(watcher, Offset::new(from), seen)
    }

    /// Waits no longer.
    pub fn unwatch(&self, watcher: &WatchTicket) {
        self.state.borrow_mut().unwatch(watcher);
    }

    /// The offset of a place in the log, with its timestamp and leader epoch; -1 where there is none.
    pub async fn list_offset(
        &self,
        spec: OffsetSpec,
        epoch: Option<LeaderEpoch>,
        isolation: Isolation,
    ) -> Result<ListedOffset, ListOffsetError> {
        let lookup = self.state.borrow().list_offset(spec, epoch, isolation)?;
        let found = match lookup {
            Lookup::Known(listed) => {
                return Ok(ListedOffset {
                    offset: listed.offset.map_or(-1, Offset::get),
                    timestamp: -1,
                    leader_epoch: listed.leader_epoch.map_or(-1, LeaderEpoch::get),
                });
            }
            Lookup::Timestamp { timestamp, upto } => {
                self.log.offset_for_timestamp(timestamp, upto.get()).await?
            }
            Lookup::MaxTimestamp { upto } => self.log.max_timestamp_offset(upto.get()).await?,
        };
        Ok(found.map_or(ListedOffset::NONE, |found| self.with_epoch(found)))
    }

    fn with_epoch(&self, found: TimestampedOffset) -> ListedOffset {
        let epoch = self.state.borrow().epoch_of(Offset::new(found.offset));
        ListedOffset {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch: epoch.map_or(-1, LeaderEpoch::get),
        }
    }

    /// What the checkpoints should say.
    pub fn offsets(&self) -> PartitionOffsets {
        PartitionOffsets {
            topic: self.topic.clone(),
            partition: self.id.partition,
            recovery_point: self.log.recovery_point(),
            high_watermark: self.state.borrow().high_watermark().get(),
            log_start: self.log.log_start(),
            cleaned: self.cleaned.get(),
        }
    }

    /// Makes everything durable, saves the producers and closes the log; whether all of that worked.
    pub async fn close(self: &Rc<Self>) -> bool {
        let end = self.log.end();
        self.clone().save_producers(end).await;
        match self.log.close().await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(topic = %self.topic, partition = self.id.partition, %error, "log not closed");
                false
            }
        }
    }

    /// Ends the partition: whoever waits is told, and its directory is renamed, to be removed soon.
    pub async fn delete(&self) {
        let mut effects = self.effects.take();
        self.state.borrow_mut().on_deleted(&mut effects);
        self.carry_out(effects);
        if let Err(error) = self.log.delete().await {
            tracing::error!(topic = %self.topic, partition = self.id.partition, %error, "log not deleted");
        }
    }
}

/// A place in a log; -1 says none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: i64,
    /// The timestamp of the record there, if it was looked for.
    pub timestamp: i64,
    /// The leader epoch of the record there.
    pub leader_epoch: i32,
}

impl ListedOffset {
    const NONE: Self = Self { offset: -1, timestamp: -1, leader_epoch: -1 };
}

/// Why a place cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum ListOffsetError {
    /// The partition refuses.
    #[error(transparent)]
    Refused(#[from] ListError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn stamp_batch(bytes: &mut BytesMut, checked: &Checked, stamp: Stamp) -> Header {
    batch::stamp(bytes, stamp.base_offset.get(), stamp.leader_epoch.get());
    if let Some(now) = stamp.log_append_time {
        batch::stamp_log_append_time(bytes, now);
    } else if checked.max_timestamp_differs {
        batch::stamp_max_timestamp(bytes, checked.max_timestamp);
    }
    Header::parse(bytes).expect("the batch was checked before")
}

fn epochs_of(recovery: &Recovery) -> Epochs {
    Epochs::restore(recovery.leader_epochs.iter().filter_map(|known| {
        let start = Offset::new(known.start_offset);
        LeaderEpoch::from_wire(known.epoch).map(|epoch| EpochEntry { epoch, start })
    }))
}

async fn rebuild_producers<I: Io>(
    log: &Log<I>,
    recovery: &Recovery,
    producers: &mut Producers,
    now: Duration,
) -> Result<(), ReadError> {
    let mut from = recovery.log_start;
    if let Some(snapshot) = &recovery.producer_snapshot {
        match producer_files::decode(&snapshot.bytes, snapshot.companion.as_deref()) {
            Ok(entries) => {
                producers.restore(entries, now);
                from = snapshot.offset;
            }
            Err(error) => {
                tracing::warn!(log = %log.dir().display(), %error, "producer snapshot ignored: reading the log instead");
            }
        }
    }
    if from < recovery.end {
        log.replay(from, &mut |header| producers.replay(&LoggedBatch::from(header), now)).await?;
    }
    Ok(())
}

fn report(place: &Place<'_>, recovery: &Recovery) {
    let (topic, partition) = (&*place.topic, place.id.partition);
    if let Some(cut) = &recovery.cut {
        tracing::warn!(
            topic, partition, offset = cut.offset, bytes = cut.bytes, kept = ?cut.kept,
            "the log's end did not check out and was cut: {}", cut.reason
        );
    }
    if recovery.restored > 0 {
        tracing::info!(
            topic,
            partition,
            offsets = recovery.restored,
            "the log's end came back from the journal"
        );
    }
    for range in &recovery.quarantined {
        tracing::error!(
            topic,
            partition,
            from = range.start,
            to = range.end,
            "these offsets were durable and are damaged: reads of them fail, what lies behind them is served"
        );
    }
    if let Some(point) = place.recovery.filter(|point| point.checkpoint > recovery.end) {
        tracing::error!(
            topic,
            partition,
            expected = point.checkpoint,
            end = recovery.end,
            "durable records are missing"
        );
    }
}
