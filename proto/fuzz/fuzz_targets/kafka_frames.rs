//! A frame's size and header, then whatever body they announce.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_proto_fuzz::kafka;

fuzz_target!(|data: &[u8]| kafka::frames(data));
