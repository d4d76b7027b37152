//! What the disk is asked to do, and what it answers.

use super::super::faults::Operation;
use super::{SimFile, SimLock};
use crate::{DirEntry, Open, Space};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// One operation.
pub(in crate::simulated) enum Op {
    Open { path: PathBuf, how: Open },
    Len { file: SimFile },
    Read { file: SimFile, offset: u64, len: u64 },
    Write { file: SimFile, offset: u64, bufs: Vec<Bytes> },
    Sync { file: SimFile },
    Allocate { file: SimFile, offset: u64, len: u64 },
    Truncate { file: SimFile, len: u64 },
    CreateDirAll { path: PathBuf },
    ReadDir { path: PathBuf },
    SyncDir { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    RemoveFile { path: PathBuf },
    RemoveDirAll { path: PathBuf },
    Space { path: PathBuf },
    Lock { path: PathBuf },
}

/// What a successful operation gives back.
pub(in crate::simulated) enum Answer {
    Done,
    File(SimFile),
    Lock(SimLock),
    Space(Space),
    Len(u64),
    Data(Bytes),
    Entries(Vec<DirEntry>),
}

impl Op {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Op::Open { .. } | Op::Lock { .. } => Operation::Open,
            Op::Read { .. } => Operation::Read,
            Op::Write { .. } => Operation::Write,
            Op::Sync { .. } => Operation::Sync,
            Op::Allocate { .. } => Operation::Allocate,
            Op::Truncate { .. } => Operation::Truncate,
            Op::SyncDir { .. } => Operation::SyncDir,
            Op::Len { .. }
            | Op::Space { .. }
            | Op::CreateDirAll { .. }
            | Op::ReadDir { .. }
            | Op::Rename { .. }
            | Op::RemoveFile { .. }
            | Op::RemoveDirAll { .. } => Operation::Names,
        }
    }

    /// The path that faults are aimed at.
    pub(super) fn path(&self) -> &Path {
        match self {
            Op::Len { file }
            | Op::Read { file, .. }
            | Op::Write { file, .. }
            | Op::Sync { file }
            | Op::Allocate { file, .. }
            | Op::Truncate { file, .. } => file.path(),
            Op::Open { path, .. }
            | Op::CreateDirAll { path }
            | Op::ReadDir { path }
            | Op::SyncDir { path }
            | Op::Rename { from: path, .. }
            | Op::RemoveFile { path }
            | Op::RemoveDirAll { path }
            | Op::Space { path }
            | Op::Lock { path } => path,
        }
    }

    pub(super) fn file(&self) -> Option<&SimFile> {
        match self {
            Op::Len { file }
            | Op::Read { file, .. }
            | Op::Write { file, .. }
            | Op::Sync { file }
            | Op::Allocate { file, .. }
            | Op::Truncate { file, .. } => Some(file),
            _ => None,
        }
    }

    /// A number for the trace that tells operations of different kinds and sizes apart.
    pub(super) fn fingerprint(&self) -> u64 {
        let size = match self {
            Op::Read { offset, len, .. } | Op::Allocate { offset, len, .. } => offset ^ len.rotate_left(20),
            Op::Write { offset, bufs, .. } => {
                offset ^ bufs.iter().map(|buf| buf.len() as u64).sum::<u64>().rotate_left(20)
            }
            Op::Truncate { len, .. } => *len,
            _ => self.path().as_os_str().len() as u64,
        };
        size ^ ((self.operation() as u64) << 56)
    }
}
