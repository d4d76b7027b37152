use super::*;
use crate::fake_server::{Consume, FakeServer};
use tonic::Status;

fn started(positions: &[(i32, i64)]) -> v1::ConsumeResponse {
    let position = |&(partition, next_offset)| v1::PartitionPosition {
        topic: "t".into(),
        partition,
        next_offset,
        high_watermark: 100,
    };
    let partitions = positions.iter().map(position).collect();
    event(consume_response::Event::Started(v1::ConsumeStarted { partitions, ..Default::default() }))
}

fn records(partition: i32, offsets: std::ops::Range<i64>, bytes: i64) -> v1::ConsumeResponse {
    let record = |offset| v1::ConsumedRecord { offset, timestamp_ms: 5, ..Default::default() };
    let set = v1::RecordSet {
        topic: "t".into(),
        partition,
        timestamp_type: v1::TimestampType::CreateTime as i32,
        high_watermark: 200,
        // A gap behind the records, as compaction leaves it.
        next_offset: offsets.end + 1,
        records: offsets.map(record).collect(),
        ..Default::default()
    };
    event(consume_response::Event::Records(v1::ConsumedRecords { bytes, sets: vec![set] }))
}

fn failed(partition: i32, reason: &str, retriable: bool) -> v1::ConsumeResponse {
    let error = v1::Error {
        code: Code::OutOfRange as i32,
        reason: reason.into(),
        message: "no".into(),
        retriable,
        ..Default::default()
    };
    let failed = v1::PartitionFailed { topic: "t".into(), partition, next_offset: 0, error: Some(error) };
    event(consume_response::Event::Failed(failed))
}

fn event(event: consume_response::Event) -> v1::ConsumeResponse {
    v1::ConsumeResponse { event: Some(event) }
}

async fn start(call: &mut Consume) -> v1::ConsumeStart {
    match call.request().await.request {
        Some(consume_request::Request::Start(start)) => start,
        other => panic!("{other:?} is no start"),
    }
}

async fn take(consumer: &mut Consumer) -> (i32, i64) {
    let record = consumer.next().await.expect("goes on").expect("a record");
    (record.partition, record.offset)
}

#[tokio::test]
async fn goes_on_at_the_next_offset_after_a_break() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign_topic("t", Start::Beginning).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        let first = start(&mut call).await;
        assert_eq!(first.partitions.len(), 1);
        assert_eq!(first.partitions[0].partition, None);
        call.answer(started(&[(0, 10), (1, 50)])).await;
        call.answer(records(0, 10..12, 100)).await;
        call.end(Status::unavailable("stopping")).await;

        let mut call = server.consumes.recv().await.expect("it comes back");
        let resumed = start(&mut call).await;
        let position = |p: &v1::PartitionStart| (p.partition, p.position);
        assert_eq!(
            resumed.partitions.iter().map(position).collect::<Vec<_>>(),
            [
                (Some(0), Some(partition_start::Position::Offset(13))),
                (Some(1), Some(partition_start::Position::Offset(50)))
            ]
        );
        call.answer(started(&[(0, 13), (1, 50)])).await;
        call.answer(records(1, 50..51, 100)).await;
        call
    };
    let client = async {
        assert_eq!(take(&mut consumer).await, (0, 10));
        assert_eq!(take(&mut consumer).await, (0, 11));
        assert_eq!(take(&mut consumer).await, (1, 50));
    };
    let (_call, ()) = tokio::join!(broker, client);
    let positions = consumer.positions().await.expect("started");
    let position = |p: &Position| (p.partition, p.next_offset, p.high_watermark);
    assert_eq!(positions.iter().map(position).collect::<Vec<_>>(), [(0, 13, 100), (1, 51, 200)]);
}

#[tokio::test]
async fn grants_what_was_taken() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign("t", 0, Start::Offset(0)).window_bytes(1000).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        assert_eq!(start(&mut call).await.credit_bytes, Some(1000));
        call.answer(started(&[(0, 0)])).await;
        call.answer(records(0, 0..1, 400)).await;
        call.answer(records(0, 2..3, 400)).await;
        let grant = call.request().await.request;
        assert_eq!(grant, Some(consume_request::Request::Credit(v1::Credit { bytes: 800 })));
        call.answer(records(0, 4..5, 400)).await;
        call
    };
    let client = async {
        for offset in [0, 2, 4] {
            assert_eq!(take(&mut consumer).await, (0, offset));
        }
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn a_failed_partition_is_reported_and_the_others_go_on() {
    let (mut server, client) = FakeServer::start().await;
    let consumer = client.consumer().assign("t", 0, Start::Beginning).assign("t", 1, Start::Beginning);
    let mut consumer = consumer.build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        start(&mut call).await;
        call.answer(started(&[(0, 0), (1, 0)])).await;
        call.answer(failed(0, "OFFSET_OUT_OF_RANGE", false)).await;
        call.answer(records(1, 0..1, 10)).await;
        call.answer(failed(1, "OFFSET_OUT_OF_RANGE", false)).await;
        call
    };
    let client = async {
        let error = consumer.next().await.expect("goes on").expect_err("failed");
        assert_eq!(error.reason, "OFFSET_OUT_OF_RANGE");
        assert!(error.message.starts_with("t-0: "));
        assert_eq!(take(&mut consumer).await, (1, 0));
        assert!(consumer.next().await.expect("goes on").is_err());
        assert!(consumer.next().await.is_none());
    };
    tokio::join!(broker, client);
}

