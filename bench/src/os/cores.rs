//! Cores: how many there are, and which a thread may run on.

use crate::error::{Doing, Error, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use std::thread;

/// Cores that this process may use.
pub fn count() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get())
}

/// Ties this thread to these cores; threads that it starts inherit them. None given: all.
pub fn pin_this_thread(cores: &[usize]) -> Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).map_err(|_| Error::Usage(format!("there is no core {core}")))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).doing(format_args!("pinning to cores {cores:?}"))
}

/// Lets this process, and those it starts, open as many files as the system allows.
pub fn allow_many_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing("reading the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).doing("raising the limit of open files")
}
