//! The broker's host: starts the production broker on its cores, and hears what it says.

use millrace_broker::broker::{Event, Setup};
use millrace_broker::config::{Config, Groups, HostPort};
use millrace_io::Io;
use millrace_io::simulated::{Crash, Faults, Host, Operation, SimIo, Target, World};
use millrace_proto::files::CLEAN_SHUTDOWN;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DATA: &str = "/data";
const KAFKA_PORT: u16 = 9092;

/// How long a member of a consumer group may be silent: so short that some are out within a world.
pub const CONSUMER_SESSION: Duration = Duration::from_secs(3);

/// How long a broker may take to stop: it lets clients finish for 10 s.
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// How long a broker may take to start, on a disk that is well.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How often the world looks whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// How often each partition's log was read.
#[derive(Clone, Default)]
pub struct LogReads(Rc<RefCell<BTreeMap<Option<PathBuf>, u64>>>);

impl LogReads {
    /// The most that one was, and which.
    pub fn most(&self) -> (u64, Option<PathBuf>) {
        let reads = self.0.borrow();
        let most = reads.iter().max_by_key(|(_, count)| **count);
        most.map_or((0, None), |(log, count)| (*count, log.clone()))
    }
}

/// Where a life of the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On its way to serving.
    Starting,
    /// Clients are served.
    Serving,
    /// It could not start.
    Failed(String),
    /// It has stopped, cleanly or not.
    Stopped(bool),
}

/// The broker and its host.
pub struct Server {
    /// The host.
    pub host: Host,
    phase: Arc<Mutex<Phase>>,
}

impl Server {
    /// A broker that serves with so many shards.
    pub fn new(world: &World, shards: usize) -> Self {
        let server = Self { host: world.host(shards), phase: Arc::new(Mutex::new(Phase::Starting)) };
        server.run();
        server
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        (self.host.ip(), KAFKA_PORT).into()
    }

    /// How far this life has come.
    pub fn phase(&self) -> Phase {
        self.phase.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Starts the process on the host's cores.
    fn run(&self) {
        let at = |port| SocketAddr::from((self.host.ip(), port));
        let config = Config {
            kafka: at(KAFKA_PORT),
            advertised_kafka: Some(HostPort { host: self.host.ip().to_string(), port: KAFKA_PORT }),
            grpc: at(9095),
            http: at(9644),
            data_dirs: vec![DATA.into()],
            // So small that halves fill and are left within a world.
            journal_bytes: 256 << 10,
            groups: groups(),
            ..Config::default()
        };
        *self.phase.lock().unwrap_or_else(|e| e.into_inner()) = Phase::Starting;
        let phase = self.phase.clone();
        let setup = Setup::<SimIo>::new(config, self.host.cores(), move |event| {
            *phase.lock().unwrap_or_else(|e| e.into_inner()) = match event {
                Event::Serving(_) => Phase::Serving,
                Event::Failed(why) => Phase::Failed(why),
                Event::Stopped { clean } => Phase::Stopped(clean),
            };
        });
        for index in 0..self.host.cores() {
            let io = self.host.core(index);
            io.clone().spawn(setup.clone().run(io, index));
        }
    }

    /// Ends the process.
    pub fn crash(&self, how: Crash) {
        self.host.crash(how);
    }

    /// Starts it again with so many shards.
    pub fn restart(&self, shards: usize) {
        self.host.restart_with(shards);
        self.run();
    }

    /// Lets time pass until it serves, or has failed.
    pub fn settle(&self, world: &World) {
        pass_until(world, STARTS_WITHIN, || self.phase() != Phase::Starting);
    }

    /// Asks it to stop, and lets time pass until it has. Whether it stopped in time, says that it was clean, and left
    /// the marker.
    pub fn stop(&self, world: &World) -> bool {
        self.host.terminate();
        pass_until(world, STOPS_WITHIN, || matches!(self.phase(), Phase::Stopped(_) | Phase::Failed(_)));
        let marked = self.host.peek(&Path::new(DATA).join(CLEAN_SHUTDOWN)).is_some();
        self.phase() == Phase::Stopped(true) && marked
    }

    /// Counts how often each partition's log is read until the next life serves.
    pub fn count_log_reads(&self) -> LogReads {
        let reads = LogReads::default();
        let (counted, phase) = (reads.clone(), self.phase.clone());
        let target = Target::new(Operation::Read, move |path| {
            let name = path.to_string_lossy();
            let starting = *phase.lock().unwrap_or_else(|e| e.into_inner()) == Phase::Starting;
            // What metadata and groups are is read from their logs as a whole.
            if starting && name.ends_with(".log") && !name.contains("/__") {
                *counted.0.borrow_mut().entry(path.parent().map(Path::to_owned)).or_default() += 1;
            }
            false
        });
        self.host.change_faults(|faults| faults.targets.push(target));
        reads
    }

    /// Nothing goes wrong on the disk any more.
    pub fn heal_disk(&self) {
        self.host.change_faults(|faults| *faults = Faults::default());
    }
}

/// Everything that groups wait for takes a part of a world, not all of it. Few coordinators: each is a log.
fn groups() -> Groups {
    let mut groups = Groups { partitions: 2, ..Groups::default() };
    groups.settings.min_session = Duration::from_secs(1);
    groups.settings.initial_delay = Duration::from_millis(300);
    groups.settings.consumer.session = CONSUMER_SESSION;
    groups.settings.consumer.heartbeat = Duration::from_millis(400);
    groups.settings.consumer.assignment_interval = Duration::from_millis(200);
    groups
}

fn pass_until(world: &World, limit: Duration, done: impl Fn() -> bool) {
    let deadline = world.now() + limit;
    while !done() && world.now() < deadline {
        world.run_for(LOOK);
    }
}
