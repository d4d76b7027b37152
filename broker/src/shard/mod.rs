//! One core and everything it owns: its partitions, its connections, its view of the metadata.
//!
//! Nothing here is shared with another core but the mailboxes. [`calls`] is the whole list of what one core may ask of
//! another; [`router`] asks; this file takes the calls, and `answers` answers those about partitions.

mod answers;
pub mod calls;
mod compaction;
pub mod fetch;
pub mod groups;
pub mod metadata;
mod metadata_follow;
mod metadata_image;
mod metadata_log;
mod metadata_start;
mod offsets_topic;
mod partition_compaction;
pub mod partition_driver;
mod partition_retention;
mod producer_files;
mod retention;
pub mod router;
pub mod tickets;
mod timers;
pub mod wishes;

pub use calls::{Entrance, GroupCall, ShardCall};

use crate::config::Config;
use crate::config::topic::Rules;
use crate::grpc;
use crate::http;
use crate::limits::SESSION_PARTITIONS;
use crate::metrics::{Holdings, Metrics, Port, Snapshot};
use crate::moment::Moment;
use crate::net::admission::Permit;
use crate::net::budget::SizedBudget;
use crate::net::connection;
use crate::net::pulse::Pulses;
use bytes::Bytes;
use futures_util::lock::Mutex;
use groups::GroupHost;
use metadata::{Directories, MetadataDriver, Published};
use metadata_follow::Unopened;
use millrace_io::Io;
use millrace_io::mailbox::{Receiver, Sender};
use millrace_logic::fetch_sessions::Sessions;
use millrace_logic::group::request::Listing;
use millrace_logic::group::{Request, Response};
use millrace_logic::meta::{Image, Topic};
use millrace_proto::batch::Checked;
use millrace_proto::kafka::error::ErrorCode;
use millrace_storage::{Extent, Journal, Journaled, LogFailure, PartitionOffsets};
use partition_driver::{Owner, PartitionDriver, PartitionId};
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tickets::{Watch, WatchTicket};
use timers::Timers;
use uuid::Uuid;

/// How many messages a shard's mailbox holds. Each is a whole request's share; senders wait when it is full.
pub const MAILBOX: usize = 1024;

/// How often connections are looked at for being late, and offsets are sent to the checkpoints.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often producers that have been silent for too long are forgotten.
const PRODUCER_EXPIRY: Duration = Duration::from_secs(600);

/// One core and what it owns. A clone is another handle.
pub struct Shard<I: Io>(Rc<State<I>>);

impl<I: Io> Clone for Shard<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A hash map without random state: what iterates over it does so in the same order in every run of a simulated world.
/// Its keys hold ids that the broker made up, so that nobody can choose them to collide.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

struct State<I: Io> {
    io: I,
    index: usize,
    config: Arc<Config>,
    peers: Vec<Sender<ShardCall<I>>>,
    image: RefCell<Arc<Image>>,
    /// What batches are checked against, by topic; made when first needed, dropped when the metadata changes.
    rules: RefCell<Map<Uuid, Rules>>,
    /// What clients fetch, remembered.
    fetch_sessions: RefCell<Sessions>,
    /// Clients find the broker under this id.
    cluster_id: Arc<str>,
    /// Where logs are.
    directories: Arc<Directories>,
    /// This shard's journal in each directory that is in use.
    journals: Vec<Journal<I>>,
    /// What earlier journals hold of logs that were not opened yet.
    journaled: Arc<Journaled>,
    partitions: RefCell<Map<PartitionId, Rc<PartitionDriver<I>>>>,
    /// Partitions that should be here and could not be opened.
    failed: RefCell<BTreeMap<PartitionId, Unopened>>,
    /// The coordinators of groups.
    groups: Rc<GroupHost<I>>,
    /// Held by whoever opens logs or goes by new metadata.
    opening: Mutex<()>,
    house: Rc<House>,
    watches: RefCell<BTreeMap<u64, Rc<Watch>>>,
    next_watch: Cell<u64>,
    budget: SizedBudget,
    pulses: Pulses,
    metrics: Rc<Metrics>,
    producer_ids: RefCell<millrace_logic::meta::ProducerIds>,
    metadata: OnceCell<Rc<MetadataDriver<I>>>,
    /// Made for the first connection. It holds this shard in turn, until the logs are closed.
    grpc: RefCell<Option<grpc::Server<Shard<I>>>>,
    stop: Moment,
}

/// What partitions report to, without knowing the shard.
struct House {
    moved: RefCell<BTreeSet<PartitionId>>,
    timers: Timers<PartitionId>,
    failures: RefCell<BTreeMap<PartitionId, String>>,
    metrics: Rc<Metrics>,
}

impl Owner for House {
    fn offsets_moved(&self, partition: &PartitionId) {
        self.moved.borrow_mut().insert(*partition);
    }

