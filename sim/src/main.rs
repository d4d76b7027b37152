//! Lives one world and prints what happened: `cargo run -p millrace-sim -- SEED`.

use millrace_sim::story;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|seed| seed.parse().ok()) else {
        eprintln!("usage: millrace-sim SEED   (a number: the same one always gives the same world)");
        return ExitCode::from(2);
    };
    let story = story::tell(seed);
    println!("{story}");
    if story.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
