//! How a shard follows the metadata: it makes the logs of partitions that it will own, goes by new settings, and drops the logs of
//! topics that are gone. A log for which a full disk had no room is made as soon as there is some.

use crate::shard::metadata::{Directories, Published};
use crate::shard::partition_driver::{PartitionDriver, PartitionError, PartitionId, Place};
use crate::shard::{OPEN_AT_ONCE, Shard};
use futures_util::future::join_all;
use millrace_io::Io;
use millrace_logic::meta::names::CONSUMER_OFFSETS_TOPIC;
use millrace_logic::meta::{Image, Topic};
use millrace_logic::partition::LeaderEpoch;
use millrace_logic::placement::shard_of;
use millrace_proto::files::{encode_uuid, partition_dir_name};
use millrace_storage::{CreateError, OpenError, RecoveryPoint, put_aside};
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// A partition that should be here and could not be opened.
pub(super) struct Unopened {
    /// Its topic.
    pub(super) topic: Arc<str>,
    /// Topic, partition and reason.
    pub(super) why: String,
    /// Its log was never there, and is missing only because the disk was full.
    for_room: bool,
}

impl<I: Io> Shard<I> {
    /// Makes the logs that this shard will own, or opens those that are there.
    pub(crate) async fn prepare(&self, published: &Published) {
        let _alone = self.0.opening.lock().await;
        let mut places = Vec::new();
        // A topic that changed may have more partitions.
        for topic in published.changes.created.iter().chain(&published.changes.changed) {
            for (partition, state) in (0..).zip(&topic.partitions) {
                let id = PartitionId { topic: topic.id, partition };
                if shard_of(topic.id, partition, self.0.peers.len()) == self.0.index
                    && state.replicas.contains(&self.0.config.node_id)
                    && !self.has(&id)
                {
                    places.push((id, topic, state.leader_epoch));
                }
            }
        }
        for some in places.chunks(OPEN_AT_ONCE) {
            let opening =
                some.iter().map(|(id, topic, epoch)| self.open_partition(*id, topic, *epoch, published));
            join_all(opening).await;
        }
    }

    /// Whether a partition was opened here, or could not be.
    fn has(&self, id: &PartitionId) -> bool {
        self.0.partitions.borrow().contains_key(id) || self.0.failed.borrow().contains_key(id)
    }

    async fn open_partition(&self, id: PartitionId, topic: &Topic, leader_epoch: i32, published: &Published) {
        let recovery = published.recovery.get(&(topic.name.to_string(), id.partition)).copied();
        match self.start_partition(id, topic, leader_epoch, &published.image, recovery).await {
            Ok(driver) => {
                self.adopt(driver);
            }
            // A log that is there already needs its checkpoint to be opened, and that belongs to the start alone.
            Err(error) => {
                let for_room = matches!(&error, PartitionError::Create(error) if error.found_no_room());
                self.keep_offline(id, topic, &error, for_room);
            }
        }
    }

    /// A partition is open: it is served.
    fn adopt(&self, driver: Rc<PartitionDriver<I>>) {
        if **driver.topic() == *CONSUMER_OFFSETS_TOPIC {
            self.0.groups.adopt(driver.clone());
        }
        self.0.partitions.borrow_mut().insert(driver.id(), driver);
    }

    fn keep_offline(&self, id: PartitionId, topic: &Topic, error: &PartitionError, for_room: bool) {
        tracing::error!(topic = %topic.name, partition = id.partition, "partition is offline: {error}");
        let why = format!("{}-{}: {error}", topic.name, id.partition);
        self.0.failed.borrow_mut().insert(id, Unopened { topic: topic.name.clone(), why, for_room });
    }

    /// Whether logs are missing for which there was no room.
    pub(super) fn lacks_logs(&self) -> bool {
        self.0.failed.borrow().values().any(|it| it.for_room)
    }

