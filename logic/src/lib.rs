//! Every decision, as state machines: same inputs, same outputs.
//!
//! Nothing here reads a clock, a file or a socket, and nothing is random: time arrives as an argument, work leaves as a value.
//!
//! - [`compaction`]: when a log is worth compacting, and how far.
//! - [`fetch_sessions`]: what clients fetch, remembered.
//! - [`group`]: the coordinator of consumer groups.
//! - [`offset`]: one type for each kind of offset, so that none is taken for another.
//! - [`partition`]: one partition as its leader sees it.
//! - [`meta`]: the cluster's metadata, its records, and the controller that decides them.
//! - [`placement`]: which core of a broker owns a partition.
//! - [`retention`]: which segments of a log are to go.

pub mod compaction;
pub mod fetch_sessions;
pub mod group;
pub mod meta;
pub mod offset;
pub mod partition;
pub mod placement;
pub mod retention;
