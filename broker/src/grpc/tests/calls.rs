//! What every call has in common: framing, errors, deadlines, cancellation, limits, the connection's end.

use super::{Client, Setup};
use bytes::Bytes;
use futures_util::FutureExt;
use millrace_io::Io;
use millrace_io::simulated::SimIo;
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::consume_request::Request;
use prost::Message;
use std::time::Duration;

const DESCRIBE: &str = "/millrace.v1.Cluster/Describe";
const PRODUCE: &str = "/millrace.v1.Log/Produce";
const CONSUME: &str = "/millrace.v1.Log/Consume";

/// A consuming stream that waits for records that never come.
async fn waiting(client: &Client<SimIo>, headers: &[(&'static str, &str)]) -> super::client::Open {
    let partitions = vec![v1::PartitionStart { topic: "t".into(), partition: Some(0), position: None }];
    let start = v1::ConsumeStart { partitions, ..Default::default() };
    let mut call = client.open_with(CONSUME, headers).await;
    call.say(&v1::ConsumeRequest { request: Some(Request::Start(start)) });
    let response = call.hear::<v1::ConsumeResponse>().await.expect("started");
    assert!(matches!(response.event, Some(v1::consume_response::Event::Started(_))));
    call
}

#[test]
fn every_method_in_the_files_is_served() {
    use prost_types::FileDescriptorSet;
    let set = FileDescriptorSet::decode(millrace_proto::grpc::DESCRIPTOR_SET).expect("a set");
    Setup::new(1).run(async |client| {
        let mut count = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let mut call = client.open_with(&path, &[("grpc-timeout", "50m")]).await;
                    call.close();
                    let end = call.end().await;
                    assert_ne!(end.code, 12, "{path} is declared and not served");
                    count += 1;
                }
            }
        }
        assert_eq!(count, 21);
    });
}

#[test]
fn what_is_no_call_of_ours_is_refused() {
    Setup::new(2).run(async |client| {
        let mut call = client.open("/nobody.Knows/This").await;
        call.close();
        let end = call.end().await;
        assert_eq!((end.code, end.details.is_some()), (12, true));
        assert!(end.message.contains("/nobody.Knows/This"), "{}", end.message);

        let mut call = client.open_with(DESCRIBE, &[("content-type", "application/json")]).await;
        assert_eq!(call.hear_bytes().await, None);
        assert_eq!(call.http_status, 415);

        let mut call = client.open_with(DESCRIBE, &[("grpc-encoding", "gzip")]).await;
        assert_eq!(call.end().await.code, 12);
        let mut call = client.open_with(DESCRIBE, &[("grpc-timeout", "soon")]).await;
        assert_eq!(call.end().await.code, 3);

        // Compressed, too large, cut short, not protobuf.
        for (bytes, code) in [
            (&[1, 0, 0, 0, 0][..], 12),
            (&[0, 255, 255, 255, 255], 8),
            (&[0, 0, 0, 0, 9, 1], 3),
            (&[0, 0, 0, 0, 1, 255], 3),
        ] {
            let mut call = client.open(DESCRIBE).await;
            call.say_bytes(Bytes::copy_from_slice(bytes));
            call.close();
            assert_eq!(call.end().await.code, code, "{bytes:?}");
        }
        let fine: v1::DescribeClusterResponse =
            client.unary(DESCRIBE, &v1::DescribeClusterRequest {}).await.expect("the connection lives");
        assert_eq!(fine.cluster_id, "cluster");
    });
}

#[test]
fn deadlines_and_cancellation_free_what_a_call_held() {
    let setup = Setup::new(3);
    setup.memory.topic("t", 1);
    let memory = setup.memory.clone();
    setup.run(async |client| {
        let begun = client.io.now();
        let mut call = waiting(&client, &[("grpc-timeout", "300m")]).await;
        let end = call.end().await;
        assert_eq!(end.code, 4);
        assert!((290..600).contains(&(client.io.now() - begun).as_millis()));
        assert_eq!(memory.parked(), 0);

        let mut call = waiting(&client, &[]).await;
        client.io.sleep(Duration::from_millis(50)).await;
        assert_eq!(memory.parked(), 1);
        call.cancel();
        client.io.sleep(Duration::from_millis(50)).await;
        assert_eq!(memory.parked(), 0);
    });
}

