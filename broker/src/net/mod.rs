//! Connections: who may come, frames in, answers out, deadlines and budgets.

pub mod admission;
pub mod budget;
pub mod connection;
pub mod frames;
pub mod listener;
pub mod pulse;
pub mod responses;
