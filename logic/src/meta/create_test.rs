use super::*;
use crate::meta::record::RegisterBrokerRecord;
use crate::meta::{Controller, Image};
use crate::offset::LogEnd;

const DEFAULTS: TopicDefaults = TopicDefaults { num_partitions: 2, replication_factor: 1 };

fn broker(number: i32, fenced: bool) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: number,
        incarnation: Uuid::from_u128(50),
        epoch: 0,
        endpoints: vec![],
        features: vec![],
        rack: None,
        fenced,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

fn cluster(brokers: &[(i32, bool)]) -> Controller {
    let records: Vec<_> = brokers.iter().map(|&(number, fenced)| broker(number, fenced)).collect();
    Controller::new(Image::default().apply(&records, LogEnd::default()).unwrap(), DEFAULTS)
}

/// Knows one setting, as a broker knows many.
fn configs(name: &str, value: &str) -> Result<(), String> {
    match (name, value.parse::<i64>()) {
        ("retention.ms", Ok(_)) => Ok(()),
        ("retention.ms", Err(_)) => Err(format!("Invalid value {value} for configuration retention.ms")),
        _ => Err(format!("Unknown topic config name: {name}")),
    }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut next = 0;
    move || {
        next += 1;
        Uuid::from_u128(next)
    }
}

fn create(controller: &mut Controller, topics: &[NewTopic<'_>]) -> (Vec<TopicCreation>, Vec<MetadataRecord>) {
    let mut last = 100 + controller.image().topic_count() as u128;
    controller.create_topics(topics, false, &configs, &mut || {
        last += 1;
        Uuid::from_u128(last)
    })
}

fn topic(name: &str) -> NewTopic<'_> {
    NewTopic { name, num_partitions: -1, replication_factor: -1, ..NewTopic::default() }
}

fn refusal(controller: &mut Controller, topic: NewTopic<'_>) -> String {
    let (replies, records) = create(controller, &[topic]);
    assert_eq!(records, [], "what is refused leaves no record");
    replies[0].outcome.clone().unwrap_err().to_string()
}

#[test]
fn a_topic_gets_its_records_and_its_defaults() {
    let mut controller = cluster(&[(1, false)]);
    let wanted = NewTopic { configs: vec![("retention.ms", Some("7"))], ..topic("orders") };
    let (replies, records) = create(&mut controller, &[wanted]);
    let created = replies[0].outcome.clone().unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
    let image = controller.image();
    assert_eq!(image.topic("orders").unwrap().id, created.topic_id);
    let partition = &image.topic("orders").unwrap().partitions[1];
    assert_eq!(
        (&partition.replicas[..], &partition.isr[..], partition.leader),
        (&[1][..], &[1][..], Some(1))
    );
    assert_eq!(image.configs(&ConfigResource::topic("orders")).unwrap()["retention.ms"], "7");
    // What was decided is what a replay of the records comes to.
    let replayed = cluster(&[(1, false)]).image().apply(&records, image.end()).unwrap();
    assert_eq!(&replayed, image);
}

#[test]
fn validation_checks_everything_and_creates_nothing() {
    let mut controller = cluster(&[(1, false)]);
    let topics = [topic("fine"), NewTopic { num_partitions: 0, ..topic("bad") }];
    let (replies, records) = controller.create_topics(&topics, true, &configs, &mut ids());
    assert!(replies[0].outcome.is_ok());
    assert_eq!(replies[1].outcome, Err(CreateTopicError::Partitions));
    assert_eq!((records, controller.image().topic_count()), (vec![], 0));
}

#[test]
fn names_are_refused_in_kafkas_words() {
    let mut controller = cluster(&[(1, false)]);
    create(&mut controller, &[topic("a.b")]).0[0].outcome.clone().unwrap();
    let mut refused = |name| refusal(&mut controller, topic(name));
    assert_eq!(refused("a.b"), "Topic 'a.b' already exists.");
    assert_eq!(refused("a_b"), "Topic 'a_b' collides with existing topic: a.b");
    assert_eq!(refused(""), "Topic name is invalid: the empty string is not allowed");
    assert_eq!(refused("__cluster_metadata"), "Creation of internal topic __cluster_metadata is prohibited.");
}

#[test]
fn topics_of_one_request_see_each_other() {
    let mut controller = cluster(&[(1, false)]);
    let topics = [topic("twice"), topic("x.y"), topic("x_y"), topic("twice"), topic("twice"), topic("fine")];
    let (replies, _) = create(&mut controller, &topics);
    let outcomes: Vec<_> = replies
        .iter()
        .map(|reply| (reply.name.as_str(), reply.outcome.as_ref().map(|_| ()).map_err(ToString::to_string)))
        .collect();
    let collides = "Topic 'x_y' collides with existing topic: x.y".to_owned();
    assert_eq!(
        outcomes,
        [
            ("twice", Err("Duplicate topic name.".to_owned())),
            ("x.y", Ok(())),
            ("x_y", Err(collides)),
            ("fine", Ok(())),
        ]
    );
}

#[test]
fn counts_and_replicas_are_checked() {
    let mut controller = cluster(&[(1, false)]);
    for count in [0, -2, i32::MIN] {
        let message = refusal(&mut controller, NewTopic { num_partitions: count, ..topic("t") });
        assert_eq!(message, "Number of partitions was set to an invalid non-positive value.");
    }
    for factor in [0, -2, i16::MIN] {
        let message = refusal(&mut controller, NewTopic { replication_factor: factor, ..topic("t") });
        assert_eq!(message, "Replication factor must be larger than 0, or -1 to use the default value.");
    }
    assert_eq!(
        refusal(&mut controller, NewTopic { replication_factor: 3, ..topic("t") }),
        "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only \
         1 broker(s) are registered."
    );
    assert_eq!(
        refusal(&mut cluster(&[(1, true)]), topic("t")),
        "Unable to replicate the partition 1 time(s): All brokers are currently fenced."
    );
}

