//! The data directory: one process at a time, one identity, one format, checkpoints that survive.

use millrace_io::simulated::{Crash, Host, SimIo, World};
use millrace_io::{Io, Open};
use millrace_storage::{CleanStart, DataDir, DataDirError, Identity, PartitionOffsets, RecoveryPoint};
use std::path::Path;

const DATA: &str = "/srv/millrace/data";

fn machine() -> (World, Host) {
    let world = World::new(7);
    let host = world.host(1);
    (world, host)
}

async fn open(io: SimIo, node_id: i32) -> Result<DataDir<SimIo>, DataDirError> {
    DataDir::open(io, Path::new(DATA), Identity { node_id, cluster_id: None }).await
}

fn offsets(topic: &str, recovery_point: i64) -> PartitionOffsets {
    let (high_watermark, log_start) = (recovery_point - 1, recovery_point - 2);
    PartitionOffsets {
        topic: topic.into(),
        partition: 3,
        recovery_point,
        high_watermark,
        log_start,
        cleaned: 0,
    }
}

#[test]
fn a_second_process_is_refused() {
    let (world, host) = machine();
    let first = world.run_until(open(host.core(0), 1)).expect("a new directory");
    let second = world.run_until(open(host.core(0), 1)).err().expect("locked");
    assert!(matches!(second, DataDirError::InUse(_)), "{second}");
    drop(first);
    assert!(world.run_until(open(host.core(0), 1)).is_ok());
}

#[test]
fn identity_is_kept_and_compared() {
    let (world, host) = machine();
    let first = world.run_until(open(host.core(0), 1)).expect("a new directory");
    let (cluster, directory) = (first.cluster_id().to_owned(), first.directory_id());
    assert_eq!(cluster.len(), 22);
    drop(first);
    let again = world.run_until(open(host.core(0), 1)).expect("the same node");
    assert_eq!((again.cluster_id(), again.directory_id(), again.node_id()), (cluster.as_str(), directory, 1));
    drop(again);
    let foreign = world.run_until(open(host.core(0), 2)).err().expect("another node");
    assert!(matches!(foreign, DataDirError::Foreign { setting: "node.id", .. }), "{foreign}");
    let wanted = Identity { node_id: 1, cluster_id: Some("other".into()) };
    let foreign =
        world.run_until(DataDir::open(host.core(0), Path::new(DATA), wanted)).err().expect("another cluster");
    assert!(matches!(foreign, DataDirError::Foreign { setting: "cluster.id", .. }), "{foreign}");
}

#[test]
fn a_newer_format_is_refused() {
    let (world, host) = machine();
    let io = host.core(0);
    drop(world.run_until(open(io.clone(), 1)).expect("a new directory"));
    world.run_until(async {
        let file = io.open(&Path::new(DATA).join("millrace.format"), Open::Create).await.expect("the file");
        io.truncate(&file, 0).await.expect("room");
        io.write_at(&file, 0, vec!["format.version=2\n".into()]).await.expect("room");
    });
    let newer = world.run_until(open(host.core(0), 1)).err().expect("too new");
    assert!(matches!(newer, DataDirError::TooNew { found: 2, supported: 1, .. }), "{newer}");
    assert!(newer.to_string().contains("use a newer Millrace"));
}

#[test]
fn only_a_clean_stop_is_a_clean_start() {
    let (world, host) = machine();
    let first = world.run_until(open(host.core(0), 1)).expect("a new directory");
    assert_eq!(first.clean_start(), CleanStart::Unclean);
    world.run_until(first.close(true)).expect("a marker");
    host.crash(Crash::PowerCut);
    host.restart();
    let second = world.run_until(open(host.core(0), 1)).expect("a clean directory");
    assert_eq!(second.clean_start(), CleanStart::Clean);
    host.crash(Crash::PowerCut);
    host.restart();
    drop(second);
    let third = world.run_until(open(host.core(0), 1)).expect("an unclean directory");
    assert_eq!(third.clean_start(), CleanStart::Unclean);
}

#[test]
fn checkpoints_survive_and_deleted_partitions_do_not() {
    let (world, host) = machine();
    let io = host.core(0);
    let dir = world.run_until(open(io.clone(), 1)).expect("a new directory");
    world.run_until(async {
        for name in ["a-3", "b-3", "c-0.0123456789abcdef0123456789abcdef-delete", "lost+found"] {
            io.create_dir_all(&Path::new(DATA).join(name)).await.expect("room");
        }
        io.sync_dir(Path::new(DATA)).await.expect("a disk");
        dir.checkpoint(vec![offsets("a", 10), offsets("b", 20)]).await.expect("room");
        dir.forget("b", 3).await.expect("room");
    });
    host.crash(Crash::PowerCut);
    host.restart();
    drop(dir);
    let dir = world.run_until(open(host.core(0), 1)).expect("the directory");
    let found: Vec<_> = dir.logs().iter().map(|l| (l.topic.as_str(), l.recovery, l.high_watermark)).collect();
    let known = RecoveryPoint { checkpoint: 10, log_start: 8, ..RecoveryPoint::default() };
    assert_eq!(found, [("a", known, Some(9)), ("b", RecoveryPoint::default(), None)]);
    world.run_for(std::time::Duration::from_secs(1));
    let names = world.run_until(host.core(0).read_dir(Path::new(DATA))).expect("a listing");
    assert!(names.iter().all(|entry| !entry.name.ends_with("-delete")), "{names:?}");
}
