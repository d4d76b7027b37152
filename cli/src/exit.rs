//! How a command ends: exit codes that mean something (`millrace --help` lists them), and an error that says what to do.

use millrace_client::{Code, Error};
use std::fmt::Display;
use std::process::ExitCode;

/// What the help says about exit codes.
pub const HELP: &str = "\
Exit codes:
  0  it worked
  1  it failed
  2  the command line or the configuration is wrong
  3  the topic, the partition or the group is not there
  4  no broker could be reached";

/// Why a command ended without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// For people; empty when there is nothing to say.
    message: String,
}

/// What commands return.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// It failed (1).
    pub fn new(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// It was asked wrongly (2).
    pub fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// With what was being done.
    pub fn during(mut self, doing: impl Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Says why, and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("millrace: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.code {
            _ if error.disconnected => 4,
            Code::NotFound => 3,
            Code::InvalidArgument => 2,
            _ => 1,
        };
        Self { code, message: error.to_string() }
    }
}

/// Standard output that nobody reads any more ends the command quietly; other errors are said.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self { code: 0, message: String::new() },
            _ => Self::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code, failure.message.as_str()), (0, ""));
        assert_eq!(Failure::from(std::io::Error::other("full")).code, 1);
    }
}
