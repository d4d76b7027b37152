//! The hot paths in instructions. Each benchmark does [`OPERATIONS`] operations, after one that does not count; `scripts/micro` runs them
//! all below valgrind and divides.
//!
//! A case is named for its input: `16x1k` is 16 records of 1 KiB, so that the table knows how many bytes it has.

mod decode;
mod input;
mod log;
mod mailbox;
mod partition;
mod validate;

use decode::decoding;
use gungraun::main;
use log::logs;
use mailbox::hops;
use partition::deciding;
use validate::validation;

/// How often a benchmark does what it counts. `bench/micro/table.py` has the same number.
const OPERATIONS: usize = 100;

main!(library_benchmark_groups = decoding, validation, deciding, logs, hops);
