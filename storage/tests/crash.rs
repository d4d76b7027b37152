//! Crashes: the production log on a simulated disk that tears, against a plain reference model, from a seed.
//!
//! Each seed is one story of several lives: appends, rolls, reads, deletions, checkpoints, snapshots, and at a random
//! moment the end: a power cut, a kill, an orderly stop, a failed write or sync, now and then a flipped bit. After each
//! the log is opened again and compared with the model.
//!
//! `MILLRACE_SEED=n` runs just that seed, `MILLRACE_SEEDS=n` as many seeds from 0 on. A failing seed is printed first
//! and replays exactly.

mod support;

use millrace_storage::Mutation;
use support::life::{Outcome, run_seed};

/// Seeds that every run covers; a few seconds.
const DEFAULT_SEEDS: u64 = 300;
/// Each deliberate fault must be noticed within so many seeds.
const CAUGHT_WITHIN: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn nothing_durable_is_lost_and_nothing_else_appears() {
    let seeds = match number("MILLRACE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MILLRACE_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut total = Outcome::default();
    for seed in seeds.clone() {
        match run_seed(seed, Mutation::None) {
            Ok(outcome) => total += outcome,
            Err(why) => panic!("MILLRACE_SEED={seed}\n{why}"),
        }
    }
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= DEFAULT_SEEDS {
        total.assert_everything_happened();
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..5 {
        assert_eq!(run_seed(seed, Mutation::None), run_seed(seed, Mutation::None), "seed {seed}");
    }
}

#[test]
fn acknowledging_before_the_sync_is_caught() {
    assert_caught(Mutation::AcknowledgeBeforeSync);
}

#[test]
fn a_sync_that_covers_later_writes_is_caught() {
    assert_caught(Mutation::SyncCoversLaterWrites);
}

#[test]
fn cutting_below_the_checkpoint_is_caught() {
    assert_caught(Mutation::CutBelowCheckpoint);
}

#[test]
fn forgetting_the_journal_is_caught() {
    assert_caught(Mutation::ForgetJournal);
}

fn assert_caught(mutation: Mutation) {
    let caught = (0..CAUGHT_WITHIN).find_map(|seed| run_seed(seed, mutation).err().map(|why| (seed, why)));
    let Some((seed, why)) = caught else {
        panic!("{mutation:?} was not noticed within {CAUGHT_WITHIN} seeds")
    };
    assert!(run_seed(seed, Mutation::None).is_ok(), "seed {seed} fails without the fault, too");
    println!("{mutation:?} was caught by seed {seed} of {CAUGHT_WITHIN}: {why}");
}
