//! Many worlds. `MILLRACE_SEED=n` lives that one only; `MILLRACE_SEEDS=count` so many, from 1 on, and those of `FOUND`.

use millrace_sim::story;

/// Worlds in a usual run: some tens of seconds.
const WORLDS: u64 = 60;

/// Worlds beyond those in which something was found: 248, a topic is made while the disk is full; 1042, starts that follow each other leave ever
/// more behind the last entry of an index.
const FOUND: [u64; 2] = [248, 1042];

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value}, which is not a number")))
}

#[test]
fn invariants_hold_in_every_world() {
    let seeds: Vec<u64> = match setting("MILLRACE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("MILLRACE_SEEDS").unwrap_or(WORLDS)).chain(FOUND).collect(),
    };
    for seed in seeds {
        let story = story::tell(seed);
        assert!(story.failure.is_none(), "seed {seed} fails: MILLRACE_SEED={seed} replays it\n{story}");
    }
}

#[test]
fn a_seed_always_makes_the_same_world() {
    for seed in [3, 1 << 40] {
        let (one, other) = (story::tell(seed), story::tell(seed));
        assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
        assert_eq!(
            (one.events, one.tally, one.lasted),
            (other.events, other.tally, other.lasted),
            "seed {seed}"
        );
    }
}
