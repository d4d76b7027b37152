//! A host's disk: takes operations, completes them later, and loses what it may when the host crashes.
//!
//! An operation takes effect when it completes. One that is in flight when the host crashes may have taken effect, in
//! part or not at all.

mod content;
mod op;
mod space;
mod tree;

pub(super) use op::{Answer, Op};

use super::faults::{Faults, Operation};
use super::promise::{Promise, Wait, promise};
use super::rng::Rng;
use crate::{DirEntry, Open, Space};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tree::{Ino, Tree};

/// Files are held in memory in one piece: a larger one is a mistake in the test.
const LARGEST_FILE: u64 = 4 << 30;

const EBADF: i32 = 9;
const EMFILE: i32 = 24;

/// An open file of a simulated disk. While a clone lives, the file's bytes do too.
#[derive(Clone, Debug)]
pub struct SimFile(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    /// Which life of which host opened it.
    disk: (usize, u64),
    ino: Ino,
    path: PathBuf,
    writable: bool,
    _lease: Arc<()>,
    _counted: Arc<()>,
}

impl SimFile {
    /// The path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// An exclusive lock on a simulated disk, held until dropped or until the host crashes.
#[derive(Debug)]
pub struct SimLock {
    _held: Arc<()>,
}

struct InFlight {
    op: Op,
    /// What a sync covers: changes up to this one. Others cover nothing.
    point: u64,
    promise: Promise<Result<Answer>>,
}

/// The disk of one host.
pub(super) struct Disk {
    pub(super) faults: Faults,
    host: usize,
    /// Counts crashes: handles from an earlier life are refused.
    life: u64,
    rng: Rng,
    tree: Tree,
    in_flight: BTreeMap<u64, InFlight>,
    submitted: u64,
    locks: BTreeMap<Ino, Weak<()>>,
    /// Open handles hold clones.
    open_files: Arc<()>,
    pub(super) frozen_until: u64,
}

impl Disk {
    pub(super) fn new(seed: u64, host: usize) -> Self {
        Self {
            faults: Faults::default(),
            host,
            life: 0,
            rng: Rng::part(seed, "disk", host as u64),
            tree: Tree::new(),
            in_flight: BTreeMap::new(),
            submitted: 0,
            locks: BTreeMap::new(),
            open_files: Arc::new(()),
            frozen_until: 0,
        }
    }

    /// Takes an operation in: its number, how long it takes, and the wait for its answer.
    pub(super) fn submit(&mut self, op: Op) -> (u64, u64, Wait<Result<Answer>>) {
        let point = match &op {
            Op::Sync { file } => {
                self.tree.file(file.0.ino).map(|file| file.content.sync_point()).unwrap_or(0)
            }
            Op::SyncDir { path } => {
                self.tree.find(path).and_then(|ino| self.tree.sync_point(ino)).unwrap_or(0)
            }
            _ => 0,
        };
        let latency = self.faults.latency(op.operation(), &mut self.rng);
        let (promise, wait) = promise();
        self.submitted += 1;
        self.in_flight.insert(self.submitted, InFlight { op, point, promise });
        (self.submitted, latency, wait)
    }

    /// How long an operation takes that is not submitted here.
    pub(super) fn delay(&mut self, operation: Operation) -> u64 {
        self.faults.latency(operation, &mut self.rng)
    }

    /// What the operation looks like in the trace; `None` if it is in flight no more.
    pub(super) fn fingerprint(&self, number: u64) -> Option<u64> {
        self.in_flight.get(&number).map(|in_flight| in_flight.op.fingerprint())
    }

    /// Completes an operation.
    pub(super) fn complete(&mut self, number: u64) {
        let Some(InFlight { op, point, promise }) = self.in_flight.remove(&number) else { return };
        promise.keep(self.execute(&op, point));
    }

    fn execute(&mut self, op: &Op, point: u64) -> Result<Answer> {
        if let Some(file) = op.file() {
            self.check_handle(
                file,
                matches!(op, Op::Write { .. } | Op::Allocate { .. } | Op::Truncate { .. }),
            )?;
        }
        if let Some(error) = self.faults.strike(op.operation(), op.path(), &mut self.rng) {
            self.fail(op, point);
            return Err(error);
        }
        self.perform(op, point)
    }

