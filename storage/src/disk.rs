//! Small files, whole: read with a cap, and replaced so that a crash leaves either the old content or the new.

use bytes::Bytes;
use millrace_io::{Io, Open};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// No checkpoint or snapshot is larger (100,000 partitions are 10 MiB): a larger file is damage, not data.
pub(crate) const MAX_SMALL_FILE: u64 = 256 << 20;

/// Suffix of a file that is being written; a crash may leave one behind, which means nothing.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Whether an error says that there is no room, for anybody or for this user.
pub(crate) fn is_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The file's content, or `None` if there is no such file.
/// # Errors
/// `InvalidData` for a file of more than 256 MiB, and whatever the disk says.
pub async fn read_file<I: Io>(io: &I, path: &Path) -> Result<Option<Bytes>> {
    let file = match io.open(path, Open::Read).await {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = io.len(&file).await?;
    if len > MAX_SMALL_FILE {
        let why = format!("{} has {len} bytes, at most {MAX_SMALL_FILE} make sense", path.display());
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    io.read_at(&file, 0, len as usize).await.map(Some)
}

/// Replaces `dir/name` by `content`, durably.
/// # Errors
/// Whatever the disk says. The old content or the new is there then, whole.
pub async fn write_file<I: Io>(io: &I, dir: &Path, name: &str, content: Bytes) -> Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let file = io.open(&temporary, Open::Create).await?;
    io.truncate(&file, 0).await?;
    if !content.is_empty() {
        io.write_at(&file, 0, vec![content]).await?;
    }
    io.sync(&file).await?;
    io.rename(&temporary, &dir.join(name)).await?;
    io.sync_dir(dir).await
}

/// Removes a file; fine if it is not there.
pub(crate) async fn remove_file<I: Io>(io: &I, path: &Path) -> Result<()> {
    match io.remove_file(path).await {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The directory a path lies in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Creates a directory and its parents, and makes their names survive a power cut.
pub(crate) async fn create_dir<I: Io>(io: &I, path: &Path) -> Result<()> {
    io.create_dir_all(path).await?;
    io.sync_dir(&parent(path)).await?;
    // Directories further up may be others' and unreadable; then they were there before.
    for above in path.ancestors().skip(2).filter(|above| !above.as_os_str().is_empty()) {
        let _ = io.sync_dir(above).await;
    }
    Ok(())
}
