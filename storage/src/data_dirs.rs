//! All of a broker's log directories, on as many disks: which log is in which, and one that fails costs no more than its own logs.
//!
//! Kafka's JBOD. The first directory holds the metadata: without it there is no start. Another one that the machine cannot read or write is
//! left out until the next start; one that belongs to somebody else, or that cannot be understood, refuses the start.

use crate::data_dir::{DataDir, DataDirError, Identity, LogDirectory, PartitionOffsets};
use crate::journal::found::Journaled;
use millrace_io::Io;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// A directory that is in use, as those who open logs in it know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryInUse {
    /// `directory.id`.
    pub id: Uuid,
    /// Where it is.
    pub path: PathBuf,
    /// The number of the journals that are made in it from now on.
    pub journal: u64,
}

/// A directory that could not be opened at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOffline {
    /// Where it should be.
    pub path: PathBuf,
    /// Why it is not used.
    pub why: String,
}

/// The directories, open and locked.
pub struct DataDirs<I: Io> {
    /// The first holds the metadata.
    dirs: Vec<DataDir<I>>,
    offline: Vec<DirectoryOffline>,
    /// Which of `dirs` holds the log.
    homes: RefCell<BTreeMap<(Arc<str>, i32), usize>>,
    /// Those of `dirs` whose checkpoints could not be written when last tried.
    behind: RefCell<BTreeSet<usize>>,
}

impl<I: Io> DataDirs<I> {
    /// Opens each of them: see [`DataDir::open`]. All belong to the cluster that the first belongs to.
    /// # Errors
    /// Those of [`DataDir::open`], except that one that is not the first may be out of order.
    ///
    /// # Panics
    /// Without any path.
    pub async fn open(io: I, paths: &[PathBuf], identity: Identity) -> Result<Self, DataDirError> {
        let (first, others) = paths.split_first().expect("a broker has a directory");
        let first = DataDir::open(io.clone(), first, identity.clone()).await?;
        let identity = Identity { cluster_id: Some(first.cluster_id().to_owned()), ..identity };
        let (mut dirs, mut offline) = (vec![first], Vec::new());
        for path in others {
            match DataDir::open(io.clone(), path, identity.clone()).await {
                Ok(dir) => dirs.push(dir),
                Err(error @ DataDirError::Io { .. }) => {
                    tracing::error!("a log directory is offline, and its partitions are: {error}");
                    offline.push(DirectoryOffline { path: path.clone(), why: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { dirs, offline, homes: RefCell::default(), behind: RefCell::default() })
    }

    /// `cluster.id`.
    pub fn cluster_id(&self) -> &str {
        self.dirs[0].cluster_id()
    }

    /// The directory of the metadata, which is the first.
    pub fn first(&self) -> &DataDir<I> {
        &self.dirs[0]
    }

    /// Those in use, in the order in which they were named.
    pub fn in_use(&self) -> Vec<DirectoryInUse> {
        let known = |dir: &DataDir<I>| DirectoryInUse {
            id: dir.directory_id(),
            path: dir.path().to_path_buf(),
            journal: dir.next_journal(),
        };
        self.dirs.iter().map(known).collect()
    }

    /// Those that could not be opened.
    pub fn offline(&self) -> &[DirectoryOffline] {
        &self.offline
    }

    /// What journals hold of logs; the start is to bring it into them.
    pub fn journaled(&self) -> Journaled {
        let found: Vec<_> = self.dirs.iter().map(DataDir::journals).collect();
        Journaled::of(found.iter().map(|found| &**found))
    }

    /// Every log that a journal held something of is whole again: removes the journals that were there at the start.
    /// # Errors
    /// Of the first directory in which they cannot be removed.
    pub async fn remove_journals(&self) -> Result<(), DataDirError> {
        for dir in &self.dirs {
            dir.remove_journals().await?;
        }
        Ok(())
    }

    /// The logs that were found at the start, each with the id of its directory. One that was copied by hand may be found twice.
    pub fn logs(&self) -> impl Iterator<Item = (Uuid, &LogDirectory)> {
        self.dirs.iter().flat_map(|dir| dir.logs().iter().map(|log| (dir.directory_id(), log)))
    }

    /// From now on the log of this partition is in that directory; one that is not in use is the first.
    pub fn settle(&self, topic: &Arc<str>, partition: i32, directory: Uuid) {
        let at = self.dirs.iter().position(|dir| dir.directory_id() == directory).unwrap_or(0);
        self.homes.borrow_mut().insert((topic.clone(), partition), at);
    }

    /// Takes over what the shards report and writes the checkpoints that changed: see [`DataDir::checkpoint`].
    /// # Errors
    /// The first there was; the other directories were written all the same.
    pub async fn checkpoint(&self, offsets: Vec<PartitionOffsets>) -> Result<(), DataDirError> {
        let mut shares: Vec<Vec<PartitionOffsets>> = vec![Vec::new(); self.dirs.len()];
        for reported in offsets {
            let home = self.homes.borrow().get(&(reported.topic.clone(), reported.partition)).copied();
            shares[home.unwrap_or(0)].push(reported);
        }
        let mut outcome = Ok(());
        for (at, share) in shares.into_iter().enumerate().filter(|(_, share)| !share.is_empty()) {
            let written = self.dirs[at].checkpoint(share).await;
            match &written {
                Ok(()) => self.behind.borrow_mut().remove(&at),
                Err(_) => self.behind.borrow_mut().insert(at),
            };
            outcome = outcome.and(written);
        }
        outcome
    }

    /// Forgets a deleted partition, durably: see [`DataDir::forget`].
    /// # Errors
    /// Its directory's checkpoints could not be written.
    pub async fn forget(&self, topic: &str, partition: i32) -> Result<(), DataDirError> {
        let home = self.homes.borrow_mut().remove(&(Arc::from(topic), partition));
        self.dirs[home.unwrap_or(0)].forget(topic, partition).await
    }

    /// Lets go of all of them. A directory is left clean (see [`DataDir::close`]), unless `lost` says that nothing is known of some logs, one
    /// of its own is among the `unclean`, or its last checkpoint was not written. That is no reason to leave the others unclean.
    /// # Errors
    /// The first there was.
    pub async fn close(self, unclean: &[(Arc<str>, i32)], lost: bool) -> Result<(), DataDirError> {
        let (homes, behind) = (self.homes.into_inner(), self.behind.into_inner());
        let mut outcome = Ok(());
        for (at, dir) in self.dirs.into_iter().enumerate() {
            let unclosed = unclean.iter().any(|log| homes.get(log) == Some(&at));
            let clean = !lost && !unclosed && !behind.contains(&at);
            outcome = outcome.and(dir.close(clean).await);
        }
        outcome
    }
}
