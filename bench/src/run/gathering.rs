//! Members that join their groups all at once: how long it takes until each holds its part of one generation.

use super::groups::Place;
use super::{Measured, Options, drive, join};
use crate::error::{Error, Result};
use crate::measure::meter;
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::result::SECONDS_TO_JOIN;
use crate::target::Broker;
use crate::wire::gather::Gathering;
use crate::workload::Groups;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// Whether the window is open is looked at so often: they join when it is.
const LOOK: Duration = Duration::from_millis(1);

/// Joins when the window opens, and stays until it is closed; a longer joining is measured all the same.
pub fn measure(
    broker: &Broker,
    groups: Groups,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    let place = Place::make(broker, groups, options)?;
    let window = Window::default();
    let (used, gathering, gathered) = thread::scope(|scope| {
        let (window, place) = (&window, &place);
        let part = move || {
            let mut gathering = Gathering::connect(&broker.address, groups, &place.names, &place.topic_name)?;
            while !window.is_open() && !window.is_closed() {
                thread::sleep(LOOK);
            }
            let gathered = gathering.gather(window)?;
            gathering.stay(window)?;
            Ok((gathering, gathered))
        };
        let members = scope.spawn(move || drive(options, window, part));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let done = join(members);
        window.failure()?;
        let (gathering, gathered) = done?;
        Ok::<_, Error>((used?, gathering, gathered))
    })?;
    place.clear(&gathering)?;
    let figures = BTreeMap::from([
        (SECONDS_TO_JOIN.to_owned(), gathered.took.as_secs_f64()),
        ("generations".to_owned(), f64::from(gathered.generations)),
    ]);
    Ok(Measured { used, latency: None, latencies: BTreeMap::new(), figures, checked_records: 0 })
}
