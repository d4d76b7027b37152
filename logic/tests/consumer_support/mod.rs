//! A coordinator of groups with its log, its topics and its time, and members' requests in short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_logic::group::request::*;
use millrace_logic::group::{Coordinator, Effect, GroupRecord, Now, Request, Response, Settings, When};
use millrace_logic::meta::record::{MetadataRecord, PartitionRecord, TopicRecord};
use millrace_logic::meta::{Image, PartitionState};
use millrace_logic::offset::{LogEnd, Offset};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

pub const GROUP: &str = "group";

/// xorshift64*: the same draws on every machine.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The id of a topic follows from its name.
pub fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(name.bytes().fold(7, |sum, byte| sum * 257 + u128::from(byte)))
}

pub fn owned(partitions: &[(&str, &[i32])]) -> Vec<(Uuid, Vec<i32>)> {
    let all: BTreeMap<Uuid, Vec<i32>> =
        partitions.iter().map(|(topic, numbers)| (topic_id(topic), numbers.to_vec())).collect();
    all.into_iter().collect()
}

/// The metadata that has these topics, with so many partitions each.
pub fn image(topics: &[(&str, i32)]) -> Arc<Image> {
    let mut records = Vec::new();
    for (name, count) in topics {
        let topic_id = topic_id(name);
        records.push(MetadataRecord::Topic(TopicRecord { name: (*name).to_owned(), topic_id }));
        records.extend((0..*count).map(|partition| {
            let state = PartitionState {
                replicas: vec![1],
                isr: vec![1],
                removing: vec![],
                adding: vec![],
                leader: Some(1),
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![],
            };
            MetadataRecord::Partition(PartitionRecord { topic_id, partition, state })
        }));
    }
    let end = LogEnd::at(Offset::new(i64::try_from(records.len()).expect("a few")));
    Arc::new(Image::default().apply(&records, end).expect("topics"))
}

/// The first heartbeat of a member.
pub fn join(member: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance: Some(Duration::from_secs(60)),
        topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Vec::new()),
        ..beat(member, 0)
    }
}

/// A heartbeat that says nothing new.
pub fn beat(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: GROUP.into(),
        member: member.into(),
        epoch,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        fresh: Uuid::from_u128(77),
        ..ConsumerHeartbeat::default()
    }
}

/// A coordinator, and what it wrote.
pub struct Stage {
    pub coordinator: Coordinator<u64>,
    pub log: Vec<GroupRecord>,
    pub now: Duration,
    /// Whether the last answer had to wait for records.
    pub waited: bool,
    settings: Settings,
    image: Arc<Image>,
    asked: u64,
    answers: BTreeMap<u64, Response>,
}

impl Stage {
    pub fn new(settings: Settings, topics: &[(&str, i32)]) -> Self {
        let coordinator = Coordinator::new(settings);
        let now = Duration::from_secs(1);
        let (log, image, answers) = (Vec::new(), Arc::default(), BTreeMap::new());
        let mut stage = Self { coordinator, log, now, waited: false, settings, image, asked: 0, answers };
        stage.topics(topics);
        stage.coordinator.loaded(stage.moment());
        stage
    }

    /// The topics are these from now on.
    pub fn topics(&mut self, topics: &[(&str, i32)]) {
        self.image = image(topics);
        self.coordinator.follow(&self.image);
    }

    fn moment(&self) -> Now {
        Now { mono: self.now, wall_ms: i64::try_from(self.now.as_millis()).expect("not so long") }
    }

    pub fn ask(&mut self, request: Request) -> u64 {
        self.asked += 1;
        let mut out = Vec::new();
        self.coordinator.handle(self.moment(), request, self.asked, &mut out);
        self.carry_out(out);
        self.asked
    }

    /// An answer that comes at once.
    pub fn now(&mut self, request: Request) -> Response {
        let ticket = self.ask(request);
        self.answers.remove(&ticket).expect("answered at once")
    }

    /// The answer to an earlier request, once.
    pub fn answer(&mut self, ticket: u64) -> Option<Response> {
        self.answers.remove(&ticket)
    }

