//! Groups of consumers at work: what their heartbeats and commits cost a broker.

use super::topic::Topic;
use super::{Driver, Measured, Options, drive, join};
use crate::error::{Error, Result};
use crate::measure::latency::{Latencies, Since};
use crate::measure::meter;
use crate::measure::window::Window;
use crate::progress::Progress;
use crate::target::Broker;
use crate::wire::admin::Admin;
use crate::wire::beats::{Beaten, Beats};
use crate::wire::gather::Gathering;
use crate::workload::{Durability, Groups};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

/// Joins, then measures heartbeats and commits, then looks whether what was committed is there.
pub fn measure(
    broker: &Broker,
    groups: Groups,
    options: &Options,
    progress: &mut Progress,
) -> Result<Measured> {
    let mut place = Place::make(broker, groups, options)?;
    let window = Window::default();
    let (used, gathering, beaten) = thread::scope(|scope| {
        let (window, place) = (&window, &place);
        let gather = move || {
            let mut gathering = Gathering::connect(&broker.address, groups, &place.names, &place.topic_name)?;
            gathering.gather(window)?;
            Ok(gathering)
        };
        let gathered = join(scope.spawn(move || drive(options, window, gather)));
        window.failure()?;
        let mut gathering = gathered?;
        let beat = move || {
            let beaten = Beats::of(&mut gathering, window).run()?;
            Ok((gathering, beaten))
        };
        let beats = scope.spawn(move || drive(options, window, beat));
        let used = meter::watch(broker, window, options.warm_up, options.time, progress);
        window.close();
        let done = join(beats);
        window.failure()?;
        let (gathering, beaten) = done?;
        Ok::<_, Error>((used?, gathering, beaten))
    })?;
    place.check(&gathering, &beaten)?;
    place.clear(&gathering)?;
    let Beaten { heartbeats, commits, .. } = &beaten;
    let mut all = heartbeats.clone();
    all.add(commits);
    let seconds = used.wall.as_secs_f64();
    let (heartbeat, commit) = (summary(heartbeats), summary(commits));
    let mut figures = BTreeMap::new();
    if let Some(cpu) = used.broker_cpu {
        figures.insert("broker_cpu_percent_of_a_core".to_owned(), 100.0 * cpu.total_s / seconds);
    }
    figures.insert("requests_per_s".to_owned(), used.through.requests as f64 / seconds);
    let named = [("heartbeat", heartbeat), ("commit", commit)];
    let latencies = named.into_iter().filter_map(|(name, latency)| Some((name.to_owned(), latency?)));
    Ok(Measured { used, latency: summary(&all), latencies: latencies.collect(), figures, checked_records: 0 })
}

fn summary(latencies: &Latencies) -> Option<crate::measure::latency::Latency> {
    latencies.summary(Since::Intended)
}

/// Groups of one run, with a topic that they share out: new for it, gone behind it.
#[derive(Debug)]
pub struct Place {
    /// The groups' names.
    pub names: Vec<Arc<str>>,
    /// The topic's.
    pub topic_name: Arc<str>,
    groups: Groups,
    topic: Topic,
    admin: Admin,
}

impl Place {
    /// Creates the topic, and waits until all groups have coordinators.
    pub fn make(broker: &Broker, groups: Groups, options: &Options) -> Result<Self> {
        groups.check()?;
        if options.driver != Driver::Wire {
            return Err(Error::Usage("groups are for the wire driver".to_owned()));
        }
        let topic = Topic::create(broker, groups.partitions, Durability::Cached, options)?;
        let topic_name: Arc<str> = topic.name.as_str().into();
        let names = (0..groups.groups).map(|number| format!("{topic_name}-{number}").into());
        let names: Vec<Arc<str>> = names.collect();
        let mut admin = Admin::connect(&broker.address)?;
        admin.wait_for_coordinators(&names, &topic_name)?;
        Ok(Self { names, topic_name, groups, topic, admin })
    }

    /// Whether each partition of each group is where its member committed it last.
    fn check(&mut self, gathering: &Gathering, beaten: &Beaten) -> Result<()> {
        let found = self.admin.committed(&self.names, &self.topic_name, self.groups.partitions)?;
        let members = self.groups.members as usize;
        let seats = gathering.seats.chunks(members).zip(beaten.offsets.chunks(members));
        for ((name, found), (seats, offsets)) in self.names.iter().zip(&found).zip(seats) {
            let held = seats.iter().map(|seat| seat.member.holds().map_or(&[][..], |(_, held)| held));
            same(name, found, held.zip(offsets.iter().copied()))?;
        }
        Ok(())
    }

    /// All members leave, groups and topic go.
    pub fn clear(mut self, gathering: &Gathering) -> Result<()> {
        for (name, seats) in self.names.iter().zip(gathering.seats.chunks(self.groups.members as usize)) {
            let ids: Vec<&str> = seats.iter().map(|seat| seat.member.id()).collect();
            self.admin.leave(name, &ids)?;
        }
        self.admin.delete_groups(&self.names)?;
        self.topic.delete()
    }
}

/// Compares what a group has committed with what its members committed last of what they hold.
fn same<'a>(group: &str, found: &[i64], committed: impl IntoIterator<Item = (&'a [i32], i64)>) -> Result<()> {
    let mut wanted = vec![-1; found.len()];
    for (held, offset) in committed {
        for partition in held {
            let place = usize::try_from(*partition).ok().and_then(|at| wanted.get_mut(at));
            *place.ok_or_else(|| Error::Wrong(format!("{group}: there is no partition {partition}")))? =
                offset;
        }
    }
    match found.iter().zip(&wanted).position(|(found, wanted)| found != wanted) {
        Some(at) => {
            let (found, wanted) = (found[at], wanted[at]);
            Err(Error::Wrong(format!("{group}: {wanted} was committed of partition {at}, which has {found}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_last_must_be_there() {
        let committed = [(&[0, 1][..], 7), (&[2][..], 9)];
        assert!(same("g", &[7, 7, 9], committed).is_ok());
        let wrong = |found: &[i64]| same("g", found, committed).unwrap_err().to_string();
        assert!(wrong(&[7, 6, 9]).contains("7 was committed of partition 1, which has 6"), "one went back");
        assert!(wrong(&[7, 7, -1]).contains("has -1"), "one is lost");
        assert!(wrong(&[7, 7, 10]).contains("has 10"), "one that nobody sent");
        assert!(wrong(&[7, 7, 9, 1]).contains("-1 was committed of partition 3"), "nobody holds it");
        assert!(same("g", &[7, 7], committed).is_err(), "a partition is missing");
    }
}
