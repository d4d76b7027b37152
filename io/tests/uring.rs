//! The contract of `Io` on the real machine, and what only the real machine can be asked: kernels, caches, threads and
//! many connections.

mod contract;

use bytes::{Bytes, BytesMut};
use millrace_io::mailbox::mailbox;
use millrace_io::uring::{File, Machine, MachineConfig, Reader, Socket, Uring, Writer};
use millrace_io::{Io, Listener as _, Open, Reader as _, Writer as _};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs `main` on a machine of one core and hands its result back. A panic in it fails the test.
fn on_one_core<T: Send + 'static, Fut: Future<Output = T> + 'static>(
    main: impl Fn(Uring) -> Fut + Send + Clone + 'static,
) -> T {
    let (result, is_result) = mpsc::channel();
    // Not pinned: tests run side by side.
    let config = MachineConfig { shards: 1, pin: false };
    let running = Machine::start(config, move |io, _| {
        let (result, done) = (result.clone(), main(io));
        async move { result.send(done.await).expect("the test waits") }
    })
    .expect("the machine starts");
    running.join().expect("no core panics");
    is_result.recv().expect("main has finished")
}

/// Runs a case of the contract.
fn run<Fut: Future<Output = ()> + 'static>(case: impl Fn(Uring, PathBuf) -> Fut + Send + Clone + 'static) {
    let dir = disk_dir();
    let path = dir.path().to_owned();
    on_one_core(move |io| case(io, path.clone()));
}

mod suite {
    use super::{contract, run};
    crate::contract_suite!(run);
}

const ANY_PORT: &str = "127.0.0.1:0";

/// A connection through the loopback: what connected, and what was accepted.
async fn pair(io: &Uring) -> ((Reader, Writer), (Reader, Writer)) {
    let mut listener = io.listen(ANY_PORT.parse().unwrap()).await.unwrap();
    let here = io.connect(listener.local_addr()).await.unwrap();
    let (there, _) = listener.accept().await.unwrap();
    (io.adopt(here).unwrap(), io.adopt(there).unwrap())
}

/// Runs `task` beside the caller; the cell holds its result once it is done.
fn beside<T: 'static>(io: &Uring, task: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let result = Rc::new(RefCell::new(None));
    let slot = result.clone();
    io.spawn(async move {
        let done = task.await;
        slot.replace(Some(done));
    });
    result
}

async fn until(io: &Uring, mut condition: impl FnMut() -> bool) {
    let deadline = io.now() + Duration::from_secs(20);
    while !condition() {
        assert!(io.now() < deadline, "it did not happen within 20 s");
        io.sleep(Duration::from_millis(1)).await;
    }
}

fn pattern(len: usize, seed: usize) -> Bytes {
    (0..len).map(|i| ((i + seed) * 31 + (i >> 8) * 7 + (i >> 16)) as u8).collect::<Vec<_>>().into()
}

async fn read_all(reader: &mut Reader, total: usize) -> BytesMut {
    let mut got = BytesMut::new();
    while got.len() < total {
        let missing = total - got.len();
        assert!(reader.read(&mut got, missing).await.unwrap() > 0, "ended after {} of {total}", got.len());
    }
    got
}

async fn file_with(io: &Uring, path: &Path, content: &Bytes) -> File {
    let file = io.open(path, Open::Create).await.unwrap();
    io.write_at(&file, 0, vec![content.clone()]).await.unwrap();
    io.sync(&file).await.unwrap();
    file
}

