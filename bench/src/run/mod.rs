//! One run of one workload against one broker that is running.

mod cold_beside_tail;
mod consume;
mod end_to_end;
mod footprint;
mod gathering;
mod groups;
mod produce;
mod topic;

use crate::clients::{
    self,
    work::{Following, Sending},
};
use crate::error::{Error, Result};
use crate::measure::cushion::Cushion;
use crate::measure::latency::{Latencies, Latency};
use crate::measure::machine::Machine;
use crate::measure::meter::Used;
use crate::os::{cores, files};
use crate::progress::Progress;
use crate::result::{FORMAT, Limit, Run};
use crate::target::{Broker, Setup, Target};
use crate::wire::produce::Outcome;
use crate::workload::{Bound, Plan};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fmt;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// What sends and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// Prepared requests, and answers of which no more is read than must be.
    Wire,
    /// The Rust client, over gRPC.
    #[value(skip)]
    Grpc,
    /// librdkafka, if it was built in.
    Librdkafka,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "wire",
            Self::Grpc => "gRPC client",
            Self::Librdkafka => "librdkafka",
        })
    }
}

/// How long, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// With what.
    pub driver: Driver,
    /// Load before the window opens.
    pub warm_up: Duration,
    /// Load before the first window of a broker that was just started; what the broker needs when not given.
    pub first_warm_up: Option<Duration>,
    /// For how long the window is open.
    pub time: Duration,
    /// Threads of the driver.
    pub threads: usize,
    /// Cores for the driver; all when empty.
    pub cores: Vec<usize>,
    /// Bytes of memory that are made ready before each run that writes; a share of what is available when not given.
    pub cushion: Option<u64>,
    /// Reads back everything that was produced, and checks it.
    pub read_back: bool,
    /// More settings of the topics.
    pub topic_configs: Vec<(String, String)>,
}

/// A workload to run: its name and what it does.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name that results bear.
    pub name: String,
    /// What it does.
    pub plan: Plan,
    /// What bounds it in the end.
    pub bound: Option<Bound>,
    /// The same as it was measured.
    pub limit: Option<Limit>,
}

/// What a run came to.
#[derive(Debug)]
struct Measured {
    used: Used,
    latency: Option<Latency>,
    latencies: BTreeMap<String, Latency>,
    figures: BTreeMap<String, f64>,
    checked_records: u64,
}

/// A running broker, and how it is measured.
#[derive(Debug)]
pub struct Session<'a> {
    /// As it was named.
    pub side: String,
    target: &'a Target,
    setup: &'a Setup,
    options: Options,
    // None once it has been ended for a workload that starts its own.
    broker: Option<Broker>,
}

impl<'a> Session<'a> {
    /// A broker that is started when it is first needed.
    pub fn new(side: String, target: &'a Target, setup: &'a Setup, options: &Options) -> Self {
        let mut options = options.clone();
        if *target == Target::Grpc {
            options.driver = Driver::Grpc;
        }
        Self { side, target, setup, options, broker: None }
    }

    /// Ends the broker; the next run starts another one.
    pub fn end(&mut self) {
        self.broker = None;
    }

    /// Runs a workload once.
    pub fn run(&mut self, job: &Job, pair: u32, progress: &mut Progress) -> Result<Run> {
        let started = jiff::Timestamp::now();
        let what = format!("{} on {}, run {pair}:", job.name, self.side);
        if job.plan == Plan::Footprint {
            self.end();
            progress.begin(what);
            let (measured, version) = footprint::measure(self.target, self.setup, &self.options, progress)?;
            return Ok(self.result(job, pair, started, measured, version));
        }
        let broker = match &mut self.broker {
            Some(broker) => broker,
            none => {
                progress.begin(format!("starting {}", self.side));
                none.insert(Broker::start(self.target, self.setup)?)
            }
        };
        if let Some(data) = broker.data.as_deref().filter(|data| files::in_memory(data)) {
            let folder = data.display();
            progress.note(&format!("{folder} is in memory: nothing there is durable; choose another --data"));
        }
        if !broker.warm {
            let time = self.options.first_warm_up.unwrap_or_else(|| self.target.warm_up());
            if !time.is_zero() {
                progress.begin(format!("{what} getting {} to its pace,", self.side));
                let options = Options { warm_up: Duration::ZERO, time, ..self.options.clone() };
                measure(broker, &job.plan, &options, progress)?;
            }
            broker.warm = true;
        }
        let _cushion = match job.plan {
            Plan::Produce(_) | Plan::EndToEnd(_) | Plan::ColdBesideTail { .. } => {
                progress.begin(format!("{what} making memory ready,"));
                let bytes = self.options.cushion.unwrap_or_else(Cushion::usual);
                Some(Cushion::fill(bytes, |left| progress.readying(left))?)
            }
            Plan::Consume(_) | Plan::Groups(_) | Plan::Gathering(_) | Plan::Footprint => None,
        };
        progress.begin(what);
        let measured = measure(broker, &job.plan, &self.options, progress)?;
        let version = broker.version.clone();
        Ok(self.result(job, pair, started, measured, version))
    }

