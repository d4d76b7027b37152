//! Lives one world and prints what happened: `cargo run -p millrace-sim -- SEED`. With `RUST_LOG=warn`, also what the
//! broker logs meanwhile.

use millrace_sim::story;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|seed| seed.parse().ok()) else {
        eprintln!("usage: millrace-sim SEED   (a number: the same one always gives the same world)");
        return ExitCode::from(2);
    };
    // No times: the real clock says nothing about a world.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    let story = story::tell(seed);
    println!("{story}");
    if story.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