#[test]
fn a_client_that_dies_frees_what_it_held() {
    let setup = Setup::new(4);
    setup.memory.topic("t", 1);
    let (memory, inbound) = (setup.memory.clone(), setup.inbound.clone());
    let (world, dying) = (&setup.world, &setup.client);
    let client = setup.start();
    let client = world.run_until(client);
    let mut half = world.run_until(async {
        let call = waiting(&client, &[]).await;
        let mut half = client.open(PRODUCE).await;
        half.say_bytes(Bytes::from_static(&[0, 0, 1, 0, 0, 7, 7, 7])); // 64 KiB promised, 3 bytes sent
        client.io.sleep(Duration::from_millis(50)).await;
        (call, half)
    });
    assert_eq!((memory.parked(), inbound.used()), (1, 65536));
    half.1.send.reserve_capacity(1);
    // The network is cut: nobody tells the server. It pings, waits, and gives up.
    world.cut(&setup.server, dying);
    world.run_for(Duration::from_secs(100));
    assert_eq!((memory.parked(), inbound.used()), (0, 0));
}

#[test]
fn a_client_that_does_not_speak_http2_is_dropped() {
    use millrace_io::{Reader, Writer};
    let setup = Setup::new(5);
    let address = std::net::SocketAddr::new(setup.server.ip(), 9095);
    setup.run(async |client| {
        for sent in [&b""[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let socket = client.io.connect(address).await.expect("a listener");
            let (mut reader, mut writer) = client.io.adopt(socket).expect("a socket");
            if !sent.is_empty() {
                writer.write(vec![Bytes::from_static(sent)]).await.expect("sent");
            }
            let mut heard = bytes::BytesMut::new();
            while reader.read(&mut heard, 1000).await.is_ok_and(|count| count > 0) {}
            assert!(client.io.now() < Duration::from_secs(20), "ends by itself");
        }
    });
}

#[test]
fn a_slow_message_does_not_hold_memory_for_ever() {
    let setup = Setup::new(6);
    let inbound = setup.inbound.clone();
    setup.run(async |client| {
        let mut call = client.open(PRODUCE).await;
        call.say_bytes(Bytes::from_static(&[0, 0, 1, 0, 0, 7]));
        client.io.sleep(Duration::from_secs(1)).await;
        assert_eq!(inbound.used(), 65536);
        assert_eq!(call.end().await.code, 4);
        assert_eq!(inbound.used(), 0);
    });
}

#[test]
fn more_memory_than_the_budget_is_waited_for() {
    let mut setup = Setup::new(7);
    setup.limits.connection_bytes = 100_000;
    setup.memory.topic("t", 1);
    let inbound = setup.inbound.clone();
    setup.run(async |client| {
        let mut holding = client.open(PRODUCE).await;
        holding.say_bytes(Bytes::from_static(&[0, 0, 1, 0, 0, 7])); // 64 KiB held while the rest is awaited
        client.io.sleep(Duration::from_millis(20)).await;
        let record = v1::Record { value: Some(vec![1; 60_000].into()), ..Default::default() };
        let request = v1::PublishRequest { topic: "t".into(), records: vec![record], ..Default::default() };
        let mut publish = Box::pin(client.unary::<v1::PublishResponse>("/millrace.v1.Log/Publish", &request));
        assert!((&mut publish).now_or_never().is_none());
        client.io.sleep(Duration::from_secs(1)).await;
        assert!((&mut publish).now_or_never().is_none(), "there is no room for both");
        assert_eq!(inbound.used(), 65536);
        holding.cancel();
        publish.await.expect("room again");
    });
}

#[test]
fn stopping_ends_streams_and_finishes_calls() {
    let setup = Setup::new(8);
    setup.memory.topic("t", 1);
    setup.memory.delay(Duration::from_millis(500));
    let terminate = || setup.server.terminate();
    setup.run(async |client| {
        let mut consuming = waiting(&client, &[]).await;
        let records = vec![v1::Record::default()];
        let batch = v1::ProduceBatch { id: 9, topic: "t".into(), records, ..Default::default() };
        let mut producing = client.open(PRODUCE).await;
        producing.say(&v1::ProduceRequest { options: None, batches: vec![batch] });
        client.io.sleep(Duration::from_millis(100)).await;
        terminate();
        let response = producing.hear::<v1::ProduceResponse>().await.expect("what was taken is answered");
        assert_eq!((response.results[0].id, response.results[0].partitions[0].base_offset), (9, Some(0)));
        assert_eq!(producing.end().await.code, 14);
        // The record that was produced is sent, or not: the stream ends either way.
        let end = consuming.end().await;
        assert_eq!((end.code, end.details.is_some()), (14, true));
    });
}
