//! `millrace dev` and `millrace serve`: from the command line to a configuration, and what is said once it serves.

use crate::exit::Failure;
use crate::output;
use crate::serve::{Announce, serve};
use clap::Args;
use millrace_broker::broker::Addresses;
use millrace_broker::config::{Config, reference};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const DEV_HELP: &str = "\
Examples:
  millrace dev                                       # on the usual ports, data in ./millrace-data
  millrace dev --data /tmp/try --shards 1
  millrace dev --kafka 127.0.0.1:0 --grpc 127.0.0.1:0 --http 127.0.0.1:0 --ports-file ports.json

Topics are created when they are first used. Ctrl-C or SIGTERM stops the broker cleanly. For other settings, and for
listening beyond this machine, write a file and use `millrace serve`.";

/// A broker without configuration.
#[derive(Args, Debug)]
#[command(after_help = DEV_HELP)]
pub struct Dev {
    /// Where Kafka clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9092")]
    kafka: SocketAddr,
    /// Where gRPC clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9095")]
    grpc: SocketAddr,
    /// Where /metrics and /health are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9644")]
    http: SocketAddr,
    /// The directory for all data; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "millrace-data")]
    data: PathBuf,
    /// How many shards, each on a core of its own [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Write the addresses there as JSON once clients are served: {"kafka":"ip:port","grpc":…,"http":…}
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

impl Dev {
    /// Until it is stopped.
    pub fn run(self) -> ExitCode {
        let config = Config {
            kafka: self.kafka,
            grpc: self.grpc,
            http: self.http,
            data_dirs: vec![self.data],
            shards: self.shards.map(usize::from),
            ..Config::default()
        };
        match config.check() {
            Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
            Err(error) => {
                let error = format!("{error}, in a file for `millrace serve --config FILE`");
                return Failure::usage(error).report();
            }
        }
        run(config, self.ports_file, true)
    }
}

const SERVE_HELP: &str = "\
Examples:
  millrace serve --config /etc/millrace/server.properties
  millrace serve --help-config                       # what can be set
  echo 'num.partitions=3' > my.properties && millrace serve --config my.properties

The file has Java's properties syntax and Kafka's names. An unknown, ill-typed or unsupported setting is an error that
names it and its line.";

/// A broker from a configuration file.
#[derive(Args, Debug)]
#[command(after_help = SERVE_HELP)]
pub struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "help_config")]
    config: Option<PathBuf>,
    /// Write the addresses there as JSON once clients are served
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// List what can be set, and exit
    #[arg(long)]
    help_config: bool,
}

impl Serve {
    /// Until it is stopped.
    pub fn run(self) -> ExitCode {
        match self.config {
            Some(file) if !self.help_config => match load(&file) {
                Ok(config) => run(config, self.ports_file, false),
                Err(failure) => failure.report(),
            },
            _ => match output::line(reference::help().trim_end()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => Failure::from(error).report(),
            },
        }
    }
}

fn load(file: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let loaded = Config::from_properties(&text);
    let (config, warnings) = loaded.map_err(|error| {
        let help = "`millrace serve --help-config` lists what can be set";
        Failure::usage(format!("{}: {error}; {help}", file.display()))
    })?;
    for warning in warnings {
        tracing::warn!("{}: {warning}", file.display());
    }
    Ok(config)
}

fn run(mut config: Config, ports_file: Option<PathBuf>, dev: bool) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = config.shards.unwrap_or(cores);
    let names: Vec<_> = config.data_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let data = names.join(", ");
    // Clients that ask where the data is have no working directory to go from.
    for dir in &mut config.data_dirs {
        *dir = std::path::absolute(&dir).unwrap_or_else(|_| dir.clone());
    }
    let announce: Announce = Box::new(move |at| {
        // Nobody has to read it; the broker serves all the same.
        let _ = announce(at, &data, shards, dev);
    });
    serve(config, shards, ports_file, announce)
}

fn announce(at: &Addresses, data: &str, shards: usize, dev: bool) -> std::io::Result<()> {
    let Addresses { kafka, grpc, http } = at;
    let mut out = output::out();
    let version = env!("CARGO_PKG_VERSION");
    let cores = if shards == 1 { "1 shard".to_owned() } else { format!("{shards} shards") };
    writeln!(out, "millrace {version} is serving with {cores}, data in {data}\n")?;
    writeln!(out, "kafka {kafka}\ngrpc {grpc}\nhttp {http}")?;
    if dev {
        writeln!(
            out,
            "
Try it:
  millrace topic create greetings{server}
  echo hello | millrace produce greetings{server}
  millrace consume greetings --from beginning{server}
  echo hello | kcat -P -b {kafka} -t greetings
  kcat -C -b {kafka} -t greetings -o beginning
  grpcurl -plaintext {grpc} list
  curl http://{http}/metrics

Ctrl-C stops it cleanly.",
            server = if grpc.port() == 9095 { String::new() } else { format!(" --server {grpc}") }
        )?;
    }
    out.flush()
}
