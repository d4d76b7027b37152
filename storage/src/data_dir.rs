//! The directory that holds all logs: one process at a time, one identity, one format version, the checkpoints.
//!
//! Owned by shard 0. The other shards hand it their offsets as [`PartitionOffsets`] and get theirs at the start.

use crate::disk;
use crate::journal::found::{Found, Journaled};
use crate::log::{Lock, RecoveryPoint, is_deleted_log};
use bytes::Bytes;
use millrace_io::Io;
use millrace_proto::files::{
    CLEAN_SHUTDOWN, CLEANER_OFFSETS, CleanShutdown, DATA_FORMAT, DataFormat, FormatError, HIGH_WATERMARKS,
    LOCK, LOG_STARTS, META_PROPERTIES, MetaProperties, PartitionOffset, RECOVERY_POINTS, encode_offsets,
    encode_uuid, parse_offsets, parse_partition_dir_name, partition_dir_name,
};
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Who this broker says it is; compared with what the directory says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`; `None` takes the directory's, or makes one up for a new directory.
    pub cluster_id: Option<String>,
}

/// Whether the process before this one closed everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanStart {
    /// It did: no log needs to be scanned.
    Clean,
    /// It did not.
    Unclean,
}

/// A directory of a partition that was found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirectory {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Where it is.
    pub path: PathBuf,
    /// What the checkpoints say about it.
    pub recovery: RecoveryPoint,
    /// The high watermark that was saved, if any.
    pub high_watermark: Option<i64>,
}

/// What a shard reports about one of its logs, about once a second and at each roll. `Send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// [`crate::Log::recovery_point`].
    pub recovery_point: i64,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// [`crate::Log::log_start`].
    pub log_start: i64,
    /// [`crate::Compacted::upto`] of the last compaction; 0 for none.
    pub cleaned: i64,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("data directory {path} is in use by another broker; stop that one, or choose another directory", path = .0.display())]
    InUse(PathBuf),
    /// Written by a newer version.
    #[error("data directory {path} has format version {found}, this version of Millrace understands up to {supported}; use a newer Millrace", path = .path.display())]
    TooNew {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// It belongs to another broker or cluster.
    #[error("data directory {path} belongs to {setting} {found}, but {setting} {wanted} is configured; use that directory's own, or another directory", path = .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// `node.id` or `cluster.id`.
        setting: &'static str,
        /// What the directory says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A file of it cannot be understood.
    #[error("{file} is damaged: {reason}; restore it from a copy, or remove it (a missing checkpoint means that logs are read from their start)", file = .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine refused.
    #[error("cannot use {path}: {source}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
}

/// What the checkpoints say about one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offsets {
    recovery_point: Option<i64>,
    high_watermark: Option<i64>,
    log_start: Option<i64>,
    cleaned: Option<i64>,
}

type Table = BTreeMap<(Arc<str>, i32), Offsets>;
type Column = fn(&mut Offsets) -> &mut Option<i64>;

/// The files, and what each of them holds.
const CHECKPOINTS: [(&str, Column); 4] = [
    (LOG_STARTS, |o| &mut o.log_start),
    (RECOVERY_POINTS, |o| &mut o.recovery_point),
    (HIGH_WATERMARKS, |o| &mut o.high_watermark),
    (CLEANER_OFFSETS, |o| &mut o.cleaned),
];

/// The data directory, open and locked.
pub struct DataDir<I: Io> {
    io: I,
    path: PathBuf,
    start: CleanStart,
    properties: MetaProperties,
    logs: Vec<LogDirectory>,
    journals: RefCell<Found>,
    table: RefCell<Table>,
    /// What each checkpoint file holds now.
    written: RefCell<[Bytes; 4]>,
    /// One task at a time writes checkpoints.
    writing: Lock,
    _lock: I::Lock,
}

