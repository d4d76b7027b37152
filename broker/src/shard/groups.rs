//! The coordinators of groups on this shard: one beside each partition of `__consumer_offsets` that it owns, fed with requests, time and
//! what became of its records.
//!
//! Records of all requests that come while a write is under way go into the next batch, so that many commits share a sync. An answer that
//! tells of records waits until they are durable. When a batch cannot be appended, the coordinator is made anew from the log.

use crate::metrics::Metrics;
use crate::shard::calls::ProduceFailure;
use crate::shard::partition_driver::{Incoming, PartitionDriver};
use crate::shard::tickets::ProduceGather;
use crate::shard::timers::Timers;
use futures_channel::oneshot;
use millrace_io::Io;
use millrace_logic::group::survey::Survey;
use millrace_logic::group::{
    Coordinator, Effect, GroupRecord, Now, ReplayError, Request, Response, Settings, When,
};
use millrace_logic::meta::Image;
use millrace_logic::offset::Offset;
use millrace_logic::partition::Acks;
use millrace_proto::batch::{self, BatchError, BuildError, Builder, Header, Limits};
use millrace_proto::kafka::error::ErrorCode;
use millrace_storage::{MaintainError, ReadError};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The right to answer a request.
pub type GroupTicket = oneshot::Sender<Result<Response, ErrorCode>>;

/// Bytes of records in one batch, about: many commits share it, and it is written in one go.
const BATCH_BYTES: usize = 512 << 10;

/// How much of the log is read at once when a coordinator is loaded.
const LOAD_BYTES: u64 = 1 << 20;

/// How long to wait before a coordinator is loaded again whose record could not be appended, or whose log could not be read.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// A batch of the coordinator waits for its sync as long as it takes: clients give up by themselves.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The coordinators of one shard.
pub(super) struct GroupHost<I: Io> {
    io: I,
    settings: Settings,
    metrics: Rc<Metrics>,
    /// The metadata now.
    image: RefCell<Arc<Image>>,
    /// By partition of `__consumer_offsets`.
    drivers: RefCell<BTreeMap<i32, Rc<GroupDriver<I>>>>,
    timers: Timers<i32>,
}

/// One coordinator, and the partition that keeps what it decides.
pub(super) struct GroupDriver<I: Io> {
    partition: Rc<PartitionDriver<I>>,
    metrics: Rc<Metrics>,
    phase: RefCell<Phase>,
    queue: RefCell<Queue>,
}

enum Phase {
    /// Its log is being read.
    Loading,
    Serving(Box<Coordinator<GroupTicket>>),
    /// The broker stops, or the topic was deleted.
    Stopped,
}

/// Records on their way to the log, and answers that wait for them.
#[derive(Default)]
struct Queue {
    records: VecDeque<GroupRecord>,
    /// How many records there were so far, and how many of them are durable.
    appended: u64,
    durable: u64,
    /// In the order of the records that they wait for.
    waiting: VecDeque<Waiting>,
    flushing: bool,
}

/// An answer that waits.
struct Waiting {
    /// For so many records to be durable.
    needs: u64,
    since: Duration,
    ticket: GroupTicket,
    response: Response,
}

impl Queue {
    fn release(&mut self, now: Duration, metrics: &Metrics) {
        while let Some(first) = self.waiting.front()
            && first.needs <= self.durable
        {
            let Some(Waiting { since, ticket, response, .. }) = self.waiting.pop_front() else { return };
            if matches!(response, Response::Commit(_)) {
                metrics.committed(now.saturating_sub(since));
            }
            // Nobody listens when the connection is gone.
            let _ = ticket.send(Ok(response));
        }
    }
}

