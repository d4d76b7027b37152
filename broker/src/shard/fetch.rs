//! A fetch over several shards: reads, sums what was found against min bytes, waits for more without polling, and trims
//! to max bytes in the order of the request.

use crate::shard::Shard;
use crate::shard::calls::{FetchPart, Fetched};
use futures_util::future::select_all;
use millrace_io::Io;
use millrace_logic::partition::Isolation;
use std::time::Duration;

/// A fetch.
pub struct Fetch {
    /// Each partition and its bounds.
    pub parts: Vec<FetchPart>,
    /// The least bytes worth an answer.
    pub min_bytes: u64,
    /// The most bytes of the answer, except that its first batch is whole.
    pub max_bytes: u64,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// How far to read.
    pub isolation: Isolation,
}

impl<I: Io> Shard<I> {
    /// Fetches. One answer for each part, in order.
    pub async fn fetch(&self, fetch: Fetch) -> Vec<Fetched<I::File>> {
        let deadline = self.0.io.now() + fetch.max_wait;
        loop {
            let mut found = self.read(&fetch.parts, fetch.max_bytes, fetch.isolation).await;
            trim(&mut found, fetch.max_bytes);
            let bytes: u64 = found.iter().flatten().map(|part| part.bytes()).sum();
            let news = found.iter().any(|part| part.as_ref().map_or(true, |found| found.diverging.is_some()));
            let wanted = fetch.min_bytes.min(fetch.max_bytes);
            if bytes >= wanted || news || self.is_stopping() || self.0.io.now() >= deadline {
                return found;
            }
            let seen = fetch.parts.iter().zip(&found).filter_map(|(part, found)| {
                let found = found.as_ref().ok()?;
                let from = found.extents.last().map_or(part.offset, |extent| extent.end_offset);
                Some((part.id, from, found.bounds))
            });
            let waits = self.watch(seen.collect(), wanted - bytes, deadline).await;
            drop(found);
            match waits.is_empty() {
                true => self.0.io.sleep_until(deadline).await,
                // The first to tell is enough; dropping the others ends their waits.
                false => drop(select_all(waits).await),
            }
        }
    }
}

/// Leaves out what lies over `max_bytes`, in the order of the request. The first batches found stay whole.
fn trim<F>(found: &mut [Fetched<F>], max_bytes: u64) {
    let mut left = max_bytes;
    let mut first = true;
    for part in found.iter_mut().flatten() {
        part.extents.retain(|extent| {
            let fits = first || extent.len <= left;
            if fits {
                first = false;
                left = left.saturating_sub(extent.len);
            } else {
                // What follows in this partition would leave a gap.
                left = 0;
            }
            fits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::calls::Found;
    use millrace_logic::offset::{HighWatermark, LogEnd, LogStart, Offset, Stable};
    use millrace_logic::partition::Bounds;
    use millrace_storage::Extent;

    fn part(sizes: &[u64]) -> Fetched<()> {
        let zero = Offset::ZERO;
        let bounds = Bounds {
            log_start: LogStart::at(zero),
            stable: Stable::at(zero),
            high_watermark: HighWatermark::at(zero),
            end: LogEnd::at(zero),
            upto: zero,
        };
        let extent =
            |&len: &u64| Extent { file: (), position: 0, len, recent: true, base_offset: 0, end_offset: 1 };
        Ok(Found { bounds, extents: sizes.iter().map(extent).collect(), diverging: None })
    }

    fn sizes(found: &[Fetched<()>]) -> Vec<u64> {
        found.iter().map(|part| part.as_ref().map_or(0, Found::bytes)).collect()
    }

    #[test]
    fn the_first_batch_is_whole_and_the_rest_fits() {
        let mut found = vec![part(&[]), part(&[500]), part(&[10])];
        trim(&mut found, 100);
        assert_eq!(sizes(&found), [0, 500, 0]);
    }

    #[test]
    fn nothing_follows_a_gap() {
        let mut found = vec![part(&[60, 60, 10]), part(&[20])];
        trim(&mut found, 100);
        assert_eq!(sizes(&found), [60, 0]);
    }
}
