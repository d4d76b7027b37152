//! `Consume` as a member of a group, over the wire.

use super::Setup;
use super::client::{Client, Open};
use super::memory::Memory;
use super::memory_members::INTERVAL;
use bytes::BytesMut;
use millrace_io::Io;
use millrace_io::simulated::SimIo;
use millrace_proto::batch::{Builder, Options};
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_request::Request;
use millrace_proto::grpc::v1::consume_response::Event;
use millrace_proto::kafka::error::ErrorCode;
use std::time::Duration;

const CONSUME: &str = "/millrace.v1.Log/Consume";

/// A topic `t` with three partitions of five records.
fn setup() -> Setup {
    let setup = Setup::new(1);
    setup.memory.topic("t", 3);
    (0..3).for_each(|partition| fill(&setup.memory, partition, 5));
    setup
}

fn fill(memory: &Memory<SimIo>, partition: i32, records: usize) {
    for _ in 0..records {
        let mut builder = Builder::new();
        builder.push(1000, None, Some(b"value"), &[]).expect("fits");
        let batch: BytesMut = builder.finish(&Options::default()).expect("a batch");
        memory.append("t", partition, batch).expect("appended");
    }
}

fn membership(commits: v1::CommitMode) -> v1::GroupMembership {
    v1::GroupMembership {
        group_id: "g".into(),
        topics: vec!["t".into()],
        otherwise: v1::Edge::Beginning.into(),
        commits: commits.into(),
        commit_interval_ms: Some(200),
        ..Default::default()
    }
}

fn start(commits: v1::CommitMode) -> v1::ConsumeStart {
    v1::ConsumeStart { credit_bytes: Some(1 << 20), group: Some(membership(commits)), ..Default::default() }
}

/// A member that has been told that it started.
async fn member(client: &Client<SimIo>, commits: v1::CommitMode) -> Open {
    let mut call = client.open(CONSUME).await;
    say(&mut call, Request::Start(start(commits)));
    let Event::Started(started) = hear(&mut call).await else { panic!("it starts") };
    assert_eq!((started.partitions.len(), started.member_id.len()), (0, 36));
    call
}

fn say(call: &mut Open, request: Request) {
    call.say(&v1::ConsumeRequest { request: Some(request) });
}

async fn hear(call: &mut Open) -> Event {
    call.hear::<v1::ConsumeResponse>().await.expect("it goes on").event.expect("an event")
}

/// The partitions that it is given, each with where it goes on.
async fn assigned(call: &mut Open) -> Vec<(i32, i64)> {
    match hear(call).await {
        Event::Assigned(assigned) => {
            assigned.partitions.iter().map(|it| (it.partition, it.next_offset)).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn revoked(call: &mut Open) -> (Vec<i32>, bool) {
    match hear(call).await {
        Event::Revoked(revoked) => {
            (revoked.partitions.into_iter().flat_map(|it| it.partitions).collect(), revoked.lost)
        }
        other => panic!("{other:?}"),
    }
}

/// Reads so many records; how many bytes of credit they took.
async fn read(call: &mut Open, mut records: usize) -> i64 {
    let mut bytes = 0;
    while records > 0 {
        let Event::Records(response) = hear(call).await else { panic!("records") };
        bytes += response.bytes;
        records -= response.sets.iter().map(|set| set.records.len()).sum::<usize>();
    }
    bytes
}

fn of(partitions: &[i32]) -> Vec<v1::TopicPartitions> {
    vec![v1::TopicPartitions { topic: "t".into(), partitions: partitions.to_vec() }]
}

fn commit(id: i64, offsets: &[(i32, i64)]) -> Request {
    let mark = |(partition, next_offset): &(i32, i64)| v1::PartitionCommit {
        topic: "t".into(),
        partition: *partition,
        next_offset: *next_offset,
        metadata: String::new(),
    };
    Request::Commit(v1::Commit { id, partitions: offsets.iter().map(mark).collect() })
}

async fn committed(call: &mut Open) -> (i64, Option<String>) {
    match hear(call).await {
        Event::Committed(committed) => (committed.id, committed.error.map(|error| error.reason)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_reads_what_it_is_given_from_where_the_group_is() {
    let setup = setup();
    setup.memory.commit_offset("g", "t", 1, 3);
    setup.memory.commit_offset("g", "t", 2, 99);
    setup.memory.will_assign(1, &[0, 1, 2]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Explicit).await;
        // What was committed of the last one is not there: it begins where it was to begin otherwise.
        assert_eq!(assigned(&mut call).await, [(0, 0), (1, 3), (2, 0)]);
        read(&mut call, 5 + 2 + 5).await;
        fill(&setup.memory, 1, 1);
        read(&mut call, 1).await;
        client.io.sleep(3 * INTERVAL).await;
        let said = setup.memory.members(|members| members.said.clone());
        assert_eq!(said[..2], [(0, Some(vec![])), (1, Some(vec![0, 1, 2]))]);
        assert!(said.len() >= 4 && said[2..].iter().all(|word| *word == (1, None)), "{said:?}");
    });
}

#[test]
fn one_too_many_is_told_so_and_gets_its_share_later() {
    let setup = setup();
    setup.memory.will_assign(1, &[]);
    setup.memory.will_assign(2, &[2]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Explicit).await;
        assert_eq!(assigned(&mut call).await, []);
        assert_eq!(assigned(&mut call).await, [(2, 0)]);
        read(&mut call, 5).await;
    });
}

#[test]
fn what_it_commits_is_answered_in_order_and_shares_a_sync() {
    let setup = setup();
    setup.memory.will_assign(1, &[0, 1]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Explicit).await;
        assigned(&mut call).await;
        read(&mut call, 10).await;
        for id in 0..20 {
            say(&mut call, commit(id, &[(0, 1 + id % 5), (1, id % 3)]));
        }
        say(&mut call, commit(20, &[(0, 4)]));
        say(&mut call, commit(21, &[(0, 5), (2, 1)]));
        say(&mut call, commit(22, &[(1, 2)]));
        for id in 0..=20 {
            assert_eq!(committed(&mut call).await, (id, None));
        }
        let (id, refused) = committed(&mut call).await;
        assert_eq!((id, refused.as_deref()), (21, Some("UNKNOWN_MEMBER_ID")), "it does not have partition 2");
        assert_eq!(committed(&mut call).await, (22, None));
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(4));
        assert_eq!(setup.memory.committed_offset("g", "t", 1), Some(2));
        let commits = setup.memory.members(|members| members.commits);
        assert!((1..=5).contains(&commits), "{commits} commits reached the coordinator");
    });
}

