//! Groups that have members change their protocol: stories of single moves. Nobody loses what he works on before he has come back for it, and a
//! coordinator made anew from the records is the one that wrote them.

mod consumer_support;
mod migration_support;
mod migration_world;

use std::time::Duration;

use bytes::Bytes;
use consumer_support::{Stage, beat, join, owned};
use migration_support::{
    Named, REBALANCE, SESSION, assignment, caller, join as classic, named, subscription,
};
use millrace_logic::group::consumer::{ConsumerSettings, MigrationPolicy};
use millrace_logic::group::request::*;
use millrace_logic::group::{MAX_GROUP_BYTES, Request, Response, Settings};
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

const C1: &str = "c1-00000000-0000-0000-0000-000000000000";
const C2: &str = "c2-00000000-0000-0000-0000-000000000000";
const INTERVAL: Duration = Duration::from_secs(1);

fn stage_with(migration: MigrationPolicy) -> Stage {
    let consumer = ConsumerSettings { migration, ..ConsumerSettings::default() };
    Stage::new(Settings { consumer, ..Settings::default() }, &[("a", 4), ("b", 2)])
}

/// Two members of the classic protocol, in generation 1, and one commit.
fn two_classic_members(migration: MigrationPolicy) -> Stage {
    let mut stage = stage_with(migration);
    let (first, second) = (named(&[("a", &[0, 1])]), named(&[("a", &[2, 3])]));
    stage.classic_group(&[("c1", &first), ("c2", &second)], &["a"]);
    assert_eq!(stage.commit(C1, 1, "a", 0, 5), Ok(ErrorCode::None));
    stage
}

/// The same, with a third member that speaks the new protocol, and everybody has what it is to have.
fn mixed(migration: MigrationPolicy) -> (Stage, Client, Client) {
    let mut stage = two_classic_members(migration);
    stage.beat(join("m1", &["a"])).expect("in");
    let mut first = Client { id: C1, has: named(&[("a", &[0, 1])]), generation: 1 };
    let mut second = Client { id: C2, has: named(&[("a", &[2, 3])]), generation: 1 };
    first.follow(&mut stage);
    second.follow(&mut stage);
    stage.beat_again("m1").expect("in");
    assert_eq!(stage.describe().state, "Stable");
    (stage, first, second)
}

/// A member that speaks the classic protocol, and keeps what it has while it comes again.
struct Client {
    id: &'static str,
    has: Named,
    generation: i32,
}

impl Client {
    /// Comes again as often as it is told to. How often that was.
    fn follow(&mut self, stage: &mut Stage) -> usize {
        for times in 0..5 {
            match stage.heartbeat(self.id, self.generation) {
                ErrorCode::None => return times,
                ErrorCode::RebalanceInProgress => self.come_again(stage),
                other => panic!("{other:?}"),
            }
        }
        panic!("there is no end to it");
    }

