//! What the figures were measured on.

use crate::os::cores;
use serde::{Deserialize, Serialize};
use std::fs;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that the harness may use.
    pub cores: usize,
    /// What the processor calls itself.
    pub processor: String,
    /// Bytes of memory.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned();
        Self {
            cores: cores::count(),
            processor,
            memory: kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// A line for people.
    pub fn describe(&self) -> String {
        let gib = self.memory as f64 / f64::from(1 << 30);
        format!("{} cores of {}, {gib:.0} GiB, Linux {}", self.cores, self.processor, self.kernel)
    }
}

/// Bytes of memory that nobody uses.
pub fn free() -> Option<u64> {
    kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemFree")
}

/// Bytes of memory that can be had without taking it from processes.
pub fn available() -> Option<u64> {
    kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// Bytes of memory that a process has resident.
pub fn resident(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS")
}

/// The value behind a name, in the files that have a name and a value on each line.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    Some(field(text, name)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "VmPeak:\t 9 kB\nVmRSS:\t   2048 kB\nThreads:\t3\n";
        assert_eq!(kib(text, "VmRSS"), Some(2048 * 1024));
        assert_eq!(field(text, "Threads"), Some("3"));
        assert_eq!(kib(text, "Threads"), None);
        assert_eq!(kib(text, "RSS"), None);
    }

    #[test]
    fn this_machine_and_this_process_are_there() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory > 0 && !machine.kernel.is_empty());
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident(u32::MAX), None);
    }
}
