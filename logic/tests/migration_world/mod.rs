//! Worlds made of a seed in which members of both protocols come, stall, crash, leave and come back by the other one, in time that jumps, while
//! their group goes from one protocol to the other and its coordinator starts anew. Whatever happens, no partition has two members, and left
//! alone every partition gets one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consumer_support::{GROUP, Rng, Stage, beat, join, topic_id};
use crate::migration_support::{
    Named, REBALANCE, assignment, caller, given, join as classic, said, subscription,
};
use bytes::Bytes;
use millrace_logic::group::consumer::{ConsumerSettings, MigrationPolicy};
use millrace_logic::group::request::*;
use millrace_logic::group::{Request, Response, Settings};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

/// What a member speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    New,
    /// It gives up everything before it comes again.
    Eager,
    /// It keeps what it has meanwhile, and comes once more when it has given something up.
    Cooperative,
}

/// Where a member of the classic protocol is.
#[derive(Clone, Debug, PartialEq)]
enum Doing {
    /// It will join.
    Outside,
    Joining(u64),
    Joined(Joined),
    Syncing(u64),
    In,
}

#[derive(Debug)]
struct Client {
    speaks: Speaks,
    id: String,
    name: Option<String>,
    topics: Vec<String>,
    /// Its epoch or generation; 0 for who is in none.
    epoch: i32,
    /// What it has: it works on these.
    has: Named,
    /// What it was last told to have, by the new protocol.
    told: Named,
    /// It did not hear the last answer: it says everything, and is told everything.
    lost: bool,
    doing: Doing,
    /// The topics when it assigned, if it leads.
    assigned_for: Option<Vec<(&'static str, i32)>>,
    /// Until then it does nothing.
    away: Duration,
}

impl Client {
    /// Its process ends: it has nothing any more.
    fn forget(&mut self) {
        self.drop_all();
        self.id.clear();
    }

    /// It is out: it has nothing any more, and comes again.
    fn drop_all(&mut self) {
        (self.epoch, self.doing, self.assigned_for) = (0, Doing::Outside, None);
        (self.has, self.told) = (Named::new(), Named::new());
    }
}

struct World {
    rng: Rng,
    stage: Stage,
    clients: Vec<Client>,
    fresh: u64,
    topics: Vec<(&'static str, i32)>,
    /// What members of the classic protocol do: all of them the same, as in any group.
    classic: Speaks,
    /// What became of the group.
    upgrades: usize,
    downgrades: usize,
    group_type: Option<&'static str>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let topics = vec![("a", 5), ("b", 3)];
        let migration =
            if seed.is_multiple_of(5) { MigrationPolicy::Upgrade } else { MigrationPolicy::Bidirectional };
        let consumer = ConsumerSettings { migration, ..ConsumerSettings::default() };
        let stage = Stage::new(Settings { consumer, ..Settings::default() }, &topics);
        let classic = if rng.chance(50) { Speaks::Eager } else { Speaks::Cooperative };
        let client = |number: u64, rng: &mut Rng| Client {
            speaks: if rng.chance(50) { Speaks::New } else { classic },
            id: String::new(),
            name: rng.chance(25).then(|| format!("name-{number}")),
            topics: ["a", "b"].into_iter().filter(|_| rng.chance(80)).map(str::to_owned).collect(),
            epoch: 0,
            has: Named::new(),
            told: Named::new(),
            lost: false,
            doing: Doing::Outside,
            assigned_for: None,
            away: Duration::ZERO,
        };
        let count = 2 + rng.below(4);
        let clients = (0..count).map(|number| client(number, &mut rng)).collect();
        let (upgrades, downgrades, group_type) = (0, 0, None);
        Self { rng, stage, clients, fresh: 0, topics, classic, upgrades, downgrades, group_type }
    }

    fn run(mut self) -> (usize, usize) {
        for _ in 0..500 {
            let at = self.rng.below(self.clients.len() as u64) as usize;
            if self.clients[at].away <= self.stage.now {
                self.act(at, true);
            }
            if self.rng.chance(1) {
                self.stage = self.stage.replayed();
                self.lose_tickets();
            }
            if self.rng.chance(1) {
                let topic = self.rng.below(2) as usize;
                self.topics[topic].1 += 1;
                self.stage.topics(&self.topics);
            }
            let jump = if self.rng.chance(3) { 20_000 } else { 800 };
            let time = Duration::from_millis(self.rng.below(jump));
            self.stage.pass(time);
            self.check();
        }
        self.settles();
        (self.upgrades, self.downgrades)
    }