/// Drops a (synced) file from the page cache, except pages that somebody still uses: a socket that was sent them, say.
fn evict(path: &Path) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let file = std::fs::File::open(path).unwrap();
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// On a disk: a memory file system cannot be cold.
fn disk_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn starts_and_ends_quickly() {
    let began = Instant::now();
    on_one_core(|_| async {});
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn every_core_runs_main_with_its_index() {
    let (index, indexes) = mpsc::channel();
    let running = Machine::start(MachineConfig::new(3), move |io, core| {
        let index = index.clone();
        async move {
            io.sleep(Duration::from_millis(1)).await;
            index.send(core).unwrap();
        }
    })
    .unwrap();
    running.join().unwrap();
    let mut seen: Vec<_> = indexes.iter().collect();
    seen.sort();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn zero_shards_are_refused_with_words() {
    let error = Machine::start(MachineConfig::new(0), |_, _| async {}).err().unwrap().to_string();
    assert!(error.contains("0 shards"), "{error}");
}

#[test]
fn a_task_starts_later_and_its_panic_is_its_own() {
    on_one_core(|io| async move {
        let ran = Rc::new(Cell::new(false));
        let flag = ran.clone();
        io.spawn(async move { flag.set(true) });
        assert!(!ran.get(), "not inside spawn");
        io.yield_now().await;
        assert!(ran.get());

        io.spawn(async { panic!("on purpose") });
        let after = beside(&io, async { 7 });
        io.sleep(Duration::from_millis(5)).await;
        assert_eq!(after.take(), Some(7));
    });
}

#[test]
fn a_panic_of_main_is_reported_and_ends_the_other_cores() {
    let running = Machine::start(MachineConfig { shards: 2, pin: false }, |io, core| async move {
        if core == 0 {
            panic!("on purpose");
        }
        io.terminated().await;
    })
    .unwrap();
    let error = running.join().unwrap_err().to_string();
    assert!(error.contains("core 0") && error.contains("on purpose"), "{error}");
}

#[test]
fn terminate_reaches_every_core_now_and_later() {
    let (ready, is_ready) = mpsc::channel();
    let running = Machine::start(MachineConfig { shards: 2, pin: false }, move |io, _| {
        let ready = ready.clone();
        async move {
            let dropped = io.terminated();
            drop(dropped);
            ready.send(()).unwrap();
            io.terminated().await;
            io.terminated().await;
        }
    })
    .unwrap();
    is_ready.recv().unwrap();
    is_ready.recv().unwrap();
    running.terminate();
    running.join().unwrap();
}

#[test]
fn mailboxes_wake_a_core_that_sleeps_in_its_ring() {
    const ROUNDS: u32 = 2000;
    let (to_second, at_second) = mailbox::<u32>(16);
    let (to_first, at_first) = mailbox::<u32>(16);
    let ends = std::sync::Arc::new(std::sync::Mutex::new(vec![(to_first, at_second), (to_second, at_first)]));
    let (result, took) = mpsc::channel();
    let running = Machine::start(MachineConfig::new(2), move |io, core| {
        let (ends, result) = (ends.clone(), result.clone());
        async move {
            let (to, mut at) = {
                let mut ends = ends.lock().unwrap();
                let index = if core == 0 { ends.len() - 1 } else { 0 };
                ends.remove(index)
            };
            if core == 1 {
                while let Some(n) = at.recv().await {
                    if to.send(n).await.is_err() {
                        break;
                    }
                }
                return;
            }
            // Far apart, so that the other core has certainly gone to sleep.
            for n in 0..20 {
                io.sleep(Duration::from_millis(3)).await;
                to.send(n).await.unwrap();
                assert_eq!(at.recv().await, Some(n));
            }
            let began = Instant::now();
            for n in 0..ROUNDS {
                to.send(n).await.unwrap();
                assert_eq!(at.recv().await, Some(n));
            }
            result.send(began.elapsed()).unwrap();
        }
    })
    .unwrap();
    running.join().unwrap();
    let hop = took.recv().unwrap() / (2 * ROUNDS);
    println!("a hop between cores: {hop:?}");
    assert!(hop < Duration::from_millis(1), "{hop:?}");
}

#[test]
fn an_idle_machine_uses_no_processor() {
    on_one_core(|io| async move {
        let turns = io.counters().turns;
        io.sleep(Duration::from_millis(300)).await;
        let turns = io.counters().turns - turns;
        assert!(turns < 30, "{turns} turns while idle");
    });
}

#[test]
fn timers_are_cheap_and_keep_their_order() {
    on_one_core(|io| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        let first = io.now() + Duration::from_millis(500);
        for i in (0..5000u64).rev() {
            let (io2, order) = (io.clone(), order.clone());
            io.spawn(async move {
                let due = first + Duration::from_micros(i * 10);
                io2.sleep_until(due).await;
                assert!(io2.now() >= due);
                order.borrow_mut().push(i);
            });
        }
        until(&io, || order.borrow().len() == 5000).await;
        assert!(order.borrow().is_sorted());
    });
}

#[test]
fn large_frames_arrive_whole_whatever_was_queued_before() {
    on_one_core(|io| async move {
        let ((mut reader, _w), (_r, mut writer)) = pair(&io).await;
        let sizes = [10usize, 3_000_000, 100, 20_000, 1 << 20, 5, 700_000, 4096];
        let sent = beside(&io, async move {
            for (i, &size) in sizes.iter().enumerate() {
                let body = pattern(size, i);
                let head = Bytes::copy_from_slice(&(size as u32).to_be_bytes());
                writer.write(vec![head, body]).await.unwrap();
            }
            writer
        });
        let mut buffer = BytesMut::new();
        for (i, &size) in sizes.iter().enumerate() {
            while buffer.len() < 4 {
                assert!(reader.read(&mut buffer, 16 << 10).await.unwrap() > 0);
            }
            let len = u32::from_be_bytes(buffer[..4].try_into().unwrap()) as usize;
            assert_eq!(len, size);
            if buffer.len() < 4 + len {
                buffer = reader.read_exact(buffer, 4 + len).await.unwrap();
            }
            let frame = buffer.split_to(4 + len);
            assert!(frame[4..] == pattern(size, i)[..], "frame {i}");
        }
        until(&io, || sent.borrow().is_some()).await;
    });
}

#[test]
fn a_frame_cut_off_is_an_unexpected_end() {
    on_one_core(|io| async move {
        for part in [10usize, 100_000] {
            let ((mut reader, _w), (r, mut writer)) = pair(&io).await;
            writer.write(vec![pattern(part, 0)]).await.unwrap();
            drop((r, writer));
            let error = reader.read_exact(BytesMut::new(), 1 << 20).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert_eq!(reader.read(&mut BytesMut::new(), 100).await.unwrap(), 0);
        }
    });
}

#[test]
fn shutdown_wakes_the_own_reader_in_whatever_it_does() {
    on_one_core(|io| async move {
        for exact in [false, true] {
            let ((mut reader, mut writer), (mut their_reader, _their_writer)) = pair(&io).await;
            let reading = beside(&io, async move {
                if exact {
                    reader.read_exact(BytesMut::new(), 1 << 20).await.map(|b| b.len())
                } else {
                    reader.read(&mut BytesMut::new(), 100).await
                }
            });
            io.sleep(Duration::from_millis(5)).await;
            assert!(reading.borrow().is_none());
            writer.shutdown();
            until(&io, || reading.borrow().is_some()).await;
            match reading.take().unwrap() {
                Ok(n) => assert!(n == 0 && !exact),
                Err(e) => assert!(e.kind() == ErrorKind::UnexpectedEof && exact, "{e}"),
            }
            assert_eq!(their_reader.read(&mut BytesMut::new(), 100).await.unwrap(), 0);
        }
    });
}

#[test]
fn what_nobody_reads_is_held_back_and_starves_nobody() {
    on_one_core(|io| async move {
        // More flooding peers than the core's buffers could serve if each kept its share.
        let mut flooded = Vec::new();
        let flood = pattern(8 << 20, 1);
        for _ in 0..40 {
            let ((mut reader, w), (r, mut writer)) = pair(&io).await;
            let sent = flood.clone();
            // One byte is read, so that receiving has begun.
            io.spawn(async move {
                let _peer_ends = writer.write(vec![sent]).await;
                drop(r);
            });
            reader.read(&mut BytesMut::new(), 1).await.unwrap();
            flooded.push((reader, w));
        }
        io.sleep(Duration::from_millis(50)).await;
        let before = io.counters().received_bytes;
        io.sleep(Duration::from_millis(50)).await;
        let received = io.counters().received_bytes;
        assert_eq!(before, received, "receiving has stopped");
        assert!(received < 40 * (768 << 10), "{received} bytes are held for 40 connections");

        let ((mut reader, _w), (_r, mut writer)) = pair(&io).await;
        writer.write(vec![pattern(100_000, 9)]).await.unwrap();
        assert_eq!(read_all(&mut reader, 100_000).await, pattern(100_000, 9));

        // Nothing was lost on those that were held back.
        let (mut reader, _w) = flooded.pop().unwrap();
        let got = read_all(&mut reader, (8 << 20) - 1).await;
        assert!(got == flood[1..]);
    });
}

#[test]
fn a_peer_that_takes_nothing_times_out_and_a_slow_one_does_not() {
    on_one_core(|io| async move {
        let ((_r, mut writer), (mut their_reader, _w)) = pair(&io).await;
        writer.set_stall_limit(Duration::from_millis(100));
        let total = 24 << 20;
        let slow = beside(&io, async move {
            let done = writer.write(vec![pattern(total, 3)]).await;
            (done, writer)
        });
        // Slower than the limit altogether, but never silent for that long.
        let began = io.now();
        let mut got = 0;
        while got < total {
            let mut buffer = BytesMut::new();
            got += their_reader.read(&mut buffer, 1 << 20).await.unwrap();
            if got < total / 2 {
                io.sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(io.now() - began > Duration::from_millis(50));
        until(&io, || slow.borrow().is_some()).await;
        let (done, mut writer) = slow.take().unwrap();
        done.unwrap();

        let began = io.now();
        let error = writer.write(vec![pattern(64 << 20, 3)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(io.now() - began >= Duration::from_millis(100));
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_not_a_signal() {
    on_one_core(|io| async move {
        let ((_r, mut writer), theirs) = pair(&io).await;
        drop(theirs);
        let mut result = Ok(());
        for _ in 0..100 {
            result = writer.write(vec![pattern(100_000, 0)]).await;
            if result.is_err() {
                break;
            }
            io.sleep(Duration::from_millis(1)).await;
        }
        let kind = result.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind:?}");
    });
}

#[test]
fn many_small_pieces_go_out_in_order() {
    on_one_core(|io| async move {
        let ((_r, mut writer), (mut reader, _w)) = pair(&io).await;
        let all = pattern(2500 * 11, 5);
        let pieces = (0..2500).map(|i| all.slice(i * 11..(i + 1) * 11)).collect();
        writer.write(pieces).await.unwrap();
        assert_eq!(read_all(&mut reader, all.len()).await, all);
    });
}

#[test]
fn file_ranges_are_sent_hot_from_cache_and_cold_from_disk() {
    on_one_core(|io| async move {
        let dir = disk_dir();
        let path = dir.path().join("segment");
        let content = pattern(5_000_000, 2);
        let file = file_with(&io, &path, &content).await;
        let ranges = [(0u64, 5_000_000u64), (4097, 3_000_001), (1, 1), (123_456, 262_144)];
        for (offset, len) in ranges {
            for (recent, cold) in [(true, false), (false, false), (false, true)] {
                let ((_r, mut writer), (mut reader, _w)) = pair(&io).await;
                if cold {
                    // The connection before this one must have let go of its pages.
                    io.sleep(Duration::from_millis(20)).await;
                    evict(&path);
                }
                let before = io.counters();
                let (sending, file) = (io.clone(), file.clone());
                let sent = beside(&io, async move {
                    writer.send_file(&file, offset, len, recent).await.unwrap();
                    drop((sending, writer));
                });
                let got = read_all(&mut reader, len as usize).await;
                assert!(
                    got == content[offset as usize..(offset + len) as usize],
                    "{offset} {len} {recent} {cold}"
                );
                until(&io, || sent.borrow().is_some()).await;
                let after = io.counters();
                let (hot_bytes, cold_bytes) =
                    (after.hot_bytes - before.hot_bytes, after.cold_bytes - before.cold_bytes);
                assert_eq!(hot_bytes + cold_bytes, len, "{recent} {cold}");
                if cold {
                    assert!(cold_bytes > 0, "nothing of {len} bytes came from the disk");
                } else {
                    assert_eq!(cold_bytes, 0, "{offset} {len} {recent}");
                }
            }
        }
    });
}

#[test]
fn a_range_beyond_the_end_of_the_file_is_an_error() {
    on_one_core(|io| async move {
        let dir = disk_dir();
        let path = dir.path().join("short");
        let file = file_with(&io, &path, &pattern(10_000, 0)).await;
        for recent in [true, false] {
            evict(&path);
            let ((_r, mut writer), _theirs) = pair(&io).await;
            let error = writer.send_file(&file, 5_000, 10_000, recent).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    });
}

#[test]
fn a_slow_reader_of_cold_data_stalls_nobody() {
    on_one_core(|io| async move {
        let dir = disk_dir();
        let path = dir.path().join("segment");
        let content = pattern(32 << 20, 4);
        let file = file_with(&io, &path, &content).await;
        evict(&path);
        let mut slow = Vec::new();
        for _ in 0..8 {
            let (ours, (reader, w)) = pair(&io).await;
            let (file, mut writer) = (file.clone(), ours.1);
            let done = beside(&io, async move { writer.send_file(&file, 0, 32 << 20, false).await });
            slow.push((ours.0, reader, w, done));
        }
        // Until they are all stuck.
        io.sleep(Duration::from_millis(100)).await;
        let ((_r, mut writer), (mut reader, _w)) = pair(&io).await;
        let began = io.now();
        for i in 0..50 {
            writer.write(vec![pattern(100, i)]).await.unwrap();
            assert_eq!(read_all(&mut reader, 100).await, pattern(100, i));
        }
        let took = io.now() - began;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(slow.iter().all(|s| s.3.borrow().is_none()), "nobody reads, so nobody is done");
        // Dropped in the middle: pipes and pages go back, and the next one is served from the start.
        slow.truncate(1);
        let (_r, mut reader, _w, done) = slow.pop().unwrap();
        let got = read_all(&mut reader, 32 << 20).await;
        assert!(got == content);
        until(&io, || done.borrow().is_some()).await;
        done.take().unwrap().unwrap();
    });
}

#[test]
fn dropped_futures_leave_nothing_behind() {
    on_one_core(|io| async move {
        let dir = disk_dir();
        let file = file_with(&io, &dir.path().join("f"), &pattern(1 << 20, 0)).await;
        let much = pattern(32 << 20, 1);
        for round in 0..200usize {
            let ((mut reader, mut writer), theirs) = pair(&io).await;
            let patience = Duration::from_micros((round % 7) as u64 * 100);
            within(&io, patience, reader.read_exact(BytesMut::new(), 1 << 20)).await;
            within(&io, patience, writer.write(vec![much.clone()])).await;
            within(&io, patience, io.read_at(&file, 0, 1 << 20)).await;
            within(&io, patience, io.write_at(&file, 0, vec![pattern(100_000, 1)])).await;
            within(&io, patience, io.open(&dir.path().join("g"), Open::Create)).await;
            within(&io, patience, writer.send_file(&file, 0, 1 << 20, false)).await;
            drop(theirs);
        }
        io.sleep(Duration::from_millis(50)).await;
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
        // Sockets of 200 rounds would show; other tests of this process have some open, too.
        assert!(open < 600, "{open} descriptors are open");
        assert_eq!(io.len(&file).await.unwrap(), 1 << 20);
    });
}

async fn within<T>(io: &Uring, patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut timer) = (std::pin::pin!(future), std::pin::pin!(io.sleep(patience)));
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    const CONNECTIONS: usize = 1000;
    on_one_core(|io| async move {
        let mut listener = io.listen(ANY_PORT.parse().unwrap()).await.unwrap();
        let addr = listener.local_addr();
        let server = io.clone();
        io.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                server.spawn(echo(server.clone(), socket));
            }
        });
        let done = Rc::new(Cell::new(0));
        for i in 0..CONNECTIONS {
            let (io2, done) = (io.clone(), done.clone());
            io.spawn(async move {
                let (mut reader, mut writer) = io2.adopt(io2.connect(addr).await.unwrap()).unwrap();
                for round in 0..5 {
                    let message = pattern(128 + i, round);
                    writer.write(vec![message.clone()]).await.unwrap();
                    assert_eq!(read_all(&mut reader, message.len()).await, message);
                }
                done.set(done.get() + 1);
            });
        }
        until(&io, || done.get() == CONNECTIONS).await;
    });
}

async fn echo(io: Uring, socket: Socket) {
    let (mut reader, mut writer) = io.adopt(socket).unwrap();
    let mut buffer = BytesMut::new();
    while let Ok(n) = reader.read(&mut buffer, 64 << 10).await {
        if n == 0 || writer.write(vec![buffer.split().freeze()]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_port_has_one_listener_on_both_families() {
    on_one_core(|io| async move {
        for any in [ANY_PORT, "[::1]:0"] {
            let first = io.listen(any.parse().unwrap()).await.unwrap();
            let addr: SocketAddr = first.local_addr();
            assert_ne!(addr.port(), 0);
            let error = io.listen(addr).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            drop(first);
            io.listen(addr).await.unwrap();
            let refused = io.connect(addr).await;
            assert!(matches!(refused, Err(e) if e.kind() == ErrorKind::ConnectionRefused));
        }
    });
}

#[test]
fn a_full_disk_is_found_by_allocating() {
    on_one_core(|io| async move {
        let dir = disk_dir();
        let file = io.open(&dir.path().join("f"), Open::Create).await.unwrap();
        io.allocate(&file, 0, 1 << 20).await.unwrap();
        assert_eq!(io.len(&file).await.unwrap(), 0);
        let error = io.allocate(&file, 0, 1 << 43).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge), "{error}");
    });
}
