//! Uniform: members have as many partitions as each other, give or take one, as far as their subscriptions allow; beyond that, everybody keeps
//! what it has.
//!
//! Where all subscribe to the same, that is counting. Where they do not, partitions that nobody has go to whoever has least, and then those
//! who have more than one above another give it what both subscribe to, until nobody can.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Partitions, Subject};

/// Rounds over all topics in which members give to each other. Each gift evens out, so they end by themselves, and nearly always soon.
const ROUNDS: usize = 50;

pub(super) fn assign(subjects: &[Subject<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let alike = subjects.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    if alike { alike_subjects(subjects, counts) } else { different_subjects(subjects, counts) }
}

/// The partitions that a subject has and may keep, if nothing stands against it.
fn keepable<'a>(
    subject: &'a Subject<'_>,
    counts: &'a BTreeMap<Uuid, i32>,
) -> impl Iterator<Item = (Uuid, i32)> + 'a {
    let wanted = |topic: &Uuid| subject.topics.binary_search(topic).is_ok();
    let topics = subject.current.iter().filter(move |(topic, _)| wanted(topic));
    topics.flat_map(move |(topic, numbers)| {
        let count = counts.get(topic).copied().unwrap_or(0);
        numbers.iter().filter(move |number| **number < count).map(move |number| (*topic, *number))
    })
}

fn alike_subjects(subjects: &[Subject<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut given = vec![Partitions::new(); subjects.len()];
    let Some(first) = subjects.first() else { return given };
    let all = || {
        let count = |topic: &Uuid| counts.get(topic).copied().unwrap_or(0);
        first.topics.iter().flat_map(move |topic| (0..count(topic)).map(move |number| (*topic, number)))
    };
    let total = all().count();
    let (each, mut more) = (total / subjects.len(), total % subjects.len());
    let mut taken: BTreeSet<(Uuid, i32)> = BTreeSet::new();
    let mut sizes = vec![0usize; subjects.len()];
    for (at, subject) in subjects.iter().enumerate() {
        let mut kept: Vec<_> = keepable(subject, counts).filter(|one| !taken.contains(one)).collect();
        // One above the rest stays where it is, as long as there are any to give.
        let keeps = if kept.len() > each && more > 0 { each + 1 } else { each };
        more -= usize::from(kept.len() > each && more > 0);
        kept.truncate(keeps);
        sizes[at] = kept.len();
        for (topic, number) in kept {
            taken.insert((topic, number));
            given[at].entry(topic).or_default().insert(number);
        }
    }
    let mut free = all().filter(|one| !taken.contains(one));
    for (at, size) in sizes.iter().enumerate() {
        let mut lacks = each.saturating_sub(*size);
        if *size <= each && more > 0 {
            (lacks, more) = (lacks + 1, more - 1);
        }
        for (topic, number) in free.by_ref().take(lacks) {
            given[at].entry(topic).or_default().insert(number);
        }
    }
    given
}

fn different_subjects(subjects: &[Subject<'_>], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        subject.topics.iter().for_each(|topic| subscribers.entry(*topic).or_default().push(at));
    }
    let mut loads = vec![0usize; subjects.len()];
    let mut owners: BTreeMap<Uuid, Vec<Option<usize>>> = BTreeMap::new();
    for topic in subscribers.keys() {
        let count = usize::try_from(counts.get(topic).copied().unwrap_or(0)).unwrap_or(0);
        owners.insert(*topic, vec![None; count]);
    }
    for (at, subject) in subjects.iter().enumerate() {
        for (topic, number) in keepable(subject, counts) {
            let Some(place) = owners.get_mut(&topic).and_then(|all| all.get_mut(number as usize)) else {
                continue;
            };
            if place.is_none() {
                *place = Some(at);
                loads[at] += 1;
            }
        }
    }
    // What few subscribe to is given first: there is less choice.
    let mut order: Vec<_> = subscribers.iter().collect();
    order.sort_by_key(|(topic, members)| (members.len(), **topic));
    for (topic, members) in &order {
        let Some(places) = owners.get_mut(topic) else { continue };
        let mut by_load: BTreeSet<(usize, usize)> = members.iter().map(|at| (loads[*at], *at)).collect();
        for place in places.iter_mut().filter(|place| place.is_none()) {
            let Some((load, at)) = by_load.pop_first() else { break };
            *place = Some(at);
            loads[at] += 1;
            by_load.insert((load + 1, at));
        }
    }
    for _ in 0..ROUNDS {
        let mut moved = false;
        for (topic, members) in &order {
            let Some(places) = owners.get_mut(topic) else { continue };
            moved |= even_out(places, members, &mut loads);
        }
        if !moved {
            break;
        }
    }
    let mut given = vec![Partitions::new(); subjects.len()];
    for (topic, places) in owners {
        for (number, at) in (0..).zip(places) {
            if let Some(at) = at {
                given[at].entry(topic).or_default().insert(number);
            }
        }
    }
    given
}

/// Those who have most give partitions of this topic to those who have least, until they have the same, give or take one.
fn even_out(places: &mut [Option<usize>], members: &[usize], loads: &mut [usize]) -> bool {
    let mut had: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, at) in places.iter().enumerate() {
        had.entry((*at).unwrap_or(usize::MAX)).or_default().push(number);
    }
    had.remove(&usize::MAX);
    let mut all: BTreeSet<(usize, usize)> = members.iter().map(|at| (loads[*at], *at)).collect();
    let mut givers: BTreeSet<(usize, usize)> = had.keys().map(|at| (loads[*at], *at)).collect();
    let mut moved = false;
    while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), all.first())
        && most > least + 1
    {
        let Some(number) = had.get_mut(&giver).and_then(Vec::pop) else { break };
        for (at, before, after) in [(giver, most, most - 1), (taker, least, least + 1)] {
            all.remove(&(before, at));
            all.insert((after, at));
            loads[at] = after;
            givers.remove(&(before, at));
        }
        places[number] = Some(taker);
        had.entry(taker).or_default().push(number);
        for at in [giver, taker] {
            if had.get(&at).is_some_and(|numbers| !numbers.is_empty()) {
                givers.insert((loads[at], at));
            }
        }
        moved = true;
    }
    moved
}
