//! The system calls of the harness, behind safe faces. Nothing outside this folder names `nix`.

pub mod cores;
pub mod cpu;
pub mod files;
pub mod poller;
pub mod processes;
pub mod sockets;
