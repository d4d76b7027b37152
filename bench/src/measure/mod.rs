//! What is measured: time from the intended sending, CPU of broker and driver apart, memory, and what went through.

pub mod cushion;
pub mod latency;
pub mod machine;
pub mod meter;
pub mod window;
