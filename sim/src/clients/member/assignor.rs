//! What members of the classic protocol write for each other, and how their leader assigns. Both as consumers write them: a coordinator reads
//! them when a group goes over to the new protocol, and writes what they get as long as members of both are in it.

use super::Group;
use crate::judge::Partition;
use bytes::Buf;
use std::collections::BTreeSet;

/// Each member gets partitions that follow each other.
pub(super) const RANGE: &str = "range";
/// Partitions go round the members, one by one.
pub(super) const ROUND_ROBIN: &str = "roundrobin";

/// What each of so many members gets of the group's partitions. `first`: where among the members to begin.
pub(super) fn assign(protocol: Option<&str>, members: usize, first: usize, group: &Group) -> Vec<Vec<u8>> {
    let targets = &group.0.targets;
    let mut shares = vec![BTreeSet::new(); members];
    for (at, target) in targets.iter().enumerate().filter(|_| members > 0) {
        let whose = match protocol {
            Some(RANGE) => at * members / targets.len(),
            _ => at % members,
        };
        shares[(whose + first) % members].insert(target.partition);
    }
    shares.iter().map(|share| assignment(group, share)).collect()
}

/// What a consumer says of itself: a version, its topics, and nothing of its assignor's.
pub(super) fn subscription(group: &Group) -> Vec<u8> {
    let topics = group.topics();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        put_text(&mut bytes, topic);
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes
}

/// What a consumer gets: a version, its partitions by topic, and nothing of its assignor's.
fn assignment(group: &Group, share: &BTreeSet<Partition>) -> Vec<u8> {
    let topics = group.topics();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        put_text(&mut bytes, topic);
        let of_topic = group.0.targets.iter().filter(|it| it.topic == topic && share.contains(&it.partition));
        let indexes: Vec<i32> = of_topic.map(|it| it.partition.index).collect();
        bytes.extend((indexes.len() as i32).to_be_bytes());
        indexes.iter().for_each(|index| bytes.extend(index.to_be_bytes()));
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes
}

/// What a consumer got, in any version; nothing at all is nothing. `None` when that cannot be read, or is not the group's.
pub(super) fn read_assignment(group: &Group, mut bytes: &[u8]) -> Option<BTreeSet<Partition>> {
    let mut share = BTreeSet::new();
    if bytes.is_empty() {
        return Some(share);
    }
    bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (topic, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        for _ in 0..bytes.try_get_i32().ok()? {
            let index = bytes.try_get_i32().ok()?;
            let mut targets = group.0.targets.iter();
            let is_it = |it: &&super::Target| it.topic.as_bytes() == topic && it.partition.index == index;
            share.insert(targets.find(is_it)?.partition);
        }
    }
    Some(share)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as i16).to_be_bytes());
    bytes.extend(text.as_bytes());
}
