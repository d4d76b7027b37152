//! The `millrace` command: `dev` and `serve` run a broker, `topic`, `group`, `produce` and `consume` talk to one, `log`
//! looks at the files of one.

mod consume;
mod exit;
mod group;
mod log;
mod logging;
mod output;
mod position;
mod produce;
mod remote;
mod serve;
mod start;
mod topic;

use clap::{Parser, Subcommand};
use exit::{Failure, Outcome};
use logging::LogFormat;
use std::process::ExitCode;

/// Every shard allocates on its own core; mimalloc keeps a heap per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A log broker: Kafka's protocol and gRPC on the same log.
#[derive(Parser)]
#[command(name = "millrace", version, after_help = after_help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look, on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

const EXAMPLES: &str = "\
Try it:
  millrace dev                                      # a broker, in this terminal
  millrace topic create greetings --partitions 3    # in another one
  echo hello | millrace produce greetings
  millrace consume greetings --from beginning";

const ENVIRONMENT: &str = "\
Environment:
  MILLRACE_SERVER  the broker's gRPC address for topic, group, produce and consume
  MILLRACE_LOG     which log lines to show: error, warn, info, debug, or a filter such as millrace_broker=debug,warn";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{ENVIRONMENT}", exit::HELP)
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker on this machine, without any configuration
    Dev(start::Dev),
    /// Run a broker from a configuration file
    Serve(start::Serve),
    /// Create, list, describe and delete topics
    #[command(subcommand)]
    Topic(topic::Topic),
    /// List, describe, move and delete consumer groups
    #[command(subcommand)]
    Group(group::Group),
    /// Send records, one per line
    Produce(produce::Produce),
    /// Read records, and follow what comes
    Consume(consume::Consume),
    /// Look at the files of a broker
    #[command(subcommand)]
    Log(log::LogCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let broker = matches!(cli.command, Command::Dev(_) | Command::Serve(_));
    if let Err(failure) = logging::start(cli.log_format, broker) {
        return failure.report();
    }
    let outcome = match cli.command {
        Command::Dev(dev) => return dev.run(),
        Command::Serve(serve) => return serve.run(),
        Command::Topic(topic) => with_runtime(topic.run()),
        Command::Group(group) => with_runtime(group.run()),
        Command::Produce(produce) => with_runtime(produce.run()),
        Command::Consume(consume) => with_runtime(consume.run()),
        Command::Log(log) => log.run(),
    };
    outcome.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

/// Clients run on one thread, this one.
fn with_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A thread that still waits for standard input is not waited for.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("  millrace "), "{} has no example:\n{help}", command.get_name());
            command.get_subcommands_mut().filter(|sub| sub.get_name() != "help").for_each(check);
        }
        check(&mut Cli::command());
    }
}