    fn wake_at(&self, deadline: Duration, partition: &PartitionId) {
        self.timers.add(deadline, *partition);
    }

    fn failed(&self, partition: &PartitionId, failure: &LogFailure) {
        tracing::error!("{failure}");
        self.failures.borrow_mut().insert(*partition, failure.to_string());
    }

    fn appended(&self, checked: &Checked) {
        self.metrics.appended_batches.add(1);
        self.metrics.appended_bytes.add(checked.size as u64);
        self.metrics.appended_records.add(checked.record_count as u64);
    }
}

impl<I: Io> Shard<I> {
    /// A shard that owns nothing yet.
    pub fn new(
        io: I,
        index: usize,
        config: Arc<Config>,
        peers: Vec<Sender<ShardCall<I>>>,
        published: &Published,
    ) -> Self {
        let metrics = Rc::new(Metrics::default());
        let house = Rc::new(House {
            moved: RefCell::default(),
            timers: Timers::default(),
            failures: RefCell::default(),
            metrics: metrics.clone(),
        });
        let in_use = published.directories.in_use.iter();
        let journals = in_use
            .map(|known| Journal::new(io.clone(), &known.path, (known.journal, index), config.journal_bytes));
        Self(Rc::new(State {
            journals: journals.collect(),
            journaled: published.journaled.clone(),
            budget: SizedBudget::new(config.limits.shard_bytes),
            image: RefCell::new(published.image.clone()),
            rules: RefCell::default(),
            fetch_sessions: RefCell::new(Sessions::new(
                config.limits.fetch_sessions.div_ceil(peers.len().max(1)),
                SESSION_PARTITIONS,
            )),
            cluster_id: published.cluster_id.clone(),
            directories: published.directories.clone(),
            groups: GroupHost::new(
                io.clone(),
                config.groups.settings,
                metrics.clone(),
                published.image.clone(),
            ),
            io,
            index,
            config,
            peers,
            partitions: RefCell::default(),
            failed: RefCell::default(),
            opening: Mutex::default(),
            house,
            watches: RefCell::default(),
            next_watch: Cell::new(0),
            pulses: Pulses::default(),
            metrics,
            producer_ids: RefCell::default(),
            metadata: OnceCell::new(),
            grpc: RefCell::default(),
            stop: Moment::default(),
        }))
    }

    /// The machine.
    pub fn io(&self) -> &I {
        &self.0.io
    }

