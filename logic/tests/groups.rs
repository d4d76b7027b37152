//! Groups, driven by members made of a seed: they join, stall, crash, come back and commit, in time that jumps. What must hold is checked at
//! every step, and that a coordinator made anew from the records is the one that wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_logic::group::request::*;
use millrace_logic::group::{
    Coordinator, Effect, GroupRecord, MAX_GROUP_BYTES, Now, Request, Response, Settings,
};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

const GROUP: &str = "group";
const PARTITIONS: i32 = 7;
const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(20);

/// xorshift64*: the same draws on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A coordinator, its log, and all that was asked and answered.
struct Stage {
    coordinator: Coordinator<u64>,
    log: Vec<GroupRecord>,
    now: Duration,
    asked: u64,
    answers: BTreeMap<u64, Response>,
    rebalances: u64,
}

impl Stage {
    fn new(settings: Settings) -> Self {
        let mut coordinator = Coordinator::new(settings);
        let now = Duration::from_secs(1);
        coordinator.loaded(Now { mono: now, wall_ms: 1_000 });
        Self { coordinator, log: Vec::new(), now, asked: 0, answers: BTreeMap::new(), rebalances: 0 }
    }

    fn moment(&self) -> Now {
        Now { mono: self.now, wall_ms: self.now.as_millis() as i64 }
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.asked += 1;
        let mut out = Vec::new();
        self.coordinator.handle(self.moment(), request, self.asked, &mut out);
        self.carry_out(out);
        self.asked
    }

    /// An answer that comes at once.
    fn now(&mut self, request: Request) -> Response {
        let ticket = self.ask(request);
        self.answers.remove(&ticket).expect("answered at once")
    }

    fn pass(&mut self, time: Duration) {
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
                Effect::Rebalance => self.rebalances += 1,
                Effect::Reply { ticket, response, .. } => {
                    let twice = self.answers.insert(ticket, response);
                    assert!(twice.is_none(), "request {ticket} was answered twice");
                }
            }
        }
    }

    fn describe(&mut self) -> Option<Description> {
        match self.now(Request::Describe { group: GROUP.into() }) {
            Response::Describe(description) => description.ok(),
            other => panic!("{other:?}"),
        }
    }

    fn offsets(&mut self) -> BTreeMap<i32, i64> {
        match self.now(Request::Fetch(Fetch { group: GROUP.into(), topics: None, member: None })) {
            Response::Fetch(Ok(topics)) => topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|it| (it.partition, it.offset))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The same, made anew from the log.
    fn replayed(&self, settings: Settings) -> Stage {
        let mut stage = Stage::new(settings);
        for GroupRecord { key, value } in &self.log {
            stage.coordinator.replay(key, value.as_deref()).expect("our own records");
        }
        stage.now = self.now;
        stage.coordinator.loaded(stage.moment());
        stage
    }
}

/// What a member is about.
#[derive(Clone, Debug, PartialEq)]
enum Doing {
    /// It will join.
    Outside,
    Joining(u64),
    /// It will bring, or ask for, what was assigned.
    Joined(Joined),
    Syncing(u64, i32),
    Owning(i32, BTreeSet<i32>),
}

struct Member {
    session: Duration,
    name: Option<String>,
    id: String,
    doing: Doing,
    /// Until then it does nothing: it stalls, or its process is gone.
    away: Duration,
}

impl Member {
    fn caller(&self, generation: i32) -> Caller {
        Caller { group: GROUP.into(), member: self.id.clone(), instance: self.name.clone(), generation }
    }

    fn join(&self, fresh: u128) -> Request {
        Request::Join(Join {
            caller: self.caller(-1),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session: self.session,
            rebalance: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"))],
            id_first: true,
            can_skip_assignment: true,
            fresh: Uuid::from_u128(fresh),
        })
    }
}

fn encode(partitions: impl Iterator<Item = i32>) -> Bytes {
    partitions.map(|partition| partition as u8).collect::<Vec<_>>().into()
}

fn assign(joined: &Joined) -> Vec<(String, Bytes)> {
    let count = joined.members.len() as i32;
    let share = |(at, member): (i32, &JoinedMember)| {
        (member.member.to_string(), encode((0..PARTITIONS).filter(|partition| partition % count == at)))
    };
    (0..).zip(&joined.members).map(share).collect()
}