    fn come_again(&mut self, stage: &mut Stage) {
        let joined = stage.join(classic(self.id, &["a"], &self.has)).expect("in");
        assert_eq!((&*joined.member, &*joined.leader, joined.members.len()), (self.id, "", 0));
        self.generation = joined.generation;
        self.has = stage.sync(self.id, self.generation).expect("in");
        stage.check_replay();
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> ErrorCode {
    outcome.expect_err("it is refused").code
}

/// Members of a classic group stay when somebody joins by the new protocol; each gives up its part when it comes again.
#[test]
fn a_classic_group_takes_in_a_member_of_the_new_protocol() {
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    let new = stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!((new.epoch, new.assignment), (2, Some(vec![])), "others have all of it");
    assert_eq!(stage.group_type(), Some("consumer"));
    stage.check_replay();
    let group = stage.describe();
    assert_eq!((group.epoch, group.assignment_epoch, group.state), (2, 2, "Reconciling"));
    let had: Vec<_> =
        group.members.iter().map(|it| (&*it.member, it.is_classic, it.assigned.clone())).collect();
    let (first, second) = (owned(&[("a", &[0, 1])]), owned(&[("a", &[2, 3])]));
    assert_eq!(had, [(C1, true, first), (C2, true, second), ("m1", false, vec![])]);
    assert_eq!(stage.commit(C1, 1, "a", 0, 6), Ok(ErrorCode::None), "it goes on until it hears of it");
    let mut old = stage.commit_request(C1, 1, "a", 1, 7);
    old.names_missing_group = false;
    assert_eq!(
        stage.now(Request::Commit(old)),
        Response::Commit(Ok(vec![ErrorCode::None])),
        "in old words, too"
    );
    let mut first = Client { id: C1, has: named(&[("a", &[0, 1])]), generation: 1 };
    let mut second = Client { id: C2, has: named(&[("a", &[2, 3])]), generation: 1 };
    let rounds = first.follow(&mut stage) + second.follow(&mut stage);
    assert_eq!(rounds, 3, "one of them comes once to hear what to give up, and once more without it");
    assert_eq!((first.generation, second.generation), (2, 2));
    let new = stage.beat(beat("m1", 2)).expect("in");
    let given: usize = new.assignment.iter().flatten().map(|(_, numbers)| numbers.len()).sum();
    assert_eq!((given, first.has.len() + second.has.len()), (1, 3));
    assert_eq!(stage.describe().state, "Stable");
    assert_eq!(stage.commit(C1, 1, "a", 2, 6), Err(ErrorCode::IllegalGeneration), "it never had that");
    assert_eq!(stage.fetch(None).map(|all| all[&0]), Ok(6));
    stage.check_replay();
}

/// Members of old versions have given up everything when they come again.
#[test]
fn a_member_that_has_nothing_when_it_comes() {
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    for id in [C1, C2] {
        assert_eq!(stage.heartbeat(id, 1), ErrorCode::RebalanceInProgress);
        let mut join = classic(id, &["a"], &Named::new());
        join.protocols[0].1 = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        assert_eq!(stage.join(join).expect("in").generation, 2);
        assert!(!stage.sync(id, 2).expect("in").is_empty());
        assert_eq!(stage.heartbeat(id, 2), ErrorCode::None, "in one round");
    }
    stage.check_replay();
    assert_eq!(stage.beat(beat("m1", 2)).expect("in").assignment.map(|all| all.len()), Some(1));
}

/// Whoever waits for a rebalance of the classic group is sent to the other one.
#[test]
fn members_that_wait_are_told_to_come_again() {
    // In the first wait of a group, before any generation.
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    let new = Join { id_first: false, client_id: "c1".into(), ..classic("", &["a"], &Named::new()) };
    let waits = stage.ask_to_join(new);
    stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(stage.joined(waits), Err(ErrorCode::RebalanceInProgress));
    stage.check_replay();
    let joined = stage.join(classic(C1, &["a"], &Named::new())).expect("in");
    assert_eq!(stage.sync(C1, joined.generation).map(|has| has.len()), Ok(2), "nobody had anything yet");
    // While others are to come back, and while nobody has assigned yet.
    for completing in [false, true] {
        let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
        let first = stage.ask_to_join(classic(C1, &["a"], &named(&[("a", &[0, 1])])));
        let waits = match completing {
            false => first,
            true => {
                stage.join(classic(C2, &["a"], &named(&[("a", &[2, 3])]))).expect("all have come");
                let leads = stage.joined(first).is_ok_and(|joined| &*joined.leader == C1);
                let follower = if leads { C2 } else { C1 };
                stage.ask(Request::Sync(Sync { caller: caller(follower, 2), ..Sync::default() }))
            }
        };
        stage.beat(join("m1", &["a"])).expect("in");
        match stage.answer(waits) {
            Some(Response::Join(Err(refused))) => assert_eq!(refused.code, ErrorCode::RebalanceInProgress),
            Some(Response::Sync(outcome)) => assert_eq!(outcome, Err(ErrorCode::RebalanceInProgress)),
            other => panic!("{other:?}"),
        }
        let had = stage.describe().members.iter().map(|it| it.assigned.len()).sum::<usize>();
        assert_eq!(had, 2, "what they have is still theirs");
        stage.check_replay();
    }
}

/// Assignments are forgotten when a rebalance begins anew before anybody assigned; what members say that they have is not.
#[test]
fn what_members_keep_through_a_rebalance_is_theirs() {
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    let first = stage.ask_to_join(classic(C1, &["a"], &named(&[("a", &[0, 1])])));
    stage.join(classic(C2, &["a"], &named(&[("a", &[2, 3])]))).expect("all have come");
    stage.joined(first).expect("in");
    stage.ask_to_join(classic("", &["a"], &Named::new()));
    let third = Join { id_first: false, client_id: "c3".into(), ..classic("", &["a"], &Named::new()) };
    stage.ask_to_join(third);
    let new = stage.beat(join("m1", &["a"])).expect("in");
    assert_eq!(new.assignment, Some(vec![]));
    let group = stage.describe();
    let had: Vec<_> = group.members.iter().map(|it| it.assigned.clone()).collect();
    assert_eq!(had[..2], [owned(&[("a", &[0, 1])]), owned(&[("a", &[2, 3])])], "{group:?}");
    stage.check_replay();
}

/// When the last member of the new protocol goes, however it goes, the others are a classic group again.
#[test]
fn a_group_goes_back_when_nobody_speaks_the_new_protocol() {
    for way in ["leaves", "is sent away", "is silent", "comes again by the old protocol"] {
        let (mut stage, mut first, mut second) = mixed(MigrationPolicy::Bidirectional);
        match way {
            "leaves" => drop(stage.beat(beat("m1", -1)).expect("it leaves")),
            "is sent away" => assert_eq!(stage.classic_leaves("m1"), ErrorCode::None),
            "is silent" => {
                for _ in 0..10 {
                    stage.pass(Duration::from_secs(5));
                    if stage.group_type() == Some("consumer") {
                        first.follow(&mut stage);
                        second.follow(&mut stage);
                    }
                }
            }
            _ => drop(stage.join(classic("m1", &["a"], &Named::new())).expect("in")),
        }
        assert_eq!(stage.group_type(), Some("classic"), "it {way}");
        assert_eq!(
            code(stage.beat(beat("m1", 2))),
            ErrorCode::UnknownMemberId,
            "if it goes on, it is to come again"
        );
        let described = stage.describe_classic().expect("a classic group");
        assert_eq!(described.state, "PreparingRebalance");
        assert_eq!(stage.replayed().describe_classic(), Some(described), "a start changes nothing of it");
        assert_eq!(stage.replayed().fetch(None).map(|all| all[&0]), Ok(5));
        for mut stage in [stage.replayed(), stage] {
            // In the generation that they know members hear in good words that they are to come again, and may commit what they have done.
            assert_eq!(stage.heartbeat(C1, first.generation), ErrorCode::RebalanceInProgress, "it {way}");
            assert_eq!(stage.commit(C1, first.generation, "a", 0, 9), Ok(ErrorCode::None));
            let mut coming = vec![
                stage.ask_to_join(classic(C1, &["a"], &first.has)),
                stage.ask_to_join(classic(C2, &["a"], &second.has)),
            ];
            if way == "comes again by the old protocol" {
                coming.push(stage.ask_to_join(classic("m1", &["a"], &Named::new())));
            }
            let joined: Vec<_> =
                coming.into_iter().map(|it| stage.joined(it).expect("all have come")).collect();
            assert!(
                joined
                    .iter()
                    .all(|it| it.generation == first.generation + 1 && it.leader == joined[0].leader)
            );
            assert_eq!(joined.iter().map(|it| it.members.len()).sum::<usize>(), joined.len(), "one leads");
            let leader = joined.iter().find(|it| it.leader == it.member).expect("somebody leads");
            let assignments = vec![(C1.to_owned(), assignment(&named(&[("a", &[0, 1, 2, 3])])))];
            let caller = caller(&leader.member, leader.generation);
            stage.ask(Request::Sync(Sync { caller, assignments, ..Sync::default() }));
            assert_eq!(stage.sync(C1, leader.generation).map(|has| has.len()), Ok(4));
            assert_eq!(stage.describe_classic().map(|it| it.state), Some("Stable"));
            assert_eq!(stage.replayed().describe_classic(), stage.describe_classic());
        }
    }
}

/// Who is late for the classic group hears that its generation is over, and drops what it has.
#[test]
fn a_member_that_lags_behind_when_its_group_goes_back() {
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    let mut first = Client { id: C1, has: named(&[("a", &[0, 1])]), generation: 1 };
    first.follow(&mut stage);
    stage.beat(beat("m1", -1)).expect("it leaves");
    assert_eq!(stage.group_type(), Some("classic"));
    assert_eq!(stage.heartbeat(C1, 2), ErrorCode::RebalanceInProgress);
    assert_eq!(stage.heartbeat(C2, 1), ErrorCode::IllegalGeneration);
    // A new member finds all of it taken until they have come.
    let new = stage.beat(join("m2", &["a"])).expect("in");
    assert_eq!(new.assignment, Some(vec![]));
    let had: usize = stage.describe().members.iter().flat_map(|it| &it.assigned).map(|it| it.1.len()).sum();
    assert_eq!(had, first.has.len() + 2);
    stage.check_replay();
}

#[test]
fn each_policy_lets_groups_go_its_way() {
    for (policy, up, down) in [
        (MigrationPolicy::Bidirectional, true, true),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Disabled, false, false),
    ] {
        assert_eq!(MigrationPolicy::of(&policy.name().to_uppercase()), Some(policy));
        let mut stage = two_classic_members(policy);
        match up {
            true => drop(stage.beat(join("m1", &["a"])).expect("in")),
            false => assert_eq!(code(stage.beat(join("m1", &["a"]))), ErrorCode::GroupIdNotFound),
        }
        assert_eq!(stage.group_type(), Some(if up { "consumer" } else { "classic" }));
        // Members of the classic protocol may join a consumer group whatever the policy says.
        let mut stage = stage_with(policy);
        stage.beat(join("m1", &["a"])).expect("in");
        stage.join(classic("c3", &["a"], &Named::new())).expect("in");
        stage.check_replay();
        stage.beat(beat("m1", -1)).expect("it leaves");
        assert_eq!(stage.group_type(), Some(if down { "classic" } else { "consumer" }), "{policy:?}");
        if !down {
            stage.pass(INTERVAL);
            let mut alone = Client { id: "c3", has: Named::new(), generation: 2 };
            alone.come_again(&mut stage);
            assert_eq!(alone.has.len(), 4, "it is served all the same");
            assert_eq!(stage.classic_leaves("c3"), ErrorCode::None);
            assert_eq!(stage.describe().state, "Empty");
        }
        // Groups without members go either way.
        stage.pass(SESSION + REBALANCE);
        stage.beat(join("m2", &["a"])).expect("in");
        stage.beat(beat("m2", -1)).expect("it leaves");
        stage.classic_join("c4").expect("in");
        assert_eq!(stage.group_type(), Some("classic"));
    }
}

#[test]
fn groups_that_cannot_go_over() {
    // Not of consumers.
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    let connect =
        Join { protocol_type: "connect".into(), id_first: false, ..classic("", &["a"], &Named::new()) };
    stage.ask_to_join(connect);
    assert_eq!(code(stage.beat(join("m1", &["a"]))), ErrorCode::GroupIdNotFound);
    // What a member says cannot be read.
    for hostile in
        [&b""[..], b"\0", b"\0\x01\0\0\0\0\xff\xff\xff\xff", b"\0\0\x7f\xff\xff\xff", b"\xff\xff\0\0\0\0"]
    {
        let mut stage = stage_with(MigrationPolicy::Bidirectional);
        let mut strange = Join { id_first: false, ..classic("", &["a"], &Named::new()) };
        strange.protocols[0].1 = Bytes::from_static(hostile);
        stage.ask_to_join(strange.clone());
        assert_eq!(code(stage.beat(join("m1", &["a"]))), ErrorCode::GroupIdNotFound, "{hostile:?}");
        assert_eq!(stage.group_type(), Some("classic"));
        // The same in a consumer group.
        let mut stage = stage_with(MigrationPolicy::Bidirectional);
        stage.beat(join("m1", &["a"])).expect("in");
        assert_eq!(stage.join(strange), Err(ErrorCode::InconsistentGroupProtocol), "{hostile:?}");
        assert_eq!(stage.describe().members.len(), 1);
    }
    // What a leader assigned cannot be read; partitions that are not there, or given twice, are passed over.
    for (given, is_read) in [(&b"\0\0\0\0\0\x01\0\x01a\x7f\xff\xff\xff"[..], false), (b"\0\0\0\0\0\x03\0\x01a\0\0\0\x03\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\0\x01a\0\0\0\x01\0\0\0\0\0\x01z\0\0\0\x01\0\0\0\0\xff\xff\xff\xff", true)] {
        let mut stage = stage_with(MigrationPolicy::Bidirectional);
        let new = Join { id_first: false, client_id: "c1".into(), ..classic("", &["a"], &Named::new()) };
        stage.ask_to_join(new);
        stage.pass(Duration::from_secs(4));
        let assignments = vec![(C1.to_owned(), Bytes::from_static(given))];
        stage.ask(Request::Sync(Sync { caller: caller(C1, 1), assignments, ..Sync::default() }));
        match is_read {
            false => assert_eq!(code(stage.beat(join("m1", &["a"]))), ErrorCode::GroupIdNotFound),
            true => {
                stage.beat(join("m1", &["a"])).expect("in");
                assert_eq!(stage.describe().members[0].assigned, owned(&[("a", &[0])]));
                stage.check_replay();
            }
        }
    }
    // An assignor that tells members more than their partitions is left to it, unless that is known to be of no use to them.
    for (protocol, goes_over) in [("stream", false), ("cooperative-sticky", true)] {
        let mut stage = stage_with(MigrationPolicy::Bidirectional);
        let mut new = Join { id_first: false, client_id: "c1".into(), ..classic("", &["a"], &Named::new()) };
        new.protocols[0].0 = protocol.into();
        stage.ask_to_join(new);
        stage.pass(Duration::from_secs(4));
        let given = Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\x01x");
        let assignments = vec![(C1.to_owned(), given)];
        stage.ask(Request::Sync(Sync { caller: caller(C1, 1), assignments, ..Sync::default() }));
        let outcome = stage.beat(join("m1", &["a"]));
        assert_eq!(outcome.is_ok(), goes_over, "{outcome:?}");
    }
    // Too many members.
    let consumer = ConsumerSettings { max_size: 1, ..ConsumerSettings::default() };
    let mut stage = Stage::new(Settings { consumer, ..Settings::default() }, &[("a", 4)]);
    stage.classic_group(&[("c1", &Named::new()), ("c2", &Named::new())], &["a"]);
    assert_eq!(code(stage.beat(join("m1", &["a"]))), ErrorCode::GroupIdNotFound);
    // A group that is too large for the classic protocol does not go back.
    let mut stage = Stage::new(Settings { max_size: 1, ..Settings::default() }, &[("a", 4)]);
    stage.beat(join("m1", &["a"])).expect("in");
    stage.join(classic("c1", &["a"], &Named::new())).expect("in");
    stage.join(classic("c2", &["a"], &Named::new())).expect("in");
    stage.beat(beat("m1", -1)).expect("it leaves");
    assert_eq!(stage.group_type(), Some("consumer"));
    assert_eq!(stage.classic_leaves("c2"), ErrorCode::None);
    assert_eq!(stage.group_type(), Some("classic"), "now it is not");
}

#[test]
fn classic_requests_that_a_consumer_group_refuses() {
    let (mut stage, first, _) = mixed(MigrationPolicy::Bidirectional);
    let generation = first.generation;
    assert_eq!(stage.heartbeat("c9", generation), ErrorCode::UnknownMemberId);
    assert_eq!(stage.heartbeat("m1", generation), ErrorCode::UnknownMemberId, "it speaks the new protocol");
    assert_eq!(stage.heartbeat(C1, generation - 1), ErrorCode::IllegalGeneration);
    assert_eq!(stage.sync("c9", generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(stage.sync("m1", generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(stage.sync(C1, generation + 1), Err(ErrorCode::IllegalGeneration));
    for (protocol_type, protocol) in [("connect", "range"), ("consumer", "roundrobin")] {
        let (protocol_type, protocol) = (Some(protocol_type.to_owned()), Some(protocol.to_owned()));
        let sync = Sync { caller: caller(C1, generation), protocol_type, protocol, assignments: Vec::new() };
        let answer = stage.now(Request::Sync(sync));
        assert_eq!(answer, Response::Sync(Err(ErrorCode::InconsistentGroupProtocol)));
    }
    assert_eq!(stage.commit("c9", generation, "a", 0, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(stage.commit(C1, generation + 1, "a", 0, 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(stage.fetch(Some((C1, generation + 1))), Err(ErrorCode::IllegalGeneration));
    assert_eq!(stage.classic_leaves("c9"), ErrorCode::UnknownMemberId);
    let mut other = classic("c9", &["a"], &Named::new());
    other.protocols[0].0 = "roundrobin".into();
    assert_eq!(stage.join(other), Err(ErrorCode::InconsistentGroupProtocol), "the others do not know it");
    let mut other = classic("c9", &["a"], &Named::new());
    other.protocol_type = "connect".into();
    assert_eq!(stage.join(other), Err(ErrorCode::InconsistentGroupProtocol));
    let mut other = classic("c9", &["a"], &Named::new());
    other.session = Duration::from_secs(5);
    assert_eq!(stage.join(other), Err(ErrorCode::InvalidSessionTimeout));
    assert_eq!(stage.join(classic("", &["a"], &Named::new())), Err(ErrorCode::MemberIdRequired));
    let thrown_out = classic("c9", &["a"], &named(&[("a", &[0])]));
    assert_eq!(stage.join(thrown_out), Err(ErrorCode::UnknownMemberId), "it has nothing any more");
    assert_eq!(stage.describe().members.len(), 3, "nothing came of all that");
    stage.check_replay();
}

/// A static member comes by the other protocol under its name, and has what it had.
#[test]
fn static_members_go_over_and_back() {
    let name = |join: Join| Join { caller: Caller { instance: Some("i".into()), ..join.caller }, ..join };
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    let waits = stage.ask_to_join(name(classic("", &["a"], &Named::new())));
    stage.pass(Duration::from_secs(4));
    let joined = stage.joined(waits).expect("in");
    let has = named(&[("a", &[0, 1, 2, 3])]);
    let caller = Caller { instance: Some("i".into()), ..caller(&joined.member, 1) };
    let assignments = vec![(joined.member.to_string(), assignment(&has))];
    stage.ask(Request::Sync(Sync { caller: caller.clone(), assignments, ..Sync::default() }));
    let again =
        stage.beat(ConsumerHeartbeat { instance: Some("i".into()), ..join("m1", &["a"]) }).expect("in");
    assert_eq!(again.assignment, Some(owned(&[("a", &[0, 1, 2, 3])])));
    assert_eq!(stage.describe().members.len(), 1);
    stage.check_replay();
    let Response::Heartbeat(code) = stage.now(Request::Heartbeat(caller)) else { panic!("a heartbeat") };
    assert_eq!(code, ErrorCode::FencedInstanceId);
    // Back: it is the only one, so the group is classic at once, and it comes once more.
    let mut named = name(classic("", &["a"], &Named::new()));
    named.fresh = Uuid::from_u128(8);
    let id = stage.join(named.clone()).expect("in").member;
    assert_eq!(stage.group_type(), Some("classic"));
    named.caller.member = id.to_string();
    stage.join(named).expect("it comes alone");
    // Beside another one it stays a consumer group, and takes its own place there.
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    stage.beat(ConsumerHeartbeat { instance: Some("i".into()), ..join("m2", &["b"]) }).expect("in");
    stage.pass(INTERVAL);
    stage.beat(ConsumerHeartbeat { instance: Some("i".into()), ..beat("m2", 2) }).expect("in");
    let mut joining = name(classic("", &["b"], &Named::new()));
    joining.caller.member = "m9".into();
    assert_eq!(stage.join(joining.clone()), Err(ErrorCode::FencedInstanceId));
    joining.caller.instance = Some("j".into());
    assert_eq!(stage.join(joining.clone()), Err(ErrorCode::UnknownMemberId));
    (joining.caller.member, joining.caller.instance) = (String::new(), Some("i".into()));
    let joined = stage.join(joining).expect("in");
    let had =
        stage.describe().members.iter().find(|it| it.member == joined.member).map(|it| it.assigned.clone());
    assert_eq!(had, Some(owned(&[("b", &[0, 1])])));
    stage.check_replay();
}

/// A member that speaks the classic protocol is out when it is silent for the time that it chose itself, or does not come for its next step.
#[test]
fn classic_members_have_their_own_timeouts() {
    let both = |stage: &mut Stage, id: &str, generation: i32| {
        stage.pass(Duration::from_secs(4));
        let _ = stage.beat_again("m1");
        stage.heartbeat(id, generation)
    };
    let (mut stage, first, mut second) = mixed(MigrationPolicy::Bidirectional);
    for _ in 0..2 {
        both(&mut stage, C1, first.generation);
    }
    stage.pass(SESSION - Duration::from_secs(8));
    assert_eq!(stage.describe().members.len(), 2, "c2 was silent for ten seconds");
    stage.check_replay();
    assert_eq!(stage.heartbeat(C2, second.generation), ErrorCode::UnknownMemberId);
    // It is told to come again, and does not.
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    let mut codes: Vec<ErrorCode> = (0..7).map(|_| both(&mut stage, C1, 1)).collect();
    codes.dedup();
    assert_eq!(codes, [ErrorCode::RebalanceInProgress, ErrorCode::UnknownMemberId]);
    // It comes, and does not ask what it got.
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    let generation = stage.join(classic(C2, &["a"], &Named::new())).expect("in").generation;
    let mut codes: Vec<ErrorCode> = (0..7).map(|_| both(&mut stage, C2, generation)).collect();
    codes.dedup();
    assert_eq!(codes.last(), Some(&ErrorCode::UnknownMemberId));
    // It does both in time, and stays.
    let mut stage = two_classic_members(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    second = Client { id: C2, has: named(&[("a", &[2, 3])]), generation: 1 };
    for _ in 0..20 {
        stage.pass(Duration::from_secs(4));
        let _ = stage.beat_again("m1");
        second.follow(&mut stage);
    }
    let members: Vec<_> = stage.describe().members.into_iter().map(|it| it.member).collect();
    assert_eq!(
        members,
        ["c2-00000000-0000-0000-0000-000000000000".into(), "m1".into()] as [std::sync::Arc<str>; 2]
    );
}

/// Heartbeats of the classic protocol find out about topics, too, and cost nothing without news.
#[test]
fn topics_change_under_classic_members() {
    let mut stage = stage_with(MigrationPolicy::Upgrade);
    stage.beat(join("m1", &["a"])).expect("in");
    stage.join(classic("c1", &["a"], &Named::new())).expect("in");
    stage.beat(beat("m1", -1)).expect("it leaves");
    stage.pass(INTERVAL);
    let mut alone = Client { id: "c1", has: Named::new(), generation: 2 };
    alone.come_again(&mut stage);
    alone.follow(&mut stage);
    assert_eq!(alone.has.len(), 4);
    let records = stage.log.len();
    for _ in 0..50 {
        stage.pass(Duration::from_secs(3));
        assert_eq!(stage.heartbeat("c1", alone.generation), ErrorCode::None);
        assert!(!stage.waited, "nothing to wait for");
    }
    assert_eq!(stage.log.len(), records);
    stage.topics(&[("a", 6), ("b", 2)]);
    assert_eq!(alone.follow(&mut stage), 1);
    assert_eq!(alone.has.len(), 6);
    stage.check_replay();
    assert_eq!(stage.delete(), ErrorCode::NonEmptyGroup);
}

/// What members of both protocols say of themselves has one bound.
#[test]
fn a_mixed_group_that_says_too_much() {
    let large = |name: &str, at: usize| {
        let mut join = classic(name, &["a"], &Named::new());
        join.protocols.push(("large".into(), Bytes::from(vec![0; at])));
        join
    };
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    stage.beat(join("m1", &["a"])).expect("in");
    stage.join(large("c1", MAX_GROUP_BYTES / 2)).expect("in");
    stage.join(large("c1", MAX_GROUP_BYTES / 2)).expect("again");
    assert_eq!(stage.join(large("c2", MAX_GROUP_BYTES / 2 + 1)), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(stage.classic_leaves("c1"), ErrorCode::None);
    stage.join(large("c2", MAX_GROUP_BYTES / 2)).expect("there is room");
    // A classic group that says nearly all that it may, and a member that says the rest.
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    let join = Join { id_first: false, ..large("", MAX_GROUP_BYTES - 1000) };
    stage.ask_to_join(join);
    let mut new = consumer_support::join("m1", &[]);
    new.topics = Some(vec!["x".repeat(1000)]);
    assert_eq!(code(stage.beat(new)), ErrorCode::GroupMaxSizeReached);
    assert_eq!(stage.group_type(), Some("classic"), "nothing changed");
    // Thousands of names in few bytes are kept once.
    let names: Vec<&str> = vec!["a"; 20_000];
    let mut stage = stage_with(MigrationPolicy::Bidirectional);
    stage.beat(consumer_support::join("m1", &["a"])).expect("in");
    let mut many = classic("c1", &["a"], &Named::new());
    many.protocols[0].1 = subscription(&names, &Named::new(), -1);
    stage.join(many).expect("in");
    assert_eq!(stage.describe().members[0].topics.len(), 1);
    assert_eq!(stage.coordinator.counts(), (1, 2));
}
