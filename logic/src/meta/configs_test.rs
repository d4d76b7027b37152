use super::*;
use crate::meta::record::RegisterBrokerRecord;
use crate::meta::{Controller, NewTopic, TopicDefaults};
use crate::offset::LogEnd;
use uuid::Uuid;

/// Knows a number, a list and something fixed.
struct Known;

impl KnownConfigs for Known {
    fn check(&self, _: &ConfigResource, name: &str, value: &str) -> Result<(), ConfigRefusal> {
        match name {
            "retention.ms" if value.parse::<i64>().is_ok() => Ok(()),
            "cleanup.policy" | "consumer.x" => Ok(()),
            "log.dirs" => Err(ConfigRefusal::ReadOnly(name.to_owned())),
            _ => Err(ConfigRefusal::Invalid(format!("no {name}={value}"))),
        }
    }

    fn fit(&self, resource: &ConfigResource, all: &Configs) -> Result<(), ConfigRefusal> {
        match resource.kind == ResourceKind::Group && all.contains_key("retention.ms") {
            true => Err(ConfigRefusal::Invalid("it does not fit".to_owned())),
            false => Ok(()),
        }
    }

    fn list(&self, _: &ConfigResource, name: &str) -> Option<String> {
        (name == "cleanup.policy").then(|| "delete".to_owned())
    }
}

fn controller() -> Controller {
    let broker = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: 1,
        incarnation: Uuid::from_u128(50),
        epoch: 0,
        endpoints: vec![],
        features: vec![],
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    });
    let image = Image::default().apply(&[broker], LogEnd::default()).unwrap();
    let mut controller = Controller::new(image, TopicDefaults { num_partitions: 1, replication_factor: 1 });
    let topic = NewTopic { name: "orders", num_partitions: 1, replication_factor: 1, ..NewTopic::default() };
    let any = |_: &str, _: &str| Ok(());
    controller.create_topics(&[topic], false, &any, &mut || Uuid::from_u128(100));
    controller
}

type Asked<'a> = Vec<(&'a str, Option<ConfigChange<'a>>)>;

fn change<'a>(resource: ConfigResource, changes: Asked<'a>) -> Reconfiguration<'a> {
    Reconfiguration { resource, changes: ConfigChanges::Change(changes) }
}

fn orders() -> ConfigResource {
    ConfigResource::topic("orders")
}

fn broker(name: &str) -> ConfigResource {
    ConfigResource { kind: ResourceKind::Broker, name: name.to_owned() }
}

