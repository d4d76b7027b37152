//! CPU time: of a process with all its threads, of this process, of this thread, and of the whole machine.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, getppid, sysconf};
use std::fs;
use std::time::Duration;

/// CPU time of a process so far: every thread that lives or lived, io_uring's kernel workers included, which are threads of the process.
pub fn of_process(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    read(clock)
}

/// CPU time of this process.
pub fn own() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// CPU time of this thread.
pub fn of_thread() -> Duration {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

fn read(clock: ClockId) -> Option<Duration> {
    let time = clock_gettime(clock).ok()?;
    Some(Duration::from_nanos(u64::try_from(time.num_nanoseconds()).ok()?))
}

/// User and system time of a process, in the kernel's ticks: coarser than [`of_process`], but apart.
pub fn user_and_system(pid: u32) -> Option<(Duration, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (user, system) = parse_stat(&stat)?;
    let tick = tick()?;
    Some((tick * user, tick * system))
}

/// Ticks in user and system mode. The name of the process may hold spaces and parentheses: fields are counted behind its end.
fn parse_stat(stat: &str) -> Option<(u32, u32)> {
    let behind = &stat[stat.rfind(')')? + 1..];
    let mut fields = behind.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn tick() -> Option<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs(1) / u32::try_from(per_second).ok()?)
}

/// Time that all cores together were busy, whoever had them, since the machine started.
pub fn machine_busy() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks = parse_busy(stat.lines().next()?)?;
    Some(tick()?.mul_f64(ticks as f64))
}

/// Busy ticks in the first line of `/proc/stat`: all but idle and waiting for disks, and without guests, who are counted as user time.
fn parse_busy(line: &str) -> Option<u64> {
    let fields: Vec<u64> =
        line.strip_prefix("cpu ")?.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy = fields.iter().take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4);
    (fields.len() >= 8).then(|| busy.map(|(_, ticks)| ticks).sum())
}

/// One of the cheapest system calls.
pub fn cheapest_call() -> i32 {
    getppid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::time::Instant;

    fn burn(time: Duration) {
        let started = Instant::now();
        while started.elapsed() < time {
            black_box(cheapest_call());
        }
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let line = "7 (a ) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 1";
        assert_eq!(parse_stat(line), Some((250, 31)));
        assert_eq!(parse_stat("7 no name"), None);
        assert_eq!(parse_stat("7 (short) S 1 2"), None);
    }

    #[test]
    fn waiting_is_not_busy() {
        assert_eq!(parse_busy("cpu  10 20 30 4000 500 6 7 8 9 0"), Some(81));
        assert_eq!(parse_busy("cpu0 10 20 30 4000 500 6 7 8 9 0"), None);
        assert_eq!(parse_busy("cpu  10 20 30"), None);
    }

    #[test]
    fn burnt_time_is_seen_by_every_clock() {
        let pid = std::process::id();
        let before = (of_process(pid).unwrap(), own(), of_thread(), machine_busy().unwrap());
        burn(Duration::from_millis(60));
        let spent = of_thread() - before.2;
        assert!(spent > Duration::from_millis(5), "{spent:?}");
        assert!(of_process(pid).unwrap() - before.0 >= spent);
        assert!(own() - before.1 >= spent);
        assert!(machine_busy().unwrap() > before.3);
    }

    #[test]
    fn there_is_no_time_of_a_process_that_is_not_there() {
        assert_eq!(of_process(u32::MAX), None);
        assert_eq!(user_and_system(u32::MAX), None);
    }
}
