//! What members of the classic protocol write for each other, and how their leader assigns. To the broker an assignment is bytes.

use super::Group;

/// Each member gets partitions that follow each other.
pub(super) const RANGE: &str = "range";
/// Partitions go round the members, one by one.
pub(super) const ROUND_ROBIN: &str = "roundrobin";

/// What each of so many members gets: places in the list of the group's partitions. `first`: where among the members to begin.
pub(super) fn assign(
    protocol: Option<&str>,
    members: usize,
    first: usize,
    partitions: usize,
) -> Vec<Vec<u8>> {
    let mut shares = vec![Vec::new(); members];
    if members == 0 {
        return shares;
    }
    for at in 0..partitions {
        let whose = match protocol {
            Some(RANGE) => at * members / partitions,
            _ => at % members,
        };
        shares[(whose + first) % members].push(at as u8);
    }
    shares
}

/// What a consumer says of itself: a version, its topics, and nothing of its assignor's.
pub(super) fn subscription(group: &Group) -> Vec<u8> {
    let topics = group.topics();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes
}