    /// Which shard this is.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.peers.len()
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.0.config
    }

    /// The metadata now.
    pub fn image(&self) -> Arc<Image> {
        self.0.image.borrow().clone()
    }

    /// What batches for this topic are checked against.
    pub fn rules(&self, topic: &Topic) -> Rules {
        *self
            .0
            .rules
            .borrow_mut()
            .entry(topic.id)
            .or_insert_with(|| self.0.config.effective(&self.0.image.borrow(), &topic.name).rules())
    }

    /// The fetch sessions that were opened on this core.
    pub fn fetch_sessions(&self) -> RefMut<'_, Sessions> {
        self.0.fetch_sessions.borrow_mut()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &Arc<str> {
        &self.0.cluster_id
    }

    /// The log directories.
    pub fn directories(&self) -> &Directories {
        &self.0.directories
    }

    /// Bytes of requests in flight.
    pub fn budget(&self) -> &SizedBudget {
        &self.0.budget
    }

    /// The connections' deadlines.
    pub fn pulses(&self) -> &Pulses {
        &self.0.pulses
    }

    /// What this shard counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What a port of this shard counts.
    pub fn port(&self, entrance: Entrance) -> &Port {
        match entrance {
            Entrance::Kafka => &self.0.metrics.kafka,
            Entrance::Grpc => &self.0.metrics.grpc,
            Entrance::Http => &self.0.metrics.http,
        }
    }

    /// Whether the broker is going down.
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_reached()
    }

    /// Makes this the shard that decides on metadata.
    pub(crate) fn decide_metadata(&self, driver: MetadataDriver<I>) {
        let first = self.0.metadata.set(Rc::new(driver)).is_ok();
        assert!(first, "one shard decides, once");
    }

    pub(crate) fn metadata_driver(&self) -> Option<Rc<MetadataDriver<I>>> {
        self.0.metadata.get().cloned()
    }

    /// Lets what comes due in groups happen, for as long as the process lives.
    pub(crate) async fn keep_groups(self) {
        self.0.groups.clone().keep_time().await;
    }

    /// The groups that are kept here.
    async fn list_groups_here(&self) -> Result<Vec<Listing>, ErrorCode> {
        let mut all = Vec::new();
        for answer in self.0.groups.handle_all(&Request::List) {
            if let Response::List(groups) = answer.await.unwrap_or(Err(ErrorCode::NotCoordinator))? {
                all.extend(groups);
            }
        }
        Ok(all)
    }

    /// Answers what other cores ask, until all of them are gone.
    pub(crate) async fn answer_calls(self, mut mailbox: Receiver<ShardCall<I>>) {
        while let Some(call) = mailbox.recv().await {
            self.0.metrics.hops.add(1);
            self.take(call);
        }
    }

    /// Does what is asked, or starts it. Produces are decided here and now, so that they keep their order.
    pub(crate) fn take(&self, call: ShardCall<I>) {
        let (shard, io) = (self.clone(), &self.0.io);
        match call {
            ShardCall::Adopt { socket, peer, entrance, permit } => {
                io.spawn(shard.serve(socket, peer, entrance, permit));
            }
            ShardCall::Produce(call) => self.produce_here(call),
            ShardCall::Fetch(call) => io.spawn(async move { shard.fetch_here(call).await }),
            ShardCall::Watch(call) => io.spawn(async move { shard.watch_here(call).await }),
            ShardCall::ListOffsets(call) => io.spawn(async move { shard.list_offsets_here(call).await }),
            ShardCall::EpochEnds(call) => self.epoch_ends_here(call),
            ShardCall::Producers(call) => self.producers_here(call),
            ShardCall::DeleteRecords(call) => io.spawn(async move { shard.delete_records_here(call).await }),
            ShardCall::Group(call) => {
                let GroupCall { partition, request, reply } = *call;
                self.0.groups.handle(partition, request, reply);
            }
            ShardCall::ListGroups(reply) => io.spawn(async move {
                let _ = reply.send(shard.list_groups_here().await);
            }),
            ShardCall::SurveyGroups { room, reply } => {
                let _ = reply.send(self.0.groups.survey(room));
            }
            ShardCall::Sizes(call) => io.spawn(async move { shard.sizes_here(call).await }),
            ShardCall::Metadata(call) => io.spawn(async move {
                let driver = shard.metadata_driver().expect("only shard 0 is asked");
                driver.take(&shard, call).await;
            }),
            ShardCall::Prepare(published, done) => io.spawn(async move {
                shard.prepare(&published).await;
                let _ = done.send(());
            }),
            ShardCall::Publish(published, done) => io.spawn(async move {
                shard.publish(&published).await;
                let _ = done.send(());
            }),
            ShardCall::Checkpoint(offsets, done) => io.spawn(async move {
                let driver = shard.metadata_driver().expect("only shard 0 is asked");
                let durable = driver.checkpoint(offsets).await;
                if let Some(done) = done {
                    let _ = done.send(durable);
                }
            }),
            ShardCall::Metrics(reply) => {
                let _ = reply.send(self.snapshot());
            }
        }
    }

    async fn serve(self, socket: I::Socket, peer: SocketAddr, entrance: Entrance, permit: Permit) {
        let port = self.port(entrance);
        port.accepted.add(1);
        let open = port.connections.enter();
        match entrance {
            Entrance::Kafka => connection::serve(self.clone(), socket, peer, (permit, open)).await,
            Entrance::Grpc => {
                self.serve_grpc(socket, peer).await;
                drop((permit, open));
            }
            Entrance::Http => {
                http::serve(self.clone(), socket).await;
                drop((permit, open));
            }
        }
    }

    async fn serve_grpc(&self, socket: I::Socket, peer: SocketAddr) {
        let (reader, writer) = match self.0.io.adopt(socket) {
            Ok(halves) => halves,
            Err(error) => return tracing::debug!(%peer, %error, "connection lost before it began"),
        };
        let server = self.grpc_server();
        if let Err(error) = server.serve(&self.0.io, reader, writer, peer, self.0.stop.reached()).await {
            tracing::debug!(%peer, %error, "gRPC connection lost");
        }
    }

    fn grpc_server(&self) -> grpc::Server<Self> {
        let mut server = self.0.grpc.borrow_mut();
        let new = || grpc::Server::new(self.clone(), grpc::Limits::default(), self.0.budget.small().clone());
        server.get_or_insert_with(new).clone()
    }

    fn partition(&self, id: &PartitionId) -> Option<Rc<PartitionDriver<I>>> {
        self.0.partitions.borrow().get(id).cloned()
    }

    /// Reads an extent into memory, on whichever core asks.
    pub async fn read_extent(&self, extent: &Extent<I::File>) -> std::io::Result<Bytes> {
        self.0.io.read_at(&extent.file, extent.position, extent.len as usize).await
    }

    fn snapshot(&self) -> Snapshot {
        let (failed, failures) = (self.0.failed.borrow(), self.0.house.failures.borrow());
        let sessions = self.0.fetch_sessions.borrow();
        let (groups, group_members) = self.0.groups.counts();
        self.0.metrics.snapshot(Holdings {
            shard: self.0.index,
            partitions: self.0.partitions.borrow().len(),
            offline: failed.values().map(|it| &it.why).chain(failures.values()).cloned().collect(),
            in_flight_bytes: self.0.budget.used(),
            fetch_sessions: sessions.len(),
            fetch_session_partitions: sessions.partitions(),
            fetch_sessions_evicted: sessions.evicted(),
            groups,
            group_members,
            io: self.0.io.counters(),
        })
    }

    /// Looks after connections, deadlines, checkpoints and missing logs for as long as the process lives.
    pub(crate) async fn keep_house(self) {
        let mut expiry = self.0.io.now() + PRODUCER_EXPIRY;
        loop {
            let now = self.0.io.now();
            self.0.pulses.sweep(now);
            self.send_checkpoint().await;
            if self.lacks_logs() {
                // Beside: late connections must not wait for a slow disk.
                self.0.io.spawn(self.clone().make_missing_logs());
            }
            if now >= expiry {
                expiry = now + PRODUCER_EXPIRY;
                let all: Vec<_> = self.0.partitions.borrow().values().cloned().collect();
                all.iter().for_each(|driver| {
                    driver.on_tick(now);
                });
            }
            self.0.io.sleep_until(now + HOUSEKEEPING).await;
        }
    }

    /// Answers produces that have waited too long, for as long as the process lives.
    pub(crate) async fn keep_time(self) {
        loop {
            let due = self.0.house.timers.due(&self.0.io).await;
            for id in due {
                if let Some(driver) = self.partition(&id)
                    && let Some(next) = driver.on_tick(self.0.io.now())
                {
                    self.0.house.timers.add(next, id);
                }
            }
        }
    }

    async fn send_checkpoint(&self) {
        let moved = self.0.house.moved.take();
        let offsets: Vec<_> =
            moved.iter().filter_map(|id| self.partition(id)).map(|driver| driver.offsets()).collect();
        if !offsets.is_empty() {
            self.call(0, ShardCall::Checkpoint(offsets, None)).await;
        }
    }

    /// Takes no further requests and waits until what is in flight is answered, or `patience` is over.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.0.stop.reach();
        self.0.groups.stop();
        if let Some(server) = &*self.0.grpc.borrow() {
            server.health().set_serving(false);
        }
        for watch in self.0.watches.borrow().values() {
            WatchTicket(watch.clone()).fire();
        }
        self.0.pulses.expire_all();
        let deadline = self.0.io.now() + patience;
        let open = || self.0.metrics.kafka.connections.get() + self.0.metrics.grpc.connections.get();
        while open() > 0 && self.0.io.now() < deadline {
            self.0.io.sleep(Duration::from_millis(2)).await;
        }
    }

    /// Closes every log.
    pub(crate) async fn close(&self) -> Closed {
        let _alone = self.0.opening.lock().await;
        let drivers: Vec<_> = self.0.partitions.borrow_mut().drain().map(|(_, driver)| driver).collect();
        let mut unclean: Vec<_> =
            self.0.failed.borrow().iter().map(|(id, it)| (it.topic.clone(), id.partition)).collect();
        for some in drivers.chunks(OPEN_AT_ONCE) {
            let closed = futures_util::future::join_all(some.iter().map(PartitionDriver::close)).await;
            let failed = some.iter().zip(closed).filter(|(_, closed)| !closed);
            unclean.extend(failed.map(|(driver, _)| (driver.topic().clone(), driver.id().partition)));
        }
        for journal in &self.0.journals {
            if let Err(error) = journal.close(unclean.is_empty()).await {
                tracing::warn!(%error, "a journal cannot be removed");
            }
        }
        self.0.grpc.take();
        Closed { offsets: drivers.iter().map(|driver| driver.offsets()).collect(), unclean, lost: false }
    }
}

/// How logs were closed.
#[derive(Default)]
pub(crate) struct Closed {
    /// What the checkpoints should say.
    pub(crate) offsets: Vec<PartitionOffsets>,
    /// Those that were not closed cleanly, or never opened.
    pub(crate) unclean: Vec<(Arc<str>, i32)>,
    /// Nothing is known of some of them.
    pub(crate) lost: bool,
}

impl Closed {
    /// Whether the next start needs no recovery.
    pub(crate) fn is_clean(&self) -> bool {
        self.unclean.is_empty() && !self.lost
    }

    /// Adds another shard's; `None` when it ended without closing its logs.
    pub(crate) fn add(&mut self, other: Option<Closed>) {
        let Some(Closed { offsets, unclean, lost }) = other else {
            self.lost = true;
            return;
        };
        self.offsets.extend(offsets);
        self.unclean.extend(unclean);
        self.lost |= lost;
    }
}

/// Logs opened or closed at the same time: enough to keep the disk busy, few enough to bound memory and open files.
pub(crate) const OPEN_AT_ONCE: usize = 64;
