//! The metadata at the start: the image that lies beside its log, if that is one of this log, and then what the log has
//! beyond it.

use crate::shard::metadata::{METADATA_TOPIC, MetadataStartError};
use crate::shard::metadata_image::{self, METADATA_IMAGE, Position};
use crate::shard::metadata_log;
use millrace_io::Io;
use millrace_logic::meta::{Delta, Image, MetadataRecord, PartitionRecord};
use millrace_logic::offset::{LogEnd, Offset};
use millrace_storage::{
    DataDir, DataDirs, Log, LogConfig, LogDirectory, OpenError, RecoveryPoint, put_aside,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use uuid::Uuid;

/// The metadata, as a start finds it.
pub(super) struct Opened<I: Io> {
    /// Its log.
    pub(super) log: Log<I>,
    /// The end of the image file that was of use; 0 when none was.
    pub(super) covered: i64,
    /// The log's end; `None` while it is empty.
    pub(super) position: Option<Position>,
    /// The metadata at the log's end.
    pub(super) image: Image,
}

/// Opens the metadata log, or makes it, and reads the metadata.
pub(super) async fn open_log<I: Io>(io: &I, data_dir: &DataDir<I>) -> Result<Opened<I>, MetadataStartError> {
    let dir: PathBuf = data_dir.log_path(METADATA_TOPIC, 0);
    let point = data_dir
        .logs()
        .iter()
        .find(|l| l.topic == METADATA_TOPIC)
        .map_or_else(Default::default, |l| l.recovery);
    let on_event = Rc::new(|event| {
        if let millrace_storage::LogEvent::Failed(failure) = event {
            tracing::error!("{failure}");
        }
    });
    let config = LogConfig { segment_bytes: 64 << 20, segment_ms: i64::MAX, ..LogConfig::default() };
    let (log, recovery) = match Log::open(io.clone(), &dir, config.clone(), point, on_event.clone()).await {
        Ok(opened) => opened,
        Err(OpenError::NotCreated(_)) => {
            let log = Log::create(io.clone(), &dir, metadata_topic_id(), config, on_event).await?;
            log.begin_epoch(0);
            return Ok(Opened { log, covered: 0, position: None, image: Image::default() });
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(damaged) = recovery.quarantined.first() {
        return Err(MetadataStartError::Damaged(damaged.start, damaged.end));
    }
    let start = match metadata_image::load(io, data_dir.path(), &log).await {
        Ok(Some(image)) => image,
        Ok(None) => Image::default(),
        Err(why) => {
            tracing::warn!("{METADATA_IMAGE} is not used, the whole metadata log is read instead: {why}");
            Image::default()
        }
    };
    let covered = start.end().get();
    let image = replay(&log, start).await?;
    tracing::info!(
        covered,
        end = log.end(),
        "metadata read: its image up to one offset, its log up to the other"
    );
    let position = Position::at(&log, log.end()).await?;
    Ok(Opened { log, covered, position, image })
}

/// The metadata at the log's end, from an image of before on.
pub(super) async fn replay<I: Io>(log: &Log<I>, image: Image) -> Result<Image, MetadataStartError> {
    let mut delta = Delta::new(&image);
    let mut next = image.end().get().max(log.log_start());
    while next < log.end() {
        for extent in log.read(next, log.end(), 1 << 20, true).await? {
            for record in metadata_log::decode(&log.read_bytes(&extent).await?)? {
                delta.replay(&record)?;
            }
            next = extent.end_offset;
        }
    }
    Ok(delta.finish(LogEnd::at(Offset::new(log.end()))).0)
}

/// The logs of partitions, as a start finds them.
#[derive(Default)]
pub(super) struct FoundLogs {
    /// What the checkpoints say of each.
    pub(super) recovery: BTreeMap<(String, i32), RecoveryPoint>,
    /// Those that are in another directory than the metadata says, or of which it does not say.
    pub(super) moved: Vec<MetadataRecord>,
}

/// Says which directory each log is in. One may have been moved to another disk while the broker was down: where it is now counts. What
/// no topic has, and second copies, are put aside.
pub(super) async fn find_logs<I: Io>(io: &I, dirs: &DataDirs<I>, image: &Image, broker: i32) -> FoundLogs {
    let mut copies: BTreeMap<(&str, i32), Vec<(Uuid, &LogDirectory)>> = BTreeMap::new();
    for (directory, log) in dirs.logs().filter(|(_, log)| log.topic != METADATA_TOPIC) {
        copies.entry((&log.topic, log.partition)).or_default().push((directory, log));
    }
    let mut found = FoundLogs::default();
    for topic in image.topics() {
        for (partition, state) in (0..).zip(&topic.partitions) {
            let recorded = state.directory(broker);
            let here = copies.get_mut(&(&*topic.name, partition));
            let Some(here) = here else {
                // It is made anew, if its directory is in use.
                recorded.into_iter().for_each(|directory| dirs.settle(&topic.name, partition, directory));
                continue;
            };
            let kept = here.iter().position(|(directory, _)| Some(*directory) == recorded).unwrap_or(0);
            let (directory, log) = here.remove(kept);
            dirs.settle(&topic.name, partition, directory);
            found.recovery.insert((topic.name.to_string(), partition), log.recovery);
            if recorded != Some(directory) {
                let state = state.moved_to(broker, directory);
                let record = PartitionRecord { topic_id: topic.id, partition, state };
                found.moved.push(MetadataRecord::Partition(record));
            }
        }
    }
    // What is left: their topic was deleted, and a crash came before they were renamed; or they are copies.
    for (_, log) in copies.into_values().flatten() {
        let (topic, partition) = (&log.topic, log.partition);
        match put_aside(io, &log.path).await {
            Ok(aside) => tracing::warn!(
                topic, partition, aside = %aside.display(),
                "no topic has this log, or it lies in another directory as well: it was put aside"
            ),
            Err(error) => tracing::warn!(
                topic, partition, log = %log.path.display(), %error,
                "no topic has this log, or it lies in another directory as well, and it cannot be put aside"
            ),
        }
    }
    found
}

/// KRaft's fixed id of the metadata topic.
fn metadata_topic_id() -> Uuid {
    Uuid::from_u128(1)
}
