//! Worlds made of one seed: the production broker on the simulated machine, Kafka clients on other hosts, faults, and
//! the invariants that judge them.
//!
//! [`story::tell`] lives one seed from start to end. `cargo run -p millrace-sim -- 42` prints what happened in a world;
//! `cargo test --profile sim -p millrace-sim` lives many. A failing seed replays exactly: the broker, its disk, the
//! network and the clients all draw from it.

pub mod clients;
pub mod invariants;
pub mod judge;
pub mod nemesis;
pub mod payload;
pub mod plan;
pub mod server;
pub mod story;
