//! What is going on, on standard error: one line that changes on a terminal, a line now and then elsewhere.

use crate::measure::window::Through;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Elsewhere than on a terminal, a line so often.
const SELDOM: Duration = Duration::from_secs(5);

/// Says what is going on.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    quiet: bool,
    what: String,
    last: Option<Instant>,
    begun: Instant,
}

impl Progress {
    /// Says nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let (terminal, begun) = (stderr().is_terminal(), Instant::now());
        Self { terminal, quiet, what: String::new(), last: None, begun }
    }

    /// What is done from now on.
    pub fn begin(&mut self, what: impl Into<String>) {
        self.what = what.into();
        self.last = None;
        self.line("");
    }

    /// A result, or something to know: stays on the screen.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            let clear = if self.terminal { "\r\x1b[2K" } else { "" };
            eprintln!("{clear}{text}");
        }
    }

    /// Memory is being touched.
    pub fn readying(&mut self, left: u64) {
        self.line(&format!("{} MB left", left / 1_000_000));
    }

    /// The broker is being loaded so that it gets warm.
    pub fn warming(&mut self, left: Duration, through: Through) {
        self.line(&format!(
            "warming up, {:.0} s left, {} MB so far",
            left.as_secs_f64(),
            through.payload / 1_000_000
        ));
    }

    /// The window is open.
    pub fn measuring(&mut self, left: Duration, passed: Duration, through: Through, cpu_s: Option<f64>) {
        let seconds = passed.as_secs_f64();
        let cpu = cpu_s.map_or(String::new(), |cpu| format!(", broker CPU {:.0} %", 100.0 * cpu / seconds));
        let (mb, records) = (through.payload as f64 / 1e6 / seconds, through.records as f64 / seconds);
        self.line(&format!("{mb:.0} MB/s, {records:.0} records/s{cpu}, {:.0} s left", left.as_secs_f64()));
    }

    fn line(&mut self, text: &str) {
        let now = Instant::now();
        let wait = if self.terminal { Duration::from_millis(100) } else { SELDOM };
        if self.quiet || self.last.is_some_and(|last| now - last < wait) {
            return;
        }
        self.last = Some(now);
        let at = (now - self.begun).as_secs();
        let (minutes, seconds) = (at / 60, at % 60);
        let line = format!("[{minutes:02}:{seconds:02}] {} {text}", self.what);
        if self.terminal {
            eprint!("\r\x1b[2K{}", line.trim_end());
            // It is only for show.
            let _ = stderr().flush();
        } else {
            eprintln!("{}", line.trim_end());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && !self.quiet {
            eprint!("\r\x1b[2K");
        }
    }
}
