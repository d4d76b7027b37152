//! Producers, and consumers behind them: what a client sends and another one has.

use super::topic::Topic;
use super::{Measured, Options, client_consume, client_produce, drive, join};
use crate::clients::work::{Following, Sending};
use crate::error::{Error, Result};
use crate::measure::latency::Since;
use crate::measure::meter;
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::target::Broker;
use crate::wire::produce::{Schedule, check};
use crate::workload::Load;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

/// Bytes that a consumer gets at once at most: what clients ask for by default.
const MESSAGE: u32 = 1 << 20;

/// Produces and reads with a client.
pub fn measure(broker: &Broker, load: &Load, options: &Options, progress: &mut Progress) -> Result<Measured> {
    load.check()?;
    let mut topic = Topic::create(broker, load.partitions, load.durability, options)?;
    let name = topic.name.clone();
    let schedule = Schedule::of(load, load.payload());
    let (window, ends, base) = (Window::default(), OnceLock::new(), Instant::now());
    let records = Sending::records(load);
    let (used, latencies, checked_records) = thread::scope(|scope| {
        let (name, window, ends) = (&name[..], &window, &ends);
        let sending = Sending {
            topic: name,
            load,
            schedule: schedule.as_ref(),
            window,
            records: &records,
            stamped: Some(base),
        };
        let following = Following {
            topic: name,
            partitions: load.partitions,
            connections: load.connections,
            message_bytes: MESSAGE,
            ends,
            around: false,
            stamped: Some(base),
            window,
        };
        let produce = move || client_produce(broker, &sending, options.driver);
        let consume = move || client_consume(broker, following, options.driver);
        let producers = scope.spawn(move || drive(options, window, produce));
        let consumers = scope.spawn(move || drive(options, window, consume));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let produced = join(producers).and_then(|outcome| {
            let found = topic.ends(window.through().records)?;
            // A client may pack records into batches as it likes: each counts by itself.
            let single = Load { records_per_request: 1, ..load.clone() };
            let records = check(&[outcome], &single, &found)?;
            // The consumers have waited for this: they stop when they have read as far.
            ends.get_or_init(|| found);
            Ok(records)
        });
        let sent = produced.map_err(|error| window.fail(error));
        let read = join(consumers);
        window.failure()?;
        let ((latencies, read), sent) = (read?, sent.unwrap_or(0));
        if read != sent {
            return Err(Error::Wrong(format!("{sent} records sent, {read} read")));
        }
        Ok::<_, Error>((used?, latencies, sent))
    })?;
    topic.delete()?;
    Ok(Measured {
        used,
        latency: latencies.summary(Since::Produced),
        latencies: BTreeMap::new(),
        figures: BTreeMap::new(),
        checked_records,
    })
}
