//! Cutting a log above its checkpoint, without throwing anything away.
//!
//! What does not check out, and whatever lies behind it, is put aside under `<segment>.log.cut-<offset>` before
//! anything is cut. Zeros hold nothing and are not kept.

use super::names;
use super::segment;
use crate::disk;
use bytes::Bytes;
use millrace_io::{Io, Open};
use std::io::Result;
use std::path::{Path, PathBuf};

/// Bytes copied at once.
const COPY: u64 = 1 << 20;

/// Copies `file`'s bytes from `from` up to the last one that is not zero into a file beside the segment. `None` if
/// there are none.
pub(super) async fn keep_tail<I: Io>(
    io: &I,
    dir: &Path,
    (base, file, len): (i64, &I::File, u64),
    from: u64,
    offset: i64,
) -> Result<Option<PathBuf>> {
    let end = end_of_content(io, file, from, len).await?;
    if end == from {
        return Ok(None);
    }
    let path = free_name(io, dir, base, offset).await?;
    let copy = io.open(&path, Open::CreateNew).await?;
    let mut at = from;
    while at < end {
        let bytes = io.read_at(file, at, COPY.min(end - at) as usize).await?;
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len() as u64;
        io.write_at(&copy, at - from, vec![bytes]).await?;
        at += len;
    }
    io.sync(&copy).await?;
    io.sync_dir(dir).await?;
    Ok(Some(path))
}

/// Puts a whole segment aside; its indexes are removed. An empty one is just removed.
pub(super) async fn keep_segment<I: Io>(
    io: &I,
    dir: &Path,
    base: i64,
    offset: i64,
) -> Result<Option<(PathBuf, u64)>> {
    for suffix in [names::INDEX, names::TIME_INDEX] {
        disk::remove_file(io, &segment::path(dir, base, suffix)).await?;
    }
    let path = segment::path(dir, base, names::LOG);
    let file = io.open(&path, Open::Read).await?;
    let len = io.len(&file).await?;
    if end_of_content(io, &file, 0, len).await? == 0 {
        disk::remove_file(io, &path).await?;
        return Ok(None);
    }
    let kept = free_name(io, dir, base, offset).await?;
    io.rename(&path, &kept).await?;
    Ok(Some((kept, len)))
}

/// Behind the last byte in `from..len` that is not zero.
async fn end_of_content<I: Io>(io: &I, file: &I::File, from: u64, len: u64) -> Result<u64> {
    let (mut at, mut end) = (from, from);
    while at < len {
        let bytes: Bytes = io.read_at(file, at, COPY.min(len - at) as usize).await?;
        if bytes.is_empty() {
            break;
        }
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    }
    Ok(end)
}

/// A name under which nothing was kept before.
async fn free_name<I: Io>(io: &I, dir: &Path, base: i64, offset: i64) -> Result<PathBuf> {
    let taken = io.read_dir(dir).await?;
    let first = format!("{}.cut-{offset}", names::file(base, names::LOG));
    let mut name = first.clone();
    let mut attempt = 1;
    while taken.iter().any(|entry| entry.name == name) {
        name = format!("{first}-{attempt}");
        attempt += 1;
    }
    Ok(dir.join(name))
}
