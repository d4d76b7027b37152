//! Virtual time and disks that tear, from a seed.
//!
//! A [`World`] is made of one `u64`. It holds *hosts*; a [`Host`] is a process with its own disk and some cores, and
//! each core gives a [`SimIo`], the machine that the code under test runs on. One thread executes everything: tasks
//! run in seeded order, operations take seeded virtual time, and time jumps when nothing is runnable. Nothing reads a
//! real clock, disk or socket, so the same seed always gives the same trace ([`World::trace_hash`]).
//!
//! What goes wrong, and when, is set by [`Faults`] (a host's disk), [`Link`] (the network between two hosts) and by
//! [`Host::crash`]. The disk promises what `Io` promises and not a byte more: see `disk/content.rs` for data and
//! `disk/tree.rs` for names.
//!
//! ```
//! use millrace_io::simulated::{Crash, World};
//! use millrace_io::{Io, Open};
//! use std::path::Path;
//!
//! let world = World::new(42);
//! let host = world.host(1);
//! let io = host.core(0);
//! world.run_until(async move {
//!     let file = io.open(Path::new("/log"), Open::Create).await.unwrap();
//!     io.write_at(&file, 0, vec!["kept".into()]).await.unwrap();
//!     io.sync(&file).await.unwrap();
//!     io.sync_dir(Path::new("/")).await.unwrap();
//!     io.write_at(&file, 4, vec!["perhaps".into()]).await.unwrap();
//! });
//! host.crash(Crash::PowerCut);
//! host.restart();
//! assert!(host.peek(Path::new("/log")).unwrap().starts_with(b"kept"));
//! ```

mod disk;
mod executor;
mod faults;
mod host;
mod kernel;
mod machine;
mod net;
mod promise;
mod rng;
mod timeline;
mod world;

pub use disk::{SimFile, SimLock};
pub use faults::{Faults, Latencies, Latency, Operation, Target};
pub use host::{Crash, Host};
pub use machine::{SimIo, Sleep};
pub use net::{Link, SimListener, SimReader, SimSocket, SimWriter};
pub use rng::Rng;
pub use world::World;
