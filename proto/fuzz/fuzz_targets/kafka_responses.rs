//! The body of every response in every version, as clients read it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::kafka;

fuzz_target!(|data: &[u8]| kafka::responses(data));