    pub fn beat(&mut self, beat: ConsumerHeartbeat) -> Result<Beat, Refusal> {
        match self.now(Request::ConsumerHeartbeat(beat)) {
            Response::ConsumerHeartbeat(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.coordinator.next_deadline() <= until {
            self.now = self.now.max(self.coordinator.next_deadline());
            let mut out = Vec::new();
            self.coordinator.tick(self.moment(), &mut out);
            self.carry_out(out);
        }
        self.now = until;
    }

    fn carry_out(&mut self, effects: Vec<Effect<u64>>) {
        for effect in effects {
            match effect {
                Effect::Append(record) => self.log.push(record),
                Effect::Reply { ticket, response, when } => {
                    self.waited = when == When::Durable;
                    let twice = self.answers.insert(ticket, response);
                    assert!(twice.is_none(), "request {ticket} was answered twice");
                }
                // Counted where the classic protocol is tested.
                Effect::Rebalance => {}
            }
        }
    }

    pub fn describe_if(&mut self) -> Option<ConsumerDescription> {
        match self.now(Request::DescribeConsumers { group: GROUP.into() }) {
            Response::DescribeConsumers(Ok(group)) => Some(group),
            Response::DescribeConsumers(Err(refusal)) => {
                assert_eq!(refusal.code, ErrorCode::GroupIdNotFound);
                None
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn describe(&mut self) -> ConsumerDescription {
        self.describe_if().expect("it is there")
    }

    /// A heartbeat that says nothing new, in the epoch that the member is in.
    pub fn beat_again(&mut self, member: &str) -> Result<Beat, Refusal> {
        let group = self.describe();
        let epoch = group.members.iter().find(|it| *it.member == *member).expect("a member").epoch;
        self.beat(beat(member, epoch))
    }

    pub fn commit_request(
        &self,
        member: &str,
        epoch: i32,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Commit {
        let (group, member) = (GROUP.into(), member.into());
        let caller = Caller { group, member, instance: None, generation: epoch };
        let (topic, topic_id, leader_epoch, metadata) = (topic.into(), topic_id(topic), -1, String::new());
        let offset = CommitOffset { topic, topic_id, partition, offset, leader_epoch, metadata };
        Commit { caller, names_missing_group: true, retention_ms: None, offsets: vec![offset] }
    }

    pub fn commit(
        &mut self,
        member: &str,
        epoch: i32,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<ErrorCode, ErrorCode> {
        let commit = self.commit_request(member, epoch, topic, partition, offset);
        match self.now(Request::Commit(commit)) {
            Response::Commit(outcome) => outcome.map(|codes| codes[0]),
            other => panic!("{other:?}"),
        }
    }

    pub fn fetch(&mut self, member: Option<(&str, i32)>) -> Result<BTreeMap<i32, i64>, ErrorCode> {
        let member = member.map(|(id, epoch)| (id.to_owned(), epoch));
        match self.now(Request::Fetch(Fetch { group: GROUP.into(), topics: None, member })) {
            Response::Fetch(outcome) => outcome.map(|topics| {
                let all = topics.iter().flat_map(|topic| &topic.partitions);
                all.map(|it| (it.partition, it.offset)).collect()
            }),
            other => panic!("{other:?}"),
        }
    }

    /// A member of the classic protocol comes, and is in a generation when its initial delay is over.
    pub fn classic_join(&mut self, name: &str) -> Result<(), ErrorCode> {
        let (group, instance) = (GROUP.into(), Some(name.to_owned()));
        let join = Join {
            caller: Caller { group, member: String::new(), instance, generation: -1 },
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session: Duration::from_secs(30),
            rebalance: Duration::from_secs(30),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff"))],
            id_first: true,
            can_skip_assignment: true,
            fresh: Uuid::from_u128(5),
        };
        let ticket = self.ask(Request::Join(join));
        self.pass(Duration::from_secs(4));
        match self.answer(ticket) {
            Some(Response::Join(outcome)) => outcome.map(drop).map_err(|refused| refused.code),
            other => panic!("{other:?}"),
        }
    }

    pub fn delete(&mut self) -> ErrorCode {
        match self.now(Request::Delete { group: GROUP.into() }) {
            Response::Delete(code) => code,
            other => panic!("{other:?}"),
        }
    }

    /// The same, made anew from the log.
    pub fn replayed(&self) -> Stage {
        let mut coordinator = Coordinator::new(self.settings);
        for GroupRecord { key, value } in &self.log {
            coordinator.replay(key, value.as_deref()).expect("our own records");
        }
        coordinator.follow(&self.image);
        coordinator.loaded(self.moment());
        let (log, image, answers) = (self.log.clone(), self.image.clone(), BTreeMap::new());
        let (settings, now, asked) = (self.settings, self.now, self.asked);
        Stage { coordinator, log, now, waited: false, settings, image, asked, answers }
    }

    /// Made anew from its records the group is the same.
    pub fn check_replay(&mut self) {
        assert_eq!(self.replayed().describe_if(), self.describe_if());
    }
}
