//! The metadata at the start: the image that lies beside its log, if that is one of this log, and then what the log has
//! beyond it.

use crate::shard::metadata::{METADATA_TOPIC, MetadataStartError};
use crate::shard::metadata_image::{self, METADATA_IMAGE, Position};
use crate::shard::metadata_log;
use millrace_io::Io;
use millrace_logic::meta::{Delta, Image};
use millrace_logic::offset::{LogEnd, Offset};
use millrace_storage::{DataDir, Log, LogConfig, OpenError};
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

/// KRaft's fixed id of the metadata topic.
fn metadata_topic_id() -> Uuid {
    Uuid::from_u128(1)
}