/// Asks for one thing, and shows what is set then.
fn apply(controller: &mut Controller, request: Reconfiguration<'_>) -> Result<String, String> {
    let resource = request.resource.clone();
    let (replies, records) = controller.alter_configs(&[request], false, &Known);
    replies[0].outcome.clone().map_err(|error| {
        assert_eq!(records, [], "what is refused leaves no record");
        error.to_string()
    })?;
    let configs = controller.image().configs(&resource);
    let shown =
        configs.iter().flat_map(|configs| configs.iter()).map(|(name, value)| format!("{name}={value}"));
    Ok(shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn single_settings_change() {
    let c = &mut controller();
    use ConfigChange::{Append, Delete, Set, Subtract};
    let orders = |changes| change(orders(), changes);
    assert_eq!(apply(c, orders(vec![("retention.ms", Some(Set("5")))])), Ok("retention.ms=5".into()));
    let both = Ok("cleanup.policy=delete,compact retention.ms=5".to_owned());
    assert_eq!(apply(c, orders(vec![("cleanup.policy", Some(Append("compact")))])), both);
    assert_eq!(apply(c, orders(vec![("cleanup.policy", Some(Append("compact,delete")))])), both);
    assert_eq!(
        apply(c, orders(vec![("cleanup.policy", Some(Subtract("delete"))), ("retention.ms", Some(Delete))])),
        Ok("cleanup.policy=compact".into())
    );
    assert_eq!(
        apply(c, orders(vec![("cleanup.policy", Some(Delete)), ("never.set", Some(Delete))])),
        Ok(String::new())
    );
    assert_eq!(c.image().configs(&ConfigResource::topic("orders")), None);
}

#[test]
fn replacing_takes_away_what_is_not_named() {
    let c = &mut controller();
    let set = vec![
        ("retention.ms", Some(ConfigChange::Set("5"))),
        ("cleanup.policy", Some(ConfigChange::Set("compact"))),
    ];
    apply(c, change(orders(), set)).unwrap();
    let replace = |all| Reconfiguration { resource: orders(), changes: ConfigChanges::Replace(all) };
    assert_eq!(apply(c, replace(vec![("retention.ms", Some("7"))])), Ok("retention.ms=7".into()));
    assert_eq!(apply(c, replace(vec![])), Ok(String::new()));
    assert_eq!(
        apply(c, replace(vec![("retention.ms", None)])),
        Err("Null value not supported for : retention.ms".into())
    );
}

#[test]
fn brokers_one_and_all() {
    let c = &mut controller();
    let set = || vec![("retention.ms", Some(ConfigChange::Set("5")))];
    assert_eq!(apply(c, change(broker(""), set())), Ok("retention.ms=5".into()));
    assert_eq!(apply(c, change(broker("1"), set())), Ok("retention.ms=5".into()));
    assert!(apply(c, change(broker("2"), set())).unwrap_err().contains("Unexpected broker id"));
    assert_eq!(
        apply(c, change(broker("one"), set())),
        Err("Broker id must be an integer, but it is: one".into())
    );
}

#[test]
fn refusals_change_nothing() {
    let c = &mut controller();
    use ConfigChange::{Append, Set};
    let orders = |changes| change(orders(), changes);
    let good = || ("cleanup.policy", Some(Set("compact")));
    for (changes, why) in [
        (vec![good(), ("retention.ms", Some(Set("long")))], "no retention.ms=long"),
        (vec![good(), ("log.dirs", Some(Set("x")))], "Cannot update these configs dynamically: [log.dirs]"),
        (vec![good(), good()], "Error due to duplicate config keys"),
        (vec![good(), ("retention.ms", None)], "Null value not supported for : retention.ms"),
        (
            vec![good(), ("retention.ms", Some(Append("1")))],
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
    ] {
        assert_eq!(apply(c, orders(changes)), Err(why.to_owned()));
        assert_eq!(c.image().configs(&ConfigResource::topic("orders")), None);
    }
    let nowhere = change(ConfigResource::topic("none"), vec![good()]);
    assert_eq!(apply(c, nowhere), Err("The topic 'none' does not exist.".into()));
}

#[test]
fn each_thing_stands_alone_and_once() {
    let c = &mut controller();
    let set = |value| vec![("retention.ms", Some(ConfigChange::Set(value)))];
    let requests = [
        change(orders(), set("1")),
        change(broker(""), set("2")),
        change(broker("1"), set("bad")),
        change(orders(), set("3")),
    ];
    let (replies, records) = c.alter_configs(&requests, false, &Known);
    let outcomes: Vec<_> = replies.iter().map(|reply| reply.outcome.is_ok()).collect();
    assert_eq!((outcomes, records.len()), (vec![false, true, false], 1));
    assert_eq!(replies[0].outcome, Err(AlterConfigError::DuplicateResource));
    let (_, records) = c.alter_configs(&[change(broker(""), set("2"))], false, &Known);
    assert_eq!(records, [], "what holds already is not recorded again");
}

fn group(name: &str) -> ConfigResource {
    ConfigResource { kind: ResourceKind::Group, name: name.to_owned() }
}

fn set(name: &str, value: &str, of: ConfigResource) -> Result<String, String> {
    let mut controller = controller();
    apply(&mut controller, change(of, vec![(name, Some(ConfigChange::Set(value)))]))
}

#[test]
fn groups_need_not_exist_but_have_a_name() {
    assert_eq!(set("consumer.x", "1", group("g")), Ok("consumer.x=1".into()));
    assert_eq!(set("consumer.x", "1", group("")), Err("Default group resources are not allowed.".into()));
    assert_eq!(set("retention.ms", "1", group("g")), Err("it does not fit".into()), "all of it is looked at");
}

#[test]
fn settings_of_groups_are_bounded() {
    let (mut controller, value) = (controller(), "x".repeat(30_000));
    let give = |controller: &mut Controller, name: &str, value: &str| {
        apply(controller, change(group(name), vec![("consumer.x", Some(ConfigChange::Set(value)))]))
    };
    let full = (0..).find(|n| give(&mut controller, &n.to_string(), &value).is_err());
    assert!(full.is_some_and(|n| (500..600).contains(&n)), "{full:?}");
    assert!(give(&mut controller, "0", "less").is_ok(), "less is let");
    assert!(give(&mut controller, "other", "little").is_ok(), "and makes room");
}

#[test]
fn the_bound_holds_within_one_request() {
    let (mut controller, value) = (controller(), "x".repeat(30_000));
    let names: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let give = |name: &String| change(group(name), vec![("consumer.x", Some(ConfigChange::Set(&value)))]);
    let requests: Vec<_> = names.iter().map(give).collect();
    let (outcomes, records) = controller.alter_configs(&requests, false, &Known);
    let refused = outcomes.iter().filter(|outcome| outcome.outcome.is_err()).count();
    assert!((1..100).contains(&refused), "{refused}");
    assert_eq!(records.len(), 600 - refused);
}
