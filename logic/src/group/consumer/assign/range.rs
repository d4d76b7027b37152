//! Range: of each topic every subscriber gets a row of partitions, in the same order of members. So partitions of the same number in topics of
//! the same size go to the same member, if the same members subscribe to them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Partitions, Subject};

pub(super) fn assign(subjects: &[Subject<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    // Static members first, by name: they keep their place when they come again under another id.
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    order.sort_by_key(|at| (subjects[*at].instance.is_none(), subjects[*at].instance, subjects[*at].id));
    let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for at in order {
        for topic in &subjects[at].topics {
            subscribers.entry(*topic).or_default().push(at);
        }
    }
    let mut given = vec![Partitions::new(); subjects.len()];
    for (topic, members) in subscribers {
        let count = counts.get(&topic).copied().unwrap_or(0);
        let size = i32::try_from(members.len()).unwrap_or(i32::MAX);
        let (each, more) = (count / size, count % size);
        let mut next = 0;
        for (place, at) in (0..).zip(members) {
            let end = next + each + i32::from(place < more);
            if next < end {
                given[at].insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    given
}