impl<I: Io> DataDir<I> {
    /// Opens the directory, creating it if it is missing: takes its lock, compares identity and format version, reads
    /// the checkpoints, lists the logs. The clean-shutdown marker is gone, durably, when this returns. Directories of
    /// deleted logs are removed in the background.
    /// # Errors
    /// Each says what to do.
    pub async fn open(io: I, path: &Path, identity: Identity) -> Result<DataDir<I>, DataDirError> {
        let at = |source| DataDirError::Io { path: path.to_path_buf(), source };
        disk::create_dir(&io, path).await.map_err(at)?;
        let lock = io.lock(&path.join(LOCK)).await.map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => DataDirError::InUse(path.to_path_buf()),
            _ => at(e),
        })?;
        check_format(&io, path).await?;
        let properties = identify(&io, path, identity).await?;
        let start = take_marker(&io, path).await.map_err(at)?;
        let (table, written) = load_checkpoints(&io, path).await?;
        let logs = find_logs(&io, path, start, &table).await.map_err(at)?;
        let mut journals = Found::read(&io, path).await.map_err(at)?;
        if start == CleanStart::Clean {
            // Every log has been closed since: nothing is in there that they lack.
            journals.remove(&io).await.map_err(at)?;
        }
        Ok(DataDir {
            io,
            path: path.to_path_buf(),
            start,
            properties,
            logs,
            journals: RefCell::new(journals),
            table: RefCell::new(table),
            written: RefCell::new(written),
            writing: Lock::default(),
            _lock: lock,
        })
    }

    /// Whether the process before this one closed everything.
    pub fn clean_start(&self) -> CleanStart {
        self.start
    }

    /// `cluster.id`.
    pub fn cluster_id(&self) -> &str {
        &self.properties.cluster_id
    }

    /// `node.id`.
    pub fn node_id(&self) -> i32 {
        self.properties.node_id
    }

    /// `directory.id`.
    pub fn directory_id(&self) -> Uuid {
        self.properties.directory_id.unwrap_or_default()
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The logs that were found at the start, by name.
    pub fn logs(&self) -> &[LogDirectory] {
        &self.logs
    }

    /// The journals that were found at the start.
    pub(crate) fn journals(&self) -> Ref<'_, Found> {
        self.journals.borrow()
    }

    /// What they hold of logs; whoever opens the logs is to bring it into them.
    pub fn journaled(&self) -> Journaled {
        Journaled::of(std::iter::once(&*self.journals()))
    }

    /// The number of the journals that are made from now on.
    pub fn next_journal(&self) -> u64 {
        self.journals().next_number
    }

    /// Removes the journals that were found at the start: everything in them is in the logs.
    /// # Errors
    /// The next start finds them again, and nothing new in them.
    pub async fn remove_journals(&self) -> Result<(), DataDirError> {
        let mut journals = self.journals.take();
        let removed = journals.remove(&self.io).await;
        self.journals.replace(journals);
        removed.map_err(|source| DataDirError::Io { path: self.path.clone(), source })
    }

    /// Where the log of a partition is, or would be.
    pub fn log_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(partition_dir_name(topic, partition))
    }

    /// Takes over what the shards report and writes the checkpoints that changed, each atomically. Partitions that are
    /// not named keep what they had.
    /// # Errors
    /// The old files are untouched then; the next call tries again.
    pub async fn checkpoint(&self, offsets: Vec<PartitionOffsets>) -> Result<(), DataDirError> {
        {
            let mut table = self.table.borrow_mut();
            for reported in offsets {
                let entry = table.entry((reported.topic, reported.partition)).or_default();
                entry.recovery_point = Some(reported.recovery_point);
                entry.high_watermark = Some(reported.high_watermark);
                // Of two reports the older may come later: a start never goes back, except to begin anew.
                let known = entry.log_start.filter(|_| reported.high_watermark > 0).unwrap_or(0);
                // As Kafka: a log that begins at 0 needs no entry.
                entry.log_start = Some(reported.log_start.max(known)).filter(|start| *start > 0);
                entry.cleaned = Some(reported.cleaned).filter(|cleaned| *cleaned > 0);
            }
        }
        self.write_checkpoints().await
    }

    /// Forgets a deleted partition, durably. Before this, its name must not be used again: the checkpoint would claim
    /// offsets for the new log that only the old one had.
    pub async fn forget(&self, topic: &str, partition: i32) -> Result<(), DataDirError> {
        self.table.borrow_mut().remove(&(Arc::from(topic), partition));
        self.write_checkpoints().await
    }

    async fn write_checkpoints(&self) -> Result<(), DataDirError> {
        let _only = self.writing.lock().await;
        for (at, (name, column)) in CHECKPOINTS.into_iter().enumerate() {
            let content = encode(&self.table.borrow(), column);
            if content == self.written.borrow()[at] {
                continue;
            }
            let result = disk::write_file(&self.io, &self.path, name, content.clone()).await;
            result.map_err(|source| DataDirError::Io { path: self.path.join(name), source })?;
            self.written.borrow_mut()[at] = content;
        }
        Ok(())
    }

    /// Lets go of the directory. `clean` says that every log was closed without an error and the last checkpoint has
    /// been written: then the marker is left, and the next start scans nothing.
    pub async fn close(self, clean: bool) -> Result<(), DataDirError> {
        if !clean {
            return Ok(());
        }
        let marker = CleanShutdown { broker_epoch: -1 }.encode();
        let result = disk::write_file(&self.io, &self.path, CLEAN_SHUTDOWN, marker.into()).await;
        result.map_err(|source| DataDirError::Io { path: self.path.join(CLEAN_SHUTDOWN), source })
    }
}

async fn read<I: Io>(io: &I, path: &Path, name: &str) -> Result<Option<Bytes>, DataDirError> {
    let file = path.join(name);
    disk::read_file(io, &file).await.map_err(|source| DataDirError::Io { path: file, source })
}

fn damaged(path: &Path, name: &str, error: FormatError) -> DataDirError {
    DataDirError::Damaged { file: path.join(name), reason: error.to_string() }
}

