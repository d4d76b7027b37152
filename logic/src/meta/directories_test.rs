use super::*;
use crate::meta::record::{MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord};
use crate::meta::{Controller, NewPartitions, NewTopic, TopicDefaults};
use crate::offset::LogEnd;

const TOPIC: Uuid = Uuid::from_u128(100);

fn directory(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn broker(number: i32, directories: &[u128]) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: number,
        incarnation: Uuid::from_u128(50),
        epoch: 0,
        endpoints: vec![],
        features: vec![],
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: directories.iter().copied().map(directory).collect(),
    })
}

fn create(records: &[MetadataRecord], partitions: i32, factor: i16) -> Controller {
    let image = Image::default().apply(records, LogEnd::default()).expect("records that fit");
    let mut controller =
        Controller::new(image, TopicDefaults { num_partitions: partitions, replication_factor: factor });
    let topic =
        NewTopic { name: "orders", num_partitions: -1, replication_factor: -1, ..NewTopic::default() };
    let any = |_: &str, _: &str| Ok(());
    let (replies, _) = controller.create_topics(&[topic], false, &any, &mut || TOPIC);
    assert!(replies[0].outcome.is_ok(), "{replies:?}");
    controller
}

fn places(controller: &Controller, broker: i32) -> Vec<Option<Uuid>> {
    let topic = controller.image().topic("orders").expect("created");
    topic.partitions.iter().map(|state| state.directory(broker)).collect()
}

#[test]
fn the_directory_that_holds_the_fewest_is_next() {
    let mut controller = create(&[broker(1, &[7, 8, 9])], 4, 1);
    let [a, b, c] = [7, 8, 9].map(|number| Some(directory(number)));
    assert_eq!(places(&controller, 1), [a, b, c, a]);
    let more = NewPartitions { name: "orders", count: 7, assignments: None };
    assert!(controller.create_partitions(&[more], false).0[0].outcome.is_ok());
    assert_eq!(places(&controller, 1), [a, b, c, a, b, c, a]);
}

#[test]
fn what_lies_in_directories_counts_wherever_it_came_from() {
    let held = |partition| {
        let state = PartitionState {
            replicas: vec![1],
            isr: vec![1],
            removing: vec![],
            adding: vec![],
            leader: Some(1),
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![directory(7)],
        };
        MetadataRecord::Partition(PartitionRecord { topic_id: Uuid::from_u128(60), partition, state })
    };
    let old = TopicRecord { name: "old".into(), topic_id: Uuid::from_u128(60) };
    let records = [broker(1, &[7, 8]), MetadataRecord::Topic(old), held(0), held(1)];
    let [a, b] = [7, 8].map(|number| Some(directory(number)));
    assert_eq!(places(&create(&records, 3, 1), 1), [b, b, a]);
}

#[test]
fn each_replica_has_a_directory_of_its_broker() {
    let controller = create(&[broker(1, &[7]), broker(2, &[8, 9]), broker(3, &[])], 2, 3);
    assert_eq!(places(&controller, 1), [Some(directory(7)); 2]);
    assert_eq!(places(&controller, 2), [Some(directory(8)), Some(directory(9))]);
    assert_eq!(places(&controller, 3), [None; 2], "it has told of none");
}

#[test]
fn a_broker_that_has_told_of_no_directory_has_none_assigned() {
    let controller = create(&[broker(1, &[])], 1, 1);
    let topic = controller.image().topic("orders").expect("created");
    assert!(topic.partitions[0].directories.is_empty());
}

#[test]
fn a_replica_that_was_found_elsewhere_is_there() {
    let controller = create(&[broker(1, &[7]), broker(2, &[])], 1, 2);
    let state = &controller.image().topic("orders").expect("created").partitions[0];
    let moved = state.moved_to(1, directory(3)).moved_to(2, directory(4));
    assert_eq!((moved.directory(1), moved.directory(2)), (Some(directory(3)), Some(directory(4))));
    assert_eq!(moved.partition_epoch, state.partition_epoch + 2, "each move is a change");
    let (directories, partition_epoch) = (state.directories.clone(), state.partition_epoch);
    assert_eq!(PartitionState { directories, partition_epoch, ..moved }, *state);
    assert_eq!(state.directory(5), None);
}
