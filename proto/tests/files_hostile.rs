//! Damaged files and made-up gRPC bodies: the fuzz targets, for a moment, on samples with some bytes changed and on noise.

#[path = "../fuzz/src/grpc.rs"]
mod grpc_targets;
mod hostile_support;
#[path = "../fuzz/src/files.rs"]
mod targets;

use hostile_support::Random;
use millrace_proto::files;
use millrace_proto::grpc::v1;
use prost::Message;
use uuid::Uuid;

const ROUNDS: usize = 10_000;

/// Reads a body. Whether it was understood.
type Target = fn(&[u8]) -> bool;

/// A file of each format, in the order of the target.
fn samples() -> [Vec<u8>; targets::FORMATS as usize] {
    let id = Uuid::from_u128(0x123e4567_e89b_12d3_a456_426614174000);
    let meta = files::MetaProperties { cluster_id: "c=1".to_owned(), node_id: 1, directory_id: Some(id) };
    let offsets = [files::PartitionOffset { topic: "orders".to_owned(), partition: 3, offset: 1 << 40 }];
    let epochs =
        [files::LeaderEpoch { epoch: 1, start_offset: 0 }, files::LeaderEpoch { epoch: 5, start_offset: 9 }];
    let entry = files::ProducerEntry {
        producer_id: 1,
        producer_epoch: 0,
        last_sequence: 5,
        last_offset: 9,
        offset_delta: 0,
        timestamp: 77,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let place = files::JournalPlace { run: 7, generation: 3, sequence: 2 };
    let entry_of = |partition| files::JournalEntry {
        topic_id: id,
        partition,
        base: 5,
        end: 8,
        bytes: vec!["some batches".into()],
    };
    let batch = files::RecentBatch { last_sequence: 5, last_offset: 9, offset_delta: 0, timestamp: 77 };
    let recent = files::RecentBatches { producer_id: 1, producer_epoch: 0, batches: vec![batch; 5] };
    [
        meta.encode().into(),
        files::PartitionMetadata { topic_id: id }.encode().into(),
        files::DataFormat::CURRENT.encode().into(),
        files::CleanShutdown { broker_epoch: 12 }.encode().into(),
        files::encode_offsets(&offsets).into(),
        files::encode_leader_epochs(&epochs).into(),
        files::encode_producer_snapshot(&[entry; 3]),
        files::encode_journal_frame(place, &[entry_of(3), entry_of(0)]).concat(),
        files::encode_recent_batches(&[recent.clone(), recent]),
    ]
}

#[test]
fn damaged_files_are_refused_or_mean_the_same_when_written_again() {
    let mut random = Random(13);
    for (format, sample) in (0..).zip(samples()) {
        assert!(targets::file(format, &sample), "format {format}");
        let mut understood = 0;
        for _ in 0..ROUNDS {
            let mut file = sample.clone();
            random.mutate(&mut file, 0);
            understood += usize::from(targets::file(format, &file));
            targets::file(format, &random.bytes(60));
        }
        // Both outcomes are met, or this proves little.
        assert!((1..ROUNDS).contains(&understood), "format {format}: {understood} of {ROUNDS}");
    }
}

#[test]
fn damaged_indexes_and_names_are_survived() {
    let mut random = Random(17);
    let names = [
        "orders.eu-12",
        "00000000000000000042.log",
        "00000000000000000042.snapshot",
        "Ej5FZ-ibEtOkVkJmFBdAAA",
    ];
    for name in names {
        for _ in 0..ROUNDS {
            let mut name = name.as_bytes().to_vec();
            random.mutate(&mut name, 0);
            targets::names(&name);
            targets::indexes(&random.bytes(60));
        }
    }
    targets::files(&[]);
}

#[test]
fn damaged_grpc_records_mean_what_the_generated_messages_say() {
    let header = v1::Header { key: "hä".to_owned(), value: Some("v".into()) };
    let record = v1::Record {
        key: Some("key".into()),
        value: Some("value".into()),
        headers: vec![header.clone(), v1::Header { value: None, ..header }],
        timestamp_ms: Some(-1),
        partition: Some(7),
    };
    let records = vec![record.clone(), v1::Record { value: None, ..record }];
    let batch = v1::ProduceBatch {
        id: 300,
        topic: "orders".to_owned(),
        records: records.clone(),
        ..Default::default()
    };
    let options = Some(v1::ProduceOptions { acks: 1, timeout_ms: Some(500) });
    let produce = v1::ProduceRequest { options, batches: vec![batch.clone(), batch] }.encode_to_vec();
    let publish = v1::PublishRequest {
        topic: "orders".to_owned(),
        partition: Some(1),
        records,
        acks: 1,
        timeout_ms: None,
    };
    let samples: [(Vec<u8>, Target); 2] =
        [(produce, grpc_targets::produce_body), (publish.encode_to_vec(), grpc_targets::publish_body)];
    let mut random = Random(19);
    for (sample, read) in samples {
        assert!(read(&sample));
        let mut understood = 0;
        for _ in 0..ROUNDS {
            let mut body = sample.clone();
            random.mutate(&mut body, 0);
            understood += usize::from(read(&body));
            grpc_targets::records(&random.bytes(60));
        }
        assert!((1..ROUNDS).contains(&understood), "{understood} of {ROUNDS}");
    }
}
