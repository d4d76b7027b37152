//! `Log`: records in, records out, credit, windows, failures.

use super::{Client, Setup};
use bytes::Bytes;
use millrace_io::Io;
use millrace_io::simulated::SimIo;
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_request::Request;
use millrace_proto::grpc::v1::consume_response::Event;
use millrace_proto::grpc::v1::partition_start::Position;
use prost::Message;
use std::time::Duration;

const PRODUCE: &str = "/millrace.v1.Log/Produce";
const PUBLISH: &str = "/millrace.v1.Log/Publish";
const CONSUME: &str = "/millrace.v1.Log/Consume";

fn record(value: impl Into<Bytes>) -> v1::Record {
    v1::Record { value: Some(value.into()), ..Default::default() }
}

fn batch(id: i64, topic: &str, records: Vec<v1::Record>) -> v1::ProduceBatch {
    v1::ProduceBatch { id, topic: topic.into(), records, ..Default::default() }
}

fn request(batches: Vec<v1::ProduceBatch>) -> v1::ProduceRequest {
    v1::ProduceRequest { options: None, batches }
}

async fn publish(client: &Client<SimIo>, topic: &str, records: Vec<v1::Record>) {
    let request = v1::PublishRequest { topic: topic.into(), records, ..Default::default() };
    client.unary::<v1::PublishResponse>(PUBLISH, &request).await.expect("published");
}

fn from(topic: &str, position: Position) -> v1::ConsumeStart {
    let partitions =
        vec![v1::PartitionStart { topic: topic.into(), partition: None, position: Some(position) }];
    v1::ConsumeStart { partitions, ..Default::default() }
}

fn beginning() -> Position {
    Position::Edge(v1::Edge::Beginning.into())
}

async fn consume(client: &Client<SimIo>, start: v1::ConsumeStart) -> super::client::Open {
    let mut call = client.open(CONSUME).await;
    call.say(&v1::ConsumeRequest { request: Some(Request::Start(start)) });
    call
}

fn grant(call: &mut super::client::Open, bytes: i64) {
    call.say(&v1::ConsumeRequest { request: Some(Request::Credit(v1::Credit { bytes })) });
}

async fn event(call: &mut super::client::Open) -> Event {
    call.hear::<v1::ConsumeResponse>().await.expect("a response").event.expect("an event")
}

async fn records(call: &mut super::client::Open) -> v1::ConsumedRecords {
    match event(call).await {
        Event::Records(records) => records,
        other => panic!("{other:?}"),
    }
}

fn offsets(records: &v1::ConsumedRecords) -> Vec<i64> {
    records.sets.iter().flat_map(|set| set.records.iter().map(|record| record.offset)).collect()
}

#[test]
fn records_come_back_as_they_went_in() {
    for seed in 0..20 {
        let setup = Setup::new(seed);
        setup.memory.topic("t", 1);
        setup.run(async |client| {
            let header = |key: &str, value: Option<&'static str>| v1::Header {
                key: key.into(),
                value: value.map(Bytes::from),
            };
            let given = vec![
                v1::Record {
                    key: Some("k".into()),
                    value: Some("v".into()),
                    headers: vec![header("a", Some("1")), header("a", None), header("", Some(""))],
                    timestamp_ms: Some(1_700_000_000_000),
                    partition: Some(0),
                },
                v1::Record { timestamp_ms: Some(0), ..Default::default() },
                v1::Record {
                    key: Some(Bytes::new()),
                    value: Some(vec![9; 200_000].into()),
                    ..Default::default()
                },
            ];
            publish(&client, "t", given.clone()).await;
            let mut call = consume(&client, from("t", beginning())).await;
            let Event::Started(started) = event(&mut call).await else { panic!("not started") };
            assert_eq!((started.partitions[0].next_offset, started.partitions[0].high_watermark), (0, 3));
            let mut got = Vec::new();
            while got.len() < 3 {
                for set in records(&mut call).await.sets {
                    assert_eq!((set.topic.as_str(), set.partition, set.leader_epoch), ("t", 0, Some(0)));
                    assert_eq!(set.timestamp_type(), v1::TimestampType::CreateTime);
                    got.extend(set.records);
                }
            }
            for (index, (got, given)) in got.iter().zip(&given).enumerate() {
                assert_eq!((got.offset, &got.key, &got.value), (index as i64, &given.key, &given.value));
                assert_eq!(got.headers, given.headers);
                assert!(given.timestamp_ms.is_none_or(|time| time == got.timestamp_ms));
            }
        });
    }
}

