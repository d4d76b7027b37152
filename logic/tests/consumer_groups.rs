//! Groups of the new protocol: stories of single members, and worlds made of a seed in which members crash, stall and come back, in time that
//! jumps. Whatever happens, no partition has two members, and left alone every partition gets one.

mod consumer_support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consumer_support::{GROUP, Stage, beat, join, owned, topic_id};
use millrace_logic::group::consumer::{Assignor, ConsumerSettings};
use millrace_logic::group::request::*;
use millrace_logic::group::{Request, Response, Settings};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

const INTERVAL: Duration = Duration::from_secs(1);

fn stage() -> Stage {
    Stage::new(Settings::default(), &[("a", 4), ("b", 2)])
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> ErrorCode {
    outcome.expect_err("it is refused").code
}

/// A lone member gets everything at once; the next one gets its share when the first has given it up.
#[test]
fn what_one_gets_another_has_given_up() {
    let mut stage = stage();
    let first = stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(first.epoch, 2);
    assert_eq!(first.assignment, Some(owned(&[("a", &[0, 1, 2, 3])])));
    let second = stage.beat(join("m2", &["a"])).expect("in");
    assert_eq!((second.epoch, second.assignment), (2, Some(vec![])), "its target is not computed yet");
    assert_eq!(stage.describe().state, "Assigning");
    stage.pass(INTERVAL);
    assert_eq!(stage.describe().state, "Reconciling");
    let second = stage.beat(beat("m2", 2)).expect("in");
    assert_eq!((second.epoch, second.assignment), (3, None), "m1 has all of it still");
    let first = stage.beat(beat("m1", 2)).expect("in");
    assert_eq!((first.epoch, first.assignment), (2, Some(owned(&[("a", &[0, 1])]))), "it is to give up two");
    assert_eq!(stage.beat(beat("m2", 3)).expect("in").assignment, None);
    assert_eq!(stage.beat(beat("m1", 2)).expect("in").epoch, 2, "it did not say that it has");
    let mut gave_up = beat("m1", 2);
    gave_up.owned = Some(owned(&[("a", &[0, 1])]));
    assert_eq!(stage.beat(gave_up).expect("in").epoch, 3);
    let second = stage.beat(beat("m2", 3)).expect("in");
    assert_eq!(second.assignment, Some(owned(&[("a", &[2, 3])])));
    assert_eq!(stage.describe().state, "Stable");
    stage.check_replay();
}

/// A heartbeat that says nothing new leaves no record and is answered at once.
#[test]
fn a_heartbeat_without_news_costs_nothing() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    let records = stage.log.len();
    for _ in 0..100 {
        stage.pass(Duration::from_secs(5));
        let answer = stage.beat(beat("m1", 2)).expect("in");
        assert_eq!((answer.epoch, answer.assignment), (2, None));
        assert!(!stage.waited, "nothing to wait for");
    }
    assert_eq!(stage.log.len(), records);
}

#[test]
fn a_member_that_is_silent_is_out() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    stage.pass(INTERVAL);
    stage.beat(join("m2", &["a"])).expect("in");
    for _ in 0..10 {
        stage.pass(Duration::from_secs(5));
        stage.beat_again("m2").expect("in");
    }
    assert_eq!(code(stage.beat(beat("m1", 2))), ErrorCode::UnknownMemberId);
    let member = stage.describe().members.remove(0);
    assert_eq!(member.assigned, owned(&[("a", &[0, 1, 2, 3])]));
    stage.check_replay();
}

#[test]
fn a_member_that_does_not_give_up_is_out() {
    let mut stage = stage();
    let mut first = join("m1", &["a"]);
    first.rebalance = Some(Duration::from_secs(20));
    stage.beat(first).expect("in");
    stage.pass(INTERVAL);
    stage.beat(join("m2", &["a"])).expect("in");
    for _ in 0..4 {
        stage.beat(beat("m1", 2)).expect("it says nothing of what it has");
        stage.beat_again("m2").expect("in");
        stage.pass(Duration::from_secs(5));
    }
    assert_eq!(code(stage.beat(beat("m1", 2))), ErrorCode::UnknownMemberId);
    stage.beat_again("m2").expect("in");
    assert_eq!(stage.describe().members[0].assigned, owned(&[("a", &[0, 1, 2, 3])]));
}

