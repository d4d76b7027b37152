//! The body of every request in every version.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::kafka;

fuzz_target!(|data: &[u8]| kafka::requests(data));
