//! The high watermark that a client is told never falls: it is durable, so not even a power cut takes it back.

use super::Invariant;
use crate::judge::{Fact, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct WatermarksNeverFall(BTreeMap<(u64, Partition), i64>);

impl Invariant for WatermarksNeverFall {
    fn name(&self) -> &'static str {
        "watermarks_never_fall"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Watermark { observer, partition, offset } = *fact else { return Ok(()) };
        let known = self.0.entry((observer, partition)).or_default();
        if offset < *known {
            return Err(format!("{partition}: the high watermark was {known}, now it is {offset}"));
        }
        *known = offset;
        Ok(())
    }
}