#[test]
fn epochs_are_fenced() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(code(stage.beat(beat("m1", 1))), ErrorCode::FencedMemberEpoch);
    assert_eq!(code(stage.beat(beat("m1", 3))), ErrorCode::FencedMemberEpoch);
    assert_eq!(code(stage.beat(beat("m2", 2))), ErrorCode::UnknownMemberId);
    let mut elsewhere = beat("m1", 2);
    elsewhere.group = "other".into();
    assert_eq!(code(stage.beat(elsewhere)), ErrorCode::GroupIdNotFound);
    // Topics change: the epoch rises. The member does not hear of it, and comes with the one before.
    stage.topics(&[("a", 5), ("b", 2)]);
    stage.pass(INTERVAL);
    assert_eq!(stage.beat(beat("m1", 2)).expect("in").epoch, 3);
    assert_eq!(code(stage.beat(beat("m1", 2))), ErrorCode::FencedMemberEpoch, "what it has is not known");
    let mut late = beat("m1", 2);
    late.owned = Some(owned(&[("a", &[0, 1, 2, 3])]));
    let answer = stage.beat(late).expect("it has nothing but what it may keep");
    assert_eq!(answer.epoch, 3);
    // Fenced, it comes again under the id that it has.
    let again = stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!((again.epoch, again.assignment), (3, Some(owned(&[("a", &[0, 1, 2, 3, 4])]))));
}

#[test]
fn requests_that_make_no_sense() {
    let mut stage = stage();
    let mut refused = |change: &dyn Fn(&mut ConsumerHeartbeat)| {
        let mut request = join("m1", &["a"]);
        change(&mut request);
        code(stage.beat(request))
    };
    assert_eq!(refused(&|it| it.group = String::new()), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.member = String::new()), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.instance = Some(String::new())), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.rack = Some(String::new())), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.epoch = -3), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.epoch = -2), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.rebalance = None), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.topics = None), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.owned = None), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.owned = Some(owned(&[("a", &[1])]))), ErrorCode::InvalidRequest);
    assert_eq!(refused(&|it| it.assignor = Some("sticky".into())), ErrorCode::UnsupportedAssignor);
    assert_eq!(refused(&|it| it.regex = Some("[".into())), ErrorCode::InvalidRegularExpression);
    assert_eq!(refused(&|it| it.epoch = -1), ErrorCode::GroupIdNotFound);
    assert!(stage.log.is_empty() && stage.coordinator.counts() == (0, 0), "nothing is left of them");
}

/// A few bytes of an expression take a hundred kilobytes when it is compiled: a group has so many, whoever brings them.
#[test]
fn a_group_subscribes_by_so_many_expressions() {
    let mut stage = stage();
    let by = |member: &str, regex: String| {
        let mut request = join(member, &[]);
        request.regex = Some(regex);
        request
    };
    for number in 0..64 {
        stage.beat(by(&format!("m{number}"), format!("a{number}"))).expect("in");
    }
    assert_eq!(code(stage.beat(by("late", "b".into()))), ErrorCode::GroupMaxSizeReached);
    stage.beat(by("late", "a7".into())).expect("by one that there is");
    let mut leaving = beat("m3", -1);
    leaving.owned = None;
    stage.beat(leaving).expect("out");
    stage.beat(by("later", "b".into())).expect("there is room");
}

/// The old version of the request: the coordinator makes ids.
#[test]
fn a_member_without_an_id_is_given_one() {
    let mut stage = stage();
    let mut request = join("", &["a"]);
    request.may_lack_id = true;
    let id = stage.beat(request).expect("in").member.expect("an id");
    assert_eq!(stage.beat(beat(&id, 2)).expect("in").epoch, 2);
}

