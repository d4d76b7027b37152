//! Fossils: a data directory that format 1 wrote must stay readable, byte for byte, whatever this version writes.
//!
//! `testdata/v1` is committed and never written again. `MILLRACE_MAKE_FOSSIL=dir` writes a new one for a new format.

use bytes::{Bytes, BytesMut};
use millrace_io::simulated::{SimIo, World};
use millrace_io::{Io, Open};
use millrace_proto::batch::{Builder, Header, Options, Producer, records, stamp};
use millrace_proto::compression::Codec;
use millrace_proto::files::{
    ProducerEntry, RecentBatch, RecentBatches, encode_producer_snapshot, encode_recent_batches,
};
use millrace_storage::{CleanStart, DataDir, Identity, Log, LogConfig, PartitionOffsets};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use uuid::Uuid;

const DATA: &str = "/data";
const TOPIC_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0);
const CLUSTER: &str = "Zm9zc2lsLWNsdXN0ZXItMQ";
const BATCHES: i64 = 12;
const PER_BATCH: i64 = 3;
const FIRST_TIMESTAMP: i64 = 1_600_000_000_000;

fn identity() -> Identity {
    Identity { node_id: 5, cluster_id: Some(CLUSTER.into()) }
}

fn batch(number: i64) -> BytesMut {
    let mut builder = Builder::new();
    for record in 0..PER_BATCH {
        let offset = number * PER_BATCH + record;
        let value = format!("value {offset}");
        builder
            .push(FIRST_TIMESTAMP + offset, Some(b"key"), Some(value.as_bytes()), &[])
            .expect("a small record");
    }
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let producer = Some(Producer { id: 9, epoch: 0, base_sequence: (number * PER_BATCH) as i32 });
    let options = Options { codec: codecs[number as usize % codecs.len()], producer, ..Options::default() };
    let mut bytes = builder.finish(&options).expect("a small batch");
    stamp(&mut bytes, number * PER_BATCH, 1);
    bytes
}

async fn write(io: SimIo) {
    let dir = DataDir::open(io.clone(), Path::new(DATA), identity()).await.expect("a new directory");
    let config = LogConfig { segment_bytes: 700, index_interval_bytes: 150, ..LogConfig::default() };
    let log = Log::create(io, &dir.log_path("fossil", 0), TOPIC_ID, config, Rc::new(|_| {}))
        .await
        .expect("a new log");
    for number in 0..BATCHES {
        let bytes = batch(number);
        let header = Header::parse(&bytes).expect("own batch");
        log.reserve(bytes.len(), header.max_timestamp).await.expect("room");
        log.append(bytes, &header);
    }
    log.flush().await.expect("a disk");
    let end = log.end();
    let last = RecentBatch {
        last_sequence: end as i32 - 1,
        last_offset: end - 1,
        offset_delta: 2,
        timestamp: FIRST_TIMESTAMP,
    };
    let entry = ProducerEntry {
        producer_id: 9,
        producer_epoch: 0,
        last_sequence: last.last_sequence,
        last_offset: last.last_offset,
        offset_delta: last.offset_delta,
        timestamp: last.timestamp,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let recent = RecentBatches { producer_id: 9, producer_epoch: 0, batches: vec![last] };
    let (snapshot, companion) = (encode_producer_snapshot(&[entry]), encode_recent_batches(&[recent]));
    log.write_producer_snapshot(end, snapshot.into(), companion.into()).await.expect("room");
    log.close().await.expect("a disk");
    let offsets = PartitionOffsets {
        topic: "fossil".into(),
        partition: 0,
        recovery_point: log.recovery_point(),
        high_watermark: end,
        log_start: 0,
        cleaned: 0,
    };
    dir.checkpoint(vec![offsets]).await.expect("room");
    dir.close(true).await.expect("room");
}

async fn list(io: &SimIo, dir: PathBuf) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![dir];
    while let Some(dir) = left.pop() {
        for entry in io.read_dir(&dir).await.expect("a listing") {
            let path = dir.join(entry.name);
            if entry.is_dir { left.push(path) } else { files.push(path) }
        }
    }
    files
}