#[test]
fn results_come_in_order_however_long_each_takes() {
    for seed in 0..20 {
        let setup = Setup::new(100 + seed);
        setup.memory.topic("t", 3);
        setup.memory.delay(Duration::from_millis(3));
        setup.run(async |client| {
            let mut call = client.open(PRODUCE).await;
            for id in 0..100 {
                let records = vec![record("x"), v1::Record { partition: Some(2), ..record("y") }];
                let batch = v1::ProduceBatch { partition: Some((id % 3) as i32), ..batch(id, "t", records) };
                call.say(&request(vec![batch]));
            }
            call.close();
            let mut results = Vec::new();
            while let Some(response) = call.hear::<v1::ProduceResponse>().await {
                results.extend(response.results);
            }
            assert!(results.iter().map(|result| result.id).eq(0..100));
            assert_eq!(call.end().await.code, 0);
            let mut next = [0; 3];
            for result in &results {
                let count = if result.partitions.len() == 1 { 2 } else { 1 };
                for part in &result.partitions {
                    assert_eq!(part.base_offset, Some(next[part.partition as usize]), "in the order sent");
                    assert_eq!(part.record_indexes.len(), if count == 1 { 1 } else { 0 });
                    next[part.partition as usize] += count;
                }
            }
        });
    }
}

