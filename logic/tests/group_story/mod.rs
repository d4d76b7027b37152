//! A coordinator of groups that stories are told of: what is asked of it in words, and what it does as lines.
//!
//! The first word of an event is what is asked, the second who waits for the answer. An answer that waits for the records before it is
//! "(durable)". Ids end in the number of the request that they were made for; the zeros before it are left out. Time is in seconds.

mod lines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_logic::group::consumer::ConsumerSettings;
use millrace_logic::group::request::*;
use millrace_logic::group::{Coordinator, Effect, GroupRecord, Now, Request, Settings};
use millrace_logic::meta::Image;
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use crate::consumer_support::{GROUP, beat, image, topic_id};
use crate::story::Words;

/// The calendar when the story begins, in milliseconds.
const BEGIN_MS: i64 = 1_000_000;

pub struct World {
    coordinator: Coordinator<String>,
    settings: Settings,
    image: Arc<Image>,
    log: Vec<GroupRecord>,
    now: Duration,
    /// How many ids might have been made.
    fresh: u128,
}

impl World {
    pub fn new() -> Self {
        let settings = Settings::default();
        let (coordinator, image) = (Coordinator::new(settings), Arc::default());
        let mut world = Self { coordinator, settings, image, log: Vec::new(), now: Duration::ZERO, fresh: 0 };
        world.coordinator.loaded(world.moment());
        world
    }

    pub fn run(&mut self, event: &str) -> Vec<String> {
        let words = Words::of(event);
        match words.plain[0] {
            "settings" => self.configure(&words),
            "topics" => self.topics(&words),
            "now" => return self.pass(Duration::from_millis((1000.0 * words.nth::<f64>(1)) as u64)),
            "restart" => return self.restart(),
            _ => {}
        }
        let request = match words.plain[0] {
            "settings" => return vec![],
            "topics" => {
                let (mut out, image) = (Vec::new(), self.image.clone());
                let is_there = |name: &str, id| image.topic(name).is_some_and(|topic| topic.id == id);
                self.coordinator.forget_topics(is_there, &mut out);
                return self.carry_out(out);
            }
            "join" => Request::Join(self.join(&words)),
            "sync" => Request::Sync(Sync {
                caller: caller(&words),
                protocol_type: words.keyed.get("type").map(|it| (*it).to_owned()),
                protocol: words.keyed.get("protocol").map(|it| (*it).to_owned()),
                assignments: words.plain[2..].iter().map(|share| assignment(share)).collect(),
            }),
            "heartbeat" => Request::Heartbeat(caller(&words)),
            "leave" => Request::Leave(Leave {
                group: group(&words),
                members: words.plain[2..].iter().map(|who| leaver(who)).collect(),
            }),
            "beat" => Request::ConsumerHeartbeat(self.heartbeat(&words)),
            "commit" => Request::Commit(Commit {
                caller: caller(&words),
                names_missing_group: words.get("version", 9) >= 9,
                retention_ms: words.keyed.get("keep").map(|seconds| seconds.parse::<i64>().unwrap() * 1000),
                offsets: words.plain[2..].iter().map(|offset| commit(offset)).collect(),
            }),
            "fetch" => Request::Fetch(fetch(&words)),
            "forget" => Request::DeleteOffsets(DeleteOffsets {
                group: group(&words),
                offsets: words.plain[2..].iter().map(|place| lines::place(place)).collect(),
            }),
            "describe" => Request::Describe { group: group(&words) },
            "describe_consumers" => Request::DescribeConsumers { group: group(&words) },
            "list" => Request::List,
            "delete" => Request::Delete { group: group(&words) },
            other => panic!("no such event: {other}"),
        };
        let mut out = Vec::new();
        self.coordinator.handle(self.moment(), request, words.plain[1].to_owned(), &mut out);
        self.carry_out(out)
    }

    fn moment(&self) -> Now {
        Now { mono: self.now, wall_ms: BEGIN_MS + i64::try_from(self.now.as_millis()).unwrap() }
    }

    /// Settings other than the defaults, and with them everything anew but the time and the topics.
    fn configure(&mut self, words: &Words<'_>) {
        let seconds = |key: &str, default: Duration| {
            words.keyed.get(key).map_or(default, |value| Duration::from_secs_f64(value.parse().unwrap()))
        };
        let (before, consumer) = (self.settings, self.settings.consumer);
        self.settings = Settings {
            initial_delay: seconds("delay", before.initial_delay),
            max_size: words.get("max_size", before.max_size),
            consumer: ConsumerSettings {
                max_size: words.get("max_size", consumer.max_size),
                assignment_interval: seconds("interval", consumer.assignment_interval),
                ..consumer
            },
            ..before
        };
        (self.coordinator, self.log, self.fresh) = (Coordinator::new(self.settings), Vec::new(), 0);
        self.coordinator.follow(&self.image);
        self.coordinator.loaded(self.moment());
    }

    fn topics(&mut self, words: &Words<'_>) {
        let topics: Vec<(&str, i32)> = words.plain[1..]
            .iter()
            .map(|topic| topic.split_once(':').map(|(name, count)| (name, count.parse().unwrap())).unwrap())
            .collect();
        self.image = image(&topics);
        self.coordinator.follow(&self.image);
    }

