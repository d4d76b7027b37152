//! Topics of the bare server: a file for each partition, and how far it goes.

use crate::error::{Doing, Error, Result};
use millrace_proto::batch::{Header, stamp};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use uuid::Uuid;

/// All topics.
#[derive(Debug)]
pub struct Topics {
    data: PathBuf,
    topics: RwLock<BTreeMap<Uuid, Arc<Topic>>>,
}

/// A topic.
#[derive(Debug)]
pub struct Topic {
    pub name: String,
    folder: PathBuf,
    partitions: Vec<Mutex<Partition>>,
}

#[derive(Debug)]
struct Partition {
    file: Arc<File>,
    bytes: u64,
    end: i64,
    /// Bytes and records of its first batch. Fetches take all others to be like it.
    shape: Option<(usize, i32)>,
}

/// Batches in a file.
#[derive(Debug)]
pub struct Stretch {
    pub file: Arc<File>,
    pub at: u64,
    pub len: usize,
    pub end: i64,
}

impl Topics {
    /// None yet.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), topics: RwLock::default() }
    }

    /// Creates one.
    pub fn create(&self, name: &str, partitions: i32) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let folder = self.data.join(id.to_string());
        fs::create_dir(&folder).doing(folder.display())?;
        let new = |number: i32| {
            let path = folder.join(format!("{number}.log"));
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
            let file = Arc::new(file.doing(path.display())?);
            Ok(Mutex::new(Partition { file, bytes: 0, end: 0, shape: None }))
        };
        let partitions = (0..partitions).map(new).collect::<Result<Vec<_>>>()?;
        let topic = Topic { name: name.to_owned(), folder: folder.clone(), partitions };
        self.write(|topics| topics.insert(id, Arc::new(topic)));
        Ok(id)
    }

    /// Deletes one; false if there is none of that name.
    pub fn delete(&self, name: &str) -> bool {
        let Some((id, topic)) = self.find(|topic| topic.name == name) else { return false };
        self.write(|topics| topics.remove(&id));
        // Whoever still reads keeps the files until then.
        fs::remove_dir_all(&topic.folder).is_ok()
    }

    /// The one with this id.
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The one of this name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.find(|topic| topic.name == name).map(|(_, topic)| topic)
    }

    fn find(&self, wanted: impl Fn(&Topic) -> bool) -> Option<(Uuid, Arc<Topic>)> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.iter().find(|(_, topic)| wanted(topic)).map(|(id, topic)| (*id, Arc::clone(topic)))
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<Uuid, Arc<Topic>>) -> T) -> T {
        change(&mut self.topics.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Topic {
    fn partition<T>(&self, number: i32, part: impl FnOnce(&mut Partition) -> Result<T>) -> Result<T> {
        let found = usize::try_from(number).ok().and_then(|at| self.partitions.get(at));
        let found = found.ok_or_else(|| Error::Usage(format!("there is no partition {number}")))?;
        part(&mut found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends a batch that was checked; returns its offset.
    pub fn append(&self, partition: i32, batch: &mut [u8], header: &Header) -> Result<i64> {
        self.partition(partition, |partition| {
            let offset = partition.end;
            stamp(batch, offset, 0);
            partition.file.write_all_at(batch, partition.bytes).doing("writing")?;
            partition.bytes += batch.len() as u64;
            partition.end += i64::from(header.record_count);
            partition.shape.get_or_insert((batch.len(), header.record_count));
            Ok(offset)
        })
    }

    /// Where a partition ends.
    pub fn end(&self, partition: i32) -> Result<i64> {
        self.partition(partition, |partition| Ok(partition.end))
    }

    /// Whole batches from this offset on, as many as fit into so many bytes.
    pub fn read(&self, partition: i32, offset: i64, most: usize) -> Result<Stretch> {
        self.partition(partition, |partition| {
            let (file, end) = (Arc::clone(&partition.file), partition.end);
            let (size, records) = partition.shape.unwrap_or((1, 1));
            let before = u64::try_from(offset).unwrap_or(0) / records.unsigned_abs() as u64;
            let at = (before * size as u64).min(partition.bytes);
            let left = usize::try_from(partition.bytes - at).unwrap_or(usize::MAX);
            let len = most.min(left) / size * size;
            Ok(Stretch { file, at, len, end })
        })
    }
}