    fn check_handle(&self, file: &SimFile, writes: bool) -> Result<()> {
        if file.0.disk != (self.host, self.life) || (writes && !file.0.writable) {
            return Err(Error::from_raw_os_error(EBADF));
        }
        Ok(())
    }

    /// What a failing operation does all the same.
    fn fail(&mut self, op: &Op, point: u64) {
        match op {
            // It fails already: nobody hears of it if it fails in two ways.
            Op::Write { file, offset, bufs } => drop(self.write_partly(file, *offset, bufs)),
            Op::Sync { file } => {
                if let Ok(node) = self.tree.file_mut(file.0.ino) {
                    node.content.sync_failed(point, &mut self.rng);
                }
            }
            _ => {}
        }
    }

    fn perform(&mut self, op: &Op, point: u64) -> Result<Answer> {
        match op {
            Op::Open { path, how } => return self.open(path, *how).map(Answer::File),
            Op::Lock { path } => return self.lock(path).map(Answer::Lock),
            Op::Space { path } => {
                self.tree.find(path)?;
                let usable = self.tree.spare(self.faults.capacity).saturating_mul(space::BLOCK);
                return Ok(Answer::Space(Space { total: self.faults.capacity.unwrap_or(u64::MAX), usable }));
            }
            Op::Len { file } => return Ok(Answer::Len(self.tree.file(file.0.ino)?.content.len())),
            Op::Read { file, offset, len } => {
                return Ok(Answer::Data(self.tree.file(file.0.ino)?.content.read(*offset, *len)));
            }
            Op::ReadDir { path } => {
                let names = self.tree.list(path)?;
                let entries = names.into_iter().map(|(name, is_dir)| DirEntry { name, is_dir }).collect();
                return Ok(Answer::Entries(entries));
            }
            Op::Write { file, offset, bufs } => self.write(file, *offset, bufs)?,
            Op::Sync { file } => {
                let node = self.tree.file_mut(file.0.ino)?;
                node.content.synced(point);
                node.reserved = false;
            }
            Op::Allocate { file, offset, len } => self.allocate(file, *offset, *len)?,
            Op::Truncate { file, len } => {
                check_size(0, *len)?;
                self.tree.file_mut(file.0.ino)?.content.truncate(*len);
                self.tree.cut(file.0.ino, *len)?;
            }
            Op::CreateDirAll { path } => self.tree.create_dir_all(path)?,
            Op::SyncDir { path } => {
                let ino = self.tree.find(path)?;
                self.tree.synced(ino, point)?;
            }
            Op::Rename { from, to } => self.tree.rename(from, to)?,
            Op::RemoveFile { path } => self.tree.remove_file(path)?,
            Op::RemoveDirAll { path } => self.tree.remove_dir_all(path, usize::MAX)?,
        }
        Ok(Answer::Done)
    }

