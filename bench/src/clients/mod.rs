//! Drivers that are clients as users have them: what they can do is measured with the broker. Records, not prepared requests; CPU time of
//! the broker is still its own.

pub mod grpc;
#[cfg(feature = "librdkafka")]
pub mod librdkafka;
pub mod work;
