//! What can go wrong, in words for whoever ran the command.

use millrace_proto::kafka::error::ErrorCode;
use std::fmt::Display;
use std::io;
use thiserror::Error;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum Error {
    /// The machine refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the machine said.
        source: io::Error,
    },
    /// The broker did not start, or ended.
    #[error("{0}")]
    Target(String),
    /// The broker answered with an error, or with something that is no answer.
    #[error("{0}")]
    Answer(String),
    /// The broker lost records, repeated them, or put them in the wrong place. There is no figure to report then.
    #[error("the records are not what was sent: {0}")]
    Wrong(String),
    /// The command line asks for what cannot be done.
    #[error("{0}")]
    Usage(String),
}

/// What fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error code where there should be none.
    pub fn code(asked: impl Display, code: ErrorCode) -> Self {
        Self::Answer(format!("{asked}: {} ({})", code.name(), code.message()))
    }

    /// An answer that cannot be read.
    pub fn unreadable(asked: impl Display, why: impl Display) -> Self {
        Self::Answer(format!("the answer to {asked} cannot be read: {why}"))
    }
}

/// Says what was being done when the machine refused.
pub trait Doing<T> {
    /// Adds it to the error.
    fn doing(self, what: impl Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Error::Io { doing: what.to_string(), source: error.into() })
    }
}
