//! What kind of world a seed makes: how many shards, topics and clients, and which faults it knows. Most worlds know a
//! few faults only, so that each kind is met alone and with others.

use millrace_io::simulated::{Latency, Link, Rng};
use std::time::Duration;

/// The settings of a topic and how many partitions it has.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// Its settings.
    pub configs: Vec<(&'static str, String)>,
}

/// Which faults may strike.
#[derive(Clone, Copy, Debug)]
pub struct Dangers {
    /// The broker's process is killed.
    pub kill: bool,
    /// The broker's machine loses power.
    pub power_cut: bool,
    /// The broker is asked to stop, and started again.
    pub stop: bool,
    /// Links are cut and connections reset.
    pub network: bool,
    /// The disk is full for a while.
    pub full_disk: bool,
    /// A write or a sync fails; the broker is restarted some time later.
    pub broken_disk: bool,
    /// The disk stands still for a while.
    pub slow_disk: bool,
}

/// What members of a group speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The classic protocol.
    Classic,
    /// The new protocol (KIP-848).
    Consumer,
    /// Some the one and some the other: the group moves between them as members come and go.
    Both,
}

/// A group.
#[derive(Clone, Copy, Debug)]
pub struct GroupPlan {
    /// What its members speak.
    pub protocol: Protocol,
    /// How many there are.
    pub members: u64,
}

/// A world before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker's shards in its first life.
    pub shards: usize,
    /// Topics that stay.
    pub topics: Vec<TopicPlan>,
    /// Idempotent producers.
    pub idempotent: u64,
    /// Producers with acks=1.
    pub relaxed: u64,
    /// Producers with acks=all that never send anything twice.
    pub careful: u64,
    /// Consumers.
    pub consumers: u64,
    /// Groups; none in many worlds.
    pub groups: Vec<GroupPlan>,
    /// What may go wrong.
    pub dangers: Dangers,
    /// How often something may go wrong before everything is healed.
    pub rounds: u64,
    /// The network.
    pub link: Link,
}

impl Plan {
    /// The next plan of this stream.
    pub fn draw(rng: &mut Rng) -> Self {
        let topics = rng.within(1..=3);
        Self {
            shards: rng.within(1..=3) as usize,
            topics: (0..topics).map(|number| topic(rng, format!("stays-{number}"))).collect(),
            idempotent: rng.within(1..=2),
            relaxed: rng.below(2),
            careful: rng.within(1..=2),
            consumers: rng.within(1..=2),
            dangers: dangers(rng),
            rounds: rng.within(4..=10),
            link: Link {
                delay: Latency { rare: 0.001, ..Latency::micros(20, rng.within(50..=5_000), 50) },
                bandwidth: rng.chance(0.2).then_some(2 << 20),
                ..Link::default()
            },
            // A stream of their own: a world without groups is the one that it was before there were any.
            groups: groups(&mut Rng::new(rng.clone().bits().reverse_bits())),
        }
    }
}

fn groups(rng: &mut Rng) -> Vec<GroupPlan> {
    let count = [0, 0, 1, 1, 2][rng.index(5)];
    // A stream of their own: a world without groups of both protocols is the one that it was before there were any.
    let mut both = Rng::new(rng.clone().bits().rotate_left(32));
    let group = |_| {
        let protocol = if rng.chance(0.5) { Protocol::Classic } else { Protocol::Consumer };
        let members = rng.within(1..=4);
        match both.chance(0.4) {
            true => GroupPlan { protocol: Protocol::Both, members: members.max(2) },
            false => GroupPlan { protocol, members },
        }
    };
    (0..count).map(group).collect()
}

fn dangers(rng: &mut Rng) -> Dangers {
    Dangers {
        kill: rng.chance(0.6),
        power_cut: rng.chance(0.7),
        stop: rng.chance(0.3),
        network: rng.chance(0.4),
        full_disk: rng.chance(0.25),
        broken_disk: rng.chance(0.2),
        slow_disk: rng.chance(0.25),
    }
}

/// A topic of this name.
pub fn topic(rng: &mut Rng, name: String) -> TopicPlan {
    let mut configs = Vec::new();
    if rng.chance(0.5) {
        // Segments of a few batches.
        configs.push(("index.interval.bytes", rng.within(0..=600).to_string()));
        configs.push(("segment.index.bytes", rng.within(40..=200).to_string()));
    }
    if rng.chance(0.3) {
        configs.push(("segment.ms", rng.within(200..=3_000).to_string()));
    }
    if rng.chance(0.2) {
        configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
    }
    TopicPlan { name, partitions: rng.within(1..=4) as i32, configs }
}

/// A time between two numbers of milliseconds.
pub fn millis(rng: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(rng.within(least..=most))
}
