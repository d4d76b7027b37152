//! What concerns the whole process, one at a time: SIGTERM, and what machines leave behind.

use bytes::BytesMut;
use millrace_io::uring::{Machine, MachineConfig};
use millrace_io::{Io, Listener, Reader};
use nix::sys::signal::{Signal, raise};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_machine_leaves_no_ring_socket_or_pipe_open() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // Glommio 0.9 leaves one eventfd of each executor open.
    let count = || {
        let links = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| !link.to_string_lossy().contains("eventfd")).count()
    };
    let mut before = 0;
    for round in 0..12 {
        let machine = Machine::start(MachineConfig { shards: 1, pin: false }, |io, _| async move {
            let listener = io.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let addr = listener.local_addr();
            // Tasks that never end by themselves, with something in the kernel, in a timer and nowhere.
            let (accepting, connected) = (io.clone(), io.connect(addr).await.unwrap());
            io.spawn(async move {
                let mut listener = listener;
                let mut held = Vec::new();
                while let Ok((socket, _)) = listener.accept().await {
                    held.push(accepting.adopt(socket).unwrap());
                }
            });
            let (mut reader, _writer) = io.adopt(connected).unwrap();
            io.spawn(async move { assert_eq!(reader.read(&mut BytesMut::new(), 1).await.unwrap(), 0) });
            let sleeping = io.clone();
            io.spawn(async move { sleeping.sleep(Duration::from_secs(3600)).await });
            io.spawn(std::future::pending());
            io.sleep(Duration::from_millis(2)).await;
        })
        .unwrap();
        machine.join().unwrap();
        // The first round opens what the process keeps.
        if round == 1 {
            before = count();
        }
    }
    // The kernel closes rings a moment after they were let go.
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while count() > before {
        assert!(std::time::Instant::now() < give_up, "{} descriptors are open, {before} were", count());
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_reaches_every_core_of_every_machine_and_stays() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (ready, is_ready) = mpsc::channel();
    let machines: Vec<_> = (0..2)
        .map(|_| {
            let ready = ready.clone();
            Machine::start(MachineConfig { shards: 2, pin: false }, move |io, _| {
                let ready = ready.clone();
                async move {
                    ready.send(()).unwrap();
                    io.terminated().await;
                    io.terminated().await;
                }
            })
            .unwrap()
        })
        .collect();
    for _ in 0..4 {
        is_ready.recv().unwrap();
    }
    raise(Signal::SIGTERM).unwrap();
    for machine in machines {
        machine.join().unwrap();
    }
}
