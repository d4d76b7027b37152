//! `millrace log`: what the files of a broker hold, and whether they are sound. Reads only, and needs no broker.

mod dump;
mod segment;
mod verify;

#[cfg(test)]
mod testing;

use crate::exit::{Failure, Outcome};
use clap::{Args, Subcommand};
use millrace_proto::files::{LOG_SUFFIX, parse_offset_file_name, parse_partition_dir_name};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  millrace log dump millrace-data/orders-0
  millrace log dump millrace-data/orders-0/00000000000000000000.log --records
  millrace log verify millrace-data

Use them on the files of a broker that is stopped: in those of one that runs, the end may be half written.";

/// What to do with files.
#[derive(Subcommand, Debug)]
#[command(after_help = HELP)]
pub enum LogCommand {
    /// Print the batches of a partition's directory, or what one of its files holds
    Dump(Dump),
    /// Check batches, order, indexes and the other files of a partition or of a whole data directory
    Verify(Verify),
}

/// What to print.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace log dump millrace-data/orders-0\n  millrace log dump millrace-data/orders-0 --records\n  millrace log dump millrace-data/orders-0/00000000000000000000.timeindex"
)]
pub struct Dump {
    /// A partition's directory, or a file in one: .log, .index, .timeindex, .snapshot, leader-epoch-checkpoint
    path: PathBuf,
    /// Also print the records of each batch
    #[arg(long)]
    records: bool,
}

/// What to check.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace log verify millrace-data\n  millrace log verify millrace-data/orders-0 --gaps\n\nThe exit code is 1 when something is damaged."
)]
pub struct Verify {
    /// A partition's directory, or a data directory
    dir: PathBuf,
    /// Offsets may be missing between batches, as compaction leaves them
    #[arg(long)]
    gaps: bool,
}

impl LogCommand {
    /// Reads the files.
    pub fn run(self) -> Outcome {
        match self {
            LogCommand::Dump(dump) => dump::run(&dump.path, dump.records),
            LogCommand::Verify(verify) => verify::run(&verify.dir, verify.gaps),
        }
    }
}

/// The names of everything in a directory, sorted.
fn names(dir: &Path) -> Result<Vec<String>, Failure> {
    let read = || -> std::io::Result<Vec<String>> {
        let names =
            std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let mut names = read().map_err(|error| at(dir, error))?;
    names.sort();
    Ok(names)
}

/// The base offsets of the segments in a partition's directory, ascending.
fn segments(dir: &Path) -> Result<Vec<i64>, Failure> {
    let names = names(dir)?;
    Ok(names.iter().filter_map(|name| parse_offset_file_name(name, LOG_SUFFIX)).collect())
}

/// The partitions' directories: this one, or those in this data directory.
fn partitions(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let names = names(dir)?;
    if names.iter().any(|name| parse_offset_file_name(name, LOG_SUFFIX).is_some()) {
        return Ok(vec![dir.to_owned()]);
    }
    let partitions = names.iter().filter(|name| parse_partition_dir_name(name).is_some());
    let partitions: Vec<_> = partitions.map(|name| dir.join(name)).filter(|path| path.is_dir()).collect();
    if partitions.is_empty() {
        return Err(Failure::usage(format!("{} holds neither segments nor partitions", dir.display())));
    }
    Ok(partitions)
}

fn at(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}
