//! The contract of `Io` on the simulated machine, and what only the simulated machine promises.

mod contract;

use bytes::{Bytes, BytesMut};
use millrace_io::simulated::{
    Crash, Faults, Host, Link, Operation, Rng, SimIo, SimReader, SimWriter, Target, World,
};
use millrace_io::{Io, Listener, Open, Reader, Writer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Runs a case in several worlds: twice over, it must also leave the same trace.
fn run<F: Future<Output = ()> + 'static>(case: impl Fn(SimIo, PathBuf) -> F) {
    for seed in 0..5 {
        let traces: [u64; 2] = std::array::from_fn(|_| {
            let world = World::new(seed);
            let io = world.host(1).core(0);
            let dir = PathBuf::from("/scratch");
            world.run_until(async {
                io.create_dir_all(Path::new("/scratch")).await.unwrap();
                case(io.clone(), dir).await;
            });
            world.trace_hash()
        });
        assert_eq!(traces[0], traces[1], "seed {seed} does not repeat");
    }
}

contract_suite!(run);

/// What a small program does, as a trace: files, a crash, two hosts that talk.
fn busy_world(seed: u64) -> u64 {
    let world = World::new(seed);
    let (one, other) = (world.host(2), world.host(1));
    one.change_faults(|faults| faults.sync_error = 0.05);
    serve_echo(&other);
    for core in 0..2 {
        let (io, server) = (one.core(core), SocketAddr::new(other.ip(), 7));
        one.core(core).spawn(async move {
            let file = io.open(&PathBuf::from(format!("/{core}")), Open::Create).await.unwrap();
            let (mut reader, mut writer) = io.adopt(io.connect(server).await.unwrap()).unwrap();
            for at in 0.. {
                let said = Bytes::from(format!("{at}:{}", io.random() % 1000));
                let _ = io.write_at(&file, at * 10, vec![said.clone()]).await;
                let _ = io.sync(&file).await;
                writer.write(vec![said.clone()]).await.unwrap();
                reader.read_exact(BytesMut::new(), said.len()).await.unwrap();
            }
        });
    }
    world.run_for(Duration::from_millis(50));
    one.crash(Crash::PowerCut);
    one.restart();
    world.run_for(Duration::from_millis(10));
    world.trace_hash()
}

