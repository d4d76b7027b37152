//! Runs a broker in this process until it is asked to end, and says what became of it.

use millrace_broker::broker::{Addresses, Event, Setup};
use millrace_broker::config::Config;
use millrace_io::uring::{Machine, MachineConfig, Uring};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

/// Told once clients are served.
pub type Announce = Box<dyn FnOnce(&Addresses)>;

/// Serves until SIGTERM or SIGINT. With a ports file, the real addresses are written there as JSON once clients are
/// served. Exit code 0 after a clean stop, 1 when the broker could not start or not stop cleanly.
pub fn serve(config: Config, shards: usize, ports_file: Option<PathBuf>, announce: Announce) -> ExitCode {
    tracing::info!(
        shards,
        "worst case of what clients can make the broker hold: {}",
        config.limits.worst_case(shards)
    );
    let (events, happened) = mpsc::channel();
    let setup = Setup::<Uring>::new(config, shards, move |event| {
        // Nobody listens any more only when the process is ending anyway.
        let _ = events.send(event);
    });
    let main = {
        let setup = setup.clone();
        move |io: Uring, index: usize| setup.clone().run(io, index)
    };
    let running = match Machine::start(MachineConfig::new(shards), main) {
        Ok(running) => running,
        Err(error) => return fail(&error),
    };
    // The cores hold it now: when they are gone, so is the sender of events.
    drop(setup);
    for warning in &running.preflight().warnings {
        tracing::warn!("{warning}");
    }
    let mut announce = Some(announce);
    let mut code = ExitCode::FAILURE;
    while let Ok(event) = happened.recv() {
        match event {
            Event::Serving(addresses) => {
                if let Err(error) = ports_file.as_deref().map_or(Ok(()), |file| write_ports(file, &addresses))
                {
                    tracing::error!(%error, "the ports file was not written");
                }
                if let Some(announce) = announce.take() {
                    announce(&addresses);
                }
            }
            Event::Failed(why) => {
                eprintln!("millrace: {why}");
                running.terminate();
            }
            Event::Stopped { clean: true } => {
                tracing::info!("stopped cleanly");
                code = ExitCode::SUCCESS;
            }
            Event::Stopped { clean: false } => {
                tracing::warn!("stopped, but not cleanly: the next start will recover")
            }
        }
    }
    match running.join() {
        Ok(()) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("millrace: {error}");
    ExitCode::FAILURE
}

/// Written aside and renamed, so that whoever waits for the file finds it whole.
fn write_ports(file: &std::path::Path, at: &Addresses) -> std::io::Result<()> {
    let aside = file.with_extension("tmp");
    let Addresses { kafka, grpc, http } = at;
    std::fs::write(&aside, format!("{{\"kafka\":\"{kafka}\",\"grpc\":\"{grpc}\",\"http\":\"{http}\"}}\n"))?;
    std::fs::rename(aside, file)
}
