//! What the kernel and the limits of this process allow, asked before anything starts.

use super::machine::StartError;
use super::ops::NEEDED;
use super::ring::Ring;
use io_uring::Probe;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fmt;
use std::io;

/// Locked memory that one core takes: glommio registers 64 KiB with each of its three rings, and demands a limit of
/// at least 512 KiB; kernels before 5.12 count the rings themselves too.
const LOCKED_PER_CORE: u64 = 512 << 10;
/// Without this many open files there is no point in starting.
const FEWEST_FILES: u64 = 256;
/// Fewer open files than this deserve a warning: every connection is one, every segment three.
const FEW_FILES: u64 = 10_000;
/// What confinements that know io_uring usually need.
const CONFINED: &str = "allow the system calls io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
                        profile of the container or service";

/// What was found; the machine can start.
#[derive(Clone, Debug, Default)]
pub struct Preflight {
    /// Things that work but deserve the operator's attention.
    pub warnings: Vec<Warning>,
}

/// One thing that deserves attention, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Raises the limits on open files and locked memory as far as allowed, and checks that a machine of `shards` cores
/// can start.
/// # Errors
/// What is missing, and the remedy.
pub fn preflight(shards: usize) -> Result<Preflight, StartError> {
    let mut warnings = Vec::new();
    check_open_files(raise(Resource::RLIMIT_NOFILE), &mut warnings)?;
    check_locked_memory(raise(Resource::RLIMIT_MEMLOCK), shards, &mut warnings)?;
    check_kernel(&mut warnings)?;
    Ok(Preflight { warnings: warnings.into_iter().map(Warning).collect() })
}

/// Raises a limit as far as this process may, and says where it is.
fn raise(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return 0 };
    if soft < hard && setrlimit(resource, hard, hard).is_ok() { hard } else { soft }
}

fn check_open_files(limit: u64, warnings: &mut Vec<String>) -> Result<(), StartError> {
    let remedy =
        "raise it (LimitNOFILE= in the systemd unit, --ulimit nofile= for a container, ulimit -n in a shell)";
    if limit < FEWEST_FILES {
        return Err(StartError::Limit(format!(
            "the limit on open files is {limit}, at least {FEWEST_FILES} are needed; {remedy}"
        )));
    }
    if limit < FEW_FILES {
        warnings.push(format!(
            "the limit on open files is {limit}: connections and segments need one each, {FEW_FILES} or more are advisable; {remedy}"
        ));
    }
    Ok(())
}

fn check_locked_memory(limit: u64, shards: usize, warnings: &mut Vec<String>) -> Result<(), StartError> {
    let remedy = "raise it (LimitMEMLOCK= in the systemd unit, --ulimit memlock= for a container, ulimit -l in a shell)";
    if limit < LOCKED_PER_CORE {
        return Err(StartError::Limit(format!(
            "the limit on locked memory is {} KiB, at least {} KiB are needed; {remedy}",
            limit >> 10,
            LOCKED_PER_CORE >> 10
        )));
    }
    let wanted = LOCKED_PER_CORE.saturating_mul(shards as u64);
    if limit < wanted {
        warnings.push(format!(
            "the limit on locked memory is {} KiB, {} KiB are advisable for {shards} shards; {remedy}, or use fewer shards",
            limit >> 10,
            wanted >> 10
        ));
    }
    Ok(())
}

fn check_kernel(warnings: &mut Vec<String>) -> Result<(), StartError> {
    let ring = Ring::build(8).map_err(|e| refused(&e))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|e| refused(&e))?;
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        return Err(StartError::Kernel(format!(
            "{} has an io_uring without {}; use Linux 6.1 or later",
            kernel(),
            missing.join(", ")
        )));
    }
    if !super::cold::can_ask_residency() {
        warnings.push(format!(
            "{} cannot say what is in the page cache (cachestat, Linux 6.5): older data is sent by a slower way",
            kernel()
        ));
    }
    Ok(())
}

/// Why there is no ring, in words.
fn refused(error: &io::Error) -> StartError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => StartError::Kernel(format!(
            "{} has no io_uring, or it is hidden from this process; use Linux 6.1 or later, or {CONFINED}",
            kernel()
        )),
        Some(libc::EPERM | libc::EACCES) => StartError::Kernel(format!("io_uring is forbidden; {}", permission())),
        Some(libc::EINVAL) => StartError::Kernel(format!(
            "the io_uring of {} is too old (SINGLE_ISSUER and DEFER_TASKRUN are missing); use Linux 6.1 or later",
            kernel()
        )),
        Some(libc::ENOMEM) => StartError::Limit(
            "there is not enough (locked) memory for an io_uring; raise the limit on locked memory (ulimit -l, \
             LimitMEMLOCK=)"
                .into(),
        ),
        _ => StartError::Kernel(format!("an io_uring cannot be made on {}: {error}", kernel())),
    }
}

/// Who forbids io_uring.
fn permission() -> String {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match disabled.trim() {
        "2" => "the sysctl kernel.io_uring_disabled is 2: set it to 0".into(),
        "1" => "the sysctl kernel.io_uring_disabled is 1: set it to 0, or add the group of this process to \
                kernel.io_uring_group"
            .into(),
        _ => CONFINED.into(),
    }
}

fn kernel() -> String {
    match nix::sys::utsname::uname() {
        Ok(name) => format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
        Err(_) => "this kernel".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_passes() {
        let preflight = preflight(2).expect("the tests need a kernel with io_uring");
        assert!(preflight.warnings.iter().all(|w| !w.to_string().is_empty()));
    }

    #[test]
    fn too_few_open_files_are_refused_and_few_are_warned_about() {
        let mut warnings = Vec::new();
        let error = check_open_files(100, &mut warnings).unwrap_err().to_string();
        assert!(error.contains("100") && error.contains("LimitNOFILE"), "{error}");
        check_open_files(1024, &mut warnings).unwrap();
        assert!(warnings[0].contains("1024"), "{warnings:?}");
        check_open_files(1 << 20, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn too_little_locked_memory_is_refused_and_little_is_warned_about() {
        let mut warnings = Vec::new();
        let error = check_locked_memory(64 << 10, 1, &mut warnings).unwrap_err().to_string();
        assert!(error.contains("64 KiB") && error.contains("LimitMEMLOCK"), "{error}");
        check_locked_memory(8 << 20, 2, &mut warnings).unwrap();
        assert!(warnings.is_empty());
        check_locked_memory(8 << 20, 64, &mut warnings).unwrap();
        assert!(warnings[0].contains("64 shards"), "{warnings:?}");
    }

    #[test]
    fn every_refusal_names_a_remedy() {
        for (errno, word) in [
            (libc::ENOSYS, "seccomp"),
            (libc::EPERM, "io_uring"),
            (libc::EINVAL, "6.1"),
            (libc::ENOMEM, "ulimit"),
        ] {
            let message = refused(&io::Error::from_raw_os_error(errno)).to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
