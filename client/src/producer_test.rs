use super::*;
use crate::fake_server::{FakeServer, Produce};
use futures_util::FutureExt;
use tonic::Status;

fn result(id: i64, partitions: Vec<v1::PartitionResult>) -> v1::ProduceResponse {
    v1::ProduceResponse { results: vec![v1::ProduceResult { id, error: None, partitions }] }
}

fn placed(partition: i32, base: i64, indexes: &[u32]) -> v1::PartitionResult {
    let record_indexes = indexes.to_vec();
    v1::PartitionResult { partition, base_offset: Some(base), record_indexes, ..Default::default() }
}

async fn batch(call: &mut Produce) -> v1::ProduceBatch {
    call.request().await.batches.pop().expect("a batch")
}

async fn send(producer: &Producer, value: &'static str) -> Delivery {
    producer.send(Record::new("t").value(value)).await.expect("the task lives")
}

#[tokio::test]
async fn each_record_learns_its_own_place() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().in_flight(1).build();
    let first = send(&producer, "0").await;
    let mut call = server.produces.recv().await.expect("a call");
    let request = call.request().await;
    let options = request.options.expect("the first request carries options");
    assert_eq!((options.acks(), options.timeout_ms), (v1::Acks::All, Some(30_000)));
    assert_eq!(request.batches[0].records.len(), 1);

    // These gather while the first batch is under way.
    let mut others = Vec::new();
    for value in ["1", "2", "3"] {
        others.push(send(&producer, value).await);
    }
    call.answer(result(request.batches[0].id, vec![placed(4, 10, &[])])).await;
    assert_eq!(
        first.await.expect("sent"),
        Placed { partition: 4, offset: Some(10), log_append_time_ms: None }
    );
    let second = batch(&mut call).await;
    assert_eq!(second.records.iter().map(|r| r.value.clone().unwrap()).collect::<Vec<_>>(), ["1", "2", "3"]);
    call.answer(result(second.id, vec![placed(0, 7, &[0, 2]), placed(1, 3, &[1])])).await;
    let mut places = Vec::new();
    for delivery in others {
        let placed = delivery.await.expect("sent");
        places.push((placed.partition, placed.offset));
    }
    assert_eq!(places, [(0, Some(7)), (1, Some(3)), (0, Some(8))]);
}

#[tokio::test]
async fn an_error_of_one_partition_is_its_records_alone() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().build();
    let good = producer.send(Record::new("t").partition(0)).await.expect("lives");
    let mut call = server.produces.recv().await.expect("a call");
    let first = batch(&mut call).await;
    call.answer(result(first.id, vec![placed(0, 0, &[])])).await;
    good.await.expect("sent");
    let bad = producer.send(Record::new("t").partition(9)).await.expect("lives");
    let second = batch(&mut call).await;
    let error = v1::Error {
        code: Code::NotFound as i32,
        reason: "UNKNOWN_TOPIC_OR_PARTITION".into(),
        message: "no such partition".into(),
        ..Default::default()
    };
    let failed = v1::PartitionResult { partition: 9, error: Some(error), ..Default::default() };
    call.answer(result(second.id, vec![failed])).await;
    let error = bad.await.expect_err("refused");
    assert_eq!((error.code, error.reason.as_str()), (Code::NotFound, "UNKNOWN_TOPIC_OR_PARTITION"));
    assert!(error.message.starts_with("t-9: "), "{error}");
}

#[tokio::test]
async fn a_broken_stream_fails_what_is_under_way_and_the_next_record_gets_a_new_one() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().build();
    let lost = send(&producer, "lost").await;
    let mut call = server.produces.recv().await.expect("a call");
    batch(&mut call).await;
    call.end(Status::unavailable("stopping")).await;
    assert_eq!(lost.await.expect_err("unanswered").code, Code::Unavailable);

    let later = send(&producer, "later").await;
    let mut call = server.produces.recv().await.expect("another call");
    let request = call.request().await;
    assert!(request.options.is_some());
    call.answer(result(request.batches[0].id, vec![placed(0, 0, &[])])).await;
    later.await.expect("sent");
}

#[tokio::test]
async fn flush_waits_for_answers_and_a_dropped_producer_still_sends() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().build();
    producer.flush().await.expect("there is nothing to wait for");
    let delivery = send(&producer, "x").await;
    let mut flush = Box::pin(producer.flush());
    assert!((&mut flush).now_or_never().is_none());
    let mut call = server.produces.recv().await.expect("a call");
    let sent = batch(&mut call).await;
    call.answer(result(sent.id, vec![placed(0, 0, &[])])).await;
    flush.await.expect("answered");
    delivery.await.expect("sent");

    let last = send(&producer, "last").await;
    drop(producer);
    let sent = batch(&mut call).await;
    call.answer(result(sent.id, vec![placed(0, 1, &[])])).await;
    last.await.expect("sent");
    assert!(call.requests.message().await.expect("a clean end").is_none());
}

#[tokio::test]
async fn send_waits_for_memory() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().buffer_bytes(100).build();
    let first =
        producer.send(Record::new("t").value(vec![0; 1000])).await.expect("a large record passes alone");
    let mut second = Box::pin(producer.send(Record::new("t").value("x")));
    assert!((&mut second).now_or_never().is_none());
    let mut call = server.produces.recv().await.expect("a call");
    let sent = batch(&mut call).await;
    assert!((&mut second).now_or_never().is_none());
    call.answer(result(sent.id, vec![placed(0, 0, &[])])).await;
    first.await.expect("sent");
    second.await.expect("there is room now");
}

#[tokio::test]
async fn batches_keep_to_their_size() {
    let (mut server, client) = FakeServer::start().await;
    let producer = client.producer().in_flight(1).batch_bytes(300).build();
    let mut deliveries = Vec::new();
    for _ in 0..5 {
        deliveries.push(producer.send(Record::new("t").value(vec![0; 100])).await.expect("lives"));
    }
    let mut call = server.produces.recv().await.expect("a call");
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        let batch = batch(&mut call).await;
        call.answer(result(batch.id, vec![placed(0, sizes.iter().sum::<usize>() as i64, &[])])).await;
        sizes.push(batch.records.len());
    }
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("sent").offset, Some(offset as i64));
    }
}
