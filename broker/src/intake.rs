//! What a batch goes through on the core that received it, by whichever port it came: it is checked against its topic's rules, and
//! given the topic's codec if the topic has one.

use crate::config::topic::Rules;
use crate::net::budget::Reservation;
use crate::shard::Shard;
use bytes::BytesMut;
use millrace_io::Io;
use millrace_proto::batch::{self, BatchError, Checked};
use millrace_proto::compression::Caps;

/// A batch that may be handed to its partition.
pub(crate) struct Taken {
    /// What its check found.
    pub(crate) checked: Checked,
    /// The batch in its topic's codec, if it came in another, and its share of the shard's budget: a request may hold many batches that
    /// inflate a hundredfold.
    pub(crate) recompressed: Option<(BytesMut, Reservation)>,
}

/// Why a batch may not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Something is wrong with it.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// It would fit into no segment.
    #[error("the batch is larger than a segment of the topic")]
    LargerThanSegment,
    /// It came in another codec than the topic's, and there is no room to change that now.
    #[error(
        "the shard has no memory left to change the codec of the batch; send it again, or in the topic's codec"
    )]
    NoMemory,
}

/// Checks a batch. `zstd` says whether it may be compressed so.
pub(crate) fn take<I: Io>(
    shard: &Shard<I>,
    rules: &Rules,
    batch: &[u8],
    zstd: bool,
) -> Result<Taken, Refused> {
    let limits = batch_limits(shard, rules, zstd);
    let mut checked = batch::validate(batch, &limits)?;
    let recompressed = match rules.recompress.filter(|wanted| wanted.codec != checked.codec) {
        Some(wanted) => batch::recompress(batch, wanted, &limits)?,
        None => None,
    };
    let recompressed = match (recompressed, rules.recompress) {
        (Some(batch), Some(wanted)) => {
            (checked.size, checked.codec) = (batch.len(), wanted.codec);
            let held = shard.budget().small().try_reserve(batch.len()).ok_or(Refused::NoMemory)?;
            Some((batch, held))
        }
        _ => None,
    };
    match checked.size > rules.segment_bytes {
        true => Err(Refused::LargerThanSegment),
        false => Ok(Taken { checked, recompressed }),
    }
}

/// What a batch for a topic with these rules is checked against, now.
fn batch_limits<I: Io>(shard: &Shard<I>, rules: &Rules, zstd: bool) -> batch::Limits {
    batch::Limits {
        max_batch_bytes: rules.max_batch_bytes,
        caps: Caps { max_bytes: shard.config().limits.decompressed_batch_bytes, ..Caps::default() },
        timestamps: rules.timestamps.map(|window| window.at(shard.io().wall_clock())),
        zstd,
        keys_required: rules.keys_required,
    }
}