    fn result(
        &self,
        job: &Job,
        pair: u32,
        started: jiff::Timestamp,
        measured: Measured,
        version: String,
    ) -> Run {
        let Measured { used, latency, latencies, figures, checked_records } = measured;
        let (load, reading, groups) = match job.plan.clone() {
            Plan::Produce(load) | Plan::EndToEnd(load) => (Some(load), None, None),
            Plan::Consume(reading) => (None, Some(reading), None),
            Plan::ColdBesideTail { tail, cold } => (Some(tail), Some(cold), None),
            Plan::Groups(groups) | Plan::Gathering(groups) => (None, None, Some(groups)),
            Plan::Footprint => (None, None, None),
        };
        Run {
            format: FORMAT,
            workload: job.name.clone(),
            load,
            reading,
            groups,
            side: self.side.clone(),
            version,
            driver: self.options.driver.to_string(),
            pair,
            started: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::this(),
            warm_up_s: self.options.warm_up.as_secs_f64(),
            wall_s: used.wall.as_secs_f64(),
            through: used.through,
            checked_records,
            broker_cpu: used.broker_cpu,
            driver_cpu_s: used.driver_cpu_s,
            other_cpu_s: used.other_cpu_s,
            memory: used.memory,
            latency,
            latencies,
            figures,
            limit: job.limit,
            series: used.series,
        }
    }
}

fn measure(broker: &Broker, plan: &Plan, options: &Options, progress: &mut Progress) -> Result<Measured> {
    match plan {
        Plan::Produce(load) => produce::measure(broker, load, options, progress),
        Plan::Consume(reading) => consume::measure(broker, reading, options, progress),
        Plan::ColdBesideTail { tail, cold } => {
            cold_beside_tail::measure(broker, tail, cold, options, progress)
        }
        Plan::EndToEnd(load) => end_to_end::measure(broker, load, options, progress),
        Plan::Groups(groups) => groups::measure(broker, *groups, options, progress),
        Plan::Gathering(groups) => gathering::measure(broker, *groups, options, progress),
        Plan::Footprint => Err(Error::Usage("a footprint is that of a broker of its own".to_owned())),
    }
}

/// Sends with a client.
fn client_produce(broker: &Broker, sending: &Sending<'_>, driver: Driver) -> Result<Outcome> {
    match driver {
        Driver::Grpc => clients::grpc::produce(grpc(broker)?, sending),
        #[cfg(feature = "librdkafka")]
        Driver::Librdkafka => clients::librdkafka::produce(&broker.address, sending),
        _ => Err(no_client()),
    }
}

/// Reads with a client.
fn client_consume(broker: &Broker, following: Following<'_>, driver: Driver) -> Result<(Latencies, u64)> {
    match driver {
        Driver::Grpc => clients::grpc::consume(grpc(broker)?, following),
        #[cfg(feature = "librdkafka")]
        Driver::Librdkafka => clients::librdkafka::consume(&broker.address, following),
        _ => Err(no_client()),
    }
}

fn grpc(broker: &Broker) -> Result<&str> {
    let unknown =
        || Error::Usage("the gRPC port is known only of a broker that the harness starts".to_owned());
    broker.grpc.as_deref().ok_or_else(unknown)
}

fn no_client() -> Error {
    let built = "--target grpc, or --driver librdkafka of a harness built with --features librdkafka";
    Error::Usage(format!("this takes a client: {built}"))
}

/// What a thread of the driver came to. One that panicked has said so already.
fn join<T>(thread: ScopedJoinHandle<'_, Option<T>>) -> Result<T> {
    let ended = || Error::Target("a thread of the driver ended".to_owned());
    thread.join().ok().flatten().ok_or_else(ended)
}

/// Runs a part of the driver, on its cores. Its failure is the run's.
fn drive<T>(
    options: &Options,
    window: &crate::measure::window::Window,
    part: impl FnOnce() -> Result<T>,
) -> Option<T> {
    let _tell = TellOnPanic(window);
    match cores::pin_this_thread(&options.cores).and_then(|()| part()) {
        Ok(done) => Some(done),
        Err(error) => {
            window.fail(error);
            None
        }
    }
}

/// A thread that panics must not leave the others waiting for it.
struct TellOnPanic<'a>(&'a crate::measure::window::Window);

impl Drop for TellOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Error::Target("a thread of the driver panicked".to_owned()));
        }
    }
}