/// Why a coordinator cannot go on.
#[derive(Debug, thiserror::Error)]
enum GroupFailure {
    #[error("its records cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("its records cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("its records are damaged: {0}")]
    Batch(#[from] BatchError),
    #[error("record {offset}: {source}")]
    Record { offset: i64, source: ReplayError },
    #[error("its log cannot be synced: {0}")]
    Sync(#[from] MaintainError),
    #[error("its records make no batch: {0}")]
    Build(#[from] BuildError),
    #[error("its records were not appended: {0}")]
    Append(ProduceFailure),
}

impl<I: Io> GroupHost<I> {
    pub(super) fn new(io: I, settings: Settings, metrics: Rc<Metrics>, image: Arc<Image>) -> Rc<Self> {
        let (image, drivers, timers) = (RefCell::new(image), RefCell::default(), Timers::default());
        Rc::new(Self { io, settings, metrics, image, drivers, timers })
    }

    /// A partition of `__consumer_offsets` is here: its coordinator begins.
    pub(super) fn adopt(self: &Rc<Self>, partition: Rc<PartitionDriver<I>>) {
        let number = partition.id().partition;
        let phase = RefCell::new(Phase::Loading);
        let (metrics, queue) = (self.metrics.clone(), RefCell::default());
        let driver = Rc::new(GroupDriver { partition, metrics, phase, queue });
        self.drivers.borrow_mut().insert(number, driver.clone());
        self.io.spawn(self.clone().load(driver));
    }

    /// The partition is gone, and its coordinator with it.
    pub(super) fn abandon(&self, partition: i32) {
        let gone = self.drivers.borrow_mut().remove(&partition);
        gone.into_iter().for_each(|driver| driver.stop());
    }

    /// The broker stops: whoever waits for a rebalance is told.
    pub(super) fn stop(&self) {
        self.drivers.borrow().values().for_each(|driver| driver.stop());
    }

    /// Hands a request to the coordinator that keeps its group.
    pub(super) fn handle(self: &Rc<Self>, partition: i32, request: Request, ticket: GroupTicket) {
        let refuse = |ticket: GroupTicket, code| {
            // Nobody listens when the connection is gone.
            let _ = ticket.send(Err(code));
        };
        let Some(driver) = self.driver(partition) else { return refuse(ticket, ErrorCode::NotCoordinator) };
        let refused = match &*driver.phase.borrow() {
            Phase::Serving(_) => None,
            Phase::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Stopped => Some(ErrorCode::NotCoordinator),
        };
        match refused {
            Some(code) => refuse(ticket, code),
            None => self.step(&driver, |now, state, out| state.handle(now, request, ticket, out)),
        }
    }

    /// Hands a request to every coordinator here; each answers for itself.
    pub(super) fn handle_all(
        self: &Rc<Self>,
        request: &Request,
    ) -> Vec<oneshot::Receiver<Result<Response, ErrorCode>>> {
        let partitions: Vec<i32> = self.drivers.borrow().keys().copied().collect();
        let ask = |partition| {
            let (ticket, answer) = oneshot::channel();
            self.handle(partition, request.clone(), ticket);
            answer
        };
        partitions.into_iter().map(ask).collect()
    }

    /// This is the metadata now; what was committed of topics that were deleted goes.
    pub(super) fn follow(self: &Rc<Self>, image: &Arc<Image>, some_deleted: bool) {
        *self.image.borrow_mut() = image.clone();
        let drivers: Vec<_> = self.drivers.borrow().values().cloned().collect();
        for driver in &drivers {
            if let Phase::Serving(state) = &mut *driver.phase.borrow_mut() {
                state.follow(image);
            }
            if some_deleted {
                self.step(driver, |_, state, out| {
                    state.forget_topics(|name, id| is_there(image, name, id), out)
                });
            }
        }
    }

    /// How far groups have come, as far as there is room for them: those with members first, over all coordinators here.
    pub(super) fn survey(&self, room: usize) -> Survey {
        let mut survey = Survey::new(room);
        for with_members in [true, false] {
            for driver in self.drivers.borrow().values() {
                if let Phase::Serving(state) = &*driver.phase.borrow() {
                    state.survey(with_members, &mut survey);
                }
            }
        }
        survey
    }

    /// How many groups and members there are here.
    pub(super) fn counts(&self) -> (usize, usize) {
        let count = |driver: &Rc<GroupDriver<I>>| match &*driver.phase.borrow() {
            Phase::Serving(state) => state.counts(),
            Phase::Loading | Phase::Stopped => (0, 0),
        };
        let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
        self.drivers.borrow().values().map(count).fold((0, 0), add)
    }

    /// Does what comes due, for as long as the process lives.
    pub(super) async fn keep_time(self: Rc<Self>) {
        loop {
            for partition in self.timers.due(&self.io).await {
                if let Some(driver) = self.driver(partition) {
                    self.step(&driver, |now, state, out| state.tick(now, out));
                }
            }
        }
    }

    fn driver(&self, partition: i32) -> Option<Rc<GroupDriver<I>>> {
        self.drivers.borrow().get(&partition).cloned()
    }

    /// Lets a coordinator that serves do something, and carries out what comes of it.
    fn step(
        self: &Rc<Self>,
        driver: &Rc<GroupDriver<I>>,
        act: impl FnOnce(Now, &mut Coordinator<GroupTicket>, &mut Vec<Effect<GroupTicket>>),
    ) {
        let now = Now { mono: self.io.now(), wall_ms: self.io.wall_clock() };
        let mut effects = Vec::new();
        if let Phase::Serving(state) = &mut *driver.phase.borrow_mut() {
            act(now, state, &mut effects);
            self.timers.add(state.next_deadline(), driver.partition.id().partition);
        }
        let flush = driver.carry_out(now.mono, effects);
        if flush {
            self.io.spawn(self.clone().flush(driver.clone()));
        }
    }

    /// Appends what waits, batch after batch, until nothing does.
    async fn flush(self: Rc<Self>, driver: Rc<GroupDriver<I>>) {
        while let Some(records) = driver.next_batch() {
            let count = records.len() as u64;
            match driver.append(&self.io, records).await {
                Ok(()) => {
                    let mut queue = driver.queue.borrow_mut();
                    queue.durable += count;
                    queue.release(self.io.now(), &self.metrics);
                }
                Err(failure) => return self.start_anew(&driver, &failure),
            }
        }
    }

    /// What was decided and is not durable did not happen: the coordinator is made anew from the log.
    fn start_anew(self: &Rc<Self>, driver: &Rc<GroupDriver<I>>, failure: &GroupFailure) {
        let partition = driver.partition.id().partition;
        tracing::warn!(partition, "the coordinator of groups starts anew: {failure}");
        if driver.give_up() {
            let (host, driver) = (self.clone(), driver.clone());
            self.io.spawn(async move {
                host.io.sleep(RELOAD_AFTER).await;
                host.load(driver).await;
            });
        }
    }

    /// Reads the log, however often that takes, and serves.
    async fn load(self: Rc<Self>, driver: Rc<GroupDriver<I>>) {
        let partition = driver.partition.id().partition;
        loop {
            match driver.replay(&self.io, self.settings).await {
                _ if matches!(*driver.phase.borrow(), Phase::Stopped) => return,
                Ok(mut state) => {
                    state.follow(&self.image.borrow());
                    state.loaded(Now { mono: self.io.now(), wall_ms: self.io.wall_clock() });
                    *driver.phase.borrow_mut() = Phase::Serving(Box::new(state));
                    break;
                }
                Err(failure) => {
                    tracing::error!(partition, "the coordinator of groups cannot be loaded: {failure}");
                    self.io.sleep(RELOAD_AFTER).await;
                }
            }
        }
        // Topics may have been deleted while the broker was down, or in its last moments.
        let image = self.image.borrow().clone();
        self.step(&driver, |_, state, out| state.forget_topics(|name, id| is_there(&image, name, id), out));
    }
}

impl<I: Io> GroupDriver<I> {
    /// Sends what may be sent, and queues the rest. Whether a task must be started that appends.
    fn carry_out(&self, now: Duration, effects: Vec<Effect<GroupTicket>>) -> bool {
        let mut queue = self.queue.borrow_mut();
        for effect in effects {
            match effect {
                Effect::Append(record) => {
                    queue.records.push_back(record);
                    queue.appended += 1;
                }
                Effect::Reply { ticket, response, when } => match when {
                    When::Durable if queue.durable < queue.appended => {
                        let needs = queue.appended;
                        queue.waiting.push_back(Waiting { needs, since: now, ticket, response });
                    }
                    // Nobody listens when the connection is gone.
                    When::Durable | When::Now => drop(ticket.send(Ok(response))),
                },
                Effect::Rebalance => self.metrics.rebalances.add(1),
            }
        }
        !queue.records.is_empty() && !std::mem::replace(&mut queue.flushing, true)
    }

    /// Records for one batch; `None` ends the task that appends.
    fn next_batch(&self) -> Option<Vec<GroupRecord>> {
        let mut queue = self.queue.borrow_mut();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some(record) = queue.records.pop_front()
        {
            bytes += record.key.len() + record.value.as_ref().map_or(0, Vec::len);
            batch.push(record);
        }
        queue.flushing = !batch.is_empty();
        queue.flushing.then_some(batch)
    }

    /// Appends one batch and waits until it is durable.
    async fn append(&self, io: &I, records: Vec<GroupRecord>) -> Result<(), GroupFailure> {
        let now_ms = io.wall_clock();
        let mut builder = Builder::new();
        for record in &records {
            builder.push(now_ms, Some(&record.key), record.value.as_deref(), &[])?;
        }
        let batch = builder.finish(&batch::Options::default())?;
        let limits = Limits { max_batch_bytes: usize::MAX, ..Limits::default() };
        let checked = batch::validate(&batch, &limits)?;
        let (reply, outcome) = oneshot::channel();
        let ticket = ProduceGather::new(1, reply).ticket(0);
        let deadline = io.now() + PATIENCE;
        self.partition.produce(Incoming { batch, checked, acks: Acks::All, deadline, ticket });
        let outcome = outcome.await.ok().and_then(|mut outcomes| outcomes.pop());
        outcome.unwrap_or(Err(ProduceFailure::Stopping)).map(drop).map_err(GroupFailure::Append)
    }

    /// The coordinator that the log tells of.
    async fn replay(&self, io: &I, settings: Settings) -> Result<Coordinator<GroupTicket>, GroupFailure> {
        let mut state = Coordinator::new(settings);
        let log = &self.partition.log;
        // What is not durable may still be lost, and nobody may hear of it.
        log.flush().await?;
        let (end, mut next) = (log.durable(), log.log_start());
        while next < end {
            for extent in self.partition.read(next, Offset::new(end), LOAD_BYTES, true).await? {
                let bytes = io.read_at(&extent.file, extent.position, extent.len as usize).await?;
                replay_batches(&bytes, &mut state)?;
                next = extent.end_offset;
            }
        }
        Ok(state)
    }

    /// Nothing that is not durable will be: whoever waits for it is told. Whether it is to be loaded again.
    fn give_up(&self) -> bool {
        let queue = self.queue.take();
        let served = !matches!(*self.phase.borrow(), Phase::Stopped);
        self.stop();
        if served {
            *self.phase.borrow_mut() = Phase::Loading;
        }
        for waiting in queue.waiting {
            // Nobody listens when the connection is gone.
            let _ = waiting.ticket.send(Err(ErrorCode::CoordinatorNotAvailable));
        }
        served
    }

    /// Serves no more. What was decided is still appended and answered.
    fn stop(&self) {
        let mut effects = Vec::new();
        if let Phase::Serving(state) = self.phase.replace(Phase::Stopped) {
            state.stop(ErrorCode::NotCoordinator, &mut effects);
        }
        // What is told now waits for nothing, so that when it was asked does not matter.
        self.carry_out(Duration::ZERO, effects);
    }
}

fn replay_batches(mut bytes: &[u8], state: &mut Coordinator<GroupTicket>) -> Result<(), GroupFailure> {
    let mut scratch = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes)?;
        let (one, rest) = bytes.split_at(header.size().min(bytes.len()));
        bytes = rest;
        if header.is_control() {
            continue;
        }
        for record in batch::records(one, &mut scratch, &Default::default())? {
            let record = record?;
            let offset = record.offset;
            let key = record.key.unwrap_or_default();
            state.replay(key, record.value).map_err(|source| GroupFailure::Record { offset, source })?;
        }
    }
    Ok(())
}

fn is_there(image: &Image, name: &str, id: Uuid) -> bool {
    image.topic(name).is_some_and(|topic| id.is_nil() || topic.id == id)
}
