//! Consumers at the end of a log that is being written, first alone, then while others read data that must come from the disk.

use super::consume::{Filled, fill};
use super::topic::Topic;
use super::{Driver, Measured, Options, drive, join};
use crate::error::{Error, Result};
use crate::measure::latency::{Latency, Since};
use crate::measure::meter::{self, Used};
use crate::measure::window::Window;
use crate::os::files;
use crate::progress::Progress;
use crate::target::Broker;
use crate::wire::fetch::{Consumers, Shape, Way};
use crate::wire::prepared::{Fetch, Produce};
use crate::wire::produce::{Producers, Schedule, check};
use crate::workload::{Load, Reading};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Fetches of the tail, which get what there is at once.
const TAIL_FETCH: u32 = 1 << 20;
const WAIT_MS: i32 = 500;
/// What the cold readers have read is looked at so often.
const LOOK: Duration = Duration::from_millis(5);

/// Measures the tail twice.
pub fn measure(
    broker: &Broker,
    tail: &Load,
    cold: &Reading,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    if options.driver != Driver::Wire {
        return Err(Error::Usage("cold-beside-tail is for the wire driver".to_owned()));
    }
    tail.check()?;
    cold.check()?;
    let local = "cold data is made cold by way of its files: the broker must be one that the harness starts";
    let data = broker.data.as_deref().ok_or_else(|| Error::Usage(local.to_owned()))?;
    let filled = fill(broker, cold, options)?;
    let alone = leg(broker, tail, None, options, progress)?;
    let beside = leg(broker, tail, Some((cold, &filled, data)), options, progress)?;
    let checked_records = filled.records + alone.records + beside.records;
    filled.topic.delete()?;
    let (before, after) = (alone.latency.ms(99.0), beside.latency.ms(99.0));
    let growth = before.zip(after).map(|(before, after)| after / before);
    let mut figures = BTreeMap::new();
    figures.extend(growth.map(|growth| ("tail_p99_growth".to_owned(), growth)));
    let seconds = beside.used.wall.as_secs_f64();
    figures.insert("cold_mb_per_s".to_owned(), beside.cold_bytes as f64 / 1e6 / seconds);
    let latencies = BTreeMap::from([
        ("tail alone".to_owned(), alone.latency),
        ("tail beside cold readers".to_owned(), beside.latency.clone()),
    ]);
    Ok(Measured { used: beside.used, latency: Some(beside.latency), latencies, figures, checked_records })
}

struct Leg {
    used: Used,
    latency: Latency,
    records: u64,
    cold_bytes: u64,
}

/// Produces and tails for one window; cold readers, if any, run from before it opens until it closes.
fn leg(
    broker: &Broker,
    tail: &Load,
    cold: Option<(&Reading, &Filled, &Path)>,
    options: &Options,
    progress: &mut Progress,
) -> Result<Leg> {
    let mut topic = Topic::create(broker, tail.partitions, tail.durability, options)?;
    let prepared = Produce::prepare(tail, topic.id)?;
    let shape = Shape::of(&prepared, tail.records_per_request)?;
    let no_rate =
        || Error::Usage("a tail needs a rate: latency counts from when a record was to be sent".to_owned());
    let schedule = Schedule::of(tail, shape.payload).ok_or_else(no_rate)?;
    let fetch = Fetch::prepare(topic.id, TAIL_FETCH, WAIT_MS)?;
    let (window, ends, cold_bytes) = (Window::default(), OnceLock::new(), AtomicU64::new(0));
    let (address, window, ends) = (&broker.address, &window, &ends);
    let (prepared, schedule, cold_read) = (&prepared[..], &schedule, &cold_bytes);
    let (used, latencies, records) = thread::scope(|scope| {
        let produce =
            move || Producers::connect(address, tail, prepared, Some(schedule), window, (0, 1))?.run();
        let consume = move || {
            let (unknown, way) = (vec![0; tail.partitions as usize], Way::Tail(schedule, ends));
            let connections = tail.partitions as usize;
            Consumers::connect(address, connections, fetch, shape, &unknown, way, window)?.run()
        };
        let read_cold = move || match cold {
            Some((reading, filled, data)) => cold_rounds(broker, reading, filled, data, window, cold_read),
            None => Ok(()),
        };
        let producers = scope.spawn(move || drive(options, window, produce));
        let consumers = scope.spawn(move || drive(options, window, consume));
        let cold_readers = scope.spawn(move || drive(options, window, read_cold));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let produced = join(producers).and_then(|outcome| {
            let found = topic.ends(window.through().records)?;
            let records = check(&[outcome], tail, &found)?;
            // The consumers have waited for this: they stop when they have read as far.
            ends.get_or_init(|| found);
            Ok(records)
        });
        let records = produced.map_err(|error| window.fail(error));
        let (tailed, cold_read) = (join(consumers), join(cold_readers));
        window.failure()?;
        cold_read?;
        let ((latencies, tailed), records) = (tailed?, records.unwrap_or(0));
        if tailed != records {
            return Err(Error::Wrong(format!("{records} records sent, {tailed} read at the tail")));
        }
        Ok::<_, Error>((used?, latencies, records))
    })?;
    topic.delete()?;
    let latency = latencies.summary(Since::Produced);
    let latency = latency.ok_or_else(|| Error::Target("nothing was read at the tail".to_owned()))?;
    Ok(Leg { used, latency, records, cold_bytes: cold_bytes.into_inner() })
}

/// Reads everything from disk, over and over, until the window closes. Counts what was read since it opened.
fn cold_rounds(
    broker: &Broker,
    reading: &Reading,
    filled: &Filled,
    data: &Path,
    window: &Window,
    bytes: &AtomicU64,
) -> Result<()> {
    let fetch = Fetch::prepare(filled.topic.id, reading.fetch_bytes, WAIT_MS)?;
    while !window.is_closed() {
        for partition in 0..filled.topic.partitions {
            files::evict(&data.join(format!("{}-{partition}", filled.topic.name)), ".log")?;
        }
        let round = Window::default();
        let (ends, shape, connections) = (&filled.ends, filled.shape, reading.connections);
        thread::scope(|scope| {
            let (address, round) = (&broker.address, &round);
            let read =
                move || Consumers::connect(address, connections, fetch, shape, ends, Way::Once, round)?.run();
            let reader = scope.spawn(read);
            let mut before = 0;
            while !reader.is_finished() {
                thread::sleep(LOOK);
                let now = round.through().payload;
                if window.is_open() && !window.is_closed() {
                    bytes.fetch_add(now - before, Relaxed);
                }
                before = now;
                if window.is_closed() {
                    round.close();
                }
            }
            let ended = || Error::Target("a thread of the driver ended".to_owned());
            reader.join().map_err(|_| ended())?
        })?;
    }
    Ok(())
}
