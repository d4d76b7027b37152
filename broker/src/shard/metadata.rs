//! Metadata has one writer: shard 0 decides, logs the records, waits until they are durable, and only then gives every
//! shard the next image. No request waits for another thread; every shard reads an image of its own.
//!
//! Creating a topic goes round twice: first every shard makes the logs that it will own, then all of them learn of the
//! topic. So whoever hears of a topic finds its partitions served.

use crate::config::{Alterable, Config, topic};
use crate::shard::metadata_image::{ImageFile, Position};
use crate::shard::metadata_log::{self, MetadataLogError};
use crate::shard::metadata_start::{Opened, find_logs, open_log};
use crate::shard::wishes::{ConfigWish, PartitionsWish, TopicWish};
use crate::shard::{Closed, Shard, ShardCall};
use futures_channel::oneshot;
use futures_util::lock::Mutex;
use millrace_io::Io;
use millrace_logic::meta::create::MAX_PARTITIONS_PER_REQUEST;
use millrace_logic::meta::{
    ApplyError, Changes, Controller, Delta, Image, MetadataRecord, PartitionRecord, PartitionsCreation,
    ProducerIdBlock, ReconfigurationOutcome, RegisterBrokerRecord, Topic, TopicCreation, TopicDeletion,
    TopicTarget,
};
use millrace_logic::offset::{LogEnd, Offset};
use millrace_proto::batch::Header;
use millrace_storage::{
    DataDirError, DataDirs, DirectoryInUse, DirectoryOffline, Journaled, Log, OpenError, PartitionOffsets,
    ReadError, RecoveryPoint,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// The log of the metadata, as a topic is named.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// Metadata that every shard is to have, and how it differs from what it had.
pub struct Published {
    /// The metadata.
    pub image: Arc<Image>,
    /// What is new in it.
    pub changes: Changes,
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// What the checkpoints say of the logs that were there at the start.
    pub recovery: BTreeMap<(String, i32), RecoveryPoint>,
    /// What journals hold of logs, at the start.
    pub journaled: Arc<Journaled>,
    /// Where logs are.
    pub directories: Arc<Directories>,
}

/// The broker's log directories, as they were at the start.
pub struct Directories {
    /// Those that are used. The first holds the metadata.
    pub in_use: Vec<DirectoryInUse>,
    /// Those that could not be opened.
    pub offline: Vec<DirectoryOffline>,
}

/// A request to change the metadata.
pub enum MetadataCall {
    /// Create topics.
    CreateTopics {
        /// These.
        topics: Vec<TopicWish>,
        /// Only check.
        validate_only: bool,
        /// One answer for each distinct name.
        reply: oneshot::Sender<Result<Vec<TopicCreation>, MetadataFailure>>,
    },
    /// Delete topics, each by name or by id.
    DeleteTopics {
        /// These.
        targets: Vec<(Option<String>, Option<Uuid>)>,
        /// One answer for each.
        reply: oneshot::Sender<Result<Vec<TopicDeletion>, MetadataFailure>>,
    },
    /// Add partitions to topics.
    CreatePartitions {
        /// These.
        topics: Vec<PartitionsWish>,
        /// Only check.
        validate_only: bool,
        /// One answer for each distinct name.
        reply: oneshot::Sender<Result<Vec<PartitionsCreation>, MetadataFailure>>,
    },
    /// Change settings.
    AlterConfigs {
        /// These.
        wishes: Vec<ConfigWish>,
        /// Only check.
        validate_only: bool,
        /// One answer for each distinct resource.
        reply: oneshot::Sender<Result<Vec<ReconfigurationOutcome>, MetadataFailure>>,
    },
    /// Give a block of producer ids.
    ProducerIds(oneshot::Sender<Result<ProducerIdBlock, MetadataFailure>>),
}

/// Why the metadata did not change, or whether it did is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFailure {
    /// The metadata log cannot be written.
    #[error("the metadata log cannot be written: {0}")]
    Log(String),
    /// No ids are left.
    #[error(transparent)]
    ProducerIds(#[from] millrace_logic::meta::ProducerIdsExhausted),
    /// The broker is going down.
    #[error("the broker is shutting down")]
    Stopping,
}

/// Why the metadata cannot be read at the start.
#[derive(Debug, thiserror::Error)]
pub enum MetadataStartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be opened.
    #[error("the metadata log: {0}")]
    Partition(#[from] OpenError),
    /// The log cannot be made.
    #[error("the metadata log: {0}")]
    Create(#[from] millrace_storage::CreateError),
    /// The log cannot be read.
    #[error("the metadata log: {0}")]
    Read(#[from] ReadError),
    /// Durable metadata is damaged or gone; to go on could lose topics.
    #[error("the metadata log is damaged at offsets {0}..{1}: restore {METADATA_TOPIC}-0 from a copy")]
    Damaged(i64, i64),
    /// Logs without any metadata: to begin with none would lose every topic.
    #[error("the metadata log {METADATA_TOPIC}-0 is missing or empty, but {log} holds records: restore the metadata log from a copy, or move the logs away to begin anew", log = .log.display())]
    Missing {
        /// One of the logs.
        log: PathBuf,
    },
    /// The log cannot be understood.
    #[error(transparent)]
    Log(#[from] MetadataLogError),
    /// The records contradict each other.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The first records could not be written.
    #[error(transparent)]
    Write(#[from] MetadataFailure),
}

/// Decides on metadata. Lives on shard 0.
pub struct MetadataDriver<I: Io> {
    io: I,
    directories: Arc<Directories>,
    /// `None` once they are closed.
    data_dirs: Mutex<Option<DataDirs<I>>>,
    deciding: Mutex<Deciding<I>>,
    config: Arc<Config>,
}

struct Deciding<I: Io> {
    controller: Controller,
    log: Log<I>,
    image: Arc<Image>,
    /// The end of the image in the log; `None` before the first record.
    position: Option<Position>,
    file: Rc<ImageFile<I>>,
}

impl<I: Io> MetadataDriver<I> {
    /// Opens the log directories and reads the metadata: from its image, and what the log has beyond that.
    pub async fn start(io: I, config: Arc<Config>) -> Result<(Self, Published), MetadataStartError> {
        let data_dirs = DataDirs::open(io.clone(), &config.data_dirs, config.identity()).await?;
        let Opened { log, covered, position, image } = open_log(&io, data_dirs.first()).await?;
        let stray = data_dirs.logs().find(|(_, log)| log.topic != METADATA_TOPIC);
        if let (None, Some((_, log))) = (position, stray) {
            return Err(MetadataStartError::Missing { log: log.path.clone() });
        }
        let found = find_logs(&io, &data_dirs, &image, config.node_id).await;
        let file = ImageFile::new(io.clone(), data_dirs.first().path().to_path_buf(), covered);
        let controller = Controller::new(Image::clone(&image), config.topic_defaults());
        let mut deciding = Deciding { controller, log, image: Arc::new(image), position, file };
        for some in found.moved.chunks(MAX_PARTITIONS_PER_REQUEST) {
            deciding.append(&io, some).await?;
        }
        deciding.forget_decisions(&config);
        deciding.advance_file();
        let image = deciding.image.clone();
        let directories =
            Arc::new(Directories { in_use: data_dirs.in_use(), offline: data_dirs.offline().to_vec() });
        let published = Published {
            changes: Changes { created: image.topics().cloned().collect(), ..Changes::default() },
            image,
            cluster_id: data_dirs.cluster_id().into(),
            recovery: found.recovery,
            journaled: Arc::new(data_dirs.journaled()),
            directories: directories.clone(),
        };
        let (deciding, data_dirs) = (Mutex::new(deciding), Mutex::new(Some(data_dirs)));
        Ok((Self { io, directories, data_dirs, deciding, config }, published))
    }

    /// Tells the cluster where this broker is, before anybody is served. Returns the metadata that holds it.
    pub async fn register(&self, broker: RegisterBrokerRecord) -> Result<Arc<Image>, MetadataStartError> {
        let mut deciding = self.deciding.lock().await;
        let mut records = Vec::new();
        for (feature, level) in crate::config::FINALIZED_FEATURES {
            records.extend(deciding.controller.set_feature(feature, *level));
        }
        // The incarnation is new with each process; whether there is anything to record is decided without it.
        let known = deciding.image.broker(broker.broker).cloned();
        let unchanged = known.as_deref().is_some_and(|known| {
            RegisterBrokerRecord { incarnation: known.incarnation, epoch: known.epoch, ..broker.clone() }
                == *known
        });
        if !unchanged {
            let epoch = deciding.log.end() + records.len() as i64;
            records.extend(deciding.controller.register_broker(RegisterBrokerRecord { epoch, ..broker }));
        }
        if !records.is_empty() {
            deciding.append(&self.io, &records).await?;
        }
        Ok(deciding.image.clone())
    }

    /// Every shard has opened its logs. The journals that were there at the start are of no use any more, unless a log that they hold
    /// something of could not be opened: then they stay for the next start.
    pub async fn forget_journals(&self, published: &Published) {
        let needed = published.journaled.unsettled().into_iter().find(|(topic, _)| {
            // Of a topic that was deleted nobody wants anything.
            published.image.topic_by_id(*topic).is_some()
        });
        if let Some((topic, partition)) = needed {
            tracing::warn!(%topic, partition, "the journal has records of a partition that is offline: it is kept for the next start");
            return;
        }
        if let Some(data_dirs) = &*self.data_dirs.lock().await
            && let Err(error) = data_dirs.remove_journals().await
        {
            tracing::warn!(%error, "a journal of an earlier start cannot be removed");
        }
    }

    /// The log directories.
    pub fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    /// Decides on a request; answers when the decision is durable and every shard acts by it.
    pub async fn take(&self, shard: &Shard<I>, call: MetadataCall) {
        let mut deciding = self.deciding.lock().await;
        match call {
            MetadataCall::CreateTopics { topics, validate_only, reply } => {
                let wishes: Vec<_> = topics.iter().map(TopicWish::borrowed).collect();
                let mut new_id = || random_id(&self.io);
                let check = |name: &str, value: &str| topic::check(name, value);
                let decided = deciding.controller.create_topics(&wishes, validate_only, &check, &mut new_id);
                let _ = reply.send(self.settle(&mut deciding, shard, decided).await);
            }
            MetadataCall::DeleteTopics { targets, reply } => {
                let targets: Vec<_> = targets
                    .iter()
                    .map(|(name, topic_id)| TopicTarget { name: name.as_deref(), topic_id: *topic_id })
                    .collect();
                let decided = deciding.controller.delete_topics(&targets);
                let _ = reply.send(self.settle(&mut deciding, shard, decided).await);
            }
            MetadataCall::CreatePartitions { topics, validate_only, reply } => {
                let wishes: Vec<_> = topics.iter().map(PartitionsWish::borrowed).collect();
                let decided = deciding.controller.create_partitions(&wishes, validate_only);
                let _ = reply.send(self.settle(&mut deciding, shard, decided).await);
            }
            MetadataCall::AlterConfigs { wishes, validate_only, reply } => {
                let wishes: Vec<_> = wishes.iter().map(ConfigWish::borrowed).collect();
                let image = deciding.controller.image().clone();
                let known = Alterable { config: &self.config, image: &image };
                let decided = deciding.controller.alter_configs(&wishes, validate_only, &known);
                let _ = reply.send(self.settle(&mut deciding, shard, decided).await);
            }
            MetadataCall::ProducerIds(reply) => {
                let node = self.config.node_id;
                let epoch = deciding.image.broker(node).map_or(-1, |broker| broker.epoch);
                let answer = match deciding.controller.allocate_producer_ids(node, epoch) {
                    Ok(decided) => self.settle(&mut deciding, shard, decided).await,
                    Err(exhausted) => Err(exhausted.into()),
                };
                let _ = reply.send(answer);
            }
        }
    }

    /// Makes a decision durable and known everywhere; then its reply holds.
    async fn settle<R>(
        &self,
        deciding: &mut Deciding<I>,
        shard: &Shard<I>,
        (reply, records): (R, Vec<MetadataRecord>),
    ) -> Result<R, MetadataFailure> {
        if shard.is_stopping() {
            deciding.forget_decisions(&self.config);
            return Err(MetadataFailure::Stopping);
        }
        if records.is_empty() {
            return Ok(reply);
        }
        let logged = match self.begin_at_zero(&deciding.image, &records).await {
            Ok(()) => deciding.append(&self.io, &records).await,
            Err(error) => Err(MetadataFailure::Log(error.to_string())),
        };
        let changes = match logged {
            Ok(changes) => changes,
            Err(failure) => {
                deciding.forget_decisions(&self.config);
                return Err(failure);
            }
        };
        let deleted = changes.deleted.clone();
        let published = Arc::new(Published {
            image: deciding.image.clone(),
            changes,
            cluster_id: shard.cluster_id().clone(),
            journaled: Arc::default(),
            recovery: BTreeMap::new(),
            directories: self.directories.clone(),
        });
        if !published.changes.created.is_empty() || !published.changes.changed.is_empty() {
            shard.call_all(|done| ShardCall::Prepare(published.clone(), done)).await;
        }
        shard.call_all(|done| ShardCall::Publish(published.clone(), done)).await;
        for topic in deleted {
            self.forget(&topic).await;
        }
        Ok(reply)
    }

    /// Puts offsets into the checkpoints; whether they are durable there.
    pub async fn checkpoint(&self, offsets: Vec<PartitionOffsets>) -> bool {
        let Some(data_dirs) = &*self.data_dirs.lock().await else { return false };
        let written = data_dirs.checkpoint(offsets).await;
        if let Err(error) = &written {
            tracing::error!(%error, "checkpoints not written: a restart after a crash will scan more");
        }
        written.is_ok()
    }

    /// Makes the checkpoints say that new partitions begin at 0. What they still say of a former topic of that name would
    /// make recovery look for offsets that the new log never had.
    async fn begin_at_zero(&self, image: &Image, records: &[MetadataRecord]) -> Result<(), DataDirError> {
        let data_dirs = self.data_dirs.lock().await;
        let Some(data_dirs) = &*data_dirs else { return Ok(()) };
        let mut offsets = Vec::new();
        let mut name: Arc<str> = "".into();
        for record in records {
            match record {
                MetadataRecord::Topic(topic) => name = topic.name.as_str().into(),
                MetadataRecord::Partition(PartitionRecord { topic_id, partition, state }) => {
                    let known = image.topic_by_id(*topic_id);
                    if known.is_some_and(|topic| (*partition as usize) < topic.partitions.len()) {
                        continue;
                    }
                    let topic = known.map_or(&name, |topic| &topic.name);
                    if let Some(directory) = state.directory(self.config.node_id) {
                        data_dirs.settle(topic, *partition, directory);
                    }
                    offsets.push(PartitionOffsets {
                        topic: topic.clone(),
                        partition: *partition,
                        recovery_point: 0,
                        high_watermark: 0,
                        log_start: 0,
                        cleaned: 0,
                    });
                }
                _ => {}
            }
        }
        data_dirs.checkpoint(offsets).await
    }

    /// Takes a deleted topic's partitions out of the checkpoints, before its name is used again.
    async fn forget(&self, topic: &Topic) {
        let data_dirs = self.data_dirs.lock().await;
        let Some(data_dirs) = &*data_dirs else { return };
        for partition in 0..topic.partitions.len() as i32 {
            if let Err(error) = data_dirs.forget(&topic.name, partition).await {
                tracing::warn!(topic = %topic.name, partition, %error, "checkpoints still name a deleted partition");
            }
        }
    }

    /// Closes the metadata log and the log directories, after a last checkpoint of those `closed`.
    pub(crate) async fn stop(self: Rc<Self>, closed: Closed) -> Result<(), DataDirError> {
        let Closed { mut offsets, mut unclean, lost } = closed;
        let deciding = self.deciding.lock().await;
        if let Some(position) = deciding.position {
            deciding.file.write(&deciding.image, position).await;
        }
        let Some(data_dirs) = self.data_dirs.lock().await.take() else { return Ok(()) };
        let metadata = deciding.offsets();
        if let Err(error) = deciding.log.close().await {
            tracing::error!(%error, "the metadata log was not closed");
            unclean.push((metadata.topic.clone(), metadata.partition));
        }
        offsets.push(PartitionOffsets { recovery_point: deciding.log.recovery_point(), ..metadata });
        let checkpointed = data_dirs.checkpoint(offsets).await;
        let closed = data_dirs.close(&unclean, lost).await;
        checkpointed.and(closed)
    }
}

impl<I: Io> Deciding<I> {
    /// Appends records and waits until they are durable; then they are part of the image.
    async fn append(&mut self, io: &I, records: &[MetadataRecord]) -> Result<Changes, MetadataFailure> {
        let failed = |error: &dyn std::fmt::Display| MetadataFailure::Log(error.to_string());
        let batch =
            metadata_log::encode(records, self.log.end(), 0, io.wall_clock()).map_err(|e| failed(&e))?;
        let header = Header::parse(&batch).map_err(|e| failed(&e))?;
        self.log.reserve(batch.len(), header.max_timestamp).await.map_err(|e| failed(&e))?;
        self.log.append(batch, &header);
        self.log.flush().await.map_err(|e| failed(&e))?;
        let mut delta = Delta::new(&self.image);
        for record in records {
            delta.replay(record).map_err(|e| failed(&e))?;
        }
        let (image, changes) = delta.finish(LogEnd::at(Offset::new(self.log.end())));
        self.image = Arc::new(image);
        self.position = Some(Position::behind(&header));
        self.advance_file();
        Ok(changes)
    }

    fn advance_file(&self) {
        if let Some(position) = self.position {
            self.file.advance(&self.image, position);
        }
    }

    /// What was decided and not logged does not count.
    fn forget_decisions(&mut self, config: &Config) {
        self.controller = Controller::new(Image::clone(&self.image), config.topic_defaults());
    }

    fn offsets(&self) -> PartitionOffsets {
        PartitionOffsets {
            topic: METADATA_TOPIC.into(),
            partition: 0,
            recovery_point: self.log.recovery_point(),
            high_watermark: self.log.durable(),
            log_start: self.log.log_start(),
            cleaned: 0,
        }
    }
}

/// A random id that Kafka would make: version 4, and never one that starts with a dash in its text form.
fn random_id<I: Io>(io: &I) -> Uuid {
    loop {
        let bits = (u128::from(io.random()) << 64) | u128::from(io.random());
        let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        if !millrace_proto::files::encode_uuid(id).starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "metadata_test.rs"]
mod tests;