    /// Tries again to make them; stops at the first for which there still is no room.
    pub(super) async fn make_missing_logs(self) {
        // Alone: a topic that is deleted meanwhile, or one of its name that is made, would meet a half-made directory.
        // Whoever is at it now may take long on a slow disk; there is a next time.
        let Some(_alone) = self.0.opening.try_lock() else { return };
        let failed: Vec<_> =
            self.0.failed.borrow().iter().filter(|(_, it)| it.for_room).map(|(id, _)| *id).collect();
        let image = self.image();
        for id in failed {
            if self.is_stopping() {
                return;
            }
            let Some(topic) = image.topic_by_id(id.topic) else { continue };
            let Some(state) = topic.partitions.get(id.partition as usize) else { continue };
            // What an earlier attempt left behind is opened: it may have got as far as an empty segment.
            let recovery = Some(RecoveryPoint::default());
            match self.start_partition(id, topic, state.leader_epoch, &image, recovery).await {
                Ok(driver) => {
                    tracing::info!(topic = %topic.name, partition = id.partition, "there is room: partition is online");
                    self.0.failed.borrow_mut().remove(&id);
                    self.adopt(driver);
                }
                Err(PartitionError::Create(error)) if error.found_no_room() => return,
                Err(PartitionError::Open(error)) if error.found_no_room() => return,
                Err(error) => self.keep_offline(id, topic, &error, false),
            }
        }
    }

    async fn start_partition(
        &self,
        id: PartitionId,
        topic: &Topic,
        leader_epoch: i32,
        image: &Image,
        recovery: Option<RecoveryPoint>,
    ) -> Result<Rc<PartitionDriver<I>>, PartitionError> {
        let state = &self.0;
        let directory = self.directory(topic, id.partition)?;
        let dir =
            state.directories.in_use[directory].path.join(partition_dir_name(&topic.name, id.partition));
        let journaled = state.journaled.of_log(id.topic, id.partition);
        let behaviour = state.config.effective(image, &topic.name).behaviour();
        let place = || Place {
            id,
            topic: topic.name.clone(),
            dir: &dir,
            recovery,
            journaled: &journaled,
            broker: state.config.node_id,
            leader_epoch: LeaderEpoch::new(leader_epoch),
            behaviour: behaviour.clone(),
        };
        let started = match PartitionDriver::start(state.io.clone(), state.house.clone(), place()).await {
            // A topic of this name was deleted and made again, and its directory could not be renamed in between: keep what is not ours.
            Err(
                error @ (PartitionError::Foreign { .. } | PartitionError::Create(CreateError::Exists(_))),
            ) => {
                let moved = put_aside(&state.io, &dir).await;
                let aside = moved.map_err(|source| OpenError::Io { dir: dir.clone(), source })?;
                tracing::warn!(reason = %error, aside = %aside.display(), "a former topic's log was put aside");
                let place = Place { recovery: None, ..place() };
                PartitionDriver::start(state.io.clone(), state.house.clone(), place).await
            }
            started => started,
        }?;
        started.log.join(&state.journals[directory], id.partition);
        state.journaled.settled(id.topic, id.partition);
        Ok(started)
    }

    /// Which of the log directories that are in use a partition of this broker is in.
    fn directory(&self, topic: &Topic, partition: i32) -> Result<usize, PartitionError> {
        let Directories { in_use, offline } = &*self.0.directories;
        let state = usize::try_from(partition).ok().and_then(|at| topic.partitions.get(at));
        let found = match state.and_then(|state| state.directory(self.0.config.node_id)) {
            Some(id) => in_use.iter().position(|known| known.id == id).ok_or(id),
            // It was made before there were several, and is not in any of those that are used.
            None if offline.is_empty() && !in_use.is_empty() => Ok(0),
            None => Err(Uuid::nil()),
        };
        found.map_err(|id| {
            let reasons: Vec<_> = offline.iter().map(|directory| directory.why.as_str()).collect();
            PartitionError::NoDirectory { id: encode_uuid(id), reasons: reasons.join("; ") }
        })
    }

    /// Acts by new metadata from now on, and drops the logs of partitions that are gone.
    pub(crate) async fn publish(&self, published: &Published) {
        let _alone = self.0.opening.lock().await;
        *self.0.image.borrow_mut() = published.image.clone();
        self.0.rules.borrow_mut().clear();
        self.reconfigure(&published.changes.configs);
        for topic in &published.changes.deleted {
            for partition in 0..topic.partitions.len() as i32 {
                let id = PartitionId { topic: topic.id, partition };
                self.0.failed.borrow_mut().remove(&id);
                let gone = self.0.partitions.borrow_mut().remove(&id);
                if let Some(driver) = gone {
                    if *topic.name == *CONSUMER_OFFSETS_TOPIC {
                        self.0.groups.abandon(partition);
                    }
                    driver.delete().await;
                }
            }
        }
        self.0.groups.follow(&published.image, !published.changes.deleted.is_empty());
    }
}
