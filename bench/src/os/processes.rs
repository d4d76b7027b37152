//! Signals to processes, by their id.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;

/// Asks a process to end (SIGTERM).
pub fn ask_to_end(pid: u32) -> io::Result<()> {
    send(pid, Signal::SIGTERM)
}

/// Ends a process (SIGKILL).
pub fn end(pid: u32) -> io::Result<()> {
    send(pid, Signal::SIGKILL)
}

/// One process, never a group or all: those ids are not positive.
fn send(pid: u32, signal: Signal) -> io::Result<()> {
    match i32::try_from(pid) {
        Ok(id) if id > 1 => kill(Pid::from_raw(id), signal).map_err(io::Error::from),
        _ => Err(Errno::ESRCH.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_single_processes_are_signalled() {
        for pid in [0, 1, u32::MAX] {
            assert!(ask_to_end(pid).is_err(), "{pid}");
            assert!(end(pid).is_err(), "{pid}");
        }
    }
}
