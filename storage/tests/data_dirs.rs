//! Several log directories: each with its own checkpoints and marker, and one that fails costs the others nothing.

use millrace_io::simulated::{Crash, Host, Operation, SimIo, Target, World};
use millrace_io::{Io, Open};
use millrace_storage::{CleanStart, DataDirError, DataDirs, Identity, PartitionOffsets};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

fn machine() -> (World, Host) {
    let world = World::new(11);
    let host = world.host(1);
    (world, host)
}

fn paths() -> Vec<PathBuf> {
    ["/a", "/b", "/c"].map(PathBuf::from).to_vec()
}

async fn open(io: SimIo) -> Result<DataDirs<SimIo>, DataDirError> {
    DataDirs::open(io, &paths(), Identity { node_id: 1, cluster_id: None }).await
}

fn offsets(topic: &Arc<str>, recovery_point: i64) -> PartitionOffsets {
    PartitionOffsets {
        topic: topic.clone(),
        partition: 0,
        recovery_point,
        high_watermark: recovery_point,
        log_start: 0,
        cleaned: 0,
    }
}

/// Topics `in-a`, `in-b` and `in-c`, with a log each where their names say.
async fn fill(io: &SimIo, dirs: &DataDirs<SimIo>) -> [Arc<str>; 3] {
    let topics = ["in-a", "in-b", "in-c"].map(Arc::<str>::from);
    for (topic, home) in topics.iter().zip(dirs.in_use()) {
        io.create_dir_all(&home.path.join(format!("{topic}-0"))).await.expect("room");
        io.sync_dir(&home.path).await.expect("a disk");
        dirs.settle(topic, 0, home.id);
    }
    topics
}

fn found(dirs: &DataDirs<SimIo>) -> Vec<(Uuid, String, i64, bool)> {
    let log = |(id, log): (Uuid, &millrace_storage::LogDirectory)| {
        (id, log.topic.clone(), log.recovery.checkpoint, log.recovery.clean)
    };
    dirs.logs().map(log).collect()
}

#[test]
fn each_directory_has_an_id_and_all_are_of_one_cluster() {
    let (world, host) = machine();
    let dirs = world.run_until(open(host.core(0))).expect("new directories");
    let (known, cluster) = (dirs.in_use(), dirs.cluster_id().to_owned());
    assert_eq!(known.iter().map(|it| it.path.clone()).collect::<Vec<_>>(), paths());
    assert!(known[0].id != known[1].id && known[1].id != known[2].id && known[0].id != known[2].id);
    drop(dirs);
    let again = world.run_until(open(host.core(0))).expect("the same directories");
    assert_eq!((again.in_use(), again.cluster_id()), (known, cluster.as_str()));
    drop(again);
    // One of another cluster is not taken for a disk that is out of order.
    let other = Identity { node_id: 1, cluster_id: Some("other".into()) };
    world
        .run_until(DataDirs::open(host.core(0), &[PathBuf::from("/d")], other))
        .map(drop)
        .expect("a new one");
    let mixed = [PathBuf::from("/a"), PathBuf::from("/d")];
    let identity = Identity { node_id: 1, cluster_id: None };
    let refused = world.run_until(DataDirs::open(host.core(0), &mixed, identity)).err().expect("refused");
    assert!(matches!(&refused, DataDirError::Foreign { path, .. } if path == Path::new("/d")), "{refused}");
}

#[test]
fn checkpoints_lie_beside_their_logs() {
    let (world, host) = machine();
    let io = host.core(0);
    let dirs = world.run_until(open(io.clone())).expect("new directories");
    let ids: Vec<_> = dirs.in_use().iter().map(|it| it.id).collect();
    world.run_until(async {
        let [a, b, c] = fill(&io, &dirs).await;
        dirs.checkpoint(vec![offsets(&a, 10), offsets(&b, 20), offsets(&c, 30)]).await.expect("room");
        dirs.forget(&c, 0).await.expect("room");
    });
    host.crash(Crash::PowerCut);
    host.restart();
    drop(dirs);
    let dirs = world.run_until(open(host.core(0))).expect("the directories");
    let known = [("in-a", 10), ("in-b", 20), ("in-c", 0)];
    let expected = known.iter().zip(ids).map(|((topic, at), id)| (id, topic.to_string(), *at, false));
    assert_eq!(found(&dirs), expected.collect::<Vec<_>>());
}

