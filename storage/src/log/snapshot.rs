//! Producer snapshots: Kafka's file with the last batch of each producer, and ours beside it with up to five.

use super::names;
use super::state::Inner;
use super::types::{MaintainError, ProducerSnapshot};
use crate::disk;
use bytes::Bytes;
use millrace_io::Io;
use millrace_proto::files::{parse_producer_snapshot, parse_recent_batches};
use std::path::Path;

/// As many as Kafka keeps: the newest, and one in case it is damaged.
const KEEP: usize = 2;

impl<I: Io> Inner<I> {
    pub(super) async fn write_producer_snapshot(
        &self,
        offset: i64,
        bytes: Bytes,
        companion: Bytes,
    ) -> Result<(), MaintainError> {
        self.online()?;
        let dir = self.dir.borrow().clone();
        // The companion first: a snapshot that is there always has its companion.
        for (suffix, content) in [(names::COMPANION, companion), (names::SNAPSHOT, bytes)] {
            let name = names::file(offset, suffix);
            let written = disk::write_file(&self.io, &dir, &name, content).await;
            written.map_err(|e| MaintainError::Io { file: dir.join(&name), reason: e.to_string() })?;
        }
        let outdated = {
            let snapshots = &mut self.state.borrow_mut().snapshots;
            if let Err(at) = snapshots.binary_search(&offset) {
                snapshots.insert(at, offset);
            }
            let excess = snapshots.len().saturating_sub(KEEP);
            snapshots.drain(..excess).collect::<Vec<i64>>()
        };
        for offset in outdated {
            // What stays behind is only outdated, not wrong.
            let _ = remove(&self.io, &dir, offset).await;
        }
        Ok(())
    }
}

/// Removes one snapshot and its companion.
pub(super) async fn remove<I: Io>(io: &I, dir: &Path, offset: i64) -> std::io::Result<()> {
    for suffix in [names::SNAPSHOT, names::COMPANION] {
        disk::remove_file(io, &dir.join(names::file(offset, suffix))).await?;
    }
    Ok(())
}

/// The newest of the snapshots at `offsets` (ascending) that can be read. One without a usable companion still counts:
/// Kafka writes none.
pub(super) async fn load_newest<I: Io>(
    io: &I,
    dir: &Path,
    offsets: &[i64],
) -> std::io::Result<Option<ProducerSnapshot>> {
    for &offset in offsets.iter().rev() {
        let file = dir.join(names::file(offset, names::SNAPSHOT));
        let Some(bytes) = disk::read_file(io, &file).await? else { continue };
        if let Err(e) = parse_producer_snapshot(&bytes) {
            tracing::warn!(file = %file.display(), reason = %e, "producer snapshot is unusable; an older one is tried");
            continue;
        }
        let companion = disk::read_file(io, &dir.join(names::file(offset, names::COMPANION))).await?;
        let companion = companion.filter(|bytes| parse_recent_batches(bytes).is_ok());
        return Ok(Some(ProducerSnapshot { offset, bytes, companion }));
    }
    Ok(None)
}
