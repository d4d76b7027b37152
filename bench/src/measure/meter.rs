//! Keeping time: opens the window when all is warm, watches broker and machine while it is open, and says what was used.

use crate::error::{Error, Result};
use crate::measure::machine::resident;
use crate::measure::window::{Through, Window};
use crate::os::{cpu, files};
use crate::progress::Progress;
use crate::target::Broker;
use serde::{Deserialize, Serialize};
use std::thread;
use std::time::{Duration, Instant};

/// Memory is looked at so often.
const LOOK: Duration = Duration::from_millis(100);
/// A run ends, without a result, before the disk is full.
const KEEP_FREE: u64 = 2 << 30;

/// CPU time of the broker, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// All of it, every thread and kernel worker.
    pub total_s: f64,
    /// In user mode, in the kernel's ticks.
    pub user_s: f64,
    /// In the kernel, in its ticks.
    pub system_s: f64,
}

/// Resident memory of the broker, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The mean over the window.
    pub mean: u64,
    /// The most.
    pub most: u64,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the window opened.
    pub at_s: f64,
    /// Bytes of payload up to then.
    pub payload: u64,
    /// CPU time of the broker up to then.
    pub cpu_s: Option<f64>,
    /// Resident memory of the broker then.
    pub rss: Option<u64>,
}

/// What was used while the window was open.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// For how long it was open.
    pub wall: Duration,
    /// What went through.
    pub through: Through,
    /// CPU time of the broker.
    pub broker_cpu: Option<Cpu>,
    /// CPU time of the harness.
    pub driver_cpu_s: f64,
    /// CPU time of everything else on the machine: kernel threads that write back, and whoever shares it.
    pub other_cpu_s: Option<f64>,
    /// Memory of the broker.
    pub memory: Option<Memory>,
    /// How it went, second by second.
    pub series: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    through: Through,
    broker: Option<Duration>,
    modes: Option<(Duration, Duration)>,
    own: Duration,
    machine: Option<Duration>,
}

impl Sample {
    fn take(broker: &Broker, window: &Window) -> Self {
        Self {
            at: Instant::now(),
            through: window.through(),
            broker: broker.pid.and_then(cpu::of_process),
            modes: broker.pid.and_then(cpu::user_and_system),
            own: cpu::own(),
            machine: cpu::machine_busy(),
        }
    }

    /// CPU time of the broker since another sample.
    fn broker_cpu(&self, before: &Self) -> Option<Cpu> {
        let total = self.broker?.saturating_sub(before.broker?);
        let ((user, system), (user_before, system_before)) = (self.modes?, before.modes?);
        Some(Cpu {
            total_s: total.as_secs_f64(),
            user_s: user.saturating_sub(user_before).as_secs_f64(),
            system_s: system.saturating_sub(system_before).as_secs_f64(),
        })
    }
}

/// Waits for `warm_up`, opens the window for `time`, and closes it. A failure of the driver ends it at once.
pub fn watch(
    broker: &Broker,
    window: &Window,
    warm_up: Duration,
    time: Duration,
    progress: &mut Progress,
) -> Result<Used> {
    wait(broker, window, Instant::now() + warm_up, |left| progress.warming(left, window.through()))?;
    window.open();
    let first = Sample::take(broker, window);
    let mut series = Vec::new();
    let (mut sum, mut count, mut most) = (0, 0, 0);
    let mut next_point = first.at + Duration::from_secs(1);
    wait(broker, window, first.at + time, |left| {
        let rss = broker.pid.and_then(resident);
        if let Some(rss) = rss {
            (sum, count, most) = (sum + rss, count + 1, most.max(rss));
        }
        if Instant::now() >= next_point {
            next_point += Duration::from_secs(1);
            let now = Sample::take(broker, window);
            let cpu = now.broker_cpu(&first).map(|cpu| cpu.total_s);
            let through = now.through.since(first.through);
            let at_s = (now.at - first.at).as_secs_f64();
            series.push(Point { at_s, payload: through.payload, cpu_s: cpu, rss });
            progress.measuring(left, now.at - first.at, through, cpu);
        }
    })?;
    let last = Sample::take(broker, window);
    window.close();
    let broker_cpu = last.broker_cpu(&first);
    if broker.pid.is_some() && broker_cpu.is_none() {
        return Err(Error::Target("the broker's process is gone".to_owned()));
    }
    let driver_cpu_s = (last.own - first.own).as_secs_f64();
    let machine =
        last.machine.zip(first.machine).map(|(last, first)| last.saturating_sub(first).as_secs_f64());
    let ours = driver_cpu_s + broker_cpu.map_or(0.0, |cpu| cpu.total_s);
    Ok(Used {
        wall: last.at - first.at,
        through: last.through.since(first.through),
        broker_cpu,
        driver_cpu_s,
        // Ticks are coarse: a little below nothing is nothing.
        other_cpu_s: machine.map(|busy| (busy - ours).max(0.0)),
        memory: (count > 0).then(|| Memory { mean: sum / count, most }),
        series,
    })
}

/// Waits, looking around often, until that time or a failure.
fn wait(broker: &Broker, window: &Window, until: Instant, mut look: impl FnMut(Duration)) -> Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        look(left);
        if window.failed() {
            // Why is in the window.
            return Err(Error::Target("the driver failed".to_owned()));
        }
        if let Some(data) = &broker.data
            && files::free_bytes(data)? < KEEP_FREE
        {
            return Err(Error::Target("the disk is nearly full: measure for a shorter time".to_owned()));
        }
        thread::sleep(left.min(LOOK));
    }
}
