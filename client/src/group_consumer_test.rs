use super::*;
use crate::fake_server::{Consume, FakeServer};
use consume_request::Request;
use millrace_proto::grpc::v1::consume_response::Event;
use tonic::Status;

fn event(event: Event) -> v1::ConsumeResponse {
    v1::ConsumeResponse { event: Some(event) }
}

fn assigned(partitions: &[i32]) -> v1::ConsumeResponse {
    let position = |partition: &i32| v1::PartitionPosition {
        topic: "t".into(),
        partition: *partition,
        next_offset: 0,
        high_watermark: 100,
    };
    event(Event::Assigned(v1::PartitionsAssigned { partitions: partitions.iter().map(position).collect() }))
}

fn revoked(partitions: &[i32], lost: bool) -> v1::ConsumeResponse {
    event(Event::Revoked(v1::PartitionsRevoked { partitions: of(partitions), lost }))
}

fn of(partitions: &[i32]) -> Vec<v1::TopicPartitions> {
    vec![v1::TopicPartitions { topic: "t".into(), partitions: partitions.to_vec() }]
}

fn records(partition: i32, offsets: std::ops::Range<i64>, bytes: i64) -> v1::ConsumeResponse {
    let record = |offset| v1::ConsumedRecord { offset, timestamp_ms: 5, ..Default::default() };
    let set = v1::RecordSet {
        topic: "t".into(),
        partition,
        high_watermark: 200,
        next_offset: offsets.end,
        records: offsets.map(record).collect(),
        ..Default::default()
    };
    event(Event::Records(v1::ConsumedRecords { bytes, sets: vec![set] }))
}

/// A member has called, and says which one it is.
async fn call(server: &mut FakeServer, known: &str) -> Consume {
    let mut call = server.consumes.recv().await.expect("a call");
    let Some(Request::Start(start)) = call.request().await.request else { panic!("no start") };
    let group = start.group.expect("a group");
    assert_eq!((group.group_id.as_str(), group.member_id.as_str()), ("g", known));
    let started = v1::ConsumeStarted { member_id: "m-1".into(), ..Default::default() };
    call.answer(event(Event::Started(started))).await;
    call
}

async fn credit(call: &mut Consume) -> i64 {
    match call.request().await.request {
        Some(Request::Credit(credit)) => credit.bytes,
        other => panic!("{other:?}"),
    }
}

async fn commit(call: &mut Consume) -> (i64, Vec<(i32, i64)>) {
    match call.request().await.request {
        Some(Request::Commit(commit)) => {
            (commit.id, commit.partitions.iter().map(|it| (it.partition, it.next_offset)).collect())
        }
        other => panic!("{other:?}"),
    }
}

async fn offset(member: &mut GroupConsumer) -> (i32, i64) {
    let record = member.next().await.expect("goes on").expect("a record");
    (record.partition, record.offset)
}

fn keys(partitions: &[i32]) -> Vec<Key> {
    partitions.iter().map(|partition| (Arc::from("t"), *partition)).collect()
}

