//! A broker that does nothing: how soon it answers, what it takes, and what partitions and connections add.

use super::{Measured, Options};
use crate::error::{Error, Result};
use crate::measure::machine::resident;
use crate::measure::meter::{self, Used};
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::target::{Broker, Setup, Target};
use crate::wire::admin::Admin;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// So many partitions and connections are added.
const ADDED: usize = 1000;
/// What is freed or finished in the background is, after so long.
const SETTLE: Duration = Duration::from_secs(3);

/// Starts a broker and looks at it: idle, with partitions, with connections. Returns its version as well.
pub fn measure(
    target: &Target,
    setup: &Setup,
    options: &Options,
    progress: &mut Progress,
) -> Result<(Measured, String)> {
    let broker = Broker::start(target, setup)?;
    let start = broker
        .start
        .ok_or_else(|| Error::Usage("the footprint of a broker begins with its start".to_owned()))?;
    let mut figures = BTreeMap::new();
    let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    add("start_ms", start.as_secs_f64() * 1000.0);
    let idle = look(&broker, options, progress)?;
    let rss_idle = memory(&broker)?;
    add("rss_idle_mb", rss_idle / 1e6);
    add("cpu_idle_percent", percent(&idle));
    let mut admin = Admin::connect(&broker.address)?;
    admin.create_topic("footprint", ADDED as u32, &[])?;
    let with_partitions = look(&broker, options, progress)?;
    let rss_partitions = memory(&broker)?;
    add("rss_mb_per_1000_partitions", (rss_partitions - rss_idle) / 1e6);
    add("cpu_percent_with_1000_partitions", percent(&with_partitions));
    // Each has asked something, as every client does before it is idle.
    let mut connections = Vec::with_capacity(ADDED);
    for _ in 0..ADDED {
        let mut connection = Admin::connect(&broker.address)?;
        connection.brokers()?;
        connections.push(connection);
    }
    thread::sleep(SETTLE);
    add("rss_mb_per_1000_connections", (memory(&broker)? - rss_partitions) / 1e6);
    drop(connections);
    let version = broker.version.clone();
    let measured = Measured {
        used: with_partitions,
        latency: None,
        latencies: BTreeMap::new(),
        figures,
        checked_records: 0,
    };
    Ok((measured, version))
}

/// Watches while nothing happens.
fn look(broker: &Broker, options: &Options, progress: &mut Progress) -> Result<Used> {
    meter::watch(broker, &Window::default(), SETTLE, options.time, progress)
}

fn memory(broker: &Broker) -> Result<f64> {
    let rss = broker.pid.and_then(resident);
    rss.map(|bytes| bytes as f64).ok_or_else(|| Error::Target("the broker's process is gone".to_owned()))
}

fn percent(used: &Used) -> f64 {
    100.0 * used.broker_cpu.map_or(0.0, |cpu| cpu.total_s) / used.wall.as_secs_f64()
}