#[test]
fn one_that_cannot_be_opened_is_left_out_unless_it_holds_the_metadata() {
    let (world, host) = machine();
    let io = host.core(0);
    drop(world.run_until(open(io.clone())).expect("new directories"));
    let broken = |path: &'static str| {
        Target::new(Operation::Read, move |file| file.starts_with(path) && file.ends_with("meta.properties"))
    };
    host.change_faults(|faults| faults.targets = vec![broken("/b")]);
    let dirs = world.run_until(open(io.clone())).expect("the others");
    let used: Vec<_> = dirs.in_use().iter().map(|it| it.path.clone()).collect();
    assert_eq!(used, ["/a", "/c"].map(PathBuf::from));
    let [offline] = dirs.offline() else { panic!("{:?}", dirs.offline()) };
    assert_eq!(offline.path, Path::new("/b"));
    assert!(offline.why.contains("/b"), "{}", offline.why);
    drop(dirs);
    host.change_faults(|faults| faults.targets = vec![broken("/a")]);
    let refused = world.run_until(open(io)).err().expect("no metadata");
    assert!(matches!(refused, DataDirError::Io { .. }), "{refused}");
}

#[test]
fn one_that_fails_leaves_the_others_clean_and_up_to_date() {
    let (world, host) = machine();
    let io = host.core(0);
    let dirs = world.run_until(open(io.clone())).expect("new directories");
    let [a, b, c] = world.run_until(fill(&io, &dirs));
    world.run_until(async {
        dirs.checkpoint(vec![offsets(&a, 1), offsets(&b, 2), offsets(&c, 3)]).await.expect("room");
    });
    host.change_faults(|faults| {
        let on_b = |file: &Path| file.starts_with("/b");
        faults.targets = vec![Target::new(Operation::Write, on_b), Target::new(Operation::Sync, on_b)];
    });
    world.run_until(async {
        let all = vec![offsets(&a, 11), offsets(&b, 12), offsets(&c, 13)];
        let failed = dirs.checkpoint(all).await.expect_err("a disk that does not write");
        assert!(matches!(&failed, DataDirError::Io { path, .. } if path.starts_with("/b")), "{failed}");
        dirs.checkpoint(vec![offsets(&a, 21)]).await.expect("its own disk is fine");
        // The log of `c` was not closed.
        dirs.close(&[(c.clone(), 0)], false).await.expect("markers are only written where they are due");
    });
    host.change_faults(|faults| faults.targets.clear());
    let dirs = world.run_until(open(io)).expect("the directories");
    let logs: Vec<_> = found(&dirs).into_iter().map(|(_, topic, at, clean)| (topic, at, clean)).collect();
    let expected = [("in-a", 21, true), ("in-b", 2, false), ("in-c", 13, false)];
    assert_eq!(logs, expected.map(|(topic, at, clean)| (topic.to_owned(), at, clean)));
    assert_eq!(dirs.first().clean_start(), CleanStart::Clean);
}

#[test]
fn of_those_nothing_is_known_none_is_clean() {
    let (world, host) = machine();
    let dirs = world.run_until(open(host.core(0))).expect("new directories");
    world.run_until(dirs.close(&[], true)).expect("nothing to write");
    let marker = Path::new("/a").join(millrace_proto::files::CLEAN_SHUTDOWN);
    assert!(world.run_until(host.core(0).open(&marker, Open::Read)).is_err());
}
