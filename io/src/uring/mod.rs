//! The real machine: one glommio executor a core, and beside it a data ring for sockets and files.
//!
//! [`Machine::start`] makes the cores; each gets a [`Uring`], its view of the machine ([`Io`](crate::Io)).
//!
//! | file | promise |
//! |---|---|
//! | `machine`, `preflight` | starting and ending cores; what must be true before |
//! | `core`, `driver` | what a core owns; how it works, and how it sleeps in its ring |
//! | `ring`, `ops`, `buffers`, `gather` | the data ring, its operations, and who owns memory meanwhile |
//! | `tasks`, `time`, `signals` | tasks and wakers, timers, the operator's wish to end |
//! | `sockets`, `inlet`, `reader`, `writer`, `cold` | connections |
//! | `pace` | which writes are made at once, and which by a kernel worker |
//! | `through` | writes that are durable when they complete |
//! | `files`, `blocking` | files and directories; the helper thread for what no ring offers |

mod blocking;
mod buffers;
mod cold;
mod core;
mod driver;
mod files;
mod gather;
mod handle;
mod inlet;
mod machine;
mod ops;
mod pace;
mod preflight;
mod reader;
mod ring;
mod signals;
mod sockets;
mod tasks;
mod through;
mod time;
mod writer;

pub use files::{File, Lock};
pub use handle::Uring;
pub use machine::{Machine, MachineConfig, Running, StartError};
pub use preflight::{Preflight, Warning, preflight};
pub use reader::Reader;
pub use sockets::{Listener, Socket};
pub use writer::Writer;