#[test]
fn a_failed_batch_is_reported_and_the_stream_goes_on() {
    let setup = Setup::new(200);
    setup.memory.topic("t", 2);
    setup.memory.break_partition("t", 1);
    setup.run(async |client| {
        let mut call = client.open(PRODUCE).await;
        let at = |id, partition| v1::ProduceBatch {
            partition: Some(partition),
            ..batch(id, "t", vec![record("x")])
        };
        call.say(&request(vec![batch(1, "nothing", vec![record("x")]), at(2, 1), at(3, 7), at(4, 0)]));
        call.say(&request(vec![batch(5, "", vec![record("x")])]));
        let mut results = Vec::new();
        while let Some(response) = call.hear::<v1::ProduceResponse>().await {
            results.extend(response.results);
        }
        let reason =
            |error: &Option<v1::Error>| error.as_ref().map(|error| error.reason.clone()).unwrap_or_default();
        assert_eq!(reason(&results[0].error), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(reason(&results[1].partitions[0].error), "KAFKA_STORAGE_ERROR");
        assert!(results[1].partitions[0].error.as_ref().is_some_and(|error| error.retriable));
        assert_eq!(reason(&results[2].error), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!((results[3].id, results[3].partitions[0].base_offset), (4, Some(0)));
        assert_eq!(results.len(), 4);
        let end = call.end().await;
        assert_eq!(end.code, 3, "a request that makes no sense ends the call");
        assert!(end.message.contains("batches[0].topic"), "{}", end.message);
        let request = v1::PublishRequest {
            topic: "t".into(),
            partition: Some(1),
            records: vec![record("x")],
            ..Default::default()
        };
        assert_eq!(client.unary::<v1::PublishResponse>(PUBLISH, &request).await.unwrap_err().code, 14);
    });
}

#[test]
fn topics_are_created_on_first_use_and_acks_none_gives_no_offset() {
    let setup = Setup::new(201);
    setup.memory.auto_create();
    setup.run(async |client| {
        let options = v1::ProduceOptions { acks: v1::Acks::None.into(), timeout_ms: None };
        let mut call = client.open(PRODUCE).await;
        call.say(&v1::ProduceRequest {
            options: Some(options),
            batches: vec![batch(1, "new", vec![record("x")])],
        });
        let response = call.hear::<v1::ProduceResponse>().await.expect("a result");
        assert_eq!(
            (&response.results[0].error, response.results[0].partitions[0].base_offset),
            (&None, None)
        );
        call.say(&v1::ProduceRequest { options: Some(options), batches: vec![] });
        assert_eq!(call.end().await.code, 3, "options belong to the first request");
    });
}

#[test]
fn a_producer_that_is_too_fast_is_slowed_down() {
    let mut setup = Setup::new(202);
    setup.limits.unacknowledged_batches = 4;
    setup.memory.topic("t", 1);
    setup.memory.delay(Duration::from_millis(100));
    let memory = setup.memory.clone();
    setup.run(async |client| {
        let mut call = client.open(PRODUCE).await;
        let batches = (0..20).map(|id| batch(id, "t", vec![record("x")])).collect();
        call.say(&request(batches));
        client.io.sleep(Duration::from_millis(50)).await;
        assert_eq!(memory.end("t", 0), 4);
        call.close();
        let mut results = 0;
        while let Some(response) = call.hear::<v1::ProduceResponse>().await {
            results += response.results.len();
        }
        assert_eq!(results, 20);
    });
}

#[test]
fn positions_are_found_or_refused() {
    let setup = Setup::new(203);
    setup.memory.topic("t", 1);
    let memory = setup.memory.clone();
    setup.run(async |client| {
        for time in [10, 20, 30] {
            publish(&client, "t", vec![v1::Record { timestamp_ms: Some(time), ..record("x") }]).await;
        }
        memory.delete_before("t", 0, 1);
        for (position, offset) in [
            (beginning(), 1),
            (Position::Edge(v1::Edge::End.into()), 3),
            (Position::Offset(2), 2),
            (Position::Offset(3), 3),
            (Position::TimestampMs(15), 1),
            (Position::TimestampMs(31), 3),
        ] {
            let mut call = consume(&client, from("t", position)).await;
            let Event::Started(started) = event(&mut call).await else { panic!("not started") };
            assert_eq!(started.partitions[0].next_offset, offset, "{position:?}");
            call.cancel();
        }
        for (start, code) in [
            (from("t", Position::Offset(0)), 11),
            (from("t", Position::Offset(4)), 11),
            (from("nothing", beginning()), 5),
            (from("", beginning()), 3),
            (v1::ConsumeStart::default(), 3),
            (v1::ConsumeStart { min_bytes: Some(-1), ..from("t", beginning()) }, 3),
            (v1::ConsumeStart { credit_bytes: Some(-1), ..from("t", beginning()) }, 3),
            (v1::ConsumeStart { max_message_bytes: Some(1), ..from("t", beginning()) }, 3),
            (
                v1::ConsumeStart {
                    partitions: [from("t", beginning()).partitions, from("t", beginning()).partitions]
                        .concat(),
                    ..Default::default()
                },
                3,
            ),
        ] {
            let end = consume(&client, start.clone()).await.end().await;
            assert_eq!((end.code, end.details.is_some()), (code, true), "{start:?} {end:?}");
        }
        let mut call = client.open(CONSUME).await;
        grant(&mut call, 1);
        assert_eq!(call.end().await.code, 3, "start comes first");
    });
}

#[test]
fn no_more_is_sent_than_was_granted() {
    let setup = Setup::new(204);
    setup.memory.topic("t", 2);
    let memory = setup.memory.clone();
    setup.run(async |client| {
        for _ in 0..50 {
            let records = (0..20)
                .map(|index| v1::Record { partition: Some(index % 2), ..record(vec![1; 90]) })
                .collect();
            publish(&client, "t", records).await;
        }
        let start = v1::ConsumeStart { credit_bytes: Some(0), ..from("t", beginning()) };
        let mut call = consume(&client, start).await;
        event(&mut call).await;
        client.io.sleep(Duration::from_secs(5)).await;
        assert!(memory.fetches().is_empty(), "nothing is read without credit");
        let (mut granted, mut used, mut seen) = (0, 0, vec![0; 2]);
        let mut turn = 0;
        while seen.iter().sum::<i64>() < 1000 {
            turn += 1;
            let more = if turn % 3 == 0 { 10 } else { 5000 };
            grant(&mut call, more);
            granted += more;
            while granted > used && seen.iter().sum::<i64>() < 1000 {
                let records = records(&mut call).await;
                used += records.bytes;
                let sizes = records.sets.iter().map(|set| set.encoded_len() as i64).sum::<i64>();
                assert_eq!(records.bytes, sizes);
                let count: usize = records.sets.iter().map(|set| set.records.len()).sum();
                assert!(used <= granted || count == 1, "{used} of {granted} by {count} records");
                for set in records.sets {
                    let next = &mut seen[set.partition as usize];
                    for record in set.records {
                        assert_eq!(record.offset, *next, "no gap");
                        *next += 1;
                    }
                    assert_eq!(set.next_offset, *next);
                }
            }
        }
        call.close();
        grant_refused(&client).await;
    });
}

async fn grant_refused(client: &Client<SimIo>) {
    let mut call = consume(client, from("t", beginning())).await;
    grant(&mut call, 1);
    assert_eq!(call.end().await.code, 3, "without a window there is nothing to replenish");
}

#[test]
fn a_half_closed_stream_ends_with_its_credit() {
    let setup = Setup::new(205);
    setup.memory.topic("t", 1);
    setup.run(async |client| {
        publish(&client, "t", (0..100).map(|_| record(vec![1; 100])).collect()).await;
        let start = v1::ConsumeStart { credit_bytes: Some(1000), ..from("t", beginning()) };
        let mut call = consume(&client, start).await;
        call.close();
        let mut used = 0;
        while let Some(response) = call.hear::<v1::ConsumeResponse>().await {
            if let Some(Event::Records(records)) = response.event {
                used += records.bytes;
            }
        }
        assert_eq!(call.end().await.code, 0);
        assert!((900..1200).contains(&used), "{used}");
    });
}

#[test]
fn messages_are_cut_to_the_clients_limit() {
    let setup = Setup::new(206);
    setup.memory.topic("t", 1);
    setup.run(async |client| {
        publish(&client, "t", (0..200).map(|_| record(vec![1; 100])).collect()).await;
        publish(&client, "t", vec![record(vec![2; 50_000]), record("small")]).await;
        let start = v1::ConsumeStart { max_message_bytes: Some(2048), ..from("t", beginning()) };
        let mut call = consume(&client, start).await;
        event(&mut call).await;
        let mut seen = Vec::new();
        while seen.len() < 202 {
            let bytes = call.hear_bytes().await.expect("a response");
            let response = v1::ConsumeResponse::decode(bytes.clone()).expect("a response");
            let Some(Event::Records(records)) = response.event else { panic!("records only") };
            let new = offsets(&records);
            assert!(bytes.len() <= 2048 || new == [200], "{} bytes for {new:?}", bytes.len());
            seen.extend(new);
        }
        assert!(seen.into_iter().eq(0..202));
    });
}

#[test]
fn a_client_that_does_not_read_is_not_read_for() {
    let mut setup = Setup::new(207);
    setup.limits.fetch_bytes = 100_000;
    setup.memory.topic("t", 1);
    let memory = setup.memory.clone();
    setup.run(async |client| {
        for _ in 0..100 {
            publish(&client, "t", vec![record(vec![1; 50_000])]).await;
        }
        let mut call = consume(&client, from("t", beginning())).await;
        call.peek_stalled().await;
        client.io.sleep(Duration::from_secs(300)).await;
        assert!(memory.fetches().len() <= 2, "{:?}", memory.fetches());
        assert!(call.peek_stalled().await <= 65_535);
        event(&mut call).await;
        let mut count = 0;
        while count < 100 {
            count += offsets(&records(&mut call).await).len();
        }
    });
}

#[test]
fn slow_readers_give_way_when_memory_is_short() {
    let mut setup = Setup::new(208);
    setup.limits.consume_bytes = 150_000;
    setup.memory.topic("t", 1);
    setup.run(async |client| {
        publish(&client, "t", vec![record(vec![1; 100_000])]).await;
        let mut stalled = consume(&client, from("t", beginning())).await;
        stalled.peek_stalled().await;
        client.io.sleep(Duration::from_secs(120)).await;
        let begun = client.io.now();
        // On a connection of its own: the window of this one is full of what the other call does not read.
        let mut other = consume(&client.again().await, from("t", beginning())).await;
        event(&mut other).await;
        assert_eq!(offsets(&records(&mut other).await), [0]);
        assert!(client.io.now() - begun < Duration::from_secs(61));
        let end = stalled.end().await;
        assert!(end.message.contains(h2::Reason::ENHANCE_YOUR_CALM.description()), "{end:?}");
    });
}

#[test]
fn a_failed_partition_leaves_the_others_alone() {
    let setup = Setup::new(209);
    setup.memory.topic("t", 2);
    let memory = setup.memory.clone();
    setup.run(async |client| {
        let mut call = consume(&client, from("t", beginning())).await;
        event(&mut call).await;
        memory.break_partition("t", 0);
        let Event::Failed(failed) = event(&mut call).await else { panic!("not failed") };
        assert_eq!((failed.partition, failed.next_offset), (0, 0));
        assert_eq!(failed.error.expect("why").reason, "KAFKA_STORAGE_ERROR");
        publish(&client, "t", vec![v1::Record { partition: Some(1), ..record("x") }]).await;
        assert_eq!(offsets(&records(&mut call).await), [0]);
        memory.break_partition("t", 1);
        assert!(matches!(event(&mut call).await, Event::Failed(_)));
        assert_eq!(call.end().await.code, 14);
    });
}

#[test]
fn records_that_come_later_are_sent_at_once() {
    let setup = Setup::new(210);
    setup.memory.topic("t", 1);
    setup.run(async |client| {
        let mut call = consume(&client, from("t", Position::Edge(v1::Edge::End.into()))).await;
        event(&mut call).await;
        for offset in 0..10 {
            client.io.sleep(Duration::from_secs(100)).await;
            let sent = client.io.now();
            publish(&client, "t", vec![record("x")]).await;
            assert_eq!(offsets(&records(&mut call).await), [offset]);
            assert!(client.io.now() - sent < Duration::from_millis(200));
        }
    });
}