    fn open(&mut self, path: &Path, how: Open) -> Result<SimFile> {
        let limit = self.faults.open_files.unwrap_or(usize::MAX);
        if Arc::strong_count(&self.open_files) > limit {
            return Err(Error::from_raw_os_error(EMFILE));
        }
        let create = matches!(how, Open::Create | Open::CreateNew);
        if how == Open::CreateNew && self.tree.find(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (ino, _) = self.tree.open(path, create, self.faults.sector)?;
        Ok(SimFile(Arc::new(Handle {
            disk: (self.host, self.life),
            ino,
            path: path.to_owned(),
            writable: how != Open::Read,
            _lease: self.tree.file(ino)?.lease.clone(),
            _counted: self.open_files.clone(),
        })))
    }

    fn lock(&mut self, path: &Path) -> Result<SimLock> {
        let (ino, _) = self.tree.open(path, true, self.faults.sector)?;
        if self.locks.get(&ino).is_some_and(|held| held.strong_count() > 0) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let held = Arc::new(());
        self.locks.insert(ino, Arc::downgrade(&held));
        Ok(SimLock { _held: held })
    }

    fn write(&mut self, file: &SimFile, offset: u64, bufs: &[Bytes]) -> Result<()> {
        let len = total(bufs);
        check_size(offset, len)?;
        let fits = self.write_first(file, offset, bufs, len)?;
        if fits < len { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// A write that did not get to its end: what is there ends at a sector's boundary, or nothing is.
    fn write_partly(&mut self, file: &SimFile, offset: u64, bufs: &[Bytes]) -> Result<()> {
        let len = total(bufs);
        check_size(offset, len)?;
        let sector = self.tree.file(file.0.ino)?.content.sector();
        let reached = (offset + self.rng.within(0..=len)) / sector * sector;
        self.write_first(file, offset, bufs, reached.saturating_sub(offset)).map(drop)
    }

    /// Writes the first `take` bytes, or as many of them as the disk has space for: how many.
    fn write_first(&mut self, file: &SimFile, offset: u64, bufs: &[Bytes], take: u64) -> Result<u64> {
        let ino = file.0.ino;
        let spare = self.tree.spare(self.faults.capacity);
        let fits = self.tree.file(ino)?.blocks.writable(offset, take, spare);
        self.tree.hold(ino, offset, fits)?;
        self.tree.file_mut(ino)?.content.write(offset, bufs, fits);
        Ok(fits)
    }

    fn allocate(&mut self, file: &SimFile, offset: u64, len: u64) -> Result<()> {
        check_size(offset, len)?;
        let spare = self.tree.spare(self.faults.capacity);
        if self.tree.file(file.0.ino)?.blocks.missing(offset, len) > spare {
            return Err(ErrorKind::StorageFull.into());
        }
        self.tree.hold(file.0.ino, offset, len)?;
        self.tree.file_mut(file.0.ino)?.reserved = true;
        Ok(())
    }

    /// What a sender sees of a file right now: bytes that are in the page cache. Faults apply.
    pub(super) fn read_now(&mut self, file: &SimFile, offset: u64, len: u64) -> Result<Bytes> {
        self.check_handle(file, false)?;
        if let Some(error) = self.faults.strike(Operation::Read, file.path(), &mut self.rng) {
            return Err(error);
        }
        Ok(self.tree.file(file.0.ino)?.content.read(offset, len))
    }

    /// Ends this life of the host. What is in flight may have happened, in part or not at all; then the page cache is
    /// lost, or stays.
    pub(super) fn crash(&mut self, power_cut: bool) {
        for (_, InFlight { op, point, promise }) in std::mem::take(&mut self.in_flight) {
            if self.rng.chance(0.5) {
                self.happen_in_part(&op, point);
            }
            promise.keep(Err(crashed()));
        }
        self.life += 1;
        self.locks.clear();
        self.open_files = Arc::new(());
        self.frozen_until = 0;
        if power_cut {
            self.tree.power_cut(&mut self.rng, self.faults.garbage);
        } else {
            self.tree.killed(&mut self.rng);
        }
    }

    fn happen_in_part(&mut self, op: &Op, point: u64) {
        match op {
            Op::Write { file, offset, bufs } if self.rng.chance(0.5) => {
                let _ = self.write_partly(file, *offset, bufs);
            }
            Op::RemoveDirAll { path } => {
                let reached = self.rng.index(self.tree.size_of(path) + 1);
                let _ = self.tree.remove_dir_all(path, reached);
            }
            // Nobody is left to hear how it went.
            _ => drop(self.perform(op, point)),
        }
    }

    /// What reads of the file at `path` see.
    pub(super) fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.tree.find(path).and_then(|ino| self.tree.file(ino)).ok()?;
        Some(file.content.bytes().to_vec())
    }

    /// Inverts one bit at rest. `None` if there is no such file or byte.
    pub(super) fn flip_bit(&mut self, path: &Path, offset: Option<u64>) -> Option<u64> {
        let ino = self.tree.find(path).ok()?;
        let content = &mut self.tree.file_mut(ino).ok()?.content;
        let offset = match offset {
            Some(offset) => offset,
            None if content.len() == 0 => return None,
            None => self.rng.below(content.len()),
        };
        content.flip(offset, 1 << self.rng.below(8)).then_some(offset)
    }
}

/// What an operation hears whose host is gone.
pub(super) fn crashed() -> Error {
    Error::other("the simulated host has crashed")
}

fn total(bufs: &[Bytes]) -> u64 {
    bufs.iter().map(|buf| buf.len() as u64).sum()
}

fn check_size(offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= LARGEST_FILE => Ok(()),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}
