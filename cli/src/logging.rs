//! Log lines on standard error, for people or for programs.

use crate::exit::Failure;
use clap::ValueEnum;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// The variable that says which lines to show.
const FILTER: &str = "MILLRACE_LOG";

/// From now on, log lines are shown: of a broker what happens to it, of other commands only warnings.
pub fn start(format: LogFormat, broker: bool) -> Result<(), Failure> {
    let default = if broker { "info" } else { "warn" };
    let wanted = std::env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let wanted = wanted.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        Failure::usage(format!("{FILTER}={wanted} is no filter ({error}): try {FILTER}=debug"))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