#[tokio::test]
async fn to_ask_for_more_says_what_has_been_handled() {
    let (mut server, client) = FakeServer::start().await;
    let mut member = client.group_consumer("g").topic("t").build();
    let broker = async {
        let mut call = call(&mut server, "").await;
        call.answer(assigned(&[0])).await;
        call.answer(records(0, 0..2, 50)).await;
        // Far less than half of the window: it says so because it waits, and when both were returned.
        assert_eq!(credit(&mut call).await, 50);
        call.answer(records(0, 2..4, 60)).await;
        // One of the two: exactly that is committed at the end.
        assert_eq!(commit(&mut call).await, (0, vec![(0, 3)]));
        assert!(call.requests.message().await.expect("the call lives").is_none(), "it closes its side");
    };
    let client = async {
        for expected in 0..3 {
            assert_eq!(offset(&mut member).await, (0, expected));
        }
        member.close().await.expect("it leaves");
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn what_is_revoked_is_given_up_when_all_of_it_was_handled() {
    let (mut server, client) = FakeServer::start().await;
    let mut member = client.group_consumer("g").topic("t").explicit_commits().build();
    let broker = async {
        let mut call = call(&mut server, "").await;
        call.answer(assigned(&[0, 1])).await;
        call.answer(records(0, 0..2, 50)).await;
        // It waits for more.
        assert_eq!(credit(&mut call).await, 50);
        call.answer(revoked(&[0], false)).await;
        assert_eq!(commit(&mut call).await, (0, vec![(0, 2)]));
        call.answer(event(Event::Committed(v1::Committed { id: 0, error: None }))).await;
        let Some(Request::Release(release)) = call.request().await.request else { panic!("no release") };
        assert_eq!(release.partitions, of(&[0]));
        call.answer(records(1, 0..1, 50)).await;
        call
    };
    let client = async {
        assert!(
            matches!(member.next_event().await, Some(Ok(GroupEvent::Assigned(positions))) if positions.len() == 2)
        );
        assert_eq!(offset(&mut member).await, (0, 0));
        assert_eq!(offset(&mut member).await, (0, 1));
        assert_eq!(member.next_event().await, Some(Ok(GroupEvent::Revoked(keys(&[0])))));
        assert_eq!(member.assignment().map(|it| it.partition).collect::<Vec<_>>(), [1]);
        member.commit().await.expect("it still may");
        assert_eq!(offset(&mut member).await, (1, 0));
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn what_is_lost_is_not_returned() {
    let (mut server, client) = FakeServer::start().await;
    let mut member = client.group_consumer("g").topic("t").explicit_commits().build();
    let broker = async {
        let mut call = call(&mut server, "").await;
        call.answer(assigned(&[0, 1])).await;
        call.answer(records(0, 0..5, 50)).await;
        call.answer(records(1, 0..1, 50)).await;
        call.answer(revoked(&[0], true)).await;
        assert_eq!(commit(&mut call).await, (0, vec![(0, 1)]), "it does not know yet");
        let error = v1::Error { code: 9, reason: "UNKNOWN_MEMBER_ID".into(), ..Default::default() };
        call.answer(event(Event::Committed(v1::Committed { id: 0, error: Some(error) }))).await;
        call
    };
    let client = async {
        assert_eq!(offset(&mut member).await, (0, 0));
        assert_eq!(member.commit().await.map_err(|error| error.reason), Err("UNKNOWN_MEMBER_ID".to_owned()));
        assert_eq!(offset(&mut member).await, (1, 0), "no more of what is lost");
        assert_eq!(member.next_event().await, Some(Ok(GroupEvent::Lost(keys(&[0])))));
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn after_a_break_it_joins_under_its_id_and_forgets_what_it_had() {
    let (mut server, client) = FakeServer::start().await;
    let mut member = client.group_consumer("g").topic("t").build();
    let broker = async {
        let first = call(&mut server, "").await;
        first.answer(assigned(&[0])).await;
        first.answer(records(0, 0..3, 50)).await;
        first.end(Status::unavailable("stopping")).await;
        let second = call(&mut server, "m-1").await;
        second.answer(assigned(&[0])).await;
        second.answer(records(0, 1..2, 50)).await;
        second
    };
    let client = async {
        let mut events = Vec::new();
        while events.len() < 7 {
            events.push(match member.next_event().await.expect("goes on").expect("no error") {
                GroupEvent::Record(record) => format!("{}", record.offset),
                GroupEvent::Assigned(_) => "assigned".to_owned(),
                GroupEvent::Revoked(_) => "revoked".to_owned(),
                GroupEvent::Lost(lost) => format!("lost {}", lost.len()),
            });
        }
        assert_eq!(events, ["assigned", "0", "1", "2", "lost 1", "assigned", "1"]);
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn what_cannot_be_is_told_and_ends_it() {
    let (mut server, client) = FakeServer::start().await;
    let mut member = client.group_consumer("g").topic("t").build();
    let broker = async {
        let refused = call(&mut server, "").await;
        refused.end(Status::resource_exhausted("full")).await;
    };
    let client = async {
        let error = member.next().await.expect("something").expect_err("an error");
        assert_eq!(error.code, tonic::Code::ResourceExhausted);
        assert!(member.next().await.is_none());
    };
    tokio::join!(broker, client);
}