fn serve_echo(host: &Host) {
    let io = host.core(0);
    host.core(0).spawn(async move {
        let mut listener = io.listen(SocketAddr::from(([0, 0, 0, 0], 7))).await.unwrap();
        loop {
            let (mut reader, mut writer) = io.adopt(listener.accept().await.unwrap().0).unwrap();
            io.spawn(async move {
                let mut bytes = BytesMut::new();
                while reader.read(&mut bytes, 1000).await.is_ok_and(|count| count > 0) {
                    if writer.write(vec![bytes.split().freeze()]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn one_seed_is_one_world() {
    let traces: Vec<u64> = (0..10).map(busy_world).collect();
    assert_eq!(traces, (0..10).map(busy_world).collect::<Vec<_>>());
    let different: BTreeSet<u64> = traces.into_iter().collect();
    assert_eq!(different.len(), 10);
}

#[test]
fn tasks_run_in_seeded_order() {
    let order = |seed| {
        let world = World::new(seed);
        let io = world.host(1).core(0);
        let ran = Rc::new(RefCell::new(Vec::new()));
        for task in 0..6 {
            let ran = ran.clone();
            io.spawn(async move { ran.borrow_mut().push(task) });
        }
        world.run_steps(6);
        ran.take()
    };
    assert_eq!(order(1), order(1));
    let orders: BTreeSet<Vec<i32>> = (0..20).map(order).collect();
    assert!(orders.len() > 10, "{} orders of 20", orders.len());
}

#[test]
fn idle_time_passes_at_once() {
    let world = World::new(1);
    let io = world.host(1).core(0);
    world.run_until(io.sleep(Duration::from_secs(86_400 * 365)));
    assert!(world.now() >= Duration::from_secs(86_400 * 365));
    world.run_for(Duration::from_secs(5));
    assert!(world.now() >= Duration::from_secs(86_400 * 365 + 5));
    assert_eq!(world.run_until_or(Duration::from_secs(1), std::future::pending::<()>()), None);
    assert_eq!(world.run_until_or(Duration::from_secs(1), async { 7 }), Some(7));
    assert!(!world.run_steps(1), "nothing is left to run");
}

fn panic_message(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn failures_name_their_seed() {
    let said = panic_message(|| {
        let world = World::new(99);
        world.host(1).core(0).spawn(async { panic!("a bug") });
        world.run_for(Duration::from_secs(1));
    });
    assert!(said.contains("seed 99") && said.contains("a bug"), "{said}");
    let said = panic_message(|| World::new(98).run_until(std::future::pending()));
    assert!(said.contains("seed 98") && said.contains("deadlock"), "{said}");
    let said = panic_message(|| {
        let world = World::new(97);
        world.set_step_limit(1000);
        let io = world.host(1).core(0);
        world.run_until(async {
            loop {
                io.yield_now().await;
            }
        })
    });
    assert!(said.contains("seed 97"), "{said}");
}

#[test]
fn a_tolerated_panic_ends_its_task_alone() {
    let world = World::new(1);
    world.tolerate_panics();
    let io = world.host(1).core(0);
    io.spawn(async { panic!("expected here") });
    world.run_until(io.sleep(Duration::from_secs(1)));
    assert_eq!(world.panics(), 1);
}

#[test]
fn termination_is_heard_on_every_core_and_ever_after() {
    let world = World::new(1);
    let host = world.host(2);
    let heard = Rc::new(Cell::new(0));
    for core in 0..2 {
        let (io, heard) = (host.core(core), heard.clone());
        host.core(core).spawn(async move {
            io.terminated().await;
            io.terminated().await;
            heard.set(heard.get() + 1);
        });
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(heard.get(), 0);
    host.terminate();
    world.run_for(Duration::from_secs(1));
    assert_eq!(heard.get(), 2);
    host.crash(Crash::Kill);
    host.restart();
    assert!(world.run_until_or(Duration::from_secs(1), host.core(0).terminated()).is_none());
}

// Crashes.

#[test]
fn a_crash_ends_the_process_and_frees_its_locks() {
    let world = World::new(1);
    let host = world.host(1);
    let (io, ticks) = (host.core(0), Rc::new(Cell::new(0)));
    let count = ticks.clone();
    host.core(0).spawn(async move {
        let _held = io.lock(Path::new("/lock")).await.unwrap();
        loop {
            io.sleep(Duration::from_millis(1)).await;
            count.set(count.get() + 1);
        }
    });
    world.run_for(Duration::from_millis(20));
    let dead = host.core(0);
    host.crash(Crash::Kill);
    let ticked = ticks.get();
    assert!(ticked > 5);
    world.run_for(Duration::from_millis(20));
    assert_eq!(ticks.get(), ticked);
    host.restart();
    world.run_until(async {
        assert!(dead.open(Path::new("/lock"), Open::Create).await.is_err(), "a dead process opens nothing");
        host.core(0).lock(Path::new("/lock")).await.unwrap();
    });
}

#[test]
fn a_kill_keeps_what_was_written_and_a_power_cut_what_was_synced() {
    let mut lost = 0;
    for seed in 0..50 {
        let world = World::new(seed);
        let host = world.host(1);
        let io = host.core(0);
        let path = Path::new("/d/f");
        world.run_until(async {
            io.create_dir_all(Path::new("/d")).await.unwrap();
            let file = io.open(path, Open::Create).await.unwrap();
            io.write_at(&file, 0, vec!["synced".into()]).await.unwrap();
            io.sync(&file).await.unwrap();
            io.sync_dir(Path::new("/d")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            io.write_at(&file, 6, vec![" written".into()]).await.unwrap();
        });
        host.crash(Crash::Kill);
        assert_eq!(host.peek(path).unwrap(), b"synced written");
        // The machine goes down after the process.
        host.crash(Crash::PowerCut);
        let left = host.peek(path).unwrap();
        assert!(left.starts_with(b"synced"), "seed {seed}: {left:?}");
        lost += usize::from(left != b"synced written");
    }
    assert!((1..50).contains(&lost), "{lost} of 50");
}

/// Appends and syncs, counting on nothing but the contract: each prefix that was acknowledged survives, from any turn.
#[test]
fn acknowledged_appends_survive_crashes_at_any_turn() {
    for seed in 0..300 {
        let world = World::new(seed);
        let host = world.host(1);
        let mut rng = Rng::new(seed);
        let mut acknowledged = 0u64;
        for life in 0..4 {
            let synced = Rc::new(Cell::new(acknowledged));
            let (io, report) = (host.core(0), synced.clone());
            host.core(0).spawn(async move {
                let file = io.open(Path::new("/log"), Open::Create).await.unwrap();
                io.sync_dir(Path::new("/")).await.unwrap();
                for at in report.get().. {
                    io.write_at(&file, at * 100, vec![Bytes::from(vec![at as u8 | 1; 100])]).await.unwrap();
                    io.sync(&file).await.unwrap();
                    report.set(at + 1);
                }
            });
            world.run_steps(rng.within(1..=120));
            host.crash(if rng.chance(0.5) { Crash::PowerCut } else { Crash::Kill });
            acknowledged = synced.get();
            let left = host.peek(Path::new("/log")).unwrap_or_default();
            for at in 0..acknowledged as usize {
                let record = left.get(at * 100..(at + 1) * 100);
                assert_eq!(record, Some(&[at as u8 | 1; 100][..]), "seed {seed}, life {life}, record {at}");
            }
            host.restart();
        }
        assert!(acknowledged > 0, "seed {seed} never came to a sync");
    }
}

#[test]
fn a_task_may_crash_its_own_host() {
    let world = World::new(1);
    let host = world.host(1);
    let (own, went_on) = (host.clone(), Rc::new(Cell::new(false)));
    let (io, flag) = (host.core(0), went_on.clone());
    host.core(0).spawn(async move {
        own.crash(Crash::Kill);
        io.yield_now().await;
        flag.set(true);
    });
    world.run_for(Duration::from_secs(1));
    assert!(!went_on.get() && !host.is_up());
}

#[test]
fn a_write_in_flight_may_be_there_in_part() {
    let mut lengths = BTreeSet::new();
    for seed in 0..100 {
        let world = World::new(seed);
        let host = world.host(1);
        let io = host.core(0);
        let file = world.run_until(io.open(Path::new("/f"), Open::Create)).unwrap();
        host.core(0)
            .spawn(async move { io.write_at(&file, 0, vec![Bytes::from(vec![1; 4096])]).await.unwrap() });
        world.run_steps(1);
        host.crash(Crash::Kill);
        let left = host.peek(Path::new("/f")).unwrap();
        assert!(left.iter().all(|byte| *byte == 1));
        lengths.insert(left.len());
    }
    assert!(lengths.contains(&0) && lengths.contains(&4096) && lengths.len() > 2, "{lengths:?}");
    assert!(lengths.iter().all(|len| len % 512 == 0), "{lengths:?}");
}

#[test]
fn names_survive_by_the_rules_in_a_whole_directory_tree() {
    for seed in 0..100 {
        let world = World::new(seed);
        let host = world.host(1);
        let io = host.core(0);
        world.run_until(async {
            io.create_dir_all(Path::new("/data/topic-0")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            io.sync_dir(Path::new("/data")).await.unwrap();
            let file = io.open(Path::new("/data/topic-0/new"), Open::CreateNew).await.unwrap();
            io.write_at(&file, 0, vec!["checkpoint".into()]).await.unwrap();
            io.sync(&file).await.unwrap();
            io.sync_dir(Path::new("/data/topic-0")).await.unwrap();
            io.rename(Path::new("/data/topic-0"), Path::new("/data/topic-0-delete")).await.unwrap();
        });
        host.crash(Crash::PowerCut);
        let places = ["/data/topic-0/new", "/data/topic-0-delete/new"].map(|path| host.peek(Path::new(path)));
        assert_eq!(places.iter().flatten().collect::<Vec<_>>(), [b"checkpoint"], "seed {seed}");
    }
}

// Faults.

#[test]
fn a_full_disk_refuses_and_recovers() {
    let world = World::new(1);
    let host = world.host(1);
    host.change_faults(|faults| faults.capacity = Some(10 * 4096));
    let io = host.core(0);
    world.run_until(async {
        let file = io.open(Path::new("/f"), Open::Create).await.unwrap();
        io.allocate(&file, 0, 8 * 4096).await.unwrap();
        let other = io.open(Path::new("/g"), Open::Create).await.unwrap();
        assert_eq!(io.allocate(&other, 0, 3 * 4096).await.unwrap_err().kind(), ErrorKind::StorageFull);
        let too_much = vec![Bytes::from(vec![1; 3 * 4096])];
        assert_eq!(
            io.write_at(&other, 0, too_much.clone()).await.unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        // What was reserved can be written.
        io.write_at(&file, 0, vec![Bytes::from(vec![1; 8 * 4096])]).await.unwrap();
        io.truncate(&file, 4096).await.unwrap();
        io.write_at(&other, 0, too_much).await.unwrap();
        io.remove_file(Path::new("/g")).await.unwrap();
        drop(other);
        io.allocate(&file, 0, 10 * 4096).await.unwrap();
    });
}

#[test]
fn targeted_faults_hit_their_target() {
    let world = World::new(1);
    let host = world.host(1);
    let named = |name: &'static str| move |path: &Path| path.ends_with(name);
    host.change_faults(|faults| {
        faults.targets = vec![
            Target::new(Operation::Sync, named("f")).after(1).times(1),
            Target::new(Operation::Write, named("g")),
            Target::new(Operation::Allocate, named("g")).storage_full(),
            Target::new(Operation::Open, named("h")),
            Target::new(Operation::Read, named("i")),
        ];
    });
    let io = host.core(0);
    world.run_until(async {
        let f = io.open(Path::new("/f"), Open::Create).await.unwrap();
        assert!(io.sync(&f).await.is_ok() && io.sync(&f).await.is_err() && io.sync(&f).await.is_ok());
        let g = io.open(Path::new("/g"), Open::Create).await.unwrap();
        assert!(io.write_at(&g, 0, vec!["x".into()]).await.is_err());
        assert_eq!(io.allocate(&g, 0, 1).await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(io.open(Path::new("/h"), Open::Create).await.is_err());
        let i = io.open(Path::new("/i"), Open::Create).await.unwrap();
        io.write_at(&i, 0, vec!["x".into()]).await.unwrap();
        assert!(io.read_at(&i, 0, 1).await.is_err());
    });
    host.change_faults(|faults| faults.open_files = Some(0));
    world.run_until(async { assert!(io.open(Path::new("/f"), Open::Read).await.is_err()) });
    host.change_faults(|faults| *faults = Faults::default());
    world.run_until(async { assert!(io.open(Path::new("/f"), Open::Read).await.is_ok()) });
}

#[test]
fn a_frozen_disk_answers_late() {
    let world = World::new(1);
    let host = world.host(1);
    let io = host.core(0);
    host.freeze_disk(Duration::from_secs(3));
    world.run_until(async {
        let file = io.open(Path::new("/f"), Open::Create).await.unwrap();
        assert!(io.now() >= Duration::from_secs(3));
        io.write_at(&file, 0, vec!["x".into()]).await.unwrap();
        assert!(io.now() < Duration::from_secs(4));
    });
}

#[test]
fn a_flipped_bit_is_read() {
    let world = World::new(1);
    let host = world.host(1);
    let io = host.core(0);
    let path = Path::new("/f");
    assert_eq!(host.flip_some_bit(path), None);
    world.run_until(async {
        let file = io.open(path, Open::Create).await.unwrap();
        io.write_at(&file, 0, vec![Bytes::from(vec![0; 100])]).await.unwrap();
        let at = host.flip_some_bit(path).unwrap();
        let read = io.read_at(&file, 0, 100).await.unwrap();
        assert_eq!(read.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(read[at as usize].count_ones(), 1);
        assert!(!host.flip_bit(path, 100));
    });
}

// The network between hosts.

struct Talk {
    world: World,
    hosts: [Host; 2],
    here: (SimReader, SimWriter),
    there: (SimReader, SimWriter),
}

/// Two hosts with a connection between them.
fn talk(seed: u64) -> Talk {
    let world = World::new(seed);
    let hosts = [world.host(1), world.host(1)];
    let (one, other) = (hosts[0].core(0), hosts[1].core(0));
    let address = SocketAddr::new(hosts[1].ip(), 9092);
    let (here, there) = world.run_until(async {
        let mut listener = other.listen(address).await.unwrap();
        let (connected, accepted) = futures_util::join!(one.connect(address), listener.accept());
        let (accepted, peer) = accepted.unwrap();
        assert_eq!(peer.ip(), hosts[0].ip());
        (one.adopt(connected.unwrap()).unwrap(), other.adopt(accepted).unwrap())
    });
    Talk { world, hosts, here, there }
}

#[test]
fn a_cut_link_is_silent_until_it_heals() {
    let mut talk = talk(1);
    talk.world.cut(&talk.hosts[0], &talk.hosts[1]);
    talk.world.run_until(talk.here.1.write(vec!["hello".into()])).unwrap();
    let mut bytes = BytesMut::new();
    let read = talk.world.run_until_or(Duration::from_secs(100), talk.there.0.read(&mut bytes, 10));
    assert!(read.is_none(), "something came through");
    talk.world.heal(&talk.hosts[0], &talk.hosts[1]);
    let heard = talk.world.run_until(talk.there.0.read_exact(BytesMut::new(), 5)).unwrap();
    assert_eq!(heard, "hello");
}

#[test]
fn one_way_cuts_leave_the_other_way_open() {
    let mut talk = talk(2);
    talk.world.cut_one_way(&talk.hosts[0], &talk.hosts[1]);
    talk.world.run_until(talk.there.1.write(vec!["hello".into()])).unwrap();
    assert_eq!(talk.world.run_until(talk.here.0.read_exact(BytesMut::new(), 5)).unwrap(), "hello");
}

#[test]
fn a_reset_reaches_both_sides() {
    let mut talk = talk(3);
    talk.world.reset(&talk.hosts[0], &talk.hosts[1]);
    let mut bytes = BytesMut::new();
    for reader in [&mut talk.here.0, &mut talk.there.0] {
        let error = talk.world.run_until(reader.read(&mut bytes, 10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(talk.world.run_until(talk.here.1.write(vec!["x".into()])).is_err());
}

#[test]
fn a_crash_resets_connections_and_refuses_or_ignores_new_ones() {
    for (how, refusal) in
        [(Crash::Kill, ErrorKind::ConnectionRefused), (Crash::PowerCut, ErrorKind::TimedOut)]
    {
        let mut talk = talk(4);
        talk.hosts[1].crash(how);
        let mut bytes = BytesMut::new();
        let error = talk.world.run_until(talk.here.0.read(&mut bytes, 10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let io = talk.hosts[0].core(0);
        let address = SocketAddr::new(talk.hosts[1].ip(), 9092);
        assert_eq!(talk.world.run_until(io.connect(address)).err().unwrap().kind(), refusal);
        talk.hosts[1].restart();
        let again = talk.hosts[1].core(0);
        talk.world.run_until(async {
            let mut listener = again.listen(address).await.unwrap();
            let (connected, accepted) = futures_util::join!(io.connect(address), listener.accept());
            assert!(connected.is_ok() && accepted.is_ok());
        });
    }
}

#[test]
fn a_host_cannot_listen_on_anothers_address_nor_be_reached_on_its_loopback() {
    let world = World::new(5);
    let (one, other) = (world.host(1), world.host(1));
    let (io, far) = (one.core(0), other.core(0));
    world.run_until(async {
        let foreign = io.listen(SocketAddr::new(other.ip(), 1)).await;
        assert_eq!(foreign.err().unwrap().kind(), ErrorKind::AddrNotAvailable);
        let _local = io.listen(SocketAddr::from(([127, 0, 0, 1], 80))).await.unwrap();
        let reached = far.connect(SocketAddr::new(one.ip(), 80)).await;
        assert_eq!(reached.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        let _wide = io.listen(SocketAddr::from(([0, 0, 0, 0], 81))).await.unwrap();
        assert!(far.connect(SocketAddr::new(one.ip(), 81)).await.is_ok());
        assert!(io.connect(SocketAddr::from(([127, 0, 0, 1], 81))).await.is_ok());
        let nobody = io.connect(SocketAddr::from(([10, 9, 9, 9], 80))).await;
        assert_eq!(nobody.err().unwrap().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn bandwidth_takes_its_time() {
    let mut talk = talk(6);
    let slow = Link { bandwidth: Some(1 << 20), ..Link::default() };
    talk.world.set_link(&talk.hosts[0], &talk.hosts[1], slow);
    let start = talk.world.now();
    let (here, there) = (&mut talk.here, &mut talk.there);
    talk.world.run_until(async {
        let sent = Bytes::from(vec![7; 4 << 20]);
        let (sent, got) =
            futures_util::join!(here.1.write(vec![sent]), there.0.read_exact(BytesMut::new(), 4 << 20));
        assert!(sent.is_ok() && got.unwrap().iter().all(|byte| *byte == 7));
    });
    let took = talk.world.now() - start;
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&took), "{took:?}");
}

#[test]
fn pieces_split_anywhere() {
    let mut sizes = BTreeSet::new();
    for seed in 0..20 {
        let mut talk = talk(seed);
        let (here, there) = (&mut talk.here, &mut talk.there);
        talk.world.run_until(async {
            here.1.write(vec![Bytes::from(vec![7; 5000])]).await.unwrap();
            let mut got = BytesMut::new();
            while got.len() < 5000 {
                sizes.insert(there.0.read(&mut got, 5000).await.unwrap());
            }
        });
    }
    assert!(sizes.len() > 20 && sizes.iter().any(|size| *size < 16), "{sizes:?}");
}

#[test]
fn unread_data_is_bounded_by_the_buffer() {
    let mut talk = talk(7);
    let sent = talk
        .world
        .run_until_or(Duration::from_secs(10), talk.here.1.write(vec![Bytes::from(vec![7; 1 << 20])]));
    assert!(sent.is_none());
    let mut got = BytesMut::new();
    talk.world.run_until(talk.there.0.read(&mut got, usize::MAX)).unwrap();
    assert!(got.len() as u64 <= Link::default().buffer);
}

#[test]
fn what_was_sent_before_a_close_arrives() {
    let Talk { world, here, mut there, .. } = talk(8);
    let (reader, mut writer) = here;
    world.run_until(writer.write(vec![Bytes::from(vec![7; 50_000])])).unwrap();
    drop((reader, writer));
    let mut got = BytesMut::new();
    world.run_until(async { while there.0.read(&mut got, 4096).await.unwrap() > 0 {} });
    assert_eq!(got.len(), 50_000);
}
