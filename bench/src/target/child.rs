//! A broker's process: whatever happens to the harness, short of SIGKILL, it ends, by its id, and its data goes.

use crate::error::{Doing, Error, Result};
use crate::os::processes;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a broker may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// What must not outlive the harness.
#[derive(Debug)]
struct Alive {
    /// Ids of processes.
    processes: Vec<u32>,
    folders: Vec<PathBuf>,
}

static ALIVE: Mutex<Alive> = Mutex::new(Alive { processes: Vec::new(), folders: Vec::new() });

fn alive() -> MutexGuard<'static, Alive> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that is gone when it is dropped, or when the harness is interrupted.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new folder below `parent`, which is made if it is not there.
    pub fn below(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).doing(parent.display())?;
        let prefix = format!("millrace-bench-{name}-");
        let mut alive = alive();
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).doing(parent.display())?;
        alive.folders.push(folder.path().to_owned());
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The folder itself goes right after this.
        alive().folders.retain(|folder| folder != self.0.path());
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP end what was started before they end the harness.
pub fn clean_up_on_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).doing("signal handlers")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Held to the end: nothing is started or ended beside this.
            let alive = alive();
            for pid in &alive.processes {
                // One that has just ended by itself is as good.
                let _ = processes::end(*pid);
            }
            for folder in &alive.folders {
                let _ = fs::remove_dir_all(folder);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A process with a folder of its own, in which its output is.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    log: PathBuf,
    // Behind `child`, which writes into it.
    _folder: Scratch,
}

impl Guarded {
    /// Starts a process, output to `broker.log` in the folder. Its own process group keeps it from a ctrl-c that is for the harness.
    pub fn start(mut command: Command, folder: Scratch) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let log = folder.path().join("broker.log");
        let out = File::create(&log).doing(log.display())?;
        let err = out.try_clone().doing(log.display())?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let mut alive = alive();
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().doing(format_args!("starting {program}"))?;
        alive.processes.push(child.id());
        drop(alive);
        Ok(Self { child, log, _folder: folder })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Polls until there is an answer. A process that ends before is an error, and so is too long a wait.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        most: Duration,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let until = Instant::now() + most;
        loop {
            if let Some(answer) = poll() {
                return Ok(answer);
            }
            if let Some(status) = self.ended()? {
                return Err(Error::Target(format!("the broker ended ({status}):\n{}", self.end_of_log())));
            }
            if Instant::now() > until {
                let waited = most.as_secs();
                return Err(Error::Target(format!("no {what} within {waited} s:\n{}", self.end_of_log())));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its exit status, if it has ended. The id may belong to another process from then on, so it is forgotten.
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let mut alive = alive();
        let status = self.child.try_wait().doing("waiting for the broker")?;
        if status.is_some() {
            let id = self.child.id();
            alive.processes.retain(|pid| *pid != id);
        }
        Ok(status)
    }

    fn end_of_log(&self) -> String {
        end_of(&self.log)
    }
}

/// The last of what a process said.
fn end_of(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(Some(_))) {
            return;
        }
        let _ = processes::ask_to_end(self.id());
        let until = Instant::now() + PATIENCE;
        while !matches!(self.ended(), Ok(Some(_))) {
            if Instant::now() > until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let _ = self.ended();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Guarded {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Guarded::start(command, Scratch::below(&std::env::temp_dir(), "test").unwrap()).unwrap()
    }

    fn is_alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_process_and_its_folder_end_with_the_guard_even_in_a_panic() {
        let (tell, told) = std::sync::mpsc::channel();
        let panicked = thread::spawn(move || {
            let guarded = shell("exec sleep 1000");
            tell.send((guarded.id(), guarded.log.clone())).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err());
        let (id, log) = told.recv().unwrap();
        assert!(!is_alive(id));
        assert!(!log.exists());
        let alive = alive();
        assert!(!alive.processes.contains(&id));
        assert!(alive.folders.iter().all(|folder| !log.starts_with(folder)));
    }

    #[test]
    fn one_that_ends_too_early_says_why() {
        let mut guarded = shell("echo no such luck; exit 3");
        let error = guarded.wait_for("answer", Duration::from_secs(20), || None::<()>).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no such luck"), "{text}");
    }

    #[test]
    fn one_that_never_answers_is_given_up() {
        let mut guarded = shell("exec sleep 1000");
        let error = guarded.wait_for("answer", Duration::from_millis(50), || None::<()>).unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
        assert_eq!(guarded.wait_for("answer", Duration::from_secs(1), || Some(7)).unwrap(), 7);
    }
}
