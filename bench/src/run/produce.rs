//! Producers alone.

use super::topic::Topic;
use super::{Driver, Measured, Options, client_produce, drive, join};
use crate::clients::work::Sending;
use crate::error::{Error, Result};
use crate::measure::latency::{Latencies, Since};
use crate::measure::meter;
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::target::Broker;
use crate::wire::deal::Cores;
use crate::wire::fetch::read_back;
use crate::wire::prepared::{Fetch, Produce};
use crate::wire::produce::{Outcome, Producers, Schedule, check};
use crate::workload::{Core, Load};
use std::collections::BTreeMap;
use std::thread;

/// Fetches of this size read back what was produced.
const READ_BACK: u32 = 4 << 20;

/// Runs the load.
pub fn measure(broker: &Broker, load: &Load, options: &Options, progress: &mut Progress) -> Result<Measured> {
    load.check()?;
    if let Some(core) = load.core {
        return on_one_core(broker, load, core, options, progress);
    }
    let mut topic = Topic::create(broker, load.partitions, load.durability, options)?;
    if options.driver != Driver::Wire {
        return with_client(broker, load, topic, options, progress);
    }
    let prepared = Produce::prepare(load, topic.id)?;
    let mean = prepared.iter().map(|one| one.payload).sum::<u64>() / prepared.len() as u64;
    let schedule = Schedule::of(load, mean);
    // A schedule is kept by one thread.
    let threads = if schedule.is_some() { 1 } else { options.threads.clamp(1, load.connections) };
    let window = Window::default();
    let (used, outcomes) = thread::scope(|scope| {
        let start = |share| {
            let (prepared, schedule, window) = (&prepared, schedule.as_ref(), &window);
            let part = move || {
                let shares = (share, threads);
                Producers::connect(&broker.address, load, prepared, schedule, window, shares)?.run()
            };
            scope.spawn(move || drive(options, window, part))
        };
        let producers: Vec<_> = (0..threads).map(start).collect();
        let used = meter::watch(broker, &window, options.warm_up, options.time, progress);
        // Whatever ended the watch ends the producers.
        window.close();
        let outcomes: Vec<_> = producers.into_iter().map(join::<Outcome>).collect();
        window.failure()?;
        Ok::<_, Error>((used?, outcomes.into_iter().collect::<Result<Vec<_>>>()?))
    })?;
    let ends = topic.ends(window.through().records)?;
    let checked_records = check(&outcomes, load, &ends)?;
    finish(broker, topic, options, &ends, checked_records)?;
    let mut latencies = Latencies::new();
    outcomes.iter().for_each(|outcome| latencies.add(&outcome.latencies));
    let since = if schedule.is_some() { Since::Intended } else { Since::Sent };
    Ok(Measured {
        used,
        latency: latencies.summary(since),
        latencies: BTreeMap::new(),
        figures: BTreeMap::new(),
        checked_records,
    })
}

/// The load where connections are on one core, and partitions on one.
fn on_one_core(
    broker: &Broker,
    load: &Load,
    core: Core,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    let http = broker.http.as_deref().filter(|_| options.driver == Driver::Wire).ok_or_else(|| {
        let what = "cores are known only of a Millrace that the harness starts, and to the wire driver";
        Error::Usage(what.to_owned())
    })?;
    let cores = Cores::of(&broker.address, http)?;
    let mut topic = Topic::create(broker, load.partitions * cores.count(), load.durability, options)?;
    let placed = cores.place(&topic.name, topic.partitions, core)?;
    let prepared = Produce::prepare(load, topic.id)?;
    let window = Window::default();
    let before = cores.hops()?;
    let (used, outcome) = thread::scope(|scope| {
        let (prepared, placed, window) = (&prepared, &placed, &window);
        let part = move || Producers::connect_placed(load, prepared, window, placed)?.run();
        let producers = scope.spawn(move || drive(options, window, part));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let outcome = join::<Outcome>(producers);
        window.failure()?;
        Ok::<_, Error>((used?, outcome?))
    })?;
    let hops = cores.hops()? - before;
    let ends = topic.ends(window.through().records)?;
    let latency = outcome.latencies.summary(Since::Sent);
    let checked_records = check(&[outcome], load, &ends)?;
    finish(broker, topic, options, &ends, checked_records)?;
    let requests = checked_records as f64 / f64::from(load.records_per_request);
    let figures = BTreeMap::from([("hops_per_request".to_owned(), hops as f64 / requests.max(1.0))]);
    Ok(Measured { used, latency, latencies: BTreeMap::new(), figures, checked_records })
}

/// Reads back what was produced, if that is asked for, and deletes the topic.
fn finish(broker: &Broker, topic: Topic, options: &Options, ends: &[i64], records: u64) -> Result<()> {
    if options.read_back {
        let read = read_back(&broker.address, &Fetch::prepare(topic.id, READ_BACK, 500)?, ends)?;
        if read != records {
            return Err(Error::Wrong(format!("{records} records sent, {read} read")));
        }
    }
    topic.delete()
}

fn with_client(
    broker: &Broker,
    load: &Load,
    mut topic: Topic,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    let schedule = Schedule::of(load, load.payload());
    let window = Window::default();
    let records = Sending::records(load);
    let sending = Sending {
        topic: &topic.name,
        load,
        schedule: schedule.as_ref(),
        window: &window,
        records: &records,
        stamped: None,
    };
    let (used, outcome) = thread::scope(|scope| {
        let (sending, window) = (&sending, &window);
        let part = move || client_produce(broker, sending, options.driver);
        let producers = scope.spawn(move || drive(options, window, part));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let outcome = join(producers);
        window.failure()?;
        Ok::<_, Error>((used?, outcome?))
    })?;
    let ends = topic.ends(window.through().records)?;
    // A client may pack records into batches as it likes: each counts by itself.
    let single = Load { records_per_request: 1, ..load.clone() };
    let since = if schedule.is_some() { Since::Intended } else { Since::Sent };
    let latency = outcome.latencies.summary(since);
    let checked_records = check(&[outcome], &single, &ends)?;
    finish(broker, topic, options, &ends, checked_records)?;
    Ok(Measured { used, latency, latencies: BTreeMap::new(), figures: BTreeMap::new(), checked_records })
}