    /// Lets time pass until then; what comes due on the way is told with its time.
    fn pass(&mut self, until: Duration) -> Vec<String> {
        let mut told = Vec::new();
        while self.coordinator.next_deadline() <= until {
            self.now = self.now.max(self.coordinator.next_deadline());
            let mut out = Vec::new();
            self.coordinator.tick(self.moment(), &mut out);
            let at = self.now.as_secs_f64();
            told.extend(self.carry_out(out).into_iter().map(|line| format!("at {at}: {line}")));
        }
        self.now = until;
        told
    }

    /// The broker starts anew: whoever waits is told to look for the coordinator again, and the log is read.
    fn restart(&mut self) -> Vec<String> {
        let mut coordinator = Coordinator::new(self.settings);
        for GroupRecord { key, value } in &self.log {
            coordinator.replay(key, value.as_deref()).expect("our own records");
        }
        coordinator.follow(&self.image);
        coordinator.loaded(self.moment());
        let mut out = Vec::new();
        std::mem::replace(&mut self.coordinator, coordinator).stop(ErrorCode::NotCoordinator, &mut out);
        self.carry_out(out)
    }

    fn carry_out(&mut self, effects: Vec<Effect<String>>) -> Vec<String> {
        let told = effects.iter().map(|effect| lines::of_effect(effect, &self.image)).collect();
        self.log.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Append(record) => Some(record),
            Effect::Reply { .. } | Effect::Rebalance => None,
        }));
        told
    }

    fn fresh(&mut self) -> Uuid {
        self.fresh += 1;
        Uuid::from_u128(self.fresh)
    }

    fn join(&mut self, words: &Words<'_>) -> Join {
        let version: i16 = words.get("version", 9);
        let reads = words.get("reads", "a".to_owned());
        let protocols = words.get("protocols", "range".to_owned());
        let protocols = protocols.split(',').map(|name| (name.to_owned(), subscription(&reads)));
        Join {
            caller: caller(words),
            client_id: words.get("client", "c".to_owned()),
            client_host: "/127.0.0.1".into(),
            session: Duration::from_secs(words.get("session", 10)),
            rebalance: Duration::from_secs(words.get("rebalance", 20)),
            protocol_type: words.get("type", "consumer".to_owned()),
            protocols: protocols.collect(),
            id_first: version >= 4,
            can_skip_assignment: version >= 9,
            fresh: self.fresh(),
        }
    }

    fn heartbeat(&mut self, words: &Words<'_>) -> ConsumerHeartbeat {
        let text = |key: &str| words.keyed.get(key).map(|value| (*value).to_owned());
        let epoch = words.get("epoch", 0);
        let topics = text("topics").map(|names| names.split(',').map(str::to_owned).collect());
        // Who joins says that it has nothing, and how long it may take to give up.
        let owned = text("owned").or((epoch == 0).then(String::new));
        let rebalance = words.keyed.get("rebalance").map(|seconds| seconds.parse().unwrap());
        ConsumerHeartbeat {
            group: group(words),
            may_lack_id: words.get("version", 1) == 0,
            instance: text("instance"),
            rebalance: rebalance.or((epoch == 0).then_some(60)).map(Duration::from_secs),
            topics,
            regex: text("regex"),
            assignor: text("assignor"),
            owned: owned.map(|owned| owned_partitions(&owned)),
            fresh: self.fresh(),
            ..beat(&lines::long(&words.get("member", String::new())), epoch)
        }
    }
}

fn group(words: &Words<'_>) -> String {
    words.get("group", GROUP.to_owned())
}

fn caller(words: &Words<'_>) -> Caller {
    Caller {
        group: group(words),
        member: lines::long(&words.get("member", String::new())),
        instance: words.keyed.get("instance").map(|name| (*name).to_owned()),
        generation: words.get("generation", -1),
    }
}

/// What a member of type `consumer` says of itself: the topics that it reads.
fn subscription(topics: &str) -> Bytes {
    let topics: Vec<&str> = topics.split(',').collect();
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

/// `member:text`: what the member gets, which is any bytes to the coordinator.
fn assignment(share: &str) -> (String, Bytes) {
    let (member, text) = share.split_once(':').unwrap();
    (lines::long(member), Bytes::copy_from_slice(text.as_bytes()))
}

/// `member`, `@name`, or `member@name`.
fn leaver(who: &str) -> (String, Option<String>) {
    let (member, instance) = who.split_once('@').map_or((who, None), |(id, name)| (id, Some(name)));
    (lines::long(member), instance.map(str::to_owned))
}

/// `topic-partition:offset`.
fn commit(text: &str) -> CommitOffset {
    let (place, offset) = text.split_once(':').unwrap();
    let (topic, partition) = lines::place(place);
    let (topic_id, offset) = (topic_id(&topic), offset.parse().unwrap());
    CommitOffset { topic, topic_id, partition, offset, leader_epoch: -1, metadata: String::new() }
}

fn fetch(words: &Words<'_>) -> Fetch {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in words.plain[2..].iter().map(|place| lines::place(place)) {
        topics.entry(topic).or_default().push(partition);
    }
    let topics = (!topics.is_empty()).then(|| topics.into_iter().collect());
    let member = words.keyed.get("member").map(|id| (lines::long(id), words.get("epoch", -1)));
    Fetch { group: group(words), topics, member }
}

/// `a:0,1;b:2`: partitions by topic.
fn owned_partitions(text: &str) -> Vec<(Uuid, Vec<i32>)> {
    let topics = text.split(';').filter(|topic| !topic.is_empty());
    let of = |topic: &str| {
        let (name, numbers) = topic.split_once(':').unwrap();
        (topic_id(name), numbers.split(',').map(|number| number.parse().unwrap()).collect())
    };
    topics.map(of).collect()
}