struct World {
    rng: Rng,
    stage: Stage,
    members: Vec<Member>,
    /// The last offset that was accepted, by partition.
    committed: BTreeMap<i32, i64>,
    /// What each member of a generation got.
    given: BTreeMap<i32, BTreeMap<String, BTreeSet<i32>>>,
    next_id: u128,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // In every second world members are out because they did not come back, before they are because they are silent.
        let session = if seed.is_multiple_of(2) { SESSION } else { 3 * REBALANCE };
        let member = |number: usize, rng: &mut Rng| Member {
            session,
            name: rng.chance(30).then(|| format!("name-{number}")),
            id: String::new(),
            doing: Doing::Outside,
            away: Duration::ZERO,
        };
        let count = 1 + rng.below(6) as usize;
        let members = (0..count).map(|number| member(number, &mut rng)).collect();
        let (committed, given) = (BTreeMap::new(), BTreeMap::new());
        Self { rng, stage: Stage::new(Settings::default()), members, committed, given, next_id: 0 }
    }

    fn run(mut self) {
        for _ in 0..400 {
            let at = self.rng.below(self.members.len() as u64) as usize;
            if self.members[at].away <= self.stage.now {
                self.act(at);
            }
            if self.rng.chance(2) {
                self.start_anew();
            }
            let jump = if self.rng.chance(5) { 15_000 } else { 700 };
            let time = Duration::from_millis(self.rng.below(jump));
            self.stage.pass(time);
            self.check();
        }
        self.settles();
        self.expires();
    }

    /// What a member does next; or it crashes, or stalls.
    fn act(&mut self, at: usize) {
        match self.rng.below(100) {
            0..3 => {
                // Its process ends. A static one comes back under its name, another one as somebody new.
                let member = &mut self.members[at];
                (member.id, member.doing) = (String::new(), Doing::Outside);
                member.away = self.stage.now + Duration::from_millis(self.rng.below(30_000));
                return;
            }
            3..6 => {
                self.members[at].away = self.stage.now + Duration::from_millis(self.rng.below(25_000));
                return;
            }
            6..8 => return self.leave(at),
            _ => {}
        }
        match self.members[at].doing.clone() {
            Doing::Outside => {
                self.next_id += 1;
                let ticket = self.stage.ask(self.members[at].join(self.next_id));
                self.members[at].doing = Doing::Joining(ticket);
            }
            Doing::Joining(ticket) => self.hear_of_joining(at, ticket),
            Doing::Joined(joined) => {
                let leads = *joined.leader == *joined.member && !joined.skip_assignment;
                let sync = Sync {
                    caller: self.members[at].caller(joined.generation),
                    protocol_type: Some("consumer".into()),
                    protocol: Some("range".into()),
                    assignments: if leads { assign(&joined) } else { Vec::new() },
                };
                let ticket = self.stage.ask(Request::Sync(sync));
                self.members[at].doing = Doing::Syncing(ticket, joined.generation);
            }
            Doing::Syncing(ticket, generation) => self.hear_of_assignment(at, ticket, generation),
            Doing::Owning(generation, owned) => self.work(at, generation, &owned),
        }
    }

    fn hear_of_joining(&mut self, at: usize, ticket: u64) {
        let Some(Response::Join(outcome)) = self.stage.answers.remove(&ticket) else { return };
        let member = &mut self.members[at];
        match outcome {
            Ok(joined) => {
                member.id = joined.member.to_string();
                member.doing = Doing::Joined(joined);
            }
            Err(JoinRefused { code, member: id }) => {
                member.doing = Doing::Outside;
                match code {
                    ErrorCode::MemberIdRequired => member.id = id.to_string(),
                    ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => member.id = String::new(),
                    ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn hear_of_assignment(&mut self, at: usize, ticket: u64, generation: i32) {
        let Some(Response::Sync(outcome)) = self.stage.answers.remove(&ticket) else { return };
        match outcome {
            Ok(synced) => {
                let owned: BTreeSet<i32> = synced.assignment.iter().map(|byte| i32::from(*byte)).collect();
                let member = self.members[at].id.clone();
                let given = self.given.entry(generation).or_default();
                for (other, theirs) in given.iter().filter(|(other, _)| **other != member) {
                    // A static member that came again owns what the one before it did.
                    let same_name = |id: &str| {
                        id.rsplit_once('-').is_some() && id.split('-').nth(1) == member.split('-').nth(1)
                    };
                    let is_successor =
                        member.starts_with("name-") && other.starts_with("name-") && same_name(other);
                    assert!(
                        theirs.is_disjoint(&owned) || is_successor,
                        "{other} and {member} both own some of {owned:?} in generation {generation}"
                    );
                }
                given.insert(member, owned.clone());
                self.members[at].doing = Doing::Owning(generation, owned);
            }
            Err(code) => self.fall_out(at, code),
        }
    }

    fn work(&mut self, at: usize, generation: i32, owned: &BTreeSet<i32>) {
        let caller = self.members[at].caller(generation);
        let code = match self.stage.now(Request::Heartbeat(caller.clone())) {
            Response::Heartbeat(code) => code,
            other => panic!("{other:?}"),
        };
        // Before it goes back to join, a member commits what it has done.
        let may_commit = matches!(code, ErrorCode::None | ErrorCode::RebalanceInProgress);
        let before: Vec<(i32, i64)> = owned
            .iter()
            .map(|partition| (*partition, self.committed.get(partition).map_or(1, |o| o + 1)))
            .collect();
        let offsets = before.iter().map(|(partition, offset)| CommitOffset {
            topic: "t".into(),
            topic_id: Uuid::from_u128(7),
            partition: *partition,
            offset: *offset,
            leader_epoch: 0,
            metadata: String::new(),
        });
        let commit =
            Commit { caller, names_missing_group: true, retention_ms: None, offsets: offsets.collect() };
        match self.stage.now(Request::Commit(commit)) {
            Response::Commit(Ok(codes)) => {
                assert!(may_commit, "a member that is out has committed");
                assert!(codes.iter().all(|code| *code == ErrorCode::None));
                self.committed.extend(before);
            }
            Response::Commit(Err(_)) => {}
            other => panic!("{other:?}"),
        }
        if code != ErrorCode::None {
            self.fall_out(at, code);
        }
    }

    fn fall_out(&mut self, at: usize, code: ErrorCode) {
        let member = &mut self.members[at];
        member.doing = Doing::Outside;
        match code {
            ErrorCode::RebalanceInProgress | ErrorCode::NotCoordinator => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::IllegalGeneration => {
                member.id = String::new();
            }
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, at: usize) {
        let member = &mut self.members[at];
        if member.id.is_empty() {
            return;
        }
        let members = vec![(member.id.clone(), member.name.clone())];
        (member.id, member.doing) = (String::new(), Doing::Outside);
        let left = self.stage.now(Request::Leave(Leave { group: GROUP.into(), members }));
        assert!(matches!(left, Response::Leave(Ok(_))), "{left:?}");
    }

    /// The broker restarts: who waited is told, and everything is as the records say.
    fn start_anew(&mut self) {
        let next = self.stage.replayed(Settings::default());
        let old = std::mem::replace(&mut self.stage, next);
        let mut out = Vec::new();
        old.coordinator.stop(ErrorCode::NotCoordinator, &mut out);
        (self.stage.log, self.stage.asked, self.stage.answers) = (old.log, old.asked, old.answers);
        self.stage.carry_out(out);
    }

    fn check(&mut self) {
        assert_eq!(self.stage.offsets(), self.committed, "the last that was accepted is what is fetched");
        let Some(now) = self.stage.describe() else { return };
        // What is not stable is not in the log; a member that was replaced is. To read all of it takes a while.
        if !self.rng.chance(4) {
            return;
        }
        if now.state == "Stable" || now.state == "Empty" && !self.stage.log.is_empty() {
            let mut replayed = self.stage.replayed(Settings::default());
            assert_eq!(replayed.offsets(), self.committed);
            if now.state == "Stable" {
                let replayed = replayed.describe().expect("it was recorded");
                assert_eq!(replayed, now, "made anew from the records it is the same");
            }
        }
    }

    /// Left alone, members that do what they should come to own every partition.
    fn settles(&mut self) {
        let until = self.stage.now + 4 * (3 * REBALANCE + REBALANCE) + Duration::from_secs(60);
        self.members.iter_mut().for_each(|member| member.away = Duration::ZERO);
        while self.stage.now < until {
            for at in 0..self.members.len() {
                self.step_quietly(at);
            }
            self.stage.pass(Duration::from_millis(500));
            self.check();
        }
        let found = self.stage.describe().expect("there are members");
        assert_eq!((found.state, found.members.len()), ("Stable", self.members.len()), "{found:?}");
        let owned: Vec<i32> = found
            .members
            .iter()
            .flat_map(|member| member.assignment.iter().map(|partition| i32::from(*partition)))
            .collect();
        assert_eq!(owned.iter().copied().collect::<BTreeSet<_>>(), (0..PARTITIONS).collect());
        assert_eq!(owned.len() as i32, PARTITIONS, "none has two owners");
    }

    fn step_quietly(&mut self, at: usize) {
        match self.members[at].doing.clone() {
            Doing::Owning(generation, owned) => self.work(at, generation, &owned),
            _ => self.act_without_accident(at),
        }
    }

    fn act_without_accident(&mut self, at: usize) {
        // Any draw beyond the accidents does.
        let rng = std::mem::replace(&mut self.rng, Rng(1));
        while self.rng.0 == 1 || Rng(self.rng.0).below(100) < 8 {
            self.rng.next();
        }
        self.act(at);
        self.rng = rng;
    }

    /// When nobody is left, its offsets go after their time, and then the group.
    fn expires(mut self) {
        for at in 0..self.members.len() {
            self.leave(at);
        }
        self.stage.pass(5 * REBALANCE);
        assert_eq!(self.stage.describe().expect("it has offsets").state, "Empty");
        let retention = Duration::from_millis(Settings::default().retention_ms as u64);
        self.stage.pass(retention - Duration::from_secs(120));
        assert_eq!(self.stage.offsets(), self.committed, "not yet");
        self.stage.pass(Duration::from_secs(120) + Settings::default().retention_check);
        assert_eq!(self.stage.offsets(), BTreeMap::new());
        assert_eq!(self.stage.describe(), None);
        let mut replayed = self.stage.replayed(Settings::default());
        assert_eq!((replayed.describe(), replayed.offsets()), (None, BTreeMap::new()));
    }
}

#[test]
fn members_of_many_seeds() {
    for seed in 0..150 {
        World::new(seed).run();
    }
}

fn member(name: Option<&str>, id: &str) -> Member {
    Member {
        session: SESSION,
        name: name.map(str::to_owned),
        id: id.to_owned(),
        doing: Doing::Outside,
        away: Duration::ZERO,
    }
}

fn join_code(response: &Response) -> Result<i32, ErrorCode> {
    match response {
        Response::Join(Ok(joined)) => Ok(joined.generation),
        Response::Join(Err(refused)) => Err(refused.code),
        other => panic!("{other:?}"),
    }
}

/// A group that begins waits for its delay, and once more whenever somebody came meanwhile.
#[test]
fn a_new_group_waits_for_more_members() {
    let mut stage = Stage::new(Settings::default());
    let first = stage.ask(member(Some("a"), "").join(1));
    stage.pass(Duration::from_secs(2));
    let second = stage.ask(member(Some("b"), "").join(2));
    stage.pass(Duration::from_secs(2));
    assert!(stage.answers.is_empty(), "3 s are over, but one came");
    stage.pass(Duration::from_secs(3));
    assert_eq!(join_code(&stage.answers[&first]), Ok(1));
    assert_eq!(join_code(&stage.answers[&second]), Ok(1));
    assert_eq!(stage.rebalances, 1);
}

/// An id that was given out holds a rebalance up until its owner comes, or its time is over.
#[test]
fn an_id_that_nobody_comes_back_with() {
    let mut stage = Stage::new(Settings { initial_delay: Duration::ZERO, ..Settings::default() });
    let first = stage.ask(member(Some("a"), "").join(1));
    stage.pass(Duration::from_millis(1));
    let Some(Response::Join(Ok(joined))) = stage.answers.remove(&first) else { panic!("no answer") };
    assert_eq!(join_code(&stage.now(member(None, "").join(2))), Err(ErrorCode::MemberIdRequired));
    // The leader comes again: a rebalance, which the id holds up.
    let sync = Sync {
        caller: member(Some("a"), &joined.member).caller(1),
        assignments: assign(&joined),
        ..Sync::default()
    };
    assert!(matches!(stage.now(Request::Sync(sync)), Response::Sync(Ok(_))));
    let again = stage.ask(member(Some("a"), &joined.member).join(3));
    stage.pass(SESSION - Duration::from_secs(1));
    assert!(!stage.answers.contains_key(&again));
    stage.pass(Duration::from_secs(2));
    assert_eq!(join_code(&stage.answers[&again]), Ok(2));
    assert_eq!(stage.rebalances, 2);
}

/// What a new member is told when its group is full, and that the others do not notice.
#[test]
fn a_full_group() {
    let settings = Settings { initial_delay: Duration::ZERO, max_size: 1, ..Settings::default() };
    let mut stage = Stage::new(settings);
    let first = stage.ask(member(Some("a"), "").join(1));
    stage.pass(Duration::from_millis(1));
    assert_eq!(join_code(&stage.answers[&first]), Ok(1));
    assert_eq!(join_code(&stage.now(member(Some("b"), "").join(2))), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(stage.describe().expect("there").members.len(), 1);
}

/// Offsets of topics that are gone, or that have another id now, are forgotten, also in the log.
#[test]
fn topics_that_are_gone() {
    let mut stage = Stage::new(Settings::default());
    let offset = |topic: &str, id: u128| CommitOffset {
        topic: topic.into(),
        topic_id: Uuid::from_u128(id),
        partition: 0,
        offset: 5,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let caller = Caller { group: GROUP.into(), generation: -1, ..Caller::default() };
    let offsets = vec![offset("kept", 1), offset("gone", 2), offset("anew", 3), offset("old", 0)];
    let commit = Commit { caller, names_missing_group: true, retention_ms: None, offsets };
    assert!(matches!(stage.now(Request::Commit(commit)), Response::Commit(Ok(_))));
    let mut out = Vec::new();
    let known = BTreeMap::from([("kept", 1), ("anew", 4), ("old", 9)]);
    let is_there =
        |name: &str, id: Uuid| known.get(name).is_some_and(|now| id.is_nil() || id.as_u128() == *now);
    stage.coordinator.forget_topics(is_there, &mut out);
    stage.carry_out(out);
    for mut stage in [stage.replayed(Settings::default()), stage] {
        let Response::Fetch(Ok(topics)) =
            stage.now(Request::Fetch(Fetch { group: GROUP.into(), topics: None, member: None }))
        else {
            panic!("an answer")
        };
        let names: Vec<Arc<str>> = topics.into_iter().map(|topic| topic.topic).collect();
        assert_eq!(names, ["kept".into(), "old".into()] as [Arc<str>; 2]);
    }
}

/// Nothing of a stranger's takes the log's reader down.
#[test]
fn records_that_are_damaged_are_told() {
    let mut stage = Stage::new(Settings::default());
    let mut out = Vec::new();
    let caller = Caller { group: GROUP.into(), generation: -1, ..Caller::default() };
    let offset = CommitOffset {
        topic: "t".into(),
        topic_id: Uuid::nil(),
        partition: 0,
        offset: 5,
        leader_epoch: -1,
        metadata: "m".into(),
    };
    let commit = Commit { caller, names_missing_group: true, retention_ms: Some(5), offsets: vec![offset] };
    stage.coordinator.handle(stage.moment(), Request::Commit(commit), 0, &mut out);
    let Effect::Append(GroupRecord { key, value: Some(value) }) = &out[0] else { panic!("{out:?}") };
    let mut coordinator = Coordinator::<u64>::new(Settings::default());
    for cut in 0..value.len() {
        assert!(coordinator.replay(key, Some(&value[..cut])).is_err(), "{cut}");
    }
    for cut in 0..key.len() {
        assert!(coordinator.replay(&key[..cut], Some(value)).is_err(), "{cut}");
    }
    assert_eq!(coordinator.counts(), (0, 0));
    assert_eq!(coordinator.replay(&[0, 99, 1, 2], Some(&[1])), Ok(()), "a kind of the future");
    assert_eq!(coordinator.replay(key, Some(value)), Ok(()));
    assert_eq!(coordinator.counts(), (1, 0));
}

/// Members that have many protocols in opposite orders: the one that both have is found without comparing each with each.
#[test]
fn many_protocols() {
    let names: Vec<String> = (0..60_000).map(|number| format!("{number}")).collect();
    let protocols = |own: &str, common: bool| {
        let mut all: Vec<_> = names.iter().map(|name| (format!("{own}{name}"), Bytes::new())).collect();
        all.extend(common.then(|| ("common".to_owned(), Bytes::new())));
        all
    };
    let mut stage = Stage::new(Settings { initial_delay: Duration::from_secs(1), ..Settings::default() });
    let mut come = |name: &str, protocols: Vec<(String, Bytes)>| {
        let Request::Join(join) = member(Some(name), "").join(name.len() as u128) else { panic!("a join") };
        stage.ask(Request::Join(Join { protocols, ..join }))
    };
    let first = come("a", protocols("a", true));
    let second = come("bb", protocols("b", true));
    let third = come("ccc", protocols("c", false));
    stage.pass(Duration::from_secs(30));
    for ticket in [first, second] {
        let Response::Join(Ok(joined)) = &stage.answers[&ticket] else {
            panic!("{:?}", stage.answers[&ticket])
        };
        assert_eq!(joined.protocol.as_deref(), Some("common"));
    }
    assert_eq!(join_code(&stage.answers[&third]), Err(ErrorCode::InconsistentGroupProtocol));
}

/// Protocols that say nothing take memory as well, and a request has room for millions of them.
#[test]
fn protocols_without_a_name() {
    let mut stage = Stage::new(Settings::default());
    let mut come = |count: usize| {
        let Request::Join(join) = member(Some("a"), "").join(1) else { panic!("a join") };
        let protocols = vec![(String::new(), Bytes::new()); count];
        let ticket = stage.ask(Request::Join(Join { protocols, ..join }));
        stage.pass(Duration::from_secs(4));
        join_code(&stage.answers[&ticket])
    };
    assert_eq!(come(300_000), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(come(1000), Ok(1));
}

/// What members say, and what a leader gives out, has a bound for the group as a whole.
#[test]
fn a_group_that_says_too_much() {
    let mut stage = Stage::new(Settings { initial_delay: Duration::from_secs(1), ..Settings::default() });
    let mut come = |name: &str, bytes: usize| {
        let Request::Join(join) = member(Some(name), "").join(name.len() as u128) else { panic!("a join") };
        let protocols = vec![("range".to_owned(), Bytes::from(vec![0; bytes]))];
        stage.ask(Request::Join(Join { protocols, ..join }))
    };
    let first = come("a", MAX_GROUP_BYTES - 1000);
    let second = come("bb", 2000);
    let third = come("ccc", 500);
    stage.pass(Duration::from_secs(2));
    let Some(Response::Join(Ok(joined))) = stage.answers.remove(&first) else { panic!("the first is in") };
    assert_eq!(join_code(&stage.answers[&second]), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(join_code(&stage.answers[&third]), Ok(1));
    let mut give = |bytes: usize| {
        let caller = member(Some("a"), &joined.member).caller(1);
        let assignments = vec![(joined.member.to_string(), Bytes::from(vec![0; bytes]))];
        stage.now(Request::Sync(Sync { caller, assignments, ..Sync::default() }))
    };
    assert_eq!(give(MAX_GROUP_BYTES), Response::Sync(Err(ErrorCode::UnknownServerError)));
    assert!(matches!(give(1000), Response::Sync(Ok(_))));
}

/// What is asked for twice is answered once, and whatever is not there is answered as such.
#[test]
fn a_partition_that_is_asked_for_twice() {
    let mut stage = Stage::new(Settings::default());
    let caller = Caller { group: GROUP.into(), generation: -1, ..Caller::default() };
    let offset = CommitOffset {
        topic: "t".into(),
        topic_id: Uuid::nil(),
        partition: 3,
        offset: 5,
        leader_epoch: -1,
        metadata: "m".repeat(4096),
    };
    let commit = Commit { caller, names_missing_group: true, retention_ms: None, offsets: vec![offset] };
    assert!(matches!(stage.now(Request::Commit(commit)), Response::Commit(Ok(_))));
    let topics = Some(vec![("t".into(), vec![3; 1000]), ("t".into(), vec![3, 4])]);
    let fetched = stage.now(Request::Fetch(Fetch { group: GROUP.into(), topics, member: None }));
    let Response::Fetch(Ok(topics)) = fetched else { panic!("{fetched:?}") };
    let found: Vec<_> =
        topics.iter().flat_map(|topic| &topic.partitions).map(|it| (it.partition, it.offset)).collect();
    assert_eq!(found, [(3, 5), (4, -1)]);
}
