//! SIGTERM, alone in its process: it ends every machine that runs there.

use millrace_io::Io;
use millrace_io::uring::{Machine, MachineConfig};
use nix::sys::signal::{Signal, raise};
use std::sync::mpsc;

#[test]
fn sigterm_reaches_every_core_of_every_machine_and_stays() {
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