#[test]
fn a_request_creates_a_bounded_number_of_partitions() {
    let mut controller = cluster(&[(1, false)]);
    let sized = |name, num_partitions| NewTopic { num_partitions, ..topic(name) };
    let limit = MAX_PARTITIONS_PER_REQUEST as i32;
    let (replies, records) = create(&mut controller, &[sized("a", limit), sized("b", 1)]);
    assert_eq!(records, []);
    assert!(replies.iter().all(|reply| reply.outcome == Err(CreateTopicError::TooManyPartitions)));
    assert!(create(&mut controller, &[sized("a", i32::MAX), sized("b", i32::MAX)]).1.is_empty());
    assert_eq!(create(&mut controller, &[sized("a", limit)]).1.len(), limit as usize + 1);
}

#[test]
fn configurations_are_checked_and_the_last_of_a_name_counts() {
    let mut controller = cluster(&[(1, false)]);
    let with = |configs| NewTopic { configs, ..topic("t") };
    assert_eq!(
        refusal(&mut controller, with(vec![("nonsense", Some("1"))])),
        "Unknown topic config name: nonsense"
    );
    assert_eq!(
        refusal(&mut controller, with(vec![("retention.ms", Some("soon"))])),
        "Invalid value soon for configuration retention.ms"
    );
    assert_eq!(
        refusal(&mut controller, with(vec![("b", None), ("retention.ms", Some("1")), ("a", None)])),
        "Null value not supported for topic configs: b,a"
    );
    create(&mut controller, &[with(vec![("retention.ms", Some("1")), ("retention.ms", Some("2"))])]);
    assert_eq!(controller.image().configs(&ConfigResource::topic("t")).unwrap()["retention.ms"], "2");
}

#[test]
fn partitions_are_dealt_out_and_idle_brokers_come_last() {
    let mut controller = cluster(&[(1, false), (2, true), (3, false)]);
    let wanted = NewTopic { num_partitions: 4, replication_factor: 3, ..topic("t") };
    create(&mut controller, &[wanted]);
    let partitions = &controller.image().topic("t").unwrap().partitions;
    let leaders: Vec<_> = partitions.iter().map(|partition| partition.leader.unwrap()).collect();
    assert!(leaders == [1, 3, 1, 3] || leaders == [3, 1, 3, 1], "{leaders:?}");
    for partition in partitions {
        assert_eq!(partition.replicas[2], 2, "the fenced broker is never preferred");
        assert_eq!(partition.isr, partition.replicas[..2]);
    }
}

#[test]
fn assignments_by_hand_are_taken_or_refused() {
    let mut controller = cluster(&[(1, false), (2, false), (3, true)]);
    let by_hand = |assignments| NewTopic { assignments, ..topic("t") };
    for (assignments, message) in [
        (vec![(0, vec![])], "The manual partition assignment includes an empty replica list."),
        (
            vec![(0, vec![9])],
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (vec![(0, vec![1, 1])], "The manual partition assignment includes the broker 1 more than once."),
        (
            vec![(0, vec![1]), (1, vec![1, 2])],
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 1 replica(s).",
        ),
        (vec![(0, vec![1]), (0, vec![2])], "Found multiple manual partition assignments for partition 0"),
        (vec![(1, vec![1])], "partitions should be a consecutive 0-based integer sequence"),
        (vec![(0, vec![1]), (2, vec![1])], "partitions should be a consecutive 0-based integer sequence"),
        (
            vec![(0, vec![3])],
            "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled \
             shutdown.",
        ),
    ] {
        assert_eq!(refusal(&mut controller, by_hand(assignments)), message);
    }
    let both = NewTopic { num_partitions: 1, ..by_hand(vec![(0, vec![1])]) };
    let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
    assert_eq!(refusal(&mut controller, both), message);
    let both = NewTopic { replication_factor: 1, ..by_hand(vec![(0, vec![1])]) };
    let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
    assert_eq!(refusal(&mut controller, both), message);

    let (replies, _) = create(&mut controller, &[by_hand(vec![(1, vec![3, 1]), (0, vec![2, 1])])]);
    let created = replies[0].outcome.clone().unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (2, 2));
    let partitions = &controller.image().topic("t").unwrap().partitions;
    assert_eq!((partitions[0].leader, &partitions[0].replicas[..]), (Some(2), &[2, 1][..]));
    assert_eq!((partitions[1].leader, &partitions[1].isr[..]), (Some(1), &[1][..]));
}

#[test]
fn topic_ids_are_new_and_never_reserved_ones() {
    let mut controller = cluster(&[(1, false)]);
    let mut given = [0, 1, 40, 40, 41].into_iter().map(Uuid::from_u128);
    let mut new_id = || given.next().unwrap();
    let (replies, _) = controller.create_topics(&[topic("a"), topic("b")], false, &configs, &mut new_id);
    let ids: Vec<_> =
        replies.iter().map(|reply| reply.outcome.as_ref().unwrap().topic_id.as_u128()).collect();
    assert_eq!(ids, [40, 41]);
    let (replies, _) = controller.create_topics(&[topic("c")], false, &configs, &mut Uuid::nil);
    assert_eq!(replies[0].outcome, Err(CreateTopicError::NoTopicId(TOPIC_ID_TRIES)));
}
