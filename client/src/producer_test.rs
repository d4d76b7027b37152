use super::*;
use crate::fake_server::{FakeServer, Produce};
use futures_util::FutureExt;
use millrace_proto::batch::{records, verify};
use tonic::Status;

fn placed(id: i64, base: i64) -> v1::ProduceResponse {
    let part = v1::PartitionResult { base_offset: Some(base), ..Default::default() };
    v1::ProduceResponse { results: vec![v1::ProduceResult { id, error: None, partitions: vec![part] }] }
}

async fn batch(call: &mut Produce) -> v1::ProduceBatch {
    call.request().await.batches.pop().expect("a batch")
}

fn values(batch: &v1::ProduceBatch) -> Vec<Vec<u8>> {
    let (bytes, mut scratch) = (batch.record_batch.as_ref().expect("whole batches"), Vec::new());
    verify(bytes).expect("sound");
    let records = records(bytes, &mut scratch, &Default::default()).expect("sound");
    records.map(|record| record.expect("sound").value.expect("set").to_vec()).collect()
}

async fn send(producer: &Producer, value: &'static str) -> Delivery {
    producer.send(Record::new("t").partition(0).value(value)).await.expect("the task lives")
}

#[tokio::test]
async fn each_record_learns_its_own_place() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().max_in_flight(1).linger(Duration::ZERO).build();
    let first = send(&producer, "0").await;
    let mut call = server.produces.recv().await.expect("a call");
    let request = call.request().await;
    let options = request.options.expect("the first request carries options");
    assert_eq!((options.acks(), options.timeout_ms), (v1::Acks::All, Some(30_000)));
    assert_eq!(values(&request.batches[0]), [b"0"]);

    // These gather while the first batch is under way.
    let mut others = Vec::new();
    for value in ["1", "2", "3"] {
        others.push(send(&producer, value).await);
    }
    call.answer(placed(request.batches[0].id, 10)).await;
    assert_eq!(
        first.await.expect("sent"),
        Placed { partition: 0, offset: Some(10), log_append_time_ms: None }
    );
    let second = batch(&mut call).await;
    assert_eq!(values(&second), [b"1", b"2", b"3"]);
    call.answer(placed(second.id, 11)).await;
    for (delivery, offset) in others.into_iter().zip(11..) {
        assert_eq!(delivery.await.expect("sent").offset, Some(offset));
    }
}

#[tokio::test]
async fn a_broken_stream_is_made_again_and_the_same_batch_is_sent() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().build();
    let delivery = send(&producer, "x").await;
    let mut call = server.produces.recv().await.expect("a call");
    let first = batch(&mut call).await;
    call.end(Status::unavailable("stopping")).await;
    let mut call = server.produces.recv().await.expect("another call");
    let request = call.request().await;
    assert!(request.options.is_some());
    assert_eq!(request.batches[0].record_batch, first.record_batch);
    call.answer(placed(request.batches[0].id, 5)).await;
    assert_eq!(delivery.await.expect("sent").offset, Some(5));
}

#[tokio::test]
async fn flush_waits_for_answers_and_a_dropped_producer_still_sends() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().linger(Duration::from_secs(3600)).build();
    producer.flush().await.expect("there is nothing to wait for");
    let delivery = send(&producer, "x").await;
    let mut flush = Box::pin(producer.flush());
    assert!((&mut flush).now_or_never().is_none());
    let mut call = server.produces.recv().await.expect("a call");
    let sent = batch(&mut call).await;
    call.answer(placed(sent.id, 0)).await;
    flush.await.expect("answered");
    delivery.await.expect("sent");

    let last = send(&producer, "last").await;
    drop(producer);
    let sent = batch(&mut call).await;
    call.answer(placed(sent.id, 1)).await;
    last.await.expect("sent");
    assert!(call.requests.message().await.expect("a clean end").is_none());
}

#[tokio::test]
async fn send_waits_for_memory_but_not_for_ever() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client
        .producer()
        .buffer_memory(100)
        .max_block(Duration::from_millis(50))
        .linger(Duration::ZERO)
        .build();
    let record = |size| Record::new("t").partition(0).value(vec![0; size]);
    let first = producer.send(record(1000)).await.expect("a large record passes alone");
    let mut call = server.produces.recv().await.expect("a call");
    let sent = batch(&mut call).await;
    let refused = producer.send(record(1)).await.expect_err("there is no room");
    assert_eq!((refused.code, refused.retriable), (Code::ResourceExhausted, true));
    let mut second = Box::pin(producer.send(record(1)));
    assert!((&mut second).now_or_never().is_none());
    call.answer(placed(sent.id, 0)).await;
    first.await.expect("sent");
    second.await.expect("there is room now");
}
