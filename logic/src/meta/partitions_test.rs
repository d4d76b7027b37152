use super::*;
use crate::meta::record::RegisterBrokerRecord;
use crate::meta::{Controller, Image, NewTopic, TopicDefaults};
use crate::offset::LogEnd;
use uuid::Uuid;

fn controller(brokers: i32) -> Controller {
    let broker = |number| {
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker: number,
            incarnation: Uuid::from_u128(50),
            epoch: 0,
            endpoints: vec![],
            features: vec![],
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![],
        })
    };
    let records: Vec<_> = (1..=brokers).map(broker).collect();
    let defaults = TopicDefaults { num_partitions: 2, replication_factor: 1 };
    let image = Image::default().apply(&records, LogEnd::default()).unwrap();
    let mut controller = Controller::new(image, defaults);
    let topic = NewTopic { name: "orders", num_partitions: 2, replication_factor: -1, ..NewTopic::default() };
    let any = |_: &str, _: &str| Ok(());
    let (replies, _) = controller.create_topics(&[topic], false, &any, &mut || Uuid::from_u128(100));
    assert!(replies[0].outcome.is_ok());
    controller
}

fn to(count: i32) -> NewPartitions<'static> {
    NewPartitions { name: "orders", count, assignments: None }
}

fn refusal(wish: NewPartitions<'_>) -> String {
    let mut controller = controller(2);
    let (replies, records) = controller.create_partitions(&[wish], false);
    assert_eq!(records, [], "what is refused leaves no record");
    replies[0].outcome.clone().unwrap_err().to_string()
}

#[test]
fn new_partitions_go_on_where_the_old_ones_end() {
    let mut controller = controller(2);
    let before: Vec<_> = controller.image().topic("orders").unwrap().partitions.clone();
    let (replies, records) = controller.create_partitions(&[to(5)], false);
    assert_eq!(replies, [PartitionsCreation { name: "orders".into(), outcome: Ok(()) }]);
    let numbers: Vec<_> = records
        .iter()
        .map(|record| match record {
            MetadataRecord::Partition(partition) => partition.partition,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [2, 3, 4]);
    let after = &controller.image().topic("orders").unwrap().partitions;
    assert_eq!(after.len(), 5);
    assert_eq!(after[..2], before[..], "what was there stays as it was");
    // They are dealt out on, not from the beginning.
    let brokers: Vec<_> = after.iter().map(|partition| partition.replicas[0]).collect();
    assert!(brokers.windows(2).all(|pair| pair[0] != pair[1]), "{brokers:?}");
}

#[test]
fn validating_changes_nothing() {
    let mut controller = controller(1);
    let (replies, records) = controller.create_partitions(&[to(3)], true);
    assert_eq!((replies[0].outcome.clone(), records.len()), (Ok(()), 0));
    assert_eq!(controller.image().topic("orders").unwrap().partitions.len(), 2);
}

#[test]
fn assigned_by_hand() {
    let mut controller = controller(2);
    let wish = NewPartitions { assignments: Some(vec![vec![2], vec![1]]), ..to(4) };
    let (replies, _) = controller.create_partitions(&[wish], false);
    assert_eq!(replies[0].outcome, Ok(()));
    let partitions = &controller.image().topic("orders").unwrap().partitions;
    assert_eq!((partitions[2].leader, partitions[3].leader), (Some(2), Some(1)));
}

#[test]
fn refusals_in_kafkas_words() {
    assert_eq!(refusal(to(2)), "Topic already has 2 partition(s).");
    assert_eq!(refusal(to(1)), "The topic orders currently has 2 partition(s); 1 would not be an increase.");
    assert_eq!(
        refusal(to(-7)),
        "The topic orders currently has 2 partition(s); -7 would not be an increase."
    );
    assert_eq!(
        refusal(NewPartitions { name: "none", ..to(3) }),
        "This server does not host this topic-partition."
    );
    assert_eq!(refusal(to(i32::MAX)), "Excessively large number of partitions per request.");
    assert_eq!(
        refusal(NewPartitions { assignments: Some(vec![vec![1]]), ..to(4) }),
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
    );
    let two = refusal(NewPartitions { assignments: Some(vec![vec![1, 2]]), ..to(3) });
    assert!(two.contains("a partition with 2 replica(s)"), "{two}");
    let unknown = refusal(NewPartitions { assignments: Some(vec![vec![9]]), ..to(3) });
    assert!(unknown.contains("broker 9, but no such broker is registered"), "{unknown}");
}

#[test]
fn a_name_that_repeats_is_refused_once() {
    let mut controller = controller(1);
    let (replies, records) = controller.create_partitions(&[to(3), to(4)], false);
    assert_eq!(records, []);
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].outcome, Err(CreatePartitionsError::Duplicate));
}
