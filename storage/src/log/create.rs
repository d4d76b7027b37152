//! The birth of a log: directory, topic id, first segment, each durable before the next depends on it.

use super::names;
use super::reserve::create_files;
use super::segment::{Active, Segment};
use super::signal::{Gate, Lock, Signal};
use super::state::{Inner, State};
use super::types::{CreateError, LogConfig, LogEvent};
use crate::disk;
use millrace_io::Io;
use millrace_proto::files::{PARTITION_METADATA, PartitionMetadata};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use uuid::Uuid;

pub(super) async fn create<I: Io>(
    io: I,
    dir: &Path,
    topic_id: Uuid,
    config: LogConfig,
    on_event: Rc<dyn Fn(LogEvent)>,
) -> Result<Rc<Inner<I>>, CreateError> {
    let failed = |source| CreateError::Io { dir: dir.to_path_buf(), source };
    io.create_dir_all(dir).await.map_err(failed)?;
    let names = io.read_dir(dir).await.map_err(failed)?;
    if names.iter().any(|entry| names::base_of(&entry.name, names::LOG).is_some()) {
        return Err(CreateError::Exists(dir.to_path_buf()));
    }
    let segment = lay_down(&io, dir, topic_id).await.map_err(failed)?;
    let active = Active::new(0, jitter(&io, config.segment_jitter_ms));
    Ok(assemble(io, dir, topic_id, on_event, State::new(config, vec![segment], active, 0)))
}

/// The topic id is durable before the first segment is there, so a segment never lacks one.
async fn lay_down<I: Io>(io: &I, dir: &Path, topic_id: Uuid) -> std::io::Result<Segment<I::File>> {
    io.sync_dir(&disk::parent(dir)).await?;
    let metadata = PartitionMetadata { topic_id }.encode();
    disk::write_file(io, dir, PARTITION_METADATA, metadata.into()).await?;
    let segment = create_files(io, dir, 0).await?;
    io.sync_dir(dir).await?;
    Ok(segment)
}

/// Puts a log together from its parts.
pub(super) fn assemble<I: Io>(
    io: I,
    dir: &Path,
    topic_id: Uuid,
    on_event: Rc<dyn Fn(LogEvent)>,
    state: State<I::File>,
) -> Rc<Inner<I>> {
    Rc::new(Inner {
        io,
        dir: RefCell::new(dir.to_path_buf()),
        topic_id,
        on_event,
        journal: RefCell::default(),
        state: RefCell::new(state),
        changed: Signal::default(),
        names: Lock::default(),
        compacting: Lock::default(),
        readers: Gate::default(),
    })
}

/// A share of `segment.jitter.ms`, drawn for one segment.
pub(super) fn jitter<I: Io>(io: &I, most: i64) -> i64 {
    u64::try_from(most).ok().filter(|most| *most > 0).map_or(0, |most| (io.random() % most) as i64)
}
