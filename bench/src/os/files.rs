//! Files: what the page cache holds of them, what is on disk, and how much room there is.

use crate::error::{Doing, Result};
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{fdatasync, syncfs};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Writes back what is dirty of a whole file system, so that a run does not pay for the one before it.
pub fn sync_file_system(of: &Path) -> Result<()> {
    let folder = File::open(of).doing(of.display())?;
    syncfs(&folder).doing(format_args!("syncing the file system of {}", of.display()))
}

/// Makes a file's data durable.
pub fn sync_data(file: &File) -> Result<()> {
    fdatasync(file).doing("fdatasync")
}

/// Pages of so many bytes are dropped at once, and then others have the core for a moment: who is measured meanwhile should not wait for
/// this.
const DROPPED: u64 = 4 << 20;
const MOMENT: Duration = Duration::from_micros(500);

/// Removes from the page cache what it holds of every file below a folder whose name ends like this.
pub fn evict(folder: &Path, ending: &str) -> Result<()> {
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.is_dir() {
            evict(&path, ending)?;
        } else if path.to_string_lossy().ends_with(ending) {
            // A dirty page cannot be dropped.
            let file = File::open(&path).doing(path.display())?;
            fdatasync(&file).doing(path.display())?;
            let size = file.metadata().doing(path.display())?.len();
            for at in (0..size).step_by(DROPPED as usize) {
                let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
                posix_fadvise(&file, at as i64, DROPPED as i64, advice).doing(path.display())?;
                thread::sleep(MOMENT);
            }
        }
    }
    Ok(())
}

/// Sends a part of a file; returns how many bytes it was.
pub fn send(to: &TcpStream, file: &File, from: u64, bytes: usize) -> Result<usize> {
    let mut offset = i64::try_from(from).unwrap_or(i64::MAX);
    sendfile(to, file, Some(&mut offset), bytes).doing("sendfile")
}

/// Bytes that are free on a folder's file system.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let found = statfs(folder).doing(folder.display())?;
    Ok(found.blocks_available().saturating_mul(u64::try_from(found.block_size()).unwrap_or(0)))
}

/// Whether a folder is in memory, where nothing is ever durable.
pub fn in_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

/// A file that is memory and nothing else, and gone when it is closed.
pub fn memory(name: &str) -> Result<File> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC).doing("memfd_create")?.into())
}

/// Gives the pages of a part of a file back.
pub fn give_back(file: &File, from: u64, bytes: u64) -> Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    fallocate(file, flags, signed(from), signed(bytes)).doing("giving memory back")
}