    /// The coordinator starts anew: whoever waited for it asks again.
    fn lose_tickets(&mut self) {
        for client in &mut self.clients {
            if matches!(client.doing, Doing::Joining(_) | Doing::Syncing(_)) {
                client.doing = Doing::Outside;
            }
        }
    }

    fn act(&mut self, at: usize, accidents: bool) {
        let away = self.stage.now + Duration::from_millis(self.rng.below(40_000));
        match self.rng.below(100) {
            0..2 if accidents => {
                self.clients[at].forget();
                self.clients[at].away = away;
                return self.speak_otherwise(at);
            }
            2..4 if accidents => return self.clients[at].away = away,
            4..7 if accidents => {
                self.leave(at);
                return self.speak_otherwise(at);
            }
            _ => {}
        }
        match (self.clients[at].speaks, self.clients[at].epoch) {
            (Speaks::New, 0) => self.join_new(at),
            (Speaks::New, _) => self.beat(at),
            (Speaks::Eager | Speaks::Cooperative, _) => self.go_on(at),
        }
    }

    /// It is started anew, often by the other protocol.
    fn speak_otherwise(&mut self, at: usize) {
        if self.rng.chance(60) {
            let speaks = &mut self.clients[at].speaks;
            *speaks = if *speaks == Speaks::New { self.classic } else { Speaks::New };
        }
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let (id, name, epoch) = (client.id.clone(), client.name.clone(), client.epoch);
        client.forget();
        match client.speaks {
            _ if id.is_empty() || epoch == 0 => {}
            Speaks::New => {
                let epoch = if name.is_some() && self.rng.chance(50) { -2 } else { -1 };
                let _ = self.stage.beat(ConsumerHeartbeat { instance: name, ..beat(&id, epoch) });
            }
            Speaks::Eager | Speaks::Cooperative => {
                let leave = Leave { group: GROUP.into(), members: vec![(id, name)] };
                self.stage.now(Request::Leave(leave));
            }
        }
    }

    fn join_new(&mut self, at: usize) {
        self.fresh += 1;
        let client = &mut self.clients[at];
        if client.id.is_empty() {
            client.id = format!("m{}", self.fresh);
        }
        let topics: Vec<&str> = client.topics.iter().map(String::as_str).collect();
        let mut request = join(&client.id, &topics);
        (request.instance, request.rebalance) = (client.name.clone(), Some(REBALANCE));
        let answer = self.stage.beat(request);
        self.hear(at, answer);
    }

    fn beat(&mut self, at: usize) {
        let slow = self.rng.chance(20);
        let client = &mut self.clients[at];
        if !slow {
            client.has = client.told.clone();
        }
        let mut request = beat(&client.id, client.epoch);
        request.instance = client.name.clone();
        if !slow || client.lost {
            request.owned = Some(listed(&client.has));
        }
        if client.lost {
            (request.topics, request.rebalance) = (Some(client.topics.clone()), Some(REBALANCE));
        }
        let answer = self.stage.beat(request);
        self.hear(at, answer);
    }

    fn hear(&mut self, at: usize, answer: Result<Beat, Refusal>) {
        // Sometimes the answer is lost.
        let client = &mut self.clients[at];
        client.lost = self.rng.chance(3);
        if client.lost {
            return;
        }
        match answer {
            Ok(beat) => {
                client.epoch = beat.epoch;
                if let Some(assignment) = beat.assignment {
                    client.told = names(&assignment);
                }
            }
            Err(refusal) => {
                client.drop_all();
                match refusal.code {
                    // A classic group without a generation may lose its only member as the coordinator starts anew.
                    ErrorCode::FencedMemberEpoch
                    | ErrorCode::UnknownMemberId
                    | ErrorCode::GroupIdNotFound => {}
                    ErrorCode::FencedInstanceId | ErrorCode::UnreleasedInstanceId => client.id.clear(),
                    other => panic!("{other:?}: {}", refusal.message),
                }
            }
        }
    }