#[test]
fn a_full_group() {
    let consumer = ConsumerSettings { max_size: 1, ..ConsumerSettings::default() };
    let mut stage = Stage::new(Settings { consumer, ..Settings::default() }, &[("a", 1)]);
    stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(code(stage.beat(join("m2", &["a"]))), ErrorCode::GroupMaxSizeReached);
    stage.beat(join("m1", &["a"])).expect("it is in");
}

/// What members say has a bound for the group as a whole.
#[test]
fn a_group_that_says_too_much() {
    let mut stage = stage();
    let names = |prefix: &str| (0..60_000).map(|at| format!("{prefix}{at:0200}")).collect::<Vec<_>>();
    let mut first = join("m1", &[]);
    first.topics = Some(names("x"));
    stage.beat(first).expect("12 MB are taken");
    let mut second = join("m2", &[]);
    second.topics = Some(names("y"));
    assert_eq!(code(stage.beat(second)), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn static_members() {
    let mut stage = stage();
    let named = |id: &str| ConsumerHeartbeat { instance: Some("i".into()), ..join(id, &["a"]) };
    let hers = |id: &str, epoch: i32| ConsumerHeartbeat { instance: Some("i".into()), ..beat(id, epoch) };
    stage.beat(named("s1")).expect("in");
    assert_eq!(code(stage.beat(named("s2"))), ErrorCode::UnreleasedInstanceId);
    assert_eq!(code(stage.beat(hers("s2", 2))), ErrorCode::FencedInstanceId);
    assert_eq!(code(stage.beat(hers("s2", -2))), ErrorCode::FencedInstanceId);
    let mut nobody = hers("s1", 2);
    nobody.instance = Some("j".into());
    assert_eq!(code(stage.beat(nobody)), ErrorCode::UnknownMemberId);
    // It leaves for a while. What it has nobody else gets meanwhile.
    let left = stage.beat(hers("s1", -2)).expect("it leaves");
    assert_eq!((left.epoch, left.member), (-2, None));
    stage.pass(INTERVAL);
    stage.beat(join("m1", &["a"])).expect("in");
    stage.pass(INTERVAL);
    assert_eq!(stage.beat_again("m1").expect("in").assignment, None);
    assert_eq!(code(stage.beat(hers("s1", 2))), ErrorCode::FencedMemberEpoch);
    // It comes again under another id: of what it had it keeps what it is to have, and the rest is free.
    let again = stage.beat(named("s2")).expect("in");
    assert_eq!(again.assignment, Some(owned(&[("a", &[0, 1])])), "{:?}", stage.describe());
    assert_eq!(code(stage.beat(hers("s1", 3))), ErrorCode::FencedInstanceId);
    let other = stage.beat_again("m1").expect("in");
    assert_eq!(other.assignment, Some(owned(&[("a", &[2, 3])])));
    stage.check_replay();
    // It leaves for a while and stays away.
    stage.beat(hers("s2", -2)).expect("it leaves");
    for _ in 0..10 {
        stage.pass(Duration::from_secs(5));
        stage.beat_again("m1").expect("in");
    }
    assert_eq!(stage.describe().members.len(), 1);
    assert_eq!(stage.describe().members[0].assigned, owned(&[("a", &[0, 1, 2, 3])]));
    stage.check_replay();
}

#[test]
fn an_expression_stands_for_topics() {
    let mut stage = Stage::new(Settings::default(), &[("logs-1", 1), ("logs-2", 2), ("other", 1)]);
    let mut request = join("m1", &[]);
    request.regex = Some("logs-.*".into());
    let first = stage.beat(request).expect("in");
    assert_eq!(first.assignment, Some(owned(&[("logs-1", &[0]), ("logs-2", &[0, 1])])));
    stage.topics(&[("logs-1", 1), ("logs-3", 1), ("other", 1)]);
    stage.pass(Duration::from_secs(11));
    let mut all = beat("m1", 2);
    all.owned = Some(owned(&[("logs-1", &[0]), ("logs-2", &[0, 1])]));
    let next = stage.beat(all).expect("in");
    assert_eq!(next.assignment, Some(owned(&[("logs-1", &[0])])), "what is gone is to be given up first");
    let mut gave_up = beat("m1", next.epoch);
    gave_up.owned = Some(owned(&[("logs-1", &[0])]));
    let next = stage.beat(gave_up).expect("in");
    assert_eq!(next.assignment, Some(owned(&[("logs-1", &[0]), ("logs-3", &[0])])));
    stage.check_replay();
    // It names topics instead; the expression is forgotten.
    let mut names = beat("m1", next.epoch);
    (names.regex, names.topics) = (Some(String::new()), Some(vec!["other".into()]));
    stage.beat(names).expect("in");
    stage.pass(INTERVAL);
    stage.check_replay();
    assert_eq!(stage.describe().members[0].regex, "");
}

#[test]
fn most_members_choose_the_assignor() {
    let mut stage = stage();
    let choosing =
        |id: &str, name: &str| ConsumerHeartbeat { assignor: Some(name.into()), ..join(id, &["a", "b"]) };
    stage.beat(join("m0", &["a"])).expect("in");
    assert_eq!(stage.describe().assignor, Assignor::Uniform.name(), "the first that is offered");
    for (id, name, chosen) in
        [("m1", "range", "range"), ("m2", "uniform", "uniform"), ("m3", "range", "range")]
    {
        stage.beat(choosing(id, name)).expect("in");
        assert_eq!(
            stage.describe().assignor,
            chosen,
            "of two that have as many votes, the one that is offered first"
        );
    }
}

/// Commits and fetches are a member's of its epoch; a commit may be late as long as nobody else had the partition.
#[test]
fn offsets_go_with_epochs() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(stage.commit("m1", 2, "a", 0, 5), Ok(ErrorCode::None));
    assert_eq!(stage.commit("m1", 3, "a", 0, 5), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(stage.commit("m1", 1, "a", 0, 5), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(stage.commit("m2", 2, "a", 0, 5), Err(ErrorCode::UnknownMemberId));
    assert_eq!(stage.commit("", -1, "a", 0, 5), Err(ErrorCode::UnknownMemberId), "the group has members");
    stage.topics(&[("a", 5), ("b", 2)]);
    stage.pass(INTERVAL);
    assert_eq!(stage.beat(beat("m1", 2)).expect("in").epoch, 3);
    assert_eq!(stage.commit("m1", 2, "a", 0, 6), Ok(ErrorCode::None), "it has had it since");
    assert_eq!(stage.commit("m1", 2, "a", 4, 6), Err(ErrorCode::StaleMemberEpoch), "it got it later");
    assert_eq!(stage.fetch(Some(("m1", 3))), Ok(BTreeMap::from([(0, 6)])));
    assert_eq!(stage.fetch(None), Ok(BTreeMap::from([(0, 6)])));
    assert_eq!(stage.fetch(Some(("m1", 2))), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(stage.fetch(Some(("m2", 2))), Err(ErrorCode::UnknownMemberId));
    let mut old = stage.commit_request("m1", 3, "a", 0, 7);
    old.names_missing_group = false;
    let answer = stage.now(Request::Commit(old));
    assert_eq!(answer, Response::Commit(Err(ErrorCode::UnsupportedVersion)), "a version without epochs");
    // A topic that somebody reads keeps its offsets; others may be deleted.
    let delete = |topic: &str| DeleteOffsets { group: GROUP.into(), offsets: vec![(topic.into(), 0)] };
    let answer = stage.now(Request::DeleteOffsets(delete("a")));
    assert_eq!(answer, Response::DeleteOffsets(Ok(vec![ErrorCode::GroupSubscribedToTopic])));
    assert_eq!(
        stage.now(Request::DeleteOffsets(delete("b"))),
        Response::DeleteOffsets(Ok(vec![ErrorCode::None]))
    );
    let day = Duration::from_secs(24 * 3600);
    for _ in 0..8 * 24 * 720 / 8 {
        stage.pass(Duration::from_secs(40));
        stage.beat(beat("m1", 3)).expect("in");
    }
    assert_eq!(stage.fetch(None), Ok(BTreeMap::from([(0, 6)])), "it is read");
    stage.beat(beat("m1", -1)).expect("it leaves");
    stage.pass(day);
    assert_eq!(
        stage.fetch(None),
        Ok(BTreeMap::new()),
        "nobody has read it for a day, and it is older than a week"
    );
    assert_eq!(stage.coordinator.counts(), (0, 0));
    assert_eq!(stage.replayed().coordinator.counts(), (0, 0));
}

/// A group without members changes its protocol with the next that joins; what was committed stays.
#[test]
fn a_group_without_members_changes_its_protocol() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    stage.commit("m1", 2, "a", 0, 5).expect("kept");
    assert_eq!(stage.delete(), ErrorCode::NonEmptyGroup);
    stage.beat(beat("m1", -1)).expect("it leaves");
    assert_eq!(stage.describe().state, "Empty");
    stage.classic_join("c1").expect("in");
    for mut stage in [stage.replayed(), stage] {
        let Response::List(groups) = stage.now(Request::List) else { panic!("a list") };
        let group_type = groups[0].group_type;
        assert_eq!(stage.fetch(None), Ok(BTreeMap::from([(0, 5)])));
        if group_type == "consumer" {
            panic!("it is classic now");
        }
    }
    let mut stage = self::stage();
    stage.classic_join("c1").expect("in");
    stage.pass(Duration::from_secs(90));
    stage.beat(join("m1", &["a"])).expect("in");
    stage.check_replay();
    stage.beat(beat("m1", -1)).expect("it leaves");
    assert_eq!(stage.delete(), ErrorCode::None);
    assert_eq!(stage.replayed().coordinator.counts(), (0, 0));
}

/// An administrator sends members away.
#[test]
fn members_are_sent_away() {
    let mut stage = stage();
    stage.beat(join("m1", &["a"])).expect("in");
    stage.beat(ConsumerHeartbeat { instance: Some("i".into()), ..join("s1", &["a"]) }).expect("in");
    let members = vec![(String::new(), Some("i".into())), ("m1".into(), None), ("m9".into(), None)];
    let answer = stage.now(Request::Leave(Leave { group: GROUP.into(), members }));
    let codes = vec![ErrorCode::None, ErrorCode::None, ErrorCode::UnknownMemberId];
    assert_eq!(answer, Response::Leave(Ok(codes)));
    assert!(stage.describe().members.is_empty());
    stage.check_replay();
}

/// What a member of a world is about.
struct Client {
    id: String,
    name: Option<String>,
    epoch: i32,
    /// What it has: it works on these.
    has: BTreeSet<(Uuid, i32)>,
    /// What it was last told to have.
    told: BTreeSet<(Uuid, i32)>,
    topics: Vec<String>,
    /// Until then it does nothing.
    away: Duration,
}

struct World {
    rng: consumer_support::Rng,
    stage: Stage,
    clients: Vec<Client>,
    fresh: u64,
    topics: Vec<(&'static str, i32)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = consumer_support::Rng::new(seed);
        let topics = vec![("a", 5), ("b", 3), ("c", 1)];
        let assignors = match seed % 3 {
            0 => [Some(Assignor::Range), Some(Assignor::Uniform)],
            _ => [Some(Assignor::Uniform), Some(Assignor::Range)],
        };
        let consumer = ConsumerSettings { assignors, ..ConsumerSettings::default() };
        let stage = Stage::new(Settings { consumer, ..Settings::default() }, &topics);
        let alike = rng.chance(40);
        let client = |number: u64, rng: &mut consumer_support::Rng| Client {
            id: String::new(),
            name: rng.chance(30).then(|| format!("name-{number}")),
            epoch: 0,
            has: BTreeSet::new(),
            told: BTreeSet::new(),
            topics: ["a", "b", "c"]
                .into_iter()
                .filter(|_| alike || rng.chance(60))
                .map(str::to_owned)
                .collect(),
            away: Duration::ZERO,
        };
        let count = 1 + rng.below(6);
        let clients = (0..count).map(|number| client(number, &mut rng)).collect();
        Self { rng, stage, clients, fresh: 0, topics }
    }

    fn run(mut self) {
        for _ in 0..400 {
            let at = self.rng.below(self.clients.len() as u64) as usize;
            if self.clients[at].away <= self.stage.now {
                self.act(at, true);
            }
            if self.rng.chance(2) {
                self.stage = self.stage.replayed();
            }
            if self.rng.chance(2) {
                let topic = self.rng.below(3) as usize;
                self.topics[topic].1 = 1 + self.rng.below(7) as i32;
                self.stage.topics(&self.topics);
            }
            let jump = if self.rng.chance(5) { 40_000 } else { 1_500 };
            let time = Duration::from_millis(self.rng.below(jump));
            self.stage.pass(time);
            self.check();
        }
        self.settles();
    }

    fn act(&mut self, at: usize, accidents: bool) {
        match self.rng.below(100) {
            // Its process ends. What it had it does not have any more; a static one comes again under its name.
            0..3 if accidents => {
                let client = &mut self.clients[at];
                client.forget();
                client.away = self.stage.now + Duration::from_millis(self.rng.below(60_000));
                return;
            }
            3..6 if accidents => {
                self.clients[at].away = self.stage.now + Duration::from_millis(self.rng.below(60_000));
                return;
            }
            6..8 if accidents => return self.leave(at),
            8..10 if accidents => return self.subscribe(at),
            _ => {}
        }
        match self.clients[at].epoch {
            0 => self.join(at),
            _ => self.go_on(at),
        }
    }

    fn join(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.id.is_empty() {
            self.fresh += 1;
            client.id = format!("m{}", self.fresh);
        }
        let topics: Vec<&str> = client.topics.iter().map(String::as_str).collect();
        let mut request = join(&client.id, &topics);
        (request.instance, request.rebalance) = (client.name.clone(), Some(Duration::from_secs(20)));
        let answer = self.stage.beat(request);
        self.hear(at, answer);
    }

    fn go_on(&mut self, at: usize) {
        // It gives up what it is not to have, sometimes a while later, and then says what it has.
        let slow = self.rng.chance(20);
        let client = &mut self.clients[at];
        if !slow {
            client.has.retain(|one| client.told.contains(one));
            client.has.extend(client.told.iter().copied());
        }
        let mut request = beat(&client.id, client.epoch);
        request.instance = client.name.clone();
        if !slow {
            request.owned = Some(listed(&client.has));
        }
        let answer = self.stage.beat(request);
        self.hear(at, answer);
    }

    fn subscribe(&mut self, at: usize) {
        if self.clients[at].epoch == 0 {
            return;
        }
        let topics: Vec<String> =
            ["a", "b", "c"].into_iter().filter(|_| self.rng.chance(60)).map(str::to_owned).collect();
        let client = &mut self.clients[at];
        client.topics = topics;
        let mut request = beat(&client.id, client.epoch);
        (request.instance, request.topics) = (client.name.clone(), Some(client.topics.clone()));
        let answer = self.stage.beat(request);
        self.hear(at, answer);
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.epoch == 0 {
            return;
        }
        let epoch = if client.name.is_some() && self.rng.chance(50) { -2 } else { -1 };
        let mut request = beat(&client.id, epoch);
        request.instance = client.name.clone();
        // It has nothing any more before it says so. If it is out already, that is all the same.
        client.forget();
        let _ = self.stage.beat(request);
    }

    fn hear(&mut self, at: usize, answer: Result<Beat, Refusal>) {
        // Sometimes the answer is lost.
        if self.rng.chance(3) {
            return;
        }
        let client = &mut self.clients[at];
        match answer {
            Ok(beat) => {
                client.epoch = beat.epoch;
                if let Some(assignment) = beat.assignment {
                    client.told = flat(&assignment);
                }
            }
            Err(refusal) => {
                (client.epoch, client.has, client.told) = (0, BTreeSet::new(), BTreeSet::new());
                match refusal.code {
                    ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {}
                    // Another process has its name, or it had it itself: it waits until that is out.
                    ErrorCode::FencedInstanceId | ErrorCode::UnreleasedInstanceId => {
                        client.id = String::new()
                    }
                    other => panic!("{other:?}: {}", refusal.message),
                }
            }
        }
    }

    /// No partition has two members, as the coordinator has it; and what a client that is a member works on is what it has.
    fn check(&mut self) {
        let Some(group) = self.stage.describe_if() else { return };
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for member in &group.members {
            for one in flat(&member.assigned).into_iter().chain(flat(&member.revoking)) {
                let before = owners.insert(one, &member.member);
                assert_eq!(before, None, "{one:?} is {}'s, too: {group:#?}", member.member);
            }
        }
        for client in self.clients.iter().filter(|client| client.epoch > 0) {
            // Whoever was thrown out and does not know it yet is fenced by the session timeout alone.
            let Some(member) = group.members.iter().find(|member| *member.member == *client.id) else {
                continue;
            };
            if member.epoch != client.epoch {
                continue;
            }
            for one in &client.has {
                let owner = owners.get(one);
                assert!(
                    owner.is_none_or(|owner| **owner == *client.id),
                    "{one:?} of {} is {owner:?}'s",
                    client.id
                );
            }
        }
        if self.rng.chance(4) {
            self.stage.check_replay();
        }
    }

    /// Left alone, members that do what they should come to have every partition that somebody subscribes to.
    fn settles(&mut self) {
        self.clients.iter_mut().for_each(|client| client.away = Duration::ZERO);
        // Members that nobody plays any more go, names become free, and everybody gives up and gets: a session, a revocation, and some beats.
        let until = self.stage.now + Duration::from_secs(45 + 45 + 20 + 60);
        while self.stage.now < until {
            for at in 0..self.clients.len() {
                self.act(at, false);
            }
            self.stage.pass(Duration::from_secs(2));
            self.check();
        }
        let group = self.stage.describe();
        assert_eq!((group.state, group.members.len()), ("Stable", self.clients.len()), "{group:#?}");
        let given: BTreeSet<(Uuid, i32)> =
            group.members.iter().flat_map(|member| flat(&member.assigned)).collect();
        let wanted: BTreeSet<&str> =
            self.clients.iter().flat_map(|it| &it.topics).map(String::as_str).collect();
        let all = self.topics.iter().filter(|(name, _)| wanted.contains(name));
        let all = all.flat_map(|(name, count)| (0..*count).map(|number| (topic_id(name), number)));
        assert_eq!(given, all.collect());
        self.stage.check_replay();
    }
}

impl Client {
    fn forget(&mut self) {
        (self.id, self.epoch) = (String::new(), 0);
        (self.has, self.told) = (BTreeSet::new(), BTreeSet::new());
    }
}

fn flat(partitions: &[(Uuid, Vec<i32>)]) -> BTreeSet<(Uuid, i32)> {
    partitions.iter().flat_map(|(topic, numbers)| numbers.iter().map(|number| (*topic, *number))).collect()
}

fn listed(partitions: &BTreeSet<(Uuid, i32)>) -> Vec<(Uuid, Vec<i32>)> {
    let mut all: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    partitions.iter().for_each(|(topic, number)| all.entry(*topic).or_default().push(*number));
    all.into_iter().collect()
}

#[test]
fn members_of_many_seeds() {
    for seed in 0..200 {
        World::new(seed).run();
    }
}
