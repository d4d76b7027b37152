//! What the crash test is made of: the model, one life of a log, and what is checked after each.

pub mod life;
pub mod model;
pub mod verify;
pub mod workload;
