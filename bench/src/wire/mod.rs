//! The wire driver: Kafka's protocol with requests that were prepared before the clock runs, and answers of which no more is looked at
//! than it takes to know that they are right. Cheap, so that the broker is what is measured.

pub mod admin;
pub mod answers;
pub mod assignment;
pub mod beats;
pub mod deal;
pub mod fetch;
pub mod gather;
pub mod groups;
pub mod line;
pub mod member;
pub mod prepared;
pub mod produce;
