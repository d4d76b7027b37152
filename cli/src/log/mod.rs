//! `millrace log`: what the files of a broker hold, whether they are sound, and what to do if not. Needs no broker; all but `repair` only
//! read.

mod dump;
mod repair;
mod segment;
mod verify;

#[cfg(test)]
mod testing;

use crate::exit::{Failure, Outcome};
use clap::{Args, Subcommand};
use millrace_proto::files::{LOG_SUFFIX, parse_offset_file_name, parse_partition_dir_name};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  millrace log dump millrace-data/orders-0
  millrace log dump millrace-data/orders-0/00000000000000000000.log --records
  millrace log verify millrace-data
  millrace log verify millrace-data/orders-0 millrace-data/orders-1/00000000000000000000.log
  millrace log repair millrace-data/orders-0 --skip

Use them on the files of a broker that is stopped: in those of one that runs, the end may be half written.";

/// What to do with files.
#[derive(Subcommand, Debug)]
#[command(after_help = HELP)]
pub enum LogCommand {
    /// Print the batches of partitions, or what single files hold
    Dump(Dump),
    /// Check batches, order, indexes and the other files of partitions or of a whole data directory
    Verify(Verify),
    /// Make a damaged partition whole again: skip what is damaged, or cut the log off there
    Repair(Repair),
}

/// What to print.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace log dump millrace-data/orders-0\n  millrace log dump millrace-data/orders-0 --records\n  millrace log dump millrace-data/orders-0/00000000000000000000.timeindex"
)]
pub struct Dump {
    /// A partition's directory, a data directory, or a file: .log, .index, .timeindex, .snapshot, leader-epoch-checkpoint
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also print the records of each batch
    #[arg(long)]
    records: bool,
}

/// What to check.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace log verify millrace-data\n  millrace log verify millrace-data/orders-0 --gaps\n\nThe exit code is 1 when something is damaged. A last batch that was not written to its end is a warning."
)]
pub struct Verify {
    /// A partition's directory, a data directory, or a file; an index is checked together with its segment
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Offsets may be missing between batches, as compaction leaves them
    #[arg(long)]
    gaps: bool,
}

/// What to do about damage.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  millrace log repair millrace-data/orders-0              # says what is damaged, changes nothing\n  millrace log repair millrace-data/orders-0 --skip\n  millrace log repair millrace-data/orders-0 --truncate\n\nWhat is removed is kept beside the segment, as <segment>.log.cut-<offset>. The broker must be stopped."
)]
pub struct Repair {
    /// A partition's directory
    #[arg(value_name = "DIRECTORY")]
    dir: PathBuf,
    /// Readers go on behind what is damaged: batches without records stand for the offsets that are gone
    #[arg(long, conflicts_with = "truncate")]
    skip: bool,
    /// The log ends where damage begins; everything behind it goes
    #[arg(long)]
    truncate: bool,
}

impl LogCommand {
    /// Reads the files.
    pub fn run(self) -> Outcome {
        match self {
            LogCommand::Dump(dump) => dump::run(&dump.paths, dump.records),
            LogCommand::Verify(verify) => verify::run(&verify.paths, verify.gaps),
            LogCommand::Repair(Repair { dir, skip, truncate }) => {
                let remedy = match (skip, truncate) {
                    (true, _) => repair::Remedy::Skip,
                    (_, true) => repair::Remedy::Truncate,
                    _ => repair::Remedy::None,
                };
                repair::run(&dir, remedy)
            }
        }
    }
}

/// Larger than any index or snapshot that a broker writes by its defaults (10 MiB) by far.
const LARGEST_WHOLE_FILE: u64 = 256 << 20;

/// Reads one of the files that are read as a whole, unless it is larger than one can be.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST_WHOLE_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_WHOLE_FILE {
        return Err(io::Error::other(format!("larger than the {LARGEST_WHOLE_FILE} bytes that are read")));
    }
    Ok(content)
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

/// Whether a segment is the last one of its directory, where a broker appends.
fn is_last(path: &Path) -> Result<bool, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(segments(directory(path))?.last().copied() == parse_offset_file_name(&name, LOG_SUFFIX))
}

/// The directory that a file is in.
fn directory(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