    /// The next step of a member of the classic protocol.
    fn go_on(&mut self, at: usize) {
        match self.clients[at].doing.clone() {
            Doing::Outside => self.ask_to_join(at),
            Doing::Joining(ticket) => match self.stage.answer(ticket) {
                None => {}
                Some(Response::Join(Ok(joined))) => {
                    let client = &mut self.clients[at];
                    client.id = joined.member.to_string();
                    client.epoch = joined.generation;
                    client.doing = Doing::Joined(joined);
                }
                Some(Response::Join(Err(JoinRefused { code: ErrorCode::MemberIdRequired, member }))) => {
                    self.clients[at].id = member.to_string();
                    self.clients[at].doing = Doing::Outside;
                }
                Some(Response::Join(Err(refused))) => self.is_told(at, refused.code),
                other => panic!("{other:?}"),
            },
            Doing::Joined(joined) => self.ask_what_it_got(at, &joined),
            Doing::Syncing(ticket) => match self.stage.answer(ticket) {
                None => {}
                Some(Response::Sync(Ok(synced))) => self.takes(at, given(&synced.assignment)),
                Some(Response::Sync(Err(code))) => self.is_told(at, code),
                other => panic!("{other:?}"),
            },
            Doing::In => {
                let client = &self.clients[at];
                let topics_changed =
                    client.assigned_for.as_ref().is_some_and(|before| *before != self.topics);
                let caller = Caller { instance: client.name.clone(), ..caller(&client.id, client.epoch) };
                if topics_changed {
                    self.clients[at].assigned_for = None;
                    return self.is_told(at, ErrorCode::RebalanceInProgress);
                }
                match self.stage.now(Request::Heartbeat(caller)) {
                    Response::Heartbeat(ErrorCode::None) => {}
                    Response::Heartbeat(code) => self.is_told(at, code),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn ask_to_join(&mut self, at: usize) {
        self.fresh += 1;
        let client = &mut self.clients[at];
        if client.speaks == Speaks::Eager {
            client.has.clear();
        }
        let topics: Vec<&str> = client.topics.iter().map(String::as_str).collect();
        let generation = if client.has.is_empty() { -1 } else { client.epoch };
        let protocols = vec![("any".to_owned(), subscription(&topics, &client.has, generation))];
        let caller = Caller { instance: client.name.clone(), ..caller(&client.id, -1) };
        let fresh = Uuid::from_u128(self.fresh.into());
        let join = Join { caller, protocols, fresh, ..classic("", &[], &Named::new()) };
        client.doing = Doing::Joining(self.stage.ask_to_join(join));
    }

    fn ask_what_it_got(&mut self, at: usize, joined: &Joined) {
        let leads = joined.leader == joined.member && !joined.skip_assignment;
        let assignments = if leads { self.assign(joined) } else { Vec::new() };
        let client = &mut self.clients[at];
        client.assigned_for = leads.then(|| self.topics.clone());
        let caller = Caller { instance: client.name.clone(), ..caller(&client.id, joined.generation) };
        let sync = Sync { caller, assignments, ..Sync::default() };
        client.doing = Doing::Syncing(self.stage.ask(Request::Sync(sync)));
    }

    /// Everybody gets a part of the topics that it subscribes to, but nothing that another one still has.
    fn assign(&self, joined: &Joined) -> Vec<(String, Bytes)> {
        let members: Vec<_> =
            joined.members.iter().map(|it| (it.member.to_string(), said(&it.metadata))).collect();
        let mut shares: BTreeMap<&str, Named> =
            members.iter().map(|(id, _)| (id.as_str(), Named::new())).collect();
        for (topic, count) in &self.topics {
            let readers: Vec<_> = members
                .iter()
                .filter(|(_, (topics, _))| topics.iter().any(|name| name == topic))
                .map(|(id, _)| id.as_str())
                .collect();
            for number in (0..*count).filter(|_| !readers.is_empty()) {
                let id = readers[number as usize % readers.len()];
                let one = ((*topic).to_owned(), number);
                let has = |other: &&(String, (Vec<String>, Named))| other.0 != id && other.1.1.contains(&one);
                if members.iter().find(has).is_none() {
                    shares.entry(id).or_default().insert(one);
                }
            }
        }
        shares.into_iter().map(|(id, share)| (id.to_owned(), assignment(&share))).collect()
    }

    /// It hears what it got. What it is to give up it gives up, and comes again for that.
    fn takes(&mut self, at: usize, got: Named) {
        let client = &mut self.clients[at];
        let gave_up = client.has.difference(&got).next().is_some();
        client.has = got;
        client.doing = if gave_up { Doing::Outside } else { Doing::In };
    }

    fn is_told(&mut self, at: usize, code: ErrorCode) {
        let client = &mut self.clients[at];
        match code {
            ErrorCode::RebalanceInProgress => client.doing = Doing::Outside,
            ErrorCode::IllegalGeneration => client.drop_all(),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => client.forget(),
            other => panic!("{other:?}"),
        }
    }

    /// No partition has two members, as the coordinator has it, nor as members have it who are still members.
    fn check(&mut self) {
        let group_type = self.stage.group_type();
        match (self.group_type, group_type) {
            (Some("classic"), Some("consumer")) => self.upgrades += 1,
            (Some("consumer"), Some("classic")) => self.downgrades += 1,
            _ => {}
        }
        self.group_type = group_type;
        let mut owners: BTreeMap<(String, i32), String> = BTreeMap::new();
        let members: BTreeMap<String, Option<i32>> = match self.stage.describe_if() {
            Some(group) => {
                for member in &group.members {
                    for one in names(&member.assigned).into_iter().chain(names(&member.revoking)) {
                        let before = owners.insert(one.clone(), member.member.to_string());
                        assert_eq!(before, None, "{one:?} is {}'s, too: {group:#?}", member.member);
                    }
                }
                group.members.iter().map(|it| (it.member.to_string(), Some(it.epoch))).collect()
            }
            None => {
                let group = self.stage.describe_classic();
                let members = group.iter().flat_map(|it| &it.members);
                // A static member may be left out of generations without an end of its membership.
                members.filter(|it| it.instance.is_none()).map(|it| (it.member.to_string(), None)).collect()
            }
        };
        for client in &self.clients {
            let Some(epoch) = members.get(&client.id) else { continue };
            // Whoever was thrown out and does not know it yet is fenced by the session timeout alone, or by its epoch.
            let waits = matches!(client.doing, Doing::Joining(_));
            if epoch.is_some_and(|epoch| epoch != client.epoch && !waits) {
                continue;
            }
            for one in &client.has {
                let owner = owners.entry(one.clone()).or_insert_with(|| client.id.clone());
                assert_eq!(*owner, client.id, "{one:?} has two: {client:#?}, a {:?} group", self.group_type);
            }
        }
        if self.rng.chance(4) && self.group_type == Some("consumer") {
            self.stage.check_replay();
        }
    }

    /// Left alone, members that do what they should come to have every partition that somebody subscribes to.
    fn settles(&mut self) {
        self.clients.iter_mut().for_each(|client| client.away = Duration::ZERO);
        let until = self.stage.now + Duration::from_secs(400);
        while self.stage.now < until {
            for at in 0..self.clients.len() {
                self.act(at, false);
            }
            self.stage.pass(Duration::from_secs(2));
            self.check();
        }
        let described = format!("{:?}\n{:?}", self.clients, self.stage.describe_if());
        let has: Vec<_> = self.clients.iter().flat_map(|client| client.has.iter().cloned()).collect();
        let given: BTreeSet<_> = has.iter().cloned().collect();
        assert_eq!(given.len(), has.len(), "{described}");
        let wanted: BTreeSet<&str> =
            self.clients.iter().flat_map(|it| &it.topics).map(String::as_str).collect();
        let all = self.topics.iter().filter(|(name, _)| wanted.contains(name));
        let all = all.flat_map(|(name, count)| (0..*count).map(|number| ((*name).to_owned(), number)));
        assert_eq!(given, all.collect(), "a {:?} group: {described}", self.group_type);
        let news = self.clients.iter().filter(|client| client.speaks == Speaks::New).count();
        let stays = news > 0 || self.classic == Speaks::New;
        assert!(!stays || self.group_type == Some("consumer"));
        if self.group_type == Some("consumer") {
            self.stage.check_replay();
        }
    }
}

/// Partitions by name, of those topics that there are.
fn names(partitions: &[(Uuid, Vec<i32>)]) -> Named {
    let name = |id: &Uuid| if *id == topic_id("a") { "a" } else { "b" }.to_owned();
    partitions
        .iter()
        .flat_map(|(id, numbers)| numbers.iter().map(move |number| (name(id), *number)))
        .collect()
}

fn listed(partitions: &Named) -> Vec<(Uuid, Vec<i32>)> {
    let mut all: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|(topic, number)| all.entry(topic_id(topic)).or_default().push(*number));
    all.into_iter().collect()
}

#[test]
fn members_of_both_protocols_of_many_seeds() {
    let (mut upgrades, mut downgrades) = (0, 0);
    for seed in 0..200 {
        println!("seed {seed}");
        let moves = World::new(seed).run();
        (upgrades, downgrades) = (upgrades + moves.0, downgrades + moves.1);
    }
    assert!(upgrades > 200 && downgrades > 200, "{upgrades} up and {downgrades} down");
}
