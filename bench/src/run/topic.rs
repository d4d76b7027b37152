//! A topic for one run: created for it, deleted behind it.

use super::Options;
use crate::error::{Error, Result};
use crate::os::files;
use crate::target::Broker;
use crate::wire::admin::Admin;
use crate::workload::Durability;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the end of a topic may lag behind what was acknowledged: with acks=1 it is shown when it is durable.
const CATCH_UP: Duration = Duration::from_secs(20);

/// A topic. Deleted when dropped.
#[derive(Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub partitions: u32,
    admin: Admin,
}

impl Topic {
    /// Creates it, when what earlier runs left dirty has been written back.
    pub fn create(
        broker: &Broker,
        partitions: u32,
        durability: Durability,
        options: &Options,
    ) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if let Some(data) = &broker.data {
            files::sync_file_system(data)?;
        }
        let name = format!("bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        // What a run wrote is to be gone before the disk is full.
        let mut configs = vec![("file.delete.delay.ms", "1000")];
        configs.extend(durability.configs(broker.kind));
        configs.extend(options.topic_configs.iter().map(|(name, value)| (&name[..], &value[..])));
        let mut admin = Admin::connect(&broker.address)?;
        let id = admin.create_topic(&name, partitions, &configs)?;
        Ok(Self { name, id, partitions, admin })
    }

    /// Where its partitions end, once that is as many records as were acknowledged, or when waiting longer makes no sense.
    pub fn ends(&mut self, acknowledged: u64) -> Result<Vec<i64>> {
        let until = Instant::now() + CATCH_UP;
        loop {
            let ends = self.admin.end_offsets(&self.name, self.partitions)?;
            let there = ends.iter().map(|end| u64::try_from(*end).unwrap_or(0)).sum::<u64>();
            if there >= acknowledged || Instant::now() > until {
                return Ok(ends);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deletes it.
    pub fn delete(mut self) -> Result<()> {
        let deleted = self.admin.delete_topic(&self.name);
        self.name.clear();
        deleted
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // The run failed already; this is for a broker that goes on running.
            let _: std::result::Result<(), Error> = self.admin.delete_topic(&self.name);
        }
    }
}