/// Refuses what a newer version wrote; marks a new directory with ours.
async fn check_format<I: Io>(io: &I, path: &Path) -> Result<(), DataDirError> {
    match read(io, path, DATA_FORMAT).await?.map(|bytes| DataFormat::parse(&bytes)) {
        Some(Ok(_)) => Ok(()),
        Some(Err(FormatError::Version { found, .. })) => Err(DataDirError::TooNew {
            path: path.to_path_buf(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            supported: DataFormat::CURRENT.version,
        }),
        Some(Err(e)) => Err(damaged(path, DATA_FORMAT, e)),
        None => {
            let content = DataFormat::CURRENT.encode();
            let result = disk::write_file(io, path, DATA_FORMAT, content.into()).await;
            result.map_err(|source| DataDirError::Io { path: path.join(DATA_FORMAT), source })
        }
    }
}

/// Compares identities; a new directory gets one.
async fn identify<I: Io>(io: &I, path: &Path, identity: Identity) -> Result<MetaProperties, DataDirError> {
    let random_id = || uuid::Builder::from_random_bytes(random_bytes(io)).into_uuid();
    let Some(content) = read(io, path, META_PROPERTIES).await? else {
        let properties = MetaProperties {
            cluster_id: identity.cluster_id.unwrap_or_else(|| encode_uuid(random_id())),
            node_id: identity.node_id,
            directory_id: Some(random_id()),
        };
        let result = disk::write_file(io, path, META_PROPERTIES, properties.encode().into()).await;
        result.map_err(|source| DataDirError::Io { path: path.join(META_PROPERTIES), source })?;
        return Ok(properties);
    };
    let found = MetaProperties::parse(&content).map_err(|e| damaged(path, META_PROPERTIES, e))?;
    let foreign = |setting, found: String, wanted: String| {
        Err(DataDirError::Foreign { path: path.to_path_buf(), setting, found, wanted })
    };
    if found.node_id != identity.node_id {
        return foreign("node.id", found.node_id.to_string(), identity.node_id.to_string());
    }
    match identity.cluster_id {
        Some(wanted) if wanted != found.cluster_id => foreign("cluster.id", found.cluster_id, wanted),
        _ => Ok(found),
    }
}

fn random_bytes<I: Io>(io: &I) -> [u8; 16] {
    Uuid::from_u64_pair(io.random(), io.random()).into_bytes()
}

/// Whether the marker is there; afterwards it is not. And whatever names are in the directory survive a power cut from now on: a process
/// that was killed may have renamed a checkpoint into place and not come to make that durable, and what is read of it now is acted on.
async fn take_marker<I: Io>(io: &I, path: &Path) -> std::io::Result<CleanStart> {
    let marker = path.join(CLEAN_SHUTDOWN);
    let start = match disk::read_file(io, &marker).await? {
        None => CleanStart::Unclean,
        Some(_) => {
            io.remove_file(&marker).await?;
            CleanStart::Clean
        }
    };
    io.sync_dir(path).await?;
    Ok(start)
}

async fn load_checkpoints<I: Io>(io: &I, path: &Path) -> Result<(Table, [Bytes; 4]), DataDirError> {
    let (mut table, mut written) = (Table::new(), [const { Bytes::new() }; 4]);
    for (at, (name, column)) in CHECKPOINTS.into_iter().enumerate() {
        let Some(content) = read(io, path, name).await? else { continue };
        for entry in parse_offsets(&content).map_err(|e| damaged(path, name, e))? {
            let offsets = table.entry((entry.topic.into(), entry.partition)).or_default();
            *column(offsets) = Some(entry.offset);
        }
        written[at] = content;
    }
    Ok((table, written))
}

fn encode(table: &Table, column: Column) -> Bytes {
    let entry = |((topic, partition), offsets): (&(Arc<str>, i32), &Offsets)| {
        let offset = (*column(&mut offsets.clone()))?;
        Some(PartitionOffset { topic: topic.to_string(), partition: *partition, offset })
    };
    encode_offsets(&table.iter().filter_map(entry).collect::<Vec<_>>()).into()
}

/// Lists the logs; what was deleted before is removed behind our back.
async fn find_logs<I: Io>(
    io: &I,
    path: &Path,
    start: CleanStart,
    table: &Table,
) -> std::io::Result<Vec<LogDirectory>> {
    let mut logs = Vec::new();
    for entry in io.read_dir(path).await?.into_iter().filter(|entry| entry.is_dir) {
        if is_deleted_log(&entry.name) {
            remove_later(io, path.join(&entry.name));
        } else if let Some((topic, partition)) = parse_partition_dir_name(&entry.name) {
            let known = table.get(&(Arc::from(topic), partition)).copied().unwrap_or_default();
            logs.push(LogDirectory {
                topic: topic.to_owned(),
                partition,
                path: path.join(&entry.name),
                recovery: RecoveryPoint {
                    checkpoint: known.recovery_point.unwrap_or(0),
                    log_start: known.log_start.unwrap_or(0),
                    cleaned: known.cleaned.unwrap_or(0),
                    clean: start == CleanStart::Clean,
                },
                high_watermark: known.high_watermark,
            });
        }
    }
    Ok(logs)
}

fn remove_later<I: Io>(io: &I, dir: PathBuf) {
    let machine = io.clone();
    io.spawn(async move {
        if let Err(e) = machine.remove_dir_all(&dir).await {
            tracing::warn!(dir = %dir.display(), reason = %e, "cannot remove a deleted log; the next start tries again");
        }
    });
}
