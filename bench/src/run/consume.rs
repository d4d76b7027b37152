//! Consumers of what is already there.

use super::topic::Topic;
use super::{Driver, Measured, Options, client_consume, drive, join};
use crate::clients::work::Following;
use crate::error::{Error, Result};
use crate::measure::latency::Since;
use crate::measure::meter;
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::target::Broker;
use crate::wire::fetch::{Consumers, Shape, Way, read_back};
use crate::wire::prepared::{Fetch, Produce};
use crate::wire::produce::{Producers, check};
use crate::workload::{Durability, Reading};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// Fetches of this size check what was filled in.
const READ_BACK: u32 = 4 << 20;
/// How long a fetch waits where there is nothing. There always is something.
const WAIT_MS: i32 = 500;

/// Reads a topic over and over.
pub fn measure(
    broker: &Broker,
    reading: &Reading,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    reading.check()?;
    let filled = fill(broker, reading, options)?;
    let fetch = Fetch::prepare(filled.topic.id, reading.fetch_bytes, WAIT_MS)?;
    let (window, known) = (Window::default(), OnceLock::from(filled.ends.clone()));
    let (used, (latencies, _)) = thread::scope(|scope| {
        let (ends, shape, window) = (&filled.ends, filled.shape, &window);
        let (topic, known) = (&filled.topic.name, &known);
        let part = move || {
            let (address, connections) = (&broker.address, reading.connections);
            if options.driver == Driver::Wire {
                return Consumers::connect(address, connections, fetch, shape, ends, Way::Around, window)?
                    .run();
            }
            let following = Following {
                topic,
                partitions: reading.partitions,
                connections,
                message_bytes: reading.fetch_bytes,
                ends: known,
                around: true,
                stamped: None,
                window,
            };
            client_consume(broker, following, options.driver)
        };
        let consumers = scope.spawn(move || drive(options, window, part));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let read = join(consumers);
        window.failure()?;
        Ok::<_, Error>((used?, read?))
    })?;
    let checked_records = filled.records;
    filled.topic.delete()?;
    Ok(Measured {
        used,
        latency: latencies.summary(Since::Sent),
        latencies: BTreeMap::new(),
        figures: BTreeMap::new(),
        checked_records,
    })
}

/// A topic that holds what a reading is about.
#[derive(Debug)]
pub struct Filled {
    pub topic: Topic,
    pub ends: Vec<i64>,
    pub shape: Shape,
    pub records: u64,
}

/// Fills a topic, and reads all of it once, every batch checked.
pub fn fill(broker: &Broker, reading: &Reading, options: &Options) -> Result<Filled> {
    let load = reading.filling();
    let mut topic = Topic::create(broker, load.partitions, Durability::Cached, options)?;
    let prepared = Produce::prepare(&load, topic.id)?;
    let shape = Shape::of(&prepared, load.records_per_request)?;
    let window = Window::default();
    let outcome = thread::scope(|scope| {
        let (load, prepared, window) = (&load, &prepared[..], &window);
        let part = move || Producers::connect(&broker.address, load, prepared, None, window, (0, 1))?.run();
        let producers = scope.spawn(move || drive(options, window, part));
        while !window.failed() && window.through().payload < u64::from(reading.megabytes) * 1_000_000 {
            thread::sleep(Duration::from_millis(1));
        }
        window.close();
        let outcome = join(producers);
        window.failure()?;
        outcome
    })?;
    let ends = topic.ends(window.through().records)?;
    let records = check(&[outcome], &load, &ends)?;
    let read = read_back(&broker.address, &Fetch::prepare(topic.id, READ_BACK, WAIT_MS)?, &ends)?;
    match read == records {
        true => Ok(Filled { topic, ends, shape, records }),
        false => Err(Error::Wrong(format!("{records} records sent, {read} read"))),
    }
}
