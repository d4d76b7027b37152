use super::*;
use crate::meta::delete::DeleteTopicError;
use crate::meta::producer_ids::ProducerIds;

const DEFAULTS: TopicDefaults = TopicDefaults { num_partitions: 1, replication_factor: 1 };

fn registration(epoch: i64) -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker: 1,
        incarnation: Uuid::from_u128(9),
        epoch,
        endpoints: vec![],
        features: vec![],
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    }
}

fn with_topics(names: &[&str]) -> Controller {
    let mut controller = Controller::new(Image::default(), DEFAULTS);
    controller.register_broker(registration(0));
    let topics: Vec<_> = names
        .iter()
        .map(|name| NewTopic { name, num_partitions: -1, replication_factor: -1, ..NewTopic::default() })
        .collect();
    let mut ids = (1000u128..).map(Uuid::from_u128);
    let (replies, _) = controller.create_topics(&topics, false, &no_configs, &mut || ids.next().unwrap());
    assert!(replies.iter().all(|reply| reply.outcome.is_ok()));
    controller
}

fn no_configs(name: &str, _value: &str) -> Result<(), String> {
    Err(format!("Unknown topic config name: {name}"))
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut controller = with_topics(&["a", "b", "c"]);
    let (a, b) = (controller.image().topic("a").unwrap().id, controller.image().topic("b").unwrap().id);
    let targets = [TopicTarget::named("a"), TopicTarget::with_id(b)];
    let (replies, records) = controller.delete_topics(&targets);
    let deleted =
        |name: &str, id| TopicDeletion { name: Some(name.to_owned()), topic_id: Some(id), outcome: Ok(()) };
    assert_eq!(replies, [deleted("a", a), deleted("b", b)]);
    let removed = [a, b].map(|topic_id| MetadataRecord::RemoveTopic { topic_id });
    assert_eq!(records, removed);
    assert_eq!(controller.image().topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["c"]);
    let (replies, records) = controller.delete_topics(&[TopicTarget::named("a"), TopicTarget::with_id(b)]);
    let outcomes: Vec<_> = replies.into_iter().map(|reply| reply.outcome).collect();
    assert_eq!(outcomes, [Err(DeleteTopicError::UnknownName), Err(DeleteTopicError::UnknownId)]);
    assert_eq!(records, []);
}

#[test]
fn unclear_deletions_are_refused_once_each() {
    let mut controller = with_topics(&["a", "b", "c"]);
    let id = |name| controller.image().topic(name).unwrap().id;
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let neither = TopicTarget { name: None, topic_id: None };
    let both = TopicTarget { name: Some("a"), topic_id: Some(a) };
    let targets = [
        neither,
        both,
        TopicTarget::named("b"),
        TopicTarget::named("b"),
        TopicTarget::with_id(c),
        TopicTarget::with_id(c),
        TopicTarget::named("b"),
    ];
    let (replies, records) = controller.delete_topics(&targets);
    let outcomes: Vec<_> = replies.into_iter().map(|reply| reply.outcome.unwrap_err()).collect();
    use DeleteTopicError::{Both, DuplicateId, DuplicateName, NameOfGivenId, Neither};
    assert_eq!(outcomes, [Neither, Both, DuplicateName, DuplicateId]);
    assert_eq!(records, []);

    let (replies, _) = controller.delete_topics(&[TopicTarget::with_id(b), TopicTarget::named("b")]);
    assert_eq!(replies[0].outcome, Ok(()));
    assert_eq!(replies[1].outcome, Err(NameOfGivenId));
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut controller = with_topics(&[]);
    let mut log = Vec::new();
    let mut given = ProducerIds::default();
    assert_eq!(given.take(), None);
    let (first, records) = controller.allocate_producer_ids(1, 0).unwrap();
    log.extend(records);
    // Two brokers may ask before the first record is durable.
    let (second, records) = controller.allocate_producer_ids(2, 0).unwrap();
    log.extend(records);
    assert_eq!((first.first, first.end, second.first, second.end), (0, 1000, 1000, 2000));
    given.refill(first);
    assert_eq!((given.take(), given.take(), given.left()), (Some(0), Some(1), 998));

    // After a crash what the log holds is what was given.
    let recovered = Image::default().apply(&log, LogEnd::default()).unwrap();
    let (third, _) = Controller::new(recovered, DEFAULTS).allocate_producer_ids(1, 1).unwrap();
    assert_eq!(third.first, 2000);
    given.refill(third);
    assert_eq!(given.take(), Some(2000));
}

#[test]
fn producer_ids_end_with_an_error() {
    let last = ProducerIdsRecord { broker: 1, broker_epoch: 0, next_producer_id: i64::MAX - 5 };
    let image = Image::default().apply(&[MetadataRecord::ProducerIds(last)], LogEnd::default()).unwrap();
    let mut controller = Controller::new(image, DEFAULTS);
    assert_eq!(controller.allocate_producer_ids(1, 0), Err(ProducerIdsExhausted { next: i64::MAX - 5 }));
}

#[test]
#[should_panic(expected = "producer ids from 0 were held already")]
fn a_block_is_not_taken_twice() {
    let mut given = ProducerIds::default();
    given.refill(ProducerIdBlock { first: 0, end: 1000 });
    given.refill(ProducerIdBlock { first: 0, end: 1000 });
}

#[test]
fn nothing_is_recorded_twice() {
    let mut controller = with_topics(&[]);
    assert_eq!(controller.register_broker(registration(0)), []);
    assert_eq!(controller.register_broker(registration(1)).len(), 1);
    assert_eq!(controller.set_feature("metadata.version", 25).len(), 1);
    assert_eq!(controller.set_feature("metadata.version", 25), []);
    assert_eq!(controller.set_feature("unknown", 0), []);
}
