//! Both assignors on groups made of seeds: every partition has one member that subscribes to it, evenly, and little moves.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Assignor, Partitions, Subject};

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:03}")).collect()
}

fn assign(
    assignor: Assignor,
    ids: &[String],
    topics: &[Vec<Uuid>],
    current: &[Partitions],
    counts: &BTreeMap<Uuid, i32>,
) -> Vec<Partitions> {
    let subject = |at: usize| Subject {
        id: &ids[at],
        instance: None,
        topics: topics[at].clone(),
        current: &current[at],
    };
    let subjects: Vec<_> = (0..ids.len()).map(subject).collect();
    assignor.assign(&subjects, counts)
}

fn size(given: &Partitions) -> usize {
    given.values().map(BTreeSet::len).sum()
}

fn flat(given: &Partitions) -> BTreeSet<(Uuid, i32)> {
    given.iter().flat_map(|(topic, numbers)| numbers.iter().map(|number| (*topic, *number))).collect()
}

/// Each partition of a topic that somebody subscribes to has exactly one member, who does.
fn check_complete(given: &[Partitions], topics: &[Vec<Uuid>], counts: &BTreeMap<Uuid, i32>) {
    let mut seen = BTreeSet::new();
    for (at, partitions) in given.iter().enumerate() {
        for one in flat(partitions) {
            assert!(topics[at].contains(&one.0), "it subscribes to what it gets");
            assert!(seen.insert(one), "{one:?} has two members");
        }
    }
    let wanted: BTreeSet<Uuid> = topics.iter().flatten().copied().collect();
    let all = wanted.iter().flat_map(|topic| (0..counts[topic]).map(|number| (*topic, number)));
    assert_eq!(seen, all.collect());
}

#[test]
fn members_that_subscribe_to_the_same() {
    let counts = BTreeMap::from([(topic(1), 7), (topic(2), 3), (topic(3), 1)]);
    let all: Vec<Uuid> = counts.keys().copied().collect();
    let mut current: Vec<Partitions> = Vec::new();
    for count in [1, 2, 3, 5, 11, 13, 4, 3] {
        let (ids, topics) = (ids(count), vec![all.clone(); count]);
        current.resize(count, Partitions::new());
        let before: Vec<_> = current.iter().map(flat).collect();
        let given = assign(Assignor::Uniform, &ids, &topics, &current, &counts);
        check_complete(&given, &topics, &counts);
        let sizes: Vec<usize> = given.iter().map(size).collect();
        let (least, most) = (sizes.iter().min().expect("one"), sizes.iter().max().expect("one"));
        assert!(most - least <= 1, "{sizes:?}");
        // Whoever has fewer than its share afterwards has not been taken anything.
        for (at, before) in before.iter().enumerate() {
            let kept = flat(&given[at]).intersection(before).count();
            assert!(
                kept == before.len() || kept == sizes[at],
                "{kept} of {}, and now {}",
                before.len(),
                sizes[at]
            );
        }
        let again = assign(Assignor::Uniform, &ids, &topics, &given, &counts);
        assert_eq!(again, given, "nothing moves without need");
        current = given;
    }
}

#[test]
fn members_that_subscribe_to_different_things() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for _ in 0..300 {
        let counts: BTreeMap<Uuid, i32> =
            (0..1 + below(5)).map(|number| (topic(number.into()), below(9) as i32)).collect();
        let members = 1 + below(7) as usize;
        let names = ids(members);
        let mut current = vec![Partitions::new(); members];
        for _ in 0..3 {
            let topics: Vec<Vec<Uuid>> =
                (0..members).map(|_| counts.keys().copied().filter(|_| below(2) == 0).collect()).collect();
            let given = assign(Assignor::Uniform, &names, &topics, &current, &counts);
            check_complete(&given, &topics, &counts);
            for (giver, partitions) in given.iter().enumerate() {
                for (taker, wants) in topics.iter().enumerate() {
                    let could = partitions.keys().any(|topic| wants.contains(topic));
                    assert!(
                        !could || size(partitions) <= size(&given[taker]) + 1,
                        "{giver} could give to {taker}: {given:?}"
                    );
                }
            }
            assert_eq!(
                assign(Assignor::Uniform, &names, &topics, &given, &counts),
                given,
                "nothing moves without need"
            );
            current = given;
        }
        let topics: Vec<Vec<Uuid>> = vec![counts.keys().copied().collect(); members];
        let given = assign(Assignor::Range, &names, &topics, &current, &counts);
        check_complete(&given, &topics, &counts);
    }
}

/// Topics of the same size are divided alike; of more members than partitions the last ones get nothing.
#[test]
fn rows_of_partitions() {
    let counts = BTreeMap::from([(topic(1), 5), (topic(2), 5), (topic(3), 1)]);
    let topics = vec![vec![topic(1), topic(2), topic(3)]; 3];
    let none = vec![Partitions::new(); 3];
    let given = assign(Assignor::Range, &ids(3), &topics, &none, &counts);
    let row = |numbers: std::ops::Range<i32>| numbers.collect::<BTreeSet<i32>>();
    assert_eq!(
        given[0],
        BTreeMap::from([(topic(1), row(0..2)), (topic(2), row(0..2)), (topic(3), row(0..1))])
    );
    assert_eq!(given[1], BTreeMap::from([(topic(1), row(2..4)), (topic(2), row(2..4))]));
    assert_eq!(given[2], BTreeMap::from([(topic(1), row(4..5)), (topic(2), row(4..5))]));
}

/// A static member has its place by its name, whatever its id.
#[test]
fn static_members_come_first() {
    let counts = BTreeMap::from([(topic(1), 2)]);
    let none = Partitions::new();
    let subject = |id, instance| Subject { id, instance, topics: vec![topic(1)], current: &none };
    let given = Assignor::Range.assign(&[subject("a", None), subject("z", Some("name"))], &counts);
    assert_eq!(given[1], BTreeMap::from([(topic(1), BTreeSet::from([0]))]));
}

#[test]
fn assignors_have_names() {
    assert_eq!(Assignor::of("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::of("range"), Some(Assignor::Range));
    assert_eq!(Assignor::of("sticky"), None);
}