#[tokio::test]
async fn a_retriable_failure_is_tried_again() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign("t", 0, Start::Beginning).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        start(&mut call).await;
        call.answer(started(&[(0, 3)])).await;
        call.answer(failed(0, "KAFKA_STORAGE_ERROR", true)).await;
        let mut call = server.consumes.recv().await.expect("it comes back");
        let resumed = start(&mut call).await.partitions[0].position;
        assert_eq!(resumed, Some(partition_start::Position::Offset(3)));
        call.answer(started(&[(0, 3)])).await;
        call.answer(records(0, 3..4, 10)).await;
        call
    };
    tokio::join!(broker, async { assert_eq!(take(&mut consumer).await, (0, 3)) });
}

#[tokio::test]
async fn what_can_not_be_read_at_all_is_an_error_and_the_end() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign_topic("t", Start::End).build();
    let broker = async {
        let call = server.consumes.recv().await.expect("a call");
        call.end(Status::not_found("there is no topic t")).await;
    };
    let client = async {
        let error = consumer.next().await.expect("an answer").expect_err("refused");
        assert_eq!(error.code, Code::NotFound);
        assert!(consumer.next().await.is_none());
    };
    tokio::join!(broker, client);
}

fn resumed(start: &v1::ConsumeStart) -> Vec<(i32, Option<partition_start::Position>)> {
    start.partitions.iter().map(|p| (p.partition.expect("resolved"), p.position)).collect()
}

fn offset(offset: i64) -> Option<partition_start::Position> {
    Some(partition_start::Position::Offset(offset))
}

#[tokio::test]
async fn polls_return_what_is_there_and_no_more_than_they_may() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign("t", 0, Start::Beginning).max_poll_records(3).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        start(&mut call).await;
        call.answer(started(&[(0, 0)])).await;
        call.answer(records(0, 0..4, 100)).await;
        call
    };
    let application = async {
        let mut sizes = Vec::new();
        for _ in 0..2 {
            sizes.push(consumer.poll(Duration::from_secs(10)).await.expect("fine").len());
        }
        assert_eq!(sizes, [3, 1]);
        assert_eq!(consumer.poll(Duration::from_millis(20)).await.expect("fine"), []);
    };
    tokio::join!(broker, application);
}

#[tokio::test]
async fn seeks_and_pauses_make_another_call() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign_topic("t", Start::Beginning).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        start(&mut call).await;
        call.answer(started(&[(0, 10), (1, 50)])).await;
        call.answer(records(0, 10..14, 100)).await;

        let mut call = server.consumes.recv().await.expect("moved");
        let beginning = Some(partition_start::Position::Edge(v1::Edge::Beginning as i32));
        assert_eq!(resumed(&start(&mut call).await), [(0, offset(11)), (1, beginning)]);
        call.answer(started(&[(0, 11), (1, 7)])).await;
        call.answer(records(1, 7..8, 100)).await;

        let mut call = server.consumes.recv().await.expect("paused");
        assert_eq!(resumed(&start(&mut call).await), [(0, offset(11))]);
        call.answer(started(&[(0, 11)])).await;
        call.answer(records(0, 11..12, 100)).await;

        let mut call = server.consumes.recv().await.expect("resumed");
        assert_eq!(resumed(&start(&mut call).await), [(0, offset(12)), (1, offset(8))]);
        call.answer(started(&[(0, 12), (1, 8)])).await;
        call
    };
    let application = async {
        assert_eq!(take(&mut consumer).await, (0, 10));
        consumer.seek("t", 1, Start::Beginning).await.expect("assigned");
        assert_eq!(take(&mut consumer).await, (1, 7));
        consumer.pause("t", 1).await.expect("assigned");
        assert_eq!(consumer.paused().collect::<Vec<_>>(), [("t", 1)]);
        assert_eq!(take(&mut consumer).await, (0, 11));
        consumer.resume("t", 1);
        let positions = consumer.positions().await.expect("known");
        assert_eq!(positions.iter().map(|p| p.next_offset).collect::<Vec<_>>(), [12, 8]);
        assert_eq!(consumer.poll(Duration::from_millis(50)).await.expect("fine"), []);
    };
    tokio::join!(broker, application);
}

#[tokio::test]
async fn nothing_is_read_while_everything_is_paused() {
    let (mut server, client) = FakeServer::start().await;
    let mut consumer = client.consumer().assign("t", 0, Start::Beginning).build();
    let broker = async {
        let mut call = server.consumes.recv().await.expect("a call");
        start(&mut call).await;
        call.answer(started(&[(0, 3)])).await;
        let mut call = server.consumes.recv().await.expect("resumed");
        assert_eq!(resumed(&start(&mut call).await), [(0, offset(3))]);
        call.answer(started(&[(0, 3)])).await;
        call.answer(records(0, 3..4, 100)).await;
        call
    };
    let application = async {
        consumer.pause("t", 0).await.expect("assigned");
        assert_eq!(consumer.poll(Duration::from_millis(20)).await.expect("fine"), []);
        consumer.resume("t", 0);
        assert_eq!(take(&mut consumer).await, (0, 3));
        consumer.unassign("t", 0).await.expect("assigned");
        assert_eq!(consumer.positions().await.expect("known"), []);
    };
    tokio::join!(broker, application);
}
