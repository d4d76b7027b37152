//! Requests of members that speak the classic protocol, and what consumers write in them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use millrace_logic::group::request::*;
use millrace_logic::group::{Request, Response};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use crate::consumer_support::{GROUP, Stage};

pub const SESSION: Duration = Duration::from_secs(10);
pub const REBALANCE: Duration = Duration::from_secs(20);

/// Partitions by the name of their topic.
pub type Named = BTreeSet<(String, i32)>;

pub fn named(partitions: &[(&str, &[i32])]) -> Named {
    let of = |(topic, numbers): &(&str, &[i32])| {
        let topic = (*topic).to_owned();
        numbers.iter().map(move |number| (topic.clone(), *number)).collect::<Vec<_>>()
    };
    partitions.iter().flat_map(of).collect()
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(i16::try_from(text.len()).expect("a name").to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn by_topic(bytes: &mut Vec<u8>, partitions: &Named) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|(topic, number)| topics.entry(topic).or_default().push(*number));
    bytes.extend(i32::try_from(topics.len()).expect("a few").to_be_bytes());
    for (topic, numbers) in topics {
        text(bytes, topic);
        bytes.extend(i32::try_from(numbers.len()).expect("a few").to_be_bytes());
        numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    }
}

/// What a member says of itself, in version 2.
pub fn subscription(topics: &[&str], owned: &Named, generation: i32) -> Bytes {
    let mut bytes = vec![0, 2];
    bytes.extend(i32::try_from(topics.len()).expect("a few").to_be_bytes());
    topics.iter().for_each(|topic| text(&mut bytes, topic));
    bytes.extend((-1i32).to_be_bytes());
    by_topic(&mut bytes, owned);
    bytes.extend(generation.to_be_bytes());
    bytes.into()
}

/// What an assignor writes.
pub fn assignment(partitions: &Named) -> Bytes {
    let mut bytes = vec![0, 1];
    by_topic(&mut bytes, partitions);
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number<const N: usize>(&mut self) -> i64 {
        let (bytes, rest) = self.0.split_first_chunk::<N>().expect("a number");
        self.0 = rest;
        bytes.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
    }

    fn text(&mut self) -> String {
        let (text, rest) = self.0.split_at(usize::from(self.0[1]) + 2);
        self.0 = rest;
        String::from_utf8(text[2..].to_vec()).expect("a name")
    }

    fn by_topic(&mut self) -> Named {
        let mut all = Named::new();
        for _ in 0..self.number::<4>() {
            let topic = self.text();
            for _ in 0..self.number::<4>() {
                all.insert((topic.clone(), i32::try_from(self.number::<4>()).expect("a partition")));
            }
        }
        all
    }
}

/// The topics that a member subscribes to and what it has, of what [`subscription`] writes.
pub fn said(metadata: &[u8]) -> (Vec<String>, Named) {
    let mut reader = Reader(&metadata[2..]);
    let topics = (0..reader.number::<4>()).map(|_| reader.text()).collect();
    reader.number::<4>();
    (topics, reader.by_topic())
}

/// What a member got; the version is that of its subscription.
pub fn given(assignment: &[u8]) -> Named {
    if assignment.is_empty() { Named::new() } else { Reader(&assignment[2..]).by_topic() }
}

/// JoinGroup of a member under this id, if it has one already.
pub fn join(member: &str, topics: &[&str], owned: &Named) -> Join {
    Join {
        caller: caller(member, -1),
        client_id: "classic".into(),
        client_host: "/127.0.0.1".into(),
        session: SESSION,
        rebalance: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(topics, owned, -1))],
        id_first: true,
        can_skip_assignment: true,
        fresh: Uuid::from_u128(member.bytes().map(u128::from).sum()),
    }
}

pub fn caller(member: &str, generation: i32) -> Caller {
    Caller { group: GROUP.into(), member: member.into(), instance: None, generation }
}

impl Stage {
    /// JoinGroup, answered at once.
    pub fn join(&mut self, join: Join) -> Result<Joined, ErrorCode> {
        match self.now(Request::Join(join)) {
            Response::Join(outcome) => outcome.map_err(|refused| refused.code),
            other => panic!("{other:?}"),
        }
    }

    /// JoinGroup in a group whose other members are to come first.
    pub fn ask_to_join(&mut self, join: Join) -> u64 {
        self.ask(Request::Join(join))
    }

    pub fn joined(&mut self, ticket: u64) -> Result<Joined, ErrorCode> {
        match self.answer(ticket) {
            Some(Response::Join(outcome)) => outcome.map_err(|refused| refused.code),
            other => panic!("{other:?}"),
        }
    }

    /// SyncGroup, answered at once: what the member got.
    pub fn sync(&mut self, member: &str, generation: i32) -> Result<Named, ErrorCode> {
        let sync = Sync { caller: caller(member, generation), ..Sync::default() };
        match self.now(Request::Sync(sync)) {
            Response::Sync(outcome) => outcome.map(|synced| given(&synced.assignment)),
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        match self.now(Request::Heartbeat(caller(member, generation))) {
            Response::Heartbeat(code) => code,
            other => panic!("{other:?}"),
        }
    }

    pub fn classic_leaves(&mut self, member: &str) -> ErrorCode {
        let members = vec![(member.into(), None)];
        match self.now(Request::Leave(Leave { group: GROUP.into(), members })) {
            Response::Leave(Ok(codes)) => codes[0],
            other => panic!("{other:?}"),
        }
    }

    /// A classic group of these members, each of which has these partitions, in generation 1.
    pub fn classic_group(&mut self, members: &[(&str, &Named)], topics: &[&str]) {
        let coming: Vec<u64> = members
            .iter()
            .map(|(name, _)| {
                let join =
                    Join { id_first: false, client_id: (*name).into(), ..join("", topics, &Named::new()) };
                self.ask_to_join(join)
            })
            .collect();
        self.pass(Duration::from_secs(7));
        let joined: Vec<Joined> = coming.into_iter().map(|ticket| self.joined(ticket).expect("in")).collect();
        let assignments: Vec<(String, Bytes)> = joined
            .iter()
            .zip(members)
            .map(|(joined, (_, partitions))| (joined.member.to_string(), assignment(partitions)))
            .collect();
        for joined in joined.iter().rev() {
            let leads = joined.leader == joined.member;
            let assignments = if leads { assignments.clone() } else { Vec::new() };
            let caller = caller(&joined.member, joined.generation);
            self.ask(Request::Sync(Sync { caller, assignments, ..Sync::default() }));
        }
    }

    /// What kind of group it is.
    pub fn group_type(&mut self) -> Option<&'static str> {
        match self.now(Request::List) {
            Response::List(groups) => groups.first().map(|group| group.group_type),
            other => panic!("{other:?}"),
        }
    }

    pub fn describe_classic(&mut self) -> Option<Description> {
        match self.now(Request::Describe { group: GROUP.into() }) {
            Response::Describe(group) => group.ok(),
            other => panic!("{other:?}"),
        }
    }
}