async fn content(io: &SimIo, path: &Path) -> Bytes {
    let file = io.open(path, Open::Read).await.expect("a file");
    let len = io.len(&file).await.expect("a length");
    io.read_at(&file, 0, len as usize).await.expect("its bytes")
}

/// Copies a directory of this machine onto the simulated one.
async fn import(io: &SimIo, from: &Path, to: &Path) {
    io.create_dir_all(to).await.expect("room");
    for entry in std::fs::read_dir(from).expect("testdata is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            Box::pin(import(io, &entry.path(), &target)).await;
            continue;
        }
        let bytes = std::fs::read(entry.path()).expect("a readable file");
        let file = io.open(&target, Open::Create).await.expect("room");
        io.write_at(&file, 0, vec![bytes.into()]).await.expect("room");
    }
}

async fn check(io: SimIo, clean: bool) {
    let dir = DataDir::open(io.clone(), Path::new(DATA), identity()).await.expect("a directory of format 1");
    assert_eq!(dir.clean_start() == CleanStart::Clean, clean);
    let found = &dir.logs()[0];
    assert_eq!(
        (found.topic.as_str(), found.partition, found.high_watermark),
        ("fossil", 0, Some(BATCHES * PER_BATCH))
    );
    let opened = Log::open(io, &found.path, LogConfig::default(), found.recovery, Rc::new(|_| {})).await;
    let (log, recovery) = opened.expect("a log of format 1");
    assert_eq!((recovery.topic_id, recovery.log_start, recovery.end), (TOPIC_ID, 0, BATCHES * PER_BATCH));
    assert_eq!((recovery.cut, recovery.quarantined), (None, vec![]));
    assert_eq!(
        recovery.leader_epochs.iter().map(|e| (e.epoch, e.start_offset)).collect::<Vec<_>>(),
        [(1, 0)]
    );
    let snapshot = recovery.producer_snapshot.expect("the snapshot");
    assert_eq!((snapshot.offset, snapshot.companion.is_some()), (recovery.end, true));
    let (mut expected, mut scratch) = (0, Vec::new());
    for extent in log.read(0, recovery.end, u64::MAX, true).await.expect("all of it") {
        let bytes = log.read_bytes(&extent).await.expect("its bytes");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (whole, behind) = rest.split_at(Header::parse(rest).expect("a batch").size());
            for record in records(whole, &mut scratch, &Default::default()).expect("records") {
                let record = record.expect("a record");
                assert_eq!((record.offset, record.timestamp), (expected, FIRST_TIMESTAMP + expected));
                assert_eq!(record.value, Some(format!("value {expected}").as_bytes()));
                expected += 1;
            }
            rest = behind;
        }
    }
    assert_eq!(expected, recovery.end);
    for offset in 0..recovery.end {
        let found =
            log.offset_for_timestamp(FIRST_TIMESTAMP + offset, recovery.end).await.expect("a look-up");
        assert_eq!(found.map(|f| f.offset), Some(offset));
    }
}

fn fossil() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

#[test]
fn format_1_stays_readable_after_a_clean_stop() {
    let world = World::new(1);
    let io = world.host(1).core(0);
    world.run_until(async {
        import(&io, &fossil(), Path::new(DATA)).await;
        check(io.clone(), true).await;
    });
}

#[test]
fn format_1_stays_readable_after_a_crash() {
    let world = World::new(1);
    let io = world.host(1).core(0);
    world.run_until(async {
        import(&io, &fossil(), Path::new(DATA)).await;
        io.remove_file(&Path::new(DATA).join(".kafka_cleanshutdown")).await.expect("the marker");
        check(io.clone(), false).await;
    });
}

#[test]
fn what_is_written_now_is_read_alike() {
    let world = World::new(1);
    let io = world.host(1).core(0);
    world.run_until(write(io.clone()));
    if let Ok(target) = std::env::var("MILLRACE_MAKE_FOSSIL") {
        world.run_until(export(&io, Path::new(&target)));
    }
    world.run_until(check(io, true));
}

async fn export(io: &SimIo, target: &Path) {
    for path in list(io, PathBuf::from(DATA)).await {
        let to = target.join(path.strip_prefix(DATA).expect("below the directory"));
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("room");
        std::fs::write(to, content(io, &path).await).expect("room");
    }
}
