//! Files and directories. What the ring can do without holding the core goes through the ring; the rest is done by the
//! core's helper thread.

use super::core::Core;
use super::gather::Gather;
use super::ring::Keep;
use crate::{DirEntry, Open, Space};
use bytes::{Bytes, BytesMut};
use nix::fcntl::{Flock, FlockArg};
use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// An open file, shared.
#[derive(Clone, Debug)]
pub struct File(Arc<OwnedFd>);

impl File {
    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The file's length.
    pub(super) fn len(&self) -> Result<u64> {
        // Inline: the inode of an open file is in memory.
        Ok(nix::sys::stat::fstat(&self.0)?.st_size as u64)
    }
}

/// An exclusive lock on a path.
#[derive(Debug)]
pub struct Lock {
    _flock: Flock<std::fs::File>,
}

/// Closes a descriptor that nobody took.
pub(super) fn close_raw(fd: i32) {
    // SAFETY: the kernel gave this descriptor as the result of an operation whose future is gone: nobody has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// Opens a file.
pub(super) async fn open(core: &Rc<Core>, path: &Path, how: Open) -> Result<File> {
    let flags = match how {
        Open::Read => libc::O_RDONLY,
        Open::Write => libc::O_RDWR,
        Open::Create => libc::O_RDWR | libc::O_CREAT,
        Open::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        Open::Through => match open_with(core, path, libc::O_RDWR | libc::O_DIRECT).await {
            // Not every file system can; there the page cache is written through.
            Err(e) if e.kind() == ErrorKind::InvalidInput => libc::O_RDWR,
            opened => return opened,
        },
    };
    open_with(core, path, flags).await
}

async fn open_with(core: &Rc<Core>, path: &Path, flags: i32) -> Result<File> {
    let path = c_path(path)?;
    loop {
        match core.open_at(path.clone(), flags).await.0 {
            // SAFETY: the result of a successful open is a new descriptor that nobody else has.
            Ok(fd) => return Ok(File(Arc::new(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads up to `len` bytes; fewer only where the file ends.
pub(super) async fn read_at(core: &Rc<Core>, file: &File, offset: u64, len: usize) -> Result<Bytes> {
    // Memory for what is there, not for what was asked.
    let there = file.len()?.saturating_sub(offset);
    let len = usize::try_from(there).unwrap_or(usize::MAX).min(len);
    let buffer = BytesMut::with_capacity(len);
    Ok(read_up_to(core, file, offset, buffer, len).await?.freeze())
}

/// Reads up to here are tried on the core first: copying so much costs less than asking the ring.
const READ_INLINE: usize = 16 << 10;

/// Appends what of the range is in the page cache: how much that is. Neither waits nor fails; the ring says why there is no more.
fn read_now(file: &File, offset: u64, into: &mut BytesMut, len: usize) -> usize {
    let spare = into.spare_capacity_mut();
    let piece = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len().min(len) };
    let Ok(at) = i64::try_from(offset) else { return 0 };
    // SAFETY: the piece is spare memory of `into`, which nobody else has before the call returns.
    let read = unsafe { libc::preadv2(file.raw(), &raw const piece, 1, at, libc::RWF_NOWAIT) };
    let read = usize::try_from(read).unwrap_or(0);
    // SAFETY: the kernel has written `read` bytes right behind the old length, inside the capacity.
    unsafe { into.set_len(into.len() + read) };
    read
}

/// Appends up to `len` bytes at `offset` of the file to `into`, which has room for them.
pub(super) async fn read_up_to(
    core: &Rc<Core>,
    file: &File,
    offset: u64,
    mut into: BytesMut,
    len: usize,
) -> Result<BytesMut> {
    let mut read = if len <= READ_INLINE { read_now(file, offset, &mut into, len) } else { 0 };
    while read < len {
        let (result, keep) = core.read(file, offset + read as u64, into, len - read).await;
        let Keep::Buffer(buffer) = keep else { unreachable!("a read keeps its buffer") };
        into = buffer;
        match result {
            Ok(0) => break,
            Ok(n) => {
                // SAFETY: the kernel has written `n` bytes right behind the old length, inside the capacity.
                unsafe { into.set_len(into.len() + n as usize) };
                read += n as usize;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(into)
}

/// Writes all of `bufs` from `offset` on.
pub(super) async fn write_at(core: &Rc<Core>, file: &File, mut offset: u64, bufs: Vec<Bytes>) -> Result<()> {
    let mut gather = Gather::new();
    gather.fill(bufs);
    offset += write_inline(core, file, offset, &mut gather)?;
    while !gather.is_done() {
        let (result, keep) = core.write(file, offset, gather).await;
        let Keep::Gather(kept) = keep else { unreachable!("a write keeps its buffers") };
        gather = kept;
        match result {
            Ok(0) => return Err(Error::new(ErrorKind::WriteZero, "the file takes no more bytes")),
            Ok(n) => {
                gather.advance(n as usize);
                offset += u64::from(n);
                core.counters.add(|c| c.written_bytes += u64::from(n));
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    core.counters.add(|c| c.writes += 1);
    Ok(())
}

/// Writes what may be written on the core: how much that is. The rest is the ring's.
fn write_inline(core: &Core, file: &File, offset: u64, gather: &mut Gather) -> Result<u64> {
    let mut written = 0;
    let mut now = Instant::now();
    while !gather.is_done() && core.pace.allows(gather.len(), now) {
        let (pieces, count) = gather.pieces();
        let at = i64::try_from(offset + written)
            .map_err(|_| Error::new(ErrorKind::InvalidInput, "a file cannot be that long"))?;
        // SAFETY: the pieces and what they point to live in `gather`, which nobody changes before the call returns.
        let result = unsafe { libc::pwritev(file.raw(), pieces, count as i32, at) };
        let after = Instant::now();
        core.pace.took(now, after);
        now = after;
        match usize::try_from(result) {
            // The ring says why.
            Ok(0) => break,
            Ok(n) => {
                gather.advance(n);
                written += n as u64;
            }
            Err(_) => match Error::last_os_error() {
                e if e.kind() == ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
    core.counters.add(|c| c.written_bytes += written);
    Ok(written)
}

/// Makes completed writes durable.
pub(super) async fn sync(core: &Rc<Core>, file: &File) -> Result<()> {
    core.fsync(file, false).await.0?;
    core.counters.add(|c| c.syncs += 1);
    Ok(())
}

/// Reserves space for a range.
pub(super) async fn allocate(core: &Rc<Core>, file: &File, offset: u64, len: u64) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    loop {
        match core.fallocate(file, offset, len).await.0 {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

/// Cuts a file.
pub(super) async fn truncate(core: &Core, file: &File, len: u64) -> Result<()> {
    let file = file.clone();
    let len =
        i64::try_from(len).map_err(|_| Error::new(ErrorKind::InvalidInput, "a file cannot be that long"))?;
    core.helper.run(move || Ok(nix::unistd::ftruncate(&file.0, len)?)).await
}

/// Creates a directory and its parents.
pub(super) async fn create_dir_all(core: &Core, path: &Path) -> Result<()> {
    on_path(core, path, |path| std::fs::create_dir_all(path)).await
}

/// Removes a directory with all it holds.
pub(super) async fn remove_dir_all(core: &Core, path: &Path) -> Result<()> {
    on_path(core, path, |path| std::fs::remove_dir_all(path)).await
}

/// The volume that `path` is on.
pub(super) async fn space(core: &Core, path: &Path) -> Result<Space> {
    on_path(core, path, |path| {
        let volume = nix::sys::statvfs::statvfs(path)?;
        let block = volume.fragment_size() as u64;
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        Ok(Space { total: bytes(volume.blocks() as u64), usable: bytes(volume.blocks_available() as u64) })
    })
    .await
}

/// The names in a directory, sorted.
pub(super) async fn read_dir(core: &Core, path: &Path) -> Result<Vec<DirEntry>> {
    on_path(core, path, |path| {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

/// Makes the names in a directory durable.
pub(super) async fn sync_dir(core: &Rc<Core>, path: &Path) -> Result<()> {
    let dir = open_with(core, path, libc::O_RDONLY | libc::O_DIRECTORY).await?;
    core.fsync(&dir, true).await.0?;
    core.counters.add(|c| c.syncs += 1);
    Ok(())
}

/// Renames a path.
pub(super) async fn rename(core: &Rc<Core>, from: &Path, to: &Path) -> Result<()> {
    core.rename_at(c_path(from)?, c_path(to)?).await.0.map(drop)
}

/// Removes a file's name.
pub(super) async fn remove_file(core: &Rc<Core>, path: &Path) -> Result<()> {
    core.unlink_at(c_path(path)?).await.0.map(drop)
}

/// Takes the lock, or says `WouldBlock`.
pub(super) async fn lock(core: &Core, path: &Path) -> Result<Lock> {
    on_path(core, path, Lock::take).await
}

impl Lock {
    /// Takes the lock, for whoever has no core: a command on the files of a broker that should not run.
    ///
    /// # Errors
    /// `WouldBlock` when somebody has it, and whatever the disk says.
    pub fn take(path: &Path) -> Result<Lock> {
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // A lock belongs to this open of the file, so it excludes a second one in this process as well.
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(flock) => Ok(Lock { _flock: flock }),
            Err((_, nix::Error::EWOULDBLOCK)) => {
                let message = format!("{} is locked by somebody else", path.display());
                Err(Error::new(ErrorKind::WouldBlock, message))
            }
            Err((_, error)) => Err(error.into()),
        }
    }
}

async fn on_path<T: Send + 'static>(
    core: &Core,
    path: &Path,
    f: impl FnOnce(&Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let path: PathBuf = path.to_owned();
    core.helper.run(move || f(&path)).await
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "a path cannot hold a zero byte"))
}