#[test]
fn what_credit_comes_back_for_is_committed() {
    let setup = setup();
    setup.memory.will_assign(1, &[0]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Automatic).await;
        assigned(&mut call).await;
        let bytes = read(&mut call, 5).await;
        client.io.sleep(Duration::from_secs(1)).await;
        assert_eq!(setup.memory.committed_offset("g", "t", 0), None, "nobody said that it is handled");
        say(&mut call, Request::Credit(v1::Credit { bytes }));
        client.io.sleep(Duration::from_secs(1)).await;
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(5));
        assert_eq!(setup.memory.members(|members| members.commits), 1, "nothing new is committed once");
        // More exactly than by credit.
        fill(&setup.memory, 0, 3);
        read(&mut call, 3).await;
        say(&mut call, commit(7, &[(0, 6)]));
        assert_eq!(committed(&mut call).await, (7, None));
        call.close();
        assert_eq!(call.end().await.code, 0);
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(6));
        assert!(setup.memory.members(|members| members.left) > 0);
    });
}

#[test]
fn what_is_revoked_is_given_up_when_the_client_says_so() {
    let setup = setup();
    setup.memory.will_assign(1, &[0, 1]);
    setup.memory.will_assign(1, &[0, 1]);
    setup.memory.will_assign(1, &[1]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Automatic).await;
        assigned(&mut call).await;
        read(&mut call, 10).await;
        assert_eq!(revoked(&mut call).await, (vec![0], false));
        fill(&setup.memory, 0, 1);
        fill(&setup.memory, 1, 1);
        let Event::Records(records) = hear(&mut call).await else { panic!("records") };
        assert_eq!(
            records.sets.iter().map(|set| set.partition).collect::<Vec<_>>(),
            [1],
            "and not of the other"
        );
        client.io.sleep(3 * INTERVAL).await;
        assert!(
            setup.memory.members(|members| members.said.iter().all(|(_, owned)| *owned != Some(vec![1])))
        );
        // It says that it has handled what it had of the one; a release of what was not asked for means nothing.
        say(&mut call, Request::Release(v1::Release { partitions: of(&[0, 1, 9]) }));
        client.io.sleep(INTERVAL / 4).await;
        assert_eq!(setup.memory.committed_offset("g", "t", 0), Some(5));
        assert_eq!(setup.memory.committed_offset("g", "t", 1), None);
        assert_eq!(setup.memory.members(|members| members.said.last().cloned()), Some((1, Some(vec![1]))));
    });
}

#[test]
fn one_that_was_thrown_out_loses_all_and_comes_again() {
    let setup = setup();
    setup.memory.will_assign(5, &[0, 1]);
    setup.memory.will_answer(Err(ErrorCode::FencedMemberEpoch.into()));
    setup.memory.will_answer(Err(ErrorCode::CoordinatorLoadInProgress.into()));
    setup.memory.will_assign(7, &[0]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Automatic).await;
        assert_eq!(assigned(&mut call).await.len(), 2);
        let mut event = hear(&mut call).await;
        while matches!(event, Event::Records(_)) {
            event = hear(&mut call).await;
        }
        let Event::Revoked(lost) = event else { panic!("{event:?}") };
        assert!(lost.lost && lost.partitions == of(&[0, 1]), "{lost:?}");
        assert_eq!(assigned(&mut call).await, [(0, 0)]);
        read(&mut call, 5).await;
        let said = setup.memory.members(|members| members.said.clone());
        assert_eq!(said[2..4], [(0, Some(vec![])), (0, Some(vec![]))]);
    });
}

