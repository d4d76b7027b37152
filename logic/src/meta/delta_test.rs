use super::*;
use crate::meta::image::PartitionState;
use crate::meta::record::{FeatureLevelRecord, ProducerIdsRecord, RegisterBrokerRecord};
use crate::offset::Offset;

fn at(end: i64) -> LogEnd {
    LogEnd::at(Offset::new(end))
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn topic(number: u128, name: &str) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.to_owned(), topic_id: id(number) })
}

fn partition(number: u128, partition: i32, leader_epoch: i32) -> MetadataRecord {
    let state = PartitionState {
        replicas: vec![1],
        isr: vec![1],
        removing: vec![],
        adding: vec![],
        leader: Some(1),
        leader_epoch,
        partition_epoch: 0,
        directories: vec![],
    };
    MetadataRecord::Partition(PartitionRecord { topic_id: id(number), partition, state })
}

fn config(topic: &str, name: &str, value: Option<&str>) -> MetadataRecord {
    let (resource, name) = (ConfigResource::topic(topic), name.to_owned());
    MetadataRecord::Config(ConfigRecord { resource, name, value: value.map(str::to_owned) })
}

fn producer_ids(next_producer_id: i64) -> MetadataRecord {
    MetadataRecord::ProducerIds(ProducerIdsRecord { broker: 1, broker_epoch: 0, next_producer_id })
}

fn feature(name: &str, level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), level })
}

fn broker(number: i32) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: number,
        incarnation: id(77),
        epoch: 4,
        endpoints: vec![],
        features: vec![],
        rack: Some("a".to_owned()),
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

fn full() -> Image {
    let records = [
        feature("metadata.version", 25),
        broker(1),
        topic(5, "orders.eu"),
        config("orders.eu", "retention.ms", Some("5")),
        partition(5, 0, 0),
        partition(5, 1, 0),
        topic(3, "plain"),
        partition(3, 0, 0),
        producer_ids(2000),
    ];
    Image::default().apply(&records, at(9)).unwrap()
}

#[test]
fn records_make_an_image_that_is_found_every_way() {
    let image = full();
    assert_eq!(image.end(), at(9));
    assert_eq!(image.topic("orders.eu").unwrap().partitions.len(), 2);
    assert_eq!(&*image.topic_by_id(id(3)).unwrap().name, "plain");
    assert_eq!(image.topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["orders.eu", "plain"]);
    assert_eq!(image.colliding_topic("orders_eu"), Some("orders.eu"));
    assert_eq!(image.colliding_topic("plain"), None);
    assert_eq!(image.configs(&ConfigResource::topic("orders.eu")).unwrap()["retention.ms"], "5");
    assert_eq!(image.features().collect::<Vec<_>>(), [("metadata.version", 25)]);
    assert_eq!(image.broker(1).unwrap().rack.as_deref(), Some("a"));
    assert_eq!(image.next_producer_id(), 2000);
}

#[test]
fn an_image_says_the_records_that_make_it() {
    let image = full();
    assert_eq!(Image::default().apply(&image.records(), image.end()).unwrap(), image);
    assert_eq!(Image::default().records(), []);
}

#[test]
fn an_image_does_not_change_and_shares_what_did_not() {
    let before = full();
    let after =
        before.apply(&[partition(5, 1, 7), config("plain", "segment.ms", Some("1"))], at(11)).unwrap();
    assert_eq!(before, full());
    assert_eq!(after.topic("orders.eu").unwrap().partitions[1].leader_epoch, 7);
    assert!(Arc::ptr_eq(before.topic("plain").unwrap(), after.topic("plain").unwrap()));
    assert!(Arc::ptr_eq(&before.brokers, &after.brokers));
}

#[test]
fn a_topic_takes_everything_of_its_own_with_it() {
    let gone = MetadataRecord::RemoveTopic { topic_id: id(5) };
    let image = full().apply(&[gone], at(10)).unwrap();
    assert_eq!(image.topic("orders.eu"), None);
    assert_eq!(image.topic_by_id(id(5)), None);
    assert_eq!(image.colliding_topic("orders_eu"), None);
    assert_eq!(image.configs(&ConfigResource::topic("orders.eu")), None);
    let again = image.apply(&[topic(6, "orders_eu"), partition(6, 0, 0)], at(12)).unwrap();
    assert_eq!(again.topic("orders_eu").unwrap().id, id(6));
}

#[test]
fn settings_without_a_value_end() {
    let image = full()
        .apply(&[config("orders.eu", "retention.ms", None), feature("metadata.version", 0)], at(11))
        .unwrap();
    assert_eq!(image.configs(&ConfigResource::topic("orders.eu")), None);
    assert_eq!(image.features().count(), 0);
}

#[test]
fn a_delta_says_what_changed_and_what_only_seemed_to() {
    let mut delta = Delta::new(&full());
    let passing = [topic(9, "passing"), partition(9, 0, 0), MetadataRecord::RemoveTopic { topic_id: id(9) }];
    let lasting = [
        topic(8, "new"),
        partition(8, 0, 0),
        partition(5, 0, 1),
        config("new", "segment.ms", Some("1")),
        partition(3, 0, 0),
        MetadataRecord::RemoveTopic { topic_id: id(3) },
        broker(2),
    ];
    passing.iter().chain(&lasting).for_each(|record| delta.replay(record).unwrap());
    let (image, changes) = delta.finish(at(30));
    let names = |topics: &[Arc<Topic>]| topics.iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&changes.created), ["new"]);
    assert_eq!(names(&changes.changed), ["orders.eu"]);
    assert_eq!(changes.changed[0].partitions[0].leader_epoch, 1);
    assert_eq!(names(&changes.deleted), ["plain"]);
    assert_eq!(changes.configs, [ConfigResource::topic("new")]);
    assert_eq!(changes.brokers, [2]);
    assert_eq!(image.end(), at(30));

    let mut same = Delta::new(&image);
    same.replay(&partition(5, 0, 1)).unwrap();
    assert_eq!(same.finish(at(31)).1, Changes::default());
}

#[test]
fn records_that_contradict_the_image_are_named_and_change_nothing() {
    let image = full();
    let refused = |record: MetadataRecord| {
        let mut delta = Delta::new(&image);
        let error = delta.replay(&record).unwrap_err();
        assert_eq!(delta.finish(image.end()), (image.clone(), Changes::default()));
        error
    };
    let exists = ApplyError::TopicExists { name: "plain".to_owned(), existing: id(3), created: id(4) };
    assert_eq!(refused(topic(4, "plain")), exists);
    assert_eq!(refused(topic(3, "other")), ApplyError::TopicIdExists(id(3)));
    assert_eq!(refused(partition(4, 0, 0)), ApplyError::UnknownTopic(id(4)));
    assert_eq!(refused(MetadataRecord::RemoveTopic { topic_id: id(4) }), ApplyError::UnknownTopic(id(4)));
    for number in [3, -1, i32::MAX, i32::MIN] {
        let gap = ApplyError::PartitionGap { topic: "orders.eu".into(), partitions: 2, partition: number };
        assert_eq!(refused(partition(5, number, 0)), gap);
    }
    assert_eq!(refused(producer_ids(1999)), ApplyError::ProducerIdsGoBack { current: 2000, recorded: 1999 });
}