#[test]
fn records_that_retention_deleted_are_passed_over() {
    let setup = setup();
    setup.memory.will_assign(1, &[0]);
    setup.run(async |client| {
        let mut call = client.open(CONSUME).await;
        let start = v1::ConsumeStart { credit_bytes: Some(1), ..start(v1::CommitMode::Explicit) };
        say(&mut call, Request::Start(start));
        hear(&mut call).await;
        assert_eq!(assigned(&mut call).await, [(0, 0)]);
        read(&mut call, 1).await;
        setup.memory.delete_before("t", 0, 3);
        say(&mut call, Request::Credit(v1::Credit { bytes: 1 << 20 }));
        let Event::Records(records) = hear(&mut call).await else { panic!("records") };
        assert_eq!(records.sets[0].records[0].offset, 3);
    });
}

#[test]
fn however_a_call_ends_the_member_leaves() {
    let setup = setup();
    setup.memory.will_assign(1, &[0]);
    setup.run(async |client| {
        let mut call = member(&client, v1::CommitMode::Explicit).await;
        assigned(&mut call).await;
        assert_eq!(setup.memory.members(|members| members.left), 0);
        call.cancel();
        client.io.sleep(Duration::from_secs(1)).await;
        assert!(setup.memory.members(|members| members.left) > 0);

        setup.memory.will_answer(Err(ErrorCode::GroupMaxSizeReached.into()));
        let before = setup.memory.members(|members| members.left);
        let mut call = member(&client, v1::CommitMode::Explicit).await;
        assert_eq!(call.end().await.code, 8);
        assert!(setup.memory.members(|members| members.left) > before);
    });
}

#[test]
fn what_a_member_may_not_ask() {
    let setup = setup();
    setup.run(async |client| {
        let group = |change: &dyn Fn(&mut v1::GroupMembership)| {
            let mut asked = membership(v1::CommitMode::Automatic);
            change(&mut asked);
            v1::ConsumeStart { group: Some(asked), ..start(v1::CommitMode::Automatic) }
        };
        let partitions = vec![v1::PartitionStart { topic: "t".into(), ..Default::default() }];
        for (wrong, what) in [
            (group(&|asked| asked.group_id.clear()), "no group"),
            (group(&|asked| asked.group_id = "g".repeat(40_000)), "a long name"),
            (group(&|asked| asked.topics.clear()), "no topic"),
            (group(&|asked| asked.topics.push(String::new())), "a topic without a name"),
            (group(&|asked| asked.topics = vec!["t".into(); 1_001]), "too many topics"),
            (group(&|asked| asked.group_instance_id = Some(String::new())), "an empty name"),
            (group(&|asked| asked.member_id = "m".repeat(256)), "a long id"),
            (group(&|asked| asked.commits = 9), "no way to commit"),
            (group(&|asked| asked.otherwise = 9), "no edge"),
            (group(&|asked| asked.rebalance_timeout_ms = Some(0)), "no time"),
            (group(&|asked| asked.commit_interval_ms = Some(-1)), "no interval"),
            (v1::ConsumeStart { partitions, ..start(v1::CommitMode::Automatic) }, "partitions as well"),
            (v1::ConsumeStart { credit_bytes: None, ..start(v1::CommitMode::Automatic) }, "no credit"),
        ] {
            let mut call = client.open(CONSUME).await;
            say(&mut call, Request::Start(wrong));
            assert_eq!(call.end().await.code, 3, "{what}");
        }
        for wrong in [
            commit(1, &[]),
            commit(1, &[(0, -1)]),
            commit(1, &[(0, 1), (0, 2)]),
            Request::Start(v1::ConsumeStart::default()),
        ] {
            setup.memory.will_assign(1, &[]);
            let mut call = member(&client, v1::CommitMode::Explicit).await;
            assigned(&mut call).await;
            say(&mut call, wrong.clone());
            assert_eq!(call.end().await.code, 3, "{wrong:?}");
        }
        for wrong in [commit(1, &[(0, 1)]), Request::Release(v1::Release { partitions: of(&[0]) })] {
            let mut call = client.open(CONSUME).await;
            let partitions = vec![v1::PartitionStart { topic: "t".into(), ..Default::default() }];
            say(&mut call, Request::Start(v1::ConsumeStart { partitions, ..Default::default() }));
            hear(&mut call).await;
            say(&mut call, wrong.clone());
            assert_eq!(call.end().await.code, 3, "{wrong:?}");
        }
    });
}
